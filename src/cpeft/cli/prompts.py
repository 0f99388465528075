"""Commands about prompts: eval, predict, compose, similar, suggest, origins, import, export."""

from pathlib import Path
from typing import Annotated

from rich.markup import escape
from typer import Argument, Option

from cpeft.cli.base import JsonOption, ModelOption, PluginOption, app, console, show_rows
from cpeft.errors import ConfigError, writing
from cpeft.plugins import load_plugins
from cpeft.training.signals import stopping

EvalOverrides = Annotated[list[str] | None, Argument(help="data.* and eval.* settings such as data.prefix=none.")]
InputRows = Annotated[Path, Option("--input", help="CSV, TSV, JSONL, JSON (plain or .gz) or Parquet.")]
AnswersOption = Annotated[
    Path,
    Option("--out", help="CSV, TSV or Parquet by its name, else JSONL: your columns with a 'prediction' beside them."),
]
PromptColumn = Annotated[
    str | None, Option("--prompt-column", help="A column that names each row's own prompt, or a formula; empty: WHAT.")
]
EncodingOption = Annotated[
    str | None,
    Option("--encoding", help="Of a text file that is not UTF-8, such as latin-1 [default: as in the task]."),
]
TaskOption = Annotated[str, Option("--task", help="A task name, or a TOML file of your own task.")]
SubjectArgument = Annotated[str, Argument(help="A run, a prompt folder or file, or a formula: 'a + 0.5*v(b)'.")]


@app.command("eval")
def evaluate(
    what: SubjectArgument, task: TaskOption, overrides: EvalOverrides = None, model: ModelOption = None,
    split: Annotated[str, Option(help="train, validation or test.")] = "test", as_json: JsonOption = False,
    plugins: PluginOption = None,
) -> None:  # fmt: skip
    """Score a run, a prompt or a formula of prompts on a task."""
    from cpeft.config import merge, override
    from cpeft.use.target import load_subject

    if split not in ("train", "validation", "test"):
        raise ConfigError(f"--split {split}: use train, validation or test")
    load_plugins(plugins or ())
    scores = load_subject(what, model).under(merge(*map(override, overrides or []))).evaluate(task, split)
    rows = [{"metric": m, "score": f"{s.value:.2f}", "95% interval (rows)": f"[{s.low:.2f}, {s.high:.2f}]"}
            for m, s in scores.items()]  # fmt: skip
    show_rows(rows, f"{what} on {task} ({split})", {m: vars(s) for m, s in scores.items()} if as_json else None)


@app.command()
def predict(
    what: SubjectArgument, task: TaskOption, rows: InputRows, out: AnswersOption,
    overrides: Annotated[list[str] | None, Argument(help="data.* and eval.* settings.")] = None, model: ModelOption = None,
    prompt_column: PromptColumn = None, encoding: EncodingOption = None, plugins: PluginOption = None,
) -> None:  # fmt: skip
    """Answer any number of unlabelled rows; rows may name different prompts of one model, all in one batch.

    Answers are written to OUT.partial as they are made; after an interruption, re-run the same command to resume."""
    from cpeft.use.predict import predict_file

    with stopping():
        load_plugins(plugins or ())
        count, notes = predict_file(what, task, rows, out, overrides or [], model, prompt_column, encoding)
    for note in notes:
        console.print(f"[yellow]{escape(note)}")
    console.print(f"{count} predictions in {out}", markup=False)


@app.command()
def calibrate(
    prompt: Annotated[str, Argument(help="A prompt folder; the temperature is written into it.")],
    task: Annotated[str | None, Option("--task", help="A task name or TOML file [default: as recorded].")] = None,
    model: ModelOption = None,
) -> None:
    """Fit a temperature for a prompt's label probabilities on validation rows, so that a server can abstain."""
    from cpeft.use.calibration import calibrate as run

    fitted = run(prompt, task, model)
    console.print(
        f"temperature {fitted.temperature:.2f} from {fitted.rows} validation rows; expected calibration error "
        f"{fitted.error_before:.3f} before, {fitted.error_after:.3f} with it, on rows that it was not fitted on",
        markup=False,
    )


@app.command()
def compose(
    formula: Annotated[str, Argument(help="A formula of prompt paths: 'origin0 + v(a) - 0.5*v(b)'.")],
    out: Annotated[Path, Option("--out", help="The folder to write.")],
) -> None:
    """Combine prompts by a formula: add, subtract, scale, average task vectors; v(a) is a minus its origin."""
    from cpeft.prompts.formula.evaluate import compose_files

    made = compose_files(formula)
    with writing(out):
        made.save(out)
    console.print(f"{out} = {formula}", markup=False)


