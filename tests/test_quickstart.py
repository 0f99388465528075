"""The demonstration in a shortened form, through the command: it ends with a table and a report, and is not run twice."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cpeft.cli import app
from cpeft.models.named_models import ASSETS
from cpeft.store.run_folder import Store

SHORT = [
    "train.steps=2", "train.eval_every=2", "train.batch=2", "seeds=[0]", "data.limit_train=8", "data.limit_validation=4",
    "data.limit_test=6", "eval.bootstrap=0",
]  # fmt: skip


@pytest.mark.skipif(
    not (ASSETS / "mini").exists(), reason="no embedded model in this checkout; tools/build_mini makes it"
)
def test_the_demonstration_in_short(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = CliRunner().invoke(app, ["run", "quickstart", *SHORT, "--store", str(store)])
    assert first.exit_code == 0, first.output
    results = Store(store).results()
    assert {result.stage for result in results} == {"sources", "targets", "shared", "similarity"}
    assert {result.few_shot for result in results if result.stage == "targets"} == {16, "full"}
    labels = {result.label.split(" few_shot")[0] for result in results}
    assert {"random", "vocabulary", "SPoT", "ATTEMPT", "ATTEMPT shared"} <= labels
    page = (store / "report.html").read_text(encoding="utf-8")
    for part in (
        "Scores",
        "Learning curves",
        "Where the attention goes",
        "How alike the prompts are",
        "Example predictions",
    ):
        assert part in page
    assert "report.html" in first.output

    written = {path: path.stat().st_mtime_ns for path in store.glob("*/*/result.json")}
    second = CliRunner().invoke(app, ["run", "quickstart", *SHORT, "--store", str(store)])
    assert second.exit_code == 0, second.output
    assert written == {path: path.stat().st_mtime_ns for path in store.glob("*/*/result.json")}
