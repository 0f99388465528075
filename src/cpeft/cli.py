"""The command `cpeft`: parse, call one function per command, print.

Exit codes: 0 ok, 1 a run failed, 2 bad input, 3 data or model missing offline, 4 stopped and resumable. Heavy modules are
imported inside commands, so that help and listings are quick.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer import Argument, Option

from cpeft.errors import ConfigError, CpeftError, Stopped

app = typer.Typer(
    help="Soft prompts on frozen language models: train, mix, compare.",
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
)  # fmt: skip
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)

RetryOption = Annotated[bool, Option("--retry", help="Run failed runs again.")]
RecipeArgument = Annotated[str, Argument(help="A recipe file, or the name of a packaged recipe.")]
Overrides = Annotated[list[str] | None, Argument(help="Overrides such as train.steps=100 or sources.optim.lr=0.3.")]
EvalOverrides = Annotated[list[str] | None, Argument(help="data.* and eval.* settings such as data.prefix=none.")]
InputRows = Annotated[
    Path, Option("--input", help="JSONL, CSV or Parquet; a column 'prompt' may name each row's prompt.")
]
StoreOption = Annotated[Path | None, Option("--store", help="Folder of run folders [default: stores/RECIPE].")]
JsonOption = Annotated[bool, Option("--json", help="Print JSON.")]
TaskOption = Annotated[str, Option("--task", help="A task name, or a TOML file of your own task.")]
ModelOption = Annotated[str | None, Option("--model", help="Hub name or folder, where the prompt does not say.")]
SubjectArgument = Annotated[str, Argument(help="A run, a prompt folder or file, or a formula: 'a + 0.5*v(b)'.")]


def _plan(recipe: str, overrides: list[str] | None, store: Path | None) -> Any:
    from cpeft.study.plan import Plan
    from cpeft.study.recipe import find_recipe, load_recipe
    from cpeft.study.store import Store

    parsed = load_recipe(find_recipe(recipe), overrides or [])
    return Plan(parsed, Store(store or Path("stores") / parsed.name))


@app.command()
def run(
    recipe: RecipeArgument, overrides: Overrides = None, store: StoreOption = None, retry: RetryOption = False
) -> None:
    """Train and evaluate every run of a recipe; restartable, finished runs never run twice."""
    from cpeft.study.run import run_recipe
    from cpeft.training.workers import Workers

    signal.signal(signal.SIGTERM, _stop)  # the training loop has its own, which saves the step at hand first
    plan = _plan(recipe, overrides, store)
    if retry and Workers().first:
        for entry in plan.entries():
            if entry.state == "failed":
                plan.store.forget(entry.folder)
    summary = run_recipe(plan, console)
    if not Workers().first:
        return
    _table(plan)
    for name, path in summary.failures.items():
        console.print(f"[red]failed[/red] {escape(f'{name}: see {path}')}")
    for name, why in summary.blocked.items():
        console.print(f"[red]blocked[/red] {escape(f'{name}: {why}')}")
    if summary.failures or summary.blocked:
        raise typer.Exit(1)


def _stop(number: int, frame: Any) -> None:
    raise Stopped("stopped on request; the same command goes on from the last checkpoint")


def _table(plan: Any) -> None:
    """Print the recipe's table and keep it and the store's report beside the runs."""
    from cpeft.report.page import write_report
    from cpeft.report.tables import markdown_table, rich_table, summarise

    if results := [entry.folder.result() for entry in plan.entries() if entry.state == "done"]:
        cells = summarise(results)
        console.print(rich_table(cells, plan.recipe.name))
        path = plan.store.path / "table.md"
        path.write_text(markdown_table(cells), encoding="utf-8")
        console.print(f"table: {path}\nreport: {write_report(plan.store.path)}", markup=False)


@app.command()
def plan(
    recipe: RecipeArgument, overrides: Overrides = None, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """What would run and what is done; nothing runs."""
    planned = _plan(recipe, overrides, store)
    rows = [{"stage": e.run.stage, "run": e.run.name, "state": e.state,
             "folder": str(e.folder.path) if e.folder else e.why} for e in planned.entries()]  # fmt: skip
    done = [entry.folder.result() for entry in planned.entries() if entry.state == "done"]
    spent = sum(sum(result["seconds"].values()) for result in done)
    left = (len(rows) - len(done)) * (spent / len(done)) / 3600 if done else None
    title = f"{planned.recipe.name}: {len(rows)} runs, {len(done)} done"
    _show(rows, title, {"runs": rows, "done": len(done), "hours_left": left} if as_json else None)
    if left and not as_json:
        console.print(f"about {left:.1f} hours left in one process, from the mean of finished runs", highlight=True)


@app.command()
def report(
    store: Annotated[Path, typer.Argument(help="The folder that `cpeft run` filled.")],
    out: Annotated[Path | None, typer.Option("--out", help="The HTML file [default: STORE/report.html].")] = None,
) -> None:
    """Write one self-contained HTML file of a store: scores, learning curves, attention, examples."""
    from cpeft.report.page import write_report

    console.print(f"report: {write_report(store, out)}", markup=False)


@app.command("eval")
def evaluate(
    what: SubjectArgument, task: TaskOption, overrides: EvalOverrides = None, model: ModelOption = None,
    split: Annotated[str, Option(help="train, validation or test.")] = "test", as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Score a run, a prompt or an expression of prompts on a task."""
    from cpeft.config import merge, override
    from cpeft.study.subject import load_subject

    if split not in ("train", "validation", "test"):
        raise ConfigError(f"--split {split}: use train, validation or test")
    scores = load_subject(what, model).under(merge(*map(override, overrides or []))).evaluate(task, split)
    rows = [{"metric": m, "score": f"{s.value:.2f}", "95% interval (rows)": f"[{s.low:.2f}, {s.high:.2f}]"}
            for m, s in scores.items()]  # fmt: skip
    _show(rows, f"{what} on {task} ({split})", {m: vars(s) for m, s in scores.items()} if as_json else None)


