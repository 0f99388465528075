"""Task prompt vectors (Belanec et al. 2024): the change of a prompt by training, as a value for arithmetic.

    v_A = θ_A − θ0                          element by element, both (P, D)
    θ   = θ0 + λ_A v_A + λ_B v_B + ...      a prompt again, used as it is or trained further

θ0 is the origin, the matrix training started from; every prompt trained with CPEFT records its own. A vector records its linear
form, the coefficient of each task ({"mnli": 1.0, "qnli": -0.5}), its model and the hash of its origin. Differences from the
published code: vectors can be scaled, the form is data, and values of different origins do not add by accident. Experiments
across origins (the paper's "mixed initialisation", θ0 of one origin plus v_A of another) need `crossing()`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, ClassVar, overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cpeft.errors import PromptError, PromptMismatch
from cpeft.prompts.forms import anchor_of, check_joins, combined, form_of, form_or_itself, label_of, written
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt, matrix_hash, own_copy
from cpeft.seeds import generator


@dataclass(frozen=True, eq=False)
class TaskVector:
    """`delta`: float32 (P, D), a prompt minus the origin it is measured from, copied. An immutable value:
    `a + b`, `a - b`, `-a`, `0.5 * a`, `sum([a, b])` and `TaskVector.mean([a, b])` are vectors, `prompt + a` and `prompt - a`
    are SoftPrompts.

    All of them raise PromptMismatch, naming both sides, if model, width, length or origin differ. `origin_norm` is the
    Frobenius norm of that origin, if known."""

    delta: Float[Tensor, "P D"]
    provenance: Provenance = field(default_factory=Provenance)
    origin_norm: float | None = None
    __array_ufunc__: ClassVar[None] = None  # a numpy number leaves `number * vector` to this class

    def __post_init__(self) -> None:
        if self.delta.dim() != 2 or 0 in self.delta.shape:
            raise PromptError(f"a task vector is a matrix of rows x width, got shape {tuple(self.delta.shape)}")
        if not torch.isfinite(self.delta).all():
            raise PromptError("a task vector must be finite; this one holds NaN or infinity")
        object.__setattr__(self, "delta", own_copy(self.delta))

    @classmethod
    def of(cls, prompt: SoftPrompt) -> "TaskVector":
        """v = θ − θ0 with the prompt's own recorded origin; raises PromptError if it records none."""
        if prompt.origin is None:
            name = label_of(prompt.provenance)
            if prompt.is_origin:
                raise PromptError(f"'{name}' is an origin itself; use v() of a prompt that was trained from it")
            raise PromptError(
                f"prompt '{name}' records no origin, so its task vector is unknown: subtract the prompt it was trained from, "
                f"as in '{name} - origin0' or TaskVector.between(prompt, origin)"
            )
        known = prompt.provenance
        form = replace(known, linear=form_of(prompt), origin=matrix_hash(prompt.origin))
        return cls(prompt.weight - prompt.origin, combined((1.0, form)), _norm(prompt.origin))

    @classmethod
    def between(cls, prompt: SoftPrompt, other: SoftPrompt) -> "TaskVector":
        """prompt − other: from an origin to a prompt trained from it, or between two prompts of one origin, where it equals
        v(prompt) − v(other). A prompt that records no origin is measured from `other`. Raises PromptMismatch if the prompt is,
        or records, an origin other than `other` and the origin of `other`."""
        check_joins(prompt, other)
        origin, theirs = _origins(prompt, other)
        if origin != theirs:
            first, second = label_of(prompt.provenance), label_of(other.provenance)
            raise PromptMismatch(
                f"'{first}' {'is' if prompt.is_origin else 'was trained from'} origin {origin[:8]}, '{second}' belongs to "
                f"{theirs[:8]}: their difference would include the difference between the origins. If you intend that, write "
                f"cross({first} - {second}); else subtract vectors, v({first}) - cross(v({second})), or the prompt's own origin"
            )
        starts = (prompt.origin, other.weight, other.origin)
        held = next((each for each in starts if each is not None and matrix_hash(each) == origin), None)
        return _difference(prompt, other, origin, None if held is None else _norm(held))

    @classmethod
    def across(cls, prompt: SoftPrompt, other: SoftPrompt) -> "TaskVector":
        """prompt − other for any origins; the result can be added to a prompt of any origin. In a formula
        `cross(prompt - other)`. With two origins the rows include their difference, which the linear form does not show."""
        check_joins(prompt, other)
        made = _difference(prompt, other, "", None)
        crossed = sorted({*made.provenance.crossed, *_origins(prompt, other)})
        return replace(made, provenance=replace(made.provenance, crossed=crossed))

    @staticmethod
    def mean(vectors: Sequence["TaskVector"]) -> "TaskVector":
        """(1/n) Σ v_i; raises PromptError for an empty sequence."""
        if not vectors:
            raise PromptError("the mean of no task vectors is none; give at least one")
        return _linear(*((1 / len(vectors), vector) for vector in vectors))

    @property
    def length(self) -> int:
        return int(self.delta.shape[0])

    @property
    def width(self) -> int:
        return int(self.delta.shape[1])

    @property
    def linear(self) -> dict[str, float]:
        """The coefficient of each task, without coefficients of zero."""
        return dict(self.provenance.linear)

    @property
    def origin(self) -> str:
        """Hash of the origin the vector is measured from; empty after `crossing()`."""
        return self.provenance.origin

    def norm(self) -> float:
        """The Frobenius norm."""
        return float(self.delta.norm())

    def crossing(self) -> "TaskVector":
        """The same vector, which can be added to prompts of any origin of its model: the cross-origin experiment. Its own
        origin is recorded in `provenance.crossed`."""
        crossed = sorted({*self.provenance.crossed, *filter(None, [self.origin])})
        return TaskVector(self.delta, replace(self.provenance, origin="", crossed=crossed))  # and no norm of an origin

    def noise(self) -> "TaskVector":
        """A control: normal rows of the same Frobenius norm, drawn by the content of the vector."""
        draw = generator(int(matrix_hash(self.delta)[:8], 16), "noise").standard_normal(self.delta.shape)
        return self._control("noise", torch.from_numpy(draw * self.norm() / np.linalg.norm(draw)).float())

    def shuffled(self) -> "TaskVector":
        """A control: the same rows in another order, drawn by the content of the vector."""
        order = generator(int(matrix_hash(self.delta)[:8], 16), "shuffle").permutation(self.length)
        return self._control("shuffle", self.delta[torch.from_numpy(order)])

    def _control(self, kind: str, delta: Tensor) -> "TaskVector":
        """The vector with its rows replaced by `delta`, under a separate name in the linear form."""
        form = {f"{kind}({task})": coefficient for task, coefficient in self.linear.items()}
        return replace(self, delta=delta, provenance=replace(self.provenance, linear=form))

    @overload
    def __add__(self, other: "TaskVector") -> "TaskVector": ...
    @overload
    def __add__(self, other: SoftPrompt) -> SoftPrompt: ...
    def __add__(self, other: Any) -> Any:
        if isinstance(other, SoftPrompt):
            return _applied(other, self)
        return _linear((1.0, self), (1.0, other)) if isinstance(other, TaskVector) else NotImplemented

    @overload
    def __radd__(self, other: int) -> "TaskVector": ...
    @overload
    def __radd__(self, other: SoftPrompt) -> SoftPrompt: ...
    def __radd__(self, other: Any) -> Any:
        if isinstance(other, SoftPrompt):
            return _applied(other, self)
        return self if isinstance(other, int) and other == 0 else NotImplemented  # 0 is where `sum` starts

    def __sub__(self, other: "TaskVector") -> "TaskVector":
        return _linear((1.0, self), (-1.0, other)) if isinstance(other, TaskVector) else NotImplemented

    def __rsub__(self, other: SoftPrompt) -> SoftPrompt:
        return _applied(other, -self) if isinstance(other, SoftPrompt) else NotImplemented

    def __neg__(self) -> "TaskVector":
        return _linear((-1.0, self))

    def __mul__(self, factor: float | Real) -> "TaskVector":
        if not isinstance(factor, Real):
            return NotImplemented
        return _linear((float(factor), self))

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        """Same rows, linear form, model and origins."""
        if not isinstance(other, TaskVector):
            return NotImplemented
        a, b = self.provenance, other.provenance
        known = [(p.linear, p.embedding, p.origin, p.crossed) for p in (a, b)]
        return known[0] == known[1] and torch.equal(self.delta, other.delta)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        form = written(self.linear).removeprefix(" + ").strip() or "0"
        return f"TaskVector({form}, {self.length} x {self.width}, norm {self.norm():.4g})"


