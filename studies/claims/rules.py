"""The rules of the verdicts. Over tasks a task counts once, as the mean of its seeds; tests are the library's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from scipy import integrate, special, stats

from cpeft.seeds import generator
from cpeft.stats.intervals import ALPHA, LEVEL, Interval, t_interval
from cpeft.stats.many import holm
from cpeft.stats.paired import Paired, compare, task_means
from studies.claims.claim import Found, Verdict
from studies.claims.frames import TaskSeeds

# Units; seven reach 2/128 at the least, 0.047 after Holm's correction of three, six 2/64
FEWEST = {"tasks": 7, "seeds": 6, "origins": 6}
MOST_PLANNED = 3
RESAMPLES = 1 << 13

Comparison = tuple[str, TaskSeeds, TaskSeeds]  # what is compared, in words; both sides
Cells = Mapping[tuple[str, str], float]  # cosine by pair of tasks, or of origins


def differences(*planned: Comparison, of: str = "tasks", unit: str = "points", digits: int = 1) -> Found:
    """First minus second of each planned comparison. Supported: every difference is above 0 by the sign-flip test at 5% after
    Holm's correction; refuted: one is below 0 by it. Units that one side lacks are left out."""
    if len(planned) > MOST_PLANNED:
        raise ValueError(f"{len(planned)} comparisons are planned for one claim; at most {MOST_PLANNED} can be shown")
    compared = [_matched(first, second, of) for _, first, second in planned]
    figure = "; ".join(
        f"{name} {_with_interval(each, unit, digits)}, {each.units} {of}, p {each.p:.3f}"
        if each
        else f"{name}: not run"
        for (name, *_), each in zip(planned, compared, strict=True)
    )
    found = [each for each in compared if each]
    if len(found) < len(planned) or min(each.units for each in found) < FEWEST[of]:
        return _of(found, f"{figure}; fewer than {FEWEST[of]} {of}", Verdict.NOT_TESTABLE)
    corrected = holm([each.p for each in found])
    if len(found) > 1:
        figure += f" (by Holm {', '.join(f'{p:.3f}' for p in corrected)})"
    signs = [np.sign(each.mean) * (p <= ALPHA) for each, p in zip(found, corrected, strict=True)]
    return _of(found, figure, _verdict(all(sign > 0 for sign in signs), any(sign < 0 for sign in signs)))


def keeps(name: str, values: Sequence[float], least: float, of: str = "tasks", unit: str = "points") -> Found:
    """A quantitative claim: the mean over units is at least `least`. Supported: the whole interval lies above it; refuted: the
    whole interval lies below it."""
    if len(values) < 2:
        return Found(f"{name}: {len(values)} {of}", Verdict.NOT_TESTABLE)
    low, high = interval = t_interval(values)
    mean = float(np.mean(values))
    figure = f"{name} {mean:+.1f} [{low:+.1f}, {high:+.1f}] {unit}, {len(values)} {of}; the bound is {least:+g}"
    if len(values) < FEWEST[of]:
        return Found(f"{figure}; fewer than {FEWEST[of]} {of}", Verdict.NOT_TESTABLE, mean, interval)
    return Found(figure, _verdict(low > least, high < least), mean, interval)


def both(first: Found, second: Found) -> Found:
    """A claim of two parts: supported where both are, refuted where the first one is."""
    verdicts = [first.verdict, second.verdict]
    result = Verdict.NOT_SHOWN
    if Verdict.NOT_TESTABLE in verdicts:
        result = Verdict.NOT_TESTABLE
    elif first.verdict is Verdict.REFUTED or verdicts == [Verdict.SUPPORTED, Verdict.SUPPORTED]:
        result = first.verdict
    return Found(f"{first.figure}; {second.figure}", result, first.estimate, first.interval)


def spreads(values: TaskSeeds) -> TaskSeeds:
    """The standard deviation over seeds of every task that has two or more, as a score."""
    return {(task, 0): float(np.std(own, ddof=1)) for task, own in _by_task(values).items()}


