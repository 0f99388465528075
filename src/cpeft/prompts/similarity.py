"""Similarity of prompts, or of task vectors: measures of two matrices, and their averages over tasks and origins.

With a, b of shape (N, D) and rows a_i:

    flattened     <a, b> / (|a| |b|)                    one cosine over all entries (a published script)
    token_mean    cos(mean_i a_i, mean_i b_i)           the published heat maps; also SPoT's first measure
    row_by_row    mean_i cos(a_i, b_i)                  row i with row i
    all_rows      mean_ij cos(a_i, b_j)                 SPoT's second: every row with every row
    cka           <HKH, HLH> / (|HKH| |HLH|)            linear CKA, K = a a', L = b b', H centres; rows are the examples
    cka_debiased  the same of U-centred K and L
    norm_gap      ||a| - |b||                           published as a difference of norms
    distance      |a - b|

Sources: SPoT is Vu et al. 2022, CKA Kornblith et al. 2019, its unbiased form Song et al. 2012 with the centring of Székely and
Rizzo 2014, the published code that of Task Prompt Vectors (Belanec et al. 2024). Fewer rows than width push plain CKA towards
1 (about 1 / (1 + N/D) for unrelated rows), the debiased one stays near 0. CKA does not see scale and rotation. A cosine with
a zero matrix, and CKA of one whose rows are equal, is nan. Where a LayerNorm follows the embeddings at once, norms carry no
information either.

Rows that the model never reads are no part of a prompt. Published systems stored and compared them, so `rows = "all"` includes
them if the file has any (`exchange.load_stored`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from torch import Tensor

from cpeft.errors import ConfigError, PromptError, PromptMismatch
from cpeft.prompts.forms import check_joins
from cpeft.prompts.soft_prompt import SoftPrompt, check_same_space
from cpeft.prompts.vectors import TaskVector, mean_prompt
from cpeft.registry import suggest

ROWS = ("live", "all")  # the rows the model reads, or all stored rows
PAIRS = ("other", "same", "published")
Origins = Literal["same", "other", "unknown"]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """<a, b> / (|a| |b|) over all entries; nan where one is zero."""
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.vdot(a, b) / size) if size else float("nan")


def token_mean(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    return cosine(a_ND.mean(0), b_ND.mean(0))


def row_by_row(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    return float(np.mean([cosine(a_D, b_D) for a_D, b_D in zip(a_ND, b_ND, strict=True)]))


def all_rows(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    """The mean cosine of all row pairs is the inner product of the mean unit rows."""
    with np.errstate(invalid="ignore"):  # a zero row makes nan
        units = [x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True) for x_ND in (a_ND, b_ND)]
    return float(units[0].mean(0) @ units[1].mean(0))


def cka(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    return cosine(*((x - x.mean(0)) @ (x - x.mean(0)).T for x in (a_ND, b_ND)))


def cka_debiased(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    """nan below four rows, where there is no unbiased estimate."""
    return cosine(*(_u_centred(x_ND @ x_ND.T) for x_ND in (a_ND, b_ND))) if len(a_ND) > 3 else float("nan")


def _u_centred(gram_NN: np.ndarray) -> np.ndarray:
    size = len(gram_NN)
    gram_NN = gram_NN - np.diag(np.diag(gram_NN))
    sums_N = gram_NN.sum(0)
    centred_NN: np.ndarray = (
        gram_NN - (sums_N[:, None] + sums_N) / (size - 2) + sums_N.sum() / ((size - 1) * (size - 2))
    )
    np.fill_diagonal(centred_NN, 0)
    return centred_NN


def norm_gap(a: np.ndarray, b: np.ndarray) -> float:
    return abs(float(np.linalg.norm(a) - np.linalg.norm(b)))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b))


MEASURES: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "flattened": cosine, "token_mean": token_mean, "row_by_row": row_by_row, "all_rows": all_rows,
    "cka": cka, "cka_debiased": cka_debiased, "norm_gap": norm_gap, "distance": distance,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Item:
    """One thing to compare: `value` has the rows that the model reads, `dead_ND` are stored rows that it never reads; pairs
    are grouped by `task` and `origin` (empty for an unknown origin)."""

    name: str
    value: SoftPrompt | TaskVector
    dead_ND: Tensor | None = None
    task: str = ""
    origin: str = ""

    @classmethod
    def of(cls, name: str, rows: SoftPrompt | TaskVector, dead_ND: Tensor | None = None) -> "Item":
        """An item with the task and origin that the value records."""
        recorded = rows.origin if isinstance(rows, TaskVector) else rows.measured_from
        return cls(name, rows, dead_ND, rows.provenance.task or name, recorded)

    @property
    def live_PD(self) -> np.ndarray:
        live = self.value.weight if isinstance(self.value, SoftPrompt) else self.value.delta
        return live.numpy().astype(np.float64)

    def matrix(self, rows: str) -> np.ndarray:
        """The live rows, or all stored ones, in float64."""
        if rows == "live" or self.dead_ND is None:
            return self.live_PD
        return np.concatenate([self.live_PD, self.dead_ND.numpy().astype(np.float64)])

    def travelled(self) -> tuple[float, float] | None:
        """How far training moved the live rows from the origin, |a - origin|, and that over |origin|, where a value much
        larger than 1 means that the origin hardly matters; a task vector is that move itself. None if no origin is recorded."""
        if isinstance(self.value, TaskVector):
            moved, start = float(np.linalg.norm(self.live_PD)), self.value.origin_norm
        elif self.value.origin is not None:
            origin_PD = self.value.origin.numpy().astype(np.float64)
            moved, start = distance(self.live_PD, origin_PD), float(np.linalg.norm(origin_PD))
        else:
            return None
        return moved, moved / start if start else float("nan")


def addends(a: Item, b: Item) -> tuple[float, float]:
    """The flattened cosine of all stored rows as the sum of the terms of live and of dead rows."""
    size = float(np.linalg.norm(a.matrix("all")) * np.linalg.norm(b.matrix("all")))
    live = float(np.vdot(a.live_PD, b.live_PD)) / size if size else float("nan")
    return live, cosine(a.matrix("all"), b.matrix("all")) - live


def origins_of(a: Item, b: Item) -> Origins:
    if not a.origin or not b.origin:
        return "unknown"
    return "same" if a.origin == b.origin else "other"


@dataclass(frozen=True, eq=False)
class Similarity:
    """Symmetric matrices by measure, in the order of `items`."""

    items: tuple[Item, ...]
    rows: str
    matrices: Mapping[str, np.ndarray]

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(item.task for item in self.items))

    def by_task(self, measure: str, pairs: str = "other") -> np.ndarray:
        """Averages (T, T) over the pairs of each cell, nan for a cell without pairs. No item is paired with itself.

        `other`: pairs of different origins, in every cell, so that a task can be compared with itself and with others.
        `same`: pairs of one origin; of one task these are the same prompt, or differ by the order of the rows alone.
        `published`: for one task pairs of different origins, for two tasks every pair, those of one origin among them. Its
        diagonal and the rest are therefore averages over different things."""
        for name, value, known in (("measure", measure, tuple(MEASURES)), ("kind of pairs", pairs, PAIRS)):
            if value not in known:
                raise ConfigError(f"no {name} '{value}'{suggest(value, list(known))}")
        cells: dict[tuple[int, int], list[float]] = {}
        for i, j in combinations(range(len(self.items)), 2):
            a, b = self.items[i], self.items[j]
            kind = origins_of(a, b)
            if (pairs == "published" and (a.task != b.task or kind != "same")) or kind == pairs:
                cell = sorted((self.tasks.index(a.task), self.tasks.index(b.task)))
                cells.setdefault((cell[0], cell[1]), []).append(float(self.matrices[measure][i, j]))
        means_TT = np.full((len(self.tasks),) * 2, np.nan)
        for (one, two), values in cells.items():
            means_TT[one, two] = means_TT[two, one] = np.mean(values)
        return means_TT

    def gap(self, measure: str) -> dict[str, float]:
        """Same-origin and other-origin means of two different tasks, over the pairs of tasks that have both, and their
        difference; and the mean of one task over different origins."""
        same, other = self.by_task(measure, "same"), self.by_task(measure, "other")
        both = np.triu(~np.isnan(same) & ~np.isnan(other), 1)
        one, two = (float(np.mean(x[both])) if both.any() else float("nan") for x in (same, other))
        own = np.diag(other)[~np.isnan(np.diag(other))]
        return {"same origin": one, "other origin": two, "gap": one - two, "pairs of tasks": int(both.sum()),
                "same task, other origin": float(np.mean(own)) if len(own) else float("nan")}  # fmt: skip

    def card(self) -> dict[str, Any]:
        """The result as plain JSON, with None for nan: `what` is compared (`prompts` or `vectors`); `prompts` with norms and
        distance travelled; by measure `matrices` (N, N) in the order of `prompts`, `by_task` and kind of pairs (T, T) in the
        order of `tasks`, and `gaps`."""
        by_task = {
            measure: {pairs: self.by_task(measure, pairs).tolist() for pairs in PAIRS} for measure in self.matrices
        }
        what = "vectors" if isinstance(self.items[0].value, TaskVector) else "prompts"
        card = {"what": what, "rows": self.rows, "prompts": [_item(item, self.rows) for item in self.items],
                "tasks": self.tasks,
                "matrices": {measure: matrix.tolist() for measure, matrix in self.matrices.items()},
                "by_task": by_task, "gaps": {measure: self.gap(measure) for measure in self.matrices}}  # fmt: skip
        return _plain(card)  # type: ignore[no-any-return]


def _item(item: Item, rows: str) -> dict[str, Any]:
    matrix_ND = item.matrix(rows)
    moved, share = item.travelled() or (float("nan"), float("nan"))
    return {"name": item.name, "task": item.task, "origin": item.origin, "rows": len(matrix_ND),
            "norm": float(np.linalg.norm(matrix_ND)), "travelled": moved, "travelled/origin": share}  # fmt: skip


def _plain(value: Any) -> Any:
    """The value with None for nan, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def compare(items: Sequence[Item], rows: str = "live") -> Similarity:
    """Every measure of every pair; raises PromptMismatch, naming both, for a prompt beside a vector, other models, widths,
    lengths or numbers of dead rows, PromptError for fewer than two items and ConfigError for other `rows`."""
    if rows not in ROWS:
        raise ConfigError(f"rows = '{rows}': use live or all")
    if len(items) < 2:
        raise PromptError("similarity needs at least two prompts")
    for first, other in combinations(items, 2):
        _check(first, other, rows)
    size, found = len(items), [item.matrix(rows) for item in items]
    matrices = {measure: np.zeros((size, size)) for measure in MEASURES}
    for measure, function in MEASURES.items():
        for i, j in combinations(range(size), 2):
            matrices[measure][i, j] = matrices[measure][j, i] = function(found[i], found[j])
        for i in range(size):
            matrices[measure][i, i] = function(found[i], found[i])
    return Similarity(tuple(items), rows, matrices)


