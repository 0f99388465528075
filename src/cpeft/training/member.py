"""One run inside a gang: its learner, rows, optimiser, schedule, counters and checkpoint.

Members are independent: batches, learning rates and dropout are functions of a member's own seeds and step, so it makes the
same steps in any gang.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from cpeft.data.rows import EncodedRow
from cpeft.data.stream import Stream
from cpeft.errors import ConfigError, Diverged, LostClaim
from cpeft.files import write_json
from cpeft.models.prompted import PromptedLM
from cpeft.options.training import OptimOptions, TrainOptions
from cpeft.store.run_folder import RunFolder
from cpeft.training.callbacks import Callback
from cpeft.training.checkpoint import load_checkpoint, optimizer_state, restore_optimizer, save_checkpoint
from cpeft.training.optim import make_optimizer, schedule_factor

KEPT = ["step", "best_step", "best_headline", "best_loss", "without_gain", "stopped", "budget", "seconds", "identity"]


@dataclass(frozen=True)
class Evaluation:
    """Validation scores: `headline` (mean over tasks of their first metrics), `loss` (nats per target token, NaN where
    selection does not need it), all by name."""

    headline: float
    loss: float
    scores: dict[str, float]


@dataclass(eq=False)
class Member:
    """A run in training. `evaluate` scores the learner on validation rows; `guard` raises LostClaim before a write."""

    name: str
    learner: PromptedLM
    rows: Sequence[EncodedRow]
    options: TrainOptions
    optim: OptimOptions
    order_seed: int
    dropout_seed: int
    folder: RunFolder
    evaluate: Callable[[], Evaluation]
    scale: float = 1.0
    callbacks: Sequence[Callback] = ()
    guard: Callable[[], None] = lambda: None
    identity: str = ""  # a checkpoint must have the same identity to be resumed
    writes: bool = True  # False in all but the first of several processes
    higher_is_better: bool = True  # of the headline
    keeps_batch: bool = True  # of a run that fails, to help find the reason

    step: int = 0
    best_step: int = -1
    best_headline: float = -math.inf
    best_loss: float = math.inf
    without_gain: int = 0
    stopped: str = ""
    budget: int | None = None  # tokens per micro-batch, if memory forced it below the engine's
    seconds: float = 0.0  # of training, its own share where a gang has passes together
    failure: Exception | None = None
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trainable = [parameter for group in self.learner.param_groups() for parameter in group.params]
        self.layout = self.learner.layout
        self.stream = Stream(len(self.rows), self.options.batch, self.order_seed)
        steps, epochs = self.options.steps, self.options.epochs
        if self.trainable and (steps is None) == (epochs is None):
            raise ConfigError("[train] give either steps or epochs")
        wanted = math.ceil((epochs or 0) * self.stream.steps_per_epoch) if steps is None else steps
        if self.trainable and wanted and not self.rows:
            raise ConfigError(
                f"{self.name}: no rows to train on; set train.steps = 0 to score what it starts from, or draw some"
            )
        self.total = wanted if self.trainable else 0
        self.path = self.folder.checkpoint_path
        self._since = time.monotonic()

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of a learner with something to train."""
        return make_optimizer(self.optim, self.learner.param_groups(), self.scale)

    @property
    def interval(self) -> int:
        """Steps from one evaluation to the next."""
        every = self.options.eval_every
        if every == "epoch":
            return self.stream.steps_per_epoch
        return max(round(every * self.total), 1) if every < 1 else int(every)

    @property
    def done(self) -> bool:
        return self.step >= self.total or bool(self.stopped) or self.failure is not None

    def start(self) -> None:
        """Restore the checkpoint, or let the method see its first batch."""
        self._since = time.monotonic()
        if self.path.exists():
            self._restore()
        elif self.rows:
            self.learner.calibrate(self.layout.batch(self.next_rows()))
        for callback in self.callbacks:
            callback.on_start(self)
        if self.trainable and not self.total and self.best_step < 0:
            self.validate()  # `steps = 0` scores a prompt as it is; comparisons of such runs need validation scores

    def next_rows(self) -> list[EncodedRow]:
        """The rows of the coming step."""
        return [self.rows[i] for i in self.stream.at(self.step)]

    def tokens_since(self, first: int) -> int:
        """Tokens that the steps from `first` up to the present one passed through the model."""
        steps = range(first, self.step)
        return sum(self.layout.width(self.rows[i]) for step in steps for i in self.stream.at(step))

    def apply(self, loss: float, notes: dict[str, float]) -> None:
        """Clip, step the optimiser with the gradients at hand, then log, evaluate and checkpoint as due."""
        bound = math.inf if self.optim.clip is None else self.optim.clip
        norm = float(torch.nn.utils.clip_grad_norm_(self.trainable, bound))
        if not math.isfinite(loss + norm):
            raise Diverged(f"loss is {loss} at step {self.step + 1} (gradient norm {norm})")
        factor = schedule_factor(self.optim, self.step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.optimizer.step()
        self.learner.zero_grad()
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.trainable):
            raise Diverged(f"a parameter is not finite after step {self.step + 1}")
        self.step += 1
        if self.step % self.options.log_every == 0 or self.step in (1, self.total):
            rate = self.optimizer.param_groups[0]["lr"]
            self._emit("on_step", {"step": self.step, "loss": loss, "lr": rate, "gradient_norm": norm, **notes})
        due = self.step % self.interval == 0 or self.step == self.total
        if due:
            self.validate()
        if due or self.step % self.options.checkpoint_every == 0:
            self.save()

    def validate(self) -> None:
        """Score on validation rows; keep the state if it is the best so far."""
        result = self.evaluate()
        if self.best_step < 0 or self._improves(result):
            self.best_step, self.without_gain = self.step, 0
            self.best_headline, self.best_loss = result.headline, result.loss
            self.best_state = {key: value.detach().clone() for key, value in self.learner.state_dict().items()}
        else:
            self.without_gain += 1
            if self.options.patience is not None and self.without_gain >= self.options.patience:
                self.stopped = f"no gain in {self.without_gain} evaluations"
        loss = {} if math.isnan(result.loss) else {"validation_loss": result.loss}
        scores = {f"validation/{key}": value for key, value in result.scores.items()}
        self._emit("on_eval", {"step": self.step, "headline": result.headline, **loss, **scores})

    def _improves(self, result: Evaluation) -> bool:
        if self.options.select == "loss":
            return result.loss < self.best_loss
        if self.higher_is_better:
            return result.headline > self.best_headline
        return result.headline < self.best_headline

    def finish(self) -> None:
        """Put the best state back into the learner."""
        if self.best_state:
            self.learner.load_state_dict(self.best_state)
        for callback in self.callbacks:
            callback.on_end(self)

    def fail(self, error: Exception) -> None:
        """End this run alone, keeping the batch it failed on; a run that lost its claim leaves nothing."""
        self.learner.zero_grad()
        self.failure = error
        if self.writes and self.keeps_batch and not isinstance(error, LostClaim) and self.rows:
            reason = f"{type(error).__name__}: {error}"
            rows = [{"source": row.source, "target": row.target, "task": row.task} for row in self.next_rows()]
            self.folder.path.mkdir(parents=True, exist_ok=True)
            write_json(self.folder.failed_batch_path, {"step": self.step + 1, "reason": reason, "rows": rows})

    def _emit(self, hook: str, record: dict[str, Any]) -> None:
        self.guard()
        for callback in self.callbacks:
            getattr(callback, hook)(self, record)

    def save(self) -> None:
        """Write the checkpoint."""
        if not self.writes:
            return
        self.guard()
        tensors, numbers = optimizer_state(self.optimizer)
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        counters = {name: getattr(self, name) for name in KEPT}
        save_checkpoint(
            self.path, {**counters, "optimizer": numbers},
            learner=self.learner.state_dict(), optimizer=tensors, best=self.best_state,
        )  # fmt: skip

    def paused(self, seconds: float) -> None:
        """Exclude from `seconds` the time that the gang spent on others."""
        self._since += seconds

    def _restore(self) -> None:
        counters, states = load_checkpoint(self.path)
        if counters.pop("identity") != self.identity:
            raise ConfigError(f"{self.path} belongs to other settings, data or sources; give another folder")
        restore_optimizer(self.optimizer, states.get("optimizer", {}), counters.pop("optimizer"))
        self.learner.load_state_dict(states["learner"])
        self.best_state = states.get("best", {})
        for name, value in counters.items():
            setattr(self, name, value)
