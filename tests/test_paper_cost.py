"""docs/paper-recipes.md: its tables are those of `tools/paper_cost.py`, whose numbers of rows are those of the real splits."""

import pytest
from tools.paper_cost import PAGE, RECIPES, SHAPES, Shape, cost, page, split_sizes

from cpeft.data.splits import make_splits
from cpeft.errors import MissingData
from cpeft.evaluation.task_data import dataset_of
from cpeft.study.recipe.recipe import load_recipe, packaged_recipes
from cpeft.tasks.custom import find_task


def runs(name):
    return load_recipe(packaged_recipes()[f"paper/{name}"]).training


def test_the_tables_of_the_page_are_those_of_the_script():
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run: python -m tools.paper_cost"
    assert text.count("<!-- table:") == len(RECIPES) + 1


@pytest.mark.parametrize("policy", ["attempt", "tpv-text", "s0-text"])
@pytest.mark.parametrize("name", ["rte", "cola", "stsb", "mrpc", "cb", "sst2", "sst5", "trec"])
def test_rows_are_those_of_the_splits(name, policy):
    task = find_task(name)
    try:
        dataset = dataset_of(name, None, None, None)
    except MissingData:
        pytest.skip(f"no rows of {name} on this machine (CPEFT_DATA)")
    there = {split: len(rows) for split, rows in dataset.tables.items()}
    if any(there.get(split) != count for split, count in vars(task.official).items() if count):
        pytest.skip(f"the rows of {name} here are not all official rows")
    try:
        splits = make_splits(task, dataset, policy)
    except MissingData:
        pytest.skip(f"'{policy}' does not take {name}")
    assert split_sizes(task, policy) == (len(splits.train), len(splits.validation), len(splits.test))


@pytest.mark.parametrize(("name", "billions"), [*zip(SHAPES, (0.2229, 8.030, 6.910), strict=True)])
def test_weights_are_as_many_as_published(name, billions):
    assert SHAPES[name].total / 1e9 == pytest.approx(billions, rel=1e-3)


def test_steps_and_evaluations_of_a_run():
    """MNLI from the recipe of Task Prompt Vectors: 391,702 of its rows train for ten epochs in batches of 32."""
    found = cost(next(run for run in runs("tpv-t5") if run.tasks == ("mnli",)))
    steps = 10 * 12_241
    assert found.steps == steps
    assert found.scored == -(-steps // 100) * 1000 + 9815


def test_a_row_without_attention_costs_two_operations_per_weight_and_token():
    shape = Shape(False, 2, 8, 4, 16, 100, {})
    block = 2 * 8 * 8 + 2 * 8 * 4 + 3 * 8 * 16
    assert shape.row(10, 0)[0] == 2 * 10 * 2 * block
    assert shape.row(10, 1)[0] - shape.row(10, 0)[0] == 2 * (2 * block + 8 * 100)
