"""Commands about studies: run, plan, report."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer import Argument, Option

from cpeft.cli.base import JsonOption, StoreOption, app, console, show_rows
from cpeft.errors import ConfigError, Stopped
from cpeft.training.signals import stopping

RetryOption = Annotated[bool, Option("--retry", help="Run failed runs again.")]
RecipeArgument = Annotated[str, Argument(help="A recipe file, or the name of a packaged recipe.")]
TOLD = 5  # cautions of one kind at the end of a command
OVERRIDES = (
    "Overrides such as train.steps=100 or sources.optim.lr=0.3; tiny=true takes a part of all runs through every stage in a "
    "minute or so, with a random tiny model and made-up rows, into a store of its own (stores/tiny/RECIPE)."
)
Overrides = Annotated[list[str] | None, Argument(help=OVERRIDES)]


OnlyOption = Annotated[
    list[str] | None, Option("--only", help="Only this run (stage/run, * for any text) and what it needs; repeatable.")
]
LauncherOption = Annotated[
    str | None, Option("--launcher", help="Where workers run: here, processes, slurm or ray [default: here].")
]


def _plan(recipe: str, overrides: list[str] | None, store: Path | None, only: list[str] | None) -> Any:
    from cpeft.store.run_folder import Store
    from cpeft.study.recipe.recipe import find_recipe
    from cpeft.study.recipe.tiny import load_sized
    from cpeft.study.runner.plan import Plan

    parsed = load_sized(find_recipe(recipe), overrides or [])
    return Plan(parsed, Store(store or Path("stores") / parsed.name), only or ())


@app.command()
def run(
    recipe: RecipeArgument, overrides: Overrides = None, store: StoreOption = None, retry: RetryOption = False,
    only: OnlyOption = None,
    launcher: LauncherOption = None,
    processes: Annotated[
        int | None, Option(min=1, help="So many processes, which share the cores of this machine.")
    ] = None,
) -> None:  # fmt: skip
    """Train and evaluate every run of a recipe; restartable, finished runs never run twice."""
    with stopping():
        from cpeft.training.workers import Workers
        from cpeft.use.fetch import bring_models

        plan = _plan(recipe, overrides, store, only)
        workers = _launcher(plan, launcher, processes)
        if retry and Workers().first:
            for entry in plan.entries():
                if entry.state == "failed":
                    plan.store.forget(entry.folder)
        if Workers().first:
            bring_models(entry.run for entry in plan.entries() if entry.pending)
        if workers.launch(plan, console):
            console.print(f"they go on by themselves: cpeft status {plan.store.path}", markup=False)
        elif Workers().first:
            _ending(plan)


def _ending(plan: Any) -> None:
    """What a study has come to: its table, and why it is not finished where it is not."""
    from cpeft.report.study import Run
    from cpeft.store.result import RunResult
    from cpeft.study.runner.worker import summary_of

    if done := [entry.folder for entry in plan.entries() if entry.state == "done"]:
        runs = [Run.of(folder, result) for folder in done if isinstance(result := folder.result(), RunResult)]
        report = _table(plan, runs)
        _be_careful(runs)
        _gains(plan.store)
        console.print(f"report: {report}", markup=False)
    summary = summary_of(plan)
    for name, path in summary.failures.items():
        console.print(f"[red]failed[/red] {escape(f'{name}: see {path}')}")
    for name, why in summary.blocked.items():
        console.print(f"[red]blocked[/red] {escape(f'{name}: {why}')}")
    if summary.left:
        raise Stopped(f"{summary.left} runs are left and nobody works on them any more; the same command goes on")
    if summary.failures or summary.blocked:
        raise typer.Exit(1)


def _be_careful(runs: Sequence[Any]) -> None:
    """Tell of runs that hardly answer with labels, whose scores are easily taken for what the model knows."""
    from cpeft.report.sections.cautions import no_labels

    found = no_labels(runs)
    for what, seeds in found[:TOLD]:
        console.print(f"[yellow]careful[/yellow] {escape(what)}: {', '.join(seeds)}")
    if len(found) > TOLD:
        console.print(f"[yellow]careful[/yellow] {len(found) - TOLD} more like these are in the report")


def _launcher(plan: Any, name: str | None, processes: int | None) -> Any:
    """The launcher that a command asks for, with its resources."""
    from cpeft.study.launchers import LAUNCHERS
    from cpeft.training.workers import Workers

    if processes is not None and name not in (None, "processes"):
        raise ConfigError(f"--processes is a setting of --launcher processes; leave it out with --launcher {name}")
    name = name or ("processes" if processes and processes > 1 else "here")
    if name != "here" and Workers().world > 1:
        asked = "--processes" if processes else f"--launcher {name}"
        raise ConfigError(f"{asked} starts processes of its own; leave it out under accelerate or torchrun")
    kind = LAUNCHERS.get(name)
    options = plan.recipe.launchers.get(name, kind.Options())
    return kind(options.model_copy(update={"workers": processes}) if processes and name == "processes" else options)


def _gains(store: Any) -> None:
    """What training brought, where the store has answers without training too: one text, and a sentence a task."""
    from cpeft.report.gain import gains
    from cpeft.report.study import Study

    found = gains(Study.of(store))
    if shown := next((gain.shown for gain in found if gain.shown), None):
        console.print(f"\n{shown.text}", markup=False)
        console.print(f'  without the prompt: "{shown.without}"\n  with it: "{shown.behind}"\n', markup=False)
    for gain in found:
        console.print(gain.verdict, markup=False)


def _table(plan: Any, runs: Sequence[Any]) -> Path:
    """Print the recipe's table and keep it and the store's report beside the runs; returns the report's place."""
    from cpeft.report.page import write_report
    from cpeft.report.summary import score_table, summarise

    cells = summarise(runs)
    console.print(score_table(cells, plan.recipe.name).rich())
    path = plan.store.path / "table.md"
    path.write_text(score_table(cells, every_seed=True).markdown(), encoding="utf-8")
    console.print(f"table: {path}", markup=False)
    return write_report(plan.store.path)


