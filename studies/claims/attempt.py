"""Claims of the replication of ATTEMPT, and those of the original paper that it repeats."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from cpeft.report.published import against
from studies.claims.claim import Claim, Evidence, Found, Judge, Verdict
from studies.claims.frames import committed, printed, scores
from studies.claims.rules import best_of, differences, spreads, trend

SMOLLM2 = "SmolLM2-135M-Instruct Q4_1"
MINILM = "minilm-seq2seq, 30 million parameters, bfloat16"
MINI = "mini, 7.8 million parameters"
T5 = "T5-base, published figures"
SEVEN = "Seven target tasks or more, each method on the same rows and seeds of every one"
PUBLISHED = json.loads(Path(against.__file__).with_name("published.json").read_text(encoding="utf-8"))
TARGET = "sst2"  # of attempt-smollm2
KIN = ("SPoT sentiment (kin)", "SPoT entailment (kin)")  # on mini's targets
PROMPT_TUNING = ("sources", "prompt tuning")
SHARED = ("shared", "ATTEMPT shared")
FULL = ("prompt tuning (vocab)", "SPoT (mnli)", "ATTEMPT")  # of replication-minilm

# Training rows of the published splits
ROWS = {
    "mnli": 392_702, "qqp": 363_846, "qnli": 104_743, "sst2": 67_349, "stsb": 5_749, "mrpc": 3_668, "rte": 2_490,
    "cola": 8_551, "multirc": 27_243, "boolq": 9_427, "wic": 5_428, "wsc": 554, "cb": 250, "trec": 5_452,
    "ag_news": 120_000, "snli": 549_367, "scitail": 23_596, "imdb": 25_000, "sst5": 8_544, "dbpedia": 560_000,
    "yelp": 560_000,
}  # fmt: skip


def smollm2(judge: Judge, study: str = "attempt-smollm2", recipe: str = "recipe") -> Evidence:
    """A study of SmolLM2, whose frame is committed once it was run; the name of a recipe beside the study's own stands in the
    table."""
    folder = f"studies/{study}"
    command = (
        f"cpeft run {folder}/{recipe}.toml --store STORE && cpeft report STORE --frame {folder}/data/scores.parquet"
    )
    name = study if recipe == "recipe" else f"{study}, {recipe}"
    return Evidence(name, SMOLLM2, command, partial(committed, study, "smollm2"), judge)


def page(study: str, model: str, judge: Judge, every_seed: str = "every seed", recipe: str = "recipe") -> Evidence:
    """A study whose scores stand in the tables of its README."""
    command = f"cpeft run studies/{study}/{recipe}.toml --store STORE"
    return Evidence(study, model, command, partial(printed, study, every_seed), judge)


def minilm(judge: Judge) -> Evidence:
    """The study attempt-minilm."""
    return page("attempt-minilm", MINILM, judge)


def minus(name: str, first: tuple[str, str], second: tuple[str, str]) -> Judge:
    """First minus second, each a stage and a label, over tasks."""

    def judge(frame: pd.DataFrame) -> Found:
        return differences((name, scores(frame, *first), scores(frame, *second)))

    return judge


def of_seeds(name: str, first: tuple[str, str], second: tuple[str, str]) -> Judge:
    """The same over the seeds of the one target of the study on SmolLM2."""

    def judge(frame: pd.DataFrame) -> Found:
        sides = (scores(frame, *side, tasks=[TARGET]) for side in (first, second))
        return differences((f"{TARGET}: {name}", *sides), of="seeds")

    return judge


def changes(name: str, first: tuple[str, str], second: tuple[str, str]) -> Judge:
    """The same for a claim that names no direction: a difference either way supports it."""

    def judge(frame: pd.DataFrame) -> Found:
        found = minus(name, first, second)(frame)
        return replace(found, verdict=Verdict.SUPPORTED) if found.verdict is Verdict.REFUTED else found

    return judge


def table_1(frame: pd.DataFrame) -> Found:
    return minus("replication's - authors'", ("table 1", "replication's prompts"), ("table 1", "authors' prompts"))(
        frame
    )


def table_1_frame() -> pd.DataFrame:
    rows = PUBLISHED["source_prompts_table1"]["rows"]
    cells = [
        ("table 1", label, task, 0, value)
        for label, row in rows.items()
        for task, value in row.items()
        if task != "avg"
    ]
    return pd.DataFrame(cells, columns=["stage", "label", "task", "seed", "value"])


def sizes(frame: pd.DataFrame, stage: str, *labels: str) -> Found:
    """The deviation over seeds against the number of training rows, by task."""
    spread = spreads_of(frame, stage, *labels)
    points = [(float(ROWS[task]), value) for (task, _), value in spread.items() if task in ROWS]
    return trend("standard deviation over seeds against training rows", points, falling=True)


def spreads_of(frame: pd.DataFrame, stage: str, *labels: str) -> dict[tuple[str, int], float]:
    """The deviation over seeds by task, mean over labels."""
    each = [spreads(scores(frame, stage, label)) for label in labels]
    return {key: sum(one[key] for one in each) / len(each) for key in each[0] if all(key in one for one in each)}


def steadier(name: str, stage: str, first: str, second: str) -> Judge:
    """Whether scores of the first label scatter more over seeds than those of the second."""

    def judge(frame: pd.DataFrame) -> Found:
        return differences(
            (name, spreads_of(frame, stage, first), spreads_of(frame, stage, second)), unit="points of deviation"
        )

    return judge


def held_back(frame: pd.DataFrame, stage: str, first: str, second: str) -> Found:
    """ATTEMPT minus prompt tuning against the mean of both, by task: against either alone chance makes it fall."""
    one, two = (_means(scores(frame, stage, label)) for label in (first, second))
    points = [((one[task] + two[task]) / 2, one[task] - two[task]) for task in one if task in two]
    return trend(f"{first} - {second} against their mean", points, falling=True)


def _means(found: dict[tuple[str, int], float]) -> dict[str, float]:
    return (
        {str(task): float(value) for task, value in pd.Series(found).groupby(level=0).mean().items()} if found else {}
    )


def one_task(frame: pd.DataFrame, base: str, *labels: str) -> Found:
    """Seeds of single tasks, a planned comparison each: the claim is about these tasks alone."""
    frame = frame[frame["stage"] == "targets"]
    tasks = sorted(frame.loc[frame["label"].isin(labels), "task"].unique())
    sides = [(task, *(scores(frame, "targets", *side, tasks=[task]) for side in (labels, [base]))) for task in tasks]
    return differences(*sides, of="seeds")


def ladder(frame: pd.DataFrame) -> Found:
    return minus("160 steps - 0 steps", ("quality", "sources of 160 steps"), ("quality", "sources of 0 steps"))(frame)


def replication(stage: str, first: str, second: str) -> Evidence:
    """A stage of replication-minilm: `few` or `full`."""
    stages = [f"{stage}-shared" if "shared" in label else stage for label in (first, second)]
    sides = zip(stages, (first, second), strict=True)
    return page("replication-minilm", MINILM, minus(f"{first} - {second}, {stage}", *sides))


def attention_rate(frame: pd.DataFrame) -> Found:
    rates = [
        frame[frame["label"] == f"fresh attention attention_lr={rate}"].assign(label="fresh", stage=str(rate))
        for rate in (0.01, 0.1)
    ]
    return changes("rate 0.01 - rate 0.1", ("0.01", "fresh"), ("0.1", "fresh"))(pd.concat(rates))


def trained_attention(frame: pd.DataFrame) -> Found:
    labels = [f"{kind} attention attention_lr=0.01" for kind in ("pre-trained", "fresh")]
    return minus("pre-trained - fresh, rate 0.01", *(("attention-use", label) for label in labels))(frame)


def never(recipe: str, model: str = "T5-base, not run") -> Evidence:
    """A packaged recipe that would test it, and was never run."""
    return Evidence(f"recipe {recipe}", model, f"cpeft run {recipe} --store STORE", lambda: None, lambda data: data)


CLAIMS = (
    Claim(
        "Better sources than the authors'",
        "The source prompts of the replication score higher than those that the authors of ATTEMPT published.",
        "Replication, Table 1",
        f"{SEVEN}, with all rows of both sets of prompts read. The table has six tasks and one run of each, and the authors' "
        "prompts lost half of their rows (see the cut sources)",
        (Evidence("published Table 1", T5, "python -m studies.claims", table_1_frame, table_1), never("paper/attempt-given")),
    ),
    Claim(
        "Better sources, better ATTEMPT",
        "ATTEMPT on one target at a time gains from better source prompts.",
        "Replication, Tables 2 and 3 (pictures, not found as numbers)",
        f"{SEVEN}, from sources of rising quality",
        (
            smollm2(of_seeds("100 steps - 0 steps", ("single", "ATTEMPT"), ("quality", "sources of 0 steps")), recipe="more"),
            minilm(ladder),
            never("paper/attempt-studies"),
        ),
    ),
    Claim(
        "Single-task above multi-task",
        "One run of all targets falls behind single runs.",
        "Replication, Tables 2 and 3 (pictures; the prose: multi below single on both averages)",
        f"{SEVEN}; several shared runs, as targets of one run share its luck, which no test over tasks can see",
        (
            minilm(minus("single - shared", ("single", "ATTEMPT"), SHARED)),
            replication("full", "ATTEMPT", "ATTEMPT shared"),
            replication("few", "ATTEMPT", "ATTEMPT shared"),
        ),
    ),
    Claim(
        "Better sources, steadier multi-task",
        "With better sources the results of the shared run vary less between runs.",
        "Replication, discussion of Tables 2 and 3",
        f"{SEVEN}, from two sets of sources, six shared runs of each",
        (never("paper/attempt-given"),),
    ),
    Claim(
        "Sources hold a good target back",
        "Where a target can be learned well without sources, mixing them in makes it worse.",
        "Replication, discussion",
        f"{SEVEN}, ATTEMPT and prompt tuning from the same start",
        (
            minilm(lambda frame: held_back(frame, "single", "ATTEMPT", "prompt tuning")),
            page("replication-minilm", MINILM, lambda frame: held_back(frame, "full", "ATTEMPT", "prompt tuning (vocab)")),
        ),
    ),
    Claim(
        "Small data sets scatter most",
        "Results differ between runs, most on small data sets.",
        "Replication, discussion of Tables 2 and 3",
        "Seven targets or more that differ in their number of training rows, several seeds. Small data sets have small test "
        "sets too, which alone widens the scatter",
        (
            page("replication-minilm", MINILM, lambda frame: sizes(frame, "full", *FULL)),
            minilm(lambda frame: sizes(frame, "single", "prompt tuning", "SPoT", "ATTEMPT")),
        ),
    ),
    Claim(
        "Picking the best run lifts the score",
        "best validation results",
        "Replication, Table 3 (cherry-picked)",
        "Nothing: the best of several numbers lies above their mean. The figure says how far by chance alone",
        (
            minilm(lambda frame: best_of(scores(frame, "single", "ATTEMPT"))),
            page("replication-minilm", MINILM, lambda frame: best_of(scores(frame, "full", "ATTEMPT"))),
        ),
        quoted=True,
    ),
    Claim(
        "Pre-trained attention is needed for multi-task",
        "Without attention that was trained before, as the original has it, the shared run falls behind.",
        "Replication, discussion (it pre-trained none)",
        f"{SEVEN}, shared runs with attention trained before and fresh",
        (
            page("attempt-studies-mini", MINI, trained_attention),
            never("paper/attempt-studies"),
        ),
    ),
    Claim(
        "The attention's learning rate matters",
        "A learning rate of its own for the attention changes the results.",
        "Replication, discussion (it used none; the original's had no effect, as its group of parameters was always empty)",
        f"{SEVEN}, two rates or more",
        (
            page("attempt-studies-mini", MINI, attention_rate),
            never("paper/attempt-studies"),
        ),
    ),
    Claim(
        "Number labels hurt",
        "Numbers as labels, in the place of words, lower the scores.",
        "Replication, discussion (suspected there)",
        f"{SEVEN}, the same method with words and with numbers",
        (
            smollm2(of_seeds("words - numbers", PROMPT_TUNING, ("numbers", "numbers")), recipe="more"),
        ),
    ),
    Claim(
        "Vocabulary starts are unstable",
        "Prompts that start from rows of the vocabulary vary more between runs than those that start from a trained prompt.",
        "Replication, discussion",
        f"{SEVEN}, several seeds",
        (
            minilm(steadier("deviation of prompt tuning - of SPoT", "single", "prompt tuning", "SPoT")),
            page(
                "replication-minilm", MINILM,
                steadier("deviation of prompt tuning - of SPoT, full", "full", "prompt tuning (vocab)", "SPoT (mnli)"),
            ),
        ),
    ),
    Claim(
        "Prompts across languages",
        "Whether source prompts of other languages, and mixtures of them, help on a target (a question, without figures).",
        "Replication, the question that it asks of multilingual models",
        "Rows in several languages, such as those of XNLI and PAWS-X, and a multilingual model. The rows at hand are English",
        (never("paper/attempt-multilingual", "mT5-base, not run"),),
    ),
    Claim(
        "SPoT above prompt tuning",
        "A start from a source prompt does better than one from the vocabulary.",
        "ATTEMPT (Asai et al. 2022), main table",
        SEVEN,
        (
            smollm2(of_seeds("SPoT - prompt tuning", ("single", "SPoT"), PROMPT_TUNING)),
            page("mini", MINI, lambda frame: one_task(frame, "vocabulary", *KIN), "every seed, 10 to 19", "transfer"),
            minilm(minus("SPoT - prompt tuning", ("single", "SPoT"), ("single", "prompt tuning"))),
            replication("full", "SPoT (mnli)", "prompt tuning (vocab)"),
        ),
    ),
    Claim(
        "ATTEMPT above prompt tuning",
        "A mixture of source prompts does better than a prompt alone.",
        "ATTEMPT (Asai et al. 2022), main table",
        SEVEN,
        (
            smollm2(of_seeds("ATTEMPT - prompt tuning", ("single", "ATTEMPT"), PROMPT_TUNING)),
            page("mini", MINI, lambda frame: one_task(frame, "vocabulary", "ATTEMPT"), "every seed, 10 to 19", "transfer"),
            minilm(minus("ATTEMPT - prompt tuning", ("single", "ATTEMPT"), ("single", "prompt tuning"))),
            replication("full", "ATTEMPT", "prompt tuning (vocab)"),
        ),
    ),
    Claim(
        "ATTEMPT above SPoT",
        "A mixture of source prompts does better than a start from one of them.",
        "ATTEMPT (Asai et al. 2022), main table",
        SEVEN,
        (
            smollm2(of_seeds("ATTEMPT - SPoT", ("single", "ATTEMPT"), ("single", "SPoT"))),
            minilm(minus("ATTEMPT - SPoT", ("single", "ATTEMPT"), ("single", "SPoT"))),
            replication("full", "ATTEMPT", "SPoT (mnli)"),
        ),
    ),
)  # fmt: skip
