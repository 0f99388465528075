"""A search: values are tried on validation rows, the best are used by later stages, and every try is reported."""

import json
import os
import signal
import subprocess

import pytest
from rich.console import Console

from cpeft.errors import ConfigError
from cpeft.report.page import write_report
from cpeft.report.study import Study
from cpeft.store.result import RunResult, SearchResult
from cpeft.store.run_folder import Store
from cpeft.store.search import best_place
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.search import ChosenRun, SearchRun
from cpeft.study.recipe.tiny import load_sized
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from launched import LIMIT_S, wait_until
from tiny import QUICK

HEAD = QUICK.replace("[optim]\nlr = 0.05\n", "") + '[energy]\nmeasure = "off"\n'
RATES = """
[[stage]]
name = "rates"
tasks = ["mood.toml"]
seeds = [100, 101]
search = { "optim.lr" = [0.0001, 0.05] }
variant = [{ name = "plain" }, { name = "text", prompt.init = "random" }]
"""
TARGETS = """
[[stage]]
name = "targets"
tasks = ["rank.toml"]
seeds = [0]
choose = "rates"
variant = [{ name = "plain" }, { name = "text", prompt.init = "random" }, { name = "copy", choose = "rates/text" },
           { name = "own", choose = "default", optim.lr = 0.02 }, { name = "untrained", choose = "default", train.steps = 0 }]
"""
SEARCH_RUNS, RUNS = 8, 13


@pytest.fixture
def recipe(world, tmp_path):
    """Writes a recipe beside the tasks and the model, under a name of its own."""

    def write(text):
        path = world / f"{tmp_path.name}.toml"
        path.write_text(HEAD + text)
        return path

    return write


@pytest.fixture(scope="module")
def searched(world, tmp_path_factory):
    """A finished study with a search, its plan and its store."""
    place = tmp_path_factory.mktemp("searched")
    path = world / "searched.toml"
    path.write_text(HEAD + RATES + TARGETS)
    plan = Plan(load_recipe(path), Store(place / "store"))
    state = run_recipe(plan, Console(quiet=True))
    assert (state.done, state.failures, state.blocked, state.left) == (RUNS, {}, {}, 0)
    return plan


def results(store, kind):
    return [result for result in store.results() if isinstance(result, kind)]


def best_of(store, variant):
    """The values that are best by hand: the highest mean over seeds, the lowest rate of equal ones."""
    found: dict[float, list[float]] = {}
    for each in results(store, SearchResult):
        if each.variant == variant:
            found.setdefault(each.tried["optim.lr"], []).append(each.validation)
    assert [len(values) for values in found.values()] == [2, 2]
    return max(sorted(found), key=lambda rate: sum(found[rate]))


def test_the_best_values_are_used(searched):
    store = searched.store
    rates = {str(run): run.config()["optim"]["lr"] for run in store.runs() if run.path.parent.name == "targets"
             and "optim" in run.config()}  # fmt: skip
    best = {"plain": best_of(store, "plain"), "text": best_of(store, "text")}
    best |= {"copy": best["text"], "own": 0.02}
    assert len(results(store, RunResult)) == RUNS - SEARCH_RUNS
    for name, rate in rates.items():
        label = name.partition("targets/")[2].split(".")[1]
        assert rate == best[label], name
    assert len(rates) == 4  # all but the untrained


def test_a_search_run_has_no_test_score_and_leaves_nothing_to_score(searched):
    tries = [run for run in searched.store.runs() if run.path.parent.name == "rates"]
    assert len(tries) == SEARCH_RUNS
    for run in tries:
        result = run.result()
        assert isinstance(result, SearchResult)
        assert result.scores == {}
        assert result.validation is not None
        assert result.best_step > 0
        assert not any(
            path.exists() for path in (run.predictions_path, run.method_path, run.prompts_path, run.checkpoint_path)
        )
    assert {run.result.stage for run in Study.of(searched.store).runs} == {"targets"}


def test_ids_are_those_of_the_same_settings_without_a_search(searched, world, tmp_path):
    rate = best_of(searched.store, "plain")
    path = world / "by-hand.toml"
    path.write_text(
        HEAD + TARGETS.replace('choose = "rates"\n', f"optim.lr = {rate}\n").replace("rates/text", "default")
    )
    by_hand = Plan(load_recipe(path), Store(searched.store.path))
    entries = {str(entry.run): entry for entry in by_hand.entries()}
    assert entries["targets/rank.plain.s0"].state == "done"
    known = {str(entry.run): entry.folder.id for entry in searched.entries()}
    assert known["targets/rank.plain.s0"] == entries["targets/rank.plain.s0"].folder.id
    grid = world / "grid.toml"
    grid.write_text(HEAD + RATES.replace("search =", "grid ="))
    assert {entry.state for entry in Plan(load_recipe(grid), searched.store).entries()} == {
        "ready"
    }  # results of another kind


