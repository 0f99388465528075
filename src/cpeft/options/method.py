"""`[method]`: the options of every method and baseline, without the code that trains them.

A plan knows a method by its options, so that nothing of torch is imported until something runs. A method of another package
brings its options with it, as `Options`.
"""

from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cpeft.config import NUMBER, Count, Options, Positive
from cpeft.registry import Registry

Reduce = Literal["max", "mean", "max-mean", "attention"]


class MethodOptions(Options):
    """The name of a method, and in subclasses its options. `about` describes the method in a line; `uses_sources` says whether
    it reads the run's source prompts, `zero_shot` whether it prepends and trains nothing, `changes_model` whether it is a
    baseline, which trains a copy of the model instead of a prompt."""

    about: ClassVar[str] = ""
    uses_sources: ClassVar[bool] = False
    zero_shot: ClassVar[bool] = False
    changes_model: ClassVar[bool] = False

    name: str = Field(description="The method (`cpeft list methods`); the other options are those of the method.")

    def references(self) -> tuple[str, ...]:
        """Earlier runs whose trained state the method starts from."""
        return ()


class BaselineOptions(MethodOptions):
    """Options of a baseline."""

    changes_model: ClassVar[bool] = True


class _MethodOptions(Registry[type[MethodOptions]]):
    """Options by the name of their method; one that is registered itself brings its own."""

    def add(self, name: str, item: Any) -> type[MethodOptions]:
        return super().add(name, getattr(item, "Options", item))


METHOD_OPTIONS = _MethodOptions("method", __name__)


@METHOD_OPTIONS.register("no_prompt")
class NoPromptOptions(MethodOptions):
    """No options."""

    about: ClassVar[str] = "the frozen model as it is, nothing trained"
    zero_shot: ClassVar[bool] = True

    name: Literal["no_prompt"] = "no_prompt"


@METHOD_OPTIONS.register("prompt_tuning")
class PromptTuningOptions(MethodOptions):
    """No options: `[prompt]` gives length and initial prompt."""

    about: ClassVar[str] = (
        "one trained matrix before every input (Lester et al. 2021); from a source prompt it is SPoT (Vu et al. 2022)"
    )

    name: Literal["prompt_tuning"] = "prompt_tuning"


@METHOD_OPTIONS.register("attempt")
class AttemptOptions(MethodOptions):
    """ATTEMPT's attention over source prompts; the symbols are those of `methods/attempt.py`."""

    about: ClassVar[str] = "an attentional mixture of source prompts for every input (Asai et al. 2022)"
    uses_sources: ClassVar[bool] = True

    name: Literal["attempt"] = "attempt"
    score: Literal["sub", "constant", "token", "linear", "dot"] = Field(
        default="sub",
        description="How sources are weighed: by a bottleneck network (`sub`), equally (`constant`), by it per prompt row "
        "(`token`), by one matrix (`linear`) or by the pooled input itself (`dot`).",
    )
    reduce: Reduce = Field(default="max", description="How token embeddings and prompt rows are pooled to one vector.")
    pool_padding: bool = Field(default=False, description="Pool over padding too, as the published code did.")
    bottleneck: Count | Literal["rows"] = Field(
        default=100, description="Width of the bottleneck; `rows` is the length of the prompt."
    )
    layer_norm: Literal["trained", "frozen"] = Field(
        default="trained", description="Whether the LayerNorm is trained; the published code froze it."
    )
    temperature: Positive | Literal["D*exp(tau)", "learned", "auto"] = Field(
        default="D*exp(tau)",
        description="Divisor of the scores: a number, by `tau`, `learned`, or `auto`: set on the first training batch.",
    )
    tau: Annotated[float, Field(ge=-50, le=50), NUMBER] = Field(
        default=1.0, description="Exponent of the temperature; 1 gives the published 2087 at width 768."
    )
    attention_lr: Positive | None = Field(
        default=None, description="Learning rate of the attention; without it that of the prompt."
    )
    attention_from: str | None = Field(
        default=None, description="An earlier run (`stage/run`) whose trained attention is the start."
    )
    sources: Literal["frozen", "trained"] = Field(
        default="frozen", description="Whether source prompts are trained too."
    )
    target: Literal["mixture", "none"] = Field(
        default="mixture", description="The new prompt: in the `mixture` and added to it, or `none`, sources alone."
    )
    targets: Literal["one", "per_task"] = Field(
        default="one", description="One new prompt for all tasks of a run, or one per task under shared attention."
    )

    def references(self) -> tuple[str, ...]:
        return (self.attention_from,) if self.attention_from else ()


