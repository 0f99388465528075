"""Claims about task prompt vectors (Belanec et al. 2024)."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import pandas as pd

from cpeft.report.published.matching import MODELS
from cpeft.stats.paired import task_means
from studies.claims.attempt import MINILM, PUBLISHED, SEVEN, page, smollm2
from studies.claims.claim import Claim, Evidence, Found, Judge, Read, Verdict
from studies.claims.cosines import (
    STUDY,
    apart,
    cosines_of,
    kinds_compared,
    lengths,
    ordered_alike,
    origins_compared,
    ours,
    same_against_other_origin,
    same_against_other_task,
    tasks_compared,
    vectors_against_prompts,
)
from studies.claims.frames import TaskSeeds, scores, table_with
from studies.claims.rules import both, by_origin, differences, keeps, of_tasks

rejudged = import_module("studies.tpv-rejudged.claims")
COMMAND = "python -m studies.claims"
MARGIN = 2.0  # points that another origin may cost, written down before vectors-minilm was run
NAMES = {"T5": "T5-base", "LLaMA": "LLaMA-3.1-8B-Instruct", "DeepSeek": "DeepSeek-LLM-7B-Chat"}
SIX = ("sst2", "trec")  # of six.toml
KEPT = 90.0  # per cent of the single prompt's score that a sum must keep, likewise


def six(judge: Judge) -> Evidence:
    """The two tasks of the study on SmolLM2 that have six origins."""
    return smollm2(judge, STUDY, "six")


def minilm(read: Read, judge: Judge) -> Evidence:
    """The study vectors-minilm, from tables of means on its page."""
    return Evidence("vectors-minilm", MINILM, "cpeft run studies/vectors-minilm/recipe.toml --store STORE", read, judge)


# --- other origins


def origins(tasks: Sequence[str] = ()) -> Judge:
    """Vectors on other origins minus the prompt that was trained there, and minus what stands in the place of the vector. Units
    are tasks, or of named tasks the origins."""

    def judge(frame: pd.DataFrame) -> Found:
        made_on = frame["label"].str.extract(r"^vector of origin (\d+)$")[0].astype(float)  # a seed is an origin
        kinds = frame.assign(label=frame["label"].where(made_on.isna() | (made_on == frame["seed"]), "other"))
        sides = [scores(kinds, "origins", label) for label in ("other", "origin alone", "noise")]
        other, alone, noise, own = (_units(side, tasks) for side in (*sides, trained(frame)))
        return of_tasks(tasks, on_others(other, own, alone, noise, "origins" if tasks else "tasks"))

    return judge


def trained(frame: pd.DataFrame) -> TaskSeeds:
    """The prompts whose vectors are taken."""
    return scores(frame, "sources", *frame.loc[frame["stage"] == "sources", "label"].unique())


def on_others(other: TaskSeeds, own: TaskSeeds, alone: TaskSeeds, noise: TaskSeeds, of: str = "tasks") -> Found:
    """The claim holds where another origin costs less than the margin and is better than no vector and than noise; over origins
    than noise, for six of them reach no significance in two comparisons."""
    one, two = (task_means(side) if of == "tasks" else side for side in (other, own))
    kept = keeps("other - own origin", [one[unit] - two[unit] for unit in one if unit in two], -MARGIN, of)
    planned = (("other - origin alone", other, alone), ("other - noise", other, noise))
    return both(kept, differences(*planned[0 if of == "tasks" else 1 :], of=of))


def _units(values: TaskSeeds, tasks: Sequence[str]) -> TaskSeeds:
    return by_origin(values, tasks) if tasks else values


def printed_origins() -> list[TaskSeeds]:
    """The means of vectors-minilm's table, which has no single scores."""
    head, body = table_with("vectors-minilm", "Other origin")
    at = [head.index(name) for name in ("Other origin", "Own origin", "Origin alone", "Noise")]
    return [{(row[0], 0): float(row[place].split()[0]) for row in body} for place in at]


def published_origins(model: str) -> Found:
    rows = PUBLISHED["cross_origin"]["rows"]
    own, mixed = (
        {task: cell["mean"] for task, cell in rows[f"{model} {kind}"].items() if "avg" not in task}
        for kind in ("original", "mixed")
    )
    return keeps("mixed - original", [mixed[task] - own[task] for task in own], -MARGIN)


def on_any_origin(model: str) -> Claim:
    return Claim(
        f"Vectors work on any origin: {model}",
        "Task prompt vectors are independent of the random initialisation of prompt tuning.",
        "Abstract; Table 1",
        f"{SEVEN}, vectors of every origin on every other, beside noise and the origin alone, which the table "
        f"lacks. Our bound: at most {MARGIN:g} points are lost",
        (published(lambda: model, published_origins, f"{NAMES[model]}, published figures"),),
    )


