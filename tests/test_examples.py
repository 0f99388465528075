"""Every example runs, with fewer steps and rows; the recipes that need rows or a model of somewhere else are read."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cpeft.config import read_toml
from cpeft.study.recipe.recipe import load_recipe
from cpeft.tasks import TASKS
from tiny import SRC, run_cpeft

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = ("train.steps=2", "train.batch=4", "data.limit_validation=4", "data.limit_test=8", "eval.bootstrap=20")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy, in which the example may leave files."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path / "examples")
    return tmp_path / "examples"


def test_every_example_is_on_the_page():
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = [
        path.relative_to(EXAMPLES).as_posix()
        for path in EXAMPLES.rglob("*")
        if path.suffix in (".toml", ".py", ".yaml")
    ]
    assert all(name in page for name in files), files


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "scaled.py"))
def test_scripts(script, folder):
    env = {**os.environ, "PYTHONPATH": SRC, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script, "2"], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    shown = {
        "train.py": r"accuracy \d+\.\d \[.*\]\n16 rows of width 256",
        "own_loop.py": r"step 1: loss .*\nstep 2: loss ",
    }
    assert re.match(shown[script], done.stdout)


@pytest.mark.slow
def test_a_method_of_ones_own(folder):
    done = run_cpeft("run", "own-method.toml", *SMALL, "--store", "store")  # in a process that ends with its plugin
    assert done.returncode == 0, done.stderr
    trained = {json.loads(path.read_text())["label"]: json.loads(path.read_text())["trainable"]
               for path in Path("store").glob("targets/*/result.json")}  # fmt: skip
    assert trained == {"prompt tuning": 16 * 256, "scaled": 1}
    assert "scaled" in done.stdout


@pytest.mark.slow
def test_rows_of_ones_own(folder, cpeft_main):
    code, _, err = cpeft_main("run", "reviews/study.toml", *SMALL, "--store", "store")
    assert code == 0, err
    results = [json.loads(path.read_text()) for path in Path("store").glob("targets/*/result.json")]
    assert {result["label"] for result in results} == {"prompt tuning", "SPoT"}
    assert all(set(result["scores"]["reviews"]) == {"accuracy", "macro_f1"} for result in results)
    rows = {split: (EXAMPLES / "reviews" / f"{split}.csv").read_text().splitlines()[1:] for split in ("train", "test")}
    assert not set(rows["train"]) & set(rows["test"])


@pytest.mark.slow
def test_a_chat_model(folder, cpeft_main, smollm2):
    code, _, err = cpeft_main("run", "chat.toml", *SMALL, "data.limit_test=2", "--store", "store")
    assert code == 0, err
    assert len(list(Path("store").glob("*/*/result.json"))) == 2


@pytest.mark.parametrize("recipe", sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.toml")))
def test_recipes_are_read(recipe):
    path = EXAMPLES / recipe
    if "stage" in (table := read_toml(path)) and "plugins" not in table:
        runs = load_recipe(path).training
        assert runs
        assert all(task.endswith(".toml") or task in TASKS for run in runs for task in run.settings.tasks)
