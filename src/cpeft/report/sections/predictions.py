"""Answers to look through: up to a hundred test rows of every run, wrong ones first, searched in the page.

Runs of a task answer the same rows, so a row's text stands in the page once. An answer counts as right here if it equals a
reference, letter by letter; metrics may be kinder. All rows of a run are in its `predictions.parquet`. Of runs that keep no
texts errors are counted and nothing is shown.
"""

from typing import Any

from cpeft.report.study import Run, Study

ROWS = 100  # of a run
TEXT = 300  # characters of a source, a reference or an answer


def predictions(study: Study) -> dict[str, Any] | None:
    """`texts`: task -> row -> [source, references]; `runs`: what each is, its rows and errors in all, and [task, row, answer,
    right] of those that are shown. None where no run kept its answers."""
    texts: dict[str, dict[int, list[Any]]] = {}
    runs = []
    for run in study.runs:
        if not run.answers:
            continue
        told = [(row["prediction"] not in row["references"], row) for row in run.answers]
        shown = sorted(told, key=lambda each: not each[0])[: ROWS if run.keeps_texts else 0]
        for _, row in shown:
            references = [cut(text) for text in row["references"]]
            texts.setdefault(row["task"], {})[row["row"]] = [cut(row["source"]), references]
        rows = [[row["task"], row["row"], cut(said(row)), not wrong] for wrong, row in shown]
        runs.append({**_card(study, run), "total": len(told), "wrong": sum(wrong for wrong, _ in told), "rows": rows})
    return {"texts": texts, "runs": runs} if runs else None


def _card(study: Study, run: Run) -> dict[str, Any]:
    stage, label = run.group
    path = run.folder.path.relative_to(study.store.path).as_posix()
    return {"stage": stage, "label": label, "seed": run.result.seed, "path": path}


def said(row: dict[str, Any]) -> str:
    """An answer as it is shown: the label it was matched with, else its words."""
    return f"{row['answer']} (no label)" if row["prediction"] is None else str(row["prediction"])


def cut(text: str) -> str:
    return text if len(text) <= TEXT else f"{text[:TEXT]} …"
