"""Plugins: the page that documents them runs as it stands, and what may not name one cannot."""

import json
import os
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from cpeft import plugins
from cpeft.errors import ConfigError
from cpeft.metrics import METRICS
from cpeft.plugins import load_plugins
from cpeft.prompts.formula.evaluate import compose
from cpeft.prompts.formula.functions import FUNCTIONS
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.store.machine import versions
from cpeft.store.run_folder import Store
from cpeft.study.recipe.files import packaged_recipes
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from tiny import run_cpeft

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
PLUGIN, RECIPE = (re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)[1] for kind in ("python", "toml"))
QUICK = ("model.dtype=float32", "prompt.length=4", "prompt.vocab_range=[4,80]", "train.steps=4", "train.eval_every=2",
         "train.batch=4", "eval.bootstrap=20")  # fmt: skip


@pytest.fixture
def fresh(monkeypatch):
    """No plugin is loaded yet in this process, nor after the test."""
    monkeypatch.setattr(plugins, "_loaded", {})


@pytest.fixture(scope="module")
def reviews(world, tmp_path_factory):
    """A folder with the page's plugin and recipe, and rows for its task."""
    place = tmp_path_factory.mktemp("reviews")
    (place / "reviews.py").write_text(PLUGIN)
    (place / "recipe.toml").write_text(RECIPE)
    for split in ("train", "validation", "test"):
        shutil.copy(world / f"mood-{split}.csv", place / f"tone-{split}.csv")
    return place


@pytest.fixture(scope="module")
def store(world, reviews):
    """The store of the page's recipe, filled by two processes."""
    store = reviews / "store"
    ran = run_cpeft("run", reviews / "recipe.toml", f"model.name={world / 'model'}", *QUICK, "--store", store,
                    "--processes", 2)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert len(re.findall(r"loading plugin reviews\.py \(sha256 [0-9a-f]{12}\)", ran.stderr)) == 2  # one a process
    return store


def test_extras_and_metrics_of_a_plugin_are_kept(store):
    runs = [run for run in Store(store).runs() if run.done]
    assert len(runs) == 2
    for run in runs:
        table = pq.read_table(run.predictions_path)
        gates = table["gate"].to_pylist()
        assert len(gates) == 12
        assert all(0 < gate < 2 for gate in gates)
        assert table["attention"].to_pylist() == [[]] * 12
        result = run.result()
        score = result.scores["tone"]["answer_length"]
        assert 0 <= score.low <= score.value <= score.high
        assert re.fullmatch("[0-9a-f]{12}", result.versions["plugin reviews.py"])


def test_a_saved_method_of_a_plugin_needs_it(store, reviews):
    run = next(run for run in Store(store).runs() if run.done)
    refused = run_cpeft("eval", run.path, "--task", "tone", "--json")
    assert refused.returncode == 2
    assert "unknown method 'gated'" in refused.stderr
    assert "--plugin FILE" in refused.stderr
    scored = run_cpeft("eval", run.path, "--task", "tone", "--json", "--plugin", reviews / "reviews.py")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["accuracy"]["value"] == pytest.approx(
        run.result().scores["tone"]["accuracy"].value
    )


def test_what_a_plugin_registers_is_listed(reviews):
    for kind, name in (("methods", "gated"), ("metrics", "answer_length"), ("tasks", "tone")):
        listed = run_cpeft("list", kind, "--json", "--plugin", reviews / "reviews.py")
        assert name in {row[kind.rstrip("s")] for row in json.loads(listed.stdout)}


