"""The claims of a study as data: the comparisons of the report, each as a sentence with the numbers it rests on.

Two kinds, those that `cpeft run` and the report print: trained prompts beside everything that was not trained (exact McNemar
tests on test rows), and methods beside the baseline of their board (sign-flip tests, paired by task, on a single task by seed).
Both have Holm's correction over their family.
"""

from collections.abc import Iterator
from typing import Any

from cpeft.report.gain import Gain, gains
from cpeft.report.study import Study
from cpeft.report.top.board import Board, boards
from cpeft.report.vectors.lines import examples


def claims_of(study: Study) -> list[dict[str, Any]]:
    """Every claim: `claim`, a sentence, and its numbers; scores and differences are in points of per cent."""
    return [*map(_trained, gains(study)), *(claim for board in boards(study) for claim in _methods(board))]


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


def _methods(board: Board) -> Iterator[dict[str, Any]]:
    for method in board.methods:
        if (tested := method.tested) is None:
            continue
        paired = tested.paired
        low, high = paired.t_interval
        where = f"{', '.join(board.tasks)} (paired by {board.units[:-1]}), {examples(board.shots)}, {board.dtype}"
        numbers = f"{paired.mean:+.2f} [{low:.2f}, {high:.2f}], p = {tested.p:.2g} after Holm's correction"
        yield {
            "claim": f"{method.name} minus {board.base} on {where}: {numbers}: {tested.shown}",
            "kind": f"methods over {board.units}",
            "method": method.name,
            "base": board.base,
            "tasks": list(board.tasks),
            "examples": board.shots,
            "dtype": board.dtype,
            "mean": method.mean,
            "difference": paired.mean,
            "interval": [low, high],
            "p_holm": tested.p,
            "verdict": tested.shown,
        }
