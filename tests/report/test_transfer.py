"""The report's sections on similarity and transfer: what they say of a store whose gains and prompts are known."""

import re
from itertools import permutations, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w
import torch
from scipy import stats
from test_page import HOSTILE, read, write_run

from cpeft.prompts.similarity import MEASURES, cosine
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.report.page import write_report
from cpeft.report.section import Page
from cpeft.report.study import Study
from cpeft.report.vectors.transfer import PREDICTORS, TransferPair, TransferTrial, rank, transfer
from cpeft.store.run_folder import RunFolder, Store
from cpeft.study.recipe.comparison import Comparison
from cpeft.study.recipe.references import Source

SEEDS = (0, 1)
SOURCES = ("sst2", "mnli")
GAINS = {  # of both seeds
    ("sst2", "rte"): (1.0, 2.0), ("mnli", "rte"): (4.0, 4.0), ("sst2", "cb"): (-3.0, -1.0), ("mnli", "cb"): (0.5, -0.5),
}  # fmt: skip


def matrix(*purpose) -> torch.Tensor:
    seed = int.from_bytes("/".join(map(str, purpose)).encode(), "big") % 2**31
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(seed))


def prompt_of(task: str, seed: int) -> SoftPrompt:
    """From the origin of its seed."""
    origin = matrix("origin", seed)
    return SoftPrompt(origin + matrix("task", task) + 0.5 * matrix(task, seed), Provenance(task=task), origin)


def finished(
    store: Path, stage: str, label: str, task: str, seed: int, score: float, kept: SoftPrompt, **settings
) -> Source:
    """A run that kept a prompt, with settings of its own."""
    scores = {task: {"accuracy": {"value": score, "low": score - 9, "high": score + 9}}}
    folder = write_run(store, label, [task], seed, stage, scores=scores)
    table = {"tasks": [task], "seed": seed, "optim": {"lr": 0.3}, **settings}
    (folder / "config.toml").write_text(tomli_w.dumps(table))
    return Source(task, kept.save(folder / "prompts" / task), SimpleNamespace(seed=seed))


def write_comparison(store: Path, sources: list[Source], *names: str) -> None:
    """The comparison that a recipe's stage would leave."""
    run = Comparison("similarity", "similarity", "similarity", Path(), (), names)
    references = SimpleNamespace(prompts=lambda name, _: sources if name == names[0] else [])
    folder = store / "similarity" / f"similarity-{run.identity(references)}"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(tomli_w.dumps(run.saved()))
    run.conclude(run.similarity(references), 1.0, RunFolder(folder))


def write_transfer(store: Path, compared: int = 8) -> Path:
    """Two sources, two targets, two seeds, and a comparison of the first of their prompts."""
    found = []
    for task, seed in product(SOURCES, SEEDS):
        found.append(finished(store, "sources", "sources", task, seed, 50, prompt_of(task, seed)))
    for task, seed in product(("rte", "cb"), SEEDS):
        found.append(finished(store, "targets", "vocabulary", task, seed, 50 + seed, prompt_of(task, seed)))
        for source in SOURCES:
            start = prompt_of(source, seed).weight
            spot = SoftPrompt(start + matrix(source, task, seed), Provenance(task=task), start)
            score, init = 50 + seed + GAINS[source, task][seed], f"sources/{source}"
            finished(store, "targets", f"SPoT {source}", task, seed, score, spot, prompt={"init": init})
    write_comparison(store, found[:compared], "sources/*@*", "targets/vocabulary/*@*")
    return store


@pytest.fixture
def store(tmp_path) -> Path:
    return write_transfer(tmp_path / "store")


def pairs_of(store: Path) -> dict[tuple[str, str], TransferPair]:
    [content] = transfer(Page(Study.of(Store(store))))["maps"]
    return {(source.partition("/")[2], target): pair for (target, source), pair in content["pairs"].items()}


# Transfer


def test_gains_are_paired_by_seed_with_an_interval(store):
    found = pairs_of(store)
    assert found.keys() == GAINS.keys()
    for key, gains in GAINS.items():
        assert found[key].gains == pytest.approx(gains)
        low, high = (
            stats.t.interval(0.95, 1, np.mean(gains), stats.sem(gains)) if key != ("mnli", "rte") else (4.0, 4.0)
        )
        assert found[key].interval == pytest.approx((low, high))


def test_similarity_is_that_of_the_source_and_the_targets_own_prompt(store):
    for (source, task), pair in pairs_of(store).items():
        ours = [[prompt_of(name, seed) for name in (source, task)] for seed in SEEDS]
        vectors = [cosine(*((p.weight - p.origin).double().numpy() for p in both)) for both in ours]
        prompts = [MEASURES["token_mean"](*(p.weight.double().numpy() for p in both)) for both in ours]
        assert pair.predicted == pytest.approx([np.mean(vectors), np.mean(prompts)])


