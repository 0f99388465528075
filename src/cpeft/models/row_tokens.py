"""Text as data: token ids of texts, in which no text becomes a control token.

Tokenizers take `</s>` or `<|im_end|>` in any text for the control token of that name, so that a row could end its own source
or open another turn of a chat. Here control tokens are renamed to private names that occur in no text. The text of a
chat template or a cue uses those names (`before`, `behind`); the text of a row is left as it is and becomes ordinary tokens.
The ids of all other text are the tokenizer's own.
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import count
from typing import Any

from tokenizers import Tokenizer

BRACKETED = re.compile(r"[^\w\s].*\w.*[^\w\s]", re.DOTALL)
STEM = "cpeftcontrol"  # what private names begin with: lower-case letters pass every normalizer


class RowTokens:
    """Encodes texts with one tokenizer. `template` is what else may write control tokens: added tokens in brackets, such as
    `<|user|>`, that stand in it count as control tokens even where the tokenizer does not call them special."""

    def __init__(self, tokenizer: Any, template: str = "") -> None:
        self.tokenizer = tokenizer
        added = {str(token): place for place, token in tokenizer.added_tokens_decoder.items()}
        marks = [token for token in added if token in template and BRACKETED.fullmatch(token)]
        special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
        known = {token: added[token] for token in (*special, *marks)}
        known |= {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens}
        self.control = {token: place for token, place in known.items() if token}
        longest_first = sorted(self.control, key=len, reverse=True)
        self._backends: dict[str, Tokenizer] = {}
        self._written = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def ids(
        self, texts: Sequence[str], special: bool = False, before: str | Sequence[str] = "", behind: str = ""
    ) -> list[list[int]]:
        """Token ids of every text between `before` and `behind`, which may write control tokens; `special` adds the
        tokenizer's own around the whole. Where `before` is a sequence, every second part of it is text as a row's is."""
        if not texts:
            return []
        parts = [before] if isinstance(before, str) else list(before)
        stem = next(stem for stem in _stems() if not any(stem in text for text in (*parts, *texts, behind)))
        start = "".join(part if place % 2 else self._marked(part, stem) for place, part in enumerate(parts))
        end = self._marked(behind, stem)
        wholes = [start + text + end for text in texts]
        if self.tokenizer.is_fast:
            rows = self._backend(stem).encode_batch(wholes, add_special_tokens=special)
            return [row.ids for row in rows]
        return [self._by_segments(whole, stem, special) for whole in wholes]

    @cached_property
    def _names(self) -> dict[str, str]:
        """What is put behind a stem for every control token: six letters, so that no name begins another."""
        digits = str.maketrans("0123456789", "abcdefghij")
        return {token: f"z{place:05d}".translate(digits) for place, token in enumerate(self.control)}

    def _marked(self, text: str, stem: str) -> str:
        return self._written.sub(lambda found: stem + self._names[found[0]], text)

    def _backend(self, stem: str) -> Tokenizer:
        """The fast tokenizer with its control tokens renamed."""
        if known := self._backends.get(stem):
            return known
        spec = json.loads(self.tokenizer.backend_tokenizer.to_str())
        name = {token: stem + self._names[token] for token in self.control}
        spec["truncation"] = spec["padding"] = None
        for token in spec["added_tokens"]:
            token["content"] = name.get(token["content"], token["content"])
        _rename(spec["model"], name)
        if len(self._backends) > 1:  # a text can ask for any number of them: keep the first and the newest
            self._backends.pop(max(tuple(self._backends), key=len), None)
        made = self._backends[stem] = Tokenizer.from_str(json.dumps(spec))
        return made

    def _flags(self, token: str) -> Any:
        """What a control token does to the white space beside it."""
        return self.tokenizer.added_tokens_decoder.get(self.control[token])

    def _by_segments(self, whole: str, stem: str, special: bool) -> list[int]:
        """The ids of a text by a tokenizer written in Python, which reads what stands between control tokens apart."""
        tokens = {name: token for token, name in self._names.items()}
        parts = re.split(rf"{stem}(z[a-j]{{5}})", whole)  # text, control token, text, control token, ..., text
        ids: list[int] = []
        for place, part in enumerate(parts):
            if place % 2:
                ids.append(self.control[tokens[part]])
            else:
                left, right = (
                    self._flags(tokens[parts[i]]) if 0 <= i < len(parts) else None for i in (place - 1, place + 1)
                )
                part = part.lstrip() if left and left.rstrip else part
                part = part.rstrip() if right and right.lstrip else part
                ids += self.tokenizer(part, add_special_tokens=False, split_special_tokens=True, verbose=False)[
                    "input_ids"
                ]
        return list(self.tokenizer.build_inputs_with_special_tokens(ids)) if special else ids


def _stems() -> Iterator[str]:
    return (STEM + "x" * length for length in count())


def _rename(model: dict[str, Any], name: dict[str, str]) -> None:
    """Rename tokens in the vocabulary of a model of `tokenizers`; merges that would make one go."""
    vocabulary = model.get("vocab", {})
    if isinstance(vocabulary, list):  # Unigram: pieces with their scores, by id
        model["vocab"] = [[name.get(piece, piece), score] for piece, score in vocabulary]
    else:
        model["vocab"] = {name.get(token, token): place for token, place in vocabulary.items()}
    if model.get("unk_token") in name:
        model["unk_token"] = name[model["unk_token"]]
    if "merges" in model:
        pairs = [(merge, merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
        model["merges"] = [merge for merge, pair in pairs if not {*pair, "".join(pair)} & name.keys()]
