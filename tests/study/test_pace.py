"""Time left: by stage, by all processes, and reported by whoever waits for workers elsewhere."""

import io
import json
import os
import re
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from cpeft.store.claims import Holder, start_of
from cpeft.store.result import Seconds
from cpeft.store.run_folder import RunFolder
from cpeft.store.state import RunState
from cpeft.store.status import hours_left
from cpeft.study.launchers import watch as watching
from cpeft.study.launchers.watch import watch
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.runs import Effort
from cpeft.study.runner.pace import Pace, StudyBars, duration
from cpeft.study.runner.plan import Entry


class Listener:
    is_terminal = False

    def __init__(self):
        self.lines = []

    def print(self, text, **_):
        self.lines.append(text)


class Run(SimpleNamespace):
    def __str__(self):
        return f"{self.stage}/{self.name}"


class Folder(SimpleNamespace):
    """A run folder of so many hours of training and of scoring, with a log at `path` and the process that holds it."""

    def last_step(self):
        return RunFolder(self.path).last_step() if self.path else (None, None)

    def result(self):
        return SimpleNamespace(seconds=Seconds(training=3600 * self.hours[0], scoring=3600 * self.hours[1]))

    def holder(self):
        return Holder("elsewhere", self.pid, 0.0, stale=False) if self.pid else None


def study(**stages):
    """Entries as a plan gives them: of every stage the hours of its runs, None for one that is not finished."""
    return [
        entry(Run(stage=stage, name=str(i), kind=stage, effort=Effort(10, 80, 20)), hours)
        for stage, given in stages.items()
        for i, hours in enumerate(given)
    ]


def entry(run, hours=None, path=None, pid=None):
    """A run of `hours` in all or of (training, scoring) hours, or one at work with a log at `path` held by `pid`."""
    if isinstance(hours, float):
        hours = (0.8 * hours, 0.2 * hours)
    folder = Folder(hours=hours, path=path, pid=pid)
    return SimpleNamespace(run=run, state=RunState.DONE if hours else RunState.READY, folder=folder)


def test_a_stage_goes_by_its_own_runs_and_else_by_all():
    left = hours_left({"sources": [1.0, 3.0], "targets": [], "done": []}, {"sources": 1, "targets": 4, "done": 0})
    assert left == {"sources": 2.0, "targets": 8.0, "done": 0.0}
    left = hours_left({"sources": [1.0], "targets": [10.0]}, {"sources": 0, "targets": 3})
    assert left == {"sources": 0.0, "targets": 30.0}
    assert hours_left({"sources": [], "over": []}, {"sources": 2, "over": 0}) == {"sources": None, "over": 0.0}


def test_cheap_sources_do_not_mislead():
    """Four runs of an hour, then one of ten: of the two left each takes ten."""
    listener = Listener()
    pace = Pace(listener)
    for sources, targets in (([None] * 4, [None] * 3), ([1.0] * 4, [None] * 3), ([1.0] * 4, [10.0, None, None])):
        pace.show(study(sources=sources, targets=targets))
        pace.show(study(sources=sources, targets=targets))  # nothing has changed
    pace.show(study(sources=[1.0] * 4, targets=[10.0] * 3))
    assert listener.lines == [
        "0 of 7 runs done", "4 of 7 runs done, about 3.0 h left", "5 of 7 runs done, about 20.0 h left", "7 of 7 runs done",
    ]  # fmt: skip


def test_processes_at_work_share_what_is_left(tmp_path):
    """Nine runs of an hour are left. This process and two others work, one of them on two runs; then a watcher sees the others
    alone. Two runs that nobody helps with take as long as the longest."""
    runs = [Run(stage="s", name=str(i), kind="s", effort=Effort(10, 80, 20)) for i in range(10)]
    at_work = [entry(runs[1], pid=7), entry(runs[2], pid=7), entry(runs[3], pid=8)]
    entries = [entry(runs[0], 1.0), *at_work, *map(entry, runs[4:])]
    listener = Listener()
    Pace(listener).show(entries)
    Pace(listener, works=False).show(entries)
    Pace(listener).show([entry(runs[0], 1.0), entry(runs[1], pid=7), entry(runs[2])])
    assert listener.lines == [
        "1 of 10 runs done, about 3.0 h left", "1 of 10 runs done, about 4.5 h left", "1 of 3 runs done, about 60 min left",
    ]  # fmt: skip


def test_who_waits_for_workers_elsewhere_reports_the_time_left(monkeypatch):
    monkeypatch.setattr(watching.time, "sleep", lambda seconds: None)
    listener = Listener()
    states = [study(runs=[None] * 3), study(runs=[1.0, None, None]), study(runs=[1.0] * 3)]
    watch(SimpleNamespace(entries=lambda: states.pop(0)), listener, lambda: True)
    assert listener.lines == ["0 of 3 runs done", "1 of 3 runs done, about 2.0 h left", "3 of 3 runs done"]


def test_training_and_scoring_have_seconds_of_their_own():
    """Rows of one stage are answered in a hundredth of an hour each; once a run of the other has trained, its rows count."""
    untrained = [Run(stage="a", name=str(i), kind="a", effort=Effort(0, 0, 100)) for i in range(2)]
    tuned = [Run(stage="b", name=str(i), kind="b", effort=Effort(10, 400, 100)) for i in range(2)]
    first = [entry(untrained[0], (0.0, 1.0)), entry(untrained[1]), *map(entry, tuned)]
    assert Pace(Listener()).hours_left(first) == pytest.approx(1.0 + 2 * 5.0)
    later = [
        entry(untrained[0], (0.0, 1.0)),
        entry(untrained[1], (0.0, 1.0)),
        entry(tuned[0], (2.0, 0.5)),
        entry(tuned[1]),
    ]
    assert Pace(Listener()).hours_left(later) == pytest.approx(2.5)


