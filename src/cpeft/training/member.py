"""One run inside a gang: its learner, rows, optimiser, schedule, counters and checkpoint.

A member touches nothing of its neighbours. Its batches, learning rates and dropout are functions of its own seeds and step,
so it makes the same steps in any gang.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from cpeft.config import Options
from cpeft.data.encode import Batch, EncodedRow, Shape
from cpeft.data.stream import Stream
from cpeft.errors import ConfigError, LostClaim, RunFailed
from cpeft.methods.base import ParamGroup
from cpeft.prompts.soft_prompt import SoftPrompt, write_json
from cpeft.training.callbacks import Callback
from cpeft.training.checkpoint import load_checkpoint, optimizer_state, restore_optimizer, save_checkpoint
from cpeft.training.optim import OptimOptions, make_optimizer, schedule_factor, set_rates


class TrainOptions(Options):
    """`[train]`: `steps` or `epochs`; `eval_every` steps or `epoch`; best checkpoint by validation `metric` or `loss`;
    `patience` evaluations without gain end the run. `base_dropout = "on"` trains through the frozen model's dropout, as all
    published runs did."""

    steps: int | None = None
    epochs: float | None = None
    batch: int = 32
    eval_every: int | Literal["epoch"] = "epoch"
    select: Literal["metric", "loss"] = "metric"
    patience: int | None = None
    log_every: int = 10
    checkpoint_every: int = 100
    base_dropout: Literal["off", "on"] = "off"


@runtime_checkable
class Learner(Protocol):
    """What the engine trains."""

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]: ...
    def calibrate(self, batch: Batch) -> None: ...
    def param_groups(self) -> list[ParamGroup]: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state: dict[str, Tensor]) -> Any: ...
    def export(self) -> dict[str, SoftPrompt]: ...


@dataclass(frozen=True)
class Evaluation:
    """Validation scores: `headline` (higher is better, mean over tasks), `loss` (nats per target token, NaN where selection
    does not need it), all by name."""

    headline: float
    loss: float
    scores: dict[str, float]


@dataclass(eq=False)
class Member:
    """A run in training. `evaluate` scores the learner on validation rows; `guard` raises LostClaim before a write."""

    name: str
    learner: Learner
    rows: Sequence[EncodedRow]
    shape: Shape
    options: TrainOptions
    optim: OptimOptions
    order_seed: int
    dropout_seed: int
    folder: Path
    evaluate: Callable[[], Evaluation]
    scale: float = 1.0
    callbacks: Sequence[Callback] = ()
    guard: Callable[[], None] = lambda: None
    identity: str = ""  # what a checkpoint must agree with to be gone on from
    writes: bool = True  # False in all but the first of several processes

    step: int = 0
    best_step: int = -1
    best_headline: float = -math.inf
    best_loss: float = math.inf
    without_gain: int = 0
    stopped: str = ""
    budget: int | None = None  # tokens per micro-batch, if memory forced it below the engine's
    seconds: float = 0.0
    failure: Exception | None = None
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        groups = self.learner.param_groups()
        self.trainable = [parameter for group in groups for parameter in group.params]
        self.stream = Stream(len(self.rows), self.options.batch, self.order_seed) if self.rows else None
        self.total = self._total_steps() if self.trainable else 0
        self.optimizer = make_optimizer(self.optim, groups, self.scale) if self.trainable else None
        self._since = time.monotonic()

    def _total_steps(self) -> int:
        if (self.options.steps is None) == (self.options.epochs is None):
            raise ConfigError("[train] give either steps or epochs")
        if self.options.steps is not None:
            return self.options.steps
        if self.stream is None:
            return 0
        return math.ceil(float(self.options.epochs or 0) * self.stream.steps_per_epoch)

    @property
    def done(self) -> bool:
        return self.step >= self.total or bool(self.stopped) or self.failure is not None

    @property
    def path(self) -> Path:
        return self.folder / "checkpoint" / "checkpoint.safetensors"

    def start(self) -> None:
        """Restore the checkpoint, or let the method see its first batch."""
        if self.path.exists():
            self._restore()
        elif self.stream is not None:
            self.learner.calibrate(self.shape.batch(self.next_rows()))
        for callback in self.callbacks:
            callback.on_start(self)

    def next_rows(self) -> list[EncodedRow]:
        """The rows of the coming step."""
        assert self.stream is not None
        return [self.rows[i] for i in self.stream.at(self.step)]

    def apply(self, loss: float, notes: dict[str, float]) -> None:
        """Clip, step the optimiser with the gradients at hand, then log, evaluate and checkpoint as due."""
        assert self.optimizer is not None
        norm = self._clip()
        if not math.isfinite(loss + norm):
            raise RunFailed(f"loss is {loss} at step {self.step + 1} (gradient norm {norm})")
        factor = schedule_factor(self.optim, self.step, self.total)
        set_rates(self.optimizer, factor)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.trainable):
            raise RunFailed(f"a parameter is not finite after step {self.step + 1}")
        self.step += 1
        if self.step % self.options.log_every == 0 or self.step in (1, self.total):
            rate = self.optimizer.param_groups[0]["lr"]
            self._tell("on_step", {"step": self.step, "loss": loss, "lr": rate, "gradient_norm": norm, **notes})
        if self._eval_due():
            self.validate()
        if self._eval_due() or self.step % self.options.checkpoint_every == 0:
            self.save()

    def _clip(self) -> float:
        bound = self.optim.clip if self.optim.clip is not None else math.inf
        return float(torch.nn.utils.clip_grad_norm_(self.trainable, bound))

    def _eval_due(self) -> bool:
        assert self.stream is not None
        every = self.stream.steps_per_epoch if self.options.eval_every == "epoch" else self.options.eval_every
        return self.step % every == 0 or self.step == self.total

    def validate(self) -> None:
        """Score on validation rows; keep the state if it is the best so far."""
        result = self.evaluate()
        gain = result.headline > self.best_headline if self.options.select == "metric" else result.loss < self.best_loss
        if gain or self.best_step < 0:
            self.best_step, self.without_gain = self.step, 0
            self.best_headline, self.best_loss = result.headline, result.loss
            self.best_state = {key: value.detach().clone() for key, value in self.learner.state_dict().items()}
        else:
            self.without_gain += 1
            if self.options.patience is not None and self.without_gain >= self.options.patience:
                self.stopped = f"no gain in {self.without_gain} evaluations"
        loss = {} if math.isnan(result.loss) else {"validation_loss": result.loss}
        scores = {f"validation/{key}": value for key, value in result.scores.items()}
        self._tell("on_eval", {"step": self.step, "headline": result.headline, **loss, **scores})

    def finish(self) -> None:
        """Put the best state back into the learner."""
        if self.best_state:
            self.learner.load_state_dict(self.best_state)
        for callback in self.callbacks:
            callback.on_end(self)

    def drop_gradients(self) -> None:
        """Forget the gradients of a step that is to be repeated."""
        for parameter in self.trainable:
            parameter.grad = None

    def fail(self, error: Exception) -> None:
        """End this run alone, keeping the batch it failed on; a run that lost its claim leaves nothing."""
        self.drop_gradients()
        self.failure = error
        if self.writes and not isinstance(error, LostClaim) and self.stream is not None:
            reason = f"{type(error).__name__}: {error}"
            rows = [{"source": row.source, "target": row.target, "task": row.task} for row in self.next_rows()]
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "failed_batch.json", {"step": self.step + 1, "reason": reason, "rows": rows})

    def _tell(self, hook: str, record: dict[str, Any]) -> None:
        if self.writes:
            self.guard()
        for callback in self.callbacks:
            getattr(callback, hook)(self, record)

    def save(self) -> None:
        """Write the checkpoint."""
        if self.optimizer is None or not self.writes:
            return
        self.guard()
        tensors, numbers = optimizer_state(self.optimizer)
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        names = (
            "step",
            "best_step",
            "best_headline",
            "best_loss",
            "without_gain",
            "stopped",
            "budget",
            "seconds",
            "identity",
        )
        counters = {name: getattr(self, name) for name in names}
        save_checkpoint(
            self.path, {**counters, "optimizer": numbers},
            learner=self.learner.state_dict(), optimizer=tensors, best=self.best_state,
        )  # fmt: skip

    def _restore(self) -> None:
        counters, states = load_checkpoint(self.path)
        if counters.pop("identity") != self.identity:
            raise ConfigError(f"{self.path} belongs to other settings, data or sources; give another folder")
        if self.optimizer is not None:
            restore_optimizer(self.optimizer, states.get("optimizer", {}), counters.pop("optimizer"))
        self.learner.load_state_dict(states["learner"])
        self.best_state = states.get("best", {})
        for name, value in counters.items():
            setattr(self, name, value)
