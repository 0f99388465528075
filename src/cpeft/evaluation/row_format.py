"""The text format of a task as plain data, for programs without CPEFT: the text around the fields of a row, and the end of an
answer. A prompt's provenance records it, and the README in its folder is written from it."""

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


def row_format(each: TaskData, learner: PromptedLM, options: EvalOptions) -> dict[str, Any]:
    """The format of one task's rows.

    `before`, `fields`, `behind`: the text before the fields, with the in-context examples of the run; the fields, where each
    {column} is replaced by the row's value; the text after them. `most`: the largest number of tokens of an answer. `tokens`:
    the tokens that begin, pad and end it. `labels`: surface forms to labels, in lower case if `lower`. `special`: whether the
    tokenizer adds special tokens to a text; `ends`: whether the last of them is the end token, which must be removed.
    """
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
        "labels": {surface.lower() if lower else surface: label for surface, label in each.surfaces.items()}
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
    """The text before the fields of a row of a task, and the fields with their columns in braces."""
    columns = [*PLACEHOLDER.findall(task.template), *(column for _, column in task.fields)]
    text = source_of(replace(task, clean=None), {column: f"{{{column}}}" for column in columns}, options)
    head = opening(task, options) or (task.prefix if options.prefix == "task" else "")
    start = len(head) + 1 if head else 0  # with the space or line break after it
    return text[:start], text[start:]


def _tokens(lm: FrozenLM, end: Any) -> dict[str, Any]:
    """The tokens with which the model begins, pads and ends answers."""
    with plain_greedy(lm.model, lm.text.pad, end):
        config = lm.model.generation_config
        names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
        return {name: found for name in names if (found := getattr(config, name, None)) is not None}
