"""From what `cpeft serve` is given (prompt folders, runs, stores, globs, NAME=FOLDER, NAME=FORMULA) to prompts with names.

A run whose method reads the input (ATTEMPT) is served as a whole, of any other run its saved prompts.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from glob import glob, has_magic
from itertools import takewhile
from pathlib import Path

import torch

from cpeft.config import digest, parse
from cpeft.data.options import DataOptions, Form
from cpeft.errors import ConfigError, CpeftError, PromptError
from cpeft.evaluation.decoding import new_tokens
from cpeft.evaluation.row_text import content_free
from cpeft.methods.base import METHODS, MethodInputs
from cpeft.methods.no_prompt import NoPrompt
from cpeft.models.fast.packed_llama import LEAD
from cpeft.models.loading import FrozenLM
from cpeft.models.mixed import RowPrompt
from cpeft.models.prompted import PromptedLM
from cpeft.models.saved import read_card
from cpeft.options.evaluation import EvalOptions
from cpeft.options.method import NoPromptOptions
from cpeft.prompts.formula.evaluate import compose_files
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt, matrix_hash
from cpeft.store.run_folder import METHOD_CARD, RunFolder, Store, saved_prompts
from cpeft.tasks.base import TASKS, Task
from cpeft.tasks.custom import find_task
from cpeft.use.calibration import read_calibration
from cpeft.use.target import RowReader, Subject, load_subject, model_of_prompt, prompts_subject

NAMED = re.compile(r"(?P<name>[^\s/='\"]+)=(?P<what>.+)", re.DOTALL)
GOOD_NAME = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True, eq=False)
class ServedPrompt:
    """A prompt for one task under the name that clients use; `index` is the task's place in the run, `hash` changes with the
    prompt's content. The base model is a prompt of no rows and has no `reader`; a run served as a whole is no `soft` prompt.

    `lead` are the tokens that every row of the task begins with, empty on encoder-decoder models: they are read once, with the
    prompt. `kind` is equal for prompts whose rows may share a batch on a model without a packed form. Scores of labels are
    divided by the `temperature`, None where none was fitted (`cpeft calibrate`)."""

    name: str
    subject: Subject
    index: int
    reader: RowReader | None
    hash: str
    lead: tuple[int, ...] = ()
    soft: SoftPrompt | None = None
    kind: str = ""
    temperature: float | None = None

    @property
    def learner(self) -> PromptedLM:
        return self.subject.learner

    @property
    def task(self) -> Task | None:
        return self.reader.task if self.reader else None

    @cached_property
    def answer_tokens(self) -> int:
        """The most tokens of an answer to a row of the task."""
        assert self.reader is not None
        return new_tokens(self.reader.codec, self.reader.closed, self.subject.eval)

    @cached_property
    def ways(self) -> tuple[RowPrompt, ...]:
        """The prompt with the lead behind it, and without; nothing where the method reads the input."""
        method, lm = self.learner.method, self.learner.lm
        if method.reads_input:
            return ()
        task_B, nothing = torch.tensor([self.index]), torch.zeros(1, 1, lm.width)
        prompt_PD = self.learner.prompts(nothing, nothing[..., 0] == 0, task_B).prompt_BPD[0].detach()
        lead_LD = lm.embed(torch.tensor(self.lead, dtype=torch.long))
        led_PD = torch.cat([prompt_PD.to(lead_LD.dtype), lead_LD])
        plain = RowPrompt(led_PD[: len(prompt_PD)], (self.hash, self.index))  # a view: a prompt is held once
        return RowPrompt(led_PD, (self.hash, self.index, self.lead)), plain

    def before(self, ids: Sequence[int]) -> tuple[RowPrompt, Sequence[int]]:
        """What stands before a row's token ids, and the ids that are left to read. Not for methods that read the input."""
        led, plain = self.ways
        count = len(self.lead)
        if count and len(ids) > count and tuple(ids[:count]) == self.lead:
            return led, ids[count:]
        return plain, ids


def together(prompts: Sequence[ServedPrompt], lm: FrozenLM) -> tuple[PromptedLM, list[int]]:
    """A learner that has all of these prompts of one kind, and the index of each."""
    first = prompts[0]
    different = {each.name: each.soft for each in prompts if each.soft}
    if len(different) < 2:
        return first.learner, [each.index for each in prompts]
    names = list(different)
    return prompts_subject(different, lm=lm).learner, [names.index(each.name) for each in prompts]


