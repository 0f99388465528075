"""Published significance of task prompt vectors: a claim for every pair of figures that the published test calls different."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from cpeft.report.published.matching import MODELS
from cpeft.stats.intervals import Verdict as Test
from cpeft.stats.summaries import Judged, difference_interval
from studies.claims.attempt import PUBLISHED
from studies.claims.claim import Claim, Found, Verdict
from studies.claims.vectors import NAMES, published

rejudged = import_module("studies.tpv-rejudged.claims")
REJUDGED = "python -m studies.tpv-rejudged.claims"


def significance() -> Iterator[Claim]:
    """A claim for every pair of figures that the published test finds significant."""
    for model in MODELS:
        rows = PUBLISHED["cross_origin"]["rows"][f"{model} original"]
        datasets = [name for name in rows if "avg" not in name]
        for dataset in (name for name in datasets if name in rejudged.SCRIPT_ALPHA):
            assumed, real = (
                rejudged.cross_origin(PUBLISHED, model, dataset, n)
                for n in (rejudged.SCRIPT_RUNS, rejudged.SETTINGS_RUNS)
            )
            if assumed.published(rejudged.SCRIPT_ALPHA[dataset])[1]:
                higher = "lower" if real.first.mean > real.second.mean else "higher"
                again = real.judge(rejudged.ALPHA / len(datasets))
                yield _significant(
                    f"{dataset} on {NAMES[model]}: another origin is {higher}", "cross-origin table", NAMES[model],
                    "original - mixed", real, again, f"n = 3 and 6, level 0.05 / {len(datasets)}",
                )  # fmt: skip
    for shots in rejudged.SHOTS:
        pairs = [rejudged.few_shot(PUBLISHED, target, names, shots) for target, *names in rejudged.TESTED]
        for (target, one, two), pair, again in zip(
            rejudged.TESTED, pairs, rejudged.both_corrections(pairs)[1], strict=True
        ):
            if pair.published(rejudged.FEW_SHOT_ALPHA)[1]:
                yield _significant(
                    f"{target}, {shots} shots: {one} against {two}", "few-shot table", "T5-base", f"{one} - {two}", pair, again,
                    "n = 10, Holm over six",
                )  # fmt: skip


def _significant(title: str, place: str, model: str, name: str, pair: Any, again: Judged, rule: str) -> Claim:
    verdicts = {Test.SIGNIFICANT: Verdict.SUPPORTED, Test.CANNOT: Verdict.NOT_TESTABLE}
    interval = difference_interval(pair.first, pair.second) if pair.first.deviation and pair.second.deviation else None
    span = f", p {again.range.low:.4f} to {again.range.high:.4f}" if again.range else f", {again.reason}"
    figure = f"{name} {pair.difference()} points; {again.verdict}{span} ({rule})"
    found = Found(
        figure,
        verdicts.get(again.verdict, Verdict.NOT_SHOWN),
        pair.first.mean - pair.second.mean,
        interval,
    )
    return Claim(
        title,
        "The published test finds this pair of figures significantly different.",
        f"Published script of significance tests, {place}",
        "The single scores of the runs, which are not published; from printed means and deviations, the test for every value "
        "that rounds to them and the number of runs that the settings name",
        (published(lambda: found, lambda known: known, f"{model}, published figures", REJUDGED),),
    )
