"""A temperature for the label probabilities behind a prompt, fitted on validation rows.

    p(label) = softmax(scores / T),  T minimises the mean of -log p(right label)     (Guo et al. 2017)

A prompt's own probabilities are usually too sure. With T, "0.8" is right about eight times in ten, so a server can abstain
below a probability. T changes no answer.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from cpeft.errors import ConfigError, writing
from cpeft.evaluation.task_data import task_data
from cpeft.files import read_json, write_json
from cpeft.options.evaluation import EvalOptions
from cpeft.use.target import load_subject

FILE = "calibration.json"
LEAST = 20  # validation rows
RANGE = (-3.0, 3.0)  # of log T
BINS = 10


class Calibration(BaseModel):
    """A fitted temperature, and what it does: the expected calibration error (0 to 1) of rows that it was not fitted on, by two
    halves of the validation rows, with T = 1 and with the temperature of the other half."""

    model_config = ConfigDict(extra="forbid")

    task: str
    temperature: float = Field(gt=0)
    rows: int
    error_before: float
    error_after: float


def calibrate(prompt: str, task: str | None = None, model: str | None = None) -> Calibration:
    """Fit the temperature of a prompt folder on its task's validation rows and write it beside the prompt.

    Raises ConfigError for a prompt without a folder, a task without a closed label set and fewer than 20 validation rows."""
    folder = Path(prompt)
    if not (folder / "cpeft.json").exists():
        raise ConfigError(f"{prompt}: no prompt folder (with cpeft.json) to write {FILE} into")
    subject = load_subject(prompt, model)
    name = task or read_json(folder / "cpeft.json").get("task", "")
    data = task_data(name, None, subject.learner.data, subject.learner.subset, subject.learner.lm)
    if not data.closed:
        raise ConfigError(f"task '{name}' has no closed label set, so its answers have no probabilities")
    options = EvalOptions(decode=("choice",), token_budget=subject.eval.token_budget)
    decoded = data.answers(subject.learner, subject.index(data.task), "validation", options)
    if len(decoded) < LEAST:
        raise ConfigError(f"task '{name}' has {len(decoded)} validation rows; {LEAST} are needed to fit a temperature")
    labels = list(data.surfaces.values())
    truth_N = np.array([labels.index(each.references[0]) for each in data.parts["validation"].examples])
    scores_NC = np.array([row.scores for row in decoded])
    fitted = fit(data.task.name, scores_NC, truth_N)
    with writing(folder / FILE):
        write_json(folder / FILE, fitted.model_dump())
    return fitted


def fit(task: str, scores_NC: np.ndarray, truth_N: np.ndarray) -> Calibration:
    """The temperature for label scores (nats) and the indices of the right labels."""
    halves = np.arange(len(truth_N)) % 2 == 0
    after = np.empty((len(truth_N), 2))
    for half in (halves, ~halves):
        after[half] = _sure(scores_NC[half] / _temperature(scores_NC[~half], truth_N[~half]), truth_N[half])
    return Calibration(
        task=task,
        temperature=_temperature(scores_NC, truth_N),
        rows=len(truth_N),
        error_before=expected_error(_sure(scores_NC, truth_N)),
        error_after=expected_error(after),
    )


def read_calibration(folder: Path) -> Calibration | None:
    """The calibration beside a prompt, if there is one; raises ConfigError for a broken file."""
    path = folder / FILE
    try:
        return Calibration.model_validate(read_json(path)) if path.exists() else None
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _temperature(scores_NC: np.ndarray, truth_N: np.ndarray) -> float:
    def loss(log_t: float) -> float:
        return -float(log_softmax(scores_NC / np.exp(log_t), axis=1)[np.arange(len(truth_N)), truth_N].mean())

    return float(np.exp(minimize_scalar(loss, bounds=RANGE, method="bounded").x))


def _sure(scores_NC: np.ndarray, truth_N: np.ndarray) -> np.ndarray:
    """By row: the probability of the most probable label, and whether it is right."""
    p_NC = np.exp(log_softmax(scores_NC, axis=1))
    return np.stack([p_NC.max(1), p_NC.argmax(1) == truth_N], 1)


def expected_error(sure_N2: np.ndarray | Sequence[Sequence[float]]) -> float:
    """The expected calibration error: over ten bins of probability, the mean distance of mean probability and share of right
    answers, weighted by rows."""
    p_N, right_N = np.asarray(sure_N2, dtype=float).T
    bin_N = np.minimum((p_N * BINS).astype(int), BINS - 1)
    return float(sum(abs(p_N[bin_N == b].sum() - right_N[bin_N == b].sum()) for b in range(BINS)) / len(p_N))
