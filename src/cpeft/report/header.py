"""The facts of a store: what ran on what, with which weights, rows and programs, for how long, and for how much electricity."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cpeft.report.sections.energy import bill
from cpeft.report.study import Study, distinct
from cpeft.store.result import DataInfo, RunResult

SHORT = 12  # digits of a hash that are shown; all of them stand in the title


class Fact(NamedTuple):
    text: str
    title: str = ""


def head_facts(study: Study) -> dict[str, list[Fact]]:
    """What all of this is about, as short texts by heading."""
    results = study.results
    count = len(study.comparisons)
    compared = [f"{count} comparison{'s' * (count > 1)} of prompts"] * (count > 0)
    hours = {what: sum(getattr(result.seconds, what) for result in results) / 3600 for what in ("training", "scoring")}
    return {
        "Runs": _plain([f"{len(results)} finished", *compared]),
        "Tasks": _plain(task for result in results for task in result.tasks),
        "Methods": _plain(study.labels),
        "Seeds": _plain(str(seed) for seed in sorted({result.seed for result in results})),
        "Model": distinct(_model(result) for result in results),
        "Data": distinct(_data(task, about) for result in results for task, about in result.data.items()),
        "Machine": _plain(machine(result.hardware) for result in results),
        "Versions": _plain(sorted({f"{name} {version}" for r in results for name, version in r.versions.items()})),
        "Hours": _plain(f"{spent:.1f} of {what}" for what, spent in hours.items()),
        "Electricity": _plain([bill(study).summary]),
        "Results written": _plain([_written(study)]),
    }  # fmt: skip


def _plain(texts: Iterable[str]) -> list[Fact]:
    return [Fact(text) for text in distinct(texts)]


def _model(result: RunResult) -> Fact:
    model, weights = result.model, result.weights
    known = {"weights": weights, "embeddings": model.embedding, "revision": model.revision}
    title = ", ".join(f"{what} {identity}" for what, identity in known.items() if identity)
    hashed = f"weights {short(weights)}" if weights else "weights not written down"
    return Fact(f"{Path(model.name).name} ({model.dtype}, {hashed})", title)


def _data(task: str, about: DataInfo) -> Fact:
    fingerprint = about.fingerprint
    title = f"rows {fingerprint or 'not hashed'}, text of version {about.version}, from {about.origin}"
    return Fact(f"{task} {short(fingerprint)}" if fingerprint else f"{task} (rows not hashed)", title)


def short(identity: str) -> str:
    """The first digits of a hash; a name, such as a revision, as it is."""
    return identity[:SHORT] if len(identity) == 64 else identity


def machine(hardware: Mapping[str, Any]) -> str:
    """All that a result says of its machine."""
    known = {key: value for key, value in hardware.items() if value is not None}
    chips = [str(known.pop(kind)) for kind in ("gpu", "cpu") if kind in known] or ["CPU"]
    place = " ".join(str(known.pop(key)) for key in ("system", "machine") if key in known)
    threads = known.pop("threads", None)
    counted = [f"{threads} thread{'s' * (threads > 1)}"] if threads else []
    return ", ".join([*chips, place, *counted, *(f"{key} {value}" for key, value in known.items())])


def _written(study: Study) -> str:
    times = [datetime.fromtimestamp(run.folder.result_path.stat().st_mtime, UTC) for run in study.runs]
    first, last = (f"{moment:%Y-%m-%d %H:%M}" for moment in (min(times), max(times)))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"
