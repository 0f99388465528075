"""What a learner answers to the rows of a task, and how those answers score. Validation, test and `cpeft eval` share it."""

from collections.abc import Sequence
from dataclasses import replace

from cpeft.evaluation.decoding import Decoded, EvalOptions, decode_rows
from cpeft.evaluation.scoring import Score, score_texts
from cpeft.models.prompted import PromptedLM
from cpeft.study.task_data import TaskData
from cpeft.training.workers import Workers


def answers(
    learner: PromptedLM, each: TaskData, index: int, split: str, options: EvalOptions, workers: Workers
) -> list[Decoded]:
    """Decoded rows of one task, predicted texts as the labels they stand for; `index` is the task's within the run."""
    rows = [replace(row, task=index) for row in each.parts[split].rows]
    return [
        replace(decoded, text=each.say(decoded.text), choice=each.say(decoded.choice) if decoded.choice else None)
        for decoded in decode_rows(learner, rows, learner.shape, each.closed, options, workers)
    ]


def score_part(each: TaskData, split: str, texts: Sequence[str], resamples: int = 0) -> dict[str, Score]:
    """Every metric of a task over the predicted texts of a split."""
    examples = each.parts[split].examples
    references = [example.references for example in examples]
    groups = [example.group for example in examples]
    return {
        metric: score_texts(metric, texts, references, each.labels, groups, resamples) for metric in each.task.metrics
    }


def score_decoded(each: TaskData, split: str, decoded: Sequence[Decoded], resamples: int) -> dict[str, Score]:
    """Every metric of the greedy texts and, where they were asked for, of the closed choices as `choice_*`."""
    scores = score_part(each, split, [row.text for row in decoded], resamples)
    if decoded and decoded[0].choice is not None:
        chosen = score_part(each, split, [row.choice or "" for row in decoded], resamples)
        scores |= {f"choice_{metric}": score for metric, score in chosen.items()}
    return scores


def best_constant(each: TaskData) -> float | None:
    """The headline metric of the best constant answer on the test rows, the bar for "has learned anything"; None for open
    answers. It knows the test labels, so it is at least as high as the most frequent training label."""
    rows = len(each.parts["test"].examples)
    scores = [score_part(each, "test", [label] * rows)[each.task.metrics[0]].value for label in each.labels]
    return max(scores, default=None)
