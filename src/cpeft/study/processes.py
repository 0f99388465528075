"""More processes on one store, on this machine: each works off runs that no other has claimed."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console

from cpeft.errors import Stopped
from cpeft.study.plan import Plan
from cpeft.study.run import run_recipe
from cpeft.study.store import Store
from cpeft.study.tiny import load_sized


@contextmanager
def helpers(count: int, recipe: Path, overrides: Sequence[str], store: Path) -> Iterator[None]:
    """While the block runs, `count` processes beside this one work on the recipe; every process gets its share of the cores.
    At its end they are waited for, and where it fails they are asked to save their step and stop. What they say is in
    STORE/process-N.log."""
    if not count:
        yield
        return
    threads = max((os.cpu_count() or 1) // (count + 1), 1)
    torch.set_num_threads(threads)
    store.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    arguments = [(recipe, list(overrides), store, threads, store / f"process-{i + 1}.log") for i in range(count)]
    children = [spawn.Process(target=_help, args=each, daemon=True) for each in arguments]
    for child in children:
        child.start()
    try:
        yield
    except BaseException:
        for child in children:
            child.terminate()
        raise
    finally:
        for child in children:
            child.join()


def _help(recipe: Path, overrides: list[str], store: Path, threads: int, log: Path) -> None:
    torch.set_num_threads(threads)
    with log.open("a", encoding="utf-8") as file:
        try:
            run_recipe(Plan(load_sized(recipe, overrides), Store(store)), Console(file=file, width=140))
        except Stopped as stop:
            file.write(f"{stop}\n")
