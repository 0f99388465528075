"""The claims of the papers: the committed page, what each claim states, and how often its function is wrong."""

from functools import partial
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cpeft.errors import DataError
from cpeft.store.similarity import PromptNorms, SavedSimilarity, SimilarityTables

attempt, vectors, cosines, frames, rules = (
    import_module(f"studies.claims.{name}") for name in ("attempt", "vectors", "cosines", "frames", "rules")
)
page = import_module("studies.claims.page")
Verdict = import_module("studies.claims.claim").Verdict

TASKS, SEEDS, NULLS = tuple(f"t{n}" for n in range(9)), range(3), 100
ATTEMPT = {
    "single": ("prompt tuning", "SPoT", "ATTEMPT"),
    "shared": ("ATTEMPT shared",),
    "quality": ("sources of 0 steps", "sources of 160 steps"),
}
NAMED = {  # of the studies on SmolLM2, over seeds of named tasks
    "sources": ("prompt tuning",),
    "single": ("SPoT", "ATTEMPT"),
    "numbers": ("numbers",),
    "quality": ("sources of 0 steps",),
    "origins": (*(f"vector of origin {n}" for n in range(6)), "origin alone", "noise"),
    "addition": ("sum at 0.5", "sum at 1.0"),
}
STARTS = (
    "vocabulary",
    "SPoT a",
    "SPoT b",
    "SPoT both",
    "sum of vectors",
    "noise of that size",
    "its rows shuffled",
    "ATTEMPT",
)
VECTORS = {
    "sources": ("prompt tuning",),
    "origins": (*(f"vector of origin {n}" for n in SEEDS), "origin alone", "noise", "shuffled rows"),
    "addition": ("sum at 0.5", "sum at 1.0"),
    "inference-0": STARTS,
    "inference": STARTS,
}


def frame_of(design, effect, seed=0, tasks=TASKS, seeds=SEEDS, varies=3.0):
    """A score frame in which methods differ from task to task, with the deviation `varies`, but only by
    `effect(stage, label, task, seed)` over tasks; in the stage of sums every run has a task and its neighbour."""
    draw, rows = np.random.default_rng(seed), []
    easy = dict(zip(tasks, 60 + 10 * draw.standard_normal(len(tasks)), strict=True))
    for stage, labels in design.items():
        for label in labels:
            # The sums of all pairs of a task count as one: what varies with the method varies there too.
            methods = dict(zip(tasks, varies * draw.standard_normal(len(tasks)), strict=True))
            for place, task in enumerate(tasks):
                for run_seed in seeds:
                    members = (task, tasks[place - 1]) if stage == "addition" else (task,)
                    shots = (4, 16) if stage == "inference" else (None,)
                    rows += [
                        {"stage": stage, "label": f"{label} few_shot={k}" if k else label, "task": each, "seed": run_seed,
                         "shots": k,
                         "value": easy[each] + methods[each] + draw.standard_normal() + effect(stage, label, each, run_seed),
                         "validation": draw.random(), "headline": True, "model": "smollm2",
                         "run_id": f"{stage} {label} {task} {run_seed} {k}"}
                        for each in members for k in shots
                    ]  # fmt: skip
    return frames.tidy(pd.DataFrame(rows))


def nothing(stage, label, task, seed):
    return 0.0


def functions(claims, study):
    """The functions of a study's scores, by claim."""
    witnesses = [(claim.name, each) for claim in claims for each in claim.evidence if each.study == study]
    return {name: each.judge for name, each in witnesses if "similarity.json" not in each.command}


def named_tasks(effect, seed=0):
    return frame_of(NAMED, effect, seed, ("sst2", "trec"), range(6), varies=0.0)


OF_ATTEMPT = functions(attempt.CLAIMS, "attempt-minilm")
OF_VECTORS = functions(vectors.CLAIMS, "vectors-minilm") | functions(vectors.CLAIMS, "tpv-smollm2")
OF_NAMED = (
    functions(attempt.CLAIMS, "attempt-smollm2")
    | functions(attempt.CLAIMS, "attempt-smollm2, more")
    | functions(vectors.CLAIMS, "tpv-smollm2, six")
)
OF_VECTORS.pop("Other tasks and origins are least alike")  # read from a table, without single cosines
SIZES = dict(zip(TASKS, (100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000), strict=True))


@pytest.fixture(autouse=True)
def training_rows(monkeypatch):
    monkeypatch.setattr(attempt, "ROWS", SIZES)


def test_the_committed_page_is_what_the_command_writes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempt, "ROWS", import_module("studies.claims.arithmetic").ROWS)
        assert page.PAGE.read_text(encoding="utf-8") == page.written()


