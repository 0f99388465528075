"""Every procedure, simulated in the worst case that it claims to cover: how often it calls equal things different, and how
often its interval holds the truth.

Rates may miss their level by what a fair coin of that level misses in one of ten thousand tries; the draws are seeded.
"""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from scipy import stats

from cpeft.stats.corrected_tests import judged
from cpeft.stats.correlation import rank_correlation
from cpeft.stats.intervals import Verdict, t_interval
from cpeft.stats.many import rank_methods
from cpeft.stats.paired import compare, compare_tasks
from cpeft.stats.summaries import Summary, difference_interval, judge_figure, judge_rounded, published_t_test

ALPHA = 0.05


def rng(name):
    return np.random.default_rng(list(name.encode()))


def most(studies, level=ALPHA):
    return stats.binom.ppf(0.9999, studies, level) / studies


def least(studies, level=0.95):
    return stats.binom.ppf(0.0001, studies, level) / studies


def holds(interval, truth):
    return interval[0] <= truth <= interval[1]


# --- differences over tasks


def over_tasks(draw, tasks=6, seeds=3, spread=2.0, noise=1.0, base=50.0):
    """Two methods that are equal over tasks: their difference varies from task to task."""
    effects = spread * draw(tasks)
    first = {(f"t{t}", s): base + effects[t] + noise * e for t in range(tasks) for s, e in enumerate(draw(seeds))}
    return first, dict.fromkeys(first, base)


@pytest.mark.parametrize(("shape", "tasks", "seeds"), [("normal", 6, 3), ("normal", 9, 10), ("cauchy", 8, 3)])
def test_two_methods_that_are_equal_over_tasks(shape, tasks, seeds):
    """A few seeds of a few tasks, differences that vary by task twice as much as by seed, or without any bound."""
    make, studies = rng(f"tasks {shape} {tasks}"), 600
    draw = make.standard_normal if shape == "normal" else make.standard_cauchy
    found = [compare_tasks(*over_tasks(draw, tasks, seeds)) for _ in range(studies)]
    rate = np.mean([each.p <= ALPHA for each in found])
    exact = 2 * np.floor(ALPHA * 2**tasks / 2) / 2**tasks  # the level that so many signs can reach
    assert least(studies, exact) <= rate <= most(studies, exact)
    assert {(each.units, each.of) for each in found} == {(tasks, "tasks")}
    if shape == "normal":
        covered = np.mean([holds(each.t_interval, 0) for each in found])
        assert least(studies) <= covered <= most(studies, 0.95)


def test_seeds_taken_for_tasks_call_equal_methods_different():
    """Why: the same studies with every (task, seed) as a unit of its own."""
    make, studies = rng("seeds for tasks"), 100
    found = [compare(*over_tasks(make.standard_normal)) for _ in range(studies)]
    assert np.mean([each.p <= ALPHA for each in found]) > 0.15
    assert np.mean([holds(each.t_interval, 0) for each in found]) < 0.85


def test_a_family_of_methods_that_share_their_base():
    """Eight methods against one base over ten tasks: their differences are alike, since the base's luck is in all of them."""
    make, studies, wrong = rng("holm"), 200, 0
    for _ in range(studies):
        base, *others = 2 * make.standard_normal((9, 10))
        family = [compare(dict(enumerate(each)), dict(enumerate(base)), "tasks") for each in others]
        wrong += any(each.verdict is Verdict.SIGNIFICANT for each in judged(family))
    assert wrong / studies <= most(studies)


def test_sums_of_vectors_against_a_control_that_keeps_as_much():
    """Fifteen pairs of six tasks, two seeds: what a sum keeps more than the control depends on the task."""
    make, studies, found = rng("sums"), 600, []
    pairs = list(combinations(range(6), 2))
    for _ in range(studies):
        effects, kept = 10 * make.standard_normal(6), [[] for _ in range(6)]
        for task in (task for pair in pairs for task in pair):
            kept[task].append(effects[task] + 5 * make.standard_normal(2).mean())
        found.append(
            compare({t: np.mean(values) for t, values in enumerate(kept)}, dict.fromkeys(range(6), 0.0), "tasks")
        )
    assert np.mean([each.p <= ALPHA for each in found]) <= most(studies)
    assert np.mean([holds(each.t_interval, 0) for each in found]) >= least(studies)


# --- differences over the seeds of one task


@pytest.mark.parametrize("rows", [28, 1000])
def test_two_methods_that_are_equal_on_a_task(rows):
    """Eight seeds; scores are right answers of so few rows that many differences are 0, and spread unevenly over seeds."""
    make, studies = rng(f"seeds {rows}"), 1000
    found = []
    for _ in range(studies):
        ability = make.beta(2, 2, 8)
        first, second = 100 * make.binomial(rows, np.clip(ability + 0.2 * make.standard_t(2, (2, 8)), 0, 1)) / rows
        found.append(compare(dict(enumerate(first)), dict(enumerate(second))).p)
    assert 0.01 < np.mean(np.array(found) <= ALPHA) <= most(studies)


@pytest.mark.parametrize("units", [2, 3, 5, 10])
def test_the_mean_over_seeds_or_tasks(units):
    """Normal scores, whatever their spread; two values are enough."""
    make, studies = rng(f"t {units}"), 2000
    covered = np.mean([holds(t_interval(make.normal(70, 3, units)), 70) for _ in range(studies)])
    assert least(studies) <= covered <= most(studies, 0.95)


