"""The in-context examples of a run: the training rows shown before every row, and notes on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cpeft.data.notes import examples_left_out
from cpeft.data.options import DataOptions
from cpeft.models.examples import ExampleFrame, Pair

Encoded = tuple[list[list[int]], int, int]  # token ids, how many rows were cut, how many have fewer examples


@dataclass(frozen=True)
class ShownExamples:
    """In-context examples in the order in which they are shown, and their places among the training rows of the run."""

    examples: tuple[Pair, ...] = ()
    places: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, drawn: Mapping[int, Pair], options: DataOptions, frame: ExampleFrame) -> "ShownExamples":
        """Those of the drawn examples, given by their places, that fit before the rows that `frame` encodes."""
        requested, budget, places = options.examples, options.examples_tokens, list(drawn)
        frame = replace(frame, examples=tuple(drawn.values()))
        fit = frame.fitting(budget)
        kept = tuple(frame.examples[i] for i in fit)
        notes = [f"{len(fit)} of data.examples = {requested} stand before every row, {frame.tokens(kept)} tokens"]
        if len(places) < requested:
            notes.append(f"there are {len(places)} training rows for data.examples = {requested}")
        if len(fit) < len(places):
            notes.append(examples_left_out(len(places) - len(fit), len(places), budget))
        if not frame.codec.takes_turns:
            notes.append("the chat template renders no earlier turns, so examples are written into the user's turn")
        return cls(kept, tuple(places[i] for i in fit), tuple(notes))

    def encode(self, frame: ExampleFrame, texts: Sequence[str], limit: int | None, first: int | None = None) -> Encoded:
        """Token ids of sources after the examples, as returned by `Frame.encode`. For training rows `first` is the place of the
        first text: a row that is an example itself is shown after the other examples only."""
        own = {} if first is None else {place - first: i for i, place in enumerate(self.places)}
        found: list[list[int]] = [[] for _ in texts]
        cut = fewer = 0
        groups = {i: [i] for i in own if 0 <= i < len(texts)}
        groups[-1] = [i for i in range(len(texts)) if i not in groups]
        for place, members in groups.items():
            examples = tuple(pair for i, pair in enumerate(self.examples) if i != own.get(place))
            rows, shortened, left_out = replace(frame, examples=examples).encode([texts[i] for i in members], limit)
            for i, row in zip(members, rows, strict=True):
                found[i] = row
            cut, fewer = cut + shortened, fewer + left_out
        return found, cut, fewer