@pytest.mark.parametrize("claim", page.CLAIMS, ids=lambda claim: claim.name)
def test_every_claim_is_complete(claim):
    assert claim.words.strip()
    assert claim.place.strip()
    assert claim.needs.strip()
    assert claim.evidence
    for each in claim.evidence:
        assert each.command.split()[0] in ("cpeft", "python", "pytest")
        assert each.model.strip()
        assert each.found().figure.strip()
        smollm2 = "smollm2" in each.study
        assert smollm2 == (each.model == "SmolLM2-135M-Instruct Q4_1")
        assert ("published" in each.study) <= ("published figures" in each.model)


def test_names_differ():
    assert len({claim.name for claim in page.CLAIMS}) == len(page.CLAIMS) >= 40


# --- no difference


def most(studies, level=0.05):
    return stats.binom.ppf(0.9999, studies, level) / studies


@pytest.mark.parametrize(
    ("made", "judges"),
    [
        (lambda effect, seed: frame_of(ATTEMPT, effect, seed), OF_ATTEMPT),
        (lambda effect, seed: frame_of(VECTORS, effect, seed), OF_VECTORS),
        (named_tasks, OF_NAMED),
    ],
    ids=["attempt over tasks", "vectors over tasks", "named tasks over seeds"],
)
def test_shuffled_methods_show_nothing(made, judges):
    """Labels of methods that mean nothing: every function says "not shown", but for its stated rate of errors. That the best of
    some seeds lies above their mean is no claim about methods; it has a test of its own."""
    wrong = dict.fromkeys(judges, 0)
    for seed in range(NULLS):
        frame = made(nothing, seed)
        for name, judge in judges.items():
            wrong[name] += judge(frame).verdict is not Verdict.NOT_SHOWN
    wrong.pop("Picking the best run lifts the score", None)
    assert {name: count for name, count in wrong.items() if count > NULLS * most(NULLS)} == {}


def test_sums_that_keep_just_what_is_claimed():
    """At the bound itself either verdict is wrong."""
    wrong = 0
    for seed in range(500):
        shares = dict(enumerate(vectors.KEPT + 8 * np.random.default_rng(seed).standard_normal(len(TASKS))))
        wrong += vectors.kept(shares).verdict is not Verdict.NOT_SHOWN
    assert wrong <= 500 * most(500)


def test_labels_shuffled_in_committed_scores():
    """The scores of ten seeds on mini's targets, every seed's methods in any order."""
    (judge,) = functions(attempt.CLAIMS, "mini").keys() & {"ATTEMPT above prompt tuning"}
    judge = functions(attempt.CLAIMS, "mini")[judge]
    frame = frames.printed("mini", "every seed, 10 to 19")
    frame = frame[(frame["stage"] == "targets") & frame["label"].isin(["vocabulary", "ATTEMPT"])]
    assert judge(frame).figure.count("10 seeds") == 3
    draw, wrong = np.random.default_rng(0), 0
    for _ in range(40):
        shuffled = frame.assign(label=frame.groupby(["task", "seed"])["label"].transform(draw.permutation))
        wrong += judge(shuffled).verdict is not Verdict.NOT_SHOWN
    assert wrong <= 40 * most(40)


def test_pairs_that_share_tasks():
    """Cells of tasks that are alike or unlike as wholes, but not on average: the jackknife over tasks knows, and an interval
    over pairs as if they were independent would not."""
    draw, wrong, naive = np.random.default_rng(0), 0, 0
    for _ in range(600):
        own = draw.standard_normal(11)
        cells = {
            (a, b): own[i] + own[j] for i, a in enumerate("abcdefghijk") for j, b in enumerate("abcdefghijk") if i < j
        }
        found = rules.over_pairs("", cells, dict.fromkeys(cells, 0.0), "abcdefghijk")
        wrong += found.verdict is not Verdict.NOT_SHOWN
        naive += stats.ttest_1samp(list(cells.values()), 0).pvalue < 0.05
    assert wrong <= 600 * most(600, 0.06)  # Student's quantile is close, not exact, for a jackknife of eleven
    assert naive > 600 * 0.2


def test_tables_that_have_nothing_to_do_with_each_other():
    draw, wrong = np.random.default_rng(1), 0
    for _ in range(10):
        one, two = ({(a, b): draw.random() for a in "abcdefgh" for b in "abcdefgh" if a < b} for _ in range(2))
        wrong += rules.mantel("", one, two).verdict is not Verdict.NOT_SHOWN
    assert wrong <= 10 * most(10)


