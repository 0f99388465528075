"""The recipes of the replication of ATTEMPT hold the published values, written here by hand from its tables and settings."""

from cpeft.study.recipe import load_recipe, packaged_recipes
from cpeft.tasks import TASKS

PAPER = {name: path for name, path in packaged_recipes().items() if name.startswith("paper/attempt")}
SOURCES = ("mnli", "qnli", "qqp", "record", "squad", "sst2")
GLUE = ("mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola")
SUPERGLUE = ("multirc", "boolq", "wic", "wsc", "cb")
OTHERS = ("winogrande", "yelp", "scitail", "paws")
MRQA = ("nq", "hotpotqa", "searchqa", "newsqa")

EPOCHS = {  # stage: those of each task
    "sources": dict.fromkeys(SOURCES, 5),
    "single": dict.fromkeys(("mnli", "qqp", "qnli", "sst2"), 10)
    | dict.fromkeys(("stsb", "mrpc", "rte", "cola", *SUPERGLUE), 20),
    "single-others": dict.fromkeys(OTHERS, 10),
    "single-mrqa": dict.fromkeys(MRQA, 10),
}
SHARED = {"shared-glue": (GLUE, 256), "shared-superglue": (SUPERGLUE, 386), "shared-others": (OTHERS, 256)}
STATED = ("paper/attempt", "paper/attempt-legacy")


def runs_of(name, stage):
    return [run for run in load_recipe(PAPER[name]).training if run.stage == stage]


def test_published_numbers_of_the_source_prompts():
    """5 epochs of AdamW at 0.3, decay 1e-5, linear after 500 steps, batches of 32, sources of 256 tokens but for SQuAD."""
    for name in STATED:
        runs = runs_of(name, "sources")
        assert sorted(run.tasks[0] for run in runs) == sorted(SOURCES), "one run each"
        for run in runs:
            own = run.settings
            assert (own.method.name, own.prompt.init, own.prompt.vocab_range) == ("prompt_tuning", "vocab", (0, 4999))
            assert (own.optim.name, own.optim.lr, own.optim.weight_decay) == ("adamw", 0.3, 1e-5)
            assert (own.optim.schedule, own.optim.warmup, own.optim.clip) == ("linear", 500, None)
            assert (own.train.epochs, own.train.batch, own.train.eval_every) == (5, 32, "epoch")
            assert own.data.max_source == (512 if run.tasks == ("squad",) else 256)
            assert own.data.padding == "none"
            assert own.data.labels == "numbers"
            assert own.eval.max_new_tokens is None, "the longest label, 128 for open answers"


def test_published_numbers_of_single_tasks():
    for name in STATED:
        for stage, epochs in EPOCHS.items():
            runs = runs_of(name, stage)
            assert {run.tasks[0]: run.settings.train.epochs for run in runs} == epochs
            if stage != "sources":
                assert [run.seed for run in runs] == [0, 1, 2] * len(epochs), "three runs of each task"
        lengths = {run.tasks[0]: run.settings.data.max_source for run in runs_of(name, "single")}
        assert lengths == dict.fromkeys((*GLUE, *SUPERGLUE), 256) | {"multirc": 348}
        limits = {run.tasks[0]: run.settings.data.limit_train for run in runs_of(name, "single-others")}
        assert limits == dict.fromkeys(OTHERS) | {"yelp": 100_000}


def test_published_numbers_of_shared_attention():
    for name in STATED:
        for stage, (tasks, length) in SHARED.items():
            runs = runs_of(name, stage)
            assert [(run.tasks, run.seed) for run in runs] == [(tasks, seed) for seed in (0, 1, 2)]
            for run in runs:
                assert run.settings.method.targets == "per_task"
                assert (run.settings.train.epochs, run.settings.data.max_source) == (20, length)


def test_published_numbers_of_attempt():
    """Six sources, the start from MNLI (SQuAD for MRQA), decay 1e-2, padded sources, T = 2087."""
    for name in STATED:
        mixed = [run for run in load_recipe(PAPER[name]).training if run.settings.method.name == "attempt"]
        assert len(mixed) == 3 * (13 + 4 + 4 + 3)
        for run in mixed:
            own = run.settings
            assert own.sources == tuple(f"sources/{task}" for task in SOURCES)
            assert own.prompt.init == ("sources/squad" if run.tasks[0] in MRQA else "sources/mnli")
            assert (own.optim.lr, own.optim.weight_decay, own.optim.warmup) == (0.3, 1e-2, 500)
            assert (own.train.batch, own.data.padding, own.data.labels) == (32, "room", "numbers")
            assert (own.method.score, own.method.reduce, own.method.layer_norm) == ("sub", "max", "trained")
            assert (own.method.temperature, own.method.tau, own.method.attention_lr) == ("D*exp(tau)", 1.0, None)


def test_what_the_text_states_and_no_fault():
    for run in load_recipe(PAPER["paper/attempt"]).training:
        own = run.settings
        assert (own.model.name, own.prompt.length, own.prompt.rows) == ("google-t5/t5-base", 100, "live")
        assert (own.data.split, own.data.squad_target, own.data.label_padding) == ("s0-text", "text", "masked")
        assert (own.train.select, own.train.base_dropout) == ("loss", "on")
        if own.method.name == "attempt":
            assert (own.method.pool_padding, own.method.bottleneck) == (False, 100)


