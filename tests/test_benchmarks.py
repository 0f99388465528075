"""The benchmarks run, at toy size: their correctness checks, table, figure and files. They say nothing about speed here."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
pytest.importorskip("peft", reason="the peer of the benchmarks, peft, is not installed")

from benchmarks import causal, evaluation, kept, memory, mixed, mixture, outside, real, rows, startup, training  # noqa: E402
from benchmarks.figure import draw  # noqa: E402
from benchmarks.measure import Ratio, compare, table  # noqa: E402

PEAKS = {torch.float32: 1e9, torch.bfloat16: 1e9}
pytestmark = pytest.mark.slow

TOYS = {
    "dynamic": partial(training.training, "toy", "SST-2", 3, "dynamic", 1, 1, peak=1e9),
    "padded": partial(training.training, "toy", "SST-2", 2, "padded", 1),
    "trainer": partial(training.training, "toy", "SST-2", 2, "trainer", 1),
    "bfloat16": partial(training.own_bfloat16, "toy", "SST-2", 2, 1, 0, 1e9),
    "dropout": partial(training.own_dropout, "toy", "SST-2", 2, "on", 1, 0),
    "gang": partial(training.gang, "toy", "SST-2", 2, 2, "all", 1),
    "attempt": partial(training.attempt, "toy", "SST-2", 2, 2, 1, 0),
    "attempt as published": partial(training.attempt, "toy", "SST-2", 2, 2, 1, 0, published=True),
    "evaluation": partial(evaluation.evaluation, "toy", "SST-2", 2, 1, 0, with_loss=True, ends=False),
    "cache": partial(evaluation.prompt_cache, 1, 0, 2, size=2, length=5),
    "causal": partial(causal.training, "toy", 5, 3, 9, torch.float32, 1),
    "causal bfloat16": partial(causal.training, "toy", 5, 3, 9, torch.bfloat16, 1),
    "causal greedy": partial(causal.greedy, "toy", 5, 3, 9, 1),
    "causal choice": partial(causal.choice, "toy", 5, 3, 9, 14, 1),
    "causal many labels": partial(causal.many_labels, "toy", 5, 3, 9, 1),
    "causal own bfloat16": partial(causal.own_bfloat16, "toy", 5, 3, 9, 1, 0, 1e9),
    "causal gang": partial(causal.gang, "toy", 5, 3, 9, 2, "member", 1),
    **{f"mixed {gain}": partial(mixed.mixed, "LLaMA", "toy", 5, 3, 1, gain, mean=9) for gain in mixed.GAINS},
    "mixed T5": partial(mixed.mixed, "T5", "toy", 5, 3, 1),
    "mixture": partial(mixture.mixture, 2, 2, 1, 0),
}


@pytest.mark.parametrize("name", TOYS)
def test_a_row_checks_that_both_sides_do_the_same_and_times_them(name):
    ratio = TOYS[name]()
    assert len(ratio.rounds) == 1
    assert ratio.rounds[0] > 0
    assert ratio.check
    if name == "dynamic":
        assert len(ratio.walls) == 1
        assert ratio.share > 0
        assert "same loss" in ratio.check


def test_different_work_is_no_benchmark(monkeypatch):
    monkeypatch.setattr(training.PeftLoop, "loss", lambda self, rows: 2 * self.prompt.sum() ** 2)
    with pytest.raises(SystemExit, match="not the same work"):
        training.training("toy", "SST-2", 2, "dynamic", 1)


def test_table_figure_and_file_hold_every_row(tmp_path):
    ratio = compare(
        "sleeping", "sleeping longer", "checked", lambda: sum(range(10**5)), lambda: sum(range(3 * 10**5)), 5
    )
    assert 1.5 < ratio.quartiles[1] < 6
    full = replace(ratio, share=0.5, memory=[1, 2], aim=2.0, walls=[3.0])
    assert Ratio.of(json.loads(json.dumps(full.saved()))) == replace(full, rounds=list(full.rounds))
    said = table([full])
    assert all(word in said for word in ("sleeping longer", "50%", "1 against 2", "3.00 (1)"))
    draw([full, ratio], tmp_path / "ratios.svg")
    assert (tmp_path / "ratios.svg").stat().st_size > 5_000


@pytest.mark.parametrize("size", ["quick", "standard", "full"])
def test_keys_are_distinct_where_rows_differ(size):
    found = {}
    for key, row in getattr(rows, size)(PEAKS):
        found.setdefault(key, []).append((row.func.__name__, row.args))
    assert size == "quick" or set(rows.AIMS) <= set(found)
    for asked in found.values():
        assert len({name for name, _ in asked}) == 1


def test_memory_is_that_of_a_process_of_its_own():
    whole, added = memory.peak("mixture-6")
    assert whole > added > 0


def test_shares_outside_the_model_are_shares():
    found = outside.shares(1, "toy")
    assert set(found) == {"training", "evaluation"}
    assert all(0 < share < 1 for share in found.values())


@pytest.mark.parametrize("what", ["training", "evaluation"])
def test_rows_on_a_real_model_do_the_same_on_both_sides(what):
    if not real.MINILM.is_dir():
        pytest.skip("shared/models/minilm-seq2seq is not beside the project")
    if not os.environ.get("CPEFT_DATA"):
        pytest.skip("CPEFT_DATA is not set")
    assert "same" in real.minilm("mnli", what, 1, 0).check


def test_the_benchmark_of_the_server_runs_at_toy_size(tmp_path):
    """Three prompts whose keys and values do not fit the cache, so that the disk has them; a process for each of two."""
    options = (
        "--kinds LLaMA --counts 3 --laws uniform --requests 4 --rounds 1 --cache-mb 0 --cache-disk-mb 20 --apart 2"
    )
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", "--out", str(tmp_path), *options.split()], cwd=ROOT,
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    ways = json.loads((tmp_path / "serving.json").read_text())["LLaMA"]["ways"]
    assert set(ways) == {
        "1 prompt", "3 prompts, uniform", "plain model", "2 prompts, one process", "2 prompts, a process each", "peft"
    }  # fmt: skip
    assert all(len(way["rate"]) == 1 for way in ways.values())
    assert ways["3 prompts, uniform"]["kept"][1] > 0 == ways["3 prompts, uniform"]["kept"][2]
    assert ways["2 prompts, a process each"]["memory"] > 1.5 * ways["2 prompts, one process"]["memory"]
    assert len((tmp_path / "serving.md").read_text().splitlines()) == 2 + len(ways)
    assert (tmp_path / "serving.svg").stat().st_size > 5_000


def test_what_a_prompt_costs_is_measured_at_toy_size(capsys):
    kept.main("toy", 4, 20)
    computed, written, read, device = (
        float(each) for each in re.findall(r"[a-z]:? (\d+\.\d)", capsys.readouterr().out)
    )
    assert computed > read
    assert min(written, read, device) >= 0


def test_start_up_is_measured_on_a_store_of_many_runs(tmp_path):
    store = startup.one_run(tmp_path)
    startup.many_runs(store, 3)
    assert len(list(store.glob("one/*/result.json"))) == 3


def test_the_gpu_benchmark_runs_on_the_cpu_at_toy_size(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--toy", "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["device"] == "toy"
    assert all(row["n"] >= 1 for key, row in found.items() if key != "device")
