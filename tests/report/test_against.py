"""Published figures beside ours: which cells meet, and when there is no difference to tell."""

import numpy as np
import pytest
from fabricate import change, write_crossing, write_trial
from scipy.stats import ttest_1samp
from test_page import Page, read
from test_transfer import finished, matrix, write_comparison

from cpeft.errors import ConfigError
from cpeft.prompts.similarity import cosine
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.report.page import write_report
from cpeft.report.published.against import beside_published
from cpeft.report.study import Study
from cpeft.stats.corrected_tests import summed
from cpeft.stats.intervals import Verdict
from cpeft.stats.summaries import judge_figure
from cpeft.store.run_folder import Store


def lines(store, paper):
    return {block.name: block.lines for block in beside_published(Study.of(Store(store)), paper).blocks}


def test_a_single_published_figure_is_taken_as_exact(tmp_path):
    """The replication's prompt of MNLI has 84.6. Ours have 80, 82, 84: 2.6 less, t(0.975, 2) x 2 / sqrt(3) = 4.968 around."""
    for seed, score in enumerate((80.0, 82.0, 84.0)):
        write_trial(tmp_path, "sources", "sources", seed, {"mnli": score})
    (line,) = lines(tmp_path, "attempt")["source prompts table1"]
    assert (line.task, line.row, line.name) == ("mnli", "replication's prompts", "sources")
    assert line.difference == pytest.approx(-2.6)
    assert line.interval == pytest.approx((-2.6 - 4.968, -2.6 + 4.968), abs=1e-3)
    assert line.judged.verdict is Verdict.NOT
    assert line.judged.range.low < ttest_1samp([80.0, 82.0, 84.0], 84.6).pvalue < line.judged.range.high


def test_single_figures_are_a_family_and_need_three_seeds(tmp_path):
    """Of three tasks one has two seeds: it cannot be judged and counts in the correction of the others all the same."""
    for task, scores in {"mnli": (70.0, 70.1, 70.2), "qqp": (94.0, 94.2, 94.4), "qnli": (80.0, 81.0)}.items():
        for seed, score in enumerate(scores):
            write_trial(tmp_path, "sources", "sources", seed, {task: score})
    found = {line.task: line for line in lines(tmp_path, "attempt")["source prompts table1"]}
    far = ttest_1samp([70.0, 70.1, 70.2], 84.6 - 0.05).pvalue  # the nearest figure that rounds to the printed one
    assert found["mnli"].judged.range.high == pytest.approx(3 * far)
    assert {task: line.judged.verdict for task, line in found.items()} == {
        "mnli": Verdict.SIGNIFICANT, "qqp": Verdict.NOT, "qnli": Verdict.CANNOT,
    }  # fmt: skip
    assert found["qnli"].judged.reason == "fewer than 3 seeds"
    assert found["qnli"].difference == pytest.approx(80.5 - 95.5)
    html = read_against(tmp_path, "attempt")
    assert "one-sample t-test of our seeds against the printed figure, Holm’s correction over the 3 cells" in html
    assert "columns changed places" in html  # the caution


@pytest.mark.parametrize(
    ("values", "printed", "verdict"),
    [((70.0, 70.1), 80.0, "CANNOT"), ((70.0, 70.0, 70.0), 80.0, "CANNOT"), ((70.0, 70.2, 70.4), 70.2, "NOT"),
     ((70.0, 70.01, 70.02), 70.05, "ROUNDING"), ((70.0, 70.1, 70.2), 80.0, "SIGNIFICANT")],
)  # fmt: skip
def test_seeds_against_a_figure(values, printed, verdict):
    assert judge_figure(summed(values), printed).verdict is Verdict[verdict]


