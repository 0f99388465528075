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
STARTS = {"tpv-smollm2": ("tpv-smollm2", "attempt-smollm2")}  # the studies that start from an archive

pytestmark = pytest.mark.skipif(not ARCHIVES, reason="no study has committed an archive")


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.parents[1].name)
def test_a_committed_archive_is_whole_and_small(path):
    assert path.stat().st_size < 5_000_000
    assert {finding.level for finding in verify(path, rescore=False)} <= {"note", "ok", "warning", "unchecked"}


@pytest.mark.parametrize(
    ("path", "study"), [(path, study) for path in ARCHIVES for study in STARTS[path.parents[1].name]]
)
def test_a_clean_clone_continues_from_a_committed_archive(path, study, smollm2, tmp_path, monkeypatch):
    """Its source prompts are finished runs of the recipe: settings, model and rows give them the same ids."""
    if not os.environ.get("CPEFT_DATA"):
        if not SHARED.is_dir():
            pytest.skip("the rows decide the ids: set CPEFT_DATA")
        monkeypatch.setenv("CPEFT_DATA", str(SHARED))
    sources = {run.path for run in restore(path, tmp_path).new if run.path.parent.name == "sources"}
    entries = Plan(load_recipe(STUDIES / study / "recipe.toml"), Store(tmp_path)).entries()
    assert {entry.folder.path for entry in entries if entry.run.stage == "sources" and entry.state == "done"} == sources
    assert sources
