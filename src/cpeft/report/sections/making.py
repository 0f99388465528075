"""How a store was made: models, machines, commands, recipes, settings and data, to do it again."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpeft.report.header import head_facts, short
from cpeft.report.render.numbers import cell, columns, header
from cpeft.report.render.table import Part, Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Study, distinct
from cpeft.store.result import DataInfo

DEFAULT = "default"
Settings = dict[Path, dict[str, str]]  # of every run, by its folder


@section("making", "Reproduce", 180)
def making(page: Page) -> dict[str, Any] | None:
    """What ran on what, settings, data and commands: what it takes to do this again."""
    study = page.study
    if not study.runs:
        return None
    settings = {run.folder.path: run.settings for run in study.runs}
    texts = {
        key: {of_run.get(key, DEFAULT) for of_run in settings.values()}
        for key in sorted({key for of_run in settings.values() for key in of_run})
    }
    return {
        "facts": head_facts(study),
        "store": shlex.quote(str(study.store.path)),
        "command": page.command,
        "recipes": [(each.recipe, each.command(study.store.path), each.files) for each in study.manifests],
        "common": [(key, *values) for key, values in texts.items() if len(values) == 1],
        "differing": _differing(study, settings, [key for key, values in texts.items() if len(values) > 1]),
        "data": _data(study),
        "notes": distinct(note for result in study.results for note in result.notes),
    }


def _differing(study: Study, settings: Settings, keys: Sequence[str]) -> Table:
    """The settings of the keys, by stage and method."""
    rows = []
    for (stage, label), runs in study.groups.items():
        values = {key: distinct(settings[run.folder.path].get(key, DEFAULT) for run in runs) for key in keys}
        shown = [Part(f"{key} = {' | '.join(found)}", "code") for key, found in values.items() if found != [DEFAULT]]
        rows.append(Row([cell(stage), header(label), cell(len(runs)), cell(*shown, kind="settings")]))
    caption = "Settings by stage and method, with counts of finished runs"
    return Table(
        "making-1", caption, columns("Stage", "Method", "Runs#", "Settings"), [rows], region="Settings that differ"
    )


def _data(study: Study) -> Table:
    """Where the rows of each task are from, how many there are, and what was done to them."""
    found: dict[str, list[DataInfo]] = {}
    for result in study.results:
        for task, about in result.data.items():
            found.setdefault(task, []).append(about)
    rows = []
    for task, infos in found.items():
        origins = distinct((about.origin, about.fingerprint or "not hashed", about.version) for about in infos)
        hashes = [Part(f"{short(rows_hash)}, text {version}", "line", rows_hash) for _, rows_hash, version in origins]
        counts = distinct(" / ".join(f"{number:,}" for number in about.rows.values()) for about in infos)
        notes = distinct(note for about in infos for note in about.notes)
        places = cell(*(Part(origin, "line") for origin, *_ in origins), kind="reason")
        sizes, remarks = (Part(count, "line") for count in counts), (Part(note, "item") for note in notes)
        rows.append(Row([header(task), places, cell(*hashes), cell(*sizes), cell(*remarks, kind="notes")]))
    caption = "Rows for training, validation and test; several values and notes where stages or seeds differ"
    heads = columns("Task", "From", "Hash of the rows", "Rows", "Notes")
    return Table("making-2", caption, heads, [rows], region="Data")