def test_the_wide_table_has_the_papers_columns_and_averages_of_what_both_have(tmp_path):
    """Two of eight GLUE tasks and one of five of SuperGLUE; CoLA has no Matthews here, so it is in no average."""
    scores = {"rte": 70.0, "cola": 90.0, "mnli": 80.0, "cb": 60.0}
    for task, score in scores.items():
        for seed in (0, 1):
            write_trial(tmp_path, "single", "ATTEMPT", seed, {task: score + seed}, method="attempt",
                        settings={"method": {"name": "attempt"}, "sources": ["sources/*"]})  # fmt: skip
    (block,) = beside_published(Study.of(Store(tmp_path)), "attempt").blocks
    assert [(group.name, group.shown, len(group.columns)) for group in block.wide.groups] == [
        ("GLUE", ("MNLI", "RTE", "CoLA"), 8), ("SuperGLUE", ("CB",), 5),
    ]  # fmt: skip
    (row,) = block.wide.rows
    glue = row.averages["GLUE"]
    assert (row.row, row.name, glue.tasks, glue.of) == ("ATTEMPT 232K", "single: ATTEMPT", ("MNLI", "RTE"), 8)
    assert (glue.own, glue.published) == (75.5, pytest.approx((84.3 + 73.4) / 2))
    assert row.cells["GLUE", "CoLA"].why == "metric: matthews"
    page = Page(read_against(tmp_path, "attempt"))
    assert page.row("Published row: ours", "MNLI") == (
        "Published row: ours What MNLI RTE CoLA GLUE, average CB SuperGLUE, average"
    )
    assert page.row("ATTEMPT 232K: single: ATTEMPT ours").endswith(
        "80.50 (2) 70.50 (2) 90.50 (2) accuracy 75.50 2 of 8 60.50 (2) 60.50 1 of 5"
    )
    assert page.row("published 84.3") == "published 84.3 73.4 57.4 78.8 78.6 78.6"
    assert page.row("difference −3.80") == "difference −3.80 −2.90 metric: matthews −3.35 −18.10 −18.10"


def test_few_shot_tables_have_the_columns_of_every_number_of_examples(tmp_path):
    for seed in (0, 1, 2):
        run = write_trial(tmp_path, "zero", "nothing", seed, {"scitail": 60.0}, steps=0)
        scored(run, "scitail", "accuracy", f1=50.0 + seed)
    (block,) = beside_published(Study.of(Store(tmp_path)), "tpv").blocks
    assert [(group.name, group.shown) for group in block.wide.groups] == [("untrained", ("SciTail",))]
    assert block.test == "independent t-test of the summaries"
    assert block.wide.rows[0].averages == {}


def test_prompts_that_were_given_meet_the_row_of_the_authors_prompts(tmp_path):
    """As paper/attempt-given has them: from files, as they are. A prompt of the store's own stages is none of them, nor is one
    of another task."""
    for seed in (0, 1, 2):
        for stage in ("sources", "first-half"):
            write_trial(tmp_path, stage, stage, seed, {"mnli": 62.0 + seed}, "authors/mnli", steps=0)
        write_trial(tmp_path, "again", "again", seed, {"mnli": 62.0}, "sources/mnli", steps=0)
        write_trial(tmp_path, "other", "other", seed, {"mnli": 62.0}, "authors/qnli", steps=0)
    found = lines(tmp_path, "attempt")["source prompts table1"]
    assert {(line.row, line.name) for line in found} == {
        ("authors' prompts", "sources"),
        ("authors' prompts", "first-half"),
    }
    assert found[0].difference == pytest.approx(63.0 - 62.9)


def test_what_was_written_from_memory_is_greyed_and_enters_no_test(tmp_path):
    for seed in (0, 1):
        write_trial(tmp_path, "few", "SPoT", seed, {"rte": 70.0 + seed}, "sources/mnli")
    (line,) = lines(tmp_path, "attempt")["attempt main table"]
    assert (line.row, line.published.mean, line.why) == ("SPoT 77K", 69.8, "unverified")
    assert line.difference == pytest.approx(70.5 - 69.8)
    assert (line.interval, line.judged) == (None, None)
    html = read_against(tmp_path, "attempt")
    assert '<span class="unverified">unverified</span>' in html
    assert '<td class="n unverified">69.8</td>' in html
    assert '<td class="n mean">70.50 <span class="muted">(2)</span></td>' in html  # ours is not grey
    assert "Its figures are grey and enter no test" in html