def test_plan_says_what_is_searched_and_what_waits(searched, recipe, cpeft_main, tmp_path):
    path = recipe(RATES + TARGETS)
    code, out, _ = cpeft_main("plan", path, "--store", tmp_path / "new")
    assert code == 0
    assert "rates: 8 search runs try 2 values of optim.lr for 2 methods, scored on validation rows only" in out
    assert "targets: optim.lr chosen by search rates: waits for 8 search runs" in out
    code, out, _ = cpeft_main("plan", path, "--store", searched.store.path)
    assert f"plain optim.lr = {best_of(searched.store, 'plain')}; text optim.lr" in out
    code, out, _ = cpeft_main("plan", path, "--store", searched.store.path, "--json")
    [card] = json.loads(out)["searches"]
    assert (card["runs"], card["left"], card["used_by"]) == (8, 0, ["targets"])
    assert card["chosen"]["text"] == {"optim.lr": best_of(searched.store, "text")}
    needs = {run["run"]: run["needs"] for run in json.loads(out)["runs"]}
    assert len(needs["rank.plain.s0"]) == 4
    assert needs["rank.own.s0"] == []


def test_every_try_is_reported_and_the_choice_marked(searched, recipe, cpeft_main):
    code, out, err = cpeft_main("run", recipe(RATES + TARGETS), "--store", searched.store.path)
    assert (code, err) == (0, "")
    table = (searched.store.path / "table.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| rates |")]
    assert len(rows) == 4
    marked = [row for row in rows if "| chosen |" in row]
    assert [
        f"optim.lr = {best_of(searched.store, v)} " in row for v, row in zip(("plain", "text"), marked, strict=True)
    ]
    assert all("mood s100: " in row and "mood s101: " in row for row in rows)
    page = write_report(searched.store.path).read_text()
    assert "Search: 8 runs, on validation rows only" in page
    assert "Settings were chosen by 8 search runs." in page
    assert "Search: 8 runs" in out


def test_a_store_of_tries_alone_has_a_report(recipe, cpeft_main, tmp_path):
    code, _, err = cpeft_main("run", recipe(RATES), "--store", tmp_path / "store", "train.steps=2")
    assert (code, err) == (0, "")
    assert "chosen" in (tmp_path / "store" / "table.md").read_text()
    assert "Search: 8 runs" in (tmp_path / "store" / "report.html").read_text()


def test_a_run_that_diverges_is_a_try_without_a_score(recipe, tmp_path):
    text = RATES.replace("[0.0001, 0.05]", "[1e36, 0.05]").replace("[100, 101]", "[100]")
    plan = Plan(load_recipe(recipe(text + TARGETS)), Store(tmp_path / "store"), ["targets/rank.plain.s0"])
    state = run_recipe(plan, Console(quiet=True))
    assert (state.done, state.failures) == (3, {})
    wild, tame = sorted(results(plan.store, SearchResult), key=lambda each: each.place)
    assert wild.validation is None
    assert "step" in wild.stopped
    assert tame.validation is not None
    [target] = [entry.run for entry in plan.entries() if entry.run.stage == "targets"]
    assert target.settings.optim.lr == 0.05


def test_runs_are_blocked_where_nothing_can_be_chosen(recipe, tmp_path):
    text = RATES.replace("[0.0001, 0.05]", "[1e36]").replace("[100, 101]", "[100]")
    plan = Plan(load_recipe(recipe(text + TARGETS)), Store(tmp_path / "store"), ["targets/rank.plain.s0"])
    state = run_recipe(plan, Console(quiet=True))
    assert state.blocked == {"targets/rank.plain.s0": "no values of search 'rates' gave 'plain' a validation score"}