@app.command()
def predict(
    what: SubjectArgument, task: TaskOption, rows: InputRows,
    out: Annotated[Path, Option("--out", help="JSONL with a 'prediction' per row.")],
    overrides: Annotated[list[str] | None, Argument(help="data.* and eval.* settings.")] = None, model: ModelOption = None,
) -> None:  # fmt: skip
    """Answer unlabelled rows; rows may name different prompts of one model, all in one batch."""
    from cpeft.study.subject import predict_file

    count = predict_file(what, task, rows, out, overrides or [], model)
    console.print(f"{count} predictions in {out}", markup=False)


@app.command()
def compose(
    expression: Annotated[str, Argument(help="A formula of prompt paths: 'origin0 + v(a) - 0.5*v(b)'.")],
    out: Annotated[Path, Option("--out", help="The folder to write.")],
) -> None:
    """Add, subtract, scale, average what prompts learned; v(a) is a minus the origin it was trained from."""
    from cpeft.prompts.composition import compose_files

    console.print(f"{compose_files(expression).save(out)} = {expression}", markup=False)


@app.command()
def similar(
    what: Annotated[list[str], Argument(help="Prompts or formulas of them; 'TASK@ORIGIN=PROMPT' labels one.")],
    vectors: Annotated[bool, Option("--vectors", help="Compare task vectors: v() of every prompt.")] = False,
    rows: Annotated[str, Option(help="live, or all: dead rows of doubled prompts too, as published.")] = "live",
    live: Annotated[int | None, Option(help="Rows the model reads, where a file does not say.")] = None,
    out: Annotated[Path | None, Option("--out", help="Draw heat maps: a .svg file.")] = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Compare prompts or task vectors: cosines as published and on comparable pairs, CKA, norms, distances."""
    from cpeft.prompts.composition import read_items
    from cpeft.prompts.similarity import compare
    from cpeft.report.similarity import card, draw, panels, tables

    found = compare(read_items(what, vectors, live), rows)
    if out is not None:
        draw(panels(found), out)
    for title, lines in [("", [])] if as_json else tables(found):
        _show(lines, title, card(found) if as_json else None)


@app.command()
def origins(
    model: Annotated[str, Argument(help="Hub name or folder.")],
    out: Annotated[Path, Option("--out", help="The folder for origin0, origin1, ...")],
    overrides: Annotated[list[str] | None, Argument(help="prompt.* settings such as prompt.length=50.")] = None,
    count: Annotated[int, Option(help="How many.")] = 3, seed: Annotated[int, Option(help="A seed for all.")] = 0,
) -> None:  # fmt: skip
    """Draw the prompts that training starts from and task vectors are measured from."""
    from cpeft.study.origins import write_origins

    for path in write_origins(model, out, count, seed, overrides or []):
        console.print(f"wrote {path}", markup=False)


@app.command("import")
def import_prompt(
    source: Annotated[Path, Argument(help="A peft folder, ATTEMPT .pt/.bin, .safetensors or .npy.")],
    target: Annotated[Path, Argument(help="The folder to write.")],
    rows: Annotated[str, Option(help="all, or first:N to keep the first N rows.")] = "all",
) -> None:
    """Read a prompt of another program; dead rows of doubled T5 prompts are dropped and reported."""
    from cpeft.prompts.exchange import load_prompt

    prompt = load_prompt(source)
    if prompt.provenance.note:
        console.print(f"[yellow]{escape(prompt.provenance.note)}")
    prompt = prompt.rows(rows)
    if rows != "all":
        console.print(f"[yellow]cut on purpose: {prompt.provenance.note}")
    console.print(f"{prompt.length} rows of width {prompt.width} in {prompt.save(target)}")


@app.command()
def export(
    prompt: Annotated[Path, Argument(help="A prompt folder or file.")],
    out: Annotated[Path, Option("--out", help="A folder (peft) or a file (prompt_embeds, npy).")],
    form: Annotated[str, Option(help="peft, prompt_embeds or npy.")] = "peft",
) -> None:
    """Write a prompt for peft, for a serving engine, or as a numpy array."""
    from cpeft.prompts.exchange import export_prompt, load_prompt

    console.print(f"{form}: {export_prompt(load_prompt(prompt), out, form)}")


@app.command()
def fetch(
    what: Annotated[list[str], Argument(help="A recipe, task:NAME or model:NAME, any number of them.")],
    out: Annotated[Path, Option("--out", help="Folder for data; models go to OUT/models.")] = Path("fetched"),
    revision: Annotated[str | None, Option(help="Hub revision of tasks and models.")] = None,
) -> None:
    """Bring models and data into a folder, for machines without a network."""
    from cpeft.study.fetching import fetch_all

    for path in fetch_all(what, out, revision):
        console.print(f"wrote {path}")
    console.print(f"on the other machine: export CPEFT_DATA={out}")


@app.command("list")
def list_things(
    kind: Annotated[str, Argument(help="tasks, methods, metrics, recipes or prompts.")],
    store: StoreOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """List what there is: tasks, methods, metrics, packaged recipes, prompts of a store."""
    from cpeft.study import catalogue

    rows = catalogue.rows(kind, store)
    _show(rows, kind, rows if as_json else None)


@app.command()
def show(
    kind: Annotated[str, Argument(help="task or prompt.")],
    name: Annotated[str, Argument(help="A task name or file; a prompt folder.")],
    model: ModelOption = None,
    rows: Annotated[int, Option(help="How many examples.")] = 3,
    overrides: Annotated[list[str] | None, Argument(help="data.* settings.")] = None,
) -> None:
    """Show encoded examples, lengths and truncation of a task, or where a prompt comes from."""
    from cpeft.study import catalogue

    if kind == "prompt":
        console.print_json(json.dumps(catalogue.prompt_card(Path(name))))
    elif kind == "task":
        for line in catalogue.task_page(name, model, rows, overrides or []):
            console.print(line, markup=False)
    else:
        raise ConfigError(f"cannot show a '{kind}'; use task or prompt")


@app.command()
def doctor(
    what: Annotated[list[str], Argument(help="Prompt folders or files, and recipes.")],
    model: ModelOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Find what is wrong: dead rows, truncated sources, labels no output can reach, split overlap, missing data."""
    from cpeft.doctor import examine

    findings = examine(what, model)
    if as_json:
        print(json.dumps([vars(finding) for finding in findings], indent=2))
    for finding in () if as_json else findings:
        colour = {"error": "red", "warning": "yellow", "note": "blue", "ok": "green"}[finding.level]
        console.print(f"[{colour}]{finding.level}[/{colour}] {escape(f'{finding.where}: {finding.what}')}")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)


def _show(rows: list[dict[str, Any]], title: str, as_json: Any) -> None:
    """Print rows as a table, or what was asked for as JSON."""
    if as_json is not None:
        print(json.dumps(as_json, indent=2))
        return
    table = Table(title=title)
    for column in rows[0] if rows else ["nothing here"]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else escape(str(value)) for value in row.values()))
    console.print(table)


def main() -> None:
    """The entry point: errors of the user become one sentence and an exit code."""
    try:
        sys.exit(app(standalone_mode=False))  # what typer.Exit carries comes back as the value
    except CpeftError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(4)
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors have one
            raise
        Console(stderr=True).print(f"error: {error.format_message()}", highlight=False, markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
