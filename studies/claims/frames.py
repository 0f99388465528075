"""Score frames of studies: as `cpeft report STORE --frame` wrote them, or read from the tables of a study's page.

Every frame has the columns stage, label, task, seed and value; one of a store has those of `cpeft.scores`.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from cpeft.errors import DataError
from cpeft.store.similarity import SavedSimilarity, read_similarity

STUDIES = Path(__file__).parents[1]
TaskSeeds = dict[tuple[str, int], float]  # score by (task, seed)


def committed(study: str, model: str) -> pd.DataFrame | None:
    """The headline scores of a study's store, None before it was run. Raises DataError for scores of another model."""
    path = STUDIES / study / "data" / "scores.parquet"
    if not path.exists():
        return None
    frame = pd.read_parquet(path)
    if not frame["model"].str.contains(model, case=False).all():
        raise DataError(
            f"{path}: not all scores are of {model}, the model that the page names; commit a frame of that alone"
        )
    return tidy(frame)


def compared(study: str, file: str) -> SavedSimilarity | None:
    """What a study's stage `similarity` found, None before it was run."""
    return read_similarity(STUDIES / study / "data" / file)


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """The headline metric of every task; labels without the settings of a grid, which columns hold."""
    frame = frame[frame["headline"]]
    return frame.assign(label=frame["label"].str.replace(r"( \w+=\S+)+$", "", regex=True))


def printed(study: str, every_seed: str = "every seed") -> pd.DataFrame:
    """The scores of single seeds in the tables of a study's README, rounded as printed there; `every_seed` is the head of
    their column."""
    rows = []
    for head, body in tables(study):
        if every_seed in head and "stage" in head:
            at = {name: head.index(name) for name in ("stage", "task")}
            label = next(head.index(name) for name in ("label", "method", "start") if name in head)
            shots = head.index("rows per class") if "rows per class" in head else None
            for row in body:
                values = row[head.index(every_seed)].split()
                about = {name: re.sub(r" \([\d.]+\)$", "", row[place]) for name, place in at.items()}
                about |= {
                    "label": row[label],
                    "shots": None if shots is None or row[shots] == "all" else int(row[shots]),
                }
                rows += [about | {"seed": seed, "value": float(value)} for seed, value in enumerate(values)]
    return pd.DataFrame(rows)


def tables(study: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Heads and rows of the Markdown tables of a study's README."""
    block: list[list[str]] = []
    for line in [*(STUDIES / study / "README.md").read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            block.append([cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif block:
            yield block[0], block[2:]
            block = []


def table_with(study: str, head: str) -> tuple[list[str], list[list[str]]]:
    """The first table of a study's README that has such a column: its head and its rows."""
    return next(found for found in tables(study) if head in found[0])


def scores(frame: pd.DataFrame, stage: str, *labels: str, tasks: Sequence[str] = ()) -> TaskSeeds:
    """Scores of a stage by (task, seed), each the mean of the labels and numbers of training rows that there are."""
    chosen = frame[(frame["stage"] == stage) & frame["label"].isin(labels)]
    if tasks:
        chosen = chosen[chosen["task"].isin(tasks)]
    return chosen.groupby(["task", "seed"], sort=False)["value"].mean().to_dict()
