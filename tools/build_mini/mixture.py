"""The batches `mini` learns from. A batch is a function of the seed, step and rank, so a build can stop and go on anywhere.

A quarter of the rows are span corruption (Raffel et al. 2020: 15% of the tokens, spans of 3 on average) over the books, the
others questions in many wordings. A part of the corrupted rows holds its text twice, once whole: what is gone can be found by
comparing. A part of the questions stands behind a stretch of random vocabulary, as it will stand behind a soft prompt.
"""

import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.build_mini import knowledge, question, reading
from tools.build_mini.corpus import token_ids
from tools.build_mini.families import PAIRS, WORDINGS, Families
from tools.build_mini.real import Real
from tools.build_mini.vocabulary import SENTINELS, SIZE, load_tokenizer

PAD, END = 0, 1
SPAN = 3
NOISE = 0.15


@dataclass(frozen=True)
class Shape:
    """Rows, input tokens and output tokens of a batch; `window` is the book tokens a corrupted row starts from."""

    rows: int
    source: int
    target: int
    window: int


COPIES = Shape(rows=64, source=48, target=12, window=0)
SPANS = Shape(rows=72, source=64, target=16, window=70)
SHORT = Shape(rows=112, source=48, target=8, window=0)
LONG = Shape(rows=32, source=128, target=32, window=141)
TWICE = 0.3  # share of the corrupted rows that hold their text twice; all of them while copying is learned
FAMILIES = {"families": WORDINGS, "pairs": PAIRS}


@dataclass(frozen=True)
class Phase:
    """Until step `end`: shapes in turn, with the share of corrupted rows; the shares of the kinds of questions."""

    end: float
    cycle: tuple[tuple[Shape, float], ...]
    shares: dict[str, float]


# Copying comes first: in the whole mixture, from the same start, it was not learned in 500 steps. Then everything alike, then
# mostly the generated families, with what pairs of texts need, to be compared, then mostly those pairs. The
# second round adds the meaning of words.
MANY_SHORT = ((SHORT, 0.0), (SPANS, 1.0), (SHORT, 0.0), (SHORT, 0.0), (LONG, 0.3))
PHASES = (
    Phase(400, ((COPIES, 0.5),), {"copying": 1.0}),
    Phase(
        1250,
        ((SHORT, 0.0), (SPANS, 1.0), (SHORT, 0.0), (LONG, 0.5)),
        {"real": 0.25, "families": 0.5, "copying": 0.12, "reading": 0.13},
    ),
    Phase(2500, MANY_SHORT, {"real": 0.2, "families": 0.65, "copying": 0.05, "reading": 0.1}),
    Phase(4000, MANY_SHORT, {"real": 0.2, "families": 0.5, "comparing": 0.2, "copying": 0.03, "reading": 0.07}),
    Phase(
        5350,
        MANY_SHORT,
        {"real": 0.2, "families": 0.25, "pairs": 0.4, "comparing": 0.07, "copying": 0.03, "reading": 0.05},
    ),
    Phase(
        math.inf,
        MANY_SHORT,
        {
            "real": 0.2,
            "families": 0.15,
            "pairs": 0.35,
            "knowledge": 0.12,
            "comparing": 0.05,
            "copying": 0.03,
            "reading": 0.1,
        },
    ),
)


@dataclass(frozen=True)
class Batch:
    source: Tensor
    mask: Tensor
    labels: Tensor  # -100 where nothing is asked
    corrupted: int  # the first rows are span corruption, the rest questions


