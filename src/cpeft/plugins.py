"""Plugins: Python files of a user's own that register methods, metrics, tasks, report sections, launchers or trackers.

A recipe names them (`plugins = ["my_method.py"]`, paths relative to the recipe), and commands take `--plugin FILE`. A plugin is
announced and then executed, once per process. It is one file: its SHA-256 enters the ids of the runs of its recipe and the
versions that results and prompts record; what it imports does not. Packaged recipes and saved prompts cannot name plugins, so
reading what others published executes none of their code.
"""

import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cpeft.errors import ConfigError

KEY = "plugins"  # in a recipe


@dataclass(frozen=True)
class Plugin:
    """A plugin that was executed, and the SHA-256 of the text that was."""

    path: Path
    sha256: str


_loaded: dict[Path, Plugin] = {}


def load_plugins(paths: Iterable[str | Path]) -> tuple[Plugin, ...]:
    """Announce and execute plugins, those already loaded in this process excepted; each once, in order.

    Raises ConfigError for a file that does not exist, cannot be executed, or changed since this process loaded it."""
    return tuple(dict.fromkeys(_load(Path(path).resolve()) for path in paths))


def plugin_versions() -> dict[str, str]:
    """The first twelve digits of the SHA-256 of every plugin of this process, by `plugin NAME`."""
    return {f"plugin {plugin.path.name}": plugin.sha256[:12] for plugin in _loaded.values()}


def check_names_none(card: Mapping[str, Any], file: Path) -> None:
    """Raise ConfigError for a card of a prompt or a method that names plugins."""
    if KEY in card:
        raise ConfigError(
            f"{file}: a saved prompt cannot name plugins; read the plugin, and where you trust it pass it with --plugin"
        )


def _load(path: Path) -> Plugin:
    try:
        text = path.read_bytes()
    except OSError:
        raise ConfigError(f"plugin {path}: no such file, or it cannot be read") from None
    plugin = Plugin(path, hashlib.sha256(text).hexdigest())
    if path in _loaded:
        if _loaded[path] != plugin:
            raise ConfigError(f"plugin {path}: the file changed since this process loaded it; start again")
        return plugin
    print(f"loading plugin {path.name} (sha256 {plugin.sha256[:12]})", file=sys.stderr, flush=True)
    module = ModuleType(f"cpeft_plugin_{path.stem}_{plugin.sha256[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for it
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[module.__name__]
        raise ConfigError(f"plugin {path}: {type(error).__name__}: {error}") from error
    _loaded[path] = plugin
    return plugin
