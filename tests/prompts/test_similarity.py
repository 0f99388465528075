"""Similarity: identities of the measures, the published definitions transcribed, which pairs are averaged, refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpeft.errors import ConfigError, PromptError, PromptMismatch
from cpeft.prompts.similarity import MEASURES, Item, addends, compare, origins_of
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.prompts.vectors import TaskVector
from tiny import D, P

COSINES = ("flattened", "token_mean", "row_by_row")
ALIKE = (*COSINES, "cka", "cka_debiased")
TASKS = ("mnli", "qnli", "trec")


def matrix(seed, rows=P, width=D):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


ORIGINS = [matrix(100 + i) for i in range(3)]


def prompt(task, number, **known):
    start = ORIGINS[number]
    moved = start + 0.7 * matrix(TASKS.index(task)) + 0.3 * matrix(10 * number + TASKS.index(task) + 20)
    return SoftPrompt(moved, Provenance(task=task, embedding="f" * 64, **known), start)


def item(task, number):
    """Of a doubled prompt: the dead rows are the origin's, as training left them."""
    return Item.of(f"{task}@{number}", prompt(task, number), matrix(200 + number))


ITEMS = [item(task, number) for task in TASKS for number in range(3)]


def value(measure, a, b):
    return MEASURES[measure](np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))


# Measures of two matrices


@pytest.mark.parametrize("measure", MEASURES)
def test_with_itself_and_symmetric(measure):
    a, b = matrix(0, 6), matrix(1, 6)
    assert value(measure, a, b) == pytest.approx(value(measure, b, a))
    if measure in ALIKE:
        assert value(measure, a, a) == pytest.approx(1.0)
        assert abs(value(measure, a, b)) < 1
    elif measure != "all_rows":
        assert value(measure, a, a) == 0
        assert value(measure, a, b) > 0


@given(st.integers(0, 1000), st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_scale_and_rotation(seed, scale):
    a, b = (matrix(seed + i, 6).double() for i in range(2))
    rotation = torch.linalg.qr(matrix(seed + 2, D).double())[0]
    for measure in (*ALIKE, "all_rows"):
        assert value(measure, scale * a, b) == pytest.approx(value(measure, a, b))
        assert value(measure, a @ rotation, b @ rotation) == pytest.approx(value(measure, a, b))
    for measure in ("cka", "cka_debiased"):  # CKA takes a rotation of one of the two as well, and a shift
        assert value(measure, a @ rotation, b) == pytest.approx(value(measure, a, b))
        assert value(measure, a + 3, b) == pytest.approx(value(measure, a, b))
        assert value(measure, a @ rotation, a) == pytest.approx(1.0)
    assert abs(value("flattened", a @ rotation, b) - value("flattened", a, b)) > 1e-9


def test_cosines_know_signs_and_row_order():
    a, order = matrix(0, 6), [5, 4, 3, 2, 1, 0]
    assert [value(measure, a, -a) for measure in COSINES] == pytest.approx([-1, -1, -1])
    assert value("all_rows", a, a[order]) == pytest.approx(value("all_rows", a, a))
    assert value("token_mean", a, a[order]) == pytest.approx(1)
    assert value("row_by_row", a, a[order]) < 0.9


def test_the_measures_are_their_definitions():
    a, b = matrix(0, 6).double(), matrix(1, 6).double()
    cos = torch.nn.functional.cosine_similarity
    assert value("flattened", a, b) == pytest.approx(float(cos(a.flatten(), b.flatten(), 0)))
    assert value("token_mean", a, b) == pytest.approx(float(cos(a.mean(0), b.mean(0), 0)))
    assert value("row_by_row", a, b) == pytest.approx(float(cos(a, b).mean()))
    assert value("all_rows", a, b) == pytest.approx(float(cos(a[:, None], b[None], 2).mean()))
    assert value("distance", a, b) == pytest.approx(float((a - b).norm()))
    assert value("norm_gap", a, b) == pytest.approx(abs(float(a.norm() - b.norm())))
    x, y = a - a.mean(0), b - b.mean(0)  # the feature form of Kornblith et al. 2019
    assert value("cka", a, b) == pytest.approx(float((y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())))


def test_debiased_cka_is_the_unbiased_estimate_of_hsic():
    """Song et al. 2012, equation 5, written out."""

    def hsic(k, l):  # noqa: E741
        n, ones = len(k), np.ones(len(k))
        k, l = (m - np.diag(np.diag(m)) for m in (k, l))  # noqa: E741
        middle = ones @ k @ ones * (ones @ l @ ones) / ((n - 1) * (n - 2))
        return (np.trace(k @ l) + middle - 2 / (n - 2) * ones @ k @ l @ ones) / (n * (n - 3))

    a, b = (matrix(i, 7).double().numpy() for i in range(2))
    k, m = a @ a.T, b @ b.T
    assert value("cka_debiased", a, b) == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)))


