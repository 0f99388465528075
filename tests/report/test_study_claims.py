"""The claims of the studies, from stores of their own recipes with scores that are known."""

from importlib import import_module
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fabricate import change, write_trial
from test_transfer import prompt_of, write_comparison

from cpeft.report.frame import scores
from cpeft.stats.intervals import t_interval
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.references import Source
from every_recipe import EVERY


def write_store(store, name, score, keep=lambda run: True):
    """Finished runs of a recipe, or those of them to `keep`, with `score(run, task)`; returns their folders."""
    folders = {}
    for run in filter(keep, load_recipe(EVERY[name]).training):
        settings, scores = run.settings.saved(), {task: score(run, task) for task in run.tasks}
        known = {"method": run.settings.method.name, "steps": run.settings.train.steps or 0, "validation": 50.0}
        folders[run] = write_trial(
            store, run.stage, run.label, run.seed, scores, str(run.settings.prompt.init), settings=settings, **known
        )
    return folders


def interval(*values):
    low, high = t_interval(values)
    return f"{np.mean(values):+.1f} [{low:+.1f}, {high:+.1f}]"


def after(lines, start):
    """What follows `start` in the one line that begins with it."""
    (found,) = [line for line in lines if line.startswith(start)]
    return found.removeprefix(start).strip()


def test_attempt_minilm(tmp_path):
    study = import_module("studies.attempt-minilm.claims")
    gains = {"ATTEMPT": 3.0, "ATTEMPT shared": 3.0, "adapters": 20.0, "sources of 160 steps": 1.0}

    def score(run, task):
        place = study.TARGETS.index(task) if task in study.TARGETS else 0
        return (
            50.0
            + 2 * place
            + run.seed % 10
            + (6 * (task == "trec") if run.label == "SPoT" else gains.get(run.label, 0))
        )

    write_store(tmp_path, "attempt-minilm", score)
    lines = study.claims(tmp_path)
    assert after(lines, "1. SPoT - prompt tuning:").startswith(interval(6, 0, 0, 0, 0, 0) + ", p 1.00")
    assert after(lines, "2. ATTEMPT - SPoT:").startswith(interval(-3, 3, 3, 3, 3, 3))
    assert after(lines, "3. ATTEMPT - adapters:") == "-17.0 [-17.0, -17.0], p 0.03, least p 0.03, 6 tasks"
    assert after(lines, "4. ATTEMPT shared - ATTEMPT:") == "+0.0 [+0.0, +0.0], p 1.00, least p 1.00, 6 tasks"
    assert after(lines, "5. by steps of the sources:").startswith(
        "0: 58.3, 20: 58.3, 60: 58.3, 160: 59.3; 160 - 0: +1.0"
    )
    assert after(lines, "6. standard deviation over seeds, mean over methods: trec") == (
        "1.0, ag_news 1.0, snli 1.0, mrpc 1.0, rte 1.0, cb 1.0"
    )
    assert after(lines, "| adapters |").startswith("1,234 | 71.0 | 73.0 | 75.0 | 77.0 | 79.0 | 81.0 | 76.0 | +20.0")
    assert after(lines, "| order |") == "1.0 | 1.0 | 1.0 | 1.0 |"


def test_attempt_studies_mini(tmp_path):
    study = import_module("studies.attempt-studies-mini.claims")
    gains = {"4 sources": (1.0, 2.0, 6.0), "ATTEMPT few_shot=4": (4.0, 4.0, 4.0), "ATTEMPT few_shot=full": (1.0, 2.0, 3.0),
             "pre-trained attention attention_lr=0.01": (2.0, 2.0, 2.0), "ATTEMPT reduce=mean": (-1.0, 0.0, 2.5)}  # fmt: skip
    write_store(
        tmp_path, "attempt-studies-mini", lambda run, _: 60 + gains.get(run.label, (0.0, 0.0, 0.0))[run.seed % 3]
    )
    lines = study.claims(tmp_path)
    (of_qnli,) = [number for number, line in enumerate(lines) if line == "qnli:"]
    for part in (lines[:of_qnli], lines[of_qnli:]):
        assert after(part, "1. four sources - none:") == interval(1, 2, 6)
        assert after(part, "2. ATTEMPT - prompt tuning, by rows per class:") == (
            f"4: {interval(4, 4, 4)}, 16: {interval(0, 0)}, 64: {interval(0, 0)}, full: {interval(1, 2, 3)}; "
            f"4 minus full: {interval(3, 2, 1)}"
        )
        assert (
            after(part, "3. pre-trained attention attention_lr=0.01 - fresh attention attention_lr=0.01:")
            == "+2.0 [+2.0, +2.0]"
        )
        assert after(part, "4. ATTEMPT reduce=mean - reduce=max:") == interval(-1, 0, 2.5)
    assert after(lines, "| number | 4 sources | snli |") == "63.0 | [56.4, 69.6] | 61.0 62.0 66.0 |"


