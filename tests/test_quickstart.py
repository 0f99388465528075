"""The demonstration in a shortened form, through the command: it ends with a table, one text before and after, a verdict and a
report, and is not run twice."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cpeft.cli import app
from cpeft.models.named_models import ASSETS, named_model

SHORT = [
    "train.steps=2", "train.eval_every=2", "train.batch=2", "data.limit_train=8", "data.limit_validation=2",
    "data.limit_test=6", "eval.bootstrap=0",
]  # fmt: skip
STAGES = {"untrained", "tuned", "wrong", "transfer"}
needs_mini = pytest.mark.skipif(
    not (ASSETS / "mini").exists(), reason="no embedded model in this checkout; tools/build_mini makes it"
)
needs_smollm2 = pytest.mark.skipif(
    not named_model("smollm2").here, reason="no smollm2 on this machine; cpeft fetch smollm2 brings it"
)


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param("quickstart-mini", marks=needs_mini),
        pytest.param("quickstart", marks=[needs_smollm2, pytest.mark.slow]),
    ],
)
def test_the_demonstration_in_short(recipe: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    # the steps of a stage that only scores prompts stay at 0
    short = [f"{stage}.{each}" for each in SHORT for stage in sorted(STAGES - {"wrong"}) if "train." in each]
    short += [each for each in SHORT if "train." not in each] + ["tuned.seeds=[0]", "wrong.seeds=[0]", "transfer.seeds=[0]"]
    first = CliRunner().invoke(app, ["run", recipe, *short, "--store", str(store)])
    assert first.exit_code == 0, first.output
    results = [json.loads(path.read_text()) for path in store.glob("*/*/result.json")]
    assert {result["stage"] for result in results} == STAGES
    assert {"no prompt", "prompt tuning", "wrong prompt", "SPoT", "ATTEMPT"} <= {result["label"] for result in results}
    page = (store / "report.html").read_text(encoding="utf-8")
    for part in ("Scores", "Where the attention goes", "Example predictions"):
        assert part in page
    tasks = {task for result in results if result["stage"] == "tuned" for task in result["tasks"]}
    assert first.output.count("McNemar") == len(tasks)
    assert first.output.strip().splitlines()[-1].endswith("report.html")

    written = {path: path.stat().st_mtime_ns for path in store.glob("*/*/result.json")}
    second = CliRunner().invoke(app, ["run", recipe, *short, "--store", str(store)])
    assert second.exit_code == 0, second.output
    assert written == {path: path.stat().st_mtime_ns for path in store.glob("*/*/result.json")}