def test_vectors_that_do_not_depend_on_their_origin():
    """score(origin i, vector j) = origin + vector + noise. A vector stands in cells of all origins, an origin in cells of all
    vectors; the mean of other cells minus the own cell is compared over six origins."""
    make, studies, n, found = rng("crossing"), 1000, 6, []
    for _ in range(studies):
        cells = make.normal(0, 3, (n, 1)) + make.normal(0, 3, n) + make.normal(0, 1, (n, n))
        others = (cells.sum(axis=1) - np.diag(cells)) / (n - 1)
        found.append(compare(dict(enumerate(others)), dict(enumerate(np.diag(cells))), "origins"))
    assert np.mean([each.p <= ALPHA for each in found]) <= most(studies)
    assert np.mean([holds(each.t_interval, 0) for each in found]) >= least(studies)


# --- ranks


@pytest.mark.parametrize(("methods", "tasks"), [(3, 12), (9, 4)])
def test_methods_that_are_all_alike_are_not_ranked_apart(methods, tasks):
    """Tasks of any difficulty and spread, and scores with ties."""
    make, studies, friedman, nemenyi = rng(f"ranks {methods}"), 150, 0, 0
    for _ in range(studies):
        scores = make.normal(0, 9, tasks) + make.exponential(1, tasks) * make.integers(0, 8, (methods, tasks))
        found = rank_methods({f"m{m}": dict(enumerate(of_method)) for m, of_method in enumerate(scores)})
        friedman += found.p <= ALPHA
        nemenyi += any(found.differ(*pair) for pair in combinations(found.ranks, 2))
    assert 0 < friedman / studies <= most(studies)
    assert nemenyi / studies <= most(studies)


@pytest.mark.parametrize("sources", [4, 6])
def test_similarity_that_says_nothing_of_gains(sources):
    """A source helps all targets, a target gains from all sources, and so with similarities: pairs are far from independent."""
    make, studies, targets, found, as_pairs = rng(f"rho {sources}"), 300, 3, [], []
    for _ in range(studies):
        x, y = (2 * make.normal(size=(2, sources, 1)) + 2 * make.normal(size=(2, 1, targets))
                + make.normal(size=(2, sources, targets)))  # fmt: skip
        grid = {(s, t): (x[s, t], y[s, t]) for s in range(sources) for t in range(targets)}
        found.append(rank_correlation(grid).p)
        as_pairs.append(stats.spearmanr(x.ravel(), y.ravel()).pvalue)
    orders = factorial(sources)
    level = np.floor(ALPHA * orders) / orders
    assert least(studies, level / 4) <= np.mean(np.array(found) <= ALPHA) <= most(studies)
    assert np.mean(np.array(as_pairs) <= ALPHA) > 0.1  # why whole sources are permuted


# --- printed summaries


def summary(values):
    return Summary(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))


@pytest.mark.parametrize("runs", [3, 10])
def test_the_published_test_of_as_many_runs(runs):
    """It claims equal spreads and independent runs."""
    make, studies = rng(f"pooled {runs}"), 2000
    p = [published_t_test(summary(make.normal(70, 2, runs)), summary(make.normal(70, 2, runs))) for _ in range(studies)]
    assert least(studies, ALPHA) <= np.mean(np.array(p) <= ALPHA) <= most(studies)


@pytest.mark.parametrize("spreads", [(1.0, 1.0), (3.0, 1.0), (1.0, 3.0)])
def test_welchs_test_and_interval_of_other_numbers_of_runs(spreads):
    """Three runs and six, of any spreads. Welch's degrees of freedom are an approximation: one point of the level."""
    make, studies = rng(f"welch {spreads}"), 2000
    sides = [(summary(make.normal(70, spreads[0], 3)), summary(make.normal(70, spreads[1], 6))) for _ in range(studies)]
    assert np.mean([published_t_test(*both) <= ALPHA for both in sides]) <= most(studies, ALPHA + 0.01)
    assert np.mean([holds(difference_interval(*both), 0) for both in sides]) >= least(studies, 0.94)


def test_rounding_makes_no_difference_significant():
    """Deviations near half a unit of the last printed digit, where rounding hides most."""
    make, studies, wrong = rng("rounded"), 200, 0
    for _ in range(studies):
        first, second = (
            Summary(round(each.mean, 1), round(each.deviation, 1), 5)
            for each in (summary(make.normal(70, 0.15, 5)) for _ in range(2))
        )
        wrong += judge_rounded(first, second, ALPHA).verdict is Verdict.SIGNIFICANT
    assert wrong / studies <= most(studies)


def test_a_printed_figure_that_our_runs_reach():
    """The truth is what was printed but for its rounding."""
    make, studies = rng("figure"), 1000
    verdicts = []
    for truth in make.uniform(60, 80, studies):
        verdicts.append(judge_figure(summary(make.normal(truth, 0.1, 3)), round(truth, 1)).verdict)
    assert np.mean([each is Verdict.SIGNIFICANT for each in verdicts]) <= most(studies)
    assert np.mean([each is Verdict.NOT for each in verdicts]) > 0.1
