"""The recipes of the replication of ATTEMPT: what families share, what a rule decides, what a question varies."""

from cpeft.study.recipe.recipe import load_recipe
from cpeft.tasks import TASKS
from every_recipe import EVERY

SOURCES = ("mnli", "qnli", "qqp", "record", "squad", "sst2")
GLUE = ("mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola")
SUPERGLUE = ("multirc", "boolq", "wic", "wsc", "cb")
OTHERS = ("winogrande", "yelp", "scitail", "paws")
MRQA = ("nq", "hotpotqa", "searchqa", "newsqa")

EPOCHS = {  # stage: those of each task
    "sources": dict.fromkeys(SOURCES, 5),
    "single": dict.fromkeys(("mnli", "qqp", "qnli", "sst2"), 10)
    | dict.fromkeys(("stsb", "mrpc", "rte", "cola", *SUPERGLUE), 20)
    | {"multirc": 10},
    "single-others": dict.fromkeys(OTHERS, 10),
    "single-mrqa": dict.fromkeys(MRQA, 10),
}


def runs_of(name, stage):
    return [run for run in load_recipe(EVERY[name]).training if run.stage == stage]


def test_corrected_keeps_tasks_and_lengths_of_training():
    ours, stated = (
        {
            (run.stage, run.name): (run.tasks, run.settings.train.epochs, run.settings.data.max_source)
            for run in load_recipe(EVERY[name]).training
        }
        for name in ("paper/attempt-corrected", "paper/attempt")
    )
    assert stated.items() <= ours.items()
    assert {stage for stage, _ in ours.keys() - stated.keys()} == {"sources", "untrained", "controls"}
    controls = runs_of("paper/attempt-corrected", "controls")
    assert {run.tasks[0]: run.settings.train.epochs for run in controls} == EPOCHS["single"]
    assert len(controls) == 4 * 3 * 13


def test_untrained_sources_are_different_prompts():
    """An origin depends on the seed alone: each needs one of its own, none of them the start of a target that mixes them."""
    for name, targets, many in (
        ("paper/attempt-corrected", "controls", 6), ("paper/attempt-studies", "quality", 6),
        ("attempt-minilm", "quality", 4),
    ):  # fmt: skip
        drawn = {run.settings.seed_for("init") for run in runs_of(name, "untrained")}
        assert len(drawn) == many
        mixing = [run.settings for run in runs_of(name, targets) if run.settings.sources == ("untrained/*",)]
        assert mixing
        assert {own.seed_for("init") for own in mixing if str(own.prompt.init) == "vocab"}.isdisjoint(drawn)


def test_given_prompts_take_the_place_of_trained_ones():
    for name in ("paper/attempt-given", "paper/attempt-given-legacy"):
        rest = {
            str(run): run.settings for run in load_recipe(EVERY[name]).training if run.stage[:6] in ("single", "shared")
        }
        family = name.replace("-given", "")
        assert rest == {str(run): run.settings for run in load_recipe(EVERY[family]).training if run.stage != "sources"}


def test_targets_of_few_rows():
    """The rule of the split, and of the epochs: at most 10,000 official training rows."""
    sizes = {name: TASKS.get(name).official.train for name in (*SOURCES, *GLUE, *SUPERGLUE, *OTHERS, *MRQA)}
    small = sorted(name for name, rows in sizes.items() if rows <= 10_000)
    assert small == ["boolq", "cb", "cola", "mrpc", "rte", "stsb", "wic", "wsc"]
    assert {name for name, epochs in EPOCHS["single"].items() if epochs == 20} == set(small)


def test_sources_in_several_languages():
    """Targets are in languages that no source is in."""
    name = "paper/attempt-multilingual"
    of_sources, of_targets = (
        sorted(TASKS.get(task).language for stage in stages for run in runs_of(name, stage) for task in run.tasks)
        for stages in (["sources"], ["xnli", "paws-x"])
    )
    assert set(of_sources) == {"en", "de", "es", "zh"}
    assert set(of_sources).isdisjoint(of_targets)


def test_spread_varies_one_seed_at_a_time():
    purposes = ("init", "order", "dropout", "subset")
    runs = runs_of("paper/attempt-studies", "spread")
    assert all((TASKS.get(run.tasks[0]).official.train or 0) < 10_000 for run in runs)
    assert {(run.settings.data.limit_train, run.settings.train.base_dropout) for run in runs} == {(200, "on")}
    moved = {}
    for label in dict.fromkeys(run.label for run in runs):
        own = [run.settings for run in runs if run.label == label and run.tasks == ("rte",)]
        moved[label] = {purpose for purpose in purposes if len({each.seed_for(purpose) for each in own}) > 1}
        moved[label] |= {"sources"} if own[0].sources == ("sources/*",) else set()
    assert moved == {
        "all seeds": {*purposes, "sources"}, "sources alone": {"sources"}, "initialisation alone": {"init"},
        "order alone": {"order"}, "dropout alone": {"dropout"}, "subset alone": {"subset"},
    }  # fmt: skip
