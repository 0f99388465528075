"""Which runs used which version of which data, and can exactly this one be run again? From the store alone."""

import json
import shlex
import shutil

import pytest

from cpeft.errors import ConfigError
from cpeft.store import machine
from cpeft.store.history import record_of
from cpeft.store.machine import CODE, code_digest
from cpeft.store.manifest import current_manifests, read_manifests
from cpeft.store.run_folder import Store
from cpeft.store.status import status_of
from cpeft.study.recipe.recipe import load_recipe

PROMPT = "prompts/mood/adapter_model.safetensors"
BASE = """
[model]
name = "model"
dtype = "float32"
[prompt]
length = 4
vocab_range = [4, 80]
[energy]
measure = "off"
[optim]
lr = 0.05
[[stage]]
name = "sources"
tasks = ["mood.toml"]
[stage.grid]
"train.batch, data.few_shot" = [[4, "full"]]
"""
RECIPE = (
    'name = "mine"\nextends = "base.toml"  # a comment\n[train]\nsteps = 4\neval_every = 2\n[eval]\nbootstrap = 20\n'
)


@pytest.fixture
def place(world, tmp_path):
    """A folder with a recipe, the one it extends, and what they name; one run of it is done in `store`."""
    for path in world.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "base.toml").write_text(BASE)
    (tmp_path / "mine.toml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def made(place, cpeft_main):
    """The folder of the run."""
    assert cpeft_main("run", place / "mine.toml", "--store", place / "store")[0] == 0
    return only_run(place / "store")


def only_run(store, stage="sources"):
    [folder] = [path for path in store.glob(f"{stage}/*-*") if path.is_dir()]
    return folder


def run_again(cpeft_main, command, store):
    program, *words = shlex.split(command)
    assert program == "cpeft"
    words[-1] = str(store)
    assert cpeft_main(*words)[0] == 0
    return only_run(store)


def test_one_command_tells_of_every_run_how_it_was_made_and_is_made_again(finished, cpeft_main):
    rows = json.loads(cpeft_main("list", "runs", "--store", finished.path, "--json")[1])
    assert len(rows) == 16
    for row in rows:
        assert row["again"] == record_of(finished.path / row["run"])["again"]
        assert row["other_versions_here"] == {}
        assert f"{CODE} {code_digest()}" in row["versions"]
    code, out, _ = cpeft_main("list", "runs", "--store", finished.path)
    assert code == 0
    assert "cpeft run" not in out
    assert "cpeft show run STORE/RUN" in out


def test_what_is_different_here_is_told(finished, tmp_path, cpeft_main):
    store = tmp_path / "store"
    shutil.copytree(finished.path, store)
    folder = next(store.glob("sources/mood*s0-*"))
    result = json.loads((folder / "result.json").read_text())
    assert result["versions"][CODE] == code_digest()
    assert record_of(folder)["warnings"] == []
    result["versions"][CODE] = "0123456789ab"
    (folder / "result.json").write_text(json.dumps(result))
    code, out, err = cpeft_main("show", "run", folder, "--json")
    assert code == 0
    assert json.loads(out)["other_versions_here"] == {CODE: ["0123456789ab", code_digest()]}
    assert f"warning: made with {CODE} 0123456789ab, this machine has {code_digest()}" in err
    [row] = [
        r for r in json.loads(cpeft_main("list", "runs", "--store", store, "--json")[1]) if r["other_versions_here"]
    ]
    assert store / row["run"] == folder
    del result["versions"][CODE]
    (folder / "result.json").write_text(json.dumps(result))
    assert record_of(folder)["warnings"] == ["made before results recorded the code of cpeft"]


def test_the_code_is_known_by_all_its_files(tmp_path, monkeypatch):
    def digest():
        code_digest.cache_clear()
        return code_digest()

    package = tmp_path / "cpeft"
    (package / "study").mkdir(parents=True)
    (package / "study" / "a.py").write_text("a = 1\n")
    monkeypatch.setattr(machine, "__file__", str(package / "store" / "machine.py"))
    try:
        seen = [digest()]
        (package / "notes.txt").write_text("no code")
        assert digest() == seen[0]
        (package / "study" / "a.py").write_text("a = 2\n")
        seen.append(digest())
        (package / "study" / "a.py").rename(package / "study" / "b.py")
        seen.append(digest())
        (package / "study" / "b.py").write_text("a = 3\n")
        assert code_digest() == seen[-1], "what is loaded does not change with the file"
        assert len(set(seen)) == 3
        assert all(len(text) == 12 for text in seen)
    finally:
        code_digest.cache_clear()


@pytest.mark.parametrize("lost", ["edited", "gone"])
def test_a_recipe_that_was_edited_or_is_gone_is_run_from_the_store(place, made, cpeft_main, lost):
    before = record_of(made)
    assert before["again"].startswith(f"cpeft run {place / 'mine.toml'} ")
    if lost == "edited":
        (place / "base.toml").write_text(BASE.replace("lr = 0.05", "lr = 0.5"))
    else:
        (place / "base.toml").unlink()
        (place / "mine.toml").unlink()
    card = record_of(made)
    [kept] = (place / "store" / "recipes").glob("mine-*.toml")
    assert card["again"].startswith(f"cpeft run {kept} --only ")
    assert any("base.toml was edited or is gone since" in warning for warning in card["warnings"])
    again = run_again(cpeft_main, card["again"], place / "again")
    assert again.name == made.name
    assert (again / PROMPT).read_bytes() == (made / PROMPT).read_bytes()
    third = run_again(cpeft_main, record_of(again)["again"], place / "third")
    assert third.name == made.name


def test_a_recipe_edited_and_run_again_leaves_the_command_of_both(place, made, cpeft_main):
    """In one store: the study stands as it was last run, the run of before apart, and each is made again."""
    old = (made / PROMPT).read_bytes()
    (place / "mine.toml").write_text(RECIPE.replace("steps = 4", "steps = 6"))
    assert cpeft_main("run", place / "mine.toml", "--store", place / "store")[0] == 0
    assert len(read_manifests(place / "store")) == 2
    assert len(current_manifests(place / "store")) == 1
    assert [sum(stage.runs for stage in study.stages) for study in status_of(place / "store").studies] == [1, 1]
    both = {row["run"]: row["again"] for row in json.loads(
        cpeft_main("list", "runs", "--store", place / "store", "--json")[1])}  # fmt: skip
    assert len(both) == 2
    for number, (run, command) in enumerate(both.items()):
        assert run_again(cpeft_main, command, place / f"again{number}").name == run.partition("/")[2]
    first = next(place.glob(f"again*/sources/{made.name}"))
    assert (first / PROMPT).read_bytes() == old


def test_the_note_tells_what_was_run_though_the_file_changes_meanwhile(place, cpeft_main):
    from cpeft.study.runner.claiming import manifest_of
    from cpeft.study.runner.plan import Plan

    plan = Plan(load_recipe(place / "mine.toml"), Store(place / "store"))
    (place / "mine.toml").write_text("edited = true\n")
    note = manifest_of(plan, plan.entries())
    assert list(note.files.values()) == [RECIPE, BASE]
    assert note.edited() == [str(place / "mine.toml")]


def test_a_base_that_is_no_folder(place):
    path = place / "mine.toml"
    path.write_text('base = "nowhere"\n' + RECIPE)
    with pytest.raises(ConfigError, match=r"mine.toml:1: base = '.*nowhere' is no folder"):
        load_recipe(path)