def read_against(store, paper):
    return write_report(store, paper=paper).read_text(encoding="utf-8")


def test_rows_meet_by_what_was_trained(tmp_path):
    """SNLI untrained: a source of the first kind, the sum of two vectors; one vector is no sum, and another task no row, not
    even one that is the first source of another family."""
    starts = {"spot": "sources/mnli", "sum": "vocab + v(sources/mnli) + v(sources/qnli)", "one": "vocab + v(sources/mnli)",
              "both": "'both/mnli+qnli'", "nothing": "vocab", "other": "sources/cola", "control": "sources/sst2"}  # fmt: skip
    for name, init in starts.items():
        for seed in (0, 1, 2):
            scores = {"snli": 60.0 + seed}
            write_trial(tmp_path, "zero", name, seed, scores, init, steps=0)
    found = {line.row: line for line in lines(tmp_path, "tpv")["few shot f1"]}
    assert {row: line.name for row, line in found.items()} == {
        "random": "zero: nothing", "source 1 (SPoT): MNLI / DBPedia / SST2": "zero: spot",
        "both, multi-task SPoT": "zero: both", "both, TPV sum (ours)": "zero: sum",
    }  # fmt: skip
    assert {line.why for line in found.values()} == {"metric: macro_f1"}  # these runs were scored by accuracy alone


def scored(folder, task, headline, **values):
    """The run with further metrics, of which one comes first."""
    own = {name: {"value": value, "low": value, "high": value} for name, value in values.items()}
    change(folder, lambda result: (result["scores"][task].update(own), result["data"][task].update(headline=headline)))


@pytest.mark.parametrize(
    ("task", "metric"), [("scitail", "f1"), ("imdb", "f1"), ("snli", "macro_f1"), ("yahoo", "macro_f1")]
)
def test_f1_is_binary_where_there_are_two_labels(tmp_path, task, metric):
    for seed in (0, 1):
        run = write_trial(tmp_path, "zero", "nothing", seed, {task: 60.0}, steps=0)
        scored(run, task, "accuracy", f1=30.0 + seed, macro_f1=40.0 + seed)
    (line,) = lines(tmp_path, "tpv")["few shot f1"]
    assert (line.metric, line.own_metric, line.own.mean) == (metric, metric, 30.5 if metric == "f1" else 40.5)
    assert line.difference == pytest.approx(line.own.mean - line.published.mean)


def test_origins_are_compared_by_the_published_metric(tmp_path):
    """CoLA's first metric is Matthews', the published one exact match; of STS-B either correlation may have been meant."""
    for task, headline in (("cola", "matthews"), ("stsb", "pearson")):
        write_trial(tmp_path, "sources", "sources", 0, {task: 80.0})
        for seed in (0, 1, 2):
            init = f"vocab + cross(v(sources/{task}@0))"
            run = write_trial(tmp_path, "crossed", "crossed", seed, {task: 84.0 + seed}, init, steps=0)
            scored(run, task, headline, matthews=20.0, pearson=88.0)
    own, mixed, *correlations = lines(tmp_path, "tpv")["cross origin"]
    assert (own.task, own.own_metric, own.own.mean, own.published.mean) == ("cola", "accuracy", 84.0, 85.9)
    assert mixed.difference == pytest.approx(85.5 - 84.9)
    assert {(line.own_metric, line.why) for line in correlations} == {("pearson", "metric: pearson or spearman")}
    _, page = read(tmp_path)
    assert "cola matthews 20.00 (1) 20.00 ± 0.00 (2)" in page.row("cola matthews", "(2)")  # alone it asks for the first