def test_gains_on_mini(tmp_path):
    study = import_module("studies.mini.claims")
    write_store(tmp_path, "mini/transfer", lambda run, _: 50.0 + (run.seed % 2 if run.label == "ATTEMPT" else 0))
    lines = study.claims(tmp_path)
    assert len(lines) == 2 + 3 * 4  # tasks by starts
    assert after(lines, "| mini/mood | ATTEMPT |").startswith("50.5 | +0.5 | [+0.1, +0.9] | 10 | +0.0 +1.0 +0.0")
    assert after(lines, "| mini/claim | SPoT topic |").startswith("50.0 | +0.0 | [+0.0, +0.0] | 10 |")


def kept_of_vectors(run):
    """Fewer sums and fewer numbers of examples than the study has."""
    if run.stage in ("addition", "addition-controls", "addition-triples"):
        return run.stage == "addition" and run.label == "sum at 0.5"
    return run.stage not in ("probes", "texts") and not run.label.endswith(("few_shot=4", "few_shot=64"))


def score_of_vectors(run, task):
    if run.stage == "origins":
        own = run.label == f"vector of origin {run.seed}"
        return 80.0 if own else 78.0 if run.label.startswith("vector of") else 50.0
    label = run.label.partition(" few_shot")[0]
    if label.startswith("SPoT"):
        return 62.0 if label in ("SPoT mnli", "SPoT entailment") else 61.0
    return {"sources": 80.0, "sum at 0.5": 60.0, "sum of vectors": 60.0 + run.seed % 3, "ATTEMPT": 65.0}.get(
        label, 50.0
    )


def test_vectors_minilm(tmp_path):
    study = import_module("studies.vectors-minilm.claims")
    folders = write_store(tmp_path, "vectors-minilm", score_of_vectors, kept_of_vectors)
    compared = []
    for run, folder in folders.items():
        if run.stage == "sources" or run.label == "vocabulary few_shot=full":
            (task,) = run.tasks
            prompt = prompt_of(task, run.seed).save(folder / "prompts" / task)
            compared.append(Source(task, prompt, SimpleNamespace(seed=run.seed)))
    write_comparison(tmp_path, compared, "sources/*@*", "inference/vocabulary few_shot=full/*@*")
    lines = study.claims(tmp_path, study.DESIGN)
    assert after(lines, "**1. Other - own origin**, over tasks:").startswith("-2.0 [-2.0, -2.0] (n = 6); by task -2.0")
    assert after(lines, "- other origin - noise, mean over tasks:").startswith("+28.0; by task +28.0")
    assert after(lines, "**2. Sum / single, per cent**, addition, all 15 sums, over tasks:").startswith(
        "+75.0 [+75.0, +75.0] (n = 6)"
    )
    assert after(lines, "- all their tasks keep 90% on average:") == "none"
    assert after(lines, "| snli | 0 | 61.0 | SPoT mnli:").startswith(
        f"{interval(-2, -1, 0)} (n = 3) | {interval(-1, 0, 1)} (n = 3) | {interval(-5, -4, -3)} (n = 3)"
    )
    vectors = {each: prompt_of(*each).weight - prompt_of(*each).origin for each in
               {(source.name, source.run.seed) for source in compared}}  # fmt: skip
    expected = [
        float((vectors[a] * vectors[b]).sum() / vectors[a].norm() / vectors[b].norm())
        for a, b in combinations(sorted(vectors), 2)
        if a[0] == b[0] and a[1] != b[1]
    ]
    assert after(lines, "| vectors | flattened |").startswith(f"{np.mean(expected):.3f} ({len(expected)}) |")
    gains = "mnli-snli +12.0, qnli-snli +11.0, sst2-snli +11.0, trec-snli +11.0, sst2-imdb +11.0, yelp_stars-imdb +11.0"
    row = after(lines, "| 16 | vectors, flattened |")
    assert gains in row
    assert row.count("not every source was tried on every target") == 2


def test_vectors_mini_without_its_last_stages(tmp_path):
    """The study ended before its comparison of prompts, so its claims are the first three."""
    study = import_module("studies.vectors-mini.claims")
    for run, folder in write_store(tmp_path, "vectors-mini", score_of_vectors, kept_of_vectors).items():
        if run.stage == "sources":
            (task,) = run.tasks
            prompt_of(task, run.seed).save(folder / "prompts" / task)
    lines = study.claims(tmp_path, study.DESIGN)
    assert [line[2] for line in lines if line.startswith("**")] == ["1", "2", "3"]
    targets = [line.split(" | ")[:2] for line in lines if " | SPoT " in line]
    assert targets == [["| snli", "0"], ["| snli", "16"], ["| snli", "full"]]


