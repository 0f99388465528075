"""Registries: names of tasks, methods, metrics, ... to the objects that do the work.

A registry owns a package and reads every module in and below it at first use, so adding a thing is one file with one
decorator and no other file changes. Packages outside ours join through entry points of the same group name.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from cpeft.errors import UnknownName

T = TypeVar("T")


def suggest(name: str, known: list[str]) -> str:
    """`, did you mean 'x'?`, or the known names where none is close."""
    return closest(name, known) or f"; known: {', '.join(sorted(known)) or 'none'}"


def closest(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?`, ignoring case and surrounding spaces; empty where no known name is close."""
    forms = {each.strip().casefold(): each for each in known}
    found = get_close_matches(name.strip().casefold(), forms, n=1)
    return f", did you mean '{forms[found[0]]}'?" if found else ""


class Registry(Generic[T]):
    """Names to objects of one kind.

    `kind` is the word used in messages; `packages` are the packages whose modules register themselves, or single modules. Other
    distributions use the entry point group `cpeft.<kind>s`: each entry names an object, registered under the entry's name.
    """

    def __init__(self, kind: str, *packages: str) -> None:
        self.kind = kind
        self.packages = packages
        self._items: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: make an object known by `name`."""
        return partial(self.add, name)

    def add(self, name: str, item: T) -> T:
        if name in self._items and self._items[name] is not item:
            raise UnknownName(f"{self.kind} '{name}' is registered twice")
        self._items[name] = item
        return item

    def get(self, name: str) -> T:
        """The object called `name`; raises UnknownName with the closest known name."""
        if name not in self:
            raise UnknownName(f"unknown {self.kind} '{name}'{suggest(name, self.names())}")
        return self._items[name]

    def names(self) -> list[str]:
        self._load()
        return sorted(self._items)

    def items(self) -> list[tuple[str, T]]:
        return [(name, self._items[name]) for name in self.names()]

    def __contains__(self, name: str) -> bool:
        self._load()
        return name in self._items

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for name in self.packages:
            package: Any = importlib.import_module(name)
            for module in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{name}."):
                importlib.import_module(module.name)
        for point in entry_points(group=f"cpeft.{self.kind}s"):
            self.add(point.name, point.load())
