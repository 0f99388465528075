"""The claims of a study as data: the comparisons of the report, each as a sentence with the numbers it rests on.

Two kinds, those that `cpeft run` and the report print: trained prompts beside everything that was not trained (exact McNemar
tests on test rows), and methods beside plain prompt tuning over tasks (sign-flip tests, paired by task). Both have Holm's
correction over their family.
"""

from collections.abc import Iterator
from typing import Any

from cpeft.report.gain import Gain, gains
from cpeft.report.sections.ranking import Contest, contests
from cpeft.report.study import Study
from cpeft.report.vectors.lines import examples


def claims_of(study: Study) -> list[dict[str, Any]]:
    """Every claim: `claim`, a sentence, and its numbers; scores and differences are in points of per cent."""
    return [*map(_trained, gains(study)), *(claim for contest in contests(study) for claim in _methods(contest))]


def _trained(gain: Gain) -> dict[str, Any]:
    return {
        "claim": gain.verdict,
        "kind": "trained beside untrained",
        "task": gain.task,
        "rows": gain.rows,
        "right": list(gain.prompts),
        "right_untrained": sum(gain.best.right),
        "untrained": gain.best.name,
        "p_holm": list(gain.p),
        "significant": gain.significant,
    }


def _methods(contest: Contest) -> Iterator[dict[str, Any]]:
    for method in contest.methods:
        if (tested := method.tested) is None:
            continue
        paired = tested.paired
        low, high = paired.t_interval
        where = f"{len(contest.tasks)} tasks ({', '.join(contest.tasks)}), {examples(contest.shots)}, {contest.dtype}"
        numbers = f"{paired.mean:+.2f} [{low:.2f}, {high:.2f}], p = {tested.p:.2g} after Holm's correction"
        yield {
            "claim": f"{method.name} minus {contest.base} over {where}: {numbers}: {tested.shown}",
            "kind": "methods over tasks",
            "method": method.name,
            "base": contest.base,
            "tasks": list(contest.tasks),
            "examples": contest.shots,
            "dtype": contest.dtype,
            "mean": method.mean,
            "difference": paired.mean,
            "interval": [low, high],
            "p_holm": tested.p,
            "verdict": tested.shown,
        }