def test_the_page_shows_the_map_and_the_ranks(store):
    html, page = read(store)
    assert page.sections == [
        "answer", "cautions", "scores", "curves", "similarity", "transfer", "confusion", "examples", "predictions", "making",
        "reading",
    ]  # fmt: skip
    gains = {"sst2": "+1.5 −4.9 to +7.9, 2 seeds", "mnli": "+4.0 +4.0 to +4.0, 2 seeds"}
    said = ["rte accuracy"]
    for (source, target), pair in pairs_of(store).items():
        if target == "rte":
            said += [gains[source], " · ".join(f"{value:.2f}" for value in pair.predicted).replace("-", "−")]
    assert page.row("rte accuracy", "seeds") == " ".join(said)
    assert "targets: gain over vocabulary" in html
    known = list(pairs_of(store).values())
    for i in range(2):
        rho = stats.spearmanr([pair.predicted[i] for pair in known], [pair.gain for pair in known]).statistic
        assert f"<b>{rho:.2f}</b> over 4 pairs".replace("-", "−") in html
    assert "Spearman" in html
    assert '<span class="right">+4.0</span>' in html
    assert "gain in points over cosine of the task vectors, 4 pairs" in html


def test_too_few_pairs_are_not_ranked(tmp_path):
    html, _ = read(write_transfer(tmp_path, compared=6))  # cb's own prompt is not among them
    assert html.count("2 pairs of source and target cannot be ranked: too few pairs, 4 are the least") == 2
    assert "over 2 pairs" not in html
    assert "Spearman" not in html
    assert "– · –" in html


def test_without_prompts_that_were_compared_there_is_no_map(tmp_path):
    assert "transfer" not in read(write_transfer(tmp_path / "a", compared=4))[1].sections
    for task in ("rte", "cb"):
        finished(tmp_path / "b", "targets", "vocabulary", task, 0, 50, prompt_of(task, 0))
    assert read(tmp_path / "b")[1].sections == [
        "answer", "scores", "curves", "confusion", "examples", "predictions", "making", "reading",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [{"prompt": {"init": "sources/sst2", "length": 9}}, {"prompt": {"init": "sources/sst2"}, "optim": {"lr": 0.1}},
     {"prompt": {"init": "vocab + v(sources/sst2)"}}, {"prompt": {"init": "mean(sources/sst2, sources/mnli)"}},
     {"prompt": {"init": "sources/sst2"}, "method": {"name": "attempt"}}],
)  # fmt: skip
def test_twins_differ_in_their_start_alone(store, settings):
    start = prompt_of("sst2", 0).weight
    finished(store, "targets", "other", "rte", 0, 99, SoftPrompt(start, Provenance(task="rte"), start), **settings)
    assert {key: pair.gains for key, pair in pairs_of(store).items()} == {k: pytest.approx(g) for k, g in GAINS.items()}


def test_every_way_to_start_from_nothing_has_its_map(store):
    for seed in SEEDS:
        finished(store, "targets", "random", "rte", seed, 40, prompt_of("rte", seed), prompt={"init": "random"})
    maps = transfer(Page(Study.of(Store(store))))["maps"]
    assert [content["group"] for content in maps] == [("targets", "vocabulary"), ("targets", "random")]
    assert {pair.gain for pair in maps[1]["pairs"].values()} == {12.0, 14.5}


def test_several_runs_of_a_seed_count_once(store):
    """A store keeps the runs that older sources made."""
    start = prompt_of("sst2", 0).weight + 1
    old = SoftPrompt(start, Provenance(task="rte"), start)
    finished(store, "targets", "SPoT sst2 again", "rte", 0, 54, old, prompt={"init": "sources/sst2@0"})
    pair = pairs_of(store)["sst2", "rte"]
    assert pair.gains == pytest.approx([2.5, 2.0])  # of seed 0 the mean of 1 and 4
    assert len(pair.trials) == 3


def trial(x: float | None, gain: float) -> TransferPair:
    return TransferPair((TransferTrial(("s", "l"), "a", "b", "accuracy", 0, gain, dict.fromkeys(PREDICTORS, x)),))


def test_ranks_are_spearmans_with_an_exact_permutation_of_sources():
    """One target and five sources: every source is a pair of its own, and any order of them as likely."""
    x, y = [0.1, 0.5, 0.3, 0.9, 0.7], [1.0, 2.0, 5.0, 6.0, 3.0]
    pairs = {("target", f"s{i}"): trial(*point) for i, point in enumerate(zip(x, y, strict=True))}
    found = rank(0, pairs | {("target", "unknown"): trial(None, 9.0)})
    observed = stats.spearmanr(x, y).statistic
    others = np.array([stats.spearmanr(other, y).statistic for other in permutations(x)])
    assert (found.pairs, found.rho) == (5, pytest.approx(observed))
    assert found.p == pytest.approx(np.mean(np.abs(others) >= observed - 1e-9))


