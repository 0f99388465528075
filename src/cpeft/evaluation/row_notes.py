"""Counts over the rows of a split, made while the rows are drawn and encoded, and notes on them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cpeft.data.few_shot import SplitRows
from cpeft.data.notes import FEW, absent, few_validated, unknown
from cpeft.models.text import TextCodec
from cpeft.tasks import Example, Task


@dataclass
class UnknownCharacters:
    """Characters of sources for which the tokenizer has no token, over all rows counted."""

    rows: int = 0
    tokens: int = 0
    of: int = 0
    example: str = ""

    def count(self, codec: TextCodec, sources: Sequence[Sequence[int]], examples: Sequence[Example]) -> None:
        """Add encoded sources to the counts."""
        for ids, example in zip(sources, examples, strict=True):
            self.of += len(ids)
            if unread := codec.unknown(ids):
                self.rows += 1
                self.tokens += unread
                self.example = self.example or example.source

    def notes(self, rows: int, split: str) -> list[str]:
        """The note on them, if there are any."""
        return [unknown(self.rows, rows, split, (self.tokens, self.of), self.example)] if self.rows else []


def class_notes(task: Task, rows: SplitRows, split: str) -> Iterator[str]:
    """Notes on classes without rows, and on a validation split that is too small to select by."""
    if split == "validation" and 0 < len(rows) < FEW:
        yield few_validated(len(rows))
    if task.words and task.kind == "classification" and len(rows):
        words = list(task.words.values())
        there = {words[index] for index in np.unique(rows.classes)}
        if missing := [word for word in dict.fromkeys(words) if word not in there]:
            yield absent(missing, len(rows), split)
