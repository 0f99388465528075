"""Numbers of training examples: which runs make a line, and paired differences with their correction by hand."""

import re

from fabricate import change, write_shots, write_trial
from matplotlib.figure import Figure
from test_page import read

from cpeft.config import merge
from cpeft.report.study import Study
from cpeft.report.vectors.shots import Experiment, experiments
from cpeft.stats.intervals import Verdict
from cpeft.store.run_folder import Store

FEW = {"data": {"few_shot": 16}}


def found(folder) -> list[Experiment]:
    store = Store(folder)
    return experiments(Study.of(store))


def test_lines_hold_stages_and_untrained_points_together(tmp_path):
    (experiment,) = found(write_shots(tmp_path))
    assert [(line.name, line.plain) for line in experiment.lines] == [
        ("vocabulary", True), ("SPoT", False), ("mixed", False),
    ]  # fmt: skip
    assert experiment.axis == "training examples per class"
    nothing, spot, mixed = (line.scores["rte"] for line in experiment.lines)
    assert nothing == {0: {0: 10, 1: 20, 2: 30}, 4: {0: 40, 1: 41, 2: 42}, 16: {0: 50, 1: 52, 2: 54},
                       "full": {0: 60, 1: 60, 2: 60}}  # fmt: skip
    assert list(spot[0].values()) == [50, 50, 50]
    assert set(mixed) == {16, "full"}


def test_tables_by_hand(tmp_path):
    """At 16: SPoT 10, 9 and 11 better, t(0.975, 2) / sqrt(3) = 2.484; all signs alike have p = 2/8, doubled by the correction
    for two. The mixture is 1 worse, 1 better and equal. At 4 and at 0 SPoT stands alone. As published SPoT is better at 16: t =
    10 / sqrt((7 + 4) / 2 x 2/3) = 5.22 on 4 degrees of freedom, p 0.0064 for two; without deviation there is no t."""
    html, page = read(write_shots(tmp_path))
    assert "shots" in page.sections
    assert page.row("SPoT", "62.00 52.00") == (
        "rte SPoT 62.00 52.00 +10.00 [7.5, 12.5] +5.64 3 0.250 0.500 too few seeds significant, p 0.013"
    )
    assert page.row("mixed", "52.00 52.00") == (
        "rte mixed 52.00 52.00 +0.00 [−2.5, 2.5] +0.00 3 1.000 1.000 too few seeds not significant, p 1.000"
    )
    assert page.row("SPoT", "51.00 41.00") == (
        "rte SPoT 51.00 41.00 +10.00 [7.5, 12.5] +5.64 3 0.250 0.250 too few seeds significant, p < 0.001"
    )
    assert page.row("SPoT", "50.00 20.00") == (
        "rte SPoT 50.00 20.00 +30.00 [5.2, 54.8] +1.69 3 0.250 0.250 too few seeds significant, p 0.007"
    )
    assert page.row("mixed", "62.00 60.00") == (
        "rte mixed 62.00 60.00 +2.00 [2.0, 2.0] 3 0.250 0.500 too few seeds cannot be judged"
    )
    assert html.count("no corrected p can reach 0.05") == 4
    (label,) = re.findall(r'aria-label="accuracy of rte by ([^"]*)"', html)
    assert label.startswith(
        "training examples per class: vocabulary 20.0 at 0, 41.0 at 4, 52.0 at 16, 60.0 at full; SPoT"
    )
    ticks = re.findall(r">(0|4|16|full)</text>", html[html.index('id="shots-rte-float32"') :])
    assert ticks[:4] == ["0", "4", "16", "full"]


def test_the_base_trains_longest_and_other_lengths_are_named(tmp_path):
    for stage, name, init, steps in (
        ("a", "probe", "vocab", 5),
        ("b", "nothing", "vocab", 20),
        ("b", "SPoT", "s/a", 20),
    ):
        for shots in (4, 16):
            settings = {"data": {"few_shot": shots}}
            write_trial(tmp_path, stage, f"{name} few_shot={shots}", 0, {"rte": 50.0}, init, steps, settings=settings)
    (experiment,) = found(tmp_path)
    assert [line.name for line in experiment.lines] == ["nothing", "probe (trained for 5 steps)", "SPoT"]


def test_untrained_runs_that_lines_share_are_compared_once(tmp_path):
    """Two rates of SPoT start alike, and two of plain prompt tuning: at 0 there is one difference, on each task."""
    for seed in (0, 1):
        for stage, steps in (("zero", 0), ("few", 20)):
            for name, init in (("nothing", "vocab"), ("SPoT", "s/a")):
                for rate in (0.1, 0.3) if steps else (0.1,):
                    settings = FEW if steps else {}
                    label = f"{name} lr={rate}" if steps else f"{name} as it is"
                    write_trial(tmp_path, stage, label, seed, {"rte": 50.0 + seed}, init, steps, settings=settings)
    none, some = found(tmp_path)[0].families()
    assert [row.line for row in none.rows] == ["SPoT lr=0.1"]
    assert len(some.rows) == 3


