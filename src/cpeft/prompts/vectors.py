"""Task prompt vectors (Belanec et al. 2024): what training moved a prompt by, as a value to compute with.

    v_A = θ_A − θ0                          element by element, both (P, D)
    θ   = θ0 + λ_A v_A + λ_B v_B + ...      a prompt again, used as it is or trained further

θ0 is the origin, the matrix training started from; every prompt trained here records its own. A vector knows its linear
form, how much of each task it holds ({"mnli": 1.0, "qnli": -0.5}), its model and the hash of its origin. Differences from
the published code: vectors scale, the form is data and no string, and nothing of two origins adds by accident. Experiments
across origins (the paper's "mixed initialisation", θ0 of one origin plus v_A of another) say so with `crossing()`.

The form counts tasks: two runs of one task that are subtracted cancel in it, though not in the rows.
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
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt, check_same_space, matrix_hash, own_copy
from cpeft.seeds import generator

SPACE = ("model", "revision", "embedding", "dtype", "encoder_decoder", "text")  # what a result takes from its parts
Term = tuple[float, Provenance]


@dataclass(frozen=True, eq=False)
class TaskVector:
    """`delta`: float32 (P, D), a prompt minus the origin it is measured from, a copy of what was given. An immutable value:
    `a + b`, `a - b`, `-a`, `0.5 * a`, `sum([a, b])` and `TaskVector.mean([a, b])` are vectors, `prompt + a` and `prompt - a`
    are SoftPrompts.

    All of them raise PromptMismatch, naming both sides, where model, width, length or origin differ."""

    delta: Float[Tensor, "P D"]
    provenance: Provenance = field(default_factory=Provenance)
    __array_ufunc__: ClassVar[None] = None  # so that a numpy number leaves `number * vector` to this class

    def __post_init__(self) -> None:
        if self.delta.dim() != 2 or 0 in self.delta.shape:
            raise PromptError(f"a task vector is a matrix of rows x width, got shape {tuple(self.delta.shape)}")
        if not torch.isfinite(self.delta).all():
            raise PromptError("a task vector must be finite; this one holds NaN or infinity")
        object.__setattr__(self, "delta", own_copy(self.delta))

    @classmethod
    def of(cls, prompt: SoftPrompt) -> "TaskVector":
        """v = θ − θ0 with the prompt's own recorded origin; raises PromptError where it records none."""
        if prompt.origin is None:
            name = _label(prompt.provenance)
            raise PromptError(
                f"prompt '{name}' records no origin, so its task vector is unknown: subtract the prompt it was trained from, "
                f"as in '{name} - origin0' or TaskVector.between(prompt, origin)"
            )
        known = prompt.provenance
        form = replace(known, linear=_form(prompt), origin=matrix_hash(prompt.origin))
        return cls(prompt.weight - prompt.origin, _sum((1.0, form)))

    @classmethod
    def between(cls, prompt: SoftPrompt, other: SoftPrompt) -> "TaskVector":
        """prompt − other: from an origin to a prompt trained from it, or between two prompts of one origin, where it equals
        v(prompt) − v(other). A prompt that records no origin is measured from `other`. Raises PromptMismatch where the prompt
        records an origin that `other` neither is nor was trained from."""
        check_same_space(prompt, other)
        start = matrix_hash(other.weight)
        origin = start if prompt.origin is None else matrix_hash(prompt.origin)
        if origin not in (start, _anchor(other)):
            first, second = _label(prompt.provenance), _label(other.provenance)
            raise PromptMismatch(
                f"'{first}' was trained from origin {origin[:8]}, '{second}' belongs to {_anchor(other)[:8]}: their difference "
                f"would hold that of the origins too. Subtract vectors, v({first}) - cross(v({second})), or the own origin"
            )
        trained_from_other = prompt.origin is not None and origin == start
        taken = {} if trained_from_other else _form(other)
        own = replace(prompt.provenance, linear=_form_or_itself(prompt), origin=origin)
        less = replace(other.provenance, linear=taken, origin=origin)
        return cls(prompt.weight - other.weight, _sum((1.0, own), (-1.0, less)))

    @staticmethod
    def mean(vectors: Sequence["TaskVector"]) -> "TaskVector":
        """(1/n) Σ v_i; raises PromptError for none."""
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
        """How much of each task the vector holds; tasks whose coefficient is zero are left out."""
        return dict(self.provenance.linear)

    @property
    def origin(self) -> str:
        """Hash of the origin the vector is measured from; empty once it may cross."""
        return self.provenance.origin

    def norm(self) -> float:
        """The Frobenius norm."""
        return float(self.delta.norm())

    def crossing(self) -> "TaskVector":
        """The same vector, allowed to join any origin of its model: the cross-origin experiment, asked for by name. What it was
        measured from stays on record in `provenance.crossed`."""
        crossed = sorted({*self.provenance.crossed, *filter(None, [self.origin])})
        return TaskVector(self.delta, replace(self.provenance, origin="", crossed=crossed))

    def noise(self) -> "TaskVector":
        """A control: normal rows of the same Frobenius norm, drawn by the content of the vector."""
        draw = generator(int(matrix_hash(self.delta)[:8], 16), "noise").standard_normal(self.delta.shape)
        return self._control("noise", torch.from_numpy(draw * self.norm() / np.linalg.norm(draw)).float())

    def shuffled(self) -> "TaskVector":
        """A control: the same rows in another order, drawn by the content of the vector."""
        order = generator(int(matrix_hash(self.delta)[:8], 16), "shuffle").permutation(self.length)
        return self._control("shuffle", self.delta[torch.from_numpy(order)])

    def _control(self, kind: str, delta: Tensor) -> "TaskVector":
        """`delta` in the place of the vector, told apart from it in the form."""
        form = {f"{kind}({task})": coefficient for task, coefficient in self.linear.items()}
        return TaskVector(delta, replace(self.provenance, linear=form))

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
        form = _written(self.linear).removeprefix(" + ").strip() or "0"
        return f"TaskVector({form}, {self.length} x {self.width}, norm {self.norm():.4g})"


