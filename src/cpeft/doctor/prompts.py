"""Checks of prompts: untrained rows, rows that the model never reads, the table of another model."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cpeft.data.encode import Batch, collate
from cpeft.data.rows import EncodedRow
from cpeft.errors import ConfigError, CpeftError, MissingModel, PromptError, PromptMismatch
from cpeft.models.example_losses import example_losses
from cpeft.models.loading import FrozenLM, load_lm
from cpeft.options.model import ModelOptions
from cpeft.prompts.exchange import load_stored
from cpeft.prompts.formula.evaluate import compose_files, read_items
from cpeft.prompts.similarity import addends, compare, cosine
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.seeds import generator
from cpeft.study.runner.data_check import Finding
from cpeft.study.runner.prepare import same_space
from cpeft.use.target import model_options

Models = Callable[[Provenance], FrozenLM]
NEVER_LEFT = 1 - 1e-5  # cosine with a vocabulary row, in float32, of a row that training only scaled if at all


class PromptCheck:
    """Checks prompts on `model`, else on the model that each prompt names."""

    def __init__(self, model: str | None) -> None:
        self._models = _models(model)

    def of(self, subject: str) -> list[Finding]:
        """Findings about a prompt or a formula of prompts; "nothing wrong" is a finding too."""
        try:
            found = list(_prompt(subject, self._models))
        except CpeftError as error:
            return [Finding("error", subject, str(error))]
        problems = any(finding.level != "note" for finding in found)
        return found if problems else [*found, Finding("ok", subject, "nothing wrong found")]

    def together(self, prompts: Sequence[str]) -> Iterator[Finding]:
        """What several prompts have in common, and how much of that the model never reads."""
        yield from _together(prompts)


def _models(given: str | None) -> Models:
    """What finds the model of a prompt: the one given for all, else the one it names, which is never fetched. It raises
    ConfigError for a prompt that names none, MissingModel for a model that is not here."""
    forced = load_lm(given) if given else None

    @lru_cache(maxsize=1)
    def named(options: ModelOptions) -> FrozenLM:
        return load_lm(options.name, options.revision, options.dtype, fetch=False)

    def model(known: Provenance) -> FrozenLM:
        if forced is None and not known.model:
            raise ConfigError("it names no model")
        return forced or named(model_options(known.model, known.revision, known.dtype))

    return model


def _prompt(where: str, models: Models) -> Iterator[Finding]:
    prompt, dead_ND = load_stored(where) if os.path.exists(where) else (compose_files(where), None)
    norms = prompt.weight.norm(dim=1)
    yield Finding("note", where, f"{prompt.length} rows of width {prompt.width}, norms {_range(norms)}")
    if dead_ND is not None:
        norms = _range(dead_ND.norm(dim=1))
        yield Finding("warning", where, f"{prompt.provenance.note}; norms of the dead rows {norms}")
    elif "never read" in prompt.provenance.note:
        yield Finding("warning", where, prompt.provenance.note)
    if zero := int((prompt.weight.norm(dim=1) == 0).sum()):
        yield Finding("warning", where, f"{zero} of {prompt.length} rows are zero")
    yield from _travelled(where, prompt)
    if repeats := _repeats(prompt):
        yield Finding("warning", where, f"{len(repeats)} rows repeat other rows: {_spans(repeats)}")
    if not prompt.provenance.embedding:
        yield Finding("warning", where, "the prompt does not say which embedding table it was trained on")
    elif not prompt.provenance.tokenizer:
        what = "not checked: tokenizer and chat template, for it does not record which it was trained under; train it again"
        yield Finding("unchecked", where, what)
    yield from _on_its_model(where, prompt, dead_ND, models)


def _travelled(where: str, prompt: SoftPrompt) -> Iterator[Finding]:
    """How far training moved the prompt, and rows that it did not move; nothing for an origin."""
    if prompt.origin is not None:
        moved = (prompt.weight - prompt.origin).norm(dim=1) / prompt.origin.norm(dim=1).clamp_min(1e-12)
        whole = float((prompt.weight - prompt.origin).norm()), float(prompt.origin.norm().clamp_min(1e-12))
        text = f"moved {whole[0]:.4g} from its origin, {whole[0] / whole[1]:.3g} of the origin's norm"
        yield Finding("note", where, f"{text}; each row by {_range(moved)} of its own")
        if dead := int((moved == 0).sum()):
            yield Finding("error", where, f"{dead} of {prompt.length} rows never moved: dead rows")
        elif float(moved.std()) < 1e-7:
            yield Finding("error", where, "all rows moved by one factor: only weight decay touched them")
    elif not prompt.is_origin:
        remedy = "`cpeft import PROMPT FOLDER --origin ORIGIN` records one"
        yield Finding("unchecked", where, f"not checked: how far training moved it, for it records no origin; {remedy}")


def _on_its_model(where: str, prompt: SoftPrompt, dead_ND: Tensor | None, models: Models) -> Iterator[Finding]:
    try:
        lm = models(prompt.provenance)
    except (ConfigError, MissingModel) as error:
        why = str(error) if isinstance(error, ConfigError) else f"its model '{prompt.provenance.model}' is not here"
        yield Finding(
            "unchecked", where, f"not checked: which rows get a gradient, nearest tokens ({why}); give --model"
        )
        return
    try:
        same_space(prompt, where, lm)
    except PromptMismatch as error:
        yield Finding("error", where, str(error))
        return
    yield from _nearest(where, prompt, lm)
    yield from _read_rows(where, prompt, dead_ND, lm)


def _repeats(prompt: SoftPrompt) -> list[int]:
    """Rows that repeat earlier ones."""
    rows = [tuple(row) for row in prompt.weight.tolist()]
    return [i for i, row in enumerate(rows) if rows.index(row) < i]


def _nearest(where: str, prompt: SoftPrompt, lm: FrozenLM) -> Iterator[Finding]:
    """The vocabulary row of the largest cosine for every prompt row; prompt rows that equal one were never trained."""
    table_VD = torch.nn.functional.normalize(lm.vocabulary.table_VD, dim=1)
    best, ids = (torch.nn.functional.normalize(prompt.weight, dim=1) @ table_VD.T).max(dim=1)
    words = lm.tokenizer.convert_ids_to_tokens(ids.tolist())
    rows = enumerate(zip(words, best, prompt.weight.norm(dim=1), strict=True), start=1)
    text = ", ".join(f"{i} {word} {value:.2f} ({norm:.3g})" for i, (word, value, norm) in rows)
    yield Finding("note", where, f"nearest tokens by row, cosine and (norm of the row): {text}")
    still = [i for i, value in enumerate(best.tolist()) if value > NEVER_LEFT]
    if still:  # all rows: an origin
        level: Literal["warning", "note"] = "warning" if len(still) < prompt.length else "note"
        what = f"rows {_spans(still)} are vocabulary rows up to a factor: nothing trained them"
        yield Finding(level, where, f"{what}, or they are the dead half of a doubled prompt")


def _read_rows(where: str, prompt: SoftPrompt, dead_ND: Tensor | None, lm: FrozenLM) -> Iterator[Finding]:
    """The rows that the model reads: those with a gradient of the loss, on random tokens."""
    rng = generator(0, "doctor")
    ids = rng.integers(len(lm.vocabulary.table_VD), size=(4, 12)).tolist()
    batch = collate([EncodedRow(tuple(row[:9]), tuple(row[9:])) for row in ids], lm.text.pad or 0).to(lm.device)
    if dead_ND is not None and find_spec("peft"):
        try:
            gradient_PD, how = _gradient_by_peft(where, lm, batch), "as peft runs it, the gradient"
        except PromptError as error:
            yield Finding("error", where, str(error))
            return
    else:
        prompt_PD = prompt.weight.to(lm.device).requires_grad_()
        x_BLD = lm.embed(batch.source_BL)
        one_B = torch.zeros(len(batch), dtype=torch.long, device=lm.device)
        loss = example_losses(lm, prompt_PD.expand(len(batch), -1, -1), x_BLD, batch, alike_B=one_B).sum()
        gradient_PD, how = torch.autograd.grad(loss, prompt_PD)[0], "the gradient"
    norms = gradient_PD.float().norm(dim=1)
    reached, silent = ([i for i, norm in enumerate(norms.tolist()) if bool(norm) is there] for there in (True, False))
    text = f"{how} on {lm.name} reaches rows {_spans(reached)} of {len(norms)}"
    if silent:
        own = any(i < prompt.length for i in silent)
        yield Finding("error" if own else "warning", where, f"{text}; rows {_spans(silent)} are dead")
    else:
        yield Finding("note", where, f"{text}, norms {_range(norms)}")


def _gradient_by_peft(folder: str, lm: FrozenLM, batch: Batch) -> Tensor:
    """The gradient of all stored rows in the program that stored them; only encoder-decoder prompts are doubled. Raises
    PromptError where it does not load them."""
    import peft

    try:
        theirs: Any = peft.PeftModel.from_pretrained(lm.model, folder)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise PromptError(f"peft does not load this prompt: {reason}; adapter_config.json belongs to another") from None
    rows_ND = theirs.prompt_encoder["default"].embedding.weight.requires_grad_()
    loss = theirs(input_ids=batch.source_BL, attention_mask=batch.mask_BL.long(), labels=batch.target_BT).loss
    gradient_ND: Tensor = torch.autograd.grad(loss, rows_ND)[0]
    return gradient_ND


def _together(prompts: Sequence[str]) -> Iterator[Finding]:
    """What several prompts have in common, and how much of that the model never reads."""
    try:
        items = read_items(prompts)
        if len(items) < 2:
            return
        live = compare(items).matrices["flattened"][np.triu_indices(len(items), 1)]
    except PromptMismatch as error:
        yield Finding("note", "together", f"not compared: {error}")
        return
    except CpeftError:
        return  # reported for the prompt itself
    yield Finding("note", "together", f"flattened cosine of the live rows of {len(live)} pairs: {_range(live)}")
    doubled = [item for item in items if item.dead_ND is not None]
    pairs = [(a, b) for a, b in combinations(doubled, 2)]
    if pairs:
        of_live, of_dead = np.mean([addends(a, b) for a, b in pairs], axis=0).tolist()
        alone = float(np.mean([cosine(a.live_PD, b.live_PD) for a, b in pairs]))
        what = (
            f"flattened cosine of all stored rows, mean of {len(pairs)} pairs: {of_live + of_dead:.3f}, of which {of_dead:.3f} "
            f"comes from rows the model never reads; live rows alone {alone:.3f}"
        )
        dead = [cosine(*(item.matrix("all")[len(item.live_PD) :] for item in pair)) for pair in pairs]
        origins = f"; {sum(value > NEVER_LEFT for value in dead)} pairs have the same dead rows, so the same origin"
        yield Finding("warning", "together", what + origins)


def _range(values: Tensor | np.ndarray) -> str:
    low, middle, high = np.quantile(np.asarray(values), (0, 0.5, 1)).tolist()
    return f"{low:.3g} to {high:.3g} (median {middle:.3g})"


def _spans(rows: Sequence[int]) -> str:
    """Row numbers, counted from 1: `1-4, 7`."""
    starts = [i for i in rows if i - 1 not in rows]
    ends = [i for i in rows if i + 1 not in rows]
    return ", ".join(f"{a + 1}-{b + 1}" if b > a else str(a + 1) for a, b in zip(starts, ends, strict=True)) or "none"