def test_a_limit_of_rows_is_no_training_on_all(tmp_path):
    """The published ATTEMPT: 100 rows by a limit, a target for each of two tasks."""
    settings = {"method": {"name": "attempt", "targets": "per_task"}, "sources": ["s/*"], "data": {"limit_train": 100}}
    for seed in (0, 1):
        scores, targets = {"snli": 60.0, "scitail": 61.0}, ["snli", "scitail"]
        run = write_trial(
            tmp_path, "few", "ATTEMPT", seed, scores, settings=settings, prompts=targets, method="attempt"
        )
        change(run, lambda result: [about["rows"].update(train=100) for about in result["data"].values()])
    found = {line.task: line.published.mean for line in lines(tmp_path, "tpv")["few shot f1"]}
    assert found == {"snli, 100 examples": 79.6, "scitail, 100 examples": 83.6}


def test_examples_per_class_are_no_examples_in_total(tmp_path):
    for seed in (0, 1):
        settings = {"data": {"few_shot": 100, "few_shot_per": "class" if seed else "total"}}
        write_trial(tmp_path, f"few-{seed}", "nothing", seed, {"snli": 60.0}, settings=settings)
    found = [line.why for line in lines(tmp_path, "tpv")["few shot f1"]]
    assert sorted(found) == ["k per class here", "metric: macro_f1"]


def test_origins_are_judged_by_the_published_test(tmp_path):
    found = lines(write_crossing(tmp_path), "tpv")["cross origin"]
    own, other = (next(line for line in found if line.row == row) for row in ("T5 original", "T5 mixed"))
    assert (own.published.runs, other.published.runs) == (3, 6)
    assert own.published.mean == 50.3
    assert own.judged is not None


def test_nothing_published_and_unknown_papers_are_errors(tmp_path):
    write_trial(tmp_path, "sources", "sources", 0, {"mini/wic": 80.0})
    with pytest.raises(ConfigError, match="no run of this store trained a published task"):
        lines(tmp_path, "tpv")
    with pytest.raises(ConfigError, match="at hand for attempt and tpv"):
        lines(tmp_path, "spot")
    assert "against" not in read(tmp_path)[1].sections


def test_cosines_stand_beside_the_published_map(tmp_path):
    """Two tasks from two origins; of four stored rows half are dead, and the published definition counts all of them."""
    kept = []
    for task, seed in (("mnli", 0), ("mnli", 1), ("qqp", 0), ("qqp", 1)):
        origin = matrix("origin", seed)
        prompt = SoftPrompt.from_stored_rows(origin + matrix(task), 2, Provenance(task=task), origin)
        kept.append(finished(tmp_path, "sources", "sources", task, seed, 80.0, prompt))
    write_comparison(tmp_path, kept, "sources/*@*")

    def mean(*pairs):
        first, second = ([each.mean(0).numpy() for each in side] for side in zip(*pairs, strict=True))
        return np.mean([cosine(a, b) for a, b in zip(first, second, strict=True)])

    def of(task, seed):
        return matrix("origin", seed) + matrix(task)

    found = beside_published(Study.of(Store(tmp_path)), "tpv")
    assert found.blocks == ()
    assert [pair.tasks for pair in found.cosines.pairs] == [("mnli", "mnli"), ("qqp", "mnli"), ("qqp", "qqp")]
    mnli, both, _ = found.cosines.pairs
    assert (mnli.same, mnli.other) == ((None, None), (0.81, pytest.approx(mean((of("mnli", 0), of("mnli", 1))))))
    assert both.same == (0.56, pytest.approx(mean(*((of("qqp", seed), of("mnli", seed)) for seed in (0, 1)))))
    assert both.other == (0.53, pytest.approx(mean(*((of("qqp", seed), of("mnli", 1 - seed)) for seed in (0, 1)))))
    assert "Cosines of the token means of task prompts" in read_against(tmp_path, "tpv")
