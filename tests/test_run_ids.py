"""Run ids of every recipe at tiny size stay those of `run_ids.json`, or finished stores would run again.

`python tests/test_run_ids.py` writes the file anew, for a change that is meant to change ids. The model enters as its name,
because random weights differ in their last bits between processors. A run that starts from other runs has no id before they
are finished; its state is in the place of the id.
"""

import json
import os
from pathlib import Path
from unittest.mock import patch

import pytest

from cpeft.store.run_folder import Store
from cpeft.study.recipe import runs as recipe_run
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.tiny import tiny
from cpeft.study.runner.plan import Plan
from every_recipe import EVERY

FILE = Path(__file__).with_name("run_ids.json")
RECIPES = sorted(EVERY.keys() - {"causal-stories"})  # which needs rows that a script writes


def run_ids(name: str) -> dict[str, str]:
    """The id, or the state where there is none yet, of every run of a recipe."""
    recipe = tiny(load_recipe(EVERY[name]))
    with patch.object(recipe_run, "model_identity", lambda place: "a model"):
        entries = Plan(recipe, Store(Path("nowhere"))).entries()
    return {str(entry.run): entry.folder.id if entry.folder else entry.state for entry in entries}


@pytest.mark.parametrize("name", RECIPES)
def test_run_ids_stay(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CPEFT_DATA", raising=False)  # the rows are made up
    assert run_ids(name) == json.loads(FILE.read_text(encoding="utf-8"))[name]


if __name__ == "__main__":
    import tempfile

    os.environ.pop("CPEFT_DATA", None)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        found = {name: run_ids(name) for name in RECIPES}
    FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