# --- sums


def kept_by_sums(tasks: Sequence[str] = ()) -> Judge:
    """The score of sums in per cent of the single prompt's, and beside the origin alone; validation rows choose the scale of
    each pair and seed. Units are tasks, or of named tasks, whose sums alone count, the origins."""

    def judge(frame: pd.DataFrame) -> Found:
        added = frame[frame["stage"] == "addition"]
        if added.empty:
            return Found("no sums", Verdict.NOT_TESTABLE)
        pairs = added.groupby("run_id")["task"].transform(lambda members: " + ".join(sorted(members)))
        ranked = added.assign(pair=pairs).sort_values(["validation", "label"], ascending=False, kind="stable")
        if tasks:
            ranked = ranked[ranked["pair"] == " + ".join(sorted(tasks))]
        chosen = ranked.drop_duplicates(["pair", "seed", "task"])  # without validation rows scale 1
        sums = chosen.groupby(["task", "seed"])["value"].mean().to_dict()
        single, alone = trained(frame), scores(frame, "origins", "origin alone")
        shares = {key: 100 * value / single[key] for key, value in sums.items() if single.get(key)}
        of = "origins" if tasks else "tasks"
        units = _units(shares, tasks) if tasks else task_means(shares)
        return both(
            kept(units, of), differences(("sum - origin alone", _units(sums, tasks), _units(alone, tasks)), of=of)
        )

    return judge


def kept(shares: Mapping[Any, float], of: str = "tasks") -> Found:
    return keeps("sum / single", list(shares.values()), KEPT, of, "per cent")


def printed_shares() -> Mapping[str, float]:
    head, body = table_with("vectors-minilm", "Sum")
    task, share = head.index("Scored on"), head.index("Relative")
    return task_means({(row[task], place): float(row[share]) for place, row in enumerate(body) if row[task]})


def starts(stages: tuple[str, ...], shots: str) -> Judge:
    """The sum of vectors minus the mean of its single sources, one prompt of both, and ATTEMPT; with few shots the mean over
    their numbers. The better of two sources, chosen afterwards, is ahead by chance: hence their mean."""

    def judge(frame: pd.DataFrame) -> Found:
        frame = frame[frame["stage"].isin(stages)].assign(stage="starts")
        if shots != "0":
            frame = frame[frame["shots"].notna()]
        frame = frame.loc[[_is_part(task, label) for task, label in zip(frame["task"], frame["label"], strict=True)]]
        singles = [label for label in frame["label"].unique() if re.match(r"SPoT (?!both|weighted)", label)]
        found = scores(frame, "starts", "sum of vectors")
        sides = {
            "SPoT": scores(frame, "starts", *singles),
            "multi-task SPoT": scores(frame, "starts", "SPoT both"),
            "ATTEMPT": scores(frame, "starts", "ATTEMPT"),
        }
        return differences(*((f"sum - {label}", found, side) for label, side in sides.items()))

    return judge


def _is_part(task: str, label: str) -> bool:
    """False for the start from a task of another family, a control of vectors-minilm."""
    targets = import_module("studies.vectors-minilm.claims").DESIGN.targets
    return not any(target.task == task and label in target.unrelated.values() for target in targets)


def published_starts(shots: str) -> Found:
    """F1 over the targets that the table has; SST5 is left out, as it is SST-2."""
    rows = PUBLISHED["few_shot_f1"]["rows"]
    found = {
        name: {(task, 0): row[task][shots]["mean"] for task in row if task != "SST5"}
        for name, row in ((short, rows[long]) for short, long in rejudged.ROWS.items())
    }
    spot = {key: (value + found["source 2"][key]) / 2 for key, value in found["source 1"].items()}
    sides = (("SPoT", spot), ("multi-task SPoT", found["multi-task SPoT"]), ("ATTEMPT", found["ATTEMPT"]))
    return differences(*((f"sum - {label}", found["TPV"], side) for label, side in sides))


def start_claim(title: str, words: str, stages: tuple[str, ...], shots: str) -> Claim:
    return Claim(
        title,
        words,
        "Figure 3 (a picture) and the few-shot table",
        f"{SEVEN}; the paper has six, of which the one that it names SST5 is SST-2. Three planned comparisons: with the "
        "mean of the single sources, with one prompt of both, with ATTEMPT",
        (
            page("vectors-minilm", MINILM, starts(stages, shots)),
            published(lambda: shots, published_starts),
        ),
    )


def published(read: Read, judge: Judge, model: str = "T5-base, published figures", command: str = COMMAND) -> Evidence:
    return Evidence("published.json of the report", model, command, read, judge)