def _content(prompt: SoftPrompt, options: EvalOptions) -> str:
    """Changes with whatever changes an answer behind the prompt."""
    return digest([matrix_hash(prompt.weight), prompt.provenance.text, options.model_dump()])[:16]


def _kind(prompt: SoftPrompt, options: EvalOptions) -> str:
    """Equal for prompts of one length whose rows have the same text and whose answers are read the same way."""
    data = parse(DataOptions, prompt.provenance.text, "data")
    subset = prompt.provenance.seeds.get("subset", 0) if data.examples else 0
    cues = [data.cue_for(True), data.cue_for(False)]
    return digest([prompt.length, data.text | {"cue": cues}, subset, options.model_dump()])


def base_prompt(lm: FrozenLM) -> ServedPrompt:
    """The model without a prompt, under the last part of its name."""
    method = NoPrompt(NoPromptOptions(name="no_prompt"), MethodInputs(("",), torch.zeros(0, lm.width)))
    form: Form = "chat" if lm.tokenizer.chat_template else "fields"
    learner = PromptedLM(lm, method, DataOptions(form=form))
    return ServedPrompt(Path(lm.name).name, Subject(learner), 0, None, lm.fingerprint[:16])


def _lead(reader: RowReader, learner: PromptedLM) -> tuple[int, ...]:
    """What all rows of a task begin with, as its rows without content do; empty where it is too short to matter."""
    if learner.lm.encoder_decoder or learner.method.reads_input:
        return ()
    rows = [row.source for row in content_free(reader.task, reader.options, reader.codec, reader.shown)]
    common = [tokens[0] for tokens in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*rows, strict=False))]
    return tuple(common) if len(common) >= LEAD else ()


@dataclass(frozen=True)
class _Found:
    """Something to serve, not yet on a model: a `prompt`, or a run folder at `path` where it is None."""

    name: str
    path: str
    prompt: SoftPrompt | None = None
    eval: EvalOptions = field(default_factory=EvalOptions)


def load_prompts(
    texts: Sequence[str], model: str | None = None, tasks: Sequence[str] = ()
) -> tuple[FrozenLM, dict[str, ServedPrompt]]:
    """The model, loaded once, and every prompt by name. `tasks` are TOML files of users' own tasks, or NAME=TASK for a prompt
    that does not record its task. Without `texts` there are no prompts yet, and `model` is needed.

    Raises ConfigError with a line for each prompt that cannot be served, and what loading the model raises."""
    problems: list[str] = []
    found = [each for text in texts for each in _collected(text, problems)]
    _check_names([each.name for each in found], problems)
    if problems:
        raise ConfigError("\n".join(problems))
    lm = _model(found, model)
    given, served = _Tasks(tasks), dict[str, ServedPrompt]()
    for each in found:
        try:
            served |= {one.name: one for one in given.of(each, _subject(each, lm))}
        except CpeftError as error:
            problems.append(f"{each.name}: {error}")
    problems += [f"--task {name}=...: no prompt of this name is served" for name in given.unused]
    if problems:
        raise ConfigError("\n".join(problems))
    return lm, served


def _model(found: Sequence[_Found], model: str | None) -> FrozenLM:
    if found and found[0].prompt is None:
        return load_subject(found[0].path, model).learner.lm
    if not found and model is None:
        raise ConfigError("no prompts to serve: give some, or --model for those of --prompt-root and --watch")
    return model_of_prompt(found[0].prompt.provenance if found and found[0].prompt else Provenance(), model)


def load_one(lm: FrozenLM, name: str, folder: Path, tasks: Sequence[str] = ()) -> dict[str, ServedPrompt]:
    """What a folder holds, a prompt or a run, under a name; raises CpeftError where it cannot be served on `lm`."""
    given, served = _Tasks(tasks), dict[str, ServedPrompt]()
    for found in _at(str(folder), name):
        served |= {one.name: one for one in given.of(found, _subject(found, lm))}
    return served


def _collected(text: str, problems: list[str]) -> Iterator[_Found]:
    named = None if os.path.exists(text) else NAMED.fullmatch(text)
    name, what = (named["name"], named["what"]) if named else (None, text)
    paths = sorted(glob(what)) if has_magic(what) and not os.path.exists(what) else [what]
    try:
        if not paths:
            raise PromptError(f"'{what}' matches no file or folder")
        for path in paths:
            yield from _at(path, name)
    except CpeftError as error:
        problems.append(str(error))


