"""Instructions: derived from a task's title and labels, exact for three tasks, sound for all, and for users' own."""

import pytest

from cpeft.tasks import TASKS, instruction
from cpeft.tasks.custom import load_custom

PAIR = {"sentence1": "A dog runs.", "sentence2": "An animal moves.", "label": 1}

GOLDEN = {
    "rte": (
        PAIR,
        "Does the first sentence entail the second?\n"
        "Answer with the label alone, one of: entailment, not_entailment.\n"
        "sentence1: A dog runs.\n"
        "sentence2: An animal moves.",
    ),
    "trec": (
        {"text": "How far ?", "coarse_label": 5},
        "What kind of answer does a question want?\n"
        "Answer with the label alone, one of: Abbreviation, Entity, Description, Person, Location, Quantity.\n"
        "text: How far ?",
    ),
    "math": (
        {"problem": "What is $1+1$?", "level": "Level 1", "type": "Algebra", "solution": "$\\boxed{2}$"},
        "Solve the problem step by step and put the final answer into \\boxed{}.\n"
        "level: Level 1\n"
        "type: Algebra\n"
        "problem: What is $1+1$?",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_text(name):
    task, (row, text) = TASKS.get(name), GOLDEN[name]
    example = task.example(row, instruction=instruction(task))
    assert example.source == text
    assert example.target == task.example(row).target


@pytest.mark.parametrize("name", TASKS.names())
def test_every_task_says_what_to_do_and_which_labels_there_are(name):
    task = TASKS.get(name)
    for style in ("words", "spaced", "numbers"):
        first, *rest = instruction(task, style).split("\n")
        assert first[0].isupper()
        assert first.endswith((".", "?"))
        assert ":" not in first
        assert bool(rest) == bool(task.words or task.values)
        for label in task.labels(style):
            assert label in rest[0]
    assert instruction(task).isascii()


def test_labels_with_spaces_and_numbers_that_are_explained():
    rte = TASKS.get("rte")
    assert rte.labels("spaced") == ("entailment", "not entailment")
    assert rte.example(PAIR, style="spaced").target == "not entailment"
    assert "one of: 0 (entailment), 1 (not_entailment)." in instruction(rte, "numbers")
    assert "from 0.0 to 5.0" in instruction(TASKS.get("stsb"))


def test_an_unanswerable_question_is_told_what_to_say():
    row = {"question": "Who?", "context": "Nobody.", "answers": {"text": [], "answer_start": []}}
    task = TASKS.get("squad_v2")
    assert f'"{task.example(row).target}"' in instruction(task)


def test_a_stringified_answer_is_asked_for():
    told = instruction(TASKS.get("squad_v2"), written="stringified")
    assert "{'text': [...], 'answer_start': [...]}" in told
    assert "unanswerable" not in told
    assert instruction(TASKS.get("rte"), written="stringified") == instruction(TASKS.get("rte"))


def test_a_users_own_task(tmp_path):
    path = tmp_path / "own.toml"
    text = 'name = "own"\ntemplate = "review: {text}"\n{more}\n[labels]\n0 = "bad"\n1 = "bad"\n2 = "good"\n'
    text += '[files]\ntest = "t.csv"\n'

    def told(more, style="words"):
        path.write_text(text.replace("{more}", more))
        return instruction(load_custom(path), style).split("\n")

    assert told("") == ["Which label fits the text?", "Answer with the label alone, one of: bad, good."]
    assert told('title = "reviews of soap"')[0] == "Reviews of soap."
    assert told('title = "reviews of soap"\nask = "Is it good?"')[0] == "Is it good?"
    assert told("", "numbers")[1] == "Answer with the number alone, one of: 0 (bad), 1 (bad), 2 (good)."
    source = load_custom(path).source({"text": "Fine."}, instruction="Do.")
    assert source == "Do.\nreview: Fine."