@app.command()
def similar(
    what: Annotated[list[str], Argument(help="Prompts or formulas of them; 'TASK@ORIGIN=PROMPT' labels one.")],
    vectors: Annotated[bool, Option("--vectors", help="Compare task vectors: v() of every prompt.")] = False,
    rows: Annotated[str, Option(help="live, or all: dead rows of doubled prompts too, as published.")] = "live",
    live: Annotated[int | None, Option(min=1, help="Rows the model reads, where a file does not say.")] = None,
    out: Annotated[Path | None, Option("--out", help="Draw heat maps: a .svg file.")] = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Compare prompts or task vectors: cosines as published and on comparable pairs, CKA, norms, distances."""
    from cpeft.prompts.formula.evaluate import read_items
    from cpeft.prompts.similarity import compare
    from cpeft.report.vectors.similarity import draw, panels, tables
    from cpeft.store.similarity import SimilarityTables

    card = compare(read_items(what, vectors, live), rows).card()
    found = SimilarityTables.model_validate(card)
    if out is not None:
        with writing(out):
            draw(panels(found), out)
    for title, lines in [("", [])] if as_json else tables(found):
        show_rows(lines, title, card if as_json else None)


@app.command()
def suggest(
    what: Annotated[list[str], Argument(help="Source prompts, formulas, or folders with prompts in them, as a store.")],
    target: Annotated[str, Option("--target", help="The new task: a name, or a TOML file of your own.")],
    overrides: Annotated[list[str] | None, Option("--set", help="The probe's settings: train.steps=100.")] = None,
    measure: Annotated[str, Option(help="flattened, or token_mean: cosine of task vectors.")] = "flattened",
    model: ModelOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Rank source prompts for a new task, by the task vector of a short training on it."""
    from cpeft.use.suggest import suggest_files

    found = suggest_files(what, target, model, measure, overrides or [])
    rows = [{"source": each.source, "similarity": round(each.similarity, 3), "prompts": each.prompts} for each in found]
    show_rows(rows, f"sources for {target}: cosine of task vectors ({measure})", rows if as_json else None)


@app.command()
def origins(
    model: Annotated[str, Argument(help="Hub name or folder.")],
    out: Annotated[Path, Option("--out", help="The folder for origin0, origin1, ...")],
    overrides: Annotated[list[str] | None, Argument(help="prompt.* settings such as prompt.length=50.")] = None,
    count: Annotated[int, Option(min=1, help="How many.")] = 3, seed: Annotated[int, Option(min=0, help="A seed for all.")] = 0,
) -> None:  # fmt: skip
    """Create initial prompts, for training to start from (prompt.init = "OUT/origin0") and as origins of task vectors."""
    from cpeft.use.origins import write_origins

    for path in write_origins(model, out, count, seed, overrides or []):
        console.print(f"wrote {path}", markup=False)


@app.command("import")
def import_prompt(
    source: Annotated[Path, Argument(help="A peft folder, ATTEMPT .pt/.bin, .safetensors or .npy.")],
    target: Annotated[Path, Argument(help="The folder to write.")],
    rows: Annotated[str, Option(help="all, or first:N to keep the first N rows.")] = "all",
    origin: Annotated[
        Path | None, Option("--origin", help="The prompt it was trained from, which other programs do not record.")
    ] = None,
) -> None:
    """Import a prompt of another program; dead rows of doubled T5 prompts are dropped and reported."""
    from cpeft.prompts.exchange import load_prompt, load_stored

    prompt = load_prompt(source)
    if origin is not None:
        prompt = prompt.with_origin(load_stored(origin, live=prompt.length)[0])
    if prompt.provenance.note:
        console.print(f"[yellow]{escape(prompt.provenance.note)}")
    prompt = prompt.keep(rows)
    if rows != "all":
        console.print(f"[yellow]cut on purpose: {prompt.provenance.note}")
    with writing(target):
        prompt.save(target)
    console.print(f"{prompt.length} rows of width {prompt.width} in {target}", markup=False)


@app.command()
def export(
    prompt: Annotated[str, Argument(help="A prompt folder or file, or a formula: 'a + 0.5*v(b)'.")],
    out: Annotated[Path, Option("--out", help="A folder (peft) or a file (prompt_embeds, npy).")],
    form: Annotated[str, Option(help="peft, prompt_embeds or npy.")] = "peft",
) -> None:
    """Export a prompt for peft, for a serving engine, or as a numpy array."""
    from cpeft.prompts.exchange import export_prompt
    from cpeft.prompts.formula.evaluate import compose_files

    found = compose_files(prompt)
    with writing(out):
        export_prompt(found, out, form)
    console.print(f"{form}: {out}", markup=False)