class Mixture:
    def __init__(self, corpus: Path, data: Path, out: Path, seed: int, split: str = "train") -> None:
        self.seed = seed
        self.tokenizer = load_tokenizer(out)
        self.ids = token_ids(corpus, "train" if split == "train" else "valid", out)
        self.real = Real(data, split)
        self.families = Families()

    def batch(self, step: int, rank: int = 0) -> Batch:
        """The batch of a step, or one of several such batches."""
        rng = random.Random(f"{self.seed} {step} {rank}")
        phase = next(phase for phase in PHASES if step < phase.end)
        shape, spans = phase.cycle[step % len(phase.cycle)]
        corrupted = round(spans * shape.rows)
        rows = [self.corrupt(shape, shape is COPIES or rng.random() < TWICE, rng) for _ in range(corrupted)]
        rows += self.questions(shape, shape.rows - corrupted, phase.shares, rng)
        return padded(rows, shape, corrupted)

    def plain_spans(self, step: int) -> Batch:
        """A batch of span corruption alone, no text shown twice: what held-out loss is measured on."""
        rng = random.Random(f"{self.seed} spans {step}")
        return padded([self.corrupt(SPANS, False, rng) for _ in range(SPANS.rows)], SPANS, SPANS.rows)

    def corrupt(self, shape: Shape, twice: bool, rng: random.Random) -> tuple[list[int], list[int]]:
        """A window of the books with spans replaced by sentinels, and the spans. Of a text shown twice, double is gone."""
        size = shape.source // 2 - 2 if twice else shape.window
        start = rng.randrange(len(self.ids) - size)
        window = self.ids[start : start + size].tolist()
        gone = round(NOISE * size) * (2 if twice else 1)
        spans = round(gone / SPAN)
        lengths, gaps = _parts(gone, spans, rng), _parts(size - gone, spans + 1, rng)
        source: list[int] = []
        target: list[int] = []
        place = 0
        for i in range(spans):
            sentinel = SIZE - 1 - i
            source += [*window[place : place + gaps[i]], sentinel]
            place += gaps[i]
            target += [sentinel, *window[place : place + lengths[i]]]
            place += lengths[i]
        source = [*source, *window[place:], END]
        if twice:
            source = [*source, *window, END] if rng.random() < 0.5 else [*window, END, *source]
        return source[: shape.source], [*target, END][: shape.target]

    def questions(
        self, shape: Shape, count: int, shares: dict[str, float], rng: random.Random
    ) -> list[tuple[list[int], list[int]]]:
        """`count` questions that fit the shape, as token ids."""
        rows: list[tuple[list[int], list[int]]] = []
        least = SHORT.source - 8 if shape is LONG else 0  # long batches are for long rows
        while len(rows) < count:
            drawn = [question.word(self.draw(shares, rng), rng) for _ in range(2 * (count - len(rows)))]
            sources = self.tokenizer([source for source, _ in drawn], verbose=False)["input_ids"]
            targets = self.tokenizer([target for _, target in drawn], verbose=False)["input_ids"]
            for source, target in zip(sources, targets, strict=True):
                if rng.random() < 0.2:
                    source = [*rng.choices(range(3, SIZE - SENTINELS), k=rng.randint(4, 24)), *source]
                if least <= len(source) <= shape.source and len(target) <= shape.target:
                    rows.append((source, target))
        return rows[:count]

    def draw(self, shares: dict[str, float], rng: random.Random) -> question.Closed | question.Open:
        (kind,) = rng.choices(list(shares), list(shares.values()))
        if kind == "real":
            return self.real.draw(rng)
        if kind == "knowledge":
            return knowledge.ask(rng)
        if kind in FAMILIES:
            return self.families.draw(rng, FAMILIES[kind])
        return rng.choice(reading.KINDS[kind])(self.text(rng), self.text(rng), rng)

    def text(self, rng: random.Random) -> str:
        """A stretch of text from anywhere in the mixture, three words or more."""
        while True:
            if rng.random() < 0.5:
                start = rng.randrange(len(self.ids) - 48)
                text = self.tokenizer.decode(self.ids[start : start + rng.randint(10, 40)], skip_special_tokens=True)
            else:
                drawn = rng.choice((self.families, self.real)).draw(rng)
                text = rng.choice(drawn.fields)[1]
            text = " ".join(text.split()[:40])
            if len(reading.words_of(text)) > 2:
                return text


def padded(rows: list[tuple[list[int], list[int]]], shape: Shape, corrupted: int) -> Batch:
    source = np.full((shape.rows, shape.source), PAD, dtype=np.int64)
    labels = np.full((shape.rows, shape.target), -100, dtype=np.int64)
    for i, (text, answer) in enumerate(rows):
        source[i, : len(text)] = text
        labels[i, : len(answer)] = answer
    inputs = torch.from_numpy(source)
    return Batch(inputs, (inputs != PAD).long(), torch.from_numpy(labels), corrupted)


def _parts(total: int, parts: int, rng: random.Random) -> list[int]:
    """`total` cut into `parts` pieces of at least one, every cut equally likely."""
    cuts = sorted(rng.sample(range(1, total), parts - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]
