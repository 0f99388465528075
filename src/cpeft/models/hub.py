"""What the hub says of a model, without its weights: from this machine's cache, or fetched into it."""

from functools import lru_cache
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from cpeft.data.hub import ask_hub_once
from cpeft.errors import MissingModel
from cpeft.models.content import READ
from cpeft.models.obtaining import FOLDER_VARIABLE, UNREACHED


@lru_cache(maxsize=16)
def description(name: str, revision: str | None) -> Path:
    """A folder with the configuration, tokenizer and chat template of a hub model; raises MissingModel where they are neither
    in the cache nor reachable."""
    ask_hub_once()
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(READ)))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise MissingModel(
            f"model '{name}': no such folder, here or in {FOLDER_VARIABLE}, not in the hub's cache, no hub in reach"
        ) from None
    except UNREACHED as error:
        raise MissingModel(f"model '{name}': no such folder, and {str(error).splitlines()[0]}") from None