def mean_prompt(prompts: Sequence[SoftPrompt], weights: Sequence[float] | None = None) -> SoftPrompt:
    """The row-wise average of prompts of one model, width and length: Σ w_i θ_i with `weights` that sum to 1, by default equal
    weights. Its origin is the same average of their origins, so its task vector is the average of their task vectors. If a
    prompt records no origin, the average is measured from the only origin recorded, or from none."""
    check_joins(*prompts)
    weights = weights or [1 / len(prompts)] * len(prompts)
    recorded = {prompt.measured_from for prompt in prompts} - {""}
    starts: list[Tensor] = []
    terms = []
    for weight, prompt in zip(weights, prompts, strict=True):
        itself = prompt.origin is None and matrix_hash(prompt.weight) in recorded
        starts += [each for each in (prompt.weight if itself else prompt.origin,) if each is not None]
        form = form_of(prompt) if itself else form_or_itself(prompt)
        terms.append((weight, replace(prompt.provenance, linear=form, origin="")))
    formula = f"mean({', '.join(label_of(prompt.provenance) for prompt in prompts)})"
    start = _average(weights, starts) if len(starts) == len(prompts) else None
    measured_from = "+".join(sorted(recorded)) if start is None else matrix_hash(start)  # joined hashes match no origin
    trained = any(prompt.origin is not None for prompt in prompts)  # else all are origins, and so is the average
    known = replace(combined(*terms), formula=formula, origin=measured_from)
    return SoftPrompt(_average(weights, [prompt.weight for prompt in prompts]), known, start if trained else None)


