"""What a run starts from, read off its `config.toml`: an origin, and scaled task vectors of other runs of the store.

    start = origin_i + Σ_k scale_k v(source_k)          v(source) = prompt of a source run minus its own origin

Origin i is what `vocab` or `random` draw for the seed of the run, which is the very matrix a source of that seed started
from. The formula is parsed by the parser of prompts (`prompts/formula/parse.py`, which needs no torch).
"""

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cpeft.prompts.formula.parse import parse_prompt
from cpeft.prompts.formula.tree import Call, Difference, Fresh, Name, Node, Scaled, Sum, kind_of
from cpeft.report.study import Run, Study

DRAWN = ("vocab", "random")  # by the seed; `labels` and `text` are the same in every run
REFERENCE = re.compile(r"([^/@]+)/([^@]+)(?:@(\d+))?")  # stage/task or stage/label/task, @seed
Asked = Callable[[str], str]  # the metric that is asked for of a task, "" for its first
Exported = dict[tuple[str, str], list[tuple[Run, str]]]  # by stage and rest of a reference: runs, names of prompts


@dataclass(frozen=True)
class Vector:
    """One term: `scale` times the vector of the prompt that `source` trained on `task`; `control` is "noise" or "shuffle"
    where these took its place, else empty."""

    scale: float
    source: Run
    task: str
    control: str


@dataclass(frozen=True)
class Start:
    """A run that trained nothing: what it scored is its start itself."""

    run: Run
    vectors: tuple[Vector, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.run.result.tasks

    @property
    def origin(self) -> Hashable:
        return origin_of(self.run)


def formula_of(config: dict[str, Any]) -> Node:
    """What the prompt of a run is initialised by."""
    return parse_prompt(config.get("prompt", {}).get("init", "vocab")).tree


def origin_of(run: Run) -> Hashable:
    """Equal for runs that draw the same origin: they share their seed, or `seeds.init` where that is given."""
    given = run.config.get("seeds", {}).get("init")
    return ("seed", run.result.seed) if given is None else ("init", given)


def headline(run: Run, task: str) -> float:
    """Test score of a run in the task's first metric."""
    return score(run, task, metric_of([run], task, ""))


def metric_of(runs: Sequence[Run], task: str, asked: str) -> str:
    """The metric that is asked for, if all runs were scored by it, else the task's first."""
    known = all(asked in run.result.scores[task] for run in runs)
    return asked if known else runs[0].result.data[task].headline


def score(run: Run, task: str, metric: str) -> float:
    """Test score of a run."""
    return run.result.scores[task][metric].value


def untrained(study: Study) -> Iterator[Start]:
    """The runs of no steps that start from a drawn origin, alone or plus vectors whose runs are in the store."""
    exported = _exported(study)
    for run in study.runs:
        config = run.config
        if config.get("train", {}).get("steps") != 0 or config.get("sources") or not run.result.prompts:
            continue  # trained, a mixture, or without a prompt
        terms = list(_terms(formula_of(config)))
        vectors = tuple(vector for term in terms if term and (vector := _found(term, run, exported)))
        if len(vectors) == len(terms):
            yield Start(run, vectors)


def _exported(study: Study) -> Exported:
    exported: Exported = {}
    for run in study.runs:
        for task in run.result.prompts:
            for what in (task, f"{run.result.label}/{task}"):
                exported.setdefault((run.result.stage, what), []).append((run, task))
    return exported


class _Term(NamedTuple):
    scale: float
    reference: str
    control: str


def _terms(part: Node, scale: float = 1.0, control: str = "") -> Iterator[_Term | None]:
    """The vectors of a formula, and None for everything in it that is neither a vector nor a drawn origin."""
    match part:
        case Fresh(kind) if kind in DRAWN:
            return
        case Call("v", (Name(reference),)):
            yield _Term(scale, reference, control)
        case Call("cross" | "mixed", (inner,)):
            yield from _terms(inner, scale, control)
        case Call("noise" | "shuffle" as kind, (inner,)):
            yield from _terms(inner, scale, kind)
        case Scaled(factor, inner):
            yield from _terms(inner, scale * factor, control)
        case Sum(parts):
            for inner in parts:
                yield from _terms(inner, scale, control)
        case Call("mean", parts) if kind_of(part) == "vector":
            for inner in parts:
                yield from _terms(inner, scale / len(parts), control)
        case Difference(left, right) if kind_of(right) == "vector":
            yield from _terms(left, scale, control)
            yield from _terms(right, -scale, control)
        case _:
            yield None


def _found(term: _Term, run: Run, exported: Exported) -> Vector | None:
    """The term with its run: of the seed it names, else of the seed of `run`, else of the only seed there is. None where the
    store holds no such run, or several."""
    if not (match := REFERENCE.fullmatch(term.reference)):
        return None
    stage, what, seed = match.groups()
    found = exported.get((stage, what), [])
    wanted = int(seed) if seed else run.result.seed
    same = [(other, task) for other, task in found if other.result.seed == wanted]
    chosen = same or ([] if seed else found)
    return Vector(term.scale, *chosen[0], term.control) if len(chosen) == 1 else None
