"""Every recipe of the repository: it parses, names what exists, and runs from end to end at tiny size on real rows."""

import json
import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from rich.console import Console
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from cpeft.config import read_toml
from cpeft.data.resolve import locate
from cpeft.models.named_models import MODELS
from cpeft.models.tiny import SIZES, family_of
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe, packaged_recipes
from cpeft.study.recipe.search import SearchRun
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from cpeft.tasks import TASKS
from cpeft.tasks.custom import find_task
from every_recipe import EVERY, ROOT, STUDIES

PACKAGED = {
    str(path.relative_to(ROOT / "recipes").with_suffix("")): path for path in (ROOT / "recipes").rglob("*.toml")
}
RECIPES = {  # the others: test_paper_recipes, test_small_recipes
    name: path for name, path in EVERY.items() if not (name.startswith("paper/") or "extends" in read_toml(path))
}
SHARED = ROOT.parent / "shared" / "data"
TINY = (
    "train.steps=2", "train.eval_every=2", "train.batch=2", "prompt.length=4", "prompt.vocab_range=[3, 200]", "seeds=[0]",
    "data.limit_train=4", "data.limit_validation=2", "data.limit_test=2", "eval.bootstrap=0", "model.dtype=float32",
)  # fmt: skip


def written(name: str) -> Path:
    """The recipe, after its script has written the rows it needs."""
    if name == "causal-stories" and not (ROOT / "build" / "stories").exists():
        import_module("studies.causal-stories.stories").write_tasks(ROOT / "build" / "stories")
    return EVERY[name]


@pytest.fixture(autouse=True)
def data_folder(monkeypatch):
    """Real rows where this machine has them: CPEFT_DATA, else the folder beside the repository."""
    if not os.environ.get("CPEFT_DATA") and SHARED.is_dir():
        monkeypatch.setenv("CPEFT_DATA", str(SHARED))


