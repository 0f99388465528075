"""Which tasks a gate admits, as Markdown: python -m studies.gate STORE [TASK ...]

A task is admitted if its tuned prompt is at least `LEAD` points above the best constant answer and above the best score without
tuning: greedy, most probable label, calibrated; without and with four examples in the context. All on the validation rows of
one seed; accuracy for every task. The store has the runs of a recipe with the stages `untuned` and `gate`.
"""

import sys
from pathlib import Path

from cpeft.evaluation.task_data import task_data
from cpeft.models.loading import FrozenLM
from cpeft.store.run_folder import Store
from cpeft.use.target import Subject, load_subject
from studies.scores import table

LEAD, METRIC = 5.0, "accuracy"


def gate(store: Path, only: list[str]) -> list[str]:
    """A line for each task that has a tuned prompt."""
    runs = [run for run in Store(store).runs() if run.done]
    untuned = [run for run in runs if run.result().stage == "untuned"]
    tuned = [run for run in runs if run.result().stage == "gate"]
    lm: FrozenLM | None = None
    rows = []
    for run in tuned:
        (task,) = run.result().tasks
        if only and task not in only:
            continue
        subject = load_subject(str(run.path), lm=lm)
        lm = subject.learner.lm
        own, constant = validation(subject, task)[METRIC], most_frequent(subject, task)
        if own < constant + LEAD:  # refused whatever the untuned model does, whose examples are long
            rows.append([task, f"{constant:.1f}", "", f"{own:.1f}", f"{own - constant:+.1f}", ""])
            continue
        without = {
            f"{other.result().label}, {metric.removesuffix(METRIC).strip('_') or 'greedy'}": value
            for other in untuned
            if other.result().tasks == (task,)
            for metric, value in validation(load_subject(str(other.path), lm=lm), task).items()
        }
        best = max(without, key=lambda name: without[name])
        lead = own - max(without[best], constant)
        rows.append([task, f"{constant:.1f}", f"{without[best]:.1f} ({best})", f"{own:.1f}", f"{lead:+.1f}",
                     "admitted" if lead >= LEAD else ""])  # fmt: skip
    return table(["task", "best constant answer", "best without tuning", "tuned", "lead", "gate"], rows)


def validation(subject: Subject, task: str) -> dict[str, float]:
    """The accuracy of a run's method on its validation rows, greedy and by choice."""
    scores = subject.evaluate(task, "validation")
    return {metric: score.value for metric, score in scores.items() if metric.endswith(METRIC)}


def most_frequent(subject: Subject, task: str) -> float:
    """The accuracy of the best constant answer on the validation rows."""
    learner = subject.learner
    data = task_data(task, None, learner.data, learner.subset, learner.lm)
    count = len(data.parts["validation"].rows)
    return max(data.score("validation", [label] * count)[METRIC].value for label in data.labels)


if __name__ == "__main__":
    print("\n".join(gate(Path(sys.argv[1]), sys.argv[2:])))
