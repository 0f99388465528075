"""Tensors in a temporary file: the same to the last bit, bounded, and gone with the process; what a broken file costs."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cpeft.evaluation.decoding import decode_rows
from cpeft.models.fast import tensor_file
from cpeft.models.fast.causal_reading import KeptPrompts
from cpeft.models.fast.tensor_file import BLOCK, TensorFile
from cpeft.options.evaluation import EvalOptions
from tiny import LABELS, make_learner, make_lm, make_rows


@pytest.fixture
def make():
    made = []

    def file(blocks):
        made.append(TensorFile(blocks * BLOCK))
        return made[-1]

    yield file
    for each in made:
        each.close()


def some(blocks, seed=0):
    """Tensors of unlike types and shapes, one of them a view, that take so many blocks, two at the least."""
    draw = torch.Generator().manual_seed(seed)
    part = torch.randn(2, 2, max(blocks - 2, 0) * BLOCK // 8, generator=draw)[:, 1:]
    rest = torch.randn(3, 5, generator=draw, dtype=torch.float64), torch.randn(4, generator=draw).bfloat16()
    return [part, *rest, torch.zeros(2, 0, 3)]


def same(found, given):
    return len(found) == len(given) and all(
        a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b) for a, b in zip(found, given, strict=True)
    )


def test_what_was_stored_comes_back_to_the_last_bit(make):
    file = make(100)
    given = {key: some(size, key) for key, size in enumerate((2, 3, 2, 20, 2, 5))}
    for key, tensors in given.items():
        file.put(key, tensors)
    for key in (1, 4):
        file.forget(key)
    given |= {key: some(4, key) for key in (1, 6, 7)}  # in the gaps and behind
    for key in (1, 6, 7):
        file.put(key, given[key])
    assert file.get(4) is None
    assert max(each.nbytes for each in given[3]) > tensor_file.LARGE
    assert all(same(file.get(key), tensors) for key, tensors in given.items() if key != 4)
    assert file.errors == 0


def test_the_file_is_bounded_and_those_not_used_for_longest_go(make):
    file = make(9)
    for key in range(3):
        file.put(key, some(3, key))
    assert same(file.get(0), some(3, 0))  # used last
    file.put(3, some(5, 3))
    assert [key in file for key in range(4)] == [True, False, False, True]
    file.touch(0)
    file.put(4, some(3, 4))
    assert [key in file for key in range(5)] == [True, False, False, False, True]
    file.put(5, some(10))  # larger than the whole file
    assert 5 not in file
    for key in range(20):
        file.put(key, some(2, key))
        assert same(file.get(key), some(2, key))
    assert os.fstat(file.file.fileno()).st_size <= 9 * BLOCK


@pytest.mark.parametrize("call", ["pwrite", "preadv"])
@pytest.mark.parametrize("short", [False, True])
def test_a_disk_that_fails_loses_what_it_concerns_alone(make, monkeypatch, caplog, call, short):
    file = make(100)
    file.put("before", some(3))

    def failing(*given):
        if short:
            return 7
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(tensor_file.os, call, failing)
        for _ in range(3):
            file.put("new", some(3, 1))
            assert file.get("new") is None
    assert file.errors == 3
    assert len([record for record in caplog.records if "temporary file" in record.message]) == 1
    assert same(file.get("before"), some(3))
    file.put("new", some(97, 1))  # nothing of the file is lost
    assert same(file.get("new"), some(97, 1))
    assert same(file.get("before"), some(3))


HELD = """
import os, sys, tempfile
from cpeft.models.fast.tensor_file import BLOCK, TensorFile
import torch
tempfile.tempdir = sys.argv[1]
file = TensorFile(10 * BLOCK)
file.put(1, [torch.ones(1000)])
print(os.fstat(file.file.fileno()).st_mode & 0o777, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_process_that_was_killed(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-c", HELD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline().strip() == str(0o600)
        assert list(Path(tmp_path).iterdir()) == []  # not even while it runs
        process.send_signal(number)
        process.wait(60)
    finally:
        process.kill()
        process.communicate()
    assert list(Path(tmp_path).iterdir()) == []


def kept_with(lm, most_bytes, disk):
    assert lm.packed is not None
    return KeptPrompts(lm.packed, most_bytes, disk)


def test_keys_and_values_come_back_from_the_disk_to_the_last_bit(make):
    lm, disk = make_lm("llama"), make(1000)
    prompts = {
        key: torch.randn(3 + key % 2, lm.width, generator=torch.Generator().manual_seed(key)) for key in range(8)
    }
    kept, plain = kept_with(lm, 0, disk), kept_with(lm, 2**30, None)
    writes, put = [], disk.put
    disk.put = lambda key, tensors: writes.append(key) or put(key, tensors)
    for _ in range(3):
        for key, prompt_PD in prompts.items():
            [found], [expected] = kept.of([key], [prompt_PD]), plain.of([key], [prompt_PD])
            assert same(found, expected)
            assert [layer.stride() for layer in found] == [layer.stride() for layer in expected]
    assert (kept.hits, kept.read_back, kept.misses) == (0, 16, 8)
    assert sorted(writes) == list(range(8))  # once each


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_changed_prompt_is_read_anew(make, where):
    lm, disk = make_lm("llama"), make(1000)
    old, new, other = torch.randn(3, 5, lm.width, generator=torch.Generator().manual_seed(0))
    kept, plain = kept_with(lm, 0, disk), kept_with(lm, 2**30, None)
    kept.of(["a"], [old])
    kept.of(["b"], [other])  # "a" goes to the disk
    if where == "memory":
        kept.of(["a"], [old])
    for prompt_PD in (new, other, new):
        [found], [expected] = kept.of(["a"], [prompt_PD]), plain.of(["a"], [prompt_PD])
        assert same(found, expected)
        kept.of(["b"], [other])
    assert kept.misses == 5  # "a" and "b", and each change
    [found], [expected] = kept.of(["a"], [new]), plain.of(["a"], [new])
    assert same(found, expected)
    assert kept.misses == 5


def test_answers_are_the_same_with_a_disk_that_is_full(make, monkeypatch):
    lm, disk = make_lm("llama"), make(1000)
    learner, rows = make_learner(lm, "mpt", {}, tasks=4), make_rows(lm, 8, tasks=4)
    expected = decode_rows(learner, rows, LABELS, EvalOptions())
    monkeypatch.setattr(tensor_file.os, "pwrite", lambda *_: 0)
    learner._kept = kept_with(lm, 0, disk)
    few = EvalOptions(token_budget=40)
    assert decode_rows(learner, rows, LABELS, few) == decode_rows(learner, rows, LABELS, few) == expected
    assert disk.errors > 0
    assert learner._kept.read_back == 0