@pytest.mark.parametrize(
    ("scores", "higher", "place"),
    [
        ({0: [50.0], 1: [60.0], 2: [60.0]}, True, 1),
        ({0: [50.0], 1: [60.0], 2: [60.0]}, False, 0),
        ({0: [50.0, 70.0], 1: [61.0, 60.0]}, True, 1),
        ({0: [50.1, 70.2, 60.3], 1: [70.2, 60.3, 50.1]}, True, 0),  # equal in any order
        ({0: [90.0, None], 1: [10.0, 10.0]}, True, 1),
        ({0: [float("nan")], 1: [10.0]}, True, 1),
        ({0: [None]}, True, None),
    ],
)
def test_the_rule(searched, scores, higher, place):
    one = results(searched.store, SearchResult)[0]
    tries = [
        one.model_copy(update={"place": at, "validation": score, "higher_is_better": higher})
        for at, values in reversed(scores.items())
        for score in values
    ]
    assert best_place(tries) == place


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[0]", "[100]"), ("stage 'targets'", "search 'rates'", "seed 100", ".toml:")),
        (
            ('["rank.toml"]', '["rank.toml", "mood.toml"]'),
            ("stage 'targets'", "search 'rates'", "task 'mood'"),
        ),
        (('choose = "rates"\n', 'choose = "rate"\n'), ("choose = 'rate'", "did you mean 'rates'?")),
        (("rates/text", "rates/txt"), ("no variant 'txt'", "did you mean 'text'?")),
        (('{ name = "copy", choose = "rates/text" }', '{ name = "copy" }'), ("no variant 'copy'", "rates/VARIANT")),
        (('choose = "rates"\n', 'choose = "rates"\noptim.lr = 0.1\n'), ("stage 'targets'", "sets optim.lr", "search")),
        (('choose = "rates"\n', 'choose = "rates"\ngrid = {"optim.lr" = [0.1]}\n'), ("sets optim.lr",)),
        (('[{ name = "plain" }', '[{ name = "plain", optim.lr = 1.0 }'), ("stage 'rates'", "sets optim.lr")),
        (("search =", 'grid = {"train.batch" = [2]}\nsearch ='), ("stage 'rates'", "grid")),
        (("search =", 'choose = "rates"\nsearch ='), ("stage 'rates'", "choice")),
        (("search =", "train.steps = 0\nsearch ="), ("stage 'rates'", "trains nothing")),
        (('"optim.lr" = [0.0001, 0.05]', '"model.name" = ["model", "other"]'), ("cannot choose",)),
        (('"optim.lr" = [0.0001, 0.05]', '"optim.rate" = [1]'), ("unknown key 'rate'",)),
        (('choose = "rates"\n', 'sources = ["rates/mood@100"]\nmethod.name = "attempt"\n'), ("not kept",)),
    ],
)
def test_mistakes(recipe, tmp_path, change, words):
    text = RATES + TARGETS
    assert change[0] in text
    path, store = recipe(text.replace(*change, 1)), Store(tmp_path / "store")
    with pytest.raises(ConfigError) as error:
        Plan(load_recipe(path), store).entries()
    for word in words:
        assert word in str(error.value)


def test_overrides(recipe):
    path = recipe(RATES + TARGETS)
    loaded = load_recipe(path, ["seeds=[7]", "tasks=rank.toml"])  # the search keeps its own
    assert {run.seed for run in loaded.training if isinstance(run, SearchRun)} == {100, 101}
    assert {run.seed for run in loaded.training if not isinstance(run, SearchRun)} == {7}
    assert {run.tasks for run in loaded.training if not isinstance(run, SearchRun)} == {("rank",)}
    with pytest.raises(ConfigError, match=r"the setting seeds=\[100\] on the command line: .*seed 100"):
        load_recipe(path, ["seeds=[100]"])
    with pytest.raises(ConfigError, match=r"the setting optim.lr=1 on the command line: .*sets optim.lr"):
        load_recipe(path, ["optim.lr=1"])


def test_one_variant_serves_all(recipe):
    alone = RATES.replace('variant = [{ name = "plain" }, { name = "text", prompt.init = "random" }]\n', "")
    loaded = load_recipe(recipe(alone + TARGETS.replace("rates/text", "rates")))
    assert {run.variant for run in loaded.training if isinstance(run, ChosenRun)} == {"rates"}


def test_tiny_keeps_tries_for_every_choice(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load_sized(recipe(RATES + TARGETS), ["tiny=true"])
    plan = Plan(loaded, Store(tmp_path / "store"))
    chosen = [run for run in loaded.training if isinstance(run, ChosenRun)]
    assert chosen
    assert all(run.tries(plan.references) for run in chosen)
    assert {settings.train.steps for run in chosen for settings in run.candidates} == {4}
    state = run_recipe(plan, Console(quiet=True))
    assert (state.failures, state.blocked, state.left) == ({}, {}, 0)


@pytest.mark.slow
def test_killed_between_search_and_use(searched, recipe, start, tmp_path):
    """It resumes, and leaves the same ids as a study that nothing stopped."""
    path, store = recipe(RATES + TARGETS), tmp_path / "store"
    process = start(tmp_path / "out", "run", path, "--store", store)
    wait_until(lambda: list(store.glob("targets/*/claim.json")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(store.glob("rates/*/result.json"))) == SEARCH_RUNS
    assert start(tmp_path / "out", "run", path, "--store", store).wait(LIMIT_S) == 0, (tmp_path / "out").read_text()
    same_folders(store, searched.store.path)


@pytest.mark.slow
def test_killed_in_the_search_and_continued_by_two_processes(searched, recipe, start, tmp_path):
    path, store = recipe(RATES + TARGETS), tmp_path / "store"
    process = start(tmp_path / "out", "run", path, "--store", store)
    wait_until(lambda: list(store.glob("rates/*/result.json")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(store.glob("targets/*.plain*"))
    both: list[subprocess.Popen] = [start(tmp_path / f"out{i}", "run", path, "--store", store) for i in range(2)]
    assert [one.wait(LIMIT_S) for one in both] == [0, 0], [(tmp_path / f"out{i}").read_text() for i in range(2)]
    same_folders(store, searched.store.path)


def same_folders(store, other):
    names = [
        sorted(path.parent.relative_to(place).as_posix() for path in place.glob("*/*/result.json"))
        for place in (store, other)
    ]
    assert names[0] == names[1]
    assert len(names[0]) == RUNS