def test_a_plugin_is_announced_and_loaded_once(tmp_path, fresh, capsys):
    path = tmp_path / "count.py"
    path.write_text("import os\nos.environ['COUNTED'] = os.environ.get('COUNTED', '') + 'x'\n")
    [plugin] = load_plugins([path, tmp_path / "." / "count.py"])
    assert load_plugins([path]) == (plugin,)
    assert capsys.readouterr().err == f"loading plugin count.py (sha256 {plugin.sha256[:12]})\n"
    assert os.environ.pop("COUNTED") == "x"
    assert versions()["plugin count.py"] == plugin.sha256[:12]
    path.write_text("")
    with pytest.raises(ConfigError, match=r"count\.py: the file changed since this process loaded it"):
        load_plugins([path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError"),
        (None, "no such file"),
        ("from cpeft.metrics import metric\nmetric('accuracy')(len)", "metric 'accuracy' is registered twice"),
        ("from cpeft.methods import METHODS, PromptMethod\n\n@METHODS.register('m')\nclass M(PromptMethod):\n"
         "    def __init__(self, options, inputs):\n        super().__init__(options, inputs)", "define build and initialise"),
    ],
)  # fmt: skip
def test_a_plugin_that_cannot_be_loaded_is_named(tmp_path, fresh, text, message):
    assert "accuracy" in METRICS
    if text is not None:
        (tmp_path / "wrong.py").write_text(text)
    with pytest.raises(ConfigError, match=rf"wrong\.py: .*{message}"):
        load_plugins([tmp_path / "wrong.py"])
    assert plugins._loaded == {}


def test_the_content_of_a_plugin_decides_run_ids(world, tmp_path, monkeypatch):
    def ids(*more):
        monkeypatch.setattr(plugins, "_loaded", {})
        return [entry.folder for entry in Plan(load_recipe(path, (), more), Store("nowhere")).entries() if entry.folder]

    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "{world / "study.toml"}"\nbase = "{world}"\n')
    plain = ids()
    (tmp_path / "a.py").write_text("A = 1\n")
    one = ids(tmp_path / "a.py")
    path.write_text('plugins = ["a.py"]\n' + path.read_text())
    assert ids() == one  # however it is named
    assert {folder.path for folder in plain}.isdisjoint(folder.path for folder in one)
    (tmp_path / "a.py").write_text("A = 2\n")
    assert ids() != one
    path.write_text(path.read_text().replace('plugins = ["a.py"]\n', ""))
    assert ids() == plain


def test_an_extended_recipe_brings_its_plugins(world, tmp_path, fresh):
    (tmp_path / "deep").mkdir()
    for place in (tmp_path, tmp_path / "deep"):
        (place / "p.py").write_text(f"HERE = {str(place)!r}\n")
    (tmp_path / "deep" / "other.toml").write_text(f'plugins = ["p.py"]\nextends = "{world / "study.toml"}"\n')
    (tmp_path / "mine.toml").write_text(f'plugins = ["p.py"]\nextends = "deep/other.toml"\nbase = "{world}"\n')
    recipe = load_recipe(tmp_path / "mine.toml")
    assert [plugin.path.parent for plugin in recipe.plugins] == [tmp_path / "deep", tmp_path]
    assert recipe.table["plugins"] == [str(plugin.path) for plugin in recipe.plugins]


def test_packaged_recipes_and_prompts_name_none(world, tmp_path, fresh, monkeypatch):
    path = tmp_path / "packaged.toml"
    path.write_text(f'plugins = ["p.py"]\nextends = "{world / "study.toml"}"\n')
    monkeypatch.setattr("cpeft.study.recipe.files.packaged_recipes", lambda: {**packaged_recipes(), "mine": path})
    with pytest.raises(ConfigError, match="a packaged recipe cannot name plugins; pass them with --plugin"):
        load_recipe(path)
    folder = SoftPrompt(torch.ones(2, 4)).save(tmp_path / "prompt")
    card = json.loads((folder / "cpeft.json").read_text())
    (folder / "cpeft.json").write_text(json.dumps({**card, "plugins": ["p.py"]}))
    with pytest.raises(ConfigError, match="a saved prompt cannot name plugins"):
        SoftPrompt.load(folder)