def test_plain_cka_of_unrelated_rows_is_high_where_rows_are_few():
    plain, debiased = (
        np.mean([value(measure, matrix(i, 20, 200), matrix(i + 50, 20, 200)) for i in range(20)])
        for measure in ("cka", "cka_debiased")
    )
    assert plain == pytest.approx(1 / (1 + 20 / 200), abs=0.02)
    assert abs(debiased) < 0.03


def test_what_has_no_direction_is_nan():
    a, zero = matrix(0), torch.zeros(P, D)
    assert all(np.isnan(value(measure, a, zero)) for measure in (*ALIKE, "all_rows"))
    assert np.isnan(value("cka_debiased", a[:3], a[:3]))


# Which pairs are averaged


def published_map(measure, matrices, tasks):
    """The published averages, transcribed: two tasks over the whole grid of origins, one task below its diagonal."""
    cells = np.full((len(tasks), len(tasks)), np.nan)
    for i, one in enumerate(tasks):
        for j, two in enumerate(tasks):
            grid = np.array([[measure(a, b) for b in matrices[two]] for a in matrices[one]])
            below = np.tril(np.ones_like(grid), -1).astype(bool)
            cells[i, j] = grid[below].mean() if one == two else grid.mean()
    return cells


@pytest.mark.parametrize("rows", ["live", "all"])
def test_the_published_heat_map(rows):
    """Token means and flattened matrices, over the whole stored matrix in the published code (`rows="all"`)."""
    found = compare(ITEMS, rows)
    stored = {task: [i.matrix(rows) for i in ITEMS if i.task == task] for task in TASKS}
    assert stored["mnli"][0].shape == (P if rows == "live" else 2 * P, D)

    def flat(a, b):
        return a.ravel() @ b.ravel() / np.sqrt(a.ravel() @ a.ravel() * (b.ravel() @ b.ravel()))

    for measure, function in (("flattened", flat), ("token_mean", lambda a, b: flat(a.mean(0), b.mean(0)))):
        expected = published_map(function, stored, TASKS)
        np.testing.assert_allclose(found.by_task(measure, "published"), expected, rtol=1e-9)


def test_comparable_cells_hold_different_origins_everywhere():
    found = compare(ITEMS)
    other, same, published = (found.by_task("flattened", pairs) for pairs in ("other", "same", "published"))
    np.testing.assert_allclose(np.diag(other), np.diag(published))
    assert np.isnan(np.diag(same)).all(), "a prompt is never paired with itself"
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(published[off], ((3 * same + 6 * other) / 9)[off])
    gap = found.gap("flattened")
    assert gap["same origin"] == pytest.approx(same[off].mean())
    assert gap["other origin"] == pytest.approx(other[off].mean())
    assert gap["gap"] == pytest.approx(gap["same origin"] - gap["other origin"])
    assert (gap["pairs of tasks"], gap["same task, other origin"]) == (3, pytest.approx(np.diag(other).mean()))


def test_averages_leave_out_tasks_without_a_partner():
    found = compare([item("mnli", 0), item("qnli", 0), item("mnli", 1), item("trec", 2)])
    gap = found.gap("token_mean")
    assert gap["pairs of tasks"] == 1, "trec has no pair of one origin"
    assert gap["same origin"] == pytest.approx(found.matrices["token_mean"][0, 1])
    assert gap["other origin"] == pytest.approx(found.matrices["token_mean"][1, 2])
    assert np.isnan(found.by_task("flattened")[1, 1])


def test_unknown_origins_are_neither_same_nor_other():
    a, b = (Item.of(name, SoftPrompt(matrix(i))) for i, name in enumerate("ab"))
    assert origins_of(a, b) == "unknown"
    found = compare([a, b])
    assert np.isnan(found.by_task("flattened")).all()
    assert found.by_task("flattened", "published")[0, 1] == found.matrices["flattened"][0, 1]


