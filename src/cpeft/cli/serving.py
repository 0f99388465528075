"""The command `serve`."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from cpeft.cli.base import ModelOption, app, console
from cpeft.errors import ConfigError


@app.command()
def serve(
    prompts: Annotated[
        list[str] | None, Argument(help="Prompt folders, runs, stores, globs, NAME=FOLDER or NAME=FORMULA.")
    ] = None,
    model: ModelOption = None,
    tasks: Annotated[
        list[str] | None, Option("--task", help="A TOML file of your own task, or NAME=TASK for a prompt without one.")
    ] = None,
    watch: Annotated[
        list[Path] | None, Option("--watch", help="A folder whose prompts are served as they come, change and go.")
    ] = None,
    prompt_root: Annotated[
        Path | None,
        Option("--prompt-root", help="A folder of prompts that admin calls serve; all that watch it agree."),
    ] = None,
    host: Annotated[str, Option(help="Address; other than loopback it needs keys.")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, Option(min=1, help="Processes, each with a model of its own.")] = 1,
    key_file: Annotated[
        Path | None, Option("--key-file", help="A file with a key a line; also CPEFT_SERVE_KEYS.")
    ] = None,
    admin_key_file: Annotated[
        Path | None, Option("--admin-key-file", help="A file with the keys of admin calls, one a line.")
    ] = None,
    queue: Annotated[int, Option(min=1, help="Rows that may wait; more are refused with status 429.")] = 2048,
    deadline: Annotated[float, Option(min=0.1, help="Seconds to answer a request.")] = 30.0,
    token_budget: Annotated[int, Option("--token-budget", min=1, help="Tokens of one batch.")] = 16384,
    cache: Annotated[int, Option(min=0, help="MiB for keys and values of prompts on a decoder-only model.")] = 1024,
    cache_disk: Annotated[
        int, Option("--cache-disk", min=0, help="MiB in a temporary file for those that do not fit --cache; 0: none.")
    ] = 0,
    log_texts: Annotated[bool, Option("--log-texts", help="Write the bodies of requests into the log.")] = False,
) -> None:
    """Answer requests over HTTP from any number of prompts on one model, until SIGTERM."""
    try:
        from cpeft.serve.results import Limits
        from cpeft.serve.start import KEYS, Serving, read_keys
        from cpeft.serve.start import serve as start
    except ModuleNotFoundError as error:
        raise ConfigError(f"cpeft serve needs the package {error.name}: pip install 'cpeft[serve]'") from None

    serving = Serving(
        prompts or (),
        model,
        tasks or (),
        watch or (),
        prompt_root,
        host,
        read_keys(key_file, KEYS),
        read_keys(admin_key_file, option="--admin-key-file"),
        log_texts,
        Limits(
            queue=queue,
            deadline_s=deadline,
            token_budget=token_budget,
            kept_bytes=cache * 2**20,
            disk_bytes=cache_disk * 2**20,
        ),
    )
    start(serving, port, workers, lambda line: console.print(line, markup=False))
