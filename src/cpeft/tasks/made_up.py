"""Made-up rows of any task, in the schema of its dataset: for trial runs on machines without its data.

Texts contain their split, column and place, so that no two rows are equal; labels come in turn, and an open answer is part
of its text.
"""

from collections.abc import Callable, Iterator
from typing import Any

from cpeft.tasks.base import Code, Task

Columns = dict[str, Any]


def made_up(task: Task, split: str, count: int) -> Iterator[Columns]:
    """`count` rows of a split; a task with rows of its own needs none."""
    codes = list(task.words)
    for i in range(count):
        row: Columns = {column: f"{split} {column} {i}" for column in task.shown}
        if codes:
            row[task.label_column] = _written(task, codes[i % len(codes)])
        elif task.values:
            row[task.label_column] = float(task.values[i % len(task.values)])
        elif task.stringified:
            row["answers"] = {"text": [str(i)], "answer_start": [row["context"].rindex(str(i))]}
        elif task.answers and task.name not in MORE:
            row["answers"] = [str(i)]
        yield row | (MORE[task.name](split, i) if task.name in MORE else {})


def _written(task: Task, code: Code) -> Code:
    """How the dataset writes a label code: as it is, or as one of the spellings that stand for it."""
    return next((spelling for spelling, meant in task.codes.items() if meant == code), code)


MORE: dict[str, Callable[[str, int], Columns]] = {  # what a row of these has beside fields and label
    "wsc": lambda split, i: {
        "text": f"{split} {i} it", "span1_index": 0, "span1_text": f"{split} {i}", "span2_index": 2, "span2_text": "it",
    },
    "multirc": lambda split, i: {"idx": {"paragraph": i // 6, "question": i // 3, "answer": i}},
    "record": lambda split, i: {
        "passage": f"{split} {i} was there.\n@highlight\nNobody else was", "entities": [f"{split} {i}", "nobody"],
        "answers": [f"{split} {i}"],
    },
    "math": lambda split, i: {"solution": f"\\boxed{{{i}}}"},
}  # fmt: skip