def test_a_source_takes_anothers_place_on_all_targets():
    """Four sources on two targets. The order of the sources is the same on both, so one of 24 orders reaches as far, and its
    reverse: eight independent pairs would have had a p of 1 / 8! and its reverse."""
    rising = {
        (target, f"s{i}"): trial(0.1 * i, 10.0 * shift + i) for shift, target in enumerate("tu") for i in range(4)
    }
    assert rank(0, rising).p == pytest.approx(2 / 24)


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ({"t": 3}, "too few pairs, 4 are the least"), ({"t": 2, "u": 2}, "too few sources"),
        ({"t": 4, "u": 3}, "not every source was tried on every target"),
    ],
)  # fmt: skip
def test_no_p_and_why(points, why):
    pairs = {
        (target, f"s{i}"): trial(0.1 * i, 1.0 + i * i) for target, sources in points.items() for i in range(sources)
    }
    found = rank(1, pairs)
    assert (found.p, found.why) == (None, why)
    assert (found.rho is None) == (len(pairs) < 4)


@pytest.mark.parametrize("points", [[(0.1, 1.0), (0.1, 2.0)] * 2, [(0.1, 1.0), (0.2, 1.0)] * 2])
def test_what_cannot_be_ranked(points):
    found = rank(1, {("t", f"s{i}"): trial(*point) for i, point in enumerate(points)})
    assert found[1:] == (4, None, None, "all gains or all similarities are equal")


def test_a_single_seed_has_no_interval():
    assert trial(0.5, 3.0).interval is None


# Similarity


def test_the_pictures_are_the_published_ones_beside_those_of_different_origins(store):
    html, page = read(store)
    labels = [attrs.get("aria-label") or "" for tag, attrs in page.tags if tag == "svg"]
    titles = [label for label in labels if "Heat map: Cosine" in label]
    assert len(titles) == 8  # two measures, two kinds of pairs, prompts and vectors
    assert "origins mixed as published" in titles[0]
    assert "different origins only" in titles[1]
    assert "token means" in titles[2]
    drawn = re.findall(r'<svg class="plot" role="img" aria-label="Heat map: Cosine.*?</svg>', html, re.S)
    [comparison] = Study.of(Store(store)).comparisons
    means = np.array(comparison.found.cards[0].by_task["flattened"]["published"])
    said = re.findall(r">([−.\d]+)</text>", drawn[0])[: len(means) * (len(means) + 1) // 2]
    expected = [f"{abs(v):.2f}".removeprefix("0") for i, row in enumerate(means) for v in row[: i + 1]]
    assert [text.removeprefix("−") for text in said] == expected
    assert "Prompts: 8 from 2 origins" in html
    assert "<image" not in html


def test_averages_by_origin_and_norms_are_those_of_the_card(store):
    _, page = read(store)
    [comparison] = Study.of(Store(store)).comparisons
    first, vectors = comparison.found.cards
    gap = first.gaps["flattened"]
    keys = ("same origin", "other origin", "gap", "same task, other origin")
    assert page.row("cosine of the flattened") == " ".join(
        ["cosine of the flattened matrices", *(f"{gap[key]:.2f}" for key in keys), str(gap["pairs of tasks"])]
    )
    one = prompt_of("mnli", 1)
    norms = [float(x.norm()) for x in (one.weight, one.weight - one.origin)]
    shown = [f"{x:#.3g}" for x in (*norms, norms[1] / float(one.origin.norm()))]
    assert page.row("mnli@1") == " ".join(["mnli@1", *shown])
    assert vectors.what == "vectors"


def test_one_prompt_of_each_task_and_cells_without_pairs(tmp_path):
    """With one seed pairs themselves are shown; where the tasks share no origin but one has two, cells are empty."""
    for folder, seeds in (("one", (0, 0)), ("holes", (0, 1))):
        found = [finished(tmp_path / folder, "sources", "sources", task, seed, 50, prompt_of(task, seed))
                 for task, seed in zip(SOURCES, seeds, strict=True)]  # fmt: skip
        if folder == "holes":
            found.append(finished(tmp_path / folder, "sources", "sources", "sst2", 1, 50, prompt_of("sst2", 1)))
        write_comparison(tmp_path / folder, found, "sources/*@*")
        html, _ = read(tmp_path / folder)
        assert ("Same origin" in html) == (folder == "holes")
        assert "nan" not in re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S).lower()
        if folder == "holes":
            assert ">–</text>" in html  # mnli with itself
        else:
            assert ">mnli@0</text>" in html


def test_names_are_escaped_and_ids_are_unique(tmp_path):
    store = tmp_path / "store"
    found = [finished(store, "sources", "sources", "<b>rte</b>", seed, 50, prompt_of("rte", seed)) for seed in SEEDS]
    write_comparison(store, [*found, found[0]._replace(name=HOSTILE, run=None)], "sources/<i>*</i>@*")
    html, page = read(store)
    assert not {tag for tag, _ in page.tags} & {"i>*<", "b>"}
    assert "&lt;i&gt;*&lt;/i&gt;@*" in html
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', html)) <= set(ids)


def test_the_same_store_gives_the_same_bytes(store):
    first = write_report(store, store / "first.html").read_bytes()
    assert write_report(store, store / "second.html").read_bytes() == first


def test_tables_and_figures_are_accessible(store):
    _, page = read(store)
    pictures = [attrs for tag, attrs in page.tags if tag == "svg" and "aria-hidden" not in attrs]
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs in pictures)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table")
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
