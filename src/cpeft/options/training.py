"""`[train]`, `[optim]`, `[gang]` and `[energy]`: how a run trains, and how it shares the machine."""

from typing import Annotated, Literal

from pydantic import Field

from cpeft.config import NUMBER, Count, CountOrZero, Options, Positive, PositiveOrZero, Share

BaseDropout = Literal["off", "on", "outside-attention"]
Beta = Annotated[float, Field(ge=0, lt=1), NUMBER]


class TrainOptions(Options):
    """How long a run trains, and when it is validated. Give `steps` or `epochs`, not both."""

    steps: CountOrZero | None = Field(default=None, description="Training steps; 0 scores the initial prompt as it is.")
    epochs: PositiveOrZero | None = Field(default=None, description="Passes over the training rows, instead of steps.")
    batch: Count = Field(default=32, description="Rows of one step.")
    eval_every: Count | Positive | Literal["epoch"] = Field(
        default="epoch",
        description="Validation interval: steps when 1 or more, a share of all steps below 1, or `epoch`.",
    )
    select: Literal["metric", "loss"] = Field(
        default="metric", description="What the best checkpoint is chosen by, on validation rows."
    )
    patience: Count | None = Field(
        default=None, description="Validations without improvement after which training stops; without it, never."
    )
    log_every: Count = Field(default=10, description="Steps between lines of the log.")
    checkpoint_every: Count = Field(default=100, description="Steps between checkpoints.")
    base_dropout: BaseDropout = Field(
        default="off",
        description="Dropout of the frozen model in training: `on` as in all published runs; attention's costs the most.",
    )


class OptimOptions(Options):
    """The optimizer and its learning rate."""

    name: Literal["adamw", "adafactor"] = Field(default="adamw", description="The optimizer.")
    lr: Positive | None = Field(
        default=None, description="Learning rate; without it 0.45 x the root-mean-square entry of the embedding table."
    )
    weight_decay: PositiveOrZero = Field(default=1e-5, description="Weight decay of the trained parameters.")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="AdamW's two decay rates.")
    clip: Positive | None = Field(default=None, description="Bound on the norm of the gradient; without it none.")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="Shape of the learning rate after warmup."
    )
    warmup: PositiveOrZero = Field(
        default=0.05, description="Steps when 1 or more, a share of all steps below 1, in which the rate rises from 0."
    )
    floor: Share = Field(default=0.0, description="Share of the learning rate that the schedule ends on.")


class GangOptions(Options):
    """A gang: runs that are trained together on one model. Changes no result."""

    size: Count | Literal["auto"] = Field(
        default="auto", description="Runs that share a model at once; `auto` is 8 on a GPU, else 1."
    )
    pool: Literal["auto", "member", "all"] = Field(
        default="auto",
        description="Rows in a micro-batch: of one `member`, or of `all`; `auto` is `all` on a GPU, else `member`.",
    )
    token_budget: Count = Field(default=16384, description="Tokens of one micro-batch of training, at most.")


class EnergyOptions(Options):
    """Electricity and emissions. Changes no result."""

    measure: Literal["auto", "on", "off"] = Field(
        default="auto", description="Whether electricity is measured; `auto` does where codecarbon is installed."
    )
    country: str | None = Field(
        default=None,
        description="Country whose grid counts, three letters such as `SVK`; without it the world's average.",
    )
    intensity: PositiveOrZero | None = Field(
        default=None, description="Emissions in kg CO2e per kWh, instead of a country; the world's average is 0.475."
    )
