"""Writes the reference pages from the code they describe: `python -m tools.reference`.

docs/options.md comes from the options classes, docs/cli.md from the commands, docs/run-folder.md from `RunFolder`,
the records of results and `SavedSimilarity`, and the table of docs/scores.md from the docstring of `cpeft.scores`.
`tests/test_reference.py` says when a page is stale.
"""

import re
from collections.abc import Iterable
from inspect import getdoc
from itertools import groupby
from pathlib import Path
from typing import Any

import typer

from cpeft import cli
from cpeft.report.frame import COLUMNS, scores
from cpeft.store.result import ComparisonResult, DataInfo, Energy, ModelInfo, Record, RunResult, SearchResult, Seconds
from cpeft.store.run_folder import RunFolder, _Part
from cpeft.store.similarity import ComparedPrompt, PromptNorms, SavedSimilarity, SimilarityTables
from cpeft.use.option_tables import field_rows, option_rows, option_tables

DOCS = Path(__file__).parents[1] / "docs"
WRITTEN = "<!-- Written by `python -m tools.reference`; edit the code, not this page. -->\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table."""
    head = list(head)
    lines = [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {line} |" for line in lines), ""]


def options_page() -> str:
    """Every table of a recipe with its options."""
    lines = [
        "# Options",
        WRITTEN,
        "A recipe sets options in tables, as in `[train]` with `steps = 500`, or in one line: `train.steps = 500`. Tables",
        "outside stages are the defaults of every run. A stage, a variant, a task and the command line (`cpeft run RECIPE",
        'train.steps=100`) override them in this order, and `"default"` restores the default.',
        "`cpeft show options TABLE` prints the same.",
        "",
    ]
    kinds = option_tables()
    for name, rows in groupby(option_rows(), lambda row: row["table"]):
        title = "A task file" if name == "task" else f"`[[{name}]]`" if name.startswith("stage") else f"`[{name}]`"
        lines += [f"## {title}", "", *_prose(kinds[name].__doc__)]
        if name.startswith("method."):
            lines += [f'Chosen by `method.name = "{name.removeprefix("method.")}"`; these stand in `[method]`.', ""]
        cells = ([f"`{row['option']}`", row["type"], f"{row['default']}", row["description"]] for row in rows)
        lines += table(("option", "type", "default", "meaning"), cells)
    return "\n".join(lines)


def _prose(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").strip().splitlines()] + [""] if text else []


def run_folder_page() -> str:
    """The files of a run folder and the fields of `result.json`."""
    lines = [
        "# The run folder",
        WRITTEN,
        "A store is a folder of run folders, `STORE/STAGE/NAME-ID`. It is the only record of a study, and can be read without",
        "CPEFT. ID is a hash of all that decides the result. `result.json` is written last: its presence means done.",
        "",
        *table(
            ("file", "content"),
            ([f"`{part.name}`", part.about] for part in vars(RunFolder).values() if isinstance(part, _Part)),
        ),
        "## `result.json`",
        "",
        "Scores are in per cent, correlations from -100 to 100; times in seconds, electricity in kWh, emissions in kg of CO2e.",
        "",
    ]
    records = (
        (RunResult, "Of a run"), (SearchResult, "Of a run of a search"), (ComparisonResult, "Of a stage that compares prompts")
    )  # fmt: skip
    for record, title in records:
        lines += [f"### {title}", "", *_record(record)]
    for record in (DataInfo, ModelInfo, Seconds, Energy):
        lines += [f"### {record.__name__}", "", *_prose(record.__doc__), *_record(record)]
    lines += ["## `similarity.json`", ""]
    for record in (SavedSimilarity, ComparedPrompt, SimilarityTables, PromptNorms):
        lines += [f"### {record.__name__}", "", *_prose(record.__doc__), *_record(record)]
    return "\n".join(lines)


def _record(record: type[Record]) -> list[str]:
    cells = ([f"`{row['option']}`", row["type"], row["description"]] for row in field_rows(record))
    return table(("key", "type", "content"), cells)


def cli_page() -> str:
    """Every command with its arguments and options."""
    group: Any = typer.main.get_command(cli.app)
    lines = [
        "# The command line",
        WRITTEN,
        "Exit codes: 0 success, 1 a run failed (the others were finished), 2 bad input, 3 data or a model is missing and",
        "there is no network, 4 stopped by a signal with everything saved.",
        "",
    ]
    for name, command in group.commands.items():
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        usage = " ".join(["cpeft", name, *map(_argument, arguments), "[OPTIONS]"])
        lines += [f"## `cpeft {name}`", "", *_prose(command.help), f"    {usage}", ""]
        rows = [[f"`{_argument(each)}`", each.help] for each in arguments]
        rows += [[f"`{_option(each)}`", _meaning(each)] for each in command.params if each not in arguments]
        lines += table(("argument or option", "meaning"), rows)
    return "\n".join(lines)


def _argument(parameter: Any) -> str:
    """`RECIPE`, `[OTHER]`, or with `...` what may be given several times."""
    name = parameter.name.upper()
    return (name if parameter.required else f"[{name}]") + "..." * (parameter.nargs == -1)


def _option(parameter: Any) -> str:
    """`--json`, or `--seed SEED`."""
    return ", ".join(parameter.opts) + ("" if parameter.is_flag else f" {parameter.name.upper()}")


def _meaning(parameter: Any) -> str:
    """The help of an option, with its default."""
    unset = parameter.required or parameter.default is None or parameter.is_flag
    return f"{parameter.help}{' Required.' * parameter.required}{'' if unset else f' Default: {parameter.default}.'}"


def scores_page() -> str:
    """docs/scores.md with its table of columns written anew."""
    before, _, rest = (DOCS / "scores.md").read_text(encoding="utf-8").partition("| column |")
    words = {"str": "text", "bool": "bool", "float64": "float", "int64": "integer", "Int64": "integer"}
    entries = re.findall(r"^ {4}([\w, ]+): (.+(?:\n {8}.+)*)", getdoc(scores) or "", re.M)
    rows = (
        (
            ", ".join(f"`{name}`" for name in names.split(", ")),
            words[COLUMNS[names.split(", ")[0]]],
            " ".join(about.split()),
        )
        for names, about in entries
    )
    return before + "\n".join(table(("column", "type", "meaning"), rows)) + "\n" + rest.partition("\n\n")[2]


def pages() -> dict[Path, str]:
    """The text of every page by its file."""
    return {
        DOCS / "options.md": options_page(),
        DOCS / "run-folder.md": run_folder_page(),
        DOCS / "cli.md": cli_page(),
        DOCS / "scores.md": scores_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
