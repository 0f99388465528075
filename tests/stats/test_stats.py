"""Statistics: against scipy, small cases by hand, printed tables, and what a test must not claim."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from cpeft.errors import NotComparable
from cpeft.stats.intervals import ALPHA, Interval, Verdict
from cpeft.stats.many import holm, rank_methods
from cpeft.stats.paired import compare, compare_tasks, mcnemar
from cpeft.stats.summaries import (
    Judged,
    Summary,
    difference_interval,
    holm_judged,
    judge_rounded,
    p_range,
    published_t_test,
    verdict_of,
)


def against_zero(differences):
    return compare(dict(enumerate(differences)), dict.fromkeys(range(len(differences)), 0.0))


# --- matched units


def test_differences_follow_the_units_not_the_order():
    found = compare({("rte", 0): 60.0, ("cb", 1): 80.0}, {("cb", 1): 70.0, ("rte", 0): 55.0})
    assert (found.differences, found.units, found.mean) == ((5.0, 10.0), 2, 7.5)


@pytest.mark.parametrize("differences", [[1.0, 4.0], [2.0, -1.0, 3.0, 4.5], list(np.linspace(-2, 5, 12))])
def test_intervals_are_scipys(differences):
    found = against_zero(differences)
    assert found.t_interval == pytest.approx(stats.ttest_1samp(differences, 0).confidence_interval(0.95))
    assert found == against_zero(differences)  # seeded


def test_p_counts_the_signs_by_hand():
    """Of the eight sign patterns of 1, 2, 4 one has a mean as high and one as low: 2 / 8."""
    found = against_zero([1.0, 2.0, 4.0])
    assert found.p == found.least_p == 0.25
    assert against_zero([-1.0, 2.0, 4.0]).p == 0.5  # +7 and +5, -5 and -7
    assert against_zero([5.0, -5.0]).p == 1.0


def test_p_is_exact_as_long_as_it_can_be_and_sampled_beyond():
    rng = np.random.default_rng(3)
    d = rng.normal(0.4, 1, 10)
    patterns = np.array(np.meshgrid(*[[-1, 1]] * 10)).reshape(10, -1)
    sums = d @ patterns
    assert against_zero(d).p == pytest.approx((np.abs(sums) >= abs(d.sum()) - 1e-9).mean())
    many = rng.normal(0.2, 1, 40)
    assert against_zero(many).p == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.02)
    assert against_zero(many).least_p == pytest.approx(2 / (2**14 + 1))


def test_five_units_are_too_few_and_six_enough():
    assert against_zero([9.0, 8.0, 9.5, 8.5, 9.0]).least_p == 0.0625
    six = against_zero([9.0, 8.0, 9.5, 8.5, 9.0, 9.1])
    assert (six.least_p, six.p) == (0.03125, 0.03125)
    assert against_zero([9.0, -8.0, 9.5, -8.5, 9.0, -9.1]).p > ALPHA


def test_units_that_do_not_differ_decide_nothing():
    """Their signs change no mean, so neither p nor what p can be; too few others cannot be judged."""
    one = against_zero([0.0] * 9 + [5.0])
    assert (one.p, one.least_p) == (1.0, 1.0)
    none = against_zero([0.0] * 9)
    assert (none.p, none.least_p) == (1.0, 1.0)
    rounding = against_zero([0.1 + 0.2 - 0.3, 5.0, 6.0])
    assert (rounding.p, rounding.least_p) == (0.5, 0.5)
    six = [9.0, 8.0, 9.5, 8.5, 9.0, 9.1]
    for ties in (0, 3, 30):  # exact however many units there are
        found = against_zero(six + [0.0] * ties)
        assert (found.p, found.least_p) == (0.03125, 0.03125)
    five = against_zero([*six[:5], *[0.0] * 30])
    assert (five.p, five.least_p) == (0.0625, 0.0625)
    assert against_zero([*six[:5], -9.0, 0.0]).p > ALPHA
    assert (five.units, five.mean) == (35, pytest.approx(sum(six[:5]) / 35))


def test_effect_size_by_hand():
    found = against_zero([1.0, 2.0, 3.0, 6.0])  # mean 3, squares 4 + 1 + 0 + 9 = 14
    raw = 3 / np.sqrt(14 / 3)
    assert found.hedges_g == pytest.approx(raw * (1 - 3 / (4 * 3 - 1)), rel=0.01)  # the usual approximation
    assert against_zero([1.0, 2.0]).hedges_g is None


def test_hedges_correction_removes_the_bias():
    """E[g] = delta; E[d] at five units is a quarter above it."""
    rng = np.random.default_rng(0)
    d = rng.normal(0.5, 1, (4000, 5))
    raw = d.mean(1) / d.std(1, ddof=1)
    factor = against_zero(d[0]).hedges_g / raw[0]
    assert raw.mean() * factor == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_equal_differences_have_no_spread(value):
    found = against_zero([value] * 4)
    assert found.t_interval == (value, value)
    assert found.hedges_g is None
    assert found.p == (1.0 if value == 0 else 0.125)


def test_a_claim_over_tasks_counts_every_task_once():
    """rte: +1 and +3, cb: +4 of one seed; 2 and 4 have a mean of 3."""
    first = {("rte", 0): 51.0, ("rte", 1): 53.0, ("cb", 0): 54.0}
    found = compare_tasks(first, dict.fromkeys(first, 50.0))
    assert (found.differences, found.of, found.mean) == ((2.0, 4.0), "tasks", 3.0)
    with pytest.raises(NotComparable, match="1 found"):
        compare_tasks({("rte", 0): 1.0, ("rte", 1): 2.0}, {("rte", 0): 1.0, ("rte", 1): 3.0})
    with pytest.raises(NotComparable, match=r"only one method has a score for \('rte', 1\)"):
        compare_tasks(first, {key: 50.0 for key in first if key != ("rte", 1)})


def test_units_without_a_partner_are_named():
    with pytest.raises(NotComparable, match=r"only one method has a score for cb, rte; run the other"):
        compare({"rte": 1.0, "sst2": 2.0}, {"sst2": 2.0, "cb": 3.0})
    with pytest.raises(NotComparable, match="and 3 more"):
        compare(dict.fromkeys(range(8), 1.0), {})


@pytest.mark.parametrize(
    ("scores", "message"), [({}, "0 found"), ({0: 1.0}, "1 found"), ({0: 1.0, 1: np.nan}, "no number")]
)
def test_too_few_or_no_numbers(scores, message):
    with pytest.raises(NotComparable, match=message):
        compare(scores, scores)


# --- families


def by_definition(p):
    """Holm as statsmodels states it: sort, multiply by m, m - 1, ..., running maximum, cut at 1, back in place."""
    corrected = {}
    greatest = 0.0
    for place, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        greatest = max(greatest, (len(p) - place) * p[i])
        corrected[i] = min(greatest, 1.0)
    return [corrected[i] for i in range(len(p))]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert (holm([0.02]), holm([])) == ([0.02], [])


def test_holm_is_the_definition():
    rng = np.random.default_rng(5)
    for n in (2, 5, 9):
        p = rng.uniform(0, 0.3, n).round(2)  # with ties
        assert holm(p) == pytest.approx(by_definition(p))
        assert (np.array(holm(p)) <= np.minimum(n * p, 1) + 1e-12).all()  # never above Bonferroni


@pytest.mark.parametrize("p", [[0.1, 1.2], [-0.1], [np.nan]])
def test_holm_refuses_what_is_no_p(p):
    with pytest.raises(NotComparable, match="between 0 and 1"):
        holm(p)


@pytest.mark.parametrize(("k", "q"), [(3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (10, 3.164)])
def test_critical_differences_are_those_of_demsars_table(k, q):
    n = 14
    scores = {f"m{i}": {task: float(i) for task in range(n)} for i in range(k)}
    assert rank_methods(scores).critical_difference == pytest.approx(q * np.sqrt(k * (k + 1) / (6 * n)), abs=2e-3)


def test_ranking_by_hand():
    scores = {
        "a": {"w": 90.0, "x": 80.0, "y": 70.0, "z": 60.0},
        "b": {"w": 85.0, "x": 80.0, "y": 65.0, "z": 61.0},
        "c": {"z": 10.0, "y": 20.0, "x": 30.0, "w": 40.0},
    }
    found = rank_methods(scores)
    assert found.ranks == pytest.approx({"a": (1 + 1.5 + 1 + 2) / 4, "b": (2 + 1.5 + 2 + 1) / 4, "c": 3.0})
    columns = [[scores[m][t] for t in "wxyz"] for m in "abc"]
    observed = stats.friedmanchisquare(*columns).statistic
    orders = list(product(*(list(permutations(column)) for column in zip(*columns, strict=True))))
    as_far = [stats.friedmanchisquare(*zip(*order, strict=True)).statistic >= observed - 1e-9 for order in orders]
    assert found.p == pytest.approx(np.mean(as_far), abs=0.015)  # 6^4 orders; ours is sampled
    assert found.critical_difference == pytest.approx(2.3437 * np.sqrt(12 / 24), abs=1e-3)  # 1.657
    assert not found.differ("a", "c")  # 1.625
    assert not found.differ("a", "b")


def test_many_tasks_tell_methods_apart():
    scores = {name: {task: task + step for task in range(12)} for name, step in (("a", 2.0), ("b", 1.0), ("c", 0.0))}
    found = rank_methods(scores)
    assert found.p < 0.001
    assert found.differ("a", "c")
    assert found.differ("c", "a")
    assert found.tasks == 12


def test_methods_that_tie_everywhere_do_not_differ():
    found = rank_methods({name: {0: 5.0, 1: 7.0} for name in "abc"})
    assert (found.p, found.ranks) == (1.0, dict.fromkeys("abc", 2.0))


def test_ranking_refuses():
    with pytest.raises(NotComparable, match=r"2 methods .* three or more"):
        rank_methods({"a": {0: 1.0, 1: 1.0}, "b": {0: 1.0, 1: 1.0}})
    with pytest.raises(NotComparable, match=r"score for rte \(see b\)"):
        rank_methods({"a": {"rte": 1.0, "cb": 1.0}, "b": {"cb": 1.0}, "c": {"rte": 1.0, "cb": 1.0}})
    with pytest.raises(NotComparable, match="at least two tasks"):
        rank_methods({name: {0: 1.0} for name in "abc"})


# --- rounded summaries


def test_the_published_test_pools_equal_runs_and_not_others():
    a, b = Summary(71.5, 0.8, 10), Summary(70.4, 0.4, 10)
    t = 1.1 / np.sqrt((0.8**2 + 0.4**2) / 10)
    assert published_t_test(a, b) == pytest.approx(2 * stats.t.sf(t, 18))
    c = Summary(70.4, 0.4, 3)
    shares = 0.8**2 / 10, 0.4**2 / 3
    df = sum(shares) ** 2 / (shares[0] ** 2 / 9 + shares[1] ** 2 / 2)
    assert published_t_test(a, c) == pytest.approx(2 * stats.t.sf(1.1 / np.sqrt(sum(shares)), df))


def test_the_difference_interval_is_welchs():
    rng = np.random.default_rng(2)
    a, b = rng.normal(5, 1, 7), rng.normal(3, 2, 4)
    first, second = (Summary(x.mean(), x.std(ddof=1), len(x)) for x in (a, b))
    assert difference_interval(first, second) == pytest.approx(
        stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    )
    assert difference_interval(Summary(3.0, 0.0, 4), Summary(1.0, 0.0, 4)) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Summary(71.5, 0.8, 10), Summary(70.4, 0.4, 10)),
        (Summary(90.1, 0.5, 10), Summary(90.8, 0.2, 3)),
        (Summary(11.5, 1.7, 3), Summary(0.0, 0.1, 10)),  # far apart: Welch's p may fall as a deviation grows
        (Summary(85.4, 0.1, 3), Summary(85.3, 0.2, 6)),
        (Summary(95.5, 1.7, 3), Summary(26.5, 18.2, 6)),
    ],
)
def test_the_range_holds_every_score_that_rounds_so(a, b):
    low, high = p_range(a, b)
    assert 0 <= low <= published_t_test(a, b) <= high <= 1
    rng = np.random.default_rng(1)
    inside = [
        published_t_test(
            Summary(a.mean + w, a.deviation + x, a.runs), Summary(b.mean + y, b.deviation + z, b.runs)
        )
        for w, x, y, z in [*rng.uniform(-0.05, 0.05, (300, 4)), *rng.choice([-0.05, 0.05], (60, 4))]
    ]  # fmt: skip
    assert low - 1e-12 <= min(inside)
    assert max(inside) <= high + 1e-12
    assert min(inside) == pytest.approx(low, rel=0.35, abs=1e-3)  # and is not much wider than needed
    assert max(inside) == pytest.approx(high, rel=0.35, abs=1e-3)


def test_welchs_p_is_not_least_in_a_corner():
    """Why the edges are scanned: towards equal shares of the variance degrees of freedom rise, and p falls below every
    corner's."""
    corners = [published_t_test(Summary(1.1, x, 3), Summary(0.0, y, 6)) for x in (0.05, 0.15) for y in (0.05, 0.15)]
    inner = published_t_test(Summary(1.1, 0.05, 3), Summary(0.0, 0.1, 6))
    assert p_range(Summary(1.0, 0.1, 3), Summary(0.0, 0.1, 6)).low <= inner < 0.1 * min(corners)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (Summary(95.5, 1.7, 10), Summary(26.5, 18.2, 10), Verdict.SIGNIFICANT),
        (Summary(86.1, 1.9, 10), Summary(86.0, 2.0, 10), Verdict.NOT),
        (Summary(87.3, 0.1, 10), Summary(87.4, 0.1, 10), Verdict.ROUNDING),
        (Summary(99.2, 0.0, 10), Summary(50.0, 0.1, 10), Verdict.CANNOT),
        (Summary(99.2, None, 10), Summary(50.0, 0.1, 10), Verdict.CANNOT),
    ],
)
def test_verdicts(first, second, verdict):
    judged = judge_rounded(first, second, 0.05 / 11)
    assert judged.verdict is verdict
    assert (judged.range is None) == bool(judged.reason) == (verdict is Verdict.CANNOT)
    mirrored = judge_rounded(second, first, 0.05 / 11)
    assert mirrored.verdict is verdict
    assert judged.range is None or mirrored.range == pytest.approx(judged.range)