def _check(first: Item, other: Item, rows: str) -> None:
    names = f"'{first.name}' and '{other.name}'"
    if first.name == other.name:
        raise PromptError(f"two things to compare are called '{first.name}': give each a name of its own")
    if type(first.value) is not type(other.value):
        raise PromptMismatch(
            f"{names}: one is a prompt, one a task vector; convert prompts with v(...), or pass --vectors"
        )
    try:
        check_same_space(first.value, other.value)
    except PromptMismatch as error:
        raise PromptMismatch(f"{names} cannot be compared: {error}") from None
    dead = [0 if item.dead_ND is None else len(item.dead_ND) for item in (first, other)]
    if rows == "all" and dead[0] != dead[1]:
        raise PromptMismatch(
            f"{names} cannot be compared on all stored rows: {dead[0]} and {dead[1]} of them are never read; use live rows"
        )


def weighted_prompt(probe: SoftPrompt, sources: Sequence[SoftPrompt]) -> SoftPrompt:
    """SPoT's weighted average of sources (Vu et al. 2022, section 4), here of all sources given:

        Σ_i s_i θ_i / Σ_i s_i        s_i = max(0, cos(token mean of probe, token mean of θ_i))

    where the probe is a prompt of the target task after a short training. The paper does not define the case of a negative
    cosine; here such a source has weight 0. Raises PromptError if no cosine is positive."""
    check_joins(probe, *sources)
    first_PD = probe.weight.double().numpy()
    similar = [max(0.0, token_mean(first_PD, source.weight.double().numpy())) for source in sources]
    total = sum(similar)
    if total == 0:
        raise PromptError(
            "weighted(): no source prompt is similar to the probe (no cosine above 0); mean(...) weighs them equally"
        )
    return mean_prompt(sources, [value / total for value in similar])