# --- a strong effect

LARGE = 30.0
FOUND = {  # claim: the stage and the labels that are better where it holds
    "Single-task above multi-task": ("single", {"ATTEMPT"}),
    "Better sources, better ATTEMPT": ("quality", {"sources of 160 steps"}),
    "SPoT above prompt tuning": ("single", {"SPoT"}),
    "ATTEMPT above prompt tuning": ("single", {"ATTEMPT"}),
    "ATTEMPT above SPoT": ("single", {"ATTEMPT"}),
    "Sums start better, without training": ("inference-0", {"sum of vectors"}),
    "Sums start better, with few shots": ("inference", {"sum of vectors"}),
    "Vectors work on any origin": ("origins", {f"vector of origin {n}" for n in SEEDS}),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_strong_effect_is_found_in_both_directions(name):
    stage, labels = FOUND[name]
    judge, design = (OF_ATTEMPT | OF_VECTORS)[name], ATTEMPT if name in OF_ATTEMPT else VECTORS

    def better(sign):
        def effect(of, label, task, seed):
            if name == "Vectors work on any origin" and sign < 0:
                return LARGE * (label == "prompt tuning")  # each on its own origin alone
            return sign * LARGE * (of == stage and label in labels)

        return effect

    quiet = frame_of(design, better(1))
    if name == "Vectors work on any origin":  # equal vectors on all origins, to within their noise
        quiet["value"] = quiet.groupby(["stage", "task", "label"])["value"].transform("mean").where(
            ~quiet["label"].str.match("vector|prompt tuning"), quiet.groupby("task")["value"].transform("max"))  # fmt: skip
    assert judge(quiet).verdict is Verdict.SUPPORTED
    assert judge(frame_of(design, better(-1))).verdict is Verdict.REFUTED


@pytest.mark.parametrize(("sign", "verdict"), [(1, Verdict.SUPPORTED), (-1, Verdict.REFUTED)])
def test_scatter_and_trends_are_found_in_both_directions(sign, verdict):
    swing = {0: -1.0, 1: 0.0, 2: 1.0}  # by seed
    rank = {task: place for place, task in enumerate(TASKS)}

    def unstable(stage, label, task, seed):
        return 20 * swing[seed] * (label == ("prompt tuning" if sign > 0 else "SPoT"))

    def small(stage, label, task, seed):
        return 10 * swing[seed] * (len(TASKS) - rank[task] if sign > 0 else 1 + rank[task])

    assert OF_ATTEMPT["Vocabulary starts are unstable"](frame_of(ATTEMPT, unstable)).verdict is verdict
    assert OF_ATTEMPT["Small data sets scatter most"](frame_of(ATTEMPT, small)).verdict is verdict

    frame = frame_of(ATTEMPT, nothing)
    value = frame["task"].map(rank) * (20 - sign * 5 * (frame["label"] == "ATTEMPT")) + 0.1 * frame["seed"]
    assert OF_ATTEMPT["Sources hold a good target back"](frame.assign(value=value)).verdict is verdict


@pytest.mark.parametrize(("lost", "verdict"), [(0.0, Verdict.SUPPORTED), (0.5, Verdict.REFUTED)])
def test_what_sums_keep(lost, verdict):
    frame = frame_of(VECTORS, lambda stage, label, task, seed: -LARGE * (label == "origin alone"))
    single = frame[frame["stage"] == "sources"].set_index(["task", "seed"])["value"]
    own = [single[key] for key in zip(frame["task"], frame["seed"], strict=True)]
    sums = frame.assign(value=np.where(frame["stage"] == "addition", np.array(own) * (1 - lost), frame["value"]))
    found = OF_VECTORS["Sums keep their tasks"](sums)
    assert found.verdict is verdict
    assert found.estimate == pytest.approx(100 * (1 - lost))


def test_validation_rows_choose_the_scale():
    frame = frame_of(VECTORS, nothing)
    half = frame["label"] == "sum at 0.5"
    frame = frame.assign(
        value=np.where(frame["stage"] == "addition", np.where(half, 80.0, 40.0), 80.0),
        validation=np.where(half, 0.9, 0.1),
    )
    assert OF_VECTORS["Sums keep their tasks"](frame).estimate == 100
    assert OF_VECTORS["Sums keep their tasks"](frame.assign(validation=1 - frame["validation"])).estimate == 50


def test_the_best_of_several_seeds():
    found = OF_ATTEMPT["Picking the best run lifts the score"](frame_of(ATTEMPT, nothing))
    assert found.verdict is Verdict.ARTEFACT
    assert found.estimate == pytest.approx(0.846, abs=0.3)  # of three normal values with deviation 1


# --- what is not tested


def test_too_few_units_are_not_tested():
    few = {(f"t{n}", 0): float(n) for n in range(6)}
    found = rules.differences(("a - b", {key: value + 50 for key, value in few.items()}, few))
    assert found.verdict is Verdict.NOT_TESTABLE
    assert "fewer than 7 tasks" in found.figure
    with pytest.raises(ValueError, match="at most 3"):
        rules.differences(*[("a - b", few, few)] * 4)


def test_a_store_that_was_not_finished():
    empty = frame_of(ATTEMPT, nothing).iloc[:0]
    for name, judge in (OF_ATTEMPT | OF_VECTORS).items():
        assert judge(empty).verdict is Verdict.NOT_TESTABLE, name


def test_frames_are_read_from_the_study_and_of_the_named_model_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "STUDIES", tmp_path)
    assert frames.committed("attempt-smollm2", "smollm2") is None
    (tmp_path / "attempt-smollm2/data").mkdir(parents=True)
    frame = frame_of(ATTEMPT, nothing)
    frame.to_parquet(tmp_path / "attempt-smollm2/data/scores.parquet")
    assert len(frames.committed("attempt-smollm2", "smollm2")) == len(frame)
    with pytest.raises(DataError, match="not all scores are of mini"):
        frames.committed("attempt-smollm2", "mini")


