"""The contract of a baseline: it changes a model of its own, and what requires a gradient afterwards is what is trained.

To the engine, the checkpoints and the evaluation a baseline is a method of no prompt rows whose parameters happen to lie
inside the model. That model is a copy, so the shared one stays bit for bit as it was; a run of a baseline is therefore a gang
of one and needs the memory of both.

What is trained is float32 whatever the dtype of the model, because AdamW on bfloat16 weights loses steps smaller than a
256th of a weight. Where the model is bfloat16 the frozen rest stays so, and every pass, in training and in generation alike,
is made under autocast to bfloat16. float16 would need a scaled loss and is refused, and so are quantised models.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cpeft.data.encode import Batch
from cpeft.data.options import DataOptions, Loss
from cpeft.errors import ConfigError, PromptError
from cpeft.methods import METHODS, MethodShape, ParamGroup, PromptContext, PromptMethod, PromptOutput
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import Losses, PromptedLM
from cpeft.models.saved import read_saved
from cpeft.options.method import MethodOptions


class Baseline(PromptMethod):
    """Trains something inside `lm`, a model that is this baseline's own; `rate` is its learning rate where the recipe gives
    none. `trained` holds the parameters under the names they have in the model."""

    changes_model: ClassVar[bool] = True
    rate: ClassVar[float]

    def __init__(self, options: MethodOptions, tasks: tuple[str, ...], lm: FrozenLM, seed: int = 0) -> None:
        super().__init__(options, MethodShape(tasks, 0, lm.width))
        with _seeded(seed, lm.device):
            self.change(options, lm)
        found = {name: p for name, p in lm.model.named_parameters() if p.requires_grad}
        for parameter in found.values():
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
        for module in lm.model.modules():
            if isinstance(module, nn.LayerNorm) and any(p.requires_grad for p in module.parameters()):
                module.to(
                    lm.precise
                )  # torch wants its weight and bias in one dtype, though only one of them is trained
        self.trained = _tree(found)

    @abstractmethod
    def change(self, options: Any, lm: FrozenLM) -> None:
        """Change the frozen model in place; whatever it adds has a gradient, whatever it trains gets one. Random numbers come
        from torch's own generator, which is seeded around this call."""

    def forward(self, context: PromptContext) -> PromptOutput:
        return PromptOutput(context.x_BLD[:, :0].float())

    def param_groups(self) -> list[ParamGroup]:
        return [ParamGroup("model", list(self.trained.parameters()), default=self.rate)]


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's generators set to a seed, and afterwards back to where they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _tree(parameters: Mapping[str, nn.Parameter]) -> nn.Module:
    """Modules that hold the given parameters, themselves and no copies, under their dotted names."""
    root = nn.Module()
    for name, parameter in parameters.items():
        *path, leaf = name.split(".")
        node = root
        for part in path:
            if part not in node._modules:
                node.add_module(part, nn.Module())
            node = node.get_submodule(part)
        node.register_parameter(leaf, parameter)
    return root


class ChangedLM(PromptedLM):
    """A baseline on its own copy of a model; passes through a bfloat16 model are made under autocast."""

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.lm.device.type, torch.bfloat16, enabled=self.lm.dtype == "bfloat16")

    def _losses(self, batch: Batch, loss: Loss) -> Losses:
        with self._precision():
            return super()._losses(batch, loss)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self._precision():
            return super().forward(*args, **kwargs)

    def label_scores(self, batch: Batch, labels: Sequence[tuple[int, ...]]) -> Tensor:
        with self._precision():
            return super().label_scores(batch, labels)

    def decode(
        self, source_BL: Tensor, mask_BL: Tensor, task_B: Tensor, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        with self._precision():
            return super().decode(source_BL, mask_BL, task_B, **kwargs)


def changed_lm(
    lm: FrozenLM, options: MethodOptions, tasks: tuple[str, ...], seed: int = 0, data: DataOptions | None = None,
    subset: int = 0,
) -> ChangedLM:  # fmt: skip
    """A learner of the baseline that `options` name, on a copy of `lm`; raises ConfigError for a model it cannot change."""
    if getattr(lm.model, "is_quantized", False) or lm.dtype == "float16":
        raise ConfigError(
            f"method '{options.name}' changes the model and trains in float32: set model.quantize = 'none' and "
            "model.dtype = 'bfloat16' or 'float32'"
        )
    kind = METHODS.get(options.name)
    if not issubclass(kind, Baseline):
        raise ConfigError(f"method '{options.name}' changes no model; `PromptedLM` puts it in front of one")
    own = lm.copy()
    return ChangedLM(own, kind(options, tasks, own, seed), data, subset)


def load_learner(folder: Path, lm: FrozenLM) -> PromptedLM:
    """The learner that `save_method` wrote: a prompt method on `lm` itself, a baseline on a copy of it. Raises what
    `read_saved` raises, and PromptError for tensors of other names or shapes."""
    saved = read_saved(folder, lm)
    learner: PromptedLM
    if saved.options.changes_model:
        learner = changed_lm(lm, saved.options, saved.shape.tasks, data=saved.data, subset=saved.subset)
    else:
        learner = PromptedLM(lm, METHODS.get(saved.options.name)(saved.options, saved.shape), saved.data, saved.subset)
    try:
        learner.method.load_state_dict(saved.state)
    except RuntimeError as error:
        raise PromptError(f"{folder}: its tensors are not those of the method: {error}") from None
    return learner