def of_tasks(tasks: Sequence[str], found: Found) -> Found:
    """The same with the named tasks, which it is about, before the figure."""
    return replace(found, figure=f"{' and '.join(tasks)}: {found.figure}") if tasks else found


def by_origin(values: TaskSeeds, tasks: Sequence[str]) -> TaskSeeds:
    """The mean over named tasks of every seed, which is an origin, that has a score of all of them."""
    name, seeds = " and ".join(tasks), sorted({seed for task, seed in values if task in tasks})
    whole = [seed for seed in seeds if all((task, seed) in values for task in tasks)]
    return {(name, seed): float(np.mean([values[task, seed] for task in tasks])) for seed in whole}


def _by_task(values: TaskSeeds) -> dict[str, list[float]]:
    """The seeds of every task that has two or more."""
    by_task: dict[str, list[float]] = {}
    for (task, _), value in values.items():
        by_task.setdefault(task, []).append(value)
    return {task: own for task, own in by_task.items() if len(own) > 1}


def trend(name: str, points: Sequence[tuple[float, float]], falling: bool, of: str = "tasks") -> Found:
    """Whether y falls, or rises, with x over units: Spearman's correlation, its permutation test, Fisher's interval."""
    n, text = len(points), f"{name}: "
    if n < 5:
        return Found(f"{text}{n} {of}, fewer than {FEWEST[of]}", Verdict.NOT_TESTABLE)
    x, y = (stats.rankdata(values) for values in zip(*points, strict=True))
    x, y = x - x.mean(), y - y.mean()
    if not (x.any() and y.any()):
        return Found(f"{text}all values are equal", Verdict.NOT_TESTABLE)
    rho = float(x @ y / np.sqrt((x @ x) * (y @ y)))
    orders = generator(0, "trend").permuted(np.tile(y, (RESAMPLES, 1)), axis=1)
    p = (1 + (np.abs(orders @ x) >= abs(x @ y) - 1e-9).sum()) / (1 + RESAMPLES)
    half = stats.norm.ppf((1 + LEVEL) / 2) * 1.06 / np.sqrt(n - 3)
    low, high = np.tanh(np.arctanh(np.clip(rho, -0.9999, 0.9999)) + np.array([-half, half]))
    sign = np.sign(rho) * (p <= ALPHA) * (-1 if falling else 1)
    figure = f"{text}rho {rho:+.2f} [{low:+.2f}, {high:+.2f}], {n} {of}, p {p:.3f}"
    verdict, interval = _verdict(sign > 0, sign < 0), Interval(float(low), float(high))
    if n < FEWEST[of]:
        figure, verdict = f"{figure}; fewer than {FEWEST[of]} {of}", Verdict.NOT_TESTABLE
    return Found(figure, verdict, rho, interval)


def best_of(values: TaskSeeds) -> Found:
    """How far the best seed of a task lies above the mean of its seeds, beside what normal seeds of that spread give by chance
    alone. Arithmetic unless the two differ: it says nothing of a method."""
    by_task = _by_task(values)
    if len(by_task) < 2:
        return Found("no tasks with several seeds", Verdict.NOT_TESTABLE)
    lifts = {task: max(own) - float(np.mean(own)) for task, own in by_task.items()}
    chance = {task: _expected_lift(len(own)) * float(np.std(own, ddof=1)) for task, own in by_task.items()}
    more = compare(lifts, chance, "tasks")
    (low, high), seeds = t_interval(list(lifts.values())), sorted({len(own) for own in by_task.values()})
    figure = (
        f"the best of {' or '.join(map(str, seeds))} seeds lies {np.mean(list(lifts.values())):+.1f} [{low:+.1f}, {high:+.1f}] "
        f"points above their mean, {len(lifts)} tasks; chance alone gives {np.mean(list(chance.values())):+.1f}"
    )
    by_chance = more.t_interval.low <= 0 <= more.t_interval.high
    return Found(
        figure,
        Verdict.ARTEFACT if by_chance else Verdict.NOT_SHOWN,
        float(np.mean(list(lifts.values()))),
        Interval(low, high),
    )


