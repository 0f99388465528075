"""What the hub says of a model, without its weights: from this machine's cache, or fetched into it."""

from functools import lru_cache
from pathlib import Path

from huggingface_hub import constants, get_session, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from cpeft.errors import MissingModel
from cpeft.models.content import READ

UNREACHED = (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, HFValidationError, OSError)


@lru_cache(maxsize=1)
def ask_hub_once() -> None:
    """Where the hub does not answer, go on as under HF_HUB_OFFLINE: it would be tried for half a minute per dataset."""
    if not constants.HF_HUB_OFFLINE:
        try:
            get_session().head(constants.ENDPOINT, timeout=10)
        except Exception:  # of whatever HTTP library huggingface_hub comes with
            constants.HF_HUB_OFFLINE = True


@lru_cache(maxsize=16)
def description(name: str, revision: str | None) -> Path:
    """A folder with the configuration, tokenizer and chat template of a hub model; raises MissingModel where they are neither
    in the cache nor reachable."""
    ask_hub_once()
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(READ)))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise MissingModel(f"model '{name}': no such folder, not in the hub's cache, no hub in reach") from None
    except UNREACHED as error:
        raise MissingModel(f"model '{name}': no such folder, and {str(error).splitlines()[0]}") from None
