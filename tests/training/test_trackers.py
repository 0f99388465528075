"""Trackers against the real packages, offline: what they hold afterwards is what `metrics.jsonl` holds, each value once."""

import json
import shutil
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from cpeft.errors import ConfigError, LostClaim, UnknownName
from cpeft.options.training import GangOptions
from cpeft.store.result import Score
from cpeft.store.run_folder import RunFolder, Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.settings import parse_settings, run_id
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from cpeft.training.callbacks import Callback, tracker
from cpeft.training.callbacks.metrics_file import MetricsFile
from cpeft.training.callbacks.tracker import TRACKERS, Tracked, Tracker, TrackOptions, make_trackers, parse_track
from cpeft.training.engine import train_gang
from cpeft.use import api
from tiny import make_learner, make_lm, make_member, make_rows, same_bits, trained_state

ALL = ("mlflow", "tensorboard", "trackio", "wandb")


# What each tool holds of the run with an id: (values by metric and step, how often each; name, group and settings)


def read_tensorboard(store: Path, folder: Path, key: str):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    values = [(tag, e.step, e.value) for tag in events.Tags()["scalars"] for e in events.Scalars(tag)]
    (text,) = events.Tensors("run/text_summary")
    about = json.loads(text.tensor_proto.string_val[0].decode())
    return values, {"id": about["id"], "name": about["name"], "group": about["group"], **about["settings"]}


BLOCK, HEAD = 32768, 7  # of the log format of LevelDB, which W&B writes behind a header of seven bytes


def wandb_records(path: Path):
    """The records of an offline file of a finished run, which W&B's own process writes a little later."""
    end = time.monotonic() + 60
    while not (found := list(_records_now(path))) or not found[-1].HasField("exit"):
        assert time.monotonic() < end, f"{path} has no end"
        time.sleep(0.1)
    return found


def _records_now(path: Path):
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), HEAD, b""
    while place + HEAD <= len(data):
        if BLOCK - place % BLOCK < HEAD:
            place += BLOCK - place % BLOCK
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + HEAD : place + HEAD + size]
        place += HEAD + size
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def read_wandb(store: Path, folder: Path, key: str):
    values, about = [], {}
    for path in sorted(folder.glob(f"wandb/offline-run-*-{key}/run-{key}.wandb")):
        for record in wandb_records(path):
            if record.HasField("history"):
                items = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }
                values += [(k, items["_step"], v) for k, v in items.items() if not k.startswith("_")]
            elif record.HasField("run"):
                run = record.run
                settings = {item.key: json.loads(item.value_json) for item in run.config.update}
                about |= {"id": run.run_id, "name": run.display_name, "group": run.run_group, **settings}
    return values, about


def read_mlflow(store: Path, folder: Path, key: str):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("cpeft").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`cpeft.id` = '{key}'")
    values = [(k, m.step, m.value) for k in run.data.metrics for m in client.get_metric_history(run.info.run_id, k)]
    settings = {k: json.loads(v) for k, v in run.data.params.items()}
    about = {"id": key, "name": run.info.run_name, "group": run.data.tags["group"], "state": run.info.status}
    return values, {**about, **settings}


def read_trackio(store: Path, folder: Path, key: str):
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = [run for run in Api().runs("cpeft") if run.name.endswith(key)]
    logs = SQLiteStorage.get_logs("cpeft", run.name)
    values = [(k, log["step"], v) for log in logs for k, v in log.items() if k not in ("step", "timestamp")]
    config = dict(run.config)
    return values, {"id": key, "name": run.name.removesuffix(f"-{key}"), "group": config.pop("_Group"), **config}


