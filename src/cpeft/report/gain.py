"""What training brought: trained prompts beside everything that was not trained, on the same test rows, at the end of `run`.

A trained prompt is compared with the best answers that the model gives to the task without training: behind no prompt, with
in-context examples, behind the prompt of another task, each as it is decoded (greedy, choice, calibrated), and with the best
constant answer. A prompt composed from one that was trained on the task, as a vector on another origin, is none of these.

The test is McNemar's, exact, on rows; it speaks of that trained prompt alone, so a task is called significant only where every
one of its prompts is, after Holm's correction over all prompts of the store.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cpeft.prompts.formula.tree import names
from cpeft.report.sections.predictions import answer_text
from cpeft.report.study import Run, Study
from cpeft.report.vectors.starts import formula_of
from cpeft.stats.intervals import ALPHA
from cpeft.stats.many import holm
from cpeft.stats.paired import mcnemar

WAYS = {"prediction": "", "choice": ", choice", "calibrated": ", calibrated choice"}  # columns of answers
CUT = 240  # characters of a text
ANSWER = 60  # of an answer


@dataclass(frozen=True)
class UntrainedAnswers:
    """Answers to the test rows of a task that nothing was trained for."""

    name: str
    answers: tuple[str | None, ...]
    right: tuple[bool, ...]


@dataclass(frozen=True)
class GainExample:
    """A test row with what was said of it: without a prompt, and behind a trained one, which is right."""

    text: str
    without: str
    behind: str


@dataclass(frozen=True)
class Gain:
    """One task: right answers of each trained prompt, the best line without training, corrected p-values by prompt."""

    task: str
    rows: int
    prompts: tuple[int, ...]
    best: UntrainedAnswers
    p: tuple[float, ...]
    shown: GainExample | None

    @property
    def significant(self) -> bool:
        least = sum(self.best.right)
        return all(p <= ALPHA and right > least for p, right in zip(self.p, self.prompts, strict=True))

    @property
    def verdict(self) -> str:
        """One sentence."""
        low, high = (100 * each / self.rows for each in (min(self.prompts), max(self.prompts)))
        span = f"{low:.0f}%" if low == high else f"{low:.0f} to {high:.0f}%"
        whom = f"these {len(self.prompts)} prompts" if len(self.prompts) > 1 else "this prompt"
        best = f"{100 * sum(self.best.right) / self.rows:.0f}% without training ({self.best.name})"
        word = "significant" if self.significant else "not significant"
        test = f"exact McNemar tests with Holm's correction, largest p = {max(self.p):.2g}; it speaks of {whom} only"
        return f"{self.task}: {span} of {self.rows} rows right with a trained prompt, at most {best}: {word} ({test})"


def gains(study: Study) -> list[Gain]:
    """A gain for every task that has trained prompts and untrained lines on the same rows, in the order of the store."""
    found = []
    for task in dict.fromkeys(task for run in study.runs for task in run.result.data):
        runs = [run for run in study.runs if list(run.result.data) == [task] and run.result.data[task].labels]
        trained, untrained = (
            _first_group([run for run in runs if _tuned(run)]),
            [run for run in runs if not run.result.steps and not _made_from(run, task)],
        )
        if not (trained and untrained):
            continue  # before any answers are read
        lines = [line for run in untrained for line in _lines(run, task)]
        if len({len(_rows(run, task)) for run in (*trained, *untrained)}) == 1 and _rows(trained[0], task):
            found.append(_gain(task, trained, [*lines, _constant(trained[0], task)]))
    corrected = iter(holm([p for gain in found for p in gain.p]))
    return [replace(gain, p=tuple(next(corrected) for _ in gain.p)) for gain in found]


def _gain(task: str, trained: Sequence[Run], lines: Sequence[UntrainedAnswers]) -> Gain:
    best = max(lines, key=lambda line: sum(line.right))
    right = [_right(_rows(run, task), "prediction") for run in trained]
    p = tuple(mcnemar(own, best.right) for own in right)
    return Gain(task, len(best.right), tuple(map(sum, right)), best, p, _shown(task, trained, lines, right))


def _shown(
    task: str, trained: Sequence[Run], lines: Sequence[UntrainedAnswers], right: Sequence[Sequence[bool]]
) -> GainExample | None:
    """The first row that every trained prompt answers right and the model without a prompt does not; None where there is none,
    or texts were not kept."""
    without = lines[0]
    rows = _rows(trained[0], task)
    for i, row in enumerate(rows):
        if all(own[i] for own in right) and not without.right[i] and trained[0].keeps_texts:
            return GainExample(_cut(row["source"], CUT), _cut(without.answers[i] or "", ANSWER), answer_text(row))
    return None


def _cut(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 3] + "..."


def _tuned(run: Run) -> bool:
    """Whether a prompt was trained from nothing that was trained before."""
    return bool(run.result.steps) and run.result.method == "prompt_tuning" and not run.result.sources


def _made_from(run: Run, task: str) -> bool:
    """Whether its prompt is made from prompts that were trained on the task, or may be (a name with a star)."""
    references = (*names(formula_of(run.config)), *run.result.sources)
    parts = [part for name in references for part in name.partition("@")[0].split("+")]
    return any("*" in part or f"/{part}".endswith(f"/{task}") for part in parts)


def _first_group(runs: Sequence[Run]) -> list[Run]:
    """The seeds of the first method among these."""
    return [run for run in runs if run.group == runs[0].group]


def _rows(run: Run, task: str) -> list[dict[str, Any]]:
    return [row for row in run.answers if row["task"] == task]


def _lines(run: Run, task: str) -> Iterator[UntrainedAnswers]:
    rows, seed = _rows(run, task), run.result.seed
    for column, way in WAYS.items():
        if column == "prediction" or all(row.get(column) is not None for row in rows):
            name = f"{run.label}, seed {seed}{way}"
            answers = tuple(answer_text(row) if column == "prediction" else row[column] for row in rows)
            yield UntrainedAnswers(name, answers, tuple(_right(rows, column)))


def _right(rows: Sequence[Mapping[str, Any]], column: str) -> list[bool]:
    return [row[column] in row["references"] for row in rows]


def _constant(run: Run, task: str) -> UntrainedAnswers:
    """The best constant answer, which knows the test labels."""
    rows = _rows(run, task)
    labels = [row["references"][0] for row in rows]
    words, counts = np.unique(labels, return_counts=True)
    word = str(words[counts.argmax()])
    return UntrainedAnswers(f'always "{word}"', tuple(word for _ in rows), tuple(label == word for label in labels))
