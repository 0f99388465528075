"""The `mini/*` tasks: text written by grammars of this project (`tools/mini_tasks`), so that the whole job runs without a
download. Their rows lie in the package.

Four families are sources: the embedded model has seen such rows, as T5 has seen MNLI. All others are held out of its training.
Which targets are kin of a source and which is far from all was fixed before any transfer was run:

- `mini/mood` is kin of `mini/sentiment`, and `mini/claim` of `mini/entailment`, as SciTail is of MNLI: the same question in
  another world. They share no template, no label word and no word of the lexicon with any source (tested on the rows).
- `mini/acceptability` is far from all: it asks about the form of a sentence, never about what it says.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpeft.tasks.base import TASKS, Sizes, Task, coded, named

SOURCES = ("mini/sentiment", "mini/topic", "mini/entailment", "mini/paraphrase")
KIN = {"mini/mood": "mini/sentiment", "mini/claim": "mini/entailment"}
FAR = ("mini/acceptability",)

SIZES = {"train": 4000, "validation": 500, "test": 1000}
ROWS = Path(__file__).parents[1] / "assets" / "mini_tasks"


def _task(name: str, title: str, fields: Sequence[tuple[str, str]], words: Sequence[str] = (), **more: Any) -> str:
    """Register `mini/<name>`; returns the name."""
    task = Task(
        f"mini/{name}", title, tuple(fields), Sizes(**SIZES), prefix=name, words=coded(*words), rows=ROWS / name, **more
    )
    TASKS.add(task.name, task)
    return name


TRADES = ("plumber", "electrician", "painter", "gardener", "locksmith", "roofer")
SUPPORT = ("refund", "delivery", "login", "cancel", "invoice", "repair")
NAMES = (
    _task("acceptability", "Is the sentence well-formed?", named("sentence"), ("unacceptable", "acceptable")),
    _task(
        "claim",
        "Does the claim follow from the naturalist's notes?",
        [*named("notes"), ("assertion", "claim")],
        ("unproven", "proven"),
    ),
    _task(
        "entailment",
        "Does the hypothesis follow from the premise?",
        named("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
    ),
    _task("formality", "Is the message formal or informal?", [("message", "text")], ("informal", "formal")),
    _task("mood", "Is the writer of a travel diary glad or unhappy?", [("diary", "text")], ("unhappy", "glad")),
    _task("paraphrase", "Do the two sentences say the same?", named("first", "second"), ("different", "same")),
    _task(
        "qa",
        "What is the answer to a question from a passage?",
        named("question", "passage"),
        kind="extraction",
        metrics=("squad_f1", "squad_em"),
        answers=lambda row: (str(row["answer"]),),
    ),
    _task(
        "question",
        "What kind of answer is asked for?",
        named("question"),
        ("person", "place", "time", "number", "reason", "manner"),
    ),
    _task("sentiment", "Does the review praise or blame?", [("review", "text")], ("negative", "positive")),
    _task(
        "similarity",
        "How similar are two sentences, 0 to 5?",
        named("first", "second"),
        kind="regression",
        metrics=("pearson", "spearman"),
        values=tuple(f"{half / 2:.1f}" for half in range(11)),
        answers=lambda row: (f"{float(row['label']):.1f}",),
    ),
    _task("support", "What does the customer want?", [("message", "text")], SUPPORT),
    _task(
        "topic",
        "Which section is the main news from?",
        [("text", "text")],
        ("sports", "business", "science", "weather", "arts"),
    ),
    _task("trade", "Which trade does the caller need?", [("message", "text")], TRADES),
    _task(
        "wic",
        "Does a word mean the same in both sentences?",
        named("word", "first", "second"),
        ("different", "same"),
    ),
)
