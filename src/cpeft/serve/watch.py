"""Watching folders of prompts: what appears is served, what changes is replaced, what is removed is served no longer.

A folder that cannot be read is refused with a line in the log, and the prompt that stood under its name stays.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpeft.errors import CpeftError, PromptError
from cpeft.serve.catalogue import Catalogue
from cpeft.serve.prompts import ServedPrompt, load_one
from cpeft.serve.root import PromptRoot, stamp

EVERY_S = 0.5

logger = logging.getLogger("cpeft.serve")


class Watcher:
    """Keeps the prompts of `sources`, functions that return folders by name, in a catalogue. `tasks` as in `load_prompts`."""

    def __init__(
        self, catalogue: Catalogue, sources: Mapping[str, Callable[[], dict[str, Path]]], tasks: Sequence[str] = ()
    ) -> None:
        self.catalogue, self.sources, self.tasks = catalogue, dict(sources), list(tasks)
        self._seen: dict[tuple[str, str], Any] = {}  # by source and name: the state of the folder when it was last read
        self._prompts: dict[str, dict[str, dict[str, ServedPrompt]]] = {source: {} for source in sources}
        self._looking, self._end = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="cpeft-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(EVERY_S):
            self.look()

    def look(self) -> None:
        """Bring the catalogue up to date with the folders now."""
        with self._looking:
            for source, folders in self.sources.items():
                try:
                    found = folders()
                except OSError as error:
                    logger.warning("%s cannot be read: %s", source, error)
                    continue
                if self._read(source, found):
                    prompts = [one for each in self._prompts[source].values() for one in each.values()]
                    self.catalogue.put(source, {one.name: one for one in prompts})

    def _read(self, source: str, found: Mapping[str, Path]) -> bool:
        """Read the folders that changed; whether any prompt did."""
        prompts, changed = self._prompts[source], False
        for name in set(prompts) - set(found):
            del prompts[name]
            changed = True
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] != source or key[1] in found}
        same: dict[Path, dict[str, ServedPrompt]] = {}  # a name and its version are one folder
        for name, folder in found.items():
            state = stamp(folder)
            if self._seen.get((source, name)) == state:
                continue
            self._seen[source, name] = state
            try:
                if folder not in same:
                    same[folder] = load_one(self.catalogue.lm, name, folder, self.tasks)
                prompts[name] = _renamed(same[folder], name)
                changed = True
            except (CpeftError, OSError) as error:
                logger.warning("prompt '%s' is not replaced: %s", name, error)
        return changed


def _renamed(prompts: Mapping[str, ServedPrompt], name: str) -> dict[str, ServedPrompt]:
    """The prompts of a folder under another name; a part for the task stays behind it."""
    found = {}
    for each in prompts.values():
        own = name if len(prompts) == 1 or each.task is None else f"{name}/{each.task.name}"
        found[own] = replace(each, name=own)
    return found


class RootAdmin:
    """What admin calls do with a prompt root; the watcher brings it into the catalogue here and in every other replica."""

    def __init__(self, root: PromptRoot, watcher: Watcher) -> None:
        self.root, self.watcher = root, watcher

    def post(self, name: str, folder: str | None, version: str | None) -> dict[str, Any]:
        """Serve a folder below the root, or an earlier version, under a name; raises CpeftError and changes nothing where it
        cannot be served."""
        catalogue = self.watcher.catalogue
        if catalogue.is_fixed(name):
            raise PromptError(f"the server was started with a prompt '{name}', which stays")
        if version is not None:
            self.root.choose(name, version)
        else:
            with self.root.copied(str(folder)) as copy:
                try:
                    load_one(catalogue.lm, name, copy, self.watcher.tasks)
                except CpeftError as error:
                    raise PromptError(str(error).replace(str(copy), "the folder")) from None
                version = self.root.add(name, copy)
        self.watcher.look()
        versions = self.root.versions(name)
        return {"id": name, "version": version, "versions": versions, "generation": catalogue.generation}

    def delete(self, name: str) -> bool:
        """Serve a name no longer; whether it was served."""
        served = self.root.remove(name)
        self.watcher.look()
        return served
