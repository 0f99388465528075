"""What the baselines that `peft` implements share: putting its layers into a model."""

from typing import Any

from transformers.pytorch_utils import Conv1D

from cpeft.errors import ConfigError, first_line
from cpeft.models.loading import FrozenLM


def transposed(lm: FrozenLM) -> bool:
    """Whether the model keeps its linear layers as (inputs, outputs), as GPT-2 does."""
    return any(isinstance(module, Conv1D) for module in lm.model.modules())


def inject(lm: FrozenLM, name: str, config: Any) -> None:
    """Put the layers that a peft configuration describes into the model, as the only ones with a gradient; raises ConfigError
    where peft knows no layers of this architecture, or those named are not there."""
    from peft import inject_adapter_in_model

    try:
        inject_adapter_in_model(config, lm.model)
    except ValueError as error:
        raise ConfigError(
            f"method '{name}' on {lm.name} ({type(lm.model).__name__}): {first_line(error)}; "
            "name layers of the model in method.targets"
        ) from None
