"""The tables of a store: means and intervals, what a single run shows instead, and the majority row."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from cpeft.report.study import Run
from cpeft.report.summary import score_table, summarise, terminal_table
from cpeft.store.result import DataInfo, ModelInfo, RunResult, Score, Seconds
from cpeft.store.run_folder import RunFolder
from tiny import run_python


def run(label="vocab", seed=0, value=50.0, task="rte", headline="accuracy", majority=40.0, stage="stage", dtype="float32",
        **scores):  # fmt: skip
    """A finished run; `scores` are further ones of its task."""
    data = DataInfo(version=1, origin="here", rows={}, majority=majority, labels=(), headline=headline, notes=())
    known = {headline: Score(value, value - 7, value + 6), "macro_f1": Score(value / 2, 1.0, 2.0), **scores}
    result = RunResult(
        stage=stage, label=label, name="name", tasks=(task,), method="prompt_tuning", seed=seed, scores={task: known},
        data={task: data}, prompts=(), steps=1, trainable=1234, model=ModelInfo(name="model", dtype=dtype),
        seconds=Seconds(training=1, scoring=1), versions={}, hardware={},
    )  # fmt: skip
    return Run(RunFolder(Path("nowhere")), result, {}, label)


def cells(runs):
    """The cells of the headline metrics."""
    heads = {(task, about.headline) for each in runs for task, about in each.result.data.items()}
    return {(cell.task, cell.method): cell for cell in summarise(runs) if (cell.task, cell.metric) in heads}


def markdown(scores):
    return score_table(scores).markdown()


def headlines(runs):
    return [cell for cell in summarise(runs) if cell.metric != "macro_f1"]


@pytest.mark.parametrize("values", [[50.0, 60.0], [50.0, 53.0, 61.5], [10.0, 10.0, 10.0, 12.0, 30.0]])
def test_intervals_are_students_t(values):
    cell = cells([run(seed=i, value=v) for i, v in enumerate(values)])["rte", "vocab"]
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.deviation == pytest.approx(np.std(values, ddof=1))
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (cell.low, cell.high) == pytest.approx((max(low, 0), min(high, 100)))
    assert (cell.kind, cell.seeds, cell.values) == ("seeds", len(values), tuple(values))


def test_intervals_stay_inside_the_metric():
    cell = cells([run(value=1.0), run(value=99.0)])["rte", "vocab"]
    assert (cell.low, cell.high) == (0.0, 100.0)
    cell = cells([run(value=-40.0, headline="matthews"), run(value=80.0, headline="matthews")])["rte", "vocab"]
    assert (cell.low, cell.high) == (-100.0, 100.0)


def test_equal_scores_have_no_spread():
    cell = cells([run(value=70.0)] * 3)["rte", "vocab"]
    assert (cell.deviation, cell.low, cell.high) == (0.0, 70.0, 70.0)
    assert cell.interval == "3 seeds, one and the same value"
    lines = markdown(summarise([run(value=70.0)] * 3)).splitlines()
    assert "| 70.00 | 0.00 | 3 seeds, one and the same value | 3 | 1,234 | 70.00 70.00 70.00 |" in lines[3]
    assert "[70.0" not in "".join(lines)
    assert cells([run(value=70.0)])["rte", "vocab"].interval == "[63.0, 76.0] rows"


def test_one_seed_shows_the_rows_bootstrap():
    found = headlines([run(value=55.0)])
    cell = found[-1]
    assert (cell.deviation, cell.low, cell.high, cell.kind) == (None, 48.0, 61.0, "rows")
    assert (
        "| rte | stage | vocab | accuracy | float32 | 55.00 |  | [48.0, 61.0] rows | 1 | 1,234 | 55.00 |"
        in markdown(found)
    )
    assert "] rows |" not in markdown(summarise([run(), run()]))


def test_majority_rows_stand_first_and_once():
    found = headlines([run("a"), run("b"), run("a", task="cb", majority=60.0), run("a", task="squad", majority=None)])
    assert [(cell.task, cell.method) for cell in found] == [
        ("rte", "majority class"), ("rte", "a"), ("rte", "b"), ("cb", "majority class"), ("cb", "a"), ("squad", "a"),
    ]  # fmt: skip
    assert found[0].mean == 40.0
    line = markdown(found).splitlines()[2]
    assert line == "| rte |  | majority class | accuracy |  | 40.00 |  |  |  | 0 |  |"


def test_every_metric_of_a_task_has_rows_the_headline_first():
    several = [run("a", seed=seed, value=value) for seed, value in enumerate((50.0, 60.0))]
    found = summarise([*several, run("b", task="cb"), run("b")])
    assert [(cell.task, cell.metric, cell.method) for cell in found] == [
        ("rte", "accuracy", "majority class"), ("rte", "accuracy", "a"), ("rte", "accuracy", "b"), ("rte", "macro_f1", "a"),
        ("rte", "macro_f1", "b"), ("cb", "accuracy", "majority class"), ("cb", "accuracy", "b"), ("cb", "macro_f1", "b"),
    ]  # fmt: skip
    assert [cell.mean for cell in found if (cell.metric, cell.method) == ("macro_f1", "a")] == [27.5]
    text = markdown(found)
    assert "| rte | stage | a | macro_f1 | float32 | 27.50 |" in text
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal_table(found, "title").rich())
    assert console.export_text().count("macro_f1") == 2  # one heading a task


def test_closed_choices_stand_beside_free_answers():
    more = run(value=50.0, choice_accuracy=Score(80.0, 70.0, 90.0))
    assert [(c.metric, c.mean) for c in summarise([more]) if c.kind != "fixed"] == [
        ("accuracy", 50.0), ("choice_accuracy", 80.0), ("macro_f1", 25.0),
    ]  # fmt: skip


def test_stages_and_dtypes_do_not_mix():
    found = headlines([run(), run(stage="other"), run(dtype="bfloat16")])
    assert [(c.stage, c.dtype, c.seeds) for c in found if c.kind != "fixed"] == [
        ("stage", "float32", 1), ("other", "float32", 1), ("stage", "bfloat16", 1),
    ]  # fmt: skip


def test_methods_and_metrics_do_not_mix():
    found = headlines([run("a", value=10.0), run("b", value=30.0), run("a", headline="f1", value=90.0)])
    assert {(cell.method, cell.metric, cell.mean) for cell in found if cell.kind != "fixed"} == {
        ("a", "accuracy", 10.0), ("b", "accuracy", 30.0), ("a", "f1", 90.0),
    }  # fmt: skip


def test_every_seed_stands_in_markdown():
    head, rule, _, line, *_ = markdown(headlines([run(value=v) for v in (50.0, 52.5, 51.25)])).splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
    assert line.endswith("| 3 | 1,234 | 50.00 52.50 51.25 |")


def test_the_terminal_shows_labels_as_they_are():
    console = Console(width=160, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal_table(summarise([run("grid [bold] x")]), "title").rich())
    assert "grid [bold] x" in console.export_text()


def test_the_terminal_table_fits_80_columns():
    """Names are folded between words, numbers are whole; what all rows share is in the title alone."""
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    long = [run("examples of 256 tokens", stage="untrained", task="mini/support", seed=seed) for seed in range(3)]
    console.print(terminal_table(summarise(long), "quickstart").rich())
    text = console.export_text()
    words = text.split()
    assert (
        text.splitlines()[0].strip()
        == "quickstart, frozen model in float32, 3 seeds each, 1,234 trained parameters each"
    )
    assert text.splitlines()[1].split() == ["method", "mean", "sd", "95%", "interval"]
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("float32") == 1
    assert {"mini/support,", "accuracy", "untrained:", "examples", "tokens", "1,234"} <= set(words)


def test_what_differs_stays_in_the_terminal_table():
    """And answers by choice stand in the group of the free ones."""
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    chosen = run("no prompt", choice_accuracy=Score(80.0, 70.0, 90.0))
    console.print(terminal_table(summarise([run(seed=0), run(seed=1), chosen]), "title").rich())
    title, heads, *lines = console.export_text().splitlines()
    assert title.strip() == "title, frozen model in float32, 1,234 trained parameters each"
    assert heads.split() == ["method", "mean", "sd", "95%", "interval", "seeds"]
    first = [line.strip() for line in lines[1 : lines.index(next(line for line in lines if not line.strip()))]]
    assert [line.partition("  ")[0] for line in first] == [
        "rte, accuracy", "majority class", "stage: vocab", "stage: no prompt", "stage: no prompt, choice",
    ]  # fmt: skip


def test_runs_of_two_number_formats_say_so_in_the_terminal():
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal_table(summarise([run(), run(dtype="bfloat16")]), "title").rich())
    text = console.export_text()
    assert "(float32)" in text
    assert "(bfloat16)" in text


def test_reports_need_no_torch():
    done = run_python("import sys, cpeft.report.summary; print({'torch', 'transformers'} & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr
