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
    from cpeft.prompts.formula.evaluate import compose as compose
    from cpeft.prompts.soft_prompt import SoftPrompt as SoftPrompt
    from cpeft.prompts.vectors import TaskVector as TaskVector
    from cpeft.report.frame import scores as scores
    from cpeft.serve.client import Client as Client
    from cpeft.use.api import evaluate as evaluate
    from cpeft.use.api import predict as predict
    from cpeft.use.api import train as train

__version__ = "0.1.0"

_NAMES = {
    "cpeft.models.loading": ("FrozenLM", "load_lm"),
    "cpeft.models.prompted": ("PromptedLM",),
    "cpeft.prompts.formula.evaluate": ("compose",),
    "cpeft.prompts.exchange": ("export_prompt", "load_prompt"),
    "cpeft.prompts.soft_prompt": ("SoftPrompt",),
    "cpeft.prompts.vectors": ("TaskVector",),
    "cpeft.report.frame": ("scores",),
    "cpeft.serve.client": ("Client",),
    "cpeft.use.api": ("evaluate", "predict", "train"),
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'cpeft' has no attribute '{name}'")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
