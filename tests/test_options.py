"""Every number that a user may set has bounds, and one outside them is a sentence."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest

import cpeft
from cpeft.config import Options, parse
from cpeft.errors import ConfigError
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.settings import parse_settings
from tiny import QUICK

RECIPE = f"""name = "numbers"
{QUICK}
[[stage]]
name = "sources"
tasks = ["mood.toml"]
"""


def options_classes() -> list[type[Options]]:
    """Every options class of the package, those of its optional parts among them."""
    for module in walk_packages(cpeft.__path__, "cpeft."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    found, seen = [Options], []
    while found:
        cls = found.pop()
        seen.append(cls)
        found += [below for below in cls.__subclasses__() if below not in seen]
    return [cls for cls in seen if cls.__module__.startswith("cpeft.")]


def numbers(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every place of a JSON schema that takes a number."""
    if isinstance(schema, dict):
        if schema.get("type") in ("integer", "number"):
            yield path, schema
        for key, value in schema.items():
            yield from numbers(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for place, value in enumerate(schema):
            yield from numbers(value, f"{path}/{place}")


def test_every_number_of_every_options_class_has_bounds():
    classes = options_classes()
    places = [(cls, path, number) for cls in classes for path, number in numbers(cls.model_json_schema())]
    assert len(classes) > 25
    assert len(places) > 60
    for cls, path, number in places:
        assert {"minimum", "exclusiveMinimum"} & number.keys(), f"{cls.__name__}{path} has no lower bound"
        if number["type"] == "integer":
            assert {"maximum", "exclusiveMaximum"} & number.keys(), f"{cls.__name__}{path} has no upper bound"
        assert cls.model_config["allow_inf_nan"] is False


OUTSIDE = {
    "prompt.length": -1, "prompt.vocab_range": [-5, 10], "data.few_shot": -1, "data.limit_train": -1,
    "data.limit_validation": 0, "data.limit_test": 0, "data.max_source": 0, "train.steps": -1, "train.epochs": -0.5,
    "train.batch": 0, "train.eval_every": 0, "train.patience": 0, "train.log_every": 0, "train.checkpoint_every": -3,
    "optim.lr": float("nan"), "optim.weight_decay": -1e-5, "optim.betas": [0.9, 1.0], "optim.clip": 0,
    "optim.warmup": float("inf"), "optim.floor": 1.5, "eval.max_new_tokens": 0, "eval.token_budget": 0,
    "eval.bootstrap": -5, "gang.size": 0, "gang.token_budget": -1, "energy.intensity": -0.1, "seeds.order": -1,
}  # fmt: skip


@pytest.mark.parametrize("key", OUTSIDE)
def test_a_number_out_of_bounds_is_one_sentence(key):
    table, name = key.split(".")
    settings = {"tasks": ["rte"], "model": {"name": "mini"}, table: {name: OUTSIDE[key]}}
    with pytest.raises(ConfigError, match=rf"\[{table}\] '{name}' = .*must be") as caught:
        parse_settings(settings)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("method", [
    {"name": "attempt", "bottleneck": 0}, {"name": "attempt", "temperature": 0}, {"name": "attempt", "tau": 1000.0},
    {"name": "attempt", "attention_lr": -1}, {"name": "mpt", "rank": 0}, {"name": "adapters", "reduction": 0},
    {"name": "lora", "rank": -8}, {"name": "prefix_tuning", "length": 0},
])  # fmt: skip
def test_a_method_s_number_out_of_bounds_is_one_sentence(method):
    with pytest.raises(ConfigError, match=rf"\[method\] '{list(method)[1]}' = .*must be"):
        parse_settings({"tasks": ["rte"], "model": {"name": "mini"}, "method": method})


def test_what_zero_means_stays():
    """No steps score a prompt as it is; no rows leave it as it is."""
    kept = {"train": {"steps": 0}, "data": {"few_shot": 0, "limit_train": 0}, "optim": {"weight_decay": 0, "warmup": 0}}
    settings = parse_settings({"tasks": ["rte"], "model": {"name": "mini"}, **kept})
    assert settings.train.steps == 0
    assert settings.data.few_shot == 0
    assert settings.data.limit_train == 0


def test_true_is_no_number():
    with pytest.raises(ConfigError, match=r"\[train\] 'batch' = True: must be a number"):
        parse_settings({"tasks": ["rte"], "model": {"name": "mini"}, "train": {"batch": True}})


def test_all_that_a_key_takes_is_named():
    with pytest.raises(ConfigError, match=r"'few_shot' = 'ful': must be a whole number, or 'full'"):
        parse_settings({"tasks": ["rte"], "model": {"name": "mini"}, "data": {"few_shot": "ful"}})


@pytest.mark.parametrize(("override", "said"), [
    ("seeds=3", "[stage.sources] 'seeds' = 3: must be a list, in square brackets"),
    ("seeds=[-1]", "[stage.sources] 'seeds' = -1: must be 0 or more"),
    ('seeds=["a"]', "[stage.sources] 'seeds' = 'a': must be a whole number"),
    ("seeds=[]", "[stage.sources] 'seeds' = []: must hold 1 or more values"),
    ("seeds=[0, 0]", "two runs called 'mood.sources.s0'"),
    ("tasks=3", "[stage.sources] 'tasks' = 3: must be a list, in square brackets"),
])  # fmt: skip
def test_seeds_and_tasks_of_the_command_line_are_checked(world, tmp_path, override, said):
    (tmp_path / "r.toml").write_text(RECIPE)
    (tmp_path / "mood.toml").write_text((world / "mood.toml").read_text())
    with pytest.raises(ConfigError) as caught:
        load_recipe(tmp_path / "r.toml", [override])
    assert said in str(caught.value)


@pytest.mark.parametrize("line", ["seeds = 3", "seeds = [1.5]", "seeds = [-2]", "seeds = [true]"])
def test_seeds_of_a_stage_are_checked(world, tmp_path, line):
    (tmp_path / "r.toml").write_text(f"{RECIPE}{line}\n")
    with pytest.raises(ConfigError, match=r"r.toml:\d+: \[stage.0\] 'seeds' = .*must be"):
        load_recipe(tmp_path / "r.toml")


def test_a_message_of_a_nested_value_names_its_table():
    class Inner(Options):
        name: str = "a"

    class Outer(Options):
        inner: Inner = Inner()

    with pytest.raises(ConfigError, match=r"^\[inner\] 'name' = 3: must be text"):
        parse(Outer, {"inner": {"name": 3}})
