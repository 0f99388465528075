"""The prompts that a server answers with, by name, while they come and go.

A request looks its prompts up once and keeps them, so it ends with what it began with.
"""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cpeft.config import digest
from cpeft.models.loading import FrozenLM
from cpeft.serve.prompts import ServedPrompt, base_prompt


class Catalogue:
    """Prompts by name, those that the server was started with and those of other sources. A name is a prompt's, the base
    model's, or `NAME@HASH` for one version of a prompt."""

    def __init__(self, lm: FrozenLM, fixed: Mapping[str, ServedPrompt]) -> None:
        self.lm, self.base = lm, base_prompt(lm)
        self._changing = threading.Lock()
        self._sources: dict[str, Mapping[str, ServedPrompt]] = {"": dict(fixed)}
        self._join()

    def put(self, source: str, prompts: Mapping[str, ServedPrompt]) -> None:
        """Replace all prompts of a source."""
        with self._changing:
            self._sources[source] = dict(prompts)
            self._join()

    def _join(self) -> None:
        """One mapping from all, replaced as a whole: who reads meanwhile sees one state or the other."""
        prompts: dict[str, ServedPrompt] = {}
        for each in reversed(self._sources.values()):
            prompts |= each
        self.generation = digest(sorted((name, each.hash) for name, each in prompts.items()))[:12]
        self.prompts = prompts

    def find(self, name: str) -> ServedPrompt | None:
        """The prompt of a name, or None."""
        prompts = self.prompts
        if found := prompts.get(name):
            return found
        plain, at, version = name.rpartition("@")
        found = prompts.get(plain) if at else None
        if found and found.hash == version:
            return found
        return self.base if name == self.base.name else None

    def names(self) -> Iterator[str]:
        yield from self.prompts
        if self.base.name not in self.prompts:
            yield self.base.name

    def described(self) -> list[dict[str, Any]]:
        """What clients may know of every prompt and of the base model: name, base model, task, columns of a row, labels, hash
        of its content."""
        parent = Path(self.lm.name).name
        found = []
        for name in self.names():
            each = self.find(name)
            assert each is not None
            task, reader = each.task, each.reader
            name_of_task, columns = (task.name, list(task.shown)) if task else (None, [])
            labels = list(reader.labels) if reader else []
            about = {"task": name_of_task, "columns": columns, "labels": labels}
            found.append({"id": name, "parent": parent, **about, "hash": each.hash})
        return found
