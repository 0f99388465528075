"""The demonstration in a shortened form, through the command: it ends with a table, one text before and after, a verdict and a
report, and is not run twice."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cpeft.cli import app
from cpeft.models.named_models import ASSETS, named_model
from cpeft.store.run_folder import Store

SHORT = ["data.limit_train=8", "data.limit_validation=2", "data.limit_test=6", "eval.bootstrap=0"]
STEPS = ["train.steps=2", "train.eval_every=2", "train.batch=2"]  # of stages that train
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
    trained = [f"{stage}.{each}" for stage in ("tuned", "transfer") for each in STEPS]
    seeds = [f"{stage}.seeds=[0]" for stage in ("tuned", "wrong", "transfer")]
    command = ["run", recipe, *SHORT, *trained, *seeds, "--store", str(store)]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    results = list(Store(store).results())
    assert {result.stage for result in results} == STAGES
    assert {"no prompt", "prompt tuning", "wrong prompt", "SPoT", "ATTEMPT"} <= {result.label for result in results}
    page = (store / "report.html").read_text(encoding="utf-8")
    for part in ("Results by task", "Attention over source prompts", "Example predictions"):
        assert part in page
    *_, verdict, careful = first.output.splitlines()
    assert verdict.startswith("verdict: Trained prompts against the best answers without training: mini/")
    assert verdict.count(" of 6 rows against ") == len(
        {task for r in results if r.stage == "tuned" for task in r.tasks}
    )
    assert careful.startswith("careful: ")
    assert careful.endswith(f"; more in {store}/report.html")

    written = {path: path.stat().st_mtime_ns for path in store.glob("*/*/result.json")}
    second = CliRunner().invoke(app, command)
    assert second.exit_code == 0, second.output
    assert written == {path: path.stat().st_mtime_ns for path in store.glob("*/*/result.json")}
