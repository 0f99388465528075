"""The test scores of a store as a pandas data frame, one row per run, task and metric; the tables of the report group it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cpeft.errors import ConfigError
from cpeft.report.study import Run, Study
from cpeft.store.run_folder import Store

CLOSED = ("choice_", "calibrated_")  # before the name of a metric: of closed choice, plain and calibrated
TYPES = {
    "str": ("stage", "method", "label", "run", "run_id", "method_name", "model", "dtype", "task", "metric"),
    "bool": ("headline",),
    "float64": ("value", "low", "high", "majority", "validation", "seconds"),
    "int64": ("seed", "steps", "best_step", "length"),
    "Int64": ("test_rows", "shots", "trainable"),
}
COLUMNS = {name: kind for kind, names in TYPES.items() for name in names}


def scores(store: str | Path) -> pd.DataFrame:
    """Test scores of all finished runs of a store, one row per run, task and metric.

    Rows are in the order of the recipe, and each task's headline metric is first. A store without finished runs gives an
    empty frame with the same columns. Raises ConfigError where there is no such folder.

    Columns:
        stage: stage of the recipe.
        method: label of the method; where runs of one label differ in settings, with these behind it.
        label: label of the method as the recipe has it.
        run: name of the run, unique in its stage.
        run_id: hash of everything that decides the result.
        method_name: registered method, such as `prompt_tuning`.
        model: name or path of the frozen model.
        dtype: floating-point format of the frozen model, such as `float32`.
        task: task that was scored.
        metric: metric; `choice_*` and `calibrated_*` are scores of closed choice.
        headline: whether the metric is the task's first.
        value: score in per cent (correlations from -100 to 100).
        low, high: bounds of the 95% interval over test rows, in per cent. It does not hold the spread over seeds.
        majority: score of the best constant answer on the test rows, in per cent; missing for other metrics than the
            headline and for tasks with open answers.
        validation: mean over the run's tasks of the headline metric on validation rows at `best_step`, in per cent; missing
            without validation.
        seconds: time of training and scoring.
        seed: seed of the run.
        steps: optimizer steps; 0 where nothing was trained.
        best_step: step whose state was kept; -1 without validation.
        length: rows of the prompt.
        test_rows: number of test rows.
        shots: training examples, counted as `data.few_shot` says; missing where all rows were used.
        trainable: number of trained parameters; missing in results of old versions.
    """
    if not Path(store).is_dir():
        raise ConfigError(f"{store}: no such folder; give a store, the folder that `cpeft run` fills with STAGE/RUN")
    return score_frame(Study.of(Store(store)).runs)


def score_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """The frame of `scores` for some runs."""
    rows = [row for run in runs for row in _rows(run)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as Parquet or CSV, as the suffix of `path` says; raises ConfigError for any other suffix."""
    writers = {".parquet": frame.to_parquet, ".csv": frame.to_csv}
    if path.suffix not in writers:
        raise ConfigError(f"cannot write scores to {path}: the name must end in {' or '.join(writers)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    writers[path.suffix](path, index=False)


def without_choice(metric: str) -> str:
    """The metric itself, however the answers were taken."""
    return next((metric.removeprefix(prefix) for prefix in CLOSED if metric.startswith(prefix)), metric)


def _rows(run: Run) -> Iterator[dict[str, Any]]:
    result = run.result
    of_run = {
        "stage": result.stage,
        "method": run.label,
        "label": result.label,
        "run": result.name,
        "run_id": run.folder.id,
        "method_name": result.method,
        "model": result.model.name,
        "dtype": result.model.dtype,
        "seed": result.seed,
        "shots": None if result.few_shot == "full" else result.few_shot,
        "steps": result.steps,
        "best_step": result.best_step,
        "length": result.length,
        "trainable": result.trainable,
        "validation": result.validation,
        "seconds": result.seconds.total,
    }
    for task, about in result.data.items():
        found = result.scores[task]
        for metric in sorted(found, key=lambda name: (name != about.headline, without_choice(name) != about.headline)):
            headline, score = metric == about.headline, found[metric]
            yield of_run | {
                "task": task,
                "metric": metric,
                "headline": headline,
                "value": score.value,
                "low": score.low,
                "high": score.high,
                "majority": about.majority if headline else None,
                "test_rows": about.rows.get("test"),
            }