def test_the_verdict_is_that_of_the_first_study_that_can_test_a_claim():
    claim = next(claim for claim in page.CLAIMS if claim.name == "ATTEMPT above prompt tuning")
    judged = page.Judged.of(claim)
    testable = [pair for pair in judged.found if pair[1].verdict is not Verdict.NOT_TESTABLE]
    assert judged.decisive == testable[0]
    assert judged.verdict is testable[0][1].verdict


# --- cosines of a study of ours


def similarity_of(means, names="abcdefgh"):
    """What a comparison finds whose mean cosines by (what, pairs of origins) are these, give or take 0.01."""
    draw = np.random.default_rng(0)

    def card(what):
        norms = [PromptNorms(name=each, task=each, origin="o", rows=4, norm=2.0, travelled=2.0, **{"travelled/origin": 2.0})
                 for each in names]  # fmt: skip
        by_task = {}
        for pairs in ("same", "other"):
            noise_TT = draw.normal(0, 0.01, (len(names),) * 2)
            by_task[pairs] = means[what, pairs] + (noise_TT + noise_TT.T) / 2
        by_task["other"] = by_task["other"] + means.get("same task", 0.0) * np.eye(len(names))
        return SimilarityTables(
            what=what, rows="live", prompts=tuple(norms), tasks=tuple(names), matrices={}, gaps={},
            by_task={"token_mean": {pairs: tuple(map(tuple, found_TT.tolist())) for pairs, found_TT in by_task.items()}},
        )  # fmt: skip

    return SavedSimilarity(compare=(), compared=(), cards=(card("prompts"), card("vectors")))


ALIKE = {("prompts", "same"): 0.2, ("prompts", "other"): 0.2, ("vectors", "same"): 0.2, ("vectors", "other"): 0.2}


@pytest.mark.parametrize(
    ("judge", "more"),
    [
        (partial(cosines.origins_compared, "prompts"), {("prompts", "same"): 0.6}),
        (partial(cosines.origins_compared, "vectors"), {("vectors", "same"): 0.6}),
        (cosines.tasks_compared, {"same task": 0.4}),
        (partial(cosines.kinds_compared, True), {("vectors", "other"): 0.6}),
        (partial(cosines.kinds_compared, False), {("vectors", "other"): 0.6}),
    ],
)
def test_cosines_of_a_study(judge, more):
    judge = judge(over="tasks")
    assert judge(similarity_of(ALIKE)).verdict is Verdict.NOT_SHOWN
    found = judge(similarity_of({**ALIKE, **more}))
    assert found.verdict is Verdict.SUPPORTED
    assert found.estimate == pytest.approx(0.4, abs=0.02)
    assert judge(similarity_of({**ALIKE, **more}, "abcd")).verdict is Verdict.NOT_TESTABLE