@METHOD_OPTIONS.register("mpt")
class MptOptions(MethodOptions):
    """u and v start at scale one whatever the scale of prompts, so that their default rate does not follow the scale rule."""

    about: ClassVar[str] = "one prompt for all tasks of a run times a low-rank matrix per task (Wang et al. 2023)"

    name: Literal["mpt"] = "mpt"
    rank: Count = Field(default=1, description="Rank of the matrix u v of every task.")
    task_lr: Positive | None = Field(
        default=None,
        description="Learning rate of u and v; without it optim.lr, or 0.3 (published for P*) without that.",
    )


@METHOD_OPTIONS.register("fine_tuning")
class FineTuningOptions(BaselineOptions):
    """No options."""

    about: ClassVar[str] = "baseline: every parameter of the model"

    name: Literal["fine_tuning"] = "fine_tuning"


@METHOD_OPTIONS.register("bitfit")
class BitFitOptions(BaselineOptions):
    about: ClassVar[str] = "baseline: bias terms alone (Ben Zaken et al. 2022)"

    name: Literal["bitfit"] = "bitfit"
    biases: Literal["own", "added"] = Field(
        default="own", description="The model's own biases, or with them biases `added` to linear layers without one."
    )


@METHOD_OPTIONS.register("adapters")
class AdaptersOptions(BaselineOptions):
    about: ClassVar[str] = "baseline: bottleneck layers behind sublayers (Houlsby et al. 2019; Pfeiffer et al. 2021)"

    name: Literal["adapters"] = "adapters"
    reduction: Count = Field(default=16, description="Width of the model over width of the bottleneck.")
    placement: Literal["houlsby", "pfeiffer"] = Field(
        default="houlsby", description="Adapters behind attention and feed-forward, or behind feed-forward alone."
    )
    layer_norm: Literal["trained", "frozen"] = Field(
        default="trained", description="Whether the model's LayerNorms are trained too."
    )
    behind: tuple[str, ...] = Field(
        default=(),
        description="Layers to adapt, by the ends of their names; needed for models other than T5, BART, LLaMA and GPT-2.",
    )


class PeftOptions(BaselineOptions):
    """Options of a baseline that needs peft. A recipe is refused when it is read, not after hours of other runs."""

    @model_validator(mode="after")
    def _installed(self) -> Self:
        if find_spec("peft") is None:
            raise ValueError(f"method '{self.name}' needs peft: pip install 'cpeft[peft]'")
        return self


@METHOD_OPTIONS.register("lora")
class LoraOptions(PeftOptions):
    about: ClassVar[str] = "baseline: low-rank matrices beside linear layers (Hu et al. 2022), by peft"

    name: Literal["lora"] = "lora"
    rank: Count = Field(default=8, description="Rank of the matrix B A that is added to a layer.")
    alpha: Count = Field(default=16, description="Scale: B A is multiplied by alpha / rank.")
    targets: tuple[str, ...] = Field(
        default=(),
        description="Layers, by the ends of their names; without it peft's choice, as a rule queries and values.",
    )


@METHOD_OPTIONS.register("ia3")
class IA3Options(PeftOptions):
    about: ClassVar[str] = "baseline: vectors that scale keys, values and hidden layers (Liu et al. 2022), by peft"

    name: Literal["ia3"] = "ia3"
    targets: tuple[str, ...] = Field(
        default=(), description="Layers that get a vector, by the ends of their names; without it peft's choice."
    )
    feed_forward: tuple[str, ...] = Field(
        default=(), description="Those of `targets` whose input is scaled, not their output; without it peft's choice."
    )


@METHOD_OPTIONS.register("prefix_tuning")
class PrefixTuningOptions(PeftOptions):
    about: ClassVar[str] = "baseline: trained keys and values in every layer (Li and Liang 2021)"

    name: Literal["prefix_tuning"] = "prefix_tuning"
    length: Count = Field(default=20, description="Keys and values per layer.")
    projection: Literal["none", "mlp"] = Field(
        default="none",
        description="`mlp` trains them through a two-layer network as wide as the model, as Li and Liang did.",
    )
