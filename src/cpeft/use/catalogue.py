"""The content of `cpeft list` and `cpeft show`, as rows and lines of text."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cpeft.config import changed_by, parse, read_toml
from cpeft.data.options import DataOptions
from cpeft.data.resolve import load_tables, locate
from cpeft.data.splits import make_splits
from cpeft.errors import ConfigError
from cpeft.metrics import METRICS
from cpeft.options.method import METHOD_OPTIONS
from cpeft.registry import suggest
from cpeft.seeds import derive
from cpeft.tasks import TASKS, Task

KINDS = {
    "tasks": "what to do, with metrics, languages and sizes", "methods": "what trains a prompt, and baselines",
    "metrics": "what scores answers", "models": "models known by a short name", "recipes": "packaged studies",
    "prompts": "saved prompts of a store (--store)", "runs": "finished runs of a store (--store)",
}  # fmt: skip


def rows(kind: str, store: Path | None) -> list[dict[str, Any]]:
    """One row per thing of a kind; raises ConfigError for an unknown kind."""
    if kind == "tasks":
        return [_task_row(task) for _, task in TASKS.items()]
    if kind == "metrics":
        return [{"metric": name, "what": metric.about} for name, metric in METRICS.items()]
    if kind == "methods":
        return [
            {"method": name, "what": options.about or _first_line(options),
             "options": ", ".join(option for option in options.model_fields if option != "name")}
            for name, options in METHOD_OPTIONS.items()
        ]  # fmt: skip
    if kind == "models":
        return _model_rows()
    if kind == "recipes":
        from cpeft.study.recipe.recipe import packaged_recipes

        return [
            {"recipe": name, "about": read_toml(path).get("about", "")} for name, path in packaged_recipes().items()
        ]
    if kind == "prompts":
        return _prompt_rows(store or Path("stores"))
    if kind == "runs":
        from cpeft.store.history import record_rows

        if store is None:
            raise ConfigError("cannot list runs of no store; say --store STORE")
        return record_rows(store)
    raise ConfigError(f"cannot list '{kind}'{suggest(kind, list(KINDS))}")


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


def _task_row(task: Task) -> dict[str, Any]:
    official = (task.official.train, task.official.validation, task.official.test)
    data = "packaged" if task.rows else "local" if locate(task) else "hub (unverified)"
    return {
        "task": task.name, "language": task.language, "kind": task.kind, "metrics": ", ".join(task.metrics),
        "official rows": "/".join("-" if rows is None else str(rows) for rows in official),
        "labels": len(task.labels()) or "open", "data": data,
        "note": "" if task.real_rows else "not run on real rows",
    }  # fmt: skip


def _model_rows() -> list[dict[str, Any]]:
    from cpeft.models.named_models import MODELS, named_model

    models = {model.name: model for name in MODELS.names() if (model := named_model(name))}
    also = {model.name: [name for name, other in MODELS.items() if other is model] for model in models.values()}
    return [
        {"model": model.name, "also": ", ".join(name for name in also[model.name] if name != model.name),
         "kind": model.kind, "parameters": model.parameters, "bytes": model.size, "licence": model.licence,
         "where": str(model.folder) if model.here else f"cpeft fetch {model.name}"}
        for model in models.values()
    ]  # fmt: skip


def _prompt_rows(store: Path) -> list[dict[str, Any]]:
    from cpeft.files import read_json
    from cpeft.store.run_folder import saved_prompts

    cards = {folder: read_json(folder / "cpeft.json") for folder in saved_prompts(store)}
    return [
        {"prompt": str(folder), "task": card["task"], "method": card["method"], "rows": card["length"], "init": card["init"],
         "model": card["model"], "scores": ", ".join(f"{k} {v:.1f}" for k, v in card["scores"].items())}
        for folder, card in cards.items()
    ]  # fmt: skip


def prompt_card(text: str) -> dict[str, Any]:
    """The provenance and norms of a prompt, or of the value of a formula of prompts."""
    from cpeft.prompts.formula.evaluate import compose_files

    prompt = compose_files(text)
    norms = prompt.weight.norm(dim=1)
    known = {**asdict(prompt.provenance), "rows": prompt.length, "width": prompt.width,
             "row_norm_mean": float(norms.mean()), "row_norm_max": float(norms.max())}  # fmt: skip
    if prompt.origin is not None:
        moved, start = (prompt.weight - prompt.origin).norm(), prompt.origin.norm()
        known |= {"distance_from_origin": float(moved), "distance_over_origin_norm": float(moved / start)}
    return known


def task_page(name: str, model: str | None, examples: int, overrides: list[str]) -> list[str]:
    """A task's text on real rows: examples, splits and their notes, and with a model token ids, lengths, truncation."""
    from cpeft.evaluation.row_text import example_of, opening
    from cpeft.evaluation.task_data import drawn_examples
    from cpeft.tasks.custom import find_task

    task, seed = find_task(name), derive(0, "subset")
    options = parse(DataOptions, changed_by(overrides, "data"), "data")
    lines = [
        f"{task.name}: {task.title} (version {task.version}, language {task.language})",
        f"metrics: {', '.join(task.metrics)}",
    ]
    lines += [f"labels: {', '.join(task.labels(options.labels)) or 'open answers'}"]
    dataset = load_tables(task, options.revision, options.folder)
    splits = make_splits(task, dataset, options.split)
    if options.form != "fields":
        lines += ["instruction:", *_indented(opening(task, options))]
    lines += [f"rows from {dataset.origin}: {splits.counts} under split = '{options.split}'", *splits.notes, ""]
    for row in splits.train.table.slice(0, max(examples, 0)).to_pylist():
        example = example_of(task, row, options)
        lines += [f"source: {example.source}", f"target: {example.target}", ""]
    for source, target in drawn_examples(name, None, options, seed).values() if options.examples else ():
        lines += [f"example before every row, for seed 0: {source}", f"with its answer: {target}", ""]
    more = _encoded_page(name, model, options) if model else ["with --model NAME: token ids, lengths, truncation"]
    return lines + more


def _encoded_page(name: str, model: str, options: DataOptions) -> list[str]:
    from cpeft.evaluation.task_data import task_data
    from cpeft.models.loading import load_lm

    lm = load_lm(model)
    data = task_data(name, None, options, derive(0, "subset"), lm)
    row, codec = data.parts["train"].rows[0], lm.codec(options.form)
    lines = ["as the model reads it:", *_indented(lm.tokenizer.decode(row.source))]
    lines += ["and says it:", *_indented(lm.tokenizer.decode(row.target))]
    lines += [f"source ids: {list(row.source)}", f"target ids: {list(row.target)} = {codec.decode(row.target)!r}"]
    for split, part in data.parts.items():
        lengths = sorted(len(row.source) for row in part.rows)
        middle = lengths[len(lengths) // 2]
        lines.append(f"{split}: median {middle}, longest {part.longest} tokens, {part.cut} of {len(lengths)} cut")
    return [*lines, *data.all_notes()]


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.split("\n")]
