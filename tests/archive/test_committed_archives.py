"""The archives that studies commit: a clean clone continues from their runs."""

import os
from pathlib import Path

import pytest

from cpeft.archive.restore import restore
from cpeft.archive.verify import verify
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan

STUDIES = Path(__file__).parents[2] / "studies"
SHARED = STUDIES.parents[1] / "shared" / "data"
ARCHIVES = sorted(STUDIES.glob("*/data/store.zip"))
STARTS = {  # the recipes that start from an archive
    "tpv-smollm2": ("tpv-smollm2/recipe", "tpv-smollm2/six", "attempt-smollm2/recipe")
}

pytestmark = pytest.mark.skipif(not ARCHIVES, reason="no study has committed an archive")


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.parents[1].name)
def test_a_committed_archive_is_whole_and_small(path):
    assert path.stat().st_size < 5_000_000
    assert {finding.level for finding in verify(path, rescore=False)} <= {"note", "ok", "warning", "unchecked"}


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.parents[1].name)
def test_a_clean_clone_continues_from_a_committed_archive(path, smollm2, tmp_path, monkeypatch):
    """Its source prompts are finished runs of the recipes: settings, model and rows give them the same ids."""
    if not os.environ.get("CPEFT_DATA"):
        if not SHARED.is_dir():
            pytest.skip("the rows decide the ids: set CPEFT_DATA")
        monkeypatch.setenv("CPEFT_DATA", str(SHARED))
    restored, used = {run.path for run in restore(path, tmp_path).new}, set()
    for recipe in STARTS[path.parents[1].name]:
        entries = Plan(load_recipe(STUDIES / f"{recipe}.toml"), Store(tmp_path)).entries()
        sources = [entry for entry in entries if entry.run.stage == "sources"]
        assert {entry.state for entry in sources} == {"done"}, recipe
        used |= {entry.folder.path for entry in sources}
    assert used == restored
