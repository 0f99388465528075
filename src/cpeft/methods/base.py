"""The contract of a method: `(embedded input, mask, task ids) -> prompts [batch, P, D]`.

A method knows nothing of models, tasks or files. Shapes: B batch, L input length, P prompt length, D model width,
S sources, T tasks, R bottleneck.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cpeft.errors import ConfigError
from cpeft.options.method import METHOD_OPTIONS, MethodOptions
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.registry import Registry


@dataclass(frozen=True)
class PromptContext:
    """What a method sees of a batch: the source alone, never the target. `x_BLD` input embeddings without prompt; `mask_BL`
    True on real tokens; `task_B` index of each row's task within the run; `pad_D` the embedding of the pad token and
    `max_length` the width published code pads to, for methods that reproduce pooling over padding."""

    x_BLD: Float[Tensor, "B L D"]
    mask_BL: Bool[Tensor, "B L"]
    task_B: Int[Tensor, "B"]
    pad_D: Float[Tensor, "D"] | None = None
    max_length: int | None = None


@dataclass(frozen=True)
class PromptOutput:
    """`prompt_BPD` float32, and the values (B, ...) of every extra that the method declares."""

    prompt_BPD: Float[Tensor, "B P D"]
    extras: dict[str, Tensor] = field(default_factory=dict)


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
class MethodShape:
    """What decides the sizes of a method, and no values: the tasks of its run, the rows and the width of its prompt, the names
    of its sources, how many rows of a prompt the model reads (`live`, the first ones; None: all), and the formula of the
    initial prompt for the record."""

    tasks: tuple[str, ...]
    rows: int
    width: int
    sources: tuple[str, ...] = ()
    live: int | None = None
    init: str = ""


@dataclass(frozen=True)
class MethodInputs:
    """What a new method starts from: task names, the initial prompt, named sources, a seed for fresh weights,
    `state(reference)`, the trained state of an earlier run; `init` and `live` as in `MethodShape`."""

    tasks: tuple[str, ...]
    initial_PD: Float[Tensor, "P D"]
    sources: Mapping[str, SoftPrompt] = field(default_factory=dict)
    seed: int = 0
    init: str = ""
    state: Callable[[str], Mapping[str, Tensor]] = _no_state
    live: int | None = None

    @property
    def shape(self) -> MethodShape:
        rows, width = self.initial_PD.shape
        return MethodShape(self.tasks, rows, width, tuple(self.sources), self.live, self.init)


class PromptMethod(nn.Module, ABC):
    """Produces the prompt of every example of a batch.

    A method is made in two steps. `build` creates its parameters and buffers from sizes alone, and `initialise` gives them the
    values that training starts from. A saved method is built and its tensors are read from the file: `initialise` is not
    called, and what it computes must be kept in parameters or buffers.
    """

    Options: ClassVar[type[MethodOptions]] = MethodOptions
    changes_model: ClassVar[bool] = False  # True for baselines, which train a copy of the model (`cpeft.baselines`)
    reads_input: ClassVar[bool] = False  # True where the prompt depends on the text of the row
    by_task: bool = False  # True where it depends on the task index of the row
    candidates: tuple[str, ...] = ()  # the prompts that are mixed, in the order of the weights in the extra `attention`

    def __init__(self, options: MethodOptions, inputs: MethodInputs | MethodShape) -> None:
        super().__init__()
        shape = inputs.shape if isinstance(inputs, MethodInputs) else inputs
        self.tasks, self.init, self.source_names = shape.tasks, shape.init, shape.sources
        self._rows, self.live = shape.rows, shape.live
        self.build(options, shape)
        if isinstance(inputs, MethodInputs):
            with torch.no_grad():
                self.initialise(inputs)

    def build(self, options: Any, shape: MethodShape) -> None:
        """Create parameters and buffers, of any values; `options` is an instance of `Options`."""

    def initialise(self, inputs: MethodInputs) -> None:
        """Set the values that training starts from; no gradients are recorded."""

    @abstractmethod
    def forward(self, context: PromptContext) -> PromptOutput:
        """The prompt of every row of the batch."""

    @property
    def extras(self) -> Mapping[str, tuple[int, ...]]:
        """What the method computes for every row beside its prompt: the shape of each value beyond B, by name.
        `predictions.parquet` has a column of each."""
        return {}

    def prompts_of(self, context: PromptContext) -> PromptOutput:
        """`forward`; raises ConfigError where the extras are not those declared."""
        output: PromptOutput = self(context)
        made = {name: tuple(value.shape[1:]) for name, value in output.extras.items()}
        if made != dict(self.extras):
            raise ConfigError(f"{type(self).__name__} returned the extras {made} and declares {dict(self.extras)}")
        return output

    @property
    def length(self) -> int:
        """Rows prepended to every input: the live ones of the initial prompt, unless a method says otherwise."""
        return self._rows if self.live is None else self.live

    @property
    def stored_length(self) -> int:
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
            name: SoftPrompt.from_stored_rows(
                weight.detach().clone(), self.live or len(weight), Provenance(task=name, init=self.init), origin
            )
            for name, (weight, origin) in self.matrices().items()
        }


M = TypeVar("M", bound=PromptMethod)


class MethodRegistry(Registry[type[M]]):
    """Methods by name, each of which also makes its options known."""

    def add(self, name: str, item: type[M]) -> type[M]:
        if item.changes_model != item.Options.changes_model:
            raise ConfigError(f"method '{name}': its options and its class differ in changes_model")
        if not item.changes_model and "__init__" in vars(item):
            raise ConfigError(
                f"method '{name}': define build and initialise instead of __init__, so that it can be loaded"
            )
        METHOD_OPTIONS.add(name, item.Options)
        return super().add(name, item)


METHODS: MethodRegistry[PromptMethod] = MethodRegistry("method", "cpeft.methods", "cpeft.baselines")