def mean_prompt(prompts: Sequence[SoftPrompt], weights: Sequence[float] | None = None) -> SoftPrompt:
    """The row-wise average of prompts of one model, width and length, also of different origins: Σ w_i θ_i with `weights` that
    sum to 1, by default equal ones. It keeps an origin, and so has a task vector, where all prompts share theirs."""
    check_same_space(*prompts)
    weights = weights or [1 / len(prompts)] * len(prompts)
    recorded = [prompt.origin for prompt in prompts if prompt.origin is not None]
    shared = bool(recorded) and len({_anchor(prompt) for prompt in prompts}) == 1
    terms = []
    for weight, prompt in zip(weights, prompts, strict=True):
        form = _form(prompt) if shared else _form_or_itself(prompt)
        terms.append((weight, replace(prompt.provenance, linear=form, origin="")))
    formula = f"mean({', '.join(_label(prompt.provenance) for prompt in prompts)})"
    origin = recorded[0] if shared else None
    known = replace(_sum(*terms), formula=formula, origin="" if origin is None else matrix_hash(origin))
    rows_SPD = torch.stack([prompt.weight for prompt in prompts]).double()
    return SoftPrompt(torch.einsum("s,spd->pd", torch.tensor(weights).double(), rows_SPD), known, origin)


def _applied(prompt: SoftPrompt, vector: TaskVector) -> SoftPrompt:
    """θ = prompt + v. The result keeps the prompt's origin (the prompt itself where it records none)."""
    check_same_space(prompt, vector)
    name, anchor = _label(prompt.provenance), _anchor(prompt)
    if vector.origin and vector.origin not in (anchor, matrix_hash(prompt.weight)):
        raise _crossed(f"prompt '{name}'", anchor, vector.provenance)
    base = replace(prompt.provenance, linear=_form(prompt), origin=anchor)
    formula = (prompt.provenance.formula or name) + _written(vector.linear)
    known = replace(_sum((1.0, base), (1.0, vector.provenance)), formula=formula)
    return SoftPrompt(prompt.weight + vector.delta, known, prompt.weight if prompt.origin is None else prompt.origin)


def _linear(*terms: tuple[float, TaskVector]) -> TaskVector:
    """Σ k_i v_i, of one space and one origin."""
    vectors = [vector for _, vector in terms]
    check_same_space(*vectors)
    bound = [vector.provenance for vector in vectors if vector.origin]
    for other in bound[1:]:
        if other.origin != bound[0].origin:
            raise _crossed(f"vector '{_label(bound[0])}'", bound[0].origin, other)
    delta = sum((factor * vector.delta for factor, vector in terms[1:]), start=terms[0][0] * vectors[0].delta)
    return TaskVector(delta, _sum(*((factor, vector.provenance) for factor, vector in terms)))


def _sum(*terms: Term) -> Provenance:
    """What is known of Σ k_i x_i: the sum of the forms, and of everything else that every part should share what the first part
    that says it says (an origin prompt has no text options, the vectors added to it do)."""
    linear: dict[str, float] = {}
    for factor, known in terms:
        for task, coefficient in known.linear.items():
            linear[task] = linear.get(task, 0.0) + factor * coefficient
    linear = {task: coefficient for task, coefficient in linear.items() if coefficient}
    shared: dict[str, Any] = {}
    for name in (*SPACE, "origin"):
        said = [value for _, known in terms if (value := getattr(known, name)) not in ("", None, {})]
        shared |= {name: said[0]} if said else {}
    crossed = sorted({origin for _, known in terms for origin in known.crossed})
    return Provenance(**shared, task="+".join(sorted(linear)), method="arithmetic", linear=linear, crossed=crossed)


def _crossed(what: str, origin: str, other: Provenance) -> PromptMismatch:
    return PromptMismatch(
        f"{what} and vector '{_label(other)}' have different origins ({origin[:8]} and {other.origin[:8]}): train both from "
        "one origin, or cross origins on purpose with .crossing(), in an expression cross(...)"
    )


def _anchor(prompt: SoftPrompt) -> str:
    """Hash of what a prompt's vector is measured from: its recorded origin, else itself."""
    return matrix_hash(prompt.weight if prompt.origin is None else prompt.origin)


def _form(prompt: SoftPrompt) -> dict[str, float]:
    """The linear form of a prompt over its origin: what it was composed of, or once its own task. A prompt that records no
    origin is one, and holds nothing."""
    known = prompt.provenance
    if known.formula:
        return known.linear
    return {} if prompt.origin is None else {known.task or _label(known): 1.0}


def _form_or_itself(prompt: SoftPrompt) -> dict[str, float]:
    """The form, where a prompt that records no origin stands for itself."""
    known = prompt.provenance
    return _form(prompt) if known.formula or prompt.origin is not None else {known.task or _label(known): 1.0}


def _label(known: Provenance) -> str:
    return known.run or known.task or "prompt"


def _written(linear: dict[str, float]) -> str:
    """` + v(mnli) - 0.5*v(qnli)`."""
    sizes = {task: "" if abs(size) == 1 else f"{abs(size):g}*" for task, size in linear.items()}
    return "".join(f" {'-' if linear[task] < 0 else '+'} {size}v({task})" for task, size in sizes.items())
