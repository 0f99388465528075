"""Electricity: how it is divided, what stays on the account, that nothing of it reaches the run; and codecarbon for real."""

import json
import random
import socket
import sys
import threading
import time
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from cpeft.errors import ConfigError, LostClaim
from cpeft.options.training import EnergyOptions, GangOptions
from cpeft.report.page import write_report
from cpeft.report.sections.energy import bill
from cpeft.report.study import Study
from cpeft.store.result import Spent
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from cpeft.training import carbon, energy
from cpeft.training.carbon import WORLD, Meter, check_energy
from cpeft.training.energy import EnergyMeter
from cpeft.training.engine import train_gang
from cpeft.training.workers import Workers
from tiny import make_learner, make_lm, make_member, make_rows, same_bits, trained_state

MEMBER = GangOptions(pool="member")
REAL = pytest.mark.skipif(find_spec("codecarbon") is None, reason="not installed: pip install 'cpeft[carbon]'")
OFF = EnergyOptions(measure="off")


class Fake(Meter):
    """1 kWh and half a kg per reading."""

    def __init__(self):
        super().__init__(OFF)
        self.reason, self.on, self.readings = "", False, 0

    @property
    def running(self):
        return self.on

    def start(self):
        self.on = True

    def stop(self):
        spent = Spent(1.0, 0.5, 10.0) if self.on else None
        self.readings += self.on
        self.on = False
        return spent


def metered(monkeypatch, lap_s=1e9):
    monkeypatch.setattr(energy, "LAP_S", lap_s)
    monkeypatch.setattr(energy, "version", lambda package: "0")
    meter = EnergyMeter(OFF, Workers())
    meter.meter = Fake()
    return meter


def run_of(folder, lm, meter, steps=4, batch=2, **more):
    folder.mkdir(parents=True, exist_ok=True)
    learner = make_learner(lm, "prompt_tuning", {})
    train = {"steps": steps, "batch": batch}
    return make_member(learner, make_rows(lm), folder, train=train, callbacks=[meter], **more)


def account(member):
    return json.loads(member.folder.energy_path.read_text())


@pytest.mark.parametrize("lap_s", [0.0, 1e9])
def test_a_gang_is_divided_by_tokens(tmp_path, monkeypatch, lap_s):
    """Whatever the readings, all of it is divided; with one reading at the end, by tokens counted here."""
    lm, meter = make_lm("llama"), metered(monkeypatch, lap_s)
    gang = [run_of(tmp_path / "a", lm, meter, steps=4), run_of(tmp_path / "b", lm, meter, steps=2, batch=5)]
    train_gang(gang, MEMBER)
    shares = [account(member)["kwh"] for member in gang]
    assert sum(shares) == pytest.approx(meter.meter.readings)
    if lap_s:
        tokens = [
            sum(
                m.layout.extra + len(m.rows[i].source) + len(m.rows[i].target)
                for s in range(m.total)
                for i in m.stream.at(s)
            )
            for m in gang
        ]
        assert shares == pytest.approx([count / sum(tokens) for count in tokens])
        assert account(gang[0]) == {"kwh": shares[0], "kg": shares[0] / 2, "seconds": 10.0}


def test_runs_without_steps_share_evenly(tmp_path, monkeypatch):
    lm, meter = make_lm("t5"), metered(monkeypatch)
    gang = [run_of(tmp_path / name, lm, meter, steps=0) for name in "ab"]
    train_gang(gang, MEMBER)
    assert [account(member)["kwh"] for member in gang] == [0.5, 0.5]


def test_what_a_stopped_process_spent_stays_on_the_account(tmp_path, monkeypatch):
    lm, meter = make_lm("t5"), metered(monkeypatch)
    member = run_of(tmp_path, lm, meter)
    member.start()
    meter.on_close(member)
    again = metered(monkeypatch)
    member = run_of(tmp_path, lm, again)
    train_gang([member], MEMBER)
    with again.scoring(member):
        pass
    energy, _ = again.spent(member)
    assert (energy.kwh, energy.kg) == (3.0, 1.5)
    assert (energy.training.kwh, energy.scoring.kwh, energy.intensity) == (2.0, 1.0, 0.5)


def test_part_of_the_training_measured_is_said(tmp_path, monkeypatch):
    meter = metered(monkeypatch)
    member = run_of(tmp_path, make_lm("t5"), meter)
    train_gang([member], MEMBER)
    assert meter.spent(member)[0].notes == ()
    member.seconds = 100.0
    assert meter.spent(member)[0].notes == ("10 of 100 seconds of training were measured",)


def test_a_run_that_was_taken_over_is_not_written(tmp_path, monkeypatch):
    def guard():
        raise LostClaim("taken")

    lm, meter = make_lm("t5"), metered(monkeypatch)
    gang = [run_of(tmp_path / "mine", lm, meter), run_of(tmp_path / "lost", lm, meter, guard=guard)]
    train_gang(gang, MEMBER)
    assert isinstance(gang[1].failure, LostClaim)
    assert account(gang[0])["kwh"] > 0
    assert not (tmp_path / "lost" / "energy.json").exists()


def test_only_the_first_process_measures(monkeypatch):
    workers = Workers()
    workers.first, workers.world = False, 2
    assert EnergyMeter(EnergyOptions(measure="on"), workers).meter.reason == "energy.measure = 'off'"
    workers.first = True
    assert EnergyMeter(OFF, workers).meter.whole_machine


