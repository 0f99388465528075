"""What a finished run leaves: test scores, predictions, the method, its prompts, and `result.json`, written last.

Test rows are scored once per finished run.
"""

import time
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cpeft.evaluation.decoding import Decoded
from cpeft.evaluation.scoring import score_texts
from cpeft.models.saved import save_method
from cpeft.prompts.soft_prompt import write_json
from cpeft.study.prepare import Prepared, hardware, outputs, trainable
from cpeft.study.task_data import TaskData
from cpeft.training.workers import Workers

PACKAGES = ("cpeft", "torch", "transformers", "datasets", "numpy", "scikit-learn", "accelerate")


def conclude(prepared: Prepared, workers: Workers) -> dict[str, Any] | None:
    """Score the test rows and write everything a run leaves; the result, or None in processes that write nothing."""
    settings, member = prepared.run.settings, prepared.member
    began = time.monotonic()
    decoded = [
        outputs(prepared.learner, prepared.data, i, "test", prepared.shape, settings.eval, workers)
        for i in range(len(prepared.data))
    ]
    if not workers.first:
        return None
    scores = {
        each.task.name: _scores(each, rows, settings.eval.bootstrap)
        for each, rows in zip(prepared.data, decoded, strict=True)
    }
    member.guard()
    folder = prepared.folder.path
    _write_predictions(prepared, decoded, folder / "predictions.parquet")
    card = {
        "seed": settings.seed,
        "data": settings.data.model_dump(mode="json"),
        "run": member.name,
        "dtype": prepared.learner.lm.dtype,
    }
    save_method(prepared.learner, settings.method, folder / "method", card)
    prompts = _write_prompts(prepared, scores, folder / "prompts")
    result = _result(prepared, scores, prompts, time.monotonic() - began)
    member.guard()
    write_json(folder / "result.json", result)
    return result


def _scores(each: TaskData, rows: list[Decoded], resamples: int) -> dict[str, dict[str, float]]:
    """Every metric of a task with its interval, of greedy texts and, where asked for, of closed choices."""
    part = each.parts["test"]
    references = [example.references for example in part.examples]
    groups = [example.group for example in part.examples]
    said = {"": [row.text for row in rows]}
    if rows and rows[0].choice is not None:
        said["choice_"] = [row.choice or "" for row in rows]
    return {
        prefix + metric: asdict(score_texts(metric, texts, references, each.labels, groups, resamples))
        for prefix, texts in said.items()
        for metric in each.task.metrics
    }


def _majority(each: TaskData) -> float | None:
    """The headline metric of always answering with the most frequent training label."""
    if not each.majority:
        return None
    part = each.parts["test"]
    texts = [each.majority] * len(part.examples)
    references = [example.references for example in part.examples]
    return score_texts(each.task.metrics[0], texts, references, each.labels, [e.group for e in part.examples]).value


def _write_predictions(prepared: Prepared, decoded: list[list[Decoded]], path: Path) -> None:
    table = [
        {
            "task": each.task.name,
            "row": i,
            "source": example.source,
            "prediction": row.text,
            "references": list(example.references),
            "in_label_set": row.text in each.labels if each.labels else None,
            "choice": row.choice,
            "attention": list(row.attention),
        }
        for each, rows in zip(prepared.data, decoded, strict=True)
        for i, (example, row) in enumerate(zip(each.parts["test"].examples, rows, strict=True))
    ]
    candidates = list(getattr(prepared.learner.method, "candidates", ()))
    arrow = pa.Table.from_pylist(table).replace_schema_metadata({"attention": "\t".join(candidates)})
    pq.write_table(arrow, path, compression="zstd")


def _write_prompts(prepared: Prepared, scores: dict[str, Any], folder: Path) -> list[str]:
    lm, settings = prepared.learner.lm, prepared.run.settings
    headline = {
        f"{e.task.name}/{e.task.metrics[0]}": scores[e.task.name][e.task.metrics[0]]["value"] for e in prepared.data
    }
    exported = prepared.learner.export()
    for name, prompt in exported.items():
        provenance = replace(
            prompt.provenance, model=lm.name, revision=lm.revision, embedding=lm.fingerprint, dtype=lm.dtype,
            encoder_decoder=lm.encoder_decoder, method=settings.method.name, run=prepared.member.name, scores=headline,
            seeds={p: settings.seed_for(p) for p in ("init", "order", "dropout", "subset")}, versions=versions(),
        )  # fmt: skip
        replace(prompt, provenance=provenance).save(folder / name)
    return list(exported)


def versions() -> dict[str, str]:
    """Installed versions of what the numbers depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _result(prepared: Prepared, scores: dict[str, Any], prompts: list[str], scoring_s: float) -> dict[str, Any]:
    run, member, lm = prepared.run, prepared.member, prepared.learner.lm
    data = {
        each.task.name: {
            "version": each.task.version,
            "fingerprint": each.fingerprint,
            "origin": each.origin,
            "revision": each.revision,
            "rows": {split: len(part.rows) for split, part in each.parts.items()},
            "majority": _majority(each),
            "labels": list(each.labels),
            "headline": each.task.metrics[0],
            "notes": list(each.notes),
        }
        for each in prepared.data
    }
    return {
        "stage": run.stage,
        "label": run.label,
        "name": run.name,
        "tasks": [each.task.name for each in prepared.data],
        "method": run.settings.method.name,
        "seed": run.settings.seed,
        "few_shot": run.settings.data.few_shot,
        "scores": scores,
        "data": data,
        "prompts": prompts,
        "sources": list(prepared.sources),
        "steps": member.step,
        "best_step": member.best_step,
        "validation": member.best_headline if member.best_step >= 0 else None,
        "stopped": member.stopped,
        "trainable": trainable(prepared.learner) if member.total else 0,
        "length": prepared.learner.method.length,
        "model": {"name": lm.name, "revision": lm.revision, "embedding": lm.fingerprint, "dtype": lm.dtype},
        "pool": run.settings.gang.pool,
        "seconds": {"training": member.seconds, "scoring": scoring_s},
        "versions": versions(),
        "hardware": hardware(),
    }