def test_a_function_of_formulas(tmp_path, fresh, monkeypatch):
    assert "mean" in FUNCTIONS
    monkeypatch.setattr(FUNCTIONS, "_items", dict(FUNCTIONS._items))
    (tmp_path / "twice.py").write_text(
        "from cpeft.prompts.formula.functions import function\n\n"
        "@function('twice', takes='vector', gives='vector')\ndef twice(vector):\n    return 2 * vector\n"
    )
    load_plugins([tmp_path / "twice.py"])
    origin = SoftPrompt.drawn(torch.zeros(2, 4), Provenance(run="o"))
    prompts = {"o": origin, "a": SoftPrompt(torch.ones(2, 4), Provenance(task="a"), origin.weight)}
    assert torch.equal(compose("o + twice(v(a))", prompts).weight, torch.full((2, 4), 2.0))


def test_a_section_of_the_report(store, tmp_path):
    (tmp_path / "hours.py").write_text(
        "from cpeft.report.render.numbers import cell, columns\n"
        "from cpeft.report.render.table import Row, Table\n"
        "from cpeft.report.section import section\n\n"
        "@section('hours', 'Time of each run', order=175)\n"
        "def hours(page):\n"
        "    rows = [Row([cell(run.result.name), cell(run.result.steps)]) for run in page.study.runs]\n"
        "    return {'table': Table('hours-1', 'Steps of each run', columns('Run', 'Steps#'), [rows])}\n"
    )
    (tmp_path / "hours.html").write_text("<p>From a plugin.</p>{{ table }}")
    made = run_cpeft("report", store, "--plugin", tmp_path / "hours.py", "--out", tmp_path / "page.html")
    assert made.returncode == 0, made.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.index("<p>From a plugin.</p>") < page.index("Steps of each run") < page.index('id="making-title"')
    table = page[page.index("Steps of each run") :]
    assert table[: table.index("</table>")].count('<td class="n">4</td>') == 2


def test_a_launcher_and_a_tracker(world, reviews, tmp_path):
    (tmp_path / "lab.py").write_text(
        "from cpeft.config import Options\n"
        "from cpeft.study.launchers import LAUNCHERS, Launcher, LauncherOptions\n"
        "from cpeft.training.callbacks.tracker import TRACKERS, Tracker\n\n"
        "class LabOptions(LauncherOptions):\n"
        "    greeting: str = ''\n\n"
        "@LAUNCHERS.register('lab')\n"
        "class Lab(Launcher):\n"
        "    Options = LabOptions\n\n"
        "    def launch(self, plan, console):\n"
        "        from cpeft.study.runner.worker import run_recipe\n\n"
        "        console.print(self.options.greeting)\n"
        "        run_recipe(plan, console)\n"
        "        return False\n\n"
        "class LinesOptions(Options):\n"
        "    file: str\n\n"
        "@TRACKERS.register('lines')\n"
        "class Lines(Tracker):\n"
        "    packages = ()\n"
        "    Options = LinesOptions\n\n"
        "    def begin(self, step):\n"
        "        self.lines = []\n"
        "        return self.known\n\n"
        "    def log(self, step, numbers):\n"
        "        self.lines += [f'{step} {name}' for name in numbers]\n\n"
        "    def end(self, state):\n"
        "        (self.run.folder.path / self.options.file).write_text('\\n'.join([*self.lines, state]))\n"
    )
    chosen = (
        "--launcher",
        "lab",
        "launcher.lab.greeting=from the lab",
        'track.use=["lines"]',
        "track.lines.file=seen.txt",
    )
    ran = run_cpeft("run", reviews / "recipe.toml", f"model.name={world / 'model'}", *QUICK, "--store", tmp_path / "store",
                    "--plugin", tmp_path / "lab.py", *chosen)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "from the lab" in ran.stdout
    runs = list(Store(tmp_path / "store").runs())
    assert len(runs) == 2
    for run in runs:
        *seen, state = (run.path / "seen.txt").read_text().splitlines()
        assert state == "finished"
        assert {"4 loss", "2 validation/tone/accuracy", "4 test/tone/accuracy"} <= set(seen)