def over_origins(more, seed=0, origins="opqrst"):
    """Cosines of two tasks from these origins: 0.3, more by what is added to pairs of a kind, and origins that are alike or
    unlike as wholes."""
    draw = np.random.default_rng(seed)
    own = dict(zip(origins, 0.03 * draw.standard_normal(len(origins)), strict=True))
    names = [(task, origin) for task in "ab" for origin in origins]

    def card(what):
        norms = [
            PromptNorms(name=f"{task}@{origin}", task=task, origin=origin, rows=4, norm=2.0, travelled=2.0,
                        **{"travelled/origin": 2.0})
            for task, origin in names
        ]  # fmt: skip
        noise = draw.normal(0, 0.03, (len(names),) * 2)
        matrix = [
            [
                0.3 + own[one] + own[two] + (noise[i, j] + noise[j, i]) / 2
                + more.get((what, "same" if one == two else "other", task == kin), 0.0)
                for j, (kin, two) in enumerate(names)
            ]
            for i, (task, one) in enumerate(names)
        ]  # fmt: skip
        return SimilarityTables(
            what=what, rows="live", prompts=tuple(norms), tasks=("a", "b"), by_task={}, gaps={},
            matrices={"token_mean": tuple(map(tuple, matrix))},
        )  # fmt: skip

    return SavedSimilarity(compare=(), compared=(), cards=(card("prompts"), card("vectors")))


OVER_ORIGINS = [
    (partial(cosines.origins_compared, "prompts"), ("prompts", "same", False)),
    (partial(cosines.origins_compared, "vectors"), ("vectors", "same", False)),
    (cosines.tasks_compared, ("vectors", "other", True)),
    (partial(cosines.kinds_compared, True), ("vectors", "other", True)),
    (partial(cosines.kinds_compared, False), ("vectors", "other", False)),
]


@pytest.mark.parametrize(("judge", "kind"), OVER_ORIGINS)
def test_cosines_over_origins(judge, kind):
    judge = judge(over="origins")
    for sign, verdict in ((1, Verdict.SUPPORTED), (-1, Verdict.REFUTED)):
        found = judge(over_origins({kind: 0.4 * sign}))
        assert found.verdict is verdict
        assert found.estimate == pytest.approx(0.4 * sign, abs=0.07)
    assert judge(over_origins({kind: 0.4}, origins="opqrs")).verdict is Verdict.NOT_TESTABLE
    wrong = sum(judge(over_origins({}, seed)).verdict is not Verdict.NOT_SHOWN for seed in range(200))
    assert wrong <= 200 * most(200)


@pytest.mark.parametrize(("sign", "verdict"), [(1, Verdict.SUPPORTED), (-1, Verdict.REFUTED)])
def test_claims_about_named_tasks(sign, verdict):
    better = {  # claim: the label that is better where it holds
        "SPoT above prompt tuning": "SPoT",
        "ATTEMPT above prompt tuning": "ATTEMPT",
        "ATTEMPT above SPoT": "ATTEMPT",
        "Number labels hurt": "prompt tuning",
        "Better sources, better ATTEMPT": "ATTEMPT",
    }
    for name, label in better.items():
        frame = named_tasks(lambda stage, of, task, seed, label=label: sign * LARGE * (of == label))
        assert OF_NAMED[name](frame).verdict is verdict
    poor = ("origin alone", "noise")

    def lost(stage, label, task, seed):  # what vectors and sums lose; without loss all prompts are equal
        return -2 * LARGE * (label in poor) - LARGE * (sign < 0 and stage in ("origins", "addition"))

    frame = named_tasks(lost)
    frame["value"] = frame.groupby(["stage", "task"])["value"].transform("mean").where(
        ~frame["label"].isin(poor), frame["value"])  # fmt: skip
    if sign > 0:
        frame["value"] = frame["value"].where(frame["label"].isin(poor), 80.0 + 0.1 * frame["seed"])
    for name in ("Vectors work on any origin", "Sums keep their tasks"):
        assert OF_NAMED[name](frame).verdict is verdict, name
    assert OF_NAMED.keys() == better.keys() | {"Vectors work on any origin", "Sums keep their tasks"}


def test_a_claim_without_direction_is_supported_either_way():
    judge = attempt.changes("a - b", ("single", "SPoT"), ("single", "ATTEMPT"))
    for sign in (1, -1):
        found = judge(frame_of(ATTEMPT, lambda stage, label, task, seed, sign=sign: sign * LARGE * (label == "SPoT")))
        assert found.verdict is Verdict.SUPPORTED


def test_lengths_say_how_far_vectors_are_longer_than_origins():
    found = cosines.lengths(similarity_of({**ALIKE, ("vectors", "other"): 0.6}))
    assert found.estimate == pytest.approx(0.4, abs=0.02)
    assert "2.0 to 2.0 times as long" in found.figure
