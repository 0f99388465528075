"""Time left: by stage, by all processes, and told by whoever waits for workers elsewhere."""

from types import SimpleNamespace

import pytest

from cpeft.study import pace as module
from cpeft.study.launchers import watch as watching
from cpeft.study.launchers.watch import watch
from cpeft.study.pace import Pace, StageHours, duration, hours_left, total


class Listener:
    def __init__(self):
        self.said = []

    def print(self, text, **_):
        self.said.append(text)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but where a test moves it on."""
    now = SimpleNamespace(s=0.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now.s)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    return now


class Run(SimpleNamespace):
    def __str__(self):
        return f"{self.stage}/{self.name}"


def study(**stages):
    """Entries as a plan gives them: of every stage the hours of its runs, None for one that is not finished."""
    return [
        SimpleNamespace(
            run=Run(stage=stage, name=str(i)), state="ready" if h is None else "done", pending=h is None,
            folder=h and SimpleNamespace(result=lambda h=h: {"seconds": {"training": 3000 * h, "scoring": 600 * h}}),
        )
        for stage, hours in stages.items() for i, h in enumerate(hours)
    ]  # fmt: skip


def test_a_stage_goes_by_its_own_runs_and_else_by_all():
    left = hours_left({"sources": StageHours([1.0, 3.0], 1), "targets": StageHours([], 4), "done": StageHours([], 0)})
    assert left == {"sources": 2.0, "targets": 8.0, "done": 0.0}
    assert total(left) == 10.0
    left = hours_left({"sources": StageHours([1.0], 0), "targets": StageHours([10.0], 3)})
    assert left == {"sources": 0.0, "targets": 30.0}
    nobody = hours_left({"sources": StageHours([], 2), "over": StageHours([], 0)})
    assert nobody == {"sources": None, "over": 0.0}
    assert total(nobody) is None


def test_cheap_sources_do_not_mislead(clock):
    """Four runs of an hour, then one of ten: of the two left each takes ten."""
    listener = Listener()
    pace = Pace(listener)
    pace.tell(study(sources=[None] * 4, targets=[None] * 3))
    clock.s = 4 * 3600
    pace.tell(study(sources=[1.0] * 4, targets=[None] * 3))
    clock.s = 14 * 3600
    pace.tell(study(sources=[1.0] * 4, targets=[10.0, None, None]))
    pace.tell(study(sources=[1.0] * 4, targets=[10.0, None, None]))
    clock.s = 34 * 3600
    pace.tell(study(sources=[1.0] * 4, targets=[10.0] * 3))
    assert listener.said == [
        "0 of 7 runs done", "4 of 7 runs done, about 3.0 h left", "5 of 7 runs done, about 20.0 h left", "7 of 7 runs done",
    ]  # fmt: skip


def test_all_processes_count_and_what_was_done_before_does_not(clock):
    listener = Listener()
    pace = Pace(listener)
    pace.tell(study(runs=[1.0, 1.0, None, None, None, None]))
    clock.s = 3600  # three processes at once
    pace.tell(study(runs=[1.0, 1.0, 1.0, 1.0, 1.0, None]))
    assert listener.said == ["2 of 6 runs done", "5 of 6 runs done, about 20 min left"]


def test_who_waits_for_workers_elsewhere_tells_the_time_left(clock, monkeypatch):
    listener = Listener()
    states = [study(runs=[None] * 3), study(runs=[1.0, None, None]), study(runs=[1.0] * 3)]

    def entries():
        clock.s += 3600
        return states.pop(0)

    watch(SimpleNamespace(entries=entries), listener, lambda: True)
    assert listener.said == ["0 of 3 runs done", "1 of 3 runs done, about 4.0 h left", "3 of 3 runs done"]
    assert watching.WAIT_S > 0


@pytest.mark.parametrize(("seconds", "told"), [(5, "5 s"), (600, "10 min"), (9000, "2.5 h")])
def test_time_left_in_words(seconds, told):
    assert duration(seconds) == told
