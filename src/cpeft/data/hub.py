"""Whether the Hugging Face hub can be reached, asked once per process.

Its libraries try each name again and again, half a minute for each dataset; where it does not answer once, they go on as under
HF_HUB_OFFLINE.
"""

from functools import lru_cache

from huggingface_hub import constants, get_session

TIMEOUT = 5  # seconds


@lru_cache(maxsize=1)
def ask_hub_once() -> None:
    """Set HF_HUB_OFFLINE for this process where the hub does not answer."""
    if not constants.HF_HUB_OFFLINE:
        try:
            get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
        except Exception:  # of whatever HTTP library huggingface_hub comes with
            constants.HF_HUB_OFFLINE = True
