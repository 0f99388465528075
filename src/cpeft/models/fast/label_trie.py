"""A closed label set as a tree of tokens, evaluated in one decoder pass.

Free greedy decoding gives a label exactly where at every node of the label's path the arg-max over the whole vocabulary is the
next token of that path. All nodes of all paths stand in one decoder input: each sees its ancestors alone, at the distance of
their depths. So one pass gives the label that greedy decoding would produce, or the node where it would leave the tree. The
same pass gives the log-probability of every label, the sum over its path. Its oracle is `generate`, which also produces what
follows where the tree is left.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

ROOT = 0


class LabelTrie:
    """`labels` are token ids with their end token, all different. Nodes are proper prefixes of labels; the root is empty."""

    def __init__(self, labels: Sequence[tuple[int, ...]]) -> None:
        self.parents, self.tokens, self.depths = [-1], [-1], [0]
        self.children: list[dict[int, int]] = [{}]
        self.labels: list[dict[int, int]] = [{}]  # by node: last token -> label
        self.paths: list[list[tuple[int, int]]] = []  # by label: each of its tokens with the node it follows
        for number, ids in enumerate(labels):
            node, path = ROOT, []
            for token in ids[:-1]:
                if token not in self.children[node]:
                    self.children[node][token] = len(self.parents)
                    self.parents.append(node)
                    self.tokens.append(token)
                    self.depths.append(self.depths[node] + 1)
                    self.children.append({})
                    self.labels.append({})
                path.append((node, token))
                node = self.children[node][token]
            self.labels[node][ids[-1]] = number
            self.paths.append([*path, (node, ids[-1])])

    def __len__(self) -> int:
        return len(self.parents)

    @cached_property
    def depth_M(self) -> Int[Tensor, "M"]:
        return torch.tensor(self.depths)

    @cached_property
    def sees_MM(self) -> Bool[Tensor, "M M"]:
        """Which nodes each node attends to: itself and its ancestors."""
        sees = torch.eye(len(self), dtype=torch.bool)
        for node in range(1, len(self)):  # parents come before their children
            sees[node] |= sees[self.parents[node]]
        return sees

    def inputs(self, start: int) -> Int[Tensor, "M"]:
        """The decoder's input ids, the start token at the root."""
        return torch.tensor([start, *self.tokens[1:]])

    def greedy_tokens(self, best_M: Sequence[int]) -> tuple[int, ...]:
        """The tokens of greedy decoding, given the arg-max at every node: a label, or tokens until one leaves the tree."""
        node, tokens = ROOT, []
        while (token := best_M[node]) in self.children[node]:
            tokens.append(token)
            node = self.children[node][token]
        return (*tokens, token)