def test_what_is_not_finished_anywhere_goes_by_its_rows():
    """A row takes 36 seconds: 100 rows an hour, so 400 rows take four."""
    cheap, dear = (Run(stage=s, name="0", kind=s, effort=Effort(10, r, r / 4)) for s, r in (("a", 80), ("b", 320)))
    assert Pace(Listener()).hours_left([entry(cheap, 1.0), entry(dear)]) == pytest.approx(4.0)
    assert Pace(Listener()).hours_left([entry(cheap), entry(dear)]) is None


def test_two_kinds_of_one_stage_do_not_share_a_mean():
    """Of a stage with short and long texts one run of each is finished; two long ones are to come."""
    short, long = (
        [Run(stage="s", name=f"{kind}{i}", kind=kind, effort=Effort(1, 8, 2)) for i in range(3)] for kind in ("a", "b")
    )
    entries = [*(entry(run, 1.0) for run in short), entry(long[0], 5.0), *map(entry, long[1:])]
    assert Pace(Listener()).hours_left(entries) == pytest.approx(10.0)


def test_runs_at_work_count_by_their_steps(tmp_path):
    """One of four runs of ten hours is finished, and another is at its fifth step of ten, four fifths of which are training."""
    run = [Run(stage="s", name=str(i), kind="s", effort=Effort(10, 80, 20)) for i in range(4)]
    (tmp_path / "metrics.jsonl").write_text('{"step": 5}\n{"st')
    entries = [entry(run[0], 10.0), entry(run[1], path=tmp_path), entry(run[2]), entry(run[3])]
    assert Pace(Listener()).hours_left(entries) == pytest.approx(26.0)


def test_the_effort_of_a_run_is_counted_from_its_settings(tmp_path):
    text = """
name = "x"
[model]
name = "mini"
[data]
limit_validation = 50
limit_test = 100
[train]
steps = 40
batch = 8
eval_every = 0.25
[[stage]]
name = "s"
tasks = ["mini/mood"]
seeds = [0, 1]
[[stage]]
name = "longer"
tasks = ["mini/mood"]
train.steps = 80
train.eval_every = 80
[[stage]]
name = "nothing"
tasks = ["mini/mood"]
method.name = "no_prompt"
"""
    (tmp_path / "x.toml").write_text(text)
    first, second, longer, nothing = load_recipe(tmp_path / "x.toml").runs
    assert first.effort == Effort(40, 3 * 40 * 8 + 2 * 4 * 50, 2 * 100)
    assert longer.effort == Effort(80, 3 * 80 * 8 + 2 * 50, 2 * 100)
    assert nothing.effort == Effort(0, 0.0, 200)
    assert first.kind == second.kind != longer.kind
    assert first.effort.share(20) == pytest.approx(0.5 * 1360 / 1560)


@pytest.mark.parametrize(("seconds", "told"), [(5, "5 s"), (600, "10 min"), (9000, "2.5 h")])
def test_time_left_in_words(seconds, told):
    assert duration(seconds) == told


def held(folder, pid, host, step=None):
    """The folder of a run that a process works on, with a log up to a step."""
    folder.mkdir(parents=True)
    (folder / "claim.json").write_text(json.dumps({"host": host, "pid": pid, "started": start_of(pid), "token": "t"}))
    if step is not None:
        (folder / "metrics.jsonl").write_text(json.dumps({"step": step}) + "\n")
    return RunFolder(folder)


def test_a_terminal_shows_the_study_and_what_other_processes_do(tmp_path):
    """Runs in training here have bars of their own; all is read anew from the run folders."""
    run = {name: Run(stage="tuned", name=name, kind="k", effort=Effort(48, 80, 20)) for name in "abcdef"}
    here, elsewhere = socket.gethostname(), "node7"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        folders = {
            "a": held(tmp_path / "a", other.pid, here, 24), "b": held(tmp_path / "b", other.pid, here, 48),
            "c": held(tmp_path / "c", 7, elsewhere), "d": held(tmp_path / "d", os.getpid(), here, 12),
            "e": held(tmp_path / "e", os.getpid(), here, 48),
        }  # fmt: skip
        entries = [Entry(run[name], RunState.READY, folder) for name, folder in folders.items()]
        entries.append(Entry(run["f"], RunState.FAILED, RunFolder(tmp_path / "f")))
        console = Console(file=io.StringIO(), force_terminal=True, width=100)
        with StudyBars(console) as bars:
            bars.show(entries)
        other.communicate(b"\n")
    shown = [line.strip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue()).splitlines()]
    begin = shown.index("running tuned/a step 24 of 48 (other process)")
    assert shown[begin + 1 : begin + 4] == [
        "scoring tuned/b (other process)", "running tuned/c step 0 of 48 (node7)", "scoring tuned/e",
    ]  # fmt: skip
    # (0.8 * 24/48 + 0.8 + 0 + 0.8 * 12/48 + 0.8 + 1) / 6
    assert re.fullmatch(r"study .* 0 of 6 runs done, 53%", shown[begin + 4])
    assert shown[-1].endswith("0 of 6 runs done"), "what is left when the bars are gone"


def test_a_file_gets_lines_and_no_bars():
    console = Console(file=io.StringIO(), width=100)
    with StudyBars(console) as bars:
        bars.show(study(s=[1.0, None]))
    assert console.file.getvalue() == "1 of 2 runs done, about 60 min left\n"
