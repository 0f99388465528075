"""Questions from the training splits of squad, qnli, snli, stsb, boolq, wsc and math.

These datasets teach the model and are therefore never targets for it. Contexts are cut to the words around the answer.
"""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.build_mini.corpus import rows
from tools.build_mini.question import Closed, Open

YES_NO = (("yes", "true", "right"), ("no", "false", "wrong"))
Row = dict[str, Any]


def squad(row: Row, rng: random.Random) -> Open | Closed:
    answer, start = row["answers"]["text"][0], row["answers"]["answer_start"][0]
    context = around(row["context"], start, start + len(answer), rng.choice((20, 40, 60)), rng)
    if rng.random() < 0.15:
        return Open(
            "title", ("what is this about?", "name the article."), (("text", context),), row["title"].replace("_", " ")
        )
    if rng.random() < 0.15:
        return Open(
            "ask", ("ask a question with this answer.",), (("answer", answer), ("context", context)), row["question"]
        )
    asks = ("answer the question.", "find the answer in the context.", "copy the words that answer the question.")
    return Open("squad", asks, (("question", row["question"]), ("context", context)), answer)


def around(text: str, start: int, end: int, words: int, rng: random.Random) -> str:
    """About `words` words of `text` with text[start:end] somewhere inside."""
    before, after = text[:start].split(), text[end:].split()
    room = max(words - len(text[start:end].split()), 0)
    left = min(rng.randint(0, room), len(before))
    return " ".join([*before[len(before) - left :], text[start:end], *after[: room - left]])


def qnli(row: Row, rng: random.Random) -> Closed:
    return Closed(
        "qnli",
        ("does the sentence answer the question?", "is the question answered by the sentence?"),
        (("question", row["question"]), ("sentence", row["sentence"])),
        (("entailment", "yes", "answered", "true"), ("not entailment", "no", "unanswered", "false")),
        ("the sentence answers the question", "it does not"),
        row["label"],
    )


def snli(row: Row, rng: random.Random) -> Closed:
    fields = (("premise", row["premise"]), ("hypothesis", row["hypothesis"]))
    if rng.random() < 0.3:
        return Closed(
            "follows",
            ("does the hypothesis follow from the premise?", "does the first imply the second?"),
            fields,
            (("yes", "true", "implied", "certain"), ("no", "false", "not implied", "doubtful")),
            ("the second follows from the first", "it does not follow"),
            int(row["label"] > 0),
        )
    return Closed(
        "snli",
        ("does the premise imply the hypothesis?", "if the premise is true, is the hypothesis true?"),
        fields,
        (
            ("entailment", "yes", "true", "implied", "certain"),
            ("neutral", "maybe", "unknown", "perhaps", "unclear"),
            ("contradiction", "no", "false", "impossible"),
        ),
        ("it must be true", "it may be true", "it cannot be true"),
        row["label"],
    )


def stsb(row: Row, rng: random.Random) -> Open | Closed:
    fields = (("sentence1", row["sentence1"]), ("sentence2", row["sentence2"]))
    if rng.random() < 0.5:
        score = f"{round(row['label'] * 5) / 5:.1f}"
        return Open("stsb", ("how similar are the sentences, from 0 to 5?", "rate the likeness."), fields, score)
    return Closed(
        "alike",
        ("do the sentences mean the same?", "are both about the same thing?"),
        fields,
        (("yes", "same", "alike", "close"), ("no", "different", "unlike", "apart")),
        ("they mean nearly the same", "they differ in meaning"),
        int(row["label"] < 2.5),
    )


def boolq(row: Row, rng: random.Random) -> Closed:
    passage = " ".join(row["passage"].split()[:70])
    return Closed(
        "boolq",
        ("is the answer yes or no?", "answer the question from the passage."),
        (("question", row["question"]), ("passage", passage)),
        YES_NO,
        ("the answer is yes", "the answer is no"),
        1 - row["label"],
    )


def wsc(row: Row, rng: random.Random) -> Closed:
    return Closed(
        "wsc",
        ("does the word stand for the name?", "do both mean the same person or thing?"),
        (("text", row["text"]), ("name", row["span1_text"]), ("word", row["span2_text"])),
        YES_NO,
        ("it does", "it does not"),
        1 - row["label"],
    )


def math(row: Row, rng: random.Random) -> Open:
    problem = (("problem", " ".join(row["problem"].split()[:60])),)
    boxed = re.search(r"\\boxed\{([^{}]{1,12})\}", row["solution"])
    if boxed and rng.random() < 0.5:
        return Open("math", ("solve the problem.", "what is the answer?"), problem, boxed[1])
    return Open("field", ("which field of mathematics is this?", "name the field."), problem, row["type"])


TASKS: dict[str, tuple[float, Callable[[Row, random.Random], Closed | Open]]] = {
    "squad": (0.25, squad),
    "qnli": (0.1, qnli),
    "snli": (0.4, snli),
    "stsb": (0.12, stsb),
    "boolq": (0.05, boolq),
    "wsc": (0.03, wsc),
    "math": (0.05, math),
}  # share of the real questions, and how to ask


class Real:
    """Draws questions from the real rows in `folder` (the `CPEFT_DATA` layout)."""

    def __init__(self, folder: Path, split: str = "train") -> None:
        names = [name for name in TASKS if (folder / name / f"{split}.parquet").exists()]
        self.rows = {name: [row for row in rows(folder, name, split) if row.get("label", 0) != -1] for name in names}
        self.shares = [TASKS[name][0] for name in names]

    def draw(self, rng: random.Random) -> Closed | Open:
        (name,) = rng.choices(list(self.rows), self.shares)
        return TASKS[name][1](rng.choice(self.rows[name]), rng)
