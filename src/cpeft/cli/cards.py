"""Cards of `cpeft show` for people: the provenance of a prompt, the record of a run. `--json` prints all of either."""

from collections.abc import Iterator, Mapping
from typing import Any

Card = Mapping[str, Any]
Line = tuple[str, str]  # what, and its value; lines without a value are left out


def prompt_lines(card: Card) -> list[Line]:
    """Lines about a prompt or the value of a formula."""
    text = ", ".join(f"{name} = {value}" for name, value in card["text"].items() if value is not None)
    moved = card.get("distance_from_origin")
    norms = f"mean norm {card['row_norm_mean']:.3g}, largest {card['row_norm_max']:.3g}"
    return _given(
        ("rows", f"{card['rows']} of width {card['width']}, {norms}"),
        ("formula", card["formula"]),
        ("task", card["task"]),
        ("method", card["method"]),
        ("began from", card["init"]),
        (
            "moved",
            "" if moved is None else f"{moved:.3g}, {card['distance_over_origin_norm']:.3g} of the norm of its origin",
        ),
        ("scores", ", ".join(f"{name} {value:.2f}" for name, value in card["scores"].items())),
        ("run", card["run"]),
        ("model", " ".join(filter(None, (card["model"], card["revision"], card["dtype"])))),
        ("embeddings", card["embedding"][:12]),
        ("text", text),
        ("made with", _versions(card["versions"])),
        ("note", card["note"]),
    )


def run_lines(card: Card) -> list[Line]:
    """Lines about a finished run."""
    data = [
        f"{task} version {about['version']}, rows {'/'.join(str(n) for n in about['rows'].values())} from {about['origin']}"
        for task, about in card["data"].items()
    ]
    model, hardware = card.get("model") or {}, card.get("hardware") or {}
    place = " ".join(str(hardware[key]) for key in ("system", "machine", "gpu") if hardware.get(key))
    return _given(
        ("run", card["run"]),
        ("id", card["id"]),
        *(("data", each) for each in data),
        ("model", " ".join(filter(None, (model.get("name"), model.get("revision"), model.get("dtype"))))),
        ("sources", ", ".join(card.get("sources", ()))),
        *(("settings", each) for each in _settings(card["settings"])),
        ("made with", _versions(card["versions"])),
        ("made on", f"{place}, {hardware['threads']} threads" if place else ""),
        ("again", card["again"] or card.get("why", "")),
    )


def _given(*lines: Line) -> list[Line]:
    return [(what, value) for what, value in lines if value]


def _versions(versions: Card) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _settings(table: Card, above: str = "") -> Iterator[str]:
    """Settings as overrides: `train.steps = 100`."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{above}{name}.")
        elif name != "tasks":
            yield f"{above}{name} = {value}"