def test_faults_of_the_code():
    """50 of 100 rows reach the model, padding and the others are pooled, its own splits, the answers dictionary of SQuAD."""
    for run in load_recipe(PAPER["paper/attempt-legacy"]).training:
        own = run.settings
        assert (own.prompt.length, own.prompt.rows, own.prompt.stored) == (50, "doubled", 100)
        assert (own.data.split, own.data.squad_target, own.data.label_padding) == ("attempt", "stringified", "masked")
        assert (own.train.select, own.train.base_dropout) == ("loss", "on")
        if own.method.name == "attempt":
            assert (own.method.pool_padding, own.method.bottleneck) == (True, "rows")


def test_corrected_keeps_tasks_and_lengths_of_training():
    ours, stated = (
        {
            (run.stage, run.name): (run.tasks, run.settings.train.epochs, run.settings.data.max_source)
            for run in load_recipe(PAPER[name]).training
        }
        for name in ("paper/attempt-corrected", "paper/attempt")
    )
    assert stated.items() <= ours.items()
    assert {stage for stage, _ in ours.keys() - stated.keys()} == {"sources", "untrained", "controls"}
    controls = runs_of("paper/attempt-corrected", "controls")
    assert {run.tasks[0]: run.settings.train.epochs for run in controls} == EPOCHS["single"]
    assert len(controls) == 4 * 3 * 13
    drawn = {run.settings.seed_for("init") for run in runs_of("paper/attempt-corrected", "untrained")}
    assert len(drawn) == 6, "six different prompts"


def test_given_prompts_take_the_place_of_trained_ones():
    for name, length in (("paper/attempt-given", 100), ("paper/attempt-given-legacy", 50)):
        given = runs_of(name, "sources")
        assert {run.settings.prompt.init for run in given} == {f"authors/{task}" for task in SOURCES}
        assert {(run.settings.train.steps, run.settings.train.epochs) for run in given} == {(0, None)}
        assert {run.settings.prompt.length for run in given} == {length}
        rest = {
            str(run): run.settings for run in load_recipe(PAPER[name]).training if run.stage[:6] in ("single", "shared")
        }
        family = name.replace("-given", "")
        assert rest == {str(run): run.settings for run in load_recipe(PAPER[family]).training if run.stage != "sources"}
    for run in runs_of("paper/attempt-given", "first-half"):
        own = run.settings
        assert (own.source.rows, own.prompt.length, own.train.steps) == ("first:50", 50, 0)
        assert own.prompt.init == f"authors/{run.tasks[0]}"


def test_targets_of_few_rows():
    """The rule of the split, and of the epochs but for MultiRC: at most 10,000 official training rows."""
    sizes = {name: TASKS.get(name).official.train for name in (*SOURCES, *GLUE, *SUPERGLUE, *OTHERS, *MRQA)}
    small = sorted(name for name, rows in sizes.items() if rows <= 10_000)
    assert small == ["boolq", "cb", "cola", "mrpc", "rte", "stsb", "wic", "wsc"]
    assert {name for name, epochs in EPOCHS["single"].items() if epochs == 20} == {*small, "multirc"}


def test_sources_in_several_languages():
    """Targets are in languages that no source is in, and every comparison differs in its sources alone."""
    name = "paper/attempt-multilingual"
    languages = {task: TASKS.get(task).language for run in runs_of(name, "sources") for task in run.tasks}
    assert sorted(languages.values()) == sorted(["en", "de", "es", "zh"] * 2)
    runs = [*runs_of(name, "xnli"), *runs_of(name, "paws-x")]
    assert {run.settings.model.name for run in runs} == {"google/mt5-base"}
    assert {TASKS.get(run.tasks[0]).language for run in runs}.isdisjoint(languages.values())
    spot = {run.tasks[0]: run.settings.prompt.init for run in runs if run.label.startswith("SPoT")}
    assert spot == {task: f"sources/{task.partition('/')[0]}/en" for task in spot}
    assert {run.settings.data.few_shot for run in runs} == {0, 16, 256, "full"}


STUDIES = "paper/attempt-studies"


def varied(stage, *path):
    """The values that one setting takes in a stage of the studies."""
    values = set()
    for run in runs_of(STUDIES, stage):
        value = run.settings
        for key in path:
            value = getattr(value, key)
        values.add(value)
    return values


def test_open_questions_vary_what_they_ask_about():
    assert {len(sources) for sources in varied("number", "sources")} == {0, 1, 2, 3, 4, 5}, "and * for all six"
    assert varied("rows", "data", "limit_train") == {100, 300, 1000, 3000, 10_000}
    assert varied("rows", "train", "steps") == {3000}, "the same for every size"
    assert varied("ladder", "train", "steps") == {100, 1000, 10_000}
    assert varied("quality", "sources") == {
        ("sources/*",), ("untrained/*",), *((f"ladder/sources steps={steps}/*",) for steps in (100, 1000, 10_000))
    }  # fmt: skip
    assert varied("attention-use", "method", "attention_lr") == {0.3, 0.1, 0.01, 0.001}
    assert varied("attention-use", "method", "attention_from") == {None, "attention/*"}
    assert varied("reduce", "method", "reduce") == {"max", "mean", "max-mean", "attention"}


def test_spread_varies_one_seed_at_a_time():
    purposes = ("init", "order", "dropout", "subset")
    runs = runs_of(STUDIES, "spread")
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
