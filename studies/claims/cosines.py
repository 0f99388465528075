"""Cosines of prompts and of their task vectors, for the claims about similarity: published ones, and those of our studies."""

from collections.abc import Callable
from functools import partial

from cpeft.store.similarity import SavedSimilarity, SimilarityTables
from studies.claims.attempt import PUBLISHED, SMOLLM2
from studies.claims.claim import Evidence, Found, Judge, Verdict
from studies.claims.frames import compared
from studies.claims.rules import Cells, mantel, of_tasks, over_pairs

TASKS = ("MNLI", "QQP", "QNLI", "SST2", "STS-B", "MRPC", "RTE", "CoLA", "TREC", "DBPedia", "Yelp")
STUDY = "tpv-smollm2"
Side = tuple[str, str, bool]  # prompts or vectors; of the same or of other origins; of one task or of two

# --- published


def cells(kind: str, origin: str, same_task: bool = False) -> Cells:
    """Cosines by pair of tasks, of different tasks or of tasks with themselves."""
    found = {}
    for names, values in PUBLISHED["cosine"]["cells"][kind].items():
        one, two = names.split("|")
        if (one == two) == same_task and one in TASKS and two in TASKS:
            found[one, two] = values[origin]
    return found


def same_against_other_origin(kind: str) -> Found:
    return over_pairs("same - other origin", cells(kind, "same_origin"), cells(kind, "different_origin"), TASKS)


def same_against_other_task(kind: str) -> Found:
    name = "same - other task, other origins"
    return over_pairs(name, cells(kind, "different_origin", True), cells(kind, "different_origin"), TASKS)


def vectors_against_prompts(same_task: bool) -> Found:
    name = f"vectors - prompts, {'one task' if same_task else 'two tasks'}, other origins"
    return over_pairs(
        name, *(cells(kind, "different_origin", same_task) for kind in ("t5_vectors", "t5_prompts")), TASKS
    )


def ordered_alike(kind: str) -> Found:
    return mantel(
        "T5's vectors against LLaMA's prompts", cells(kind, "different_origin"), cells("llama_prompts", "mean")
    )


def apart(bound: float) -> Found:
    """How far prompts and vectors of T5 lie apart, against the bound that is printed for the larger models."""
    both_kinds = [cells(kind, "different_origin") for kind in ("t5_prompts", "t5_vectors")]
    distance = {pair: abs(value - both_kinds[1][pair]) for pair, value in both_kinds[0].items()}
    found = over_pairs("T5's |prompt - vector| minus the bound", distance, dict.fromkeys(distance, bound), TASKS)
    return Found(
        f"{found.figure}; LLaMA's and DeepSeek's differ by at most {bound}",
        found.verdict,
        found.estimate,
        found.interval,
    )


# --- cosines of a study of ours, between the means of the rows, as published


def cosines_of(judge: Judge, recipe: str = "recipe", file: str = "similarity.json") -> Evidence:
    """The stage `similarity` of the study on SmolLM2."""
    folder = f"studies/{STUDY}"
    command = (
        f"cpeft run {folder}/{recipe}.toml --store STORE && cp STORE/similarity/*/similarity.json {folder}/data/{file}"
    )
    name = STUDY if recipe == "recipe" else f"{STUDY}, {recipe}"
    return Evidence(name, SMOLLM2, command, partial(compared, STUDY, file), judge)


def ours(comparison: Callable[[str], Judge]) -> tuple[Evidence, ...]:
    """One comparison of cosines over six origins of two tasks, and over tasks."""
    return (cosines_of(comparison("origins"), "six", "similarity-six.json"), cosines_of(comparison("tasks")))


def task_cells(found: SavedSimilarity, what: str, pairs: str, same_task: bool) -> Cells:
    """Mean cosines by pair of tasks over `pairs` of prompts of the same or of other origins."""
    card = card_of(found, what)
    means = card.by_task["token_mean"][pairs]
    return {
        (one, two): value
        for i, one in enumerate(card.tasks)
        for j, two in enumerate(card.tasks[i:], i)
        if (value := means[i][j]) is not None and (i == j) == same_task
    }


def origin_cells(found: SavedSimilarity, what: str, pairs: str, same_task: bool) -> Cells:
    """The same by pair of origins, over prompts of one task or of two."""
    card = card_of(found, what)
    values: dict[tuple[str, str], list[float]] = {}
    for i, one in enumerate(card.prompts):
        for j, two in enumerate(card.prompts[:i]):
            low, high = sorted((one.origin, two.origin))
            if (one.task == two.task) == same_task and (low == high) == (pairs == "same"):
                values.setdefault((low, high), []).append(card.matrices["token_mean"][i][j])
    return {pair: sum(each) / len(each) for pair, each in values.items()}


def card_of(found: SavedSimilarity, what: str) -> SimilarityTables:
    (card,) = [card for card in found.cards if (card.what, card.rows) == (what, "live")]
    return card


def cells_compared(name: str, first: Side, second: Side, over: str) -> Judge:
    def judge(found: SavedSimilarity) -> Found:
        cells = task_cells if over == "tasks" else origin_cells
        card = found.cards[0]
        units = card.tasks if over == "tasks" else sorted({each.origin for each in card.prompts})
        named = card.tasks if over == "origins" else ()
        return of_tasks(named, over_pairs(name, cells(found, *first), cells(found, *second), units, over))

    return judge


def origins_compared(what: str, over: str) -> Judge:
    return cells_compared("same - other origin", (what, "same", False), (what, "other", False), over)


def tasks_compared(over: str) -> Judge:
    return cells_compared(
        "same - other task, other origins", ("vectors", "other", True), ("vectors", "other", False), over
    )


def kinds_compared(same_task: bool, over: str) -> Judge:
    name = f"vectors - prompts, {'one task' if same_task else 'two tasks'}, other origins"
    return cells_compared(name, ("vectors", "other", same_task), ("prompts", "other", same_task), over)


def lengths(found: SavedSimilarity) -> Found:
    """How far the cosines of prompts lie from those of vectors, beside how far training moved the prompts."""
    sides = [task_cells(found, what, "other", same_task=False) for what in ("prompts", "vectors")]
    distance = {pair: abs(value - sides[1][pair]) for pair, value in sides[0].items()}
    apart = over_pairs("|prompt - vector|", distance, dict.fromkeys(distance, 0.0), found.cards[0].tasks)
    shares = [each.share for each in card_of(found, "vectors").prompts if each.share]
    moved = f"a vector is {min(shares):.1f} to {max(shares):.1f} times as long as its origin"
    return Found(f"{apart.figure}; {moved}", Verdict.NOT_TESTABLE, apart.estimate, apart.interval)