def relations(measure: str) -> Found:
    """The printed means of vectors-minilm, whose single cosines are not committed."""
    _, body = table_with("vectors-minilm", "other family")
    (row,) = [row for row in body if row[:2] == ["vectors", measure]]
    words = ("same task", "same family", "other family")
    figure = ", ".join(f"{name} {cell}" for name, cell in zip(words, row[2:], strict=True))
    return Found(
        f"mean cosine of vectors of other origins, {measure}: {figure}; single cosines are not committed",
        Verdict.NOT_TESTABLE,
    )


COSINES = "All saved rows were compared, of which T5 read half (see the doubled prompt)"
CLAIMS = (
    Claim(
        "Equal origins are most alike: prompts",
        "Prompts of different tasks are more alike where they were trained from one origin.",
        "Supplement, Figure 1",
        f"Seven tasks or more from several origins, on the rows that are read. {COSINES}",
        (
            published(lambda: "t5_prompts", same_against_other_origin),
            *ours(partial(origins_compared, "prompts")),
        ),
    ),
    Claim(
        "Equal origins are most alike: vectors",
        "Vectors of different tasks are more alike where they come from one origin.",
        "Supplement, Figure 2",
        f"The same. {COSINES}",
        (
            published(lambda: "t5_vectors", same_against_other_origin),
            *ours(partial(origins_compared, "vectors")),
        ),
    ),
    Claim(
        "Other tasks and origins are least alike",
        "Vectors of one task are alike across origins, those of another task and origin least.",
        "Supplement, Figure 2",
        "Seven tasks or more, the same pairs of origins for one task as for two: the published diagonal leaves out equal "
        "origins and the other cells hold them, so cells of other origins alone are compared here",
        (
            published(lambda: "t5_vectors", same_against_other_task),
            *ours(tasks_compared),
            minilm(lambda: "token_mean", relations),
        ),
    ),
    Claim(
        "Vectors of other origins more alike than prompts: one task",
        "Task prompt vectors from different initialisations are more similar than the prompts.",
        "Supplement, text on Figures 1 and 2",
        f"Seven tasks or more from several origins. {COSINES}",
        (
            published(lambda: True, vectors_against_prompts),
            *ours(partial(kinds_compared, True)),
        ),
    ),
    Claim(
        "Vectors of other origins more alike than prompts: two tasks",
        "The same of different tasks.",
        "Supplement, text on Figures 1 and 2",
        f"The same. {COSINES}",
        (
            published(lambda: False, vectors_against_prompts),
            *ours(partial(kinds_compared, False)),
        ),
    ),
    Claim(
        "Some pairs of tasks are closer than others",
        "Which tasks are alike is a matter of the tasks, and not of chance.",
        "Supplement, Figures 1 to 4",
        "Two independent measurements of the same pairs of tasks that order them alike",
        (published(lambda: "t5_vectors", ordered_alike, "T5-base and LLaMA-3.1-8B-Instruct, published figures"),),
    ),
    Claim(
        "Prompts and vectors differ less on large models",
        "On LLaMA and DeepSeek the figures of prompts and of vectors are nearly the same, on T5 they are not.",
        "Supplement, Figures 1 to 4",
        "Cosines of both on all three models. On the large ones a vector is much longer than its origin, which makes it the "
        "prompt nearly by arithmetic",
        (
            published(lambda: 0.01, apart, "T5-base, LLaMA-3.1-8B-Instruct and DeepSeek-LLM-7B-Chat, published figures"),
            cosines_of(lengths),
        ),
    ),
    Claim(
        "Vectors work on any origin",
        "A vector of one origin works on others, and better than noise or no vector.",
        "Abstract; Table 1",
        f"{SEVEN}, vectors of every origin on every other. Our bound: at most {MARGIN:g} points are lost",
        (
            six(origins(tasks=SIX)),
            smollm2(origins(), STUDY),
            minilm(printed_origins, lambda sides: on_others(*sides)),
        ),
    ),
    *map(on_any_origin, MODELS),
    Claim(
        "Sums keep their tasks",
        "The sum of two vectors keeps what each of them can do.",
        "Figure 2 (a picture, not found as numbers)",
        f"{SEVEN}, the sums of all their pairs. Our bound: {KEPT:g} per cent of the single prompt's score, and more than "
        "the origin alone",
        (
            six(kept_by_sums(tasks=SIX)),
            smollm2(kept_by_sums(), STUDY),
            minilm(printed_shares, kept),
        ),
    ),
    start_claim(
        "Sums start better, without training",
        "Without training on a new task, the sum of two vectors is a better start than its sources, one prompt of both, or "
        "ATTEMPT.",
        ("inference-0", "sentiment-0"), "0",
    ),
    start_claim(
        "Sums start better, with few shots",
        "With few training rows of a new task, the same.",
        ("inference", "sentiment"), "100",
    ),
)  # fmt: skip
