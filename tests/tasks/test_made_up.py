"""Made-up rows read as their task's own: they render, carry every label, and repeat no text within or across splits."""

import pytest

from cpeft.tasks import TASKS
from cpeft.tasks.made_up import made_up

EVERY = [name for name in TASKS.names() if not TASKS.get(name).rows]


@pytest.mark.parametrize("name", EVERY)
def test_made_up_rows_are_rows_of_the_task(name):
    task = TASKS.get(name)
    count = max(12, len(task.words))
    rows = {split: list(made_up(task, split, count)) for split in ("train", "test")}
    examples = [task.example(row) for split in rows.values() for row in split]
    assert len({example.source for example in examples}) == 2 * count
    assert all(example.target in example.references for example in examples)
    if task.words:
        assert {example.target for example in examples[:count]} == set(task.labels())
    if task.group:
        assert len({example.group for example in examples[:count]}) < count


def test_answers_stand_in_their_text():
    for name in ("squad", "squad_v2", "newsqa", "record"):
        for row in made_up(TASKS.get(name), "train", 3):
            example = TASKS.get(name).example(row)
            assert example.target in example.source
    [row] = made_up(TASKS.get("squad"), "train", 1)
    assert row["context"][row["answers"]["answer_start"][0] :] == row["answers"]["text"][0] == "0"
