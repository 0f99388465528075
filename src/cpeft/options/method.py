"""What a recipe may say of its method: the options of every method and baseline, without the code that trains them.

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
    """`[method]`: the name, and in subclasses the options of that method. `about` says in a line what it is; `uses_sources`
    whether it reads the run's source prompts, `zero_shot` whether nothing stands before the text and nothing is trained,
    `changes_model` whether it is a baseline, which trains a copy of the model in the place of a prompt."""

    about: ClassVar[str] = ""
    uses_sources: ClassVar[bool] = False
    zero_shot: ClassVar[bool] = False
    changes_model: ClassVar[bool] = False

    name: str

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


METHOD_OPTIONS = _MethodOptions("method", __name__, groups=("cpeft.methods", "cpeft.baselines"))


@METHOD_OPTIONS.register("no_prompt")
class NoPromptOptions(MethodOptions):
    """No options."""

    about: ClassVar[str] = "the frozen model as it is, nothing trained"
    zero_shot: ClassVar[bool] = True

    name: Literal["no_prompt"] = "no_prompt"


@METHOD_OPTIONS.register("prompt_tuning")
class PromptTuningOptions(MethodOptions):
    """No options: length and start of the prompt stand in `[prompt]`."""

    about: ClassVar[str] = (
        "one trained matrix before every input (Lester et al. 2021); from a source prompt it is SPoT (Vu et al. 2022)"
    )

    name: Literal["prompt_tuning"] = "prompt_tuning"


@METHOD_OPTIONS.register("attempt")
class AttemptOptions(MethodOptions):
    """`target`: `mixture` (in the mixture and added again) or `none` (sources only). `targets`: one for all tasks, or one
    per task under shared attention. `attention_from`: a run whose trained attention is the start."""

    about: ClassVar[str] = "an attentional mixture of source prompts for every input (Asai et al. 2022)"
    uses_sources: ClassVar[bool] = True

    name: Literal["attempt"] = "attempt"
    score: Literal["sub", "constant", "token", "linear", "dot"] = "sub"
    reduce: Reduce = "max"
    pool_padding: bool = False
    bottleneck: Count | Literal["rows"] = 100
    layer_norm: Literal["trained", "frozen"] = "trained"
    temperature: Positive | Literal["D*exp(tau)", "learned", "auto"] = "D*exp(tau)"
    tau: Annotated[float, Field(ge=-50, le=50), NUMBER] = 1.0  # an exponent of e
    attention_lr: Positive | None = None
    attention_from: str | None = None
    sources: Literal["frozen", "trained"] = "frozen"
    target: Literal["mixture", "none"] = "mixture"
    targets: Literal["one", "per_task"] = "one"

    def references(self) -> tuple[str, ...]:
        return (self.attention_from,) if self.attention_from else ()


@METHOD_OPTIONS.register("mpt")
class MptOptions(MethodOptions):
    """`rank` of every task's matrix; `task_lr` the learning rate of u and v. They start at scale one whatever the scale of
    prompts, so without a rate in the recipe theirs is 0.3, the published one of P*."""

    about: ClassVar[str] = "one prompt for all tasks of a run times a low-rank matrix per task (Wang et al. 2023)"

    name: Literal["mpt"] = "mpt"
    rank: Count = 1
    task_lr: Positive | None = None


@METHOD_OPTIONS.register("fine_tuning")
class FineTuningOptions(BaselineOptions):
    """No options."""

    about: ClassVar[str] = "baseline: every parameter of the model"

    name: Literal["fine_tuning"] = "fine_tuning"


@METHOD_OPTIONS.register("bitfit")
class BitFitOptions(BaselineOptions):
    """`biases`: the model's `own`, or with them those that are `added` to linear layers without one."""

    about: ClassVar[str] = "baseline: bias terms alone (Ben Zaken et al. 2022)"

    name: Literal["bitfit"] = "bitfit"
    biases: Literal["own", "added"] = "own"


@METHOD_OPTIONS.register("adapters")
class AdaptersOptions(BaselineOptions):
    """`reduction` D / R; `behind` names the layers whose outputs are adapted in models of other kinds than T5, BART, LLaMA and
    GPT-2, by the ends of their names."""

    about: ClassVar[str] = "baseline: bottleneck layers behind sublayers (Houlsby et al. 2019; Pfeiffer et al. 2021)"

    name: Literal["adapters"] = "adapters"
    reduction: Count = 16
    placement: Literal["houlsby", "pfeiffer"] = "houlsby"
    layer_norm: Literal["trained", "frozen"] = "trained"
    behind: tuple[str, ...] = ()


class PeftOptions(BaselineOptions):
    """Options of a baseline that needs peft; without it they are refused when a recipe is read, not after hours of others."""

    @model_validator(mode="after")
    def _installed(self) -> Self:
        if find_spec("peft") is None:
            raise ValueError(f"method '{self.name}' needs peft: pip install 'cpeft[peft]'")
        return self


@METHOD_OPTIONS.register("lora")
class LoraOptions(PeftOptions):
    """`targets` the layers that get A and B, by the ends of their names; none named: peft's for the architecture, the query and
    value projections as a rule."""

    about: ClassVar[str] = "baseline: low-rank matrices beside linear layers (Hu et al. 2022), by peft"

    name: Literal["lora"] = "lora"
    rank: Count = 8
    alpha: Count = 16
    targets: tuple[str, ...] = ()


@METHOD_OPTIONS.register("ia3")
class IA3Options(PeftOptions):
    """`targets` the layers that get a vector, by the ends of their names, and `feed_forward` those of them whose input it
    scales, not their output; none named: peft's for the architecture."""

    about: ClassVar[str] = "baseline: vectors that scale keys, values and hidden layers (Liu et al. 2022), by peft"

    name: Literal["ia3"] = "ia3"
    targets: tuple[str, ...] = ()
    feed_forward: tuple[str, ...] = ()


@METHOD_OPTIONS.register("prefix_tuning")
class PrefixTuningOptions(PeftOptions):
    """`length` keys and values per layer; `projection = "mlp"` trains them through a two-layer network as wide as the model, as
    Li and Liang did, `none` trains them as they are."""

    about: ClassVar[str] = "baseline: trained keys and values in every layer (Li and Liang 2021)"

    name: Literal["prefix_tuning"] = "prefix_tuning"
    length: Count = 20
    projection: Literal["none", "mlp"] = "none"
