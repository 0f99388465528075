"""Text to token ids and back, for one tokenizer and model.

Sources carry the tokenizer's own special tokens. Targets end with the end token and never repeat the token that the
model's decoder starts with. For decoder-only models a source ends in an answer cue and a target begins where a word
would: byte-level vocabularies need the space spelled out, SentencePiece and WordPiece add it themselves.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any


class TextCodec:
    """Encodes sources and targets, decodes predictions."""

    def __init__(self, tokenizer: Any, config: Any) -> None:
        self.tokenizer = tokenizer
        self.encoder_decoder = bool(config.is_encoder_decoder)
        self.start = getattr(config, "decoder_start_token_id", None)
        self.end = tokenizer.eos_token_id
        if self.end is None:
            self.end = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else config.eos_token_id
        self.pad = tokenizer.pad_token_id

    @cached_property
    def _space(self) -> str:
        tokens = self._ids(["a"])[0] + self._ids(["b"])[0]
        return "" if " " in self.tokenizer.decode(tokens).strip() else " "

    def _ids(self, texts: Sequence[str], special: bool = False) -> list[list[int]]:
        if not texts:
            return []
        return self.tokenizer(list(texts), add_special_tokens=special, verbose=False)["input_ids"]  # type: ignore[no-any-return]

    def sources(self, texts: Sequence[str], cue: str = "", limit: int | None = None) -> tuple[list[list[int]], int]:
        """Token ids of source texts, cut to `limit`, and how many were cut. `cue` is put behind the text of decoder-only
        models; a cut takes the end of the text and leaves the cue, or the tokenizer's end token, in place."""
        if self.encoder_decoder:
            rows = self._ids(texts, special=True)
        else:
            rows = self._ids([text + cue for text in texts], special=True)
            rows = [row[:-1] if row[-1:] == [self.end] else row for row in rows]
        rows = [row or [self.end] for row in rows]  # an empty text still has a position to attend to
        tail = [] if self.encoder_decoder or not cue else self._ids([cue])[0]
        long = [limit is not None and len(row) > limit for row in rows]
        return [self._cut(row, tail, limit or 0) if cut else row for row, cut in zip(rows, long, strict=True)], sum(
            long
        )

    def _cut(self, row: list[int], tail: list[int], limit: int) -> list[int]:
        tail = tail or (row[-1:] if self.encoder_decoder else [])
        return [*row[: max(limit - len(tail), 0)], *tail][:limit]

    def targets(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of target texts, ending in the end token."""
        if self.encoder_decoder:
            rows = self._ids(texts, special=True)
            rows = [row[1:] if row[:1] == [self.start] and row[0] != self.end else row for row in rows]
        else:
            rows = self._ids([self._space + text for text in texts])
        return [row if row[-1:] == [self.end] else [*row, self.end] for row in rows]

    def spoken(self, texts: Sequence[str]) -> list[str]:
        """Texts as they come back from this tokenizer: an uncased one says `entity` for `Entity`."""
        return [self.decode(ids) for ids in self.targets(texts)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids up to the end token, without special tokens, stripped."""
        ids = list(ids)
        if self.end in ids:
            ids = ids[: ids.index(self.end)]
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()
