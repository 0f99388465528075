"""Scores the test rows of a trained run, once, and writes predictions, the method, its prompts, and `result.json` last."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpeft.evaluation.decoding import DecodedRow
from cpeft.evaluation.predictions import is_label, prediction_rows, without_texts, write_predictions
from cpeft.evaluation.task_data import TaskData
from cpeft.models.loading import FrozenLM
from cpeft.models.places import model_identity
from cpeft.models.saved import save_method
from cpeft.store.machine import hardware, versions
from cpeft.store.result import DataInfo, Energy, ModelInfo, RunResult, Score, SearchResult, Seconds, write_result
from cpeft.study.recipe.search import SearchRun
from cpeft.study.recipe.settings import RunSettings, located_model
from cpeft.study.runner.prepare import Prepared
from cpeft.training.energy import EnergyMeter
from cpeft.training.engine import pool_of
from cpeft.training.workers import Workers

Scores = dict[str, dict[str, Score]]  # by task and metric


def conclude(prepared: Prepared, workers: Workers, meter: EnergyMeter) -> RunResult | None:
    """Score the test rows and write all files of a finished run; the result, or None in processes that write nothing."""
    settings, member, data = prepared.run.settings, prepared.member, prepared.data
    began = time.monotonic()
    with meter.scoring(member):
        decoded = [task.answers(member.learner, i, "test", settings.eval, workers) for i, task in enumerate(data)]
        if not workers.first:
            return None
        scores = {}
        for one, rows in zip(data, decoded, strict=True):
            scores[one.task.name] = one.score_decoded("test", rows, settings.eval.bootstrap)
    member.guard()
    _write_predictions(prepared, decoded, member.folder.predictions_path)
    card = {"run": member.name, "seed": settings.seed,
            "eval": settings.eval.model_dump(mode="json"), "lm": settings.model.model_dump(mode="json")}  # fmt: skip
    save_method(member.learner, settings.method, member.folder.method_path, card)
    prompts = _write_prompts(prepared, scores)
    seconds = Seconds(training=member.seconds, scoring=time.monotonic() - began)
    result = _result(prepared, scores, decoded, prompts, seconds, meter.spent(member))
    member.guard()
    write_result(member.folder.result_path, result)
    if settings.changes_model:  # gigabytes, and a finished run is never resumed
        member.path.unlink(missing_ok=True)
    return result


def conclude_search(prepared: Prepared, run: SearchRun, workers: Workers, meter: EnergyMeter) -> SearchResult | None:
    """Write the validation score of a finished search run, and nothing that could be scored on test rows; a run that diverged
    has no score. None in processes that write nothing."""
    member, lm = prepared.member, prepared.member.learner.lm
    if not workers.first:
        return None
    member.guard()
    member.path.unlink(missing_ok=True)  # its state is that of a trained method
    energy, energy_reason = meter.spent(member)
    result = SearchResult(
        stage=run.stage, label=run.label, name=run.name, variant=run.variant, tried=run.values, place=run.place,
        tasks=run.tasks, method=run.settings.method.name, seed=run.seed, notes=tuple(prepared.notes),
        higher_is_better=member.higher_is_better,
        validation=None if member.failure or member.best_step < 0 else member.best_headline,
        steps=member.step, best_step=member.best_step, stopped=str(member.failure or member.stopped),
        model=_model_info(lm), seconds=Seconds(training=member.seconds, scoring=0.0),
        versions=versions(), hardware=hardware(), energy=energy, energy_reason=energy_reason,
    )  # fmt: skip
    write_result(member.folder.result_path, result)
    return result


def _model_info(lm: FrozenLM) -> ModelInfo:
    return ModelInfo(name=lm.name, revision=lm.revision, embedding=lm.fingerprint, dtype=lm.dtype, **lm.parts)


def _write_predictions(prepared: Prepared, decoded: list[list[DecodedRow]], path: Path) -> None:
    learner, options, kept = prepared.member.learner, prepared.run.settings.predictions, list[dict[str, Any]]()
    for one, rows in zip(prepared.data, decoded, strict=True):
        part = one.parts["test"]
        read = learner.text.read([row.source for row in part.rows])
        mine = prediction_rows(one.task.name, part.examples, read, rows, one.labels)
        kept += mine if options.kept else [without_texts(row, one.labels) for row in mine]
    write_predictions(kept, learner.method.extras, learner.method.candidates, options, path)


def _write_prompts(prepared: Prepared, scores: Scores) -> list[str]:
    settings, learner = prepared.run.settings, prepared.member.learner
    metrics = {one.task.name: one.task.metrics[0] for one in prepared.data}
    headline = {f"{task}/{metric}": scores[task][metric].value for task, metric in metrics.items()}
    mixed = learner.method.reads_input  # the target of a mixture alone is not what was scored
    exported = learner.export()
    for name, prompt in exported.items():
        provenance = replace(
            prompt.provenance, method=settings.method.name, run=prepared.member.name, scores={} if mixed else headline,
            seeds=_seeds(settings), versions=versions(), note="target prompt of a mixture" if mixed else "",
        )  # fmt: skip
        replace(prompt, provenance=provenance).save(prepared.member.folder.prompt(name))
    return list(exported)


def _seeds(settings: RunSettings) -> dict[str, int]:
    return {purpose: settings.seed_for(purpose) for purpose in ("init", "order", "dropout", "subset")}


def _result(
    prepared: Prepared, scores: Scores, decoded: list[list[DecodedRow]], prompts: list[str], seconds: Seconds,
    spent: tuple[Energy | None, str | None],
) -> RunResult:  # fmt: skip
    run, member, settings = prepared.run, prepared.member, prepared.run.settings
    method, lm = member.learner.method, member.learner.lm
    energy, energy_reason = spent
    return RunResult(
        stage=run.stage, label=run.label, name=run.name, tasks=run.tasks, method=settings.method.name, seed=settings.seed,
        seeds=_seeds(settings), notes=tuple(prepared.notes), few_shot=settings.data.few_shot, scores=scores,
        data={
            one.task.name: _data_info(one, rows, settings.predictions.kept)
            for one, rows in zip(prepared.data, decoded, strict=True)
        },
        prompts=tuple(prompts), sources=method.source_names, steps=member.step,
        best_step=member.best_step, validation=member.best_headline if member.best_step >= 0 else None,
        stopped=member.stopped, trainable=sum(p.numel() for p in member.trainable) if member.total else 0,
        length=method.length,
        model=_model_info(lm),
        weights=model_identity(located_model(settings.model, run.base))["name"], pool=pool_of(settings.gang),
        seconds=seconds, versions=versions(), hardware=hardware(), energy=energy, energy_reason=energy_reason,
    )  # fmt: skip


def _data_info(data: TaskData, decoded: list[DecodedRow], with_texts: bool) -> DataInfo:
    task, dataset = data.task, data.dataset
    return DataInfo(
        version=task.version, language=task.language, fingerprint=dataset.fingerprint, origin=dataset.origin,
        revision=dataset.revision, rows={split: len(part.rows) for split, part in data.parts.items()},
        majority=data.best_constant(), labels=tuple(data.labels), headline=task.metrics[0],
        notes=tuple(data.all_notes(with_texts)),
        no_label=sum(not is_label(row, data.labels) for row in decoded) if data.labels else None,
    )  # fmt: skip
