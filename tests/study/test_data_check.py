"""What `doctor`, `plan` and `run` say of a recipe's data, each thing once and with its count."""

import json

import pytest

from cpeft.cli import base
from cpeft.evaluation.task_data import dataset_of
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.runs import task_identity
from cpeft.study.runner.data_check import check_data
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import warn
from cpeft.tasks import TASKS
from tiny import QUICK

TASK = 'name = "own"\ntemplate = "{text}"\n[labels]\n0 = "negative"\n1 = "positive"\n[files]\n'


@pytest.fixture
def recipe(world, tmp_path):
    """A recipe of two stages on one task of one's own, whose files are given."""

    def write(task="", **files):
        (tmp_path / "model").exists() or (tmp_path / "model").symlink_to(world / "model")
        for name, rows in files.items():
            (tmp_path / f"{name}.csv").write_text(
                "text,label\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8"
            )
        named = "".join(f'{name} = "{name}.csv"\n' for name in files)
        (tmp_path / "own.toml").write_text(task + TASK + named)
        stages = "".join(f'[[stage]]\nname = "{stage}"\ntasks = ["own.toml"]\n' for stage in ("one", "two"))
        (tmp_path / "r.toml").write_text(f'name = "r"\n{QUICK}\n{stages}')
        return tmp_path / "r.toml"

    return write


def rows(split, count=40, labels=(0, 1)):
    return [f"w{i} w{i % 7} {split},{labels[i % len(labels)]}" for i in range(count)]


def told(recipe, most=None):
    return [f.what for f in check_data(load_recipe(recipe).training, most) if f.level in ("warning", "error")]


def test_nothing_to_say_of_good_rows(recipe):
    assert told(recipe(train=rows("w80"), validation=rows("w81"), test=rows("w82"))) == []


def test_classes_that_no_row_has(recipe):
    path = recipe(train=rows("w80", labels=[1]), validation=rows("w81"), test=rows("w82", labels=[0]))
    assert told(path) == told(path, most=3) == [
        "no train row of 40 is labelled 'negative': the model cannot learn it",
        "no test row of 40 is labelled 'positive': no score covers it",
    ]  # fmt: skip


def test_few_validation_rows(recipe):
    path = recipe(train=rows("w80"), validation=rows("w81", 5), test=rows("w82"))
    assert told(path) == ["only 5 validation rows choose the best step: each is 20 points of the score"]


@pytest.mark.parametrize("setting", ["train.steps=0", 'method.name="no_prompt"'])
def test_what_concerns_training_alone_is_not_said_without_it(recipe, setting):
    path = recipe(train=rows("w80", labels=[1]), validation=rows("w81", 5), test=rows("w82"))
    found = check_data(load_recipe(path, [setting]).training)
    assert [f.what for f in found if f.level in ("warning", "error")] == []


def test_characters_that_the_tokenizer_does_not_know(recipe):
    train = rows("w80")
    train[3:5] = ["Příliš w1 žluťoučký,0", "w1 kůň w2 w3,1"]
    [said] = told(recipe(train=train, validation=rows("w81"), test=rows("w82")))
    assert said.startswith("2 of 40 train sources have characters that the tokenizer does not know (3 of ")
    assert "as in 'own Příliš w1 žluťoučký'" in said or "as in 'Příliš w1 žluťoučký'" in said


def test_files_whose_quotes_may_have_swallowed_rows(recipe):
    train = [*rows("w80"), '"5 inch', *rows("w83", 30), 'w4",1']
    found = told(recipe(train=train, validation=rows("w81"), test=rows("w82")))
    assert any(
        "line breaks (41 rows were read from 73 lines): did a stray quote swallow rows?" in what for what in found
    )


def test_doctor_plan_and_run_say_the_same(recipe, cpeft_main, tmp_path, capsys, monkeypatch):
    path = recipe(train=rows("w80"), validation=rows("w81", 5), test=rows("w82", labels=[0]))
    expected = told(path)
    assert len(expected) == 2
    _, out, _ = cpeft_main("doctor", path, "--json")
    assert [each["what"] for each in json.loads(out) if each["level"] == "warning"] == expected
    code, out, _ = cpeft_main("plan", path, "--store", tmp_path / "store", "--json")
    assert code == 0
    assert [each["what"] for each in json.loads(out)["warnings"]] == expected
    _, out, _ = cpeft_main("plan", path, "--store", tmp_path / "store")
    assert [out.count(what) for what in expected] == [1, 1]
    monkeypatch.setattr(base.console, "width", 300)
    warn(Plan(load_recipe(path), Store(tmp_path / "store")), base.console)
    out = capsys.readouterr().out
    assert [out.count(what) for what in expected] == [1, 1]


def test_what_is_not_here_is_said_once(recipe, cpeft_main, tmp_path, monkeypatch):
    monkeypatch.delenv("CPEFT_DATA", raising=False)
    dataset_of.cache_clear()
    path = recipe(train=rows("w80"), test=rows("w82"))
    path.write_text(path.read_text().replace('["own.toml"]', '["rte", "cb", "own.toml"]\nseeds = [0, 1, 2]'))
    code, out, _ = cpeft_main("doctor", path, "--json")
    errors = [each["what"] for each in json.loads(out) if each["level"] == "error"]
    assert (code, len(errors)) == (2, 2)
    assert ["rte" in errors[0], "cb" in errors[1]] == [True, True]
    path.write_text(path.read_text().replace('"rte", "cb", ', "").replace('name = "model"', 'name = "no/model"'))
    _, out, _ = cpeft_main("doctor", path, "--json")
    errors = [each["what"] for each in json.loads(out) if each["level"] == "error"]
    assert len(errors) == 1
    assert "no/model" in errors[0]


def test_a_wrong_row_is_said_once_by_its_file(recipe, cpeft_main):
    path = recipe(train=[*rows("w80"), "w1,7"], test=rows("w82"))
    _, out, _ = cpeft_main("doctor", path, "--json")
    [error] = [each["what"] for each in json.loads(out) if each["level"] == "error"]
    assert "train.csv row 41 (line 42): task 'own': label '7'" in error


def test_identity_follows_what_decides_how_a_file_reads(recipe, world, tmp_path):
    """Of packaged tasks it is the text's version and the rows alone, as ever."""
    path = recipe(train=rows("w80"), test=rows("w82"))
    options = load_recipe(path).training[0].settings.data
    found = []
    for more in ("", 'missing = ""\n', 'encoding = "latin-1"\n'):
        (tmp_path / "own.toml").write_text(more + (tmp_path / "own.toml").read_text().replace('missing = ""\n', ""))
        found.append(task_identity("own.toml", tmp_path, options))
    assert len({json.dumps(each) for each in found}) == 3
    version, _, own = task_identity("mini/mood", tmp_path, options)
    assert (version, own) == (TASKS.get("mini/mood").version, "")
