"""What `result.json` holds: every version of it can be read, and reading gives back what was written."""

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from cpeft.errors import DataError
from cpeft.files import write_json
from cpeft.store.result import SCHEMA, ComparisonResult, RunResult, Score, Spent, read_result, write_result
from cpeft.store.run_folder import RunFolder, Store

GOLDEN = Path(__file__).parent / "results"


def known(written, golden):
    """What was written under the keys of the golden file, at every depth."""
    if not isinstance(golden, dict):
        return written
    return {key: known(value, golden[key]) for key, value in written.items() if key in golden}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob(f"*-{SCHEMA}.json")), ids=lambda path: path.stem)
def test_a_result_of_this_version_is_written_as_it_was(path, tmp_path):
    """Value for value and in the same order, so that a field that is renamed, moved or left out shows here; new fields are
    at their defaults."""
    result = read_result(path)
    write_result(tmp_path / "result.json", result)
    golden, written = (json.loads(file.read_text()) for file in (path, tmp_path / "result.json"))
    assert list(known(written, golden).items()) == list(golden.items())
    assert read_result(tmp_path / "result.json") == result


def test_there_is_a_golden_result_of_every_version():
    assert {path.stem for path in GOLDEN.iterdir()} == {
        f"{kind}-{schema}" for kind in ("run", "comparison", "unmeasured") for schema in range(1, SCHEMA + 1)
    } - {"unmeasured-1"}


def test_a_run_has_types():
    result = read_result(GOLDEN / "run-2.json")
    assert isinstance(result, RunResult)
    assert result.scores["mini/mood"]["accuracy"] == Score(75.0, 55.0, 90.0)
    assert (result.data["mini/mood"].rows["test"], result.model.dtype, result.tasks) == (20, "float32", ("mini/mood",))
    assert result.seconds.total == 3.75
    assert result.energy.training == Spent(1e-05, 4e-06, 3.5)
    with pytest.raises(ValidationError):
        result.label = "another"


def test_a_run_of_the_first_version_lacks_what_came_later():
    result = read_result(GOLDEN / "run-1.json")
    assert (result.schema_, result.weights, result.energy, result.energy_reason) == (1, None, None, None)
    about = result.data["rte"]
    assert (about.fingerprint, about.language, about.revision, about.no_label) == (None, None, None, None)
    assert (result.notes, result.sources, result.seeds, result.trainable) == ((), (), {}, None)


def test_a_comparison_has_no_task():
    for schema in (1, 2):
        result = read_result(GOLDEN / f"comparison-{schema}.json")
        assert isinstance(result, ComparisonResult)
        assert (result.compared, result.tasks, result.scores, result.seconds.total) == (4, (), {}, 0.5)


def test_a_score_that_is_no_number_comes_back(tmp_path):
    result = read_result(GOLDEN / "run-2.json")
    scores = {"mini/mood": {"pearson": Score(math.nan, math.nan, math.nan)}}
    write_result(tmp_path / "result.json", result.model_copy(update={"scores": scores}))
    assert math.isnan(read_result(tmp_path / "result.json").scores["mini/mood"]["pearson"].value)


@pytest.mark.parametrize(
    ("text", "why"),
    [("{}", "not the result of a run"), ("[]", "not the result"), ('{"sta', "not the result"),
     (json.dumps({"schema": SCHEMA + 1}), f"a later version of cpeft.*schema {SCHEMA + 1}")],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path, text, why):
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(DataError, match=f"{path}: .*{why}"):
        read_result(path)


def test_a_store_tells_what_is_begun_done_and_failed(tmp_path):
    store = Store(tmp_path)
    done, failed, begun = (store.folder("stage", name, "0123456789ab") for name in ("done", "failed", "begun"))
    for folder in (done, failed, begun):
        folder.path.mkdir(parents=True)
    for folder in (done, begun):
        folder.config_path.write_text("seed = 3\n")
    write_result(done.result_path, read_result(GOLDEN / "run-2.json"))
    write_json(failed.failure_path, {"error": "ValueError: no\nmore", "traceback": ""})
    assert list(store.runs()) == [begun, done]
    assert store.begun() == [begun, done, failed]
    assert store.results() == [done.result()]
    assert (done.done, failed.failed, begun.done, begun.failed) == (True, True, False, False)
    assert (begun.config(), begun.id, failed.failure()) == ({"seed": 3}, "0123456789ab", "ValueError: no\nmore")


def test_a_folder_without_files_holds_nothing(tmp_path):
    folder = RunFolder(tmp_path)
    assert (folder.log(), folder.last_step(), folder.holder()) == ([], (None, None), None)
    assert (folder.predictions(), folder.predictions_metadata()) == (None, {})
    assert (folder.similarity(), folder.energy()) == (None, None)


def test_half_a_line_of_a_log_is_left_out(tmp_path):
    folder = RunFolder(tmp_path)
    folder.log_path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert folder.log() == [{"step": 1, "loss": 2.0}]
    assert folder.last_step()[0] == 1
