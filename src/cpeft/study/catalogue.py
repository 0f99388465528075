"""What there is to list and show, as plain rows and lines."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cpeft.config import changed_by, parse
from cpeft.data.options import DataOptions
from cpeft.data.resolve import locate
from cpeft.errors import ConfigError
from cpeft.metrics import METRICS
from cpeft.registry import suggest
from cpeft.tasks import TASKS

KINDS = ("tasks", "methods", "metrics", "recipes", "prompts")


def rows(kind: str, store: Path | None) -> list[dict[str, Any]]:
    """One row per thing of a kind; raises ConfigError for an unknown kind."""
    if kind == "tasks":
        return [_task_row(name) for name in TASKS.names()]
    if kind == "metrics":
        return [{"metric": name, "what": _first_line(metric)} for name, metric in METRICS.items()]
    if kind == "methods":
        from cpeft.methods import METHODS

        return [
            {
                "method": name,
                "what": _first_line(cls),
                "options": ", ".join(o for o in cls.Options.model_fields if o != "name"),
            }
            for name, cls in METHODS.items()
        ]
    if kind == "recipes":
        from cpeft.config import read_toml
        from cpeft.study.recipe import packaged_recipes

        return [
            {"recipe": name, "about": read_toml(path).get("about", "")} for name, path in packaged_recipes().items()
        ]
    if kind == "prompts":
        return _prompt_rows(store)
    raise ConfigError(f"cannot list '{kind}'{suggest(kind, list(KINDS))}")


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0] if thing.__doc__ else ""


def _task_row(name: str) -> dict[str, Any]:
    task = TASKS.get(name)
    sizes = "/".join(
        "-" if n is None else str(n) for n in (task.official.train, task.official.validation, task.official.test)
    )
    here = "local" if locate(task) else "hub (unverified)"
    state = "" if task.real_rows else "not run on real rows"
    return {"task": name, "kind": task.kind, "metrics": ", ".join(task.metrics), "official rows": sizes,
            "labels": len(task.labels()) or "open", "data": here, "note": state or task.note}  # fmt: skip


def _prompt_rows(store: Path | None) -> list[dict[str, Any]]:
    from cpeft.prompts.soft_prompt import read_json

    cards = sorted((store or Path("stores")).rglob("prompts/*/cpeft.json"))
    found = [(card.parent, read_json(card)) for card in cards]
    return [
        {"prompt": str(folder), "task": card["task"], "method": card["method"], "rows": card["length"], "init": card["init"],
         "model": card["model"], "scores": ", ".join(f"{k} {v:.1f}" for k, v in card["scores"].items())}
        for folder, card in found
    ]  # fmt: skip


def prompt_card(path: Path) -> dict[str, Any]:
    """Everything known about a prompt."""
    from cpeft.prompts.exchange import load_prompt

    prompt = load_prompt(path)
    norms = prompt.weight.norm(dim=1)
    numbers = {
        "rows": prompt.length,
        "width": prompt.width,
        "row_norm_mean": float(norms.mean()),
        "row_norm_max": float(norms.max()),
    }
    if prompt.origin is not None:
        travelled = prompt.weight - prompt.origin
        numbers["distance_from_origin"] = float(travelled.norm())
        numbers["distance_over_origin_norm"] = float(travelled.norm() / prompt.origin.norm())
    return {**asdict(prompt.provenance), **numbers}


def task_page(name: str, model: str | None, examples: int, overrides: list[str]) -> list[str]:
    """A task's text on real rows: examples, splits and their notes, and with a model token ids, lengths, truncation."""
    from cpeft.data.resolve import load_tables
    from cpeft.data.splits import make_splits
    from cpeft.study.settings import find_task

    task = find_task(name, Path())
    options = parse(DataOptions, changed_by(overrides, "data"), "data")
    lines = [f"{task.name}: {task.title} (version {task.version})", f"metrics: {', '.join(task.metrics)}"]
    lines += [f"labels: {', '.join(task.labels(options.labels)) or 'open answers'}"]
    dataset = load_tables(task, options.revision)
    splits = make_splits(task, dataset, options.split)
    lines += [f"rows from {dataset.origin}: {splits.counts} under split = '{options.split}'", *splits.notes, ""]
    for i in range(min(examples, len(splits.train))):
        example = task.example(splits.train.row(i), options.prefix == "task", options.labels)
        lines += [f"source: {example.source}", f"target: {example.target}", ""]
    return lines + (
        _encoded_page(name, model, options) if model else ["with --model NAME: token ids, lengths, truncation"]
    )


def _encoded_page(name: str, model: str, options: DataOptions) -> list[str]:
    from cpeft.models.loading import load_lm
    from cpeft.study.task_data import task_data

    lm = load_lm(model)
    data = task_data(name, Path(), options, 0, lm)
    row = data.parts["train"].rows[0]
    lines = [f"source ids: {list(row.source)}", f"target ids: {list(row.target)} = {lm.text.decode(row.target)!r}"]
    for split, part in data.parts.items():
        lengths = sorted(len(r.source) for r in part.rows)
        middle = lengths[len(lengths) // 2]
        lines.append(f"{split}: median {middle}, longest {part.longest} tokens, {part.cut} of {len(lengths)} cut")
    return [*lines, *data.notes]
