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

    def is_fixed(self, name: str) -> bool:
        """Whether the server was started with a prompt of this name."""
        return name in self._sources[""]

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
        """The names without those of versions."""
        yield from (name for name in self.prompts if "@" not in name)
        if self.base.name not in self.prompts:
            yield self.base.name

    def lines(self) -> str:
        """One line for each prompt: its name, its task and its labels."""
        prompts = ((name, each.reader) for name, each in self.prompts.items() if each.reader and "@" not in name)
        return "\n".join(f"  {name}: {r.task.name} ({', '.join(r.labels) or 'open answers'})" for name, r in prompts)

    def described(self) -> list[dict[str, Any]]:
        """What clients may know of every prompt and of the base model: name, base model, task, columns of a row, labels, hash
        of its content, versions in the prompt root."""
        parent = Path(self.lm.name).name
        found = []
        for name in self.names():
            each = self.find(name)
            assert each is not None
            task, reader = each.task, each.reader
            name_of_task, columns = (task.name, list(task.shown)) if task else (None, [])
            labels = list(reader.labels) if reader else []
            about = {"task": name_of_task, "columns": columns, "labels": labels}
            versions = [other.partition("@")[2] for other in self.prompts if other.startswith(f"{name}@")]
            content = {"hash": each.hash, "calibrated": each.temperature is not None, "versions": versions}
            found.append({"id": name, "parent": parent, **about, **content})
        return found