def test_of_two_bases_the_one_with_more_points_counts(tmp_path):
    write_trial(tmp_path, "a", "once", 0, {"rte": 50.0}, settings=FEW)
    for shots in (4, 16):
        write_trial(
            tmp_path, "b", f"nothing few_shot={shots}", 0, {"rte": 50.0}, settings={"data": {"few_shot": shots}}
        )
    assert [line.name for line in found(tmp_path)[0].lines] == ["nothing", "once"]


def test_a_start_at_the_same_place_of_the_grid_is_one_line(tmp_path):
    for shots in (4, 16):
        settings = {"data": {"few_shot": shots}}
        for name, init in (("nothing", "vocab"), ("weighted", f"weighted('p/probe few_shot={shots}/rte', s/a)")):
            write_trial(tmp_path, "few", f"{name} few_shot={shots}", 0, {"rte": 50.0}, init, settings=settings)
    assert [line.name for line in found(tmp_path)[0].lines] == ["nothing", "weighted"]


def test_six_seeds_can_be_significant(tmp_path):
    for seed in range(6):
        for name, init, score in (("nothing", "vocab", 50.0), ("SPoT", "sources/mnli", 60.0 + seed)):
            write_trial(tmp_path, "few", name, seed, {"rte": score}, init, settings=FEW)
            write_trial(tmp_path, "full", name, seed, {"rte": score + 1}, init)
    few, full = found(tmp_path)[0].families()
    assert (few.shots, few.rows[0].tested.p, few.hopeless) == (16, 2 / 64, False)
    assert (full.shots, full.rows[0].tested.paired.mean) == ("full", 12.5)
    assert few.rows[0].tested.verdict is Verdict.SIGNIFICANT


def write_lines(store, task, count, shots=(4, 16)):
    """From nothing and from other starts, each with a few points of its own."""
    for number in range(count):
        name, init = ("nothing", "vocab") if number == 0 else (f"{task} from {number}", f"s/{task}{number}")
        for k in shots:
            for seed in (0, 1):
                settings = {"data": {"few_shot": k}}
                scores = {task: 40.0 + 5 * number + k + seed}
                write_trial(store, f"few-{task}", f"{name} few_shot={k}", seed, scores, init, settings=settings)


def ticks(picture):
    return re.findall(r">([\d.]+)</text>", picture)


def test_few_lines_share_a_panel_and_none_their_colour(tmp_path):
    """Eight methods in all; a legend names those of its panel, the shared one in one colour."""
    for task, count, shots in (("rte", 5, (4, 16)), ("cb", 4, (16, 64))):
        write_lines(tmp_path, task, count, shots)
    (experiment,) = found(tmp_path)
    (cb, first), (rte, second) = experiment.pictures()
    assert (cb, rte) == ("cb (accuracy)", "rte (accuracy)")
    assert [key.label for key in first.keys] == ["nothing", "cb from 1", "cb from 2", "cb from 3"]
    assert [key.label for key in second.keys] == ["nothing", "rte from 1", "rte from 2", "rte from 3", "rte from 4"]
    for picture in (first, second):
        assert len({(key.colour, key.dashes) for key in picture.keys}) == len(picture.keys)
    assert first.keys[0] == second.keys[0]
    assert {"4", "16", "64"} <= set(ticks(first.__html__()))


def test_many_lines_share_a_panel_without_their_intervals(tmp_path):
    for count in (5, 7):
        write_lines(tmp_path / str(count), "rte", count)
        (experiment,) = found(tmp_path / str(count))
        ((_, picture),) = experiment.pictures()
        assert [key.label for key in picture.keys] == [line.name for line in experiment.lines]
        assert len(picture.panels) == 1
        axes = Figure().add_subplot()
        picture.panels[0].draw(axes)
        assert len(axes.collections) == (5 if count == 5 else 0)  # bands


def test_a_probe_is_no_line_unless_it_is_more(tmp_path):
    """20 steps that only weigh sources; the same are a line where something starts from them, or if they train as long."""

    def lines(store, steps, more=()):
        for shots in (4, 16):
            few = {"data": {"few_shot": shots}}
            weighted = f"weighted('probes/probe few_shot={shots}/rte', s/a, s/b)"
            write_trial(store, "probes", f"probe few_shot={shots}", 0, {"rte": 40.0}, steps=steps, settings=few)
            for name, init in (("nothing", "vocab"), ("weighted", weighted), *more):
                write_trial(store, "few", f"{name} few_shot={shots}", 0, {"rte": 50.0}, init, 60, settings=few)
        return [line.name for line in found(store)[0].lines]

    assert lines(tmp_path / "probe", 20) == ["nothing", "weighted"]
    on = ("on", "'probes/probe few_shot=4/rte'")
    assert lines(tmp_path / "source", 20, [on]) == ["nothing", "probe (trained for 20 steps)", "on", "weighted"]
    assert set(lines(tmp_path / "long", 60)) == {"nothing", "probe", "weighted"}


