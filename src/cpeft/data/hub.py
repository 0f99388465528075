"""The Hugging Face hub: whether it can be reached, checked once per process, and files of its repositories.

Its libraries retry each name, half a minute for each dataset. Where the hub does not answer one request, HF_HUB_OFFLINE is set
for them. They are imported on first use.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from cpeft.errors import first_line

TIMEOUT = 5  # seconds


class Unreached(Exception):
    """The hub does not provide something; `offline` where it is neither reachable nor in the cache."""

    offline = False


@lru_cache(maxsize=1)
def ask_hub_once() -> None:
    """Set HF_HUB_OFFLINE for this process where the hub does not answer."""
    from huggingface_hub import constants, get_session

    if not constants.HF_HUB_OFFLINE:
        try:
            get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
        except Exception:  # of whatever HTTP library huggingface_hub comes with
            constants.HF_HUB_OFFLINE = True


def hub_file(repository: str, file: str, revision: str | None, fetch: bool) -> Path:
    """A file of a repository, without `fetch` out of the cache alone; raises Unreached."""
    from huggingface_hub import hf_hub_download

    if fetch:
        ask_hub_once()
    with _reached():
        return Path(hf_hub_download(repository, file, revision=revision, local_files_only=not fetch))


def hub_folder(repository: str, revision: str | None, patterns: Sequence[str], into: Path | None = None) -> Path:
    """A repository's files of these patterns, in a folder if one is given, else in the cache; raises Unreached."""
    from huggingface_hub import snapshot_download

    ask_hub_once()
    with _reached():
        return Path(snapshot_download(repository, revision=revision, local_dir=into, allow_patterns=list(patterns)))


@contextmanager
def _reached() -> Iterator[None]:
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        yield
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, HFValidationError, OSError) as error:
        unreached = Unreached(first_line(error))
        unreached.offline = isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled)
        raise unreached from None