def _at(path: str, name: str | None) -> Iterator[_Found]:
    """What a path or a formula stands for."""
    place = Path(path)
    if os.path.exists(RunFolder(place).method_path / METHOD_CARD):
        yield from _of_run(RunFolder(place), name or place.resolve().name)
    elif not os.path.isdir(path) or {"cpeft.json", "adapter_config.json"} & set(os.listdir(path)):
        yield _Found(name or place.resolve().stem, path, compose_files(path))
    elif name is not None:
        raise PromptError(f"'{path}' is neither a prompt nor a run, so it cannot be served as '{name}'")
    elif runs := list(Store(path).runs()):
        for run in (run for run in runs if run.done and run.method_path.exists()):
            yield from _of_run(run, f"{run.path.parent.name}/{run.path.name}")
    elif saved := saved_prompts(place):
        for folder in saved:
            yield _Found(str(folder.relative_to(place)), str(folder), compose_files(str(folder)))
    else:
        raise PromptError(f"'{path}' has no prompts in it")


def _of_run(run: RunFolder, name: str) -> Iterator[_Found]:
    card = read_card(run.method_path)
    method = card["options"]["name"]
    if METHODS.get(method).changes_model:
        raise PromptError(
            f"{run.path}: method '{method}' changes the model, which all prompts of a server share; serve prompts alone"
        )
    options = parse(EvalOptions, card.get("eval", {}), "eval", run.method_path / METHOD_CARD)
    saved = saved_prompts(run.prompts_path)
    if METHODS.get(method).reads_input or not saved:
        yield _Found(name, str(run.path))
        return
    for folder in saved:
        own = name if len(saved) == 1 else f"{name}/{folder.name}"
        yield _Found(own, str(folder), compose_files(str(folder)), options)


def _check_names(names: Sequence[str], problems: list[str]) -> None:
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            problems.append(f"{names.count(name)} prompts are called '{name}': name them with NAME=FOLDER")
        if not GOOD_NAME.fullmatch(name):
            problems.append(f"{name[:40]!r} cannot be a name (white space, or over 200 characters): use NAME=FOLDER")


def _subject(found: _Found, lm: FrozenLM) -> Subject:
    if found.prompt is None:
        return load_subject(found.path, lm=lm)
    return replace(prompts_subject({found.name: found.prompt}, lm=lm), eval=found.eval)


class _Tasks:
    """The task of every prompt, as recorded or as `--task` says."""

    def __init__(self, given: Sequence[str]) -> None:
        pairs = [text.partition("=") for text in given]
        self.by_prompt = {name: task for name, equals, task in pairs if equals}
        self.files = {find_task(text).name: text for text, equals, _ in pairs if not equals}
        self.unused = set(self.by_prompt)

    def of(self, found: _Found, subject: Subject) -> Iterator[ServedPrompt]:
        """A served prompt for each task; where there are several, a task is a part of the name."""
        self.unused.discard(found.name)
        tasks = self._recorded(found, subject)
        prompt = found.prompt
        content = subject.digest()[:16] if prompt is None else _content(prompt, found.eval)
        for task in tasks:
            reader = subject.reader(self.files.get(task, task))
            name = found.name if len(tasks) == 1 else f"{found.name}/{reader.task.name}"
            lead = _lead(reader, subject.learner)
            kind = _kind(prompt, found.eval) if prompt else name
            fitted = read_calibration(Path(found.path)) if os.path.isdir(found.path) else None
            t = fitted.temperature if fitted and fitted.task == reader.task.name else None
            version = digest([content, t])[:16]
            yield ServedPrompt(name, subject, subject.index(reader.task), reader, version, lead, prompt, kind, t)

    def _recorded(self, found: _Found, subject: Subject) -> Sequence[str]:
        if found.name in self.by_prompt:
            return [self.by_prompt[found.name]]
        method = subject.learner.method
        tasks = method.tasks if found.prompt is None else found.prompt.provenance.task.split("+")
        unknown = [task for task in tasks if not task or (task not in self.files and task not in TASKS)]
        if unknown:
            raise ConfigError(
                f"its task '{unknown[0]}' is unknown here: give the task's file, --task FILE.toml, or --task {found.name}=TASK"
            )
        return list(tasks)
