"""In-context examples: training rows with their answers, written before a row.

    fields, instruction    [opening]  example  cue answer  (empty line)  example  cue answer  (empty line)  row  cue
    chat                   user: opening example cue   assistant: answer   ...   user: opening row cue

As text each example has the form of the row, followed by cue and answer; an instruction comes once, before the first
(encoder-decoder rows end without a cue, their examples have one). In chat form the examples are earlier turns of the model's
own template, each with the instruction, like the row's turn; a template that renders no earlier turns gets them as text inside
the user's turn. Where a row does not fit behind all examples, the last ones are left out for this row; its own text is cut
only behind none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cpeft.models.text import TextCodec

Pair = tuple[str, str]  # the source of an example, and its answer


@dataclass(frozen=True)
class ExampleFrame:
    """The text before rows: `examples` with the `cue` of the task, after the `opening` that all sources begin with."""

    codec: TextCodec
    cue: str = ""
    opening: str = ""
    examples: tuple[Pair, ...] = ()

    def lead(self, count: int | None = None) -> list[str]:
        """The text before a row's own, with the first `count` examples or all of them."""
        return self.codec.lead(self.examples[:count], self.opening, self.cue)

    def tokens(self, examples: Sequence[Pair]) -> int:
        """The number of tokens that examples add to a row."""
        behind = self.codec.lead(examples, self.opening, self.cue)
        return self.codec.count(behind) - self.codec.count(self.lead(0))

    def fitting(self, budget: int) -> list[int]:
        """The places of the examples that are together at most `budget` tokens, taken in their order."""
        kept: list[int] = []
        for place in range(len(self.examples)):
            if self.tokens([self.examples[i] for i in (*kept, place)]) <= budget:
                kept.append(place)
        return kept

    def encode(self, texts: Sequence[str], limit: int | None) -> tuple[list[list[int]], int, int]:
        """Token ids of sources behind as many of the examples as leave a row whole within `limit` tokens; how many rows were
        cut, and how many have fewer examples than there are. Raises TooLong as `TextCodec.sources` does."""
        done: dict[int, list[int]] = {}
        left, fewer = list(range(len(texts))), 0
        for count in range(len(self.examples), 0, -1):
            rows, _ = self.codec.sources([texts[i] for i in left], self.cue, None, self.opening, self.lead(count))
            done |= {i: row for i, row in zip(left, rows, strict=True) if limit is None or len(row) <= limit}
            left = [i for i in left if i not in done]
            fewer = fewer or len(left)
            if not left:
                break
        rows, cut = self.codec.sources([texts[i] for i in left], self.cue, limit, self.opening)
        done |= dict(zip(left, rows, strict=True))
        return [done[i] for i in range(len(texts))], cut, fewer
