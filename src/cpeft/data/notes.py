"""Notes on a task's rows, and which of them are warnings.

Notes are sentences. They are shown before a run and kept in its folder, where reports find warnings by the patterns below.
"""

import re
from collections.abc import Sequence

from cpeft.data.csv_rows import STRAY

FEW = 30  # validation rows, below which the choice of a checkpoint is mostly chance
NAMED = 5  # classes that a note names

CUT = re.compile(r"(\d+) of (\d+) (\w+) sources were cut to (\d+) tokens")
SHARED = re.compile(r"have the text of a")  # in notes about rows that are in two parts of a split
LEFT_IN = re.compile(r"have the text of a .* left in")
UNKNOWN = re.compile(r"(\d+) of (\d+) (\w+) sources have characters that the tokenizer does not know")
ABSENT = re.compile(r"no (\w+) row of (\d+) is labelled")
VALIDATED = re.compile(r"only (\d+) validation rows? choose")
FEWER = re.compile(r"\d+ of \d+ (\w+ rows have fewer examples|examples were left out)")
SWALLOWED = re.compile(re.escape(STRAY))


def cut(rows: int, of: int, split: str, most: int | None) -> str:
    """Sources that lost their end."""
    return f"{rows} of {of} {split} sources were cut to {most} tokens"


def unknown(rows: int, of: int, split: str, tokens: tuple[int, int], example: str) -> str:
    """Sources with the unknown token; `tokens` are the number of unknown tokens and of all."""
    share = f"{tokens[0]} of {tokens[1]} tokens, {tokens[0] / tokens[1]:.1%}"
    return f"{rows} of {of} {split} sources have characters that the tokenizer does not know ({share}), as in {example[:60]!r}"


def absent(classes: Sequence[str], of: int, split: str) -> str:
    """Classes without a row in a split."""
    named = ", ".join(repr(each) for each in classes[:NAMED])
    more = f" and {len(classes) - NAMED} more" if len(classes) > NAMED else ""
    what = "the model cannot learn it" if split == "train" else "no score covers it"
    return f"no {split} row of {of} is labelled {named}{more}: {what}"


def few_validated(rows: int) -> str:
    """Too few rows to choose by."""
    return f"only {rows} validation row{'s' * (rows > 1)} choose the best step: each is {100 / rows:.3g} points of the score"


def fewer_examples(rows: int, of: int, split: str, most: int | None) -> str:
    """Rows that did not fit behind all examples."""
    what = f"{rows} of {of} {split} rows have fewer examples before them than there are"
    return f"{what}, to be no more than data.max_source = {most} tokens"


def examples_left_out(count: int, of: int, most: int) -> str:
    """Examples that are too long together."""
    return f"{count} of {of} examples were left out, which would be more than data.examples_tokens = {most} tokens together"


def of_training(note: str) -> bool:
    """Whether a note matters only where a prompt is trained."""
    return bool(VALIDATED.search(note) or note.startswith("no train row "))


def worrying(note: str) -> bool:
    """Whether a note is a warning."""
    return any(kind.search(note) for kind in (CUT, LEFT_IN, UNKNOWN, ABSENT, VALIDATED, FEWER, SWALLOWED))
