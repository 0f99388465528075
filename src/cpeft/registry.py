"""Registries: names of tasks, methods, metrics, ... to the objects that do the work.

A registry owns a package and reads every module in it at first use, so adding a thing is one file with one decorator and
no other file changes. Packages outside ours join through entry points of the same group name.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from cpeft.errors import UnknownName

T = TypeVar("T")


def suggest(name: str, known: list[str]) -> str:
    """`, did you mean 'x'?`, or the known names where none is close."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f", did you mean '{close[0]}'?"
    return f"; known: {', '.join(sorted(known)) or 'none'}"


class Registry(Generic[T]):
    """Names to objects of one kind.

    `kind` is the word used in messages; `package` is the package whose modules register themselves; `group` the entry
    point group that other distributions may use (each entry point names an object, registered under its own name).
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self.group = f"cpeft.{kind}s"
        self._items: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: make an object known by `name`."""

        def add(item: T) -> T:
            self.add(name, item)
            return item

        return add

    def add(self, name: str, item: T) -> None:
        if name in self._items and self._items[name] is not item:
            raise UnknownName(f"{self.kind} '{name}' is registered twice")
        self._items[name] = item

    def get(self, name: str) -> T:
        """The object called `name`; raises UnknownName with the closest known name."""
        self._load()
        if name not in self._items:
            raise UnknownName(f"unknown {self.kind} '{name}'{suggest(name, list(self._items))}")
        return self._items[name]

    def names(self) -> list[str]:
        self._load()
        return sorted(self._items)

    def items(self) -> Iterator[tuple[str, T]]:
        for name in self.names():
            yield name, self._items[name]

    def __contains__(self, name: str) -> bool:
        self._load()
        return name in self._items

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package: Any = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=self.group):
            self.add(point.name, point.load())
