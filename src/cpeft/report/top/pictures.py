"""The pictures of a board: methods by tasks, and quality against the number of trained parameters."""

from collections.abc import Mapping
from functools import partial

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from cpeft.report.render.drawing import COLOURS, INK, MARKERS, Key, Panel, Picture
from cpeft.report.render.heat_map import HeatMap
from cpeft.report.render.numbers import fixed
from cpeft.report.top.board import Board, Standing

BLUES = LinearSegmentedColormap.from_list("gain", ["#f3f7fb", "#a9cbe6", "#3f86bf", "#084a7d"])
LEAST = 3  # points of a scatter plot that says anything


def methods_by_tasks(board: Board, constants: Mapping[str, float]) -> Picture:
    """Mean scores, coloured by points over the best constant answer of the task; grey where that is not beaten. Tasks with
    open answers have no such constant and are coloured by the score."""
    places = {
        (row, column): (each, task) for row, each in enumerate(board.methods) for column, task in enumerate(board.tasks)
    }
    values = {place: each.means[task] for place, (each, task) in places.items()}
    shown = {
        place: float("nan") if task in each.chance else abs(each.means[task] - constants.get(task, 0.0))
        for place, (each, task) in places.items()
    }
    most = max((gain for gain in shown.values() if gain == gain), default=0.0) or 1.0
    drawn = HeatMap(
        [each.name for each in board.methods],
        board.tasks,
        values,
        BLUES,
        lambda gain: gain / most,
        lambda score: fixed(score, 1),
        shown=shown,
    )
    label = "Mean test scores of methods by tasks: " + "; ".join(
        f"{each.name} {', '.join(f'{task} {fixed(mean, 1)}' for task, mean in each.means.items())}"
        for each in board.methods
    )
    title = "Mean test score; colour: points over the best constant answer, grey: at chance"
    return Picture(
        "methods-tasks", title, [Panel(title, label, drawn.draw)], size=drawn.size, margins=drawn.margins, grows=False
    )


def quality_by_size(board: Board, numbers: Mapping[str, int]) -> Picture | None:
    """Mean over tasks against trained parameters; None where these are the same or the points are fewer than `LEAST`."""
    points = [each for each in board.methods if each.trained and each.trainable and max(each.trainable)]
    if len(points) < LEAST or len({max(each.trainable) for each in points}) < 2:
        return None
    shapes = {each.name: _shape(numbers[each.label]) for each in points}
    keys = [Key(name, colour, marker=marker) for name, (colour, marker) in shapes.items()]
    title = "Mean test score against trained parameters"
    label = f"{title}: " + "; ".join(f"{each.name} {each.mean:.1f} with {max(each.trainable):,}" for each in points)
    draw = partial(_scatter, points=points, shapes=shapes, others=[each for each in board.methods if not each.trained])
    if any(not each.trained for each in board.methods):
        keys.append(Key("best method without training", INK, (2, 2)))
    return Picture("quality-size", title, [Panel(title, label, draw)], keys, (302, 202))


def _shape(number: int) -> tuple[str, str]:
    """The colour of a method, and a marker that tells it from the others of this colour."""
    return COLOURS[number % len(COLOURS)], list(MARKERS)[number // len(COLOURS) % len(MARKERS)]


def _scatter(axes: Axes, points: list[Standing], shapes: Mapping[str, tuple[str, str]], others: list[Standing]) -> None:
    for each in points:
        colour, marker = shapes[each.name]
        axes.plot([max(each.trainable)], [each.mean], marker, color=colour, markersize=7, markeredgewidth=0)
    if others:
        axes.axhline(max(each.mean for each in others), color=INK, linewidth=0.8, dashes=(2, 2))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda size, _: f"{size:,.0f}")
    axes.minorticks_off()
    axes.margins(0.1)
    axes.set_xlabel("trained parameters (log scale)")
    axes.set_ylabel("mean test score")
