"""How a row is asked and answered, for programs that know nothing of tasks: the text before, of and behind a row, and what
ends an answer. A prompt's provenance keeps it, and the README of its folder is made of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cpeft.data.options import DataOptions
from cpeft.evaluation.decoding import new_tokens, plain_greedy
from cpeft.evaluation.row_text import frame_of, opening, source_of
from cpeft.evaluation.task_data import TaskData
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.options.evaluation import EvalOptions
from cpeft.tasks import Task
from cpeft.tasks.base import PLACEHOLDER


def asked(each: TaskData, learner: PromptedLM, options: EvalOptions) -> dict[str, Any]:
    """The card of one task: `before`, with the examples of the run, `fields` (each {column} is replaced by the row's value),
    `behind`, `most` tokens of an answer, the `tokens` that begin and end it, the `labels` as they are said, in `lower` case if
    case does not matter, and whether the tokenizer adds `special` tokens, of which the last `ends` a text and is left out."""
    lm, data, codec = learner.lm, learner.data, learner.text
    before, fields = _parts(each.task, data)
    frame = replace(frame_of(each.task, data, codec), examples=each.shown.examples)
    lower = bool(each.labels) and options.match == "lower"
    place = Path(lm.tokenizer.name_or_path or lm.name)
    ids = lm.tokenizer("a")["input_ids"] if codec.special and not lm.encoder_decoder else []
    return {
        "before": "".join(frame.lead()) + before.removeprefix(frame.opening),
        "fields": fields,
        "behind": codec.after(data.cue_for(bool(each.labels))),
        "columns": PLACEHOLDER.findall(fields),
        "labels": {said.lower() if lower else said: label for said, label in each.spoken.items()}
        if each.labels
        else {},
        "lower": lower,
        "cleaned": each.task.clean is not None,
        "special": codec.special,
        "ends": ids[-1:] == [codec.end],
        "most": new_tokens(codec, each.closed, options),
        "tokens": _tokens(lm, codec.end),
        "model": str(place.resolve()) if place.is_dir() else str(place),
    }


def _parts(task: Task, options: DataOptions) -> tuple[str, str]:
    """What stands before the fields of every row of a task, and the fields with their columns in braces."""
    columns = [*PLACEHOLDER.findall(task.template), *(column for _, column in task.fields)]
    text = source_of(replace(task, clean=None), {column: f"{{{column}}}" for column in columns}, options)
    head = opening(task, options) or (task.prefix if options.prefix == "task" else "")
    start = len(head) + 1 if head else 0  # with the space or line break behind it
    return text[:start], text[start:]


def _tokens(lm: FrozenLM, end: Any) -> dict[str, Any]:
    """The tokens by which the model begins, fills and ends answers."""
    with plain_greedy(lm.model, lm.text.pad, end):
        config = lm.model.generation_config
        names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
        return {name: found for name in names if (found := getattr(config, name, None)) is not None}