@app.command()
def plan(
    recipe: RecipeArgument, overrides: Overrides = None, store: StoreOption = None, only: OnlyOption = None,
    probe: Annotated[
        bool, Option("--probe", help="Time a few steps of every kind of run that is left, and tell hours and electricity.")
    ] = False,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """The graph of runs, what is done and what is missing; nothing runs but, on request, a short probe."""
    from cpeft.study.runner.pace import Pace
    from cpeft.study.runner.plan_view import Outlook

    planned = _plan(recipe, overrides, store, only)
    outlook = Outlook(planned)
    left = Pace(console).left(outlook.entries)
    probed = _probe(planned) if probe and not outlook.lacks else None
    if as_json:
        done = sum(entry.state == "done" for entry in outlook.entries)
        told = {"stages": outlook.stages(), "runs": outlook.runs(), "done": done, "hours_left": left,
                "missing": [lack.what for lack in outlook.lacks], "downloads": outlook.downloads,
                "probe": asdict(probed) if probed else None,
                "warnings": [vars(finding) for finding in outlook.warnings()]}  # fmt: skip
        print(json.dumps(told, indent=2))
    else:
        _show_plan(planned.recipe.name, outlook)
        for model in outlook.downloads:
            console.print(
                f"{model} is not here yet: `cpeft run` downloads it first, `cpeft fetch {model}` now", markup=False
            )
        _show_hours(left, probed)
        for finding in outlook.warnings():
            console.print(f"[yellow]{finding.level}[/yellow] {escape(f'{finding.where}: {finding.what}')}")
    outlook.check()


def _show_plan(name: str, outlook: Any) -> None:
    """The stages with their edges, then the runs."""
    stages = outlook.stages()
    done = {stage["stage"]: stage["states"].pop("done", 0) for stage in stages}
    rows = [
        {"stage": stage["stage"], "after": ", ".join(stage["needs"]), "runs": stage["runs"], "done": done[stage["stage"]],
         "rest": ", ".join(f"{count} {state}" for state, count in stage["states"].items())}
        for stage in stages
    ]  # fmt: skip
    show_rows(rows, f"{name}: {len(outlook.entries)} runs, {sum(done.values())} done", None)
    rows = []
    for run in outlook.runs():
        stages_needed = Counter(need.partition("/")[0] for need in run["needs"])
        needs = ", ".join(f"{count} of {stage}" for stage, count in stages_needed.items())
        why = f": {run['why']}" if run["why"] and run["state"] != "waiting" else ""  # which what it needs tells
        rows.append({"stage": run["stage"], "run": run["run"], "after": needs, "state": run["state"] + why,
                     "id": run["folder"] and run["folder"].rpartition("-")[2]})  # fmt: skip
    show_rows(rows, "runs", None)


def _show_hours(left: float | None, probed: Any) -> None:
    if left:
        console.print(f"about {left:.1f} hours left in one process, from the mean of each stage's finished runs")
    if not probed:
        console.print("--probe tells hours and electricity, from a few steps of every kind of run")
        return
    energy = f"{probed.kwh:.3g} kWh" if probed.kwh is not None else f"electricity not known ({probed.reason})"
    mean = f"; {probed.unprobed} runs by the mean of the others" if probed.unprobed else ""
    console.print(
        f"about {probed.hours:.2g} hours in one process and {energy} for the {probed.runs} training runs left, "
        f"by a probe of {probed.kinds} kinds of run on this machine{mean}", markup=False,
    )  # fmt: skip


def _probe(planned: Any) -> Any:
    from cpeft.study.runner.probe import estimate

    with console.status("probing") as status:
        return estimate(planned, lambda done, kinds: status.update(f"probing kind {done + 1} of {kinds}"))


@app.command()
def report(
    store: Annotated[Path, Argument(help="The folder that `cpeft run` filled.")],
    other: Annotated[Path | None, Argument(help="Another one, to compare the same runs of both.")] = None,
    out: Annotated[
        Path | None,
        Option("--out", help="The HTML file [default: STORE/report.html, or a name that says beside what]."),
    ] = None,
    against: Annotated[
        str | None, Option("--against", help="Beside the published figures of a study: attempt or tpv.")
    ] = None,
    figures: Annotated[
        Path | None, Option("--figures", help="A folder for every figure (SVG) and table (Markdown, LaTeX) of it.")
    ] = None,
    frame: Annotated[
        Path | None, Option("--frame", help="A .parquet or .csv file for the scores, one row per run, task and metric.")
    ] = None,
) -> None:
    """Write one self-contained HTML file of a store: scores, experiments, learning curves, attention, examples."""
    from cpeft.report.frame import scores, write_frame
    from cpeft.report.page import Report

    if frame is not None:
        write_frame(scores(store), frame)
        console.print(f"scores: {frame}", markup=False)
    made = Report.of(store, against, other)
    console.print(f"report: {made.write(out)}", markup=False)
    if figures is not None:
        files = made.write_files(figures)
        console.print(f"figures and tables: {len(files)} files in {figures}, listed in index.md", markup=False)