# Without the package, and mistakes


def test_no_package_is_a_reason_and_an_error_only_where_it_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(carbon, "find_spec", lambda name: None)
    check_energy(EnergyOptions())
    with pytest.raises(ConfigError, match=r"pip install 'cpeft\[carbon\]'"):
        check_energy(EnergyOptions(measure="on"))
    meter = EnergyMeter(EnergyOptions(), Workers())
    member = run_of(tmp_path, make_lm("t5"), meter)
    train_gang([member], MEMBER)
    energy, reason = meter.spent(member)
    assert energy is None
    assert "codecarbon is not installed" in reason
    assert not (tmp_path / "energy.json").exists()


def test_mistakes_in_the_table():
    with pytest.raises(ConfigError, match="not both"):
        check_energy(EnergyOptions(country="SVK", intensity=0.4))
    for value in (-1.0, float("nan")):
        with pytest.raises(ValidationError, match=r"greater than or equal to 0|finite"):
            EnergyOptions(intensity=value)


@REAL
def test_an_unknown_country_is_said_before_training():
    check_energy(EnergyOptions(country="SVK"))
    with pytest.raises(ConfigError, match="no country 'SVX', did you mean"):
        check_energy(EnergyOptions(country="SVX"))


def test_the_gpu_of_this_process_alone(monkeypatch):
    """By its UUID: NVML also counts GPUs that CUDA_VISIBLE_DEVICES hides. Where it fails that is said. The driver is faked."""

    class Broken(Exception):
        pass

    def handle(uuid):
        if uuid != "GPU-abc":
            raise Broken("not found")
        return uuid

    nvml = SimpleNamespace(
        NVMLError=Broken, nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=handle, nvmlDeviceGetIndex=lambda _: 5
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for uuid, index in (("abc", [5]), ("hidden", None)):
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, uuid=uuid: SimpleNamespace(uuid=uuid))
        meter = Meter(OFF)
        assert meter._gpus() == index
        assert bool(meter.notes) == (index is None)
    assert Meter(OFF, whole_machine=True)._gpus() is None


# codecarbon itself


def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(1000))


@REAL
def test_measured_by_codecarbon_without_files_network_or_noise(tmp_path, monkeypatch, capfd):
    def refuse(*_, **__):
        raise AssertionError("a network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    for options, intensity in (({"country": "SVK"}, 0.116774), ({"intensity": 0.432}, 0.432), ({}, WORLD)):
        meter = Meter(EnergyOptions(**options))
        meter.start()
        busy(0.4)
        first = meter.lap()
        busy(0.4)
        second = meter.stop()
        assert meter.reason == ""
        assert min(first.kwh, second.kwh) > 0
        assert first.kg / first.kwh == pytest.approx(intensity, rel=1e-3)
        assert 0.4 <= first.seconds < 5
        assert meter.sensors
        assert meter.stop() is None
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")
    assert not [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, threading.Timer) and not thread.finished.is_set()
    ]


@REAL
def test_codecarbon_that_breaks_is_a_reason(monkeypatch):
    from codecarbon import OfflineEmissionsTracker

    def broken(self):
        raise RuntimeError("no sensor of any kind")

    monkeypatch.setattr(OfflineEmissionsTracker, "_ensure_hardware_ready", broken)
    meter = Meter(EnergyOptions())
    meter.start()
    assert meter.stop() is None
    assert meter.reason == "codecarbon could not measure: RuntimeError: no sensor of any kind"
    meter.start()
    assert not meter.running


@REAL
def test_measuring_leaves_bits_and_generators_alone(tmp_path):
    """Long enough for codecarbon's threads to have come by."""
    lm, states = make_lm("t5"), []
    for options in (OFF, EnergyOptions(measure="on")):
        member = run_of(tmp_path / options.measure, lm, EnergyMeter(options, Workers()))
        train_gang([member], MEMBER)
        states.append(trained_state(member.learner))
    assert same_bits(*states)
    meter, before = Meter(EnergyOptions()), _generators()
    meter.start()
    busy(1.5)
    meter.stop()
    assert _generators() == before


def _generators():
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


@REAL
def test_a_real_run_tells_its_electricity_and_the_report_shows_it(world, tmp_path):
    store = Store(tmp_path / "store")
    options = ["gang.size=2", "energy.measure=on", "energy.country=SVK", "sources.tasks=['mood.toml']"]
    plan = Plan(load_recipe(world / "study.toml", options), store, ["sources/*"])
    assert run_recipe(plan, Console(quiet=True)).failures == {}
    results = store.results()
    assert len(results) == 2
    for result in results:
        spent = result.energy
        assert spent.kwh == pytest.approx(spent.training.kwh + spent.scoring.kwh)
        assert min(spent.training.kwh, spent.scoring.kwh) > 0
        assert (spent.country, spent.gang, spent.scope) == ("SVK", 2, "process")
        assert spent.intensity == pytest.approx(0.116774, rel=1e-3)
    found = bill(Study.of(store))
    assert found.total.kwh == pytest.approx(sum(result.energy.kwh for result in results))
    page = write_report(store.path).read_text()
    assert 'id="energy"' in page
    assert "electricity of SVK" in page
