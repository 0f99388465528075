"""Runs of one stage and label that are not seeds of one method, and what each of them is called.

A recipe that is run again with `optim.lr=0.3` on the same store leaves runs that share stage, label, tasks and seeds with
those before. They are named by what they differ in, `prompt tuning · optim.lr=0.3`, and so stand in rows of their own wherever
runs are put together by their labels. What decides a result and is no seed counts: the settings, the model's weights, and the
text and rows of the tasks. Runs that still claim one seed started from other prompts (sources that were made again); only
their ids tell them apart.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from cpeft.options.neutral import is_neutral
from cpeft.store.result import RunResult

SHORT = 8  # digits of a hash that stand in a name
LONG = 60  # letters of a value


class Variant(NamedTuple):
    """A run as far as its name is concerned: `settings` and `content` (the model's weights, text and rows of the tasks) decide
    its result; `seeds` are given ones."""

    stage: str
    label: str
    tasks: tuple[str, ...]
    dtype: str
    seed: int
    settings: Mapping[str, str]
    content: Mapping[str, str]
    seeds: Mapping[str, str]
    identity: str

    @classmethod
    def of(cls, result: RunResult, settings: Mapping[str, str], identity: str) -> "Variant":
        """From a result, and settings as dotted keys and JSON."""
        seeds = {key: value for key, value in settings.items() if key.startswith("seeds.")}
        kept = {key: _plain(value) for key, value in settings.items() if key not in seeds and not is_neutral(key)}
        content = {"weights": result.weights[:SHORT]} if result.weights else {}
        for task, about in result.data.items():
            known = {"version": about.version, "fingerprint": about.fingerprint}
            content |= {f"{task} {key}": str(value)[:SHORT] for key, value in known.items() if value}
        return cls(
            result.stage, result.label, result.tasks, result.model.dtype, result.seed, kept, content, seeds, identity
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {**self.settings, **self.content}


def _plain(value: str) -> str:
    value = value.strip('"')
    return value if len(value) <= LONG else f"{value[:LONG]}…"


def labels_apart(*stores: Sequence[Variant]) -> list[list[str]]:
    """A name for each run of some stores: its label, and behind it what differs from others of its stage, label, tasks and
    dtype in any of them. All runs of a stage and label say the same settings: a method has one name on all of its tasks."""
    members = [member for store in stores for member in store]
    names = [member.label for member in members]
    for places in _groups((member.stage, member.label) for member in members):
        keys = _differing([members[place] for place in places], "facts")
        for place in places:
            names[place] += _settings_text(members[place].facts, keys)
    flat = iter(names)
    return [_by_seed(store, list(islice(flat, len(store)))) for store in stores]


def _by_seed(members: Sequence[Variant], names: list[str]) -> list[str]:
    """Runs that claim one seed, by the seeds that were given, and where these are the same by their ids."""
    for places in _groups((m.stage, name, m.tasks, m.dtype) for m, name in zip(members, names, strict=True)):
        counts = Counter(members[place].seed for place in places)
        twice = [place for place in places if counts[members[place].seed] > 1]
        keys = _differing([members[place] for place in twice], "seeds")
        for place in twice:
            names[place] += _settings_text(members[place].seeds, keys)
    for places in _groups((m.stage, name, m.tasks, m.dtype, m.seed) for m, name in zip(members, names, strict=True)):
        for place in places if len(places) > 1 else ():
            names[place] += f" · run {members[place].identity}"
    return names


def _groups(keys: Iterable[Hashable]) -> list[list[int]]:
    """Places of equal keys."""
    found: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return list(found.values())


def _differing(members: Sequence[Variant], what: str) -> list[str]:
    """The keys in which runs of the same tasks and dtype differ, in the order of their first appearance."""
    found: dict[str, None] = {}
    for places in _groups((member.tasks, member.dtype) for member in members):
        tables = [getattr(members[place], what) for place in places]
        for key in dict.fromkeys(key for table in tables for key in table):
            if len({table.get(key) for table in tables}) > 1:
                found[key] = None
    return list(found)


def _settings_text(facts: Mapping[str, str], keys: Sequence[str]) -> str:
    """The settings of the keys, without those at their defaults."""
    return "".join(f" · {key}={facts[key]}" for key in keys if key in facts)