def _average(weights: Sequence[float], matrices: Sequence[Tensor]) -> Float[Tensor, "P D"]:
    """Computed in float64 and rounded once, so that the average of a matrix with itself is bit for bit that matrix."""
    rows_SPD = torch.stack(list(matrices)).double()
    return torch.einsum("s,spd->pd", torch.tensor(weights).double(), rows_SPD).float()


def _applied(prompt: SoftPrompt, vector: TaskVector) -> SoftPrompt:
    """θ = prompt + v. The result has the origin of the prompt (the prompt itself if it records none)."""
    check_joins(prompt, vector)
    name, anchor, itself = label_of(prompt.provenance), anchor_of(prompt), matrix_hash(prompt.weight)
    if vector.origin and vector.origin not in (anchor, itself):
        raise _crossed(f"prompt '{name}'", anchor, vector.provenance)
    base = replace(prompt.provenance, linear=form_of(prompt), origin=anchor)
    formula = (prompt.provenance.formula or name) + written(vector.linear)
    known = replace(combined((1.0, base), (1.0, vector.provenance)), formula=formula)
    return SoftPrompt(prompt.weight + vector.delta, known, prompt.weight if anchor == itself else prompt.origin)


def _origins(prompt: SoftPrompt, other: SoftPrompt) -> tuple[str, str]:
    """The origin of each side of prompt − other. `other` is an origin itself if the prompt records it, or records none."""
    start = matrix_hash(other.weight)
    origin = prompt.measured_from or start
    return origin, origin if origin == start else anchor_of(other)


def _difference(prompt: SoftPrompt, other: SoftPrompt, origin: str, norm: float | None) -> TaskVector:
    """prompt − other as a vector measured from `origin`; an `other` that is the origin has an empty form."""
    taken = {} if prompt.measured_from == matrix_hash(other.weight) else form_of(other)
    own = replace(prompt.provenance, linear=form_or_itself(prompt), origin=origin)
    less = replace(other.provenance, linear=taken, origin=origin)
    return TaskVector(prompt.weight - other.weight, combined((1.0, own), (-1.0, less)), norm)


def _linear(*terms: tuple[float, TaskVector]) -> TaskVector:
    """Σ k_i v_i; raises PromptMismatch unless all have one space and one origin."""
    vectors = [vector for _, vector in terms]
    check_joins(*vectors)
    bound = [vector.provenance for vector in vectors if vector.origin]
    for other in bound[1:]:
        if other.origin != bound[0].origin:
            raise _crossed(f"vector '{label_of(bound[0])}'", bound[0].origin, other)
    delta = sum((factor * vector.delta for factor, vector in terms[1:]), start=terms[0][0] * vectors[0].delta)
    norm = next((vector.origin_norm for vector in vectors if vector.origin_norm is not None), None)
    return TaskVector(delta, combined(*((factor, vector.provenance) for factor, vector in terms)), norm)


def _crossed(what: str, origin: str, other: Provenance) -> PromptMismatch:
    return PromptMismatch(
        f"{what} and vector '{label_of(other)}' have different origins ({origin[:8]} and {other.origin[:8]}): train both from "
        "one origin, or cross origins on purpose with .crossing(), in a formula cross(...)"
    )


def _norm(matrix_PD: Tensor) -> float:
    return float(matrix_PD.double().norm())
