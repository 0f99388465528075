"""Families of comparisons: Holm's verdicts, what cannot be judged, and the published procedure beside them."""

import pytest
from scipy import stats

from cpeft.stats.corrected_tests import judged, summed
from cpeft.stats.intervals import Verdict
from cpeft.stats.paired import compare


def pair(differences, base=50.0):
    second = {seed: base + seed for seed in range(len(differences))}
    return compare({seed: second[seed] + each for seed, each in enumerate(differences)}, second)


def test_few_units_cannot_be_judged_even_in_the_best_of_families():
    """Ten units reach 2 / 1024, six 2 / 64: as the second of two in Holm's order the latter can still be significant, as one of
    three not when the third of them has three units and can never be."""
    clear, six, three = pair([9, 8, 7, 9, 8, 7, 9, 8, 7, 6]), pair([1, 2, 3, 4, 5, 6]), pair([1, 2, 3])
    assert [each.verdict for each in judged([clear, six])] == [Verdict.SIGNIFICANT, Verdict.SIGNIFICANT]
    found = judged([clear, six, three])
    assert [each.verdict for each in found] == [Verdict.SIGNIFICANT, Verdict.CANNOT, Verdict.CANNOT]
    assert [each.p for each in found] == pytest.approx([6 / 1024, 4 / 64, 2 / 8])
    assert judged([pair([1, -2, 3, 4, -5, 6])])[0].verdict is Verdict.NOT
    assert judged([]) == []


def test_the_published_procedure_takes_pairs_for_independent_and_corrects_by_bonferroni():
    first, second = [60.0, 70.0, 80.0], [58.0, 68.0, 78.5]
    sides = (summed(first), summed(second)), (summed([1.0, 1.0]), summed([2.0, 2.0]))
    one, other = judged([pair([2, 2, 1.5]), pair([1, 1])], sides)
    assert one.published.p == pytest.approx(min(1, 2 * stats.ttest_ind(first, second).pvalue))
    assert one.published.verdict is Verdict.NOT
    assert (other.published.p, other.published.verdict) == (None, Verdict.CANNOT)


def test_verdicts_in_words():
    """They name the units that a claim rests on."""
    few, clear = pair([9, 8, 7]), pair([9, 8, 7, 9, 8, 7, 9, 8, 7, 6])
    words = {each.shown for each in judged([few, clear, pair([9, -8, 7, -9, 8, -7, 9, -8, 7, -6])])}
    assert words == {"too few seeds", "significant", "not shown"}
    tasks = compare(dict.fromkeys("abcde", 5.0), dict.fromkeys("abcde", 1.0), "tasks")
    assert [each.shown for each in judged([tasks])] == ["too few tasks"]  # least p 2/32
