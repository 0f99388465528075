"""What a finished run leaves: test scores, predictions, the method, its prompts, and `result.json`, written last.

Test rows are scored once per finished run.
"""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cpeft.evaluation.decoding import Decoded
from cpeft.evaluation.predictions import is_label, prediction_rows, without_texts, write_predictions
from cpeft.files import write_json
from cpeft.models.places import model_identity
from cpeft.models.saved import save_method
from cpeft.study.machine import hardware, versions
from cpeft.study.prepare import Prepared
from cpeft.study.settings import RunSettings, located_model
from cpeft.training.callbacks.energy import EnergyMeter
from cpeft.training.engine import pool_of
from cpeft.training.workers import Workers


def conclude(prepared: Prepared, workers: Workers, meter: EnergyMeter) -> dict[str, Any] | None:
    """Score the test rows and write everything a run leaves; the result, or None in processes that write nothing."""
    settings, member, data = prepared.run.settings, prepared.member, prepared.data
    began = time.monotonic()
    with meter.scoring(member):
        decoded = [each.answers(member.learner, i, "test", settings.eval, workers) for i, each in enumerate(data)]
        if not workers.first:
            return None
        scores = {}
        for each, rows in zip(data, decoded, strict=True):
            found = each.score_decoded("test", rows, settings.eval.bootstrap)
            scores[each.task.name] = {metric: asdict(score) for metric, score in found.items()}
    member.guard()
    _write_predictions(prepared, decoded, member.folder / "predictions.parquet")
    card = {"run": member.name, "seed": settings.seed,
            "eval": settings.eval.model_dump(mode="json"), "lm": settings.model.model_dump(mode="json")}  # fmt: skip
    save_method(member.learner, settings.method, member.folder / "method", card)
    prompts = _write_prompts(prepared, scores, member.folder / "prompts")
    result = {**_result(prepared, scores, decoded, prompts, time.monotonic() - began), **meter.told(member)}
    member.guard()
    write_json(member.folder / "result.json", result)
    if settings.changes_model:  # four times what it trains, gigabytes, and a finished run is never gone on from
        member.path.unlink(missing_ok=True)
    return result


def _write_predictions(prepared: Prepared, decoded: list[list[Decoded]], path: Path) -> None:
    learner, options, kept = prepared.member.learner, prepared.run.settings.predictions, list[dict[str, Any]]()
    for each, rows in zip(prepared.data, decoded, strict=True):
        part = each.parts["test"]
        read = learner.text.read([row.source for row in part.rows])
        mine = prediction_rows(each.task.name, part.examples, read, rows, each.labels)
        kept += mine if options.kept else [without_texts(row, each.labels) for row in mine]
    write_predictions(kept, getattr(learner.method, "candidates", ()), options, path)


def _write_prompts(prepared: Prepared, scores: dict[str, Any], folder: Path) -> list[str]:
    settings, learner = prepared.run.settings, prepared.member.learner
    metrics = {each.task.name: each.task.metrics[0] for each in prepared.data}
    headline = {f"{task}/{metric}": scores[task][metric]["value"] for task, metric in metrics.items()}
    mixed = learner.method.reads_input  # the target of a mixture alone is not what was scored
    exported = learner.export()
    for name, prompt in exported.items():
        provenance = replace(
            prompt.provenance, method=settings.method.name, run=prepared.member.name, scores={} if mixed else headline,
            seeds=_seeds(settings), versions=versions(), note="target prompt of a mixture" if mixed else "",
        )  # fmt: skip
        replace(prompt, provenance=provenance).save(folder / name)
    return list(exported)


def _seeds(settings: RunSettings) -> dict[str, int]:
    return {purpose: settings.seed_for(purpose) for purpose in ("init", "order", "dropout", "subset")}


def _result(
    prepared: Prepared, scores: dict[str, Any], decoded: list[list[Decoded]], prompts: list[str], scoring_s: float
) -> dict[str, Any]:
    run, member = prepared.run, prepared.member
    method, lm = member.learner.method, member.learner.lm
    data = {
        each.task.name: {
            "version": each.task.version, "language": each.task.language,
            "fingerprint": each.dataset.fingerprint, "origin": each.dataset.origin,
            "revision": each.dataset.revision,
            "rows": {split: len(part.rows) for split, part in each.parts.items()}, "majority": each.best_constant(),
            "labels": list(each.labels), "headline": each.task.metrics[0], "notes": each.told(run.settings.predictions.kept),
            "no_label": sum(not is_label(row, each.labels) for row in rows) if each.labels else None,
        }
        for each, rows in zip(prepared.data, decoded, strict=True)
    }  # fmt: skip
    return {
        "stage": run.stage, "label": run.label, "name": run.name, "tasks": list(run.tasks), "method": run.settings.method.name,
        "seed": run.settings.seed, "seeds": _seeds(run.settings), "notes": prepared.notes,
        "few_shot": run.settings.data.few_shot, "scores": scores, "data": data, "prompts": prompts,
        "sources": list(getattr(method, "source_names", ())), "steps": member.step, "best_step": member.best_step,
        "validation": member.best_headline if member.best_step >= 0 else None, "stopped": member.stopped,
        "trainable": sum(p.numel() for p in member.trainable) if member.total else 0, "length": method.length,
        "model": {"name": lm.name, "revision": lm.revision, "embedding": lm.fingerprint, "dtype": lm.dtype, **lm.parts},
        "weights": model_identity(located_model(run.settings.model, run.base))["name"],
        "pool": pool_of(run.settings.gang), "seconds": {"training": member.seconds, "scoring": scoring_s},
        "versions": versions(), "hardware": hardware(),
    }  # fmt: skip
