"""Text to token ids and back, for one tokenizer and model.

Sources carry the tokenizer's own special tokens and no others: the text of a row is plain text (`row_tokens.py`). Targets end
with the end token and never repeat the token that the model's decoder starts with. For decoder-only models a source ends in an
answer cue and a target begins where a word would: byte-level vocabularies need the space spelled out, SentencePiece and
WordPiece add it themselves.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile
from typing import Any

from cpeft.errors import TooLong
from cpeft.models.row_tokens import RowTokens


def positions_of(config: Any) -> int | None:
    """The number of positions for prompt and text together, None where the model sets no limit."""
    encoder = getattr(config, "encoder", None) if config.is_encoder_decoder else None
    limit = getattr(encoder or config.get_text_config(), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def check_fits(positions: int | None, model: str, prompt: int, text: int) -> None:
    """Raise TooLong unless `prompt` rows and `text` tokens fit the positions of a model."""
    if positions is not None and prompt + text > positions:
        raise TooLong(
            f"{prompt} prompt rows and {text} tokens do not fit the {positions} positions of {model}; "
            f"set data.max_source to at most {max(positions - prompt, 0)} or shorten prompt.length"
        )


class TextCodec:
    """Encodes sources and targets, decodes predictions."""

    before = behind = ""  # text around every source, from a chat template
    special = True  # whether the tokenizer adds its special tokens to sources

    def __init__(self, tokenizer: Any, config: Any) -> None:
        self.tokenizer = tokenizer
        self.tokens = RowTokens(tokenizer)
        self.encoder_decoder = bool(config.is_encoder_decoder)
        self.start = getattr(config, "decoder_start_token_id", None)
        end_ids = getattr(config, "eos_token_id", None)  # one token, or several of which any ends an answer
        ends = (tokenizer.eos_token_id, tokenizer.sep_token_id, *(end_ids if isinstance(end_ids, list) else [end_ids]))
        self.end: Any = next((end for end in ends if end is not None), None)
        self.pad = tokenizer.pad_token_id
        self.positions = positions_of(config)

    @cached_property
    def takes_turns(self) -> bool:
        """False where examples are to be earlier turns of a chat and cannot be."""
        return True

    @cached_property
    def _space(self) -> str:
        tokens = self.tokens.ids(["a"])[0] + self.tokens.ids(["b"])[0]
        return "" if " " in self.tokenizer.decode(tokens).strip() else " "

    def count(self, lead: Sequence[str]) -> int:
        """The number of tokens before a row."""
        return len(self.tokens.ids([""], self.special, lead)[0])

    def lead(self, examples: Sequence[tuple[str, str]], opening: str = "", cue: str = "") -> list[str]:
        """The text before a row's own with these examples, sources and answers: the beginning of every source, then each
        example with cue and answer and an empty line. Parts of template and cue alternate with parts of rows, as
        `RowTokens.ids` takes them."""
        gap = "\n" if opening else ""  # between opening and row, which the row's own text has
        parts = [self.before, opening + gap]
        for text, answer in examples:
            parts[-1] += text.removeprefix(opening + gap)
            parts += [cue.rstrip(), f" {answer}\n\n"]
        return [*parts[:-1], parts[-1].removesuffix(gap)]

    def sources(
        self, texts: Sequence[str], cue: str = "", limit: int | None = None, opening: str = "",
        lead: Sequence[str] = (),
    ) -> tuple[list[list[int]], int]:  # fmt: skip
        """Token ids of source texts, cut to `limit`, and how many were cut. `cue` is put behind the text of decoder-only
        models, with the control tokens that it writes; a cut takes the end of the text and leaves the cue, or the tokenizer's
        end token, in place. Raises TooLong where a cut would reach into the `opening` that all texts begin with. A `lead` takes
        the place of that opening and of what stands before it."""
        before, behind = lead or [self.before], self.after(cue)
        if lead:
            texts = [text.removeprefix(opening) for text in texts]
        rows = self.tokens.ids(texts, self.special, before, behind)
        if self.special and not self.encoder_decoder:
            rows = [row[:-1] if row[-1:] == [self.end] else row for row in rows]
        rows = [row or [self.end] for row in rows]  # an empty text still has a position to attend to
        first = len(self.tokens.ids([opening], self.special, before)[0]) if opening else 0
        tail_ids = self.tokens.ids([""], behind=behind)[0] if behind else []
        cut = 0
        for i, row in enumerate(rows):
            if limit is not None and len(row) > limit:
                tail = tail_ids or (row[-1:] if self.encoder_decoder else [])
                if opening and limit <= first + len(tail):
                    raise TooLong(f"data.max_source = {limit} leaves nothing of the text: instruction, cue and template "
                                  f"take {first + len(tail)} tokens; set it higher")  # fmt: skip
                rows[i] = [*row[: max(limit - len(tail), 0)], *tail][:limit]
                cut += 1
        return rows, cut

    def after(self, cue: str) -> str:
        """The text after a source: the cue, and a template's text up to the answer; nothing on encoder-decoder models."""
        return "" if self.encoder_decoder else cue + self.behind

    @cached_property
    def _unknown(self) -> int | None:
        """The token of characters that the vocabulary lacks; None where there is none, or it has another meaning too."""
        found = self.tokenizer.unk_token_id
        return None if found in (self.end, self.pad, self.start, self.tokenizer.bos_token_id) else found

    def unknown(self, ids: Sequence[int]) -> int:
        """The number of unknown tokens in a text."""
        return 0 if self._unknown is None else ids.count(self._unknown)

    def targets(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of target texts, ending in the end token."""
        if self.encoder_decoder:
            rows = self.tokens.ids(texts, special=True)
            rows = [row[1:] if row[:1] == [self.start] and row[0] != self.end else row for row in rows]
        else:
            rows = self.tokens.ids([self._space + text for text in texts])
        return [row if row[-1:] == [self.end] else [*row, self.end] for row in rows]

    def surface(self, texts: Sequence[str]) -> list[str]:
        """Texts as this tokenizer writes them: an uncased one gives `entity` for `Entity`."""
        return [self.decode(ids) for ids in self.targets(texts)]

    def read(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """The text of sources as the model reads them, special tokens included."""
        how = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        return [str(self.tokenizer.decode(list(row), **how)) for row in rows]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids up to the end token, without special tokens, stripped."""
        answer = list(takewhile(lambda token: token != self.end, ids))
        return str(self.tokenizer.decode(answer, skip_special_tokens=True)).strip()
