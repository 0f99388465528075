"""Tests the published significance of task prompt vectors again, from the printed summaries, and writes the page.

    python -m studies.tpv-rejudged.claims

Input is `published.json` of the report: other people's results, copied from their tables. Single scores are not published, so
no paired test is possible. The question is whether the published test (independent t, Bonferroni) keeps its verdict for all
scores that round to the printed ones, for the number of runs in the study's settings, and after Holm's correction.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from studies.scores import table

from cpeft.errors import DataError, NotComparable
from cpeft.report.published import against
from cpeft.report.published.matching import FEW_SHOT_RUNS, MODELS, NOT_ITSELF, SETTINGS_RUNS
from cpeft.stats.intervals import ALPHA, Verdict
from cpeft.stats.summaries import (
    Judged,
    Summary,
    difference_interval,
    holm_judged,
    judge_rounded,
    published_t_test,
)

HERE = Path(__file__).parent
PUBLISHED = Path(against.__file__).with_name("published.json")
SCRIPT_RUNS = (10, 10)
# The published script tests a table at a time and counts the table's average as one more data set; of the second table it
# leaves out SQuADv2 and MATH.
SCRIPT_ALPHA = {
    **dict.fromkeys(("MNLI", "QQP", "QNLI", "SST2", "STS-B", "MRPC", "RTE", "CoLA"), ALPHA / 9),
    **dict.fromkeys(("TREC", "DBPedia", "Yelp"), ALPHA / 4),
}

TARGETS = ("SciTail", "SNLI", "AG News", "Yahoo", "IMDB", "SST5")
SHOTS = ("0", "100")
ROWS = {  # our short name: the row in the published figures
    "random": "random",
    "source 1": "source 1 (SPoT): MNLI / DBPedia / SST2",
    "source 2": "source 2 (SPoT): QNLI / TREC / Yelp",
    "multi-task SPoT": "both, multi-task SPoT",
    "ATTEMPT": "both, ATTEMPT",
    "TPV": "both, TPV sum (ours)",
}
TESTED = (
    ("SciTail", "TPV", "source 1"), ("SNLI", "multi-task SPoT", "source 1"), ("AG News", "TPV", "source 1"),
    ("Yahoo", "TPV", "source 1"), ("IMDB", "TPV", "multi-task SPoT"), ("SST5", "multi-task SPoT", "source 1"),
)  # fmt: skip
FEW_SHOT_ALPHA = ALPHA / len(TESTED)


@dataclass(frozen=True)
class Pair:
    """Two printed cells of one column."""

    dataset: str
    first: Summary
    second: Summary

    def published(self, alpha: float) -> tuple[str, bool]:
        """What the published test finds at the printed values, and whether that is significant."""
        try:
            p = published_t_test(self.first, self.second)
        except NotComparable:
            return "no p: both deviations 0", False
        return f"{Verdict.SIGNIFICANT if p <= alpha else Verdict.NOT}, p {_p(p)}", p <= alpha

    def judge(self, alpha: float) -> Judged:
        """The second test."""
        if reason := NOT_ITSELF.get(self.dataset):
            return Judged(Verdict.CANNOT, reason=reason)
        return judge_rounded(self.first, self.second, alpha)

    def difference(self) -> str:
        text = f"{self.first.mean - self.second.mean:+.1f}"
        if self.first.deviation and self.second.deviation:
            low, high = difference_interval(self.first, self.second)
            text += f" [{low:+.2f}, {high:+.2f}]"
        return text


@dataclass(frozen=True)
class Finding:
    """A data set, whether the published test finds a difference (None: not tested), and the second test."""

    dataset: str
    significant: bool | None
    again: Judged


@dataclass(frozen=True)
class Family:
    """Findings of one table; families of a `kind` are counted together."""

    kind: str
    name: str
    findings: list[Finding]

    def claimed(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.significant]


def rejudged_page(published: dict[str, Any]) -> str:
    """The page. Raises DataError where a figure is missing from `published`."""
    origins = [_origins(published, model) for model in MODELS]
    tested = [_tested(published, shots) for shots in SHOTS]
    families = [family for _, found in (*origins, *tested) for family in found]
    page = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = page.get_template("page.md").render(
        short=_short(families),
        survival=_survival(families),
        origins=[section for section, _ in origins],
        tested=[section for section, _ in tested],
        every=[_every(published, shots) for shots in SHOTS],
    )
    return text.strip() + "\n"


def _origins(published: dict[str, Any], model: str) -> tuple[tuple[str, ...], list[Family]]:
    """Original against mixed origin of one model: (name, level, table), and families by number of runs."""
    datasets = [name for name in _at(published, "cross_origin", "rows", f"{model} original") if "avg" not in name]
    alpha = ALPHA / len(datasets)
    lines, as_script, as_settings = [], [], []
    for dataset in datasets:
        script, settings = (cross_origin(published, model, dataset, runs) for runs in (SCRIPT_RUNS, SETTINGS_RUNS))
        found, significant = "not tested", None
        if dataset in SCRIPT_ALPHA:
            found, significant = script.published(SCRIPT_ALPHA[dataset])
        as_script.append(Finding(dataset, significant, script.judge(alpha)))
        as_settings.append(Finding(dataset, significant, settings.judge(alpha)))
        cells = _printed(settings.first), _printed(settings.second), settings.difference()
        lines.append([dataset, *cells, found, _again(as_script[-1].again), _again(as_settings[-1].again)])
    head = [
        "data set",
        "original",
        "mixed",
        "difference [95%]",
        "published test",
        "n = 10, rounding",
        "n = 3 and 6, rounding",
    ]
    families = [Family("origins, n = 10", model, as_script), Family("origins, n = 3 and 6", model, as_settings)]
    return (model, f"0.05 / {len(datasets)}", markdown(head, lines)), families


def _tested(published: dict[str, Any], shots: str) -> tuple[tuple[str, ...], list[Family]]:
    """The six pairs of the published script at some number of shots: (shots, table), and families by correction."""
    pairs = [few_shot(published, target, names, shots) for target, *names in TESTED]
    then = [pair.published(FEW_SHOT_ALPHA) for pair in pairs]
    bonferroni, holm = both_corrections(pairs)
    lines = [
        [
            target,
            f"{a} {_printed(pair.first)}",
            f"{b} {_printed(pair.second)}",
            pair.difference(),
            found,
            _again(x),
            _again(y),
        ]
        for (target, a, b), pair, (found, _), x, y in zip(TESTED, pairs, then, bonferroni, holm, strict=True)
    ]
    head = [
        "target",
        "first",
        "second",
        "difference [95%]",
        "published test",
        "rounding, level 0.05 / 6",
        "rounding, Holm",
    ]

    def family(correction: str, judged: Sequence[Judged]) -> Family:
        findings = [Finding(p.dataset, s, j) for p, (_, s), j in zip(pairs, then, judged, strict=True)]
        return Family(f"few shots, {correction}", f"{shots} shots", findings)

    return (shots, markdown(head, lines)), [family("level 0.05 / 6", bonferroni), family("Holm", holm)]


def _every(published: dict[str, Any], shots: str) -> tuple[str, list[tuple[str, str]], str]:
    """TPV against every other row on every target at one number of shots: counts of verdicts and the table."""
    named = [(target, row) for target in TARGETS for row in ROWS if row != "TPV"]
    pairs = [few_shot(published, target, ("TPV", row), shots) for target, row in named]
    bonferroni, holm = both_corrections(pairs)
    lines = [
        [target, _printed(pair.first), f"{row} {_printed(pair.second)}", pair.difference(), _again(x), _again(y)]
        for (target, row), pair, x, y in zip(named, pairs, bonferroni, holm, strict=True)
    ]
    head = [
        "target",
        "TPV",
        "against",
        "difference [95%]",
        "rounding, level 0.05 / 6",
        f"rounding, Holm over {len(pairs)}",
    ]
    return shots, [("Level 0.05 / 6", _counts(bonferroni)), ("Holm", _counts(holm))], markdown(head, lines)


def both_corrections(pairs: Sequence[Pair]) -> tuple[list[Judged], list[Judged]]:
    return [pair.judge(FEW_SHOT_ALPHA) for pair in pairs], holm_judged([pair.judge(ALPHA) for pair in pairs])


def _short(families: Sequence[Family]) -> list[tuple[str, int, int]]:
    """Per kind of family: pairs significant as published, and those that stay so."""
    counts: dict[str, tuple[int, int]] = {}
    for family in families:
        claimed, kept = counts.get(family.kind, (0, 0))
        stay = sum(finding.again.verdict is Verdict.SIGNIFICANT for finding in family.claimed())
        counts[family.kind] = claimed + len(family.claimed()), kept + stay
    return [(kind, *both) for kind, both in counts.items()]


def _survival(families: Sequence[Family]) -> str:
    """What becomes of every pair that the published test finds significant, family by family."""
    lines = []
    for family in families:
        tested = sum(finding.significant is not None for finding in family.findings)
        fates: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
        for finding in family.claimed():
            fates[finding.again.verdict].append(finding.dataset)
        cells = [", ".join(names) or "–" for names in fates.values()]
        lines.append([f"{family.kind}: {family.name}", str(tested), str(len(family.claimed())), *cells])
    return markdown(["family", "tested", "significant as published", *Verdict], lines)


def _at(published: dict[str, Any], *keys: str) -> Any:
    found: Any = published
    for i, key in enumerate(keys):
        if not isinstance(found, dict) or key not in found:
            raise DataError(
                f"the published figures have no {' > '.join(keys[: i + 1])}; give a file like report/published/published.json"
            )
        found = found[key]
    return found


def _summary(published: dict[str, Any], runs: int, *keys: str) -> Summary:
    return Summary(_at(published, *keys, "mean"), _at(published, *keys, "std"), runs)


def cross_origin(published: dict[str, Any], model: str, dataset: str, runs: tuple[int, int]) -> Pair:
    origins = zip(("original", "mixed"), runs, strict=True)
    return Pair(dataset, *(_summary(published, n, "cross_origin", "rows", f"{model} {o}", dataset) for o, n in origins))


def few_shot(published: dict[str, Any], target: str, names: Sequence[str], shots: str) -> Pair:
    rows = [ROWS[name] for name in names]
    summaries = [_summary(published, FEW_SHOT_RUNS[row], "few_shot_f1", "rows", row, target, shots) for row in rows]
    return Pair(target, *summaries)


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(table(head, lines))


def _printed(cell: Summary) -> str:
    return f"{cell.mean:.1f} ({'–' if cell.deviation is None else format(cell.deviation, '.1f')})"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _again(judged: Judged) -> str:
    if judged.range is None:
        return f"{judged.verdict}: {judged.reason}"
    low, high = map(_p, judged.range)
    return f"{judged.verdict}, p {low if low == high else f'{low} to {high}'}"


def _counts(judged: Sequence[Judged]) -> str:
    counts = Counter(each.verdict for each in judged)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)


if __name__ == "__main__":
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    (HERE / "README.md").write_text(rejudged_page(published), encoding="utf-8", newline="\n")
