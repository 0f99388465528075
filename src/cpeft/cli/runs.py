"""Commands about studies: run, plan, report."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer import Argument, Option

from cpeft.cli.base import JsonOption, PluginOption, StoreOption, app, console, show_rows, table_width
from cpeft.errors import ConfigError, Stopped
from cpeft.plugins import load_plugins
from cpeft.training.signals import stopping

RetryOption = Annotated[bool, Option("--retry", help="Run failed runs again.")]
RecipeArgument = Annotated[str, Argument(help="A recipe file, or the name of a packaged recipe.")]
OVERRIDES = (
    "Overrides such as train.steps=100 or sources.optim.lr=0.3; tiny=true runs a part of every stage in about a minute, with a "
    "random tiny model and made-up rows, into a store of its own (stores/tiny/RECIPE)."
)
Overrides = Annotated[list[str] | None, Argument(help=OVERRIDES)]


OnlyOption = Annotated[
    list[str] | None, Option("--only", help="Only this run (stage/run, * for any text) and what it needs; repeatable.")
]
LauncherOption = Annotated[
    str | None, Option("--launcher", help="Where workers run: here, processes, slurm or ray [default: here].")
]


def _plan(
    recipe: str, overrides: list[str] | None, store: Path | None, only: list[str] | None, plugins: list[Path] | None
) -> Any:
    from cpeft.study.recipe.recipe import find_recipe
    from cpeft.study.runner.plan import Plan

    return Plan.load(find_recipe(recipe), overrides or (), store, only or (), plugins=plugins or ())


@app.command()
def run(
    recipe: RecipeArgument, overrides: Overrides = None, store: StoreOption = None, retry: RetryOption = False,
    only: OnlyOption = None,
    launcher: LauncherOption = None,
    processes: Annotated[
        int | None, Option(min=1, help="Number of processes, which share the cores of this machine.")
    ] = None,
    plugins: PluginOption = None,
) -> None:  # fmt: skip
    """Train and evaluate every run of a recipe. Re-run the command to resume; finished runs are not run again."""
    with stopping():
        from cpeft.store.state import RunState
        from cpeft.training.workers import Workers
        from cpeft.use.fetch import bring_models

        plan = _plan(recipe, overrides, store, only, plugins)
        chosen = _launcher(plan, launcher, processes)
        first = Workers().first
        if retry and first:
            for entry in plan.entries():
                if entry.state == RunState.FAILED:
                    plan.store.forget(entry.folder)
        if first:
            bring_models(entry.run for entry in plan.entries() if entry.state.pending)
        if chosen.launch(plan, console):
            console.print(
                f"jobs keep running in the background; watch them with: cpeft status {plan.store.path}",
                markup=False,
                soft_wrap=True,
            )
        elif first:
            _show_results(plan)


def _show_results(plan: Any) -> None:
    """Print the table of a study, why it is not finished, and last the verdict and the cautions."""
    from cpeft.report.study import Run, Study
    from cpeft.store.result import RunResult
    from cpeft.store.state import RunState
    from cpeft.study.runner.worker import recipe_state

    done = [entry.folder for entry in plan.entries() if entry.state == RunState.DONE]
    runs = [Run.of(folder, result) for folder in done if isinstance(result := folder.result(), RunResult)]
    study = Study.of(plan.store)
    report = _table(plan, study, runs, done) if done else None
    state = recipe_state(plan)
    for name, path in state.failures.items():
        console.print(f"[red]failed[/red] {escape(f'{name}: see {path}')}")
    for name, why in state.blocked.items():
        console.print(f"[red]blocked[/red] {escape(f'{name}: {why}')}")
    if report and runs:
        _show_verdict(study, report)
    if state.left:
        raise Stopped(
            f"{state.left} runs are unfinished and no process is working on them; re-run the same command to resume"
        )
    if state.failures or state.blocked:
        raise typer.Exit(1)


def _show_verdict(study: Any, report: Path) -> None:
    """Print one text before and after training, if the store has answers without it too; then in a line each the verdict, and
    what to be careful about."""
    from cpeft.report.gain import gains
    from cpeft.report.sections.cautions import cautions_of, in_short
    from cpeft.report.top.answer import verdict

    per_task = gains(study)
    if shown := next((gain.shown for gain in per_task if gain.shown), None):
        console.print(f"\n{shown.text}", markup=False)
        console.print(f'  without the prompt: "{shown.without}"\n  with it: "{shown.behind}"\n', markup=False)
    careful = f"{in_short(cautions_of(study))}; more in {report}"
    for what, text in (("[bold]verdict:[/bold]", verdict(study, per_task)), ("[yellow]careful:[/yellow]", careful)):
        console.print(f"{what} {escape(text)}", soft_wrap=not console.is_terminal)


def _launcher(plan: Any, name: str | None, processes: int | None) -> Any:
    """The launcher that the options choose, with its resources."""
    from cpeft.study.launchers import LAUNCHERS, launcher_options
    from cpeft.training.workers import Workers

    if processes is not None and name not in (None, "processes"):
        raise ConfigError(f"--processes is a setting of --launcher processes; leave it out with --launcher {name}")
    name = name or ("processes" if processes and processes > 1 else "here")
    if name != "here" and Workers().world > 1:
        option = "--processes" if processes else f"--launcher {name}"
        raise ConfigError(f"{option} starts processes of its own; leave it out under accelerate or torchrun")
    kind = LAUNCHERS.get(name)
    options = launcher_options(plan.recipe).get(name, kind.Options())
    return kind(options.model_copy(update={"workers": processes}) if processes and name == "processes" else options)


def _table(plan: Any, study: Any, runs: Sequence[Any], done: Sequence[Any]) -> Path:
    """Print the recipe's tables, write them and the report to the store, and return the path of the report; `done` are the
    folders of all finished runs, search runs among them."""
    from cpeft.report.page import write_report
    from cpeft.report.sections.search import search_table
    from cpeft.report.summary import score_table, summarise, terminal_table

    kept, shown = [], []
    if tries := tuple(each for each in study.tries if each.folder in done):
        table = search_table(replace(study, tries=tries))
        kept, shown = [table.markdown()], [table.rich()]
    if runs or not tries:
        cells = summarise(runs)
        kept, shown = [score_table(cells).markdown(), *kept], [*shown, terminal_table(cells, plan.recipe.name).rich()]
    for each in shown:
        console.print(each, width=table_width())
    path = plan.store.path / "table.md"
    path.write_text("\n".join(kept), encoding="utf-8")
    report = write_report(plan.store.path)
    console.print(f"table: {path}\nreport: {report}", markup=False)
    return report


@app.command()
def plan(
    recipe: RecipeArgument, overrides: Overrides = None, store: StoreOption = None, only: OnlyOption = None,
    probe: Annotated[
        bool, Option("--probe", help="Time a few steps of every kind of unfinished run, and estimate hours and electricity.")
    ] = False,
    as_json: JsonOption = False, plugins: PluginOption = None,
) -> None:  # fmt: skip
    """Show the runs of a recipe by state (done, failed, running, stale, stopped, ready, waiting, blocked, needs data, needs
    model). Nothing is trained, except for a short probe on request."""
    from cpeft.store.state import RunState
    from cpeft.study.launchers import launcher_options
    from cpeft.study.runner.pace import Pace
    from cpeft.study.runner.plan_view import PlanView

    planned = _plan(recipe, overrides, store, only, plugins)
    launcher_options(planned.recipe)  # reports mistakes in [launcher] tables
    view = PlanView(planned)
    hours_left = Pace(console).hours_left(view.entries)
    estimate = _probe(planned) if probe and not view.missing else None
    warnings, comparisons = view.warnings(), _power(planned)
    if as_json:
        done = sum(entry.state == RunState.DONE for entry in view.entries)
        card = {"stages": view.stages(), "searches": [asdict(each) for each in view.searches()],
                "runs": view.runs(), "done": done, "hours_left": hours_left,
                "missing": [item.what for item in view.missing], "downloads": view.downloads,
                "probe": asdict(estimate) if estimate else None,
                "comparisons": [{**vars(each), "warning": each.warning} for each in comparisons],
                "warnings": [vars(finding) for finding in warnings]}  # fmt: skip
        print(json.dumps(card, indent=2))
    else:
        _show_plan(planned.recipe.name, view)
        for line in (line for search in view.searches() for line in search.lines):
            console.print(line, markup=False)
        for model in view.downloads:
            console.print(
                f"{model} is not on this machine yet: `cpeft run` downloads it first, `cpeft fetch {model}` now",
                markup=False,
            )
        _show_power(comparisons)
        _show_hours(hours_left, estimate)
        for finding in warnings:
            console.print(f"[yellow]{finding.level}[/yellow] {escape(f'{finding.where}: {finding.what}')}")
    view.check()


def _power(planned: Any) -> list[Any]:
    """What the comparisons of a recipe can show at best; of its search runs there are none."""
    from cpeft.report.top.power import Outline, power
    from cpeft.study.recipe.search import SearchRun

    runs = [run for run in planned.recipe.training if not isinstance(run, SearchRun)]
    return power(
        [
            Outline(
                run.stage,
                run.label,
                run.name,
                run.tasks,
                run.settings.method.name,
                run.seed,
                run.effort.steps,
                run.saved(),
            )
            for run in runs
        ]
    )


def _show_power(comparisons: Sequence[Any]) -> None:
    """Print what the comparisons can show at best, and a warning below those that can show nothing."""
    from cpeft.report.top.power import in_short

    for where, each in in_short(comparisons):
        console.print(f"{where}: {each.line}", markup=False)
        if each.warning:
            console.print(f"[yellow]warning[/yellow] {escape(f'{where}: {each.warning}')}")


def _show_plan(name: str, view: Any) -> None:
    """Print the stages with the stages they need, then the runs."""
    stages = view.stages()
    done = {stage["stage"]: stage["states"].pop("done", 0) for stage in stages}
    rows = [
        {"stage": stage["stage"], "after": ", ".join(stage["needs"]), "runs": stage["runs"], "done": done[stage["stage"]],
         "rest": ", ".join(f"{count} {state}" for state, count in stage["states"].items())}
        for stage in stages
    ]  # fmt: skip
    show_rows(rows, f"{name}: {len(view.entries)} runs, {sum(done.values())} done", None)
    rows = []
    for run in view.runs():
        stages_needed = Counter(need.partition("/")[0] for need in run["needs"])
        needs = ", ".join(f"{count} of {stage}" for stage, count in stages_needed.items())
        why = f": {run['why']}" if run["why"] and run["state"] != "waiting" else ""  # `after` shows what it waits for
        rows.append({"stage": run["stage"], "run": run["run"], "after": needs, "state": run["state"] + why,
                     "id": run["folder"] and run["folder"].rpartition("-")[2]})  # fmt: skip
    show_rows(rows, "runs", None)


def _show_hours(left: float | None, estimate: Any) -> None:
    if left:
        console.print(f"about {left:.1f} hours left in one process, from the mean of each stage's finished runs")
    if not estimate:
        console.print("--probe estimates hours and electricity, from a few steps of every kind of run")
        return
    energy = f"{estimate.kwh:.3g} kWh" if estimate.kwh is not None else f"electricity unknown ({estimate.reason})"
    mean = f"; {estimate.unprobed} runs by the mean of the others" if estimate.unprobed else ""
    console.print(
        f"about {estimate.hours:.2g} hours in one process and {energy} for the {estimate.runs} training runs left, "
        f"by a probe of {estimate.kinds} kinds of run on this machine{mean}", markup=False,
    )  # fmt: skip


def _probe(planned: Any) -> Any:
    from cpeft.study.runner.probe import estimate

    with console.status("probing") as status:
        return estimate(planned, lambda done, kinds: status.update(f"probing kind {done + 1} of {kinds}"))


@app.command()
def report(
    store: Annotated[Path, Argument(help="The folder that `cpeft run` filled.")],
    other: Annotated[Path | None, Argument(help="Another store, to compare the same runs of both.")] = None,
    out: Annotated[
        Path | None,
        Option("--out", help="The HTML file [default: STORE/report.html, or a name with both stores]."),
    ] = None,
    against: Annotated[
        str | None, Option("--against", help="Compare with the published figures of a study: attempt or tpv.")
    ] = None,
    figures: Annotated[
        Path | None,
        Option("--figures", help="A folder for every figure (SVG, PDF) and table (Markdown, LaTeX) of the report."),
    ] = None,
    frame: Annotated[
        Path | None, Option("--frame", help="A .parquet or .csv file for the scores, one row per run, task and metric.")
    ] = None,
    plugins: PluginOption = None,
) -> None:
    """Write a self-contained HTML report of a store: scores, experiments, learning curves, attention, examples."""
    from cpeft.report.frame import scores, write_frame
    from cpeft.report.page import Report
    from cpeft.report.render.files import write_files

    load_plugins(plugins or ())
    if frame is not None:
        write_frame(scores(store), frame)
        console.print(f"scores: {frame}", markup=False)
    made = Report.of(store, against, other, out)
    console.print(f"report: {made.write()}", markup=False)
    if figures is not None:
        files = write_files(made.parts, figures)
        console.print(f"figures and tables: {len(files)} files in {figures}, listed in index.md", markup=False)