def test_a_label_that_means_two_things_is_two_lines(tmp_path):
    """Another start in another stage, or two runs of one point; a pilot of the same label must not be joined on."""
    for stage, init in (("pilot", "vocab"), ("final", "sources/mnli")):
        write_trial(tmp_path, stage, "tuned", 0, {"rte": 50.0}, init, settings=FEW)
        write_trial(tmp_path, stage, "tuned", 0, {"cb": 50.0}, init)
    write_trial(tmp_path, "final", "tuned", 1, {"rte": 51.0}, "sources/mnli")
    (experiment,) = found(tmp_path)
    assert [line.name for line in experiment.lines] == ["tuned (pilot)", "tuned (final)"]
    assert set(experiment.metrics) == {"rte"}  # cb was never trained on few


def test_examples_in_total_say_so(tmp_path):
    total = {"data": {"few_shot": 16, "few_shot_per": "total"}}
    write_trial(tmp_path, "few", "nothing", 0, {"rte": 50.0}, settings=total)
    write_trial(tmp_path, "full", "nothing", 0, {"rte": 60.0})
    (experiment,) = found(tmp_path)
    assert experiment.axis == "training examples in total"
    write_trial(tmp_path, "few", "per class", 0, {"rte": 55.0}, settings=FEW)
    assert found(tmp_path)[0].axis == "training examples"


def test_nothing_to_compare_with_shows_the_curve_alone(tmp_path):
    for seed, shots in ((0, 4), (0, 16), (1, 16)):
        settings = {"data": {"few_shot": shots}}
        write_trial(
            tmp_path, "few", f"SPoT few_shot={shots}", seed, {"rte": 50.0 + shots}, "sources/mnli", settings=settings
        )
    html, page = read(tmp_path)
    assert "shots" in page.sections
    assert "The tables compare every line" not in html


def test_one_number_of_examples_is_no_curve(tmp_path):
    write_trial(tmp_path, "few", "nothing", 0, {"rte": 50.0}, settings=FEW)
    write_trial(tmp_path, "zero", "other", 0, {"rte": 50.0}, "sources/mnli", steps=0)  # no line starts there
    assert "shots" not in read(tmp_path)[1].sections


def test_runs_with_a_target_for_every_task_are_points_of_each(tmp_path):
    """ATTEMPT over two new tasks together; the sum of two vectors and a prompt of both sources have one prompt for both."""
    mixed = {"method": {"name": "attempt", "targets": "per_task"}, "sources": ["sources/*"]}
    for shots in (4, 16):
        few = {"data": {"few_shot": shots}}
        write_trial(tmp_path, "few", f"nothing few_shot={shots}", 0, {"rte": 50.0}, settings=few)
        scores, label = {"rte": 51.0 + shots, "cb": 60.0 + shots}, f"ATTEMPT few_shot={shots}"
        write_trial(tmp_path, "attempt", label, 0, scores, settings=merge(mixed, few), prompts=["rte", "cb"])
        write_trial(tmp_path, "both", f"both few_shot={shots}", 0, scores, settings=few)
    scores = {"rte": 30.0, "cb": 31.0}
    write_trial(tmp_path, "attempt", "ATTEMPT few_shot=0", 0, scores, steps=0, settings=mixed, prompts=["rte", "cb"])
    write_trial(tmp_path, "zero", "sum", 0, scores, "vocab + sum(v(s/rte), v(s/cb))", steps=0, validation=30.0)
    (experiment,) = found(tmp_path)
    assert [line.name for line in experiment.lines] == ["nothing", "ATTEMPT"]
    assert experiment.lines[1].scores == {
        "rte": {0: {0: 30}, 4: {0: 55}, 16: {0: 67}}, "cb": {0: {0: 31}, 4: {0: 64}, 16: {0: 76}}
    }  # fmt: skip
    assert set(experiment.metrics) == {"rte", "cb"}


def test_a_limit_of_training_rows_is_a_number_of_examples_in_total(tmp_path):
    """The published ATTEMPT of TPV drew its few rows by a limit. One above what the task has, 9 rows here, is none."""
    for seed, limit in ((0, 4), (0, 9), (0, 500)):
        settings = {"data": {"limit_train": limit}}
        run = write_trial(tmp_path, "few", f"nothing limit_train={limit}", seed, {"rte": 50.0}, settings=settings)
        change(run, lambda result, limit=limit: result["data"]["rte"]["rows"].update(train=min(limit, 9)))
    (experiment,) = found(tmp_path)
    (line,) = experiment.lines
    assert (line.name, set(line.scores["rte"])) == ("nothing", {4, 9, "full"})
    assert experiment.axis == "training examples in total"