def test_the_level_itself_is_significant():
    assert verdict_of(Interval(0.01, 0.05), 0.05) is Verdict.SIGNIFICANT
    assert verdict_of(Interval(0.05, 0.06), 0.05) is Verdict.ROUNDING
    assert verdict_of(Interval(0.051, 0.06), 0.05) is Verdict.NOT


def test_holm_over_ranges_keeps_the_unjudged_in_the_family():
    family = [
        Judged(Verdict.SIGNIFICANT, Interval(0.01, 0.02)),
        Judged(Verdict.CANNOT, reason="deviation 0"),
        Judged(Verdict.SIGNIFICANT, Interval(0.001, 0.002)),
    ]
    found = holm_judged(family)
    assert [j.range for j in found] == [pytest.approx((0.02, 0.04)), None, pytest.approx((0.003, 0.006))]
    assert [j.verdict for j in found] == [Verdict.SIGNIFICANT, Verdict.CANNOT, Verdict.SIGNIFICANT]
    assert found[1] is family[1]
    assert holm_judged([]) == []
    wide = holm_judged([Judged(Verdict.ROUNDING, Interval(0.03, 0.2)), family[0]])
    assert wide[0].verdict is Verdict.ROUNDING


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Summary(1.0, None, 10), "needs a deviation"),
        (Summary(1.0, 0.5, 1), "at least two runs"),
        (Summary(1.0, -0.5, 4), "needs a deviation"),
        (Summary(1.0, 0.0, 10), "both deviations are 0"),
    ],
)
def test_summaries_that_cannot_be_tested(bad, message):
    with pytest.raises(NotComparable, match=message):
        published_t_test(bad, Summary(2.0, 0.0, 10))


def test_mcnemar_is_the_binomial_test_of_rows_that_one_alone_gets_right():
    first, second = [True] * 9 + [False] * 1 + [True] * 20, [False] * 9 + [True] * 1 + [True] * 20
    assert mcnemar(first, second) == mcnemar(second, first) == stats.binomtest(9, 10).pvalue
    assert mcnemar(first, first) == 1.0
    with pytest.raises(NotComparable, match="the same rows"):
        mcnemar(first, second[1:])


def test_mcnemar_holds_its_error_rate():
    rng = np.random.default_rng(0)
    for right in (0.5, 0.9):
        p = [mcnemar(*(rng.random((2, 60)) < right).tolist()) for _ in range(2000)]
        assert np.mean(np.array(p) <= 0.05) <= 0.05
