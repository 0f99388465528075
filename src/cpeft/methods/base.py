"""The contract of a method: `(embedded input, mask, task ids) -> prompts [batch, P, D]`.

A method knows nothing of models, tasks or files. Shapes: B batch, L input length, P prompt length, D model width,
S sources, T tasks, R bottleneck.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cpeft.errors import ConfigError
from cpeft.options.method import METHOD_OPTIONS, MethodOptions
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.registry import Registry


@dataclass(frozen=True)
class PromptContext:
    """What a method sees of a batch: the source alone, never the target. `x_BLD` input embeddings without prompt; `mask_BL`
    True on real tokens; `task_B` index of each row's task within the run; `pad_D` the embedding of the pad token and `room`
    the width published code pads to, for methods that reproduce pooling over padding."""

    x_BLD: Float[Tensor, "B L D"]
    mask_BL: Bool[Tensor, "B L"]
    task_B: Int[Tensor, "B"]
    pad_D: Float[Tensor, "D"] | None = None
    room: int | None = None


@dataclass(frozen=True)
class PromptOutput:
    """`prompt_BPD` float32, and notes of shape (B, ...), kept with predictions (`attention`: weights over candidates)."""

    prompt_BPD: Float[Tensor, "B P D"]
    notes: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ParamGroup:
    """Parameters with one learning rate `lr`; None means the run's, and where the recipe gives none either, `default`, else
    the rule for prompts."""

    name: str
    params: list[nn.Parameter]
    lr: float | None = None
    default: float | None = None


def _no_state(reference: str) -> Mapping[str, Tensor]:
    raise ConfigError(f"'{reference}' cannot be looked up here; give the trained state yourself")


@dataclass(frozen=True)
class MethodInputs:
    """What a run hands to its method: task names, the initial prompt, named sources, a generator for fresh weights,
    `state(reference)`, the trained state of an earlier run, and how many rows of a prompt the model reads (`live`, the first
    ones; None: all of them)."""

    tasks: tuple[str, ...]
    initial_PD: Float[Tensor, "P D"]
    sources: Mapping[str, SoftPrompt] = field(default_factory=dict)
    seed: int = 0
    init: str = ""
    state: Callable[[str], Mapping[str, Tensor]] = _no_state
    live: int | None = None


class PromptMethod(nn.Module, ABC):
    """Produces the prompt of every example of a batch."""

    Options: ClassVar[type[MethodOptions]] = MethodOptions
    reads_input: ClassVar[bool] = False  # True where the prompt depends on the text of the row
    by_task: bool = False  # True where it depends on the task index of the row

    def __init__(self, options: MethodOptions, inputs: MethodInputs) -> None:
        super().__init__()
        self.tasks, self.init = inputs.tasks, inputs.init
        self._rows, self.live = len(inputs.initial_PD), inputs.live

    @abstractmethod
    def forward(self, context: PromptContext) -> PromptOutput:
        """The prompt of every row of the batch."""

    @property
    def length(self) -> int:
        """Rows prepended to every input: the live ones of the initial prompt, unless a method says otherwise."""
        return self._rows if self.live is None else self.live

    @property
    def stored(self) -> int:
        """Rows that a prompt of this method keeps, prepended or not."""
        return self.length if self.live is None else self._rows

    def param_groups(self) -> list[ParamGroup]:
        """What is trained, with learning rates."""
        params = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [ParamGroup("prompt", params)] if params else []

    def calibrate(self, context: PromptContext) -> None:
        """Called once, on the whole first batch of a run, before the first step."""

    def matrices(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Trained matrices that other runs can reuse, by task name: (weight, origin)."""
        return {}

    def export(self) -> dict[str, SoftPrompt]:
        """Trained prompts by task name; a prompt shared by all tasks of a run is named after them, joined by `+`."""
        return {
            name: SoftPrompt.stored(
                weight.detach().clone(), self.live or len(weight), Provenance(task=name, init=self.init), origin
            )
            for name, (weight, origin) in self.matrices().items()
        }


M = TypeVar("M", bound=PromptMethod)


class MethodRegistry(Registry[type[M]]):
    """Methods by name, each of which also makes its options known."""

    def add(self, name: str, item: type[M]) -> type[M]:
        METHOD_OPTIONS.add(name, item.Options)
        return super().add(name, item)


METHODS: MethodRegistry[PromptMethod] = MethodRegistry("method", "cpeft.methods")