def test_vectors_and_prompts_know_their_origins():
    one = prompt("mnli", 0)
    vector = Item.of("v", TaskVector.of(one))
    assert vector.origin == Item.of("p", one).origin != Item.of("q", prompt("mnli", 1)).origin
    assert vector.task == "mnli"
    moved, start = float((one.weight - one.origin).norm()), float(one.origin.norm())
    assert Item.of("p", one).travelled() == pytest.approx((moved, moved / start))
    assert vector.travelled() == pytest.approx((moved, moved / start))
    both = Item.of("w", TaskVector.of(one) - 2 * TaskVector.of(prompt("qnli", 0)))
    assert both.travelled()[1] == pytest.approx(both.travelled()[0] / start)
    assert np.isnan(Item.of("x", TaskVector.of(one).crossing()).travelled()[1])
    assert Item.of("p", SoftPrompt(matrix(0))).travelled() is None


@pytest.mark.parametrize("rows", ["live", "all"])
def test_the_card_says_all_of_it_in_json(rows):
    found = compare([*ITEMS, Item.of("bare", SoftPrompt(matrix(9)), matrix(10))], rows)
    card = json.loads(json.dumps(found.card(), allow_nan=False))
    assert card.keys() == {"what", "rows", "prompts", "tasks", "matrices", "by_task", "gaps"}
    assert (card["what"], card["rows"], tuple(card["tasks"])) == ("prompts", rows, found.tasks)
    assert card["matrices"].keys() == card["by_task"].keys() == card["gaps"].keys() == MEASURES.keys()
    for measure in MEASURES:
        np.testing.assert_array_equal(card["matrices"][measure], found.matrices[measure])
        for pairs, means in card["by_task"][measure].items():
            np.testing.assert_array_equal(np.array(means, dtype=float), found.by_task(measure, pairs))
    first, *_, bare = card["prompts"]
    assert (first["name"], first["task"], first["origin"]) == ("mnli@0", "mnli", ITEMS[0].origin)
    assert (first["travelled"], first["travelled/origin"]) == ITEMS[0].travelled()
    assert first["rows"] == (P if rows == "live" else 2 * P)
    assert first["norm"] == pytest.approx(np.linalg.norm(ITEMS[0].matrix(rows)))
    assert (bare["task"], bare["origin"], bare["travelled"], bare["travelled/origin"]) == ("bare", "", None, None)


def test_dead_rows_of_one_origin_inflate_the_flattened_cosine_to_a_half():
    """Orthogonal live halves, equal dead ones, all of one norm: 0 on live rows, 0.5 on all stored ones."""
    rows = torch.linalg.qr(matrix(0, D, D))[0]
    a, b = (Item.of(name, SoftPrompt(part), rows[8:12]) for name, part in (("a", rows[:4]), ("b", rows[4:8])))
    assert compare([a, b]).matrices["flattened"][0, 1] == pytest.approx(0, abs=1e-6)
    assert compare([a, b], "all").matrices["flattened"][0, 1] == pytest.approx(0.5)
    assert addends(a, b) == (pytest.approx(0, abs=1e-6), pytest.approx(0.5))
    assert sum(addends(*ITEMS[:2])) == pytest.approx(compare(ITEMS, "all").matrices["flattened"][0, 1])


# Refusals


def test_refusals():
    a, b = item("mnli", 0), item("qnli", 1)
    for other, words in (
        (Item.of("v", TaskVector.of(prompt("qnli", 0))), "'mnli@0' and 'v': one is a prompt, one a task vector"),
        (Item.of("short", SoftPrompt(matrix(0, 3))), "'mnli@0' and 'short' cannot be compared: .* different lengths: 4 and 3"),
        (Item.of("wide", SoftPrompt(matrix(0, P, 8))), "different widths"),
        (Item.of("alien", SoftPrompt(matrix(0), Provenance(embedding="0" * 64))),
         "different models"),
    ):  # fmt: skip
        with pytest.raises(PromptMismatch, match=words):
            compare([a, other])
    with pytest.raises(PromptMismatch, match=r"all stored rows: 4 and 0 of them are never read; use live rows"):
        compare([a, replace(b, dead_ND=None)], "all")
    assert compare([a, replace(b, dead_ND=None)]).rows == "live"
    with pytest.raises(PromptError, match="at least two"):
        compare([a])
    with pytest.raises(PromptError, match="two things to compare are called 'mnli@0'"):
        compare([a, a])
    with pytest.raises(ConfigError, match="use live or all"):
        compare([a, b], "dead")
    with pytest.raises(ConfigError, match="did you mean 'token_mean'"):
        compare([a, b]).by_task("tokenmean")
    with pytest.raises(ConfigError, match="no kind of pairs 'mixed'"):
        compare([a, b]).by_task("flattened", "mixed")
