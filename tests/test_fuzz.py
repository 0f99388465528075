"""Three hundred cases of the fuzzer, the same ones every time; `python -m studies.fuzz.fuzz` tries any number."""

import pytest
from studies.fuzz.fuzz import Outcome, call, fuzz

CASES = 300


def test_every_case_ends_with_a_result_or_a_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("CPEFT_DATA", raising=False)
    monkeypatch.delenv("CPEFT_MODELS", raising=False)
    found = fuzz(CASES, 1, tmp_path)
    assert found.count == CASES
    assert {fault: case.arguments for fault, (case, _) in found.faults.items()} == {}
    ends = {end: sum(count for what, count in found.outcomes.items() if what.endswith(f" {end}")) for end in (0, 2)}
    assert min(ends.values()) > CASES / 10, "cases must neither all work nor all be refused"


def test_the_fuzzer_sees_faults(monkeypatch, tmp_path):
    def broken(*_):
        raise ZeroDivisionError("at heart")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text('name = "own"\ntemplate = "{text}"\n[files]\ntrain = "a.csv"\n')
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"a{i},b\n" for i in range(20)))
    assert call(("show", "task", "own.toml")).fault("show") == ""
    assert call(("show", "task", "nothing.toml")).fault("show") == ""
    monkeypatch.setattr("cpeft.use.catalogue.make_splits", broken)
    assert call(("show", "task", "own.toml")).fault("show").startswith("ZeroDivisionError at use/catalogue.py:")
    monkeypatch.setattr("studies.fuzz.fuzz.SECONDS", 0.1)
    monkeypatch.setattr("cpeft.use.catalogue.make_splits", lambda *_: [None for _ in iter(int, 1)])
    assert call(("show", "task", "own.toml")).fault("show").startswith("TooSlow at ")


@pytest.mark.parametrize(("outcome", "fault"), [
    (Outcome(0, "fine", "", "", 0.0), ""),
    (Outcome(2, "", "error: r.toml: no such file\n", "", 0.0), ""),
    (Outcome(2, "", "", "", 0.0), "exit code 2 without a sentence"),
    (Outcome(1, "Traceback (most recent call last)", "", "", 0.0), "a traceback is printed"),
    (Outcome(5, "", "", "", 0.0), "exit code 5"),
    (Outcome(2, "", "error: a\n" * 20, "", 0.0), "more than a sentence"),
])  # fmt: skip
def test_what_is_a_fault(outcome, fault):
    assert outcome.fault("plan") == fault