READ = {"tensorboard": read_tensorboard, "wandb": read_wandb, "mlflow": read_mlflow, "trackio": read_trackio}


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory) -> Path:
    """An empty database; to make one takes MLflow many seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(params=ALL)
def tool(request, tmp_path, monkeypatch):
    """The name of a tracker whose packages are here, writing below `tmp_path`."""
    missing = [package for package in TRACKERS.get(request.param).packages if find_spec(package) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install 'cpeft[track]')")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    if request.param == "mlflow":
        (tmp_path / "store").mkdir()
        shutil.copy(request.getfixturevalue("mlflow_database"), tmp_path / "store" / "mlflow.db")
    if request.param == "trackio":
        _trackio_below(tmp_path / "trackio", monkeypatch)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield request.param
    assert not list((tmp_path / "elsewhere").iterdir())  # nothing in the working directory


def _trackio_below(folder: Path, monkeypatch) -> None:
    """Trackio reads its folder once, when it is imported, and copies it into its modules."""
    import sys

    import trackio.sqlite_storage  # noqa: F401

    for name, module in list(sys.modules.items()):
        if name.startswith("trackio") and hasattr(module, "TRACKIO_DIR"):
            monkeypatch.setattr(module, "TRACKIO_DIR", folder)


def expected(folder: Path) -> Counter:
    """What `metrics.jsonl` holds, in float32, which is all that TensorBoard keeps."""
    records = RunFolder(folder).log()
    return Counter((k, r["step"], float(np.float32(v))) for r in records for k, v in r.items() if k != "step")


def held(values) -> Counter:
    return Counter((key, step, float(np.float32(value))) for key, step, value in values)


class Killed(BaseException):
    """What no handler catches."""


class Kill(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, member, record):
        if record["step"] == self.step:
            raise Killed


def tracked_member(folder: Path, name: str, lm, *more: Callback, **track):
    """A run of 6 steps with a checkpoint every second and an evaluation every third, and its tracker."""
    run = Tracked.of(f"stage/{folder.name}", "stage", "cpeft", RunFolder(folder), {"optim": {"lr": 0.05}, "seed": 3})
    said = []
    trackers = make_trackers(TrackOptions(use=(name,), **track), run, said.append)
    callbacks = [MetricsFile(), *trackers, *more]
    folder.mkdir(parents=True, exist_ok=True)
    member = make_member(make_learner(lm, "prompt_tuning", {}), make_rows(lm), folder, callbacks=callbacks)
    return member, trackers[0], said


def test_a_resumed_run_is_one_run_and_no_step_stands_twice(tool, tmp_path):
    """Killed at step 5, after its metrics were told and before the checkpoint of step 6: goes on from step 4."""
    folder, lm = tmp_path / "store" / "stage" / "run-0123456789ab", make_lm("t5")
    member, first, said = tracked_member(folder, tool, lm, Kill(5))
    with pytest.raises(Killed):
        train_gang([member], GangOptions(pool="member"))
    first.end("stopped")  # what the tool does by itself when its process dies
    member, second, more = tracked_member(folder, tool, lm)
    assert (second.run.id, second.run.id.partition("-")[0]) == (first.run.id, "0123456789ab")
    train_gang([member], GangOptions(pool="member"))
    second.on_result(member, SimpleNamespace(scores={"rte": {"accuracy": Score(75.0, 70.0, 80.0)}}, prompts=()))
    second.on_close(member)
    values, about = READ[tool](tmp_path / "store", folder, second.run.id)
    assert (said, more) == ([], [])
    assert held(values) == expected(folder) + Counter([("test/rte/accuracy", 6, 75.0)])
    assert {step for key, step, _ in values if key == "loss"} == {1, 2, 3, 4, 5, 6}
    assert {key for key, *_ in values} >= {"loss", "lr", "gradient_norm", "headline", "validation/nll"}
    assert (about["id"], about["name"], about["group"]) == (second.run.id, "stage/run-0123456789ab", "stage")


@pytest.mark.slow
def test_every_member_of_a_gang_is_a_run_of_its_own(tool, world, tmp_path):
    store = Store(tmp_path / "store")
    options = [f"track.use=['{tool}']", "gang.size=2", "sources.tasks=['mood.toml']"]
    plan = Plan(load_recipe(world / "study.toml", options), store, ["sources/*"])
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115
    assert run_recipe(plan, console).failures == {}
    assert "failed" not in console.export_text()
    for entry in plan.entries():
        folder = entry.folder.path
        key = json.loads((folder / "tracking.json").read_text())["id"]
        values, about = READ[tool](store.path, folder, key)
        scores = entry.folder.result().scores["mood"]
        tests = {(f"test/mood/{metric}", 6, float(np.float32(s.value))): 1 for metric, s in scores.items()}
        assert held(values) == expected(folder) + Counter(tests)
        assert (about["name"], about["group"], about["seed"]) == (str(entry.run), "sources", entry.run.seed)
        assert (about.get("optim") or {"lr": about.get("optim.lr")})["lr"] == 0.05
        assert about.get("state", "FINISHED") == "FINISHED"


def test_wandb_uploads_prompts_on_request_alone(tmp_path):
    pytest.importorskip("wandb", reason="pip install 'cpeft[track]'")
    for asked in (False, True):
        folder, lm = tmp_path / f"asked-{asked}", make_lm("t5")
        member, wandb, _ = tracked_member(folder, "wandb", lm, wandb={"prompts": asked})
        train_gang([member], GangOptions(pool="member"))
        (prompt,) = member.learner.export().values()
        prompt.save(folder / "prompts" / "rte")
        wandb.on_result(member, SimpleNamespace(scores={}, prompts=("rte",)))
        wandb.on_close(member)
        (path,) = folder.glob("wandb/offline-run-*/*.wandb")
        artifacts = []
        for record in wandb_records(path):
            if record.HasField("request") and record.request.HasField("log_artifact"):
                artifacts.append(record.request.log_artifact.artifact)
            if record.HasField("artifact"):
                artifacts.append(record.artifact)
        files = {entry.path for artifact in artifacts for entry in artifact.manifest.contents}
        assert {"adapter_model.safetensors", "cpeft.json"} <= files if asked else not artifacts


# Failures


class Fragile(Tracker):
    """Fails at a step, and counts what it is told."""

    packages = ()
    problem: Exception
    told = 0

    def begin(self, step):
        return {}

    def log(self, step, numbers):
        self.told += 1
        if step >= 2:
            raise self.problem

    def conclude(self, scores, prompts):
        self.told += 1

    def end(self, state):
        self.told += 1


@pytest.mark.parametrize("problem", [OSError("no space left"), ConnectionError("no network"), TimeoutError("slow")])
def test_a_tracker_that_fails_is_said_once_and_the_run_goes_on(tmp_path, monkeypatch, problem):
    monkeypatch.setitem(TRACKERS._items, "fragile", type("Fragile", (Fragile,), {"problem": problem}))
    lm = make_lm("t5")
    member, fragile, said = tracked_member(tmp_path / "run", "fragile", lm)
    train_gang([member], GangOptions(pool="member"))
    fragile.on_result(member, SimpleNamespace(scores={}, prompts=()))
    fragile.on_close(member)
    assert (member.failure, member.step, fragile.told) == (None, 6, 2)
    (line,) = said
    assert "stage/run: Fragile failed" in line
    assert str(problem) in line
    alone = make_member(make_learner(lm, "prompt_tuning", {}), make_rows(lm), tmp_path / "alone")
    train_gang([alone], GangOptions(pool="member"))
    assert same_bits(trained_state(member.learner), trained_state(alone.learner))


def test_a_mistake_in_a_tracker_is_not_swallowed(tmp_path, monkeypatch):
    monkeypatch.setitem(TRACKERS._items, "fragile", type("Fragile", (Fragile,), {"problem": TypeError("a mistake")}))
    member, _, said = tracked_member(tmp_path / "run", "fragile", make_lm("t5"))
    train_gang([member], GangOptions(pool="member"))
    assert isinstance(member.failure, TypeError)
    assert said == []


def test_a_full_disk_or_a_dead_server_of_each_tool_is_a_failure_outside(tool):
    """What the tools raise for such reasons is among the exceptions that a tracker survives."""
    kinds = (OSError, *TRACKERS.get(tool).failures(None))
    if tool == "wandb":
        import wandb

        assert issubclass(wandb.errors.CommError, kinds)
    if tool == "mlflow":
        from mlflow.exceptions import RestException

        assert issubclass(RestException, kinds)
    assert not any(issubclass(kind, (TypeError, KeyError, AttributeError)) for kind in kinds)


def test_states_that_a_run_ends_in(tmp_path, monkeypatch):
    ended = []
    fragile = type("Fragile", (Fragile,), {"problem": OSError(), "end": lambda self, state: ended.append(state)})
    fragile.log = lambda self, step, numbers: None
    monkeypatch.setitem(TRACKERS._items, "fragile", fragile)
    for reason, state in ((None, "stopped"), (LostClaim("taken"), "failed")):
        member, watcher, _ = tracked_member(tmp_path / state, "fragile", make_lm("t5"))
        watcher.on_start(member)
        member.failure = reason
        watcher.on_close(member)
        watcher.on_close(member)  # closed is closed
    assert ended == ["stopped", "failed"]


def test_a_missing_package_is_an_error_before_anything_runs(world, tmp_path, monkeypatch):
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    plan = Plan(load_recipe(world / "study.toml", ["track.use=['mlflow']"]), Store(tmp_path / "store"))
    with pytest.raises(
        ConfigError, match=r"'mlflow' needs the packages mlflow, sqlalchemy, alembic: pip install 'cpeft\[track\]'"
    ):
        run_recipe(plan, Console(quiet=True))
    assert not (tmp_path / "store").exists()


# Options


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"use": ["tensorbord"]}, "unknown tracker 'tensorbord', did you mean 'tensorboard'"),
        ({"use": ["wandb"], "wandb": {"mod": "online"}}, r"\[track.wandb\] unknown key 'mod', did you mean 'mode'"),
        ({"usee": ["wandb"]}, r"\[track\] unknown key 'usee', did you mean 'use'"),
        ({"wandb": {"mode": "online"}}, "has no effect: 'wandb' is not in track.use"),
    ],
)
def test_mistakes_in_the_table(table, message):
    with pytest.raises((ConfigError, UnknownName), match=message):
        parse_track(table)


def test_tracking_and_measuring_do_not_change_what_a_run_is():
    plain = {"tasks": ["rte"], "model": {"name": "mini"}}
    watched = {**plain, "track": {"use": ["wandb"], "wandb": {"mode": "online"}}, "energy": {"country": "SVK"}}
    settings = parse_settings(watched)
    assert run_id(settings, {}) == run_id(parse_settings(plain), {})
    assert parse_settings(settings.saved()) == settings
    assert settings.track.of("wandb").mode == "online"


def test_train_takes_no_tracker():
    with pytest.raises(ConfigError, match="no run folder"):
        api.train(None, "rte", track={"use": ["wandb"]})


def test_metrics_cut_in_half_are_told_again(tmp_path):
    """A key counts as told up to its own last step: a validation that was never written is not taken for told."""
    (tmp_path / "metrics.jsonl").write_text('{"step": 4, "loss": 1.0}\n{"step": 5, "loss": 2.0}\n{"step": 5, "headl')
    assert Tracked.of("s/r", "s", "p", RunFolder(tmp_path), {}).logged == {"loss": 5}
