"""Thousands of bad inputs: does the command always end with a result or with one sentence?

    python -m studies.fuzz.fuzz --examples 100000 --seed 1

Every case (`inputs.py`) is written to a folder of its own and given to `cpeft` in this process, on a random model
of one layer that is loaded once. The command must leave with exit code 0, 1, 2 or 3 within a minute; with 2 and 3 it must say
why. Anything else is a fault. Each kind of fault (class of exception, innermost line of cpeft) is printed once, with its first
case. Equal seeds write equal cases.
"""

import argparse
import io
import json
import logging
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import typer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from studies.fuzz.inputs import Case, cases, good_prompt

from cpeft import cli
from cpeft.models import loading
from cpeft.models.tiny import write_tiny

SECONDS = 60  # that one case may take
MEMORY = 12 * 2**30  # bytes of address space, of a process that fuzzes by itself
ROUND = 500  # cases of one seed of hypothesis, which keeps all that it drew
LINES = 12  # that a sentence may have: what is missing for a study is a list


class TooSlow(BaseException):
    """No exception of cpeft's, so that nothing handles it."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, what it printed, what it raised and where, and the seconds it took."""

    code: int | None
    out: str
    err: str
    raised: str
    seconds: float

    def fault(self, command: str) -> str:
        """What is wrong with it, empty where nothing is."""
        if self.raised:
            return self.raised
        if self.code not in (0, 1, 2, 3):
            return f"exit code {self.code}"
        if "Traceback (most recent call last)" in self.out + self.err:
            return "a traceback is printed"
        sentences = [line for line in self.err.splitlines() if "error: " in line]
        if self.code in (2, 3) and not sentences and command != "doctor":
            return f"exit code {self.code} without a sentence"
        if len(self.err.strip().splitlines()) > LINES:
            return "more than a sentence"
        return ""


@dataclass
class Campaign:
    """What many cases came to: outcomes by command and exit code, faults with the first case of each and their number, and
    the slowest case."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[str, tuple[Case, Outcome]] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, tuple[str, ...]] = (0.0, ())

    @property
    def count(self) -> int:
        return self.outcomes.total()

    def take(self, case: Case, outcome: Outcome) -> None:
        command = case.arguments[0]
        self.outcomes[f"{command} {outcome.code}"] += 1
        self.slowest = max(self.slowest, (outcome.seconds, case.arguments))
        if fault := outcome.fault(command):
            self.times[fault] += 1
            self.faults.setdefault(fault, (case, outcome))


def _where(error: BaseException) -> str:
    """The class of an exception and the innermost line of cpeft that it came through."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if f"{os.sep}cpeft{os.sep}" in frame.filename
    ]
    last = frames[-1] if frames else None
    place = f"{last.filename.rpartition('/cpeft/')[2]}:{last.lineno} {last.name}" if last else "outside"
    return f"{type(error).__name__} at {place}: {str(error)[:80]!r}"


def _late(number: int, frame: Any) -> None:
    raise TooSlow(f"more than {SECONDS} s")


def call(arguments: tuple[str, ...]) -> Outcome:
    """The command, in this process."""
    out, err, raised, code = io.StringIO(), io.StringIO(), "", None
    before = sys.argv, signal.signal(signal.SIGALRM, _late)
    sys.argv = ["cpeft", *arguments]
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    started = time.monotonic()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            cli.main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raised = _where(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before[1])
        sys.argv = before[0]
    return Outcome(code, out.getvalue(), err.getvalue(), raised, time.monotonic() - started)


def try_case(case: Case, folder: Path) -> Outcome:
    """The outcome of a case whose files are written to a new folder, which is the current one meanwhile and goes afterwards."""
    folder.mkdir()
    home = Path.cwd()
    try:
        for name, content in case.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        os.chdir(folder)
        return call(tuple(word.replace("@/", f"{folder}/") if "@/" in word else word for word in case.arguments))
    finally:
        os.chdir(home)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def loaded_once(model: str) -> Iterator[None]:
    """Let the tiny model be loaded once per set of options, and the command be built once; all else is as ever."""
    load, kept, build = loading.load_lm, dict[str, Any](), typer.main.get_command

    def known(name: Any, *arguments: Any, **more: Any) -> Any:
        key = repr((arguments, more))
        if str(name) != model:
            return load(name, *arguments, **more)
        if key not in kept:
            kept[key] = load(name, *arguments, **more)
        return kept[key]

    ours = [module for name, module in sys.modules.items() if name.startswith("cpeft")]
    users: list[Any] = [module for module in ours if getattr(module, "load_lm", None) is load]
    for module in users:
        module.load_lm = known
    typer.main.get_command = cache(build)
    try:
        yield
    finally:
        typer.main.get_command = build
        for module in users:
            module.load_lm = load


def fuzz(examples: int, seed: int, place: Path, seconds: float = float("inf"), progress: bool = False) -> Campaign:
    """So many cases of a seed, in rounds; no new round after `seconds`. The tiny model lies in `place`."""
    model = place / "model"
    if not model.exists():
        write_tiny("t5", model)
    import cpeft.doctor.prompts
    import cpeft.use.api
    import cpeft.use.target  # noqa: F401 (all that load models, before they are wrapped)

    good_prompt(str(model))
    campaign, began = Campaign(), time.monotonic()
    with loaded_once(str(model)):
        for number in range(0, examples, ROUND):
            if time.monotonic() - began > seconds:
                break
            _round(campaign, min(ROUND, examples - number), seed * 1_000_000 + number, str(model), place)
            if progress:
                taken = time.monotonic() - began
                print(f"{campaign.count} cases, {taken:.0f} s, {len(campaign.faults)} kinds of fault", flush=True)
    return campaign


def _round(campaign: Campaign, examples: int, seed: int, model: str, place: Path) -> None:
    @seeded(seed)
    @settings(max_examples=examples, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(cases(model))
    def one(case: Case) -> None:
        campaign.take(case, try_case(case, place / f"case-{campaign.count}"))

    one()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no new round after so long")
    parser.add_argument("--keep", type=Path, help="a folder for the files of the first case of every kind of fault")
    options = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1", "TOKENIZERS_PARALLELISM": "false"}
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    with TemporaryDirectory(prefix="cpeft-fuzz-") as place:
        found = fuzz(options.examples, options.seed, Path(place), options.seconds, progress=True)
    for what, count in sorted(found.outcomes.items()):
        print(f"{count:8} {what}")
    print(f"{found.count} cases; the slowest took {found.slowest[0]:.1f} s: {' '.join(found.slowest[1])[:200]}")
    for number, (fault, (case, outcome)) in enumerate(found.faults.items()):
        print(f"FAULT {number}, {found.times[fault]} times: {fault}")
        print(f"    {' '.join(case.arguments)[:300]}\n    {outcome.err[-300:]}")
        if options.keep:
            _keep(options.keep / str(number), fault, case)
    sys.exit(1 if found.faults else 0)


def _keep(folder: Path, fault: str, case: Case) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in case.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "case.json").write_text(json.dumps({"fault": fault, "arguments": case.arguments}), encoding="utf-8")


if __name__ == "__main__":
    main()
