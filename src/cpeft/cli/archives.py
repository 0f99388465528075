"""The commands `archive`, `verify` and `restore`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from typer import Argument, Option

from cpeft.cli.base import JsonOption, PluginOption, app, console, show_finding
from cpeft.errors import writing
from cpeft.plugins import load_plugins


@app.command()
def archive(
    store: Annotated[Path, Argument(help="The folder that `cpeft run` filled.")],
    out: Annotated[Path | None, Option("--out", help="The file to write [default: STORE.cpeft.zip].")] = None,
    attach: Annotated[list[Path] | None, Option("--attach", help="Add this file, such as notes; repeatable.")] = None,
    plugins: PluginOption = None,
) -> None:
    """Write a store as one file for the appendix of a paper: recipe, prompts, answers, scores, claims, versions."""
    from cpeft.archive.write import write_archive

    load_plugins(plugins or ())
    with writing(out or store):
        made = write_archive(store, out, attach or ())
    for title, texts in (("not finished", made.index.unfinished), ("left out", made.index.left_out)):
        for text in texts:
            console.print(f"[yellow]{title}[/yellow] {escape(text)}")
    console.print(
        f"{made.index.runs} runs, {len(made.index.files)} files, {made.bytes:,} bytes: {made.path}", markup=False
    )
    console.print(f"SHA-256 {made.sha256}", markup=False)
    console.print("It holds the texts of test rows wherever the answers do: see the licence of your data", markup=False)


@app.command()
def verify(
    file: Annotated[Path, Argument(help="What `cpeft archive` wrote; it is read as a file of a stranger.")],
    rescore: Annotated[
        bool,
        Option("--rescore/--no-rescore", help="Score the runs again where their model and rows are on this machine."),
    ] = True,
    only: Annotated[
        list[str] | None, Option("--only", help="Score only this run again (stage/run, * for any text); repeatable.")
    ] = None,
    model: Annotated[
        str | None, Option("--model", help="Where the model is, if not under the name that the runs give it.")
    ] = None,
    tasks: Annotated[
        list[Path] | None, Option("--task", help="A TOML file of your own task, with its rows; repeatable.")
    ] = None,
    as_json: JsonOption = False,
    plugins: PluginOption = None,
) -> None:
    """Check an archive: digests, scores and claims computed again, answers given again by the model where it is here."""
    from cpeft.archive.verify import verify as check

    load_plugins(plugins or ())
    found = []
    for finding in check(file, rescore, only or (), model, tasks or ()):
        found.append(finding)
        if not as_json:
            show_finding(finding)
    levels = [finding.level for finding in found]
    if as_json:
        print(json.dumps([vars(finding) for finding in found], indent=2))
    else:
        open_ones = ", ".join(f"{levels.count(level)} {level}" for level in ("warning", "unchecked") if level in levels)
        verdict = (
            f"[red]not as it was written: {levels.count('error')} errors[/red]" if "error" in levels else "no errors"
        )
        console.print(f"{verdict}{f' ({open_ones})' if open_ones else ''}")
    if "error" in levels:
        raise typer.Exit(1)


@app.command()
def restore(
    file: Annotated[Path, Argument(help="What `cpeft archive` wrote; check that of a stranger with `cpeft verify`.")],
    store: Annotated[Path, Option("--store", help="The store to fill; runs that are finished there stay.")],
) -> None:
    """Put the finished runs of an archive into a store, for `cpeft run` to continue from."""
    from cpeft.archive.restore import restore as put

    with writing(store):
        made = put(file, store)
    there = f", {len(made.there)} were finished there already" if made.there else ""
    console.print(f"{len(made.new)} runs restored into {store}{there}", markup=False)