def test_published_claims_read_the_frame_of_a_store(tmp_path):
    """Origins and sums of a store with six tasks: another origin costs 1, no vector 40, noise 30, a sum halves the score."""
    claims = import_module("studies.claims.vectors")
    costs = {"origin alone": 40.0, "noise": 30.0}

    def score(run, task):
        if run.stage == "addition":
            return 40.0
        other = run.label.startswith("vector") and run.label != f"vector of origin {run.seed}"
        return 80.0 - costs.get(run.label, other)

    write_store(
        tmp_path,
        "vectors-minilm",
        score,
        lambda run: (
            (run.stage in ("sources", "origins") and run.label != "shuffled rows")
            or (run.stage, run.seed) == ("addition", 0)
        ),
    )
    frame = import_module("studies.claims.frames").tidy(scores(tmp_path))
    origins, sums = claims.origins()(frame), claims.kept_by_sums()(frame)
    assert origins.figure.startswith("other - own origin -1.0 [-1.0, -1.0] points, 6 tasks; the bound is -2")
    assert "other - origin alone +39.0" in origins.figure
    assert "other - noise +29.0" in origins.figure
    assert sums.figure.startswith("sum / single +50.0 [+50.0, +50.0] per cent, 6 tasks")
    assert sums.verdict == "not testable here"


def test_published_claims_average_the_numbers_of_training_rows(tmp_path):
    """The sum of vectors gains 6 with 4 rows per class and 2 with 16; with all rows it loses, which does not count."""
    gains = {4: 6.0, 16: 2.0, 64: 4.0, "full": -50.0}

    def score(run, task):
        return 60.0 + gains[run.settings.data.few_shot] * (run.label.startswith("sum of vectors"))

    parts = ("SPoT mnli", "SPoT qnli", "SPoT sst2", "SPoT yelp", "SPoT both", "sum of", "ATTEMPT")
    kept = write_store(
        tmp_path, "vectors-minilm", score,
        lambda run: run.stage in ("inference", "sentiment") and run.seed == 0 and run.label.startswith(parts),
    )  # fmt: skip
    for run, folder in kept.items():
        change(folder, lambda result, run=run: result.update(few_shot=run.settings.data.few_shot))
    starts = import_module("studies.claims.vectors").starts(("inference", "sentiment"), "100")
    figure = starts(import_module("studies.claims.frames").tidy(scores(tmp_path))).figure
    for other in ("SPoT", "multi-task SPoT", "ATTEMPT"):
        assert f"sum - {other} +3.0" in figure  # snli 4, imdb 2


def test_longer_origins_part_prompts_from_vectors():
    scaled = import_module("studies.tpv-smollm2.scaled")
    draw = np.random.default_rng(0)
    origins = {seed: 1.0 + 0.1 * draw.standard_normal((4, 8)) for seed in (0, 1)}
    prompts = {
        (task, seed): (origins[seed], 10 * draw.standard_normal((4, 8))) for task in ("sst2", "trec") for seed in (0, 1)
    }
    vectors, own, long = (np.array(scaled.cosines(prompts, scale), float) for scale in (0, 1, 100))
    assert (np.abs(own - vectors) < np.abs(long - vectors)).all()
    assert (long > 0.95).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_similarity_that_foretells_transfer(sign):
    """The more alike two tasks are, the more one gains from the other's prompt, or the less."""
    transfer = import_module("studies.tpv-smollm2.transfer")
    rows, names = [], [(task, seed) for task in transfer.TASKS for seed in (0, 1, 2)]
    near = {frozenset(pair): rank for rank, pair in enumerate(combinations(transfer.TASKS, 2))}
    for task, seed in names:
        rows.append(("origins", "origin alone", task, seed, 20.0))
        for stage, sources in transfer.STAGES.items():
            rows.append((stage, stage, task, seed, 40.0 + sign * near[frozenset((task, sources[task]))]))
    matrix = [[near.get(frozenset((one, two)), 9) / 10 for two, _ in names] for one, _ in names]
    cards = [
        SimpleNamespace(what=what, rows="live", prompts=[SimpleNamespace(name=f"{task}@{seed}") for task, seed in names],
                        matrices={"flattened": matrix, "token_mean": matrix})
        for what in ("vectors", "prompts")
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["stage", "label", "task", "seed", "value"])
    lines = transfer.transfer(frame, SimpleNamespace(cards=cards))
    assert f"| sst2 |  | {20 + sign * near[frozenset(('sst2', 'trec'))]:+.1f} |" in "\n".join(lines)
    assert sum(f"{sign:+.2f} {sign:+.2f} {sign:+.2f}" in line for line in lines) == 3
