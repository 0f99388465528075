"""Our seeds against one printed figure: Student's one-sample t-test, for every figure that rounds to the printed one.

A figure without deviation and number of runs is taken as exact but for its rounding, so the test says how far our mean lies
from what was printed, and nothing of how far theirs would lie from another try.
"""

from scipy import stats

from cpeft.report.stats import ALPHA, HALF, Interval, Judged, Summary, Verdict, verdict_of

FEWEST = 3  # seeds, below which a deviation says too little


def judge_figure(own: Summary, printed: float, alpha: float = ALPHA, half: float = HALF) -> Judged:
    """The verdict as far as rounding of `printed` allows one."""
    if own.deviation is None or own.runs < FEWEST:
        return Judged(Verdict.CANNOT, reason=f"fewer than {FEWEST} seeds")
    if own.deviation == 0:
        return Judged(Verdict.CANNOT, reason="deviation 0")
    error, gap = own.deviation / own.runs**0.5, abs(own.mean - printed)
    ends = (2 * stats.t.sf(max(0.0, distance) / error, own.runs - 1) for distance in (gap + half, gap - half))
    found = Interval(*map(float, ends))
    return Judged(verdict_of(found, alpha), found)
