"""Templates of formulas in recipes: `{task}` and `...` become the tasks of a run, `{seed}` its seed and `{few_shot}` its value
in the grid.

    "vocab + sum(v(sources/{task}), ...)"     in a run of sst2 and mnli: "vocab + sum(v(sources/sst2), v(sources/mnli))"

A template is filled in as text, because a placeholder may be a part of a name or of a quoted text; the result is parsed.
"""

from collections.abc import Mapping, Sequence

from cpeft.errors import ConfigError

MORE = ", ...)"


def fill_in(template: str, tasks: Sequence[str], axes: Mapping[str, object], stage_tasks: Sequence[str] = ()) -> str:
    """The formula of a run: the text before `, ...` in its brackets is repeated for every task, `{task}` is the tasks joined
    by `+`, `{other}` the next of `stage_tasks` that the run does not have, and `{NAME}` the value of `axes`.

    Raises ConfigError for `...` outside brackets, and for `{other}` if the stage has no other task."""
    formula = template
    while (end := formula.find(MORE)) >= 0:
        start = _opening(formula, end)
        if start < 0:
            raise ConfigError(f"prompt.init = '{formula}': '...' stands in no brackets")
        repeated = formula[start + 1 : end]
        every = ", ".join(repeated.replace("{task}", task) for task in tasks)
        formula = f"{formula[: start + 1]}{every}{formula[end + len(MORE) - 1 :]}"
    if "{other}" in formula:
        formula = formula.replace("{other}", _next_other(formula, tasks, stage_tasks))
    for axis, value in {"task": "+".join(tasks), **axes}.items():
        formula = formula.replace(f"{{{axis}}}", str(value))
    return formula


def _opening(text: str, end: int) -> int:
    """The place of the bracket that is open at `end`, -1 if none is."""
    depth = 0
    for place in range(end - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[place], 0)
        if depth < 0:
            return place
    return -1


def _next_other(formula: str, tasks: Sequence[str], stage_tasks: Sequence[str]) -> str:
    """The task after those of a run in its stage, cyclically."""
    places = [stage_tasks.index(task) for task in tasks if task in stage_tasks]
    start = max(places, default=-1) + 1
    others = [task for task in (*stage_tasks[start:], *stage_tasks[:start]) if task not in tasks]
    if not others:
        raise ConfigError(
            f"prompt.init = '{formula}': {{other}} is another task of the stage, which has no task but {', '.join(tasks)}"
        )
    return others[0]