def over_pairs(name: str, first: Cells, second: Cells, units: Sequence[str], of: str = "tasks") -> Found:
    """Whether the mean of the first cells lies above that of the second. Pairs share units, so the error is the jackknife's
    over whole units: each is left out with all its pairs, its pair with itself among them."""
    value, *left_out = (_mean_without(first, unit) - _mean_without(second, unit) for unit in ("", *units))
    n = len(units)
    if n < FEWEST[of]:
        return Found(f"{name} {value:+.3f}, {n} {of}, fewer than {FEWEST[of]}", Verdict.NOT_TESTABLE, value)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.std(left_out) * np.sqrt(n - 1))
    low, high = interval = Interval(value - half, value + half)
    figure = f"{name} {value:+.3f} [{low:+.3f}, {high:+.3f}], {n} {of}"
    return Found(figure, _verdict(low > 0, high < 0), value, interval)


def mantel(name: str, first: Cells, second: Cells) -> Found:
    """Whether two tables order the same pairs of tasks alike: Spearman's correlation, its test by permuting whole tasks."""
    tasks = sorted({task for pair in first for task in pair})
    x_TT, y_TT = (_ranks(cells, tasks) for cells in (first, second))
    upper = np.triu_indices(len(tasks), 1)
    x = x_TT[upper] - x_TT[upper].mean()

    def statistic(order: np.ndarray) -> float:
        y = y_TT[np.ix_(order, order)][upper]
        return float(x @ (y - y.mean()) / np.sqrt((x @ x) * (y - y.mean()) @ (y - y.mean())))

    rho, rng = statistic(np.arange(len(tasks))), generator(0, "mantel")
    others = np.array([statistic(rng.permutation(len(tasks))) for _ in range(RESAMPLES)])
    p = (1 + (np.abs(others) >= abs(rho) - 1e-9).sum()) / (1 + RESAMPLES)
    sign = np.sign(rho) * (p <= ALPHA)
    return Found(
        f"{name}: rho {rho:+.2f}, {len(first)} pairs of {len(tasks)} tasks, p {p:.4f}",
        _verdict(sign > 0, sign < 0),
        rho,
    )


def _ranks(cells: Cells, tasks: Sequence[str]) -> np.ndarray:
    place = {task: i for i, task in enumerate(tasks)}
    ranks_TT = np.zeros((len(tasks), len(tasks)))
    for (one, two), rank in zip(cells, stats.rankdata(list(cells.values())), strict=True):
        ranks_TT[place[one], place[two]] = ranks_TT[place[two], place[one]] = rank
    return ranks_TT


def _mean_without(cells: Cells, unit: str) -> float:
    return float(np.mean([value for pair, value in cells.items() if unit not in pair]))


@cache
def _expected_lift(n: int) -> float:
    """The largest of n normal values minus their mean, expected, in sample deviations with their bias removed."""
    largest = integrate.quad(lambda x: n * x * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1), -8, 8)[0]
    biased = np.sqrt(2 / (n - 1)) * np.exp(special.gammaln(n / 2) - special.gammaln((n - 1) / 2))
    return float(largest / biased)


def _matched(first: TaskSeeds, second: TaskSeeds, of: str) -> Paired | None:
    one, two = (task_means(side) if of == "tasks" else side for side in (first, second))
    common = [unit for unit in one if unit in two]
    return compare(*({unit: side[unit] for unit in common} for side in (one, two)), of) if len(common) > 1 else None


def _with_interval(paired: Paired, unit: str, digits: int) -> str:
    low, high = paired.t_interval
    return f"{paired.mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}] {unit}"


def _of(compared: Sequence[Paired], figure: str, verdict: Verdict) -> Found:
    if not compared:
        return Found(figure, verdict)
    return Found(figure, verdict, compared[0].mean, compared[0].t_interval)


def _verdict(supported: bool, refuted: bool) -> Verdict:
    return Verdict.SUPPORTED if supported else Verdict.REFUTED if refuted else Verdict.NOT_SHOWN
