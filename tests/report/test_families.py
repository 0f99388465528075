"""Families of comparisons: Holm's verdicts, what cannot be judged, and the published procedure beside them."""

import pytest
from fabricate import write_trial
from scipy import stats
from test_page import read

from cpeft.report.families import judged, summed
from cpeft.report.stats import Verdict, compare


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


def test_from_ten_units_on_the_bootstrap_stands_beside_the_t_interval(tmp_path):
    for seed in range(10):
        for name, init, score in (("nothing", "vocab", 50.0), ("SPoT", "s/mnli", 60.0 + seed % 4)):
            for shots in (4, 16):
                settings = {"data": {"few_shot": shots}}
                write_trial(tmp_path, "few", f"{name} few_shot={shots}", seed, {"rte": score}, init, settings=settings)
    _, page = read(tmp_path)
    assert "bootstrap [" in page.row("SPoT", "0.002 significant")
