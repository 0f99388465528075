"""CPEFT: soft prompts on frozen language models.

The public names below are loaded when first used, so importing cpeft imports neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpeft.models.loading import FrozenLM as FrozenLM
    from cpeft.models.loading import load_lm as load_lm
    from cpeft.models.prompted import PromptedLM as PromptedLM
    from cpeft.prompts.exchange import export_prompt as export_prompt
    from cpeft.prompts.exchange import load_prompt as load_prompt
    from cpeft.prompts.soft_prompt import SoftPrompt as SoftPrompt
    from cpeft.study.api import evaluate as evaluate
    from cpeft.study.api import predict as predict
    from cpeft.study.api import train as train

__version__ = "0.1.0"

_PLACES = {
    "FrozenLM": "cpeft.models.loading",
    "PromptedLM": "cpeft.models.prompted",
    "SoftPrompt": "cpeft.prompts.soft_prompt",
    "evaluate": "cpeft.study.api",
    "export_prompt": "cpeft.prompts.exchange",
    "load_lm": "cpeft.models.loading",
    "load_prompt": "cpeft.prompts.exchange",
    "predict": "cpeft.study.api",
    "train": "cpeft.study.api",
}

__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'cpeft' has no attribute '{name}'")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
