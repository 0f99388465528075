"""The batches `mini` learns from. A batch is a function of the seed and the step, so a build can stop and go on anywhere.

A fifth of the rows are span corruption (Raffel et al. 2020: 15% of the tokens, spans of 3 on average) over the books, the
others questions in many wordings. A part of the questions stands behind a stretch of random vocabulary, as it will stand
behind a soft prompt.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.build_mini import question, reading
from tools.build_mini.corpus import token_ids
from tools.build_mini.families import Families
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


SPANS = Shape(rows=144, source=64, target=16, window=70)
SHORT = Shape(rows=224, source=48, target=8, window=0)
LONG = Shape(rows=64, source=128, target=32, window=141)
CYCLE = ((SHORT, 0.0), (SPANS, 1.0), (SHORT, 0.0), (LONG, 0.5))  # shapes in turn, with the share of corrupted rows
# The three kinds of questions: real rows, generated families, questions about any text.
SHARES = {"real": 0.2, "families": 0.6, "reading": 0.2}


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

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        rng = random.Random(f"{self.seed} {step}")
        shape, spans = CYCLE[step % len(CYCLE)]
        corrupted = round(spans * shape.rows)
        rows = [self.corrupt(shape, rng) for _ in range(corrupted)]
        rows += self.questions(shape, shape.rows - corrupted, rng)
        source = np.full((shape.rows, shape.source), PAD, dtype=np.int64)
        labels = np.full((shape.rows, shape.target), -100, dtype=np.int64)
        for i, (text, answer) in enumerate(rows):
            source[i, : len(text)] = text
            labels[i, : len(answer)] = answer
        inputs = torch.from_numpy(source)
        return Batch(inputs, (inputs != PAD).long(), torch.from_numpy(labels), corrupted)

    def corrupt(self, shape: Shape, rng: random.Random) -> tuple[list[int], list[int]]:
        """A window of the books with spans replaced by sentinels, and the spans."""
        start = rng.randrange(len(self.ids) - shape.window)
        window = self.ids[start : start + shape.window].tolist()
        gone = round(NOISE * shape.window)
        spans = round(gone / SPAN)
        lengths, gaps = _parts(gone, spans, rng), _parts(shape.window - gone, spans + 1, rng)
        source: list[int] = []
        target: list[int] = []
        place = 0
        for i in range(spans):
            sentinel = SIZE - 1 - i
            source += [*window[place : place + gaps[i]], sentinel]
            place += gaps[i]
            target += [sentinel, *window[place : place + lengths[i]]]
            place += lengths[i]
        return [*source, *window[place:], END][: shape.source], [*target, END][: shape.target]

    def questions(self, shape: Shape, count: int, rng: random.Random) -> list[tuple[list[int], list[int]]]:
        """`count` questions that fit the shape, as token ids."""
        rows: list[tuple[list[int], list[int]]] = []
        least = 0 if shape is SHORT else SHORT.source - 8  # long batches are for long rows
        while len(rows) < count:
            drawn = [question.word(self.draw(rng), rng) for _ in range(2 * (count - len(rows)))]
            sources = self.tokenizer([source for source, _ in drawn], verbose=False)["input_ids"]
            targets = self.tokenizer([target for _, target in drawn], verbose=False)["input_ids"]
            for source, target in zip(sources, targets, strict=True):
                if rng.random() < 0.2:
                    source = [*rng.choices(range(3, SIZE - SENTINELS), k=rng.randint(4, 24)), *source]
                if least <= len(source) <= shape.source and len(target) <= shape.target:
                    rows.append((source, target))
        return rows[:count]

    def draw(self, rng: random.Random) -> question.Closed | question.Open:
        (kind,) = rng.choices(list(SHARES), list(SHARES.values()))
        if kind == "real":
            return self.real.draw(rng)
        if kind == "families":
            return self.families.draw(rng)
        return reading.ask(self.text(rng), self.text(rng), rng)

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


def _parts(total: int, parts: int, rng: random.Random) -> list[int]:
    """`total` cut into `parts` pieces of at least one, every cut equally likely."""
    cuts = sorted(rng.sample(range(1, total), parts - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]
