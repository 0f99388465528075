"""Are prompts as alike as their vectors because origins are short? `python -m studies.tpv-smollm2.scaled STORE`

Every prompt is origin + vector. The table has the mean cosine of s * origin + vector over pairs of prompts, for growing s.
Nothing is trained again: it says what the length of an origin does to a cosine, not what training from a longer one would find.
"""

import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from studies.scores import table

from cpeft.prompts.hashes import stored_rows
from cpeft.prompts.similarity import token_mean
from cpeft.store.run_folder import Store

SCALES = (1, 2, 4, 8, 16)
Prompts = dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]  # origin and vector by task and seed


def scaled(store: Path) -> list[str]:
    prompts = dict(parts(store))
    lengths = [np.linalg.norm(vector_ND) / np.linalg.norm(origin_ND) for origin_ND, vector_ND in prompts.values()]
    head = ["", "one task, other origins", "two tasks, other origins", "two tasks, one origin"]
    rows = [[f"prompts, origin x {scale}", *cosines(prompts, scale)] for scale in SCALES]
    return [
        *table(head, [["vectors", *cosines(prompts, 0)], *rows]),
        "",
        f"{len(prompts)} prompts; a vector is {np.mean(lengths):.1f} times as long as its origin on average",
    ]


def parts(store: Path) -> Iterator[tuple[tuple[str, int], tuple[np.ndarray, np.ndarray]]]:
    """The origin and the vector of every prompt of the stage `sources`."""
    for run in Store(store).runs():
        if run.done and (result := run.result()).stage == "sources":
            (task,) = result.tasks
            prompt_ND, origin_ND = (stored_rows(run.path / "prompts" / task, origin=which) for which in (False, True))
            if prompt_ND is not None and origin_ND is not None:
                yield (task, result.seed), (origin_ND, prompt_ND - origin_ND)


def cosines(prompts: Prompts, scale: float) -> list[str]:
    """The mean over pairs of one task and other origins, of two tasks and other origins, of two tasks and one origin."""
    found: dict[tuple[bool, bool], list[float]] = {}
    for (one, (o_ND, v_ND)), (two, (p_ND, w_ND)) in combinations(prompts.items(), 2):
        kind = one[0] == two[0], one[1] == two[1]
        found.setdefault(kind, []).append(token_mean(scale * o_ND + v_ND, scale * p_ND + w_ND))
    return [f"{np.mean(found[kind]):.3f}" for kind in ((True, False), (False, False), (False, True))]


if __name__ == "__main__":
    print("\n".join(scaled(Path(sys.argv[1]))))
