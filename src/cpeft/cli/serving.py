"""The command `serve`."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from cpeft.cli.base import ModelOption, app, console
from cpeft.errors import ConfigError


@app.command()
def serve(
    prompts: Annotated[list[str], Argument(help="Prompt folders, runs, stores, globs, NAME=FOLDER or NAME=FORMULA.")],
    model: ModelOption = None,
    tasks: Annotated[
        list[str] | None, Option("--task", help="A TOML file of your own task, or NAME=TASK for a prompt without one.")
    ] = None,
    host: Annotated[str, Option(help="Address; other than loopback it needs keys.")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    key_file: Annotated[
        Path | None, Option("--key-file", help="A file with a key a line; also CPEFT_SERVE_KEYS.")
    ] = None,
    queue: Annotated[int, Option(min=1, help="Rows that may wait; more are refused with status 429.")] = 2048,
    deadline: Annotated[float, Option(min=0.1, help="Seconds to answer a request.")] = 30.0,
    token_budget: Annotated[int, Option("--token-budget", min=1, help="Tokens of one batch.")] = 16384,
    log_texts: Annotated[bool, Option("--log-texts", help="Write the bodies of requests into the log.")] = False,
) -> None:
    """Answer requests over HTTP from any number of prompts on one model, until SIGTERM."""
    try:
        from cpeft.serve.results import Limits
        from cpeft.serve.start import serve as start
    except ModuleNotFoundError as error:
        raise ConfigError(f"cpeft serve needs the package {error.name}: pip install 'cpeft[serve]'") from None

    limits = Limits(queue=queue, deadline_s=deadline, token_budget=token_budget)
    start(
        prompts,
        model,
        tasks or (),
        host,
        port,
        key_file,
        log_texts,
        limits,
        lambda line: console.print(line, markup=False),
    )
