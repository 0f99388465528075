"""Questions from the four source families of `mini/*`, in many wordings; rows of the other families are held out."""

import random
from collections.abc import Sequence
from typing import Any

from tools.build_mini.question import Closed
from tools.mini_tasks import entailment, paraphrase, sentiment, topic
from tools.mini_tasks.family import Family, rows

Wording = tuple[Family, tuple[str, ...], tuple[tuple[str, ...], ...], tuple[str, ...]]

# What to ask, words for the answers (those of the task first), and the clause behind "if" for each answer.
WORDINGS: tuple[Wording, ...] = (
    (
        sentiment.FAMILY,
        ("is the review good or bad?", "what does the writer think?", "what is the verdict?", "is the guest content?"),
        (("negative", "bad", "no", "against", "poor", "thumbs down"), ("positive", "good", "yes", "for", "fine", "thumbs up")),
        ("the writer did not like it", "the writer liked it"),
    ),
    (
        topic.FAMILY,
        ("what is the text about?", "name the subject.", "which page of the paper is it from?", "what is the topic?"),
        (
            ("sports", "sport", "games", "matches"), ("business", "trade", "money", "companies"), ("science", "research"),
            ("weather", "forecast", "climate"), ("arts", "art", "culture", "stage"),
        ),
        ("it is about sport", "it is about business", "it is about science", "it is about weather", "it is about art"),
    ),
    (
        entailment.FAMILY,
        ("does the premise imply the hypothesis?", "if the first is true, is the second true?", "is the second right?"),
        (
            ("entailment", "yes", "true", "implied", "certain"), ("neutral", "maybe", "unknown", "perhaps", "unclear"),
            ("contradiction", "no", "false", "impossible"),
        ),
        ("it must be true", "it may be true", "it cannot be true"),
    ),
    (
        paraphrase.FAMILY,
        ("do both sentences say the same?", "is the second a paraphrase of the first?", "same meaning?"),
        (("different", "no", "other", "unequal", "changed"), ("same", "yes", "equal", "paraphrase", "unchanged")),
        ("the meaning differs", "the meaning is the same"),
    ),
)  # fmt: skip

PAIRS = tuple(wording for wording in WORDINGS if wording[0] in (entailment.FAMILY, paraphrase.FAMILY))


class Families:
    """Draws rows that are in no validation or test split of the tasks."""

    def __init__(self) -> None:
        self.kept = {
            family.name: {family.key(row) for split in ("validation", "test") for row in rows(family)[split]}
            for family, *_ in WORDINGS
        }

    def draw(self, rng: random.Random, wordings: Sequence[Wording] = WORDINGS) -> Closed:
        family, asks, meanings, when = rng.choice(wordings)
        code = rng.randrange(len(family.words))
        row: dict[str, Any] = family.draw(rng, code)
        while family.key(row) in self.kept[family.name]:
            row = family.draw(rng, code)
        fields = [(label, row[column]) for label, column in family.fields]
        return Closed(family.name, asks, fields, meanings, when, code)