@pytest.fixture(scope="module")
def byte_models(tmp_path_factory):
    """Random models of both kinds whose tokenizer reads any text, a byte a token."""
    folder = tmp_path_factory.mktemp("models")
    words = ["<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet())]
    raw = Tokenizer(BPE({word: i for i, word in enumerate(words)}, [], unk_token="<unk>"))
    raw.pre_tokenizer, raw.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    sizes = {"vocab_size": len(words), "pad_token_id": 0, "eos_token_id": 1}
    t5 = T5Config(**sizes, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0)
    llama = LlamaConfig(**sizes, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    for name, model in (("seq2seq", T5ForConditionalGeneration(t5)), ("causal", LlamaForCausalLM(llama))):
        end = "$A </s>" if name == "seq2seq" else "$A"
        raw.post_processor = TemplateProcessing(single=end, special_tokens=[("</s>", 1)])
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        )
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


def kind_of(model: str) -> str:
    """Which of the tiny models stands in for a recipe's own."""
    return "seq2seq" if family_of(model) in ("t5", "mt5", "bart") else "causal"


def test_all_recipes_are_packaged():
    assert packaged_recipes() == PACKAGED
    assert {name for name in PACKAGED if "/" not in name} == {"quickstart", "quickstart-mini", "quickstart-real"}
    assert {name.partition("/")[0] for name in PACKAGED if "/" in name} == {"paper", "small"}


@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_recipe_names_nothing_outside_the_package(name, monkeypatch):
    """Models by name, tasks by name: no path that is another folder, or nothing, on another machine."""
    monkeypatch.delenv("CPEFT_MODELS", raising=False)
    recipe = load_recipe(EVERY[name])
    assert "../" not in EVERY[name].read_text(encoding="utf-8")
    named = [run.settings.model.name for run in recipe.training] + [
        t for r in recipe.training for t in r.settings.tasks
    ]
    assert [each for each in named if each.startswith((".", "/", "~")) or each.endswith((".toml", ".gguf"))] == []
    assert {family_of(run.settings.model.name) for run in recipe.training} <= set(SIZES)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_says_where_its_model_comes_from(name):
    """Unless anybody has it: a named model."""
    models = {run.settings.model.name for run in load_recipe(written(name)).training}
    assert models <= set(MODELS.names()) or "\n# Model: " in EVERY[name].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_parses_and_names_what_exists(name):
    recipe = load_recipe(written(name))
    assert recipe.name == name
    assert recipe.about
    assert len({(run.stage, run.name) for run in recipe.runs}) == len(recipe.runs) > 1
    plan = Plan(recipe, Store("nowhere"))
    assert all(task.endswith(".toml") or task in TASKS for run in recipe.training for task in run.settings.tasks)
    for run in recipe.runs:
        for reference in run.references():
            assert plan.references.named(reference, run), f"{run.name}: {reference} names no run"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_at_tiny_size(name, byte_models, tmp_path):
    path = written(name)
    recipe = load_recipe(path, TINY)
    tasks = [find_task(task, run.base) for run in recipe.training for task in run.settings.tasks]
    if missing := sorted({task.name for task in tasks if not task.rows and not locate(task)}):
        pytest.skip(f"no local rows of {', '.join(missing)}: set CPEFT_DATA")
    model = byte_models / kind_of(recipe.training[0].settings.model.name)
    fields = all(
        run.settings.data.form == "fields" for run in recipe.training
    )  # else the text begins with an instruction
    size = f"data.max_source={16 if fields else 1024}"
    plain = ["data.form=instruction"] if any(run.settings.data.form == "chat" for run in recipe.training) else []
    recipe = ends(load_recipe(path, [*TINY, size, f"model.name={model}", *plain, *thinned(recipe)]))
    store = Store(tmp_path / "store")
    summary = run_recipe(Plan(recipe, store), Console(quiet=True))
    assert (summary.done, summary.failures, summary.blocked) == (len(recipe.runs), {}, {})
    results = store.results()
    assert {result.stage for result in results} == {run.stage for run in recipe.runs}
    assert {result.label for result in results} == {run.label for run in recipe.runs}
    trained = [result for result in results if result.scores]
    assert len(trained) == sum(not isinstance(run, SearchRun) for run in recipe.training)
    assert all(result.steps == (2 if result.trainable else 0) for result in trained)


def thinned(recipe) -> list[str]:
    """At most two tasks of a stage without dependants, or those of one run, so that forty runs stand for four hundred; of the
    seeds the first, and those that other stages name."""
    asked = [reference for run in recipe.training for reference in run.references()]
    needed = {reference.split("/")[0] for reference in asked}
    out = []
    for stage in dict.fromkeys(run.stage for run in recipe.training):
        groups = [run.settings.tasks for run in recipe.training if run.stage == stage]
        tasks = list(dict.fromkeys(task for group in groups for task in group))
        size = max(map(len, groups))
        if stage not in needed and len(tasks) > size:
            out.append(f"{stage}.tasks={json.dumps([*tasks[: max(size, 2) - 1], tasks[-1]])}")
        said = {name.partition("@")[2] for name in asked if name.startswith(f"{stage}/")} - {"", "*"}
        if said:
            out.append(f"{stage}.seeds={sorted({0, *map(int, said)})}")
    return out


def ends(recipe):
    """The first and the last place of a grid alone, in stages of more than twenty labels."""
    middle = set()
    for stage in {run.stage for run in recipe.runs}:
        places = {}
        for label in dict.fromkeys(run.label for run in recipe.runs if run.stage == stage):
            places.setdefault(label.rpartition(" ")[0], []).append(label)
        if sum(map(len, places.values())) > 20:
            middle |= {(stage, label) for labels in places.values() for label in labels[1:-1]}
    return replace(recipe, runs=tuple(run for run in recipe.runs if (run.stage, run.label) not in middle))
