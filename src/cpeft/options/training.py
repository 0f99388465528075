"""`[train]`, `[optim]`, `[gang]` and `[energy]`: how a run trains, and how it shares the machine."""

from typing import Annotated, Literal

from pydantic import Field

from cpeft.config import NUMBER, Count, CountOrZero, Options, Positive, PositiveOrZero, Share

BaseDropout = Literal["off", "on", "outside-attention"]
Beta = Annotated[float, Field(ge=0, lt=1), NUMBER]


class TrainOptions(Options):
    """`[train]`: `steps` or `epochs`; `eval_every` steps when 1 or more, a share of all steps below 1, or `epoch`; best
    checkpoint by validation `metric` or `loss`; `patience` evaluations without gain end the run. `base_dropout = "on"`
    trains through the frozen model's dropout, as all published runs did; `outside-attention` leaves out that of attention's
    probabilities, which costs the most."""

    steps: CountOrZero | None = None
    epochs: PositiveOrZero | None = None
    batch: Count = 32
    eval_every: Count | Positive | Literal["epoch"] = "epoch"
    select: Literal["metric", "loss"] = "metric"
    patience: Count | None = None
    log_every: Count = 10
    checkpoint_every: Count = 100
    base_dropout: BaseDropout = "off"


class OptimOptions(Options):
    """`[optim]`: `lr` None means the scale rule (`training/optim.py`); `warmup` is steps when 1 or more, a share of all steps
    below 1; `floor` the share of the rate that the schedule ends on; `clip` a bound on the gradient norm."""

    name: Literal["adamw", "adafactor"] = "adamw"
    lr: Positive | None = None
    weight_decay: PositiveOrZero = 1e-5
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    clip: Positive | None = None
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: PositiveOrZero = 0.05
    floor: Share = 0.0


class GangOptions(Options):
    """`[gang]`: how many runs share a model at once (`auto`: 8 on a GPU, else 1), how rows are pooled (`auto`: `all` on a
    GPU, else `member`), and the tokens of one micro-batch."""

    size: Count | Literal["auto"] = "auto"
    pool: Literal["auto", "member", "all"] = "auto"
    token_budget: Count = 16384


class EnergyOptions(Options):
    """`[energy]`: `measure` on, off, or `auto`: where codecarbon is installed. Emissions by the electricity of a `country`
    (three letters, such as SVK; codecarbon's table) or by an `intensity` in kg CO2e per kWh; without both by the world's
    average, 0.475."""

    measure: Literal["auto", "on", "off"] = "auto"
    country: str | None = None
    intensity: PositiveOrZero | None = None
