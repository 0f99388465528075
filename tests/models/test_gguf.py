"""GGUF files: what a model's name means, one conversion a file into the user's cache, and what cannot be read."""

import shutil
import threading

import numpy as np
import pytest
import torch

import cpeft
from cpeft.errors import CannotWrite, ConfigError, MissingModel
from cpeft.models import gguf as module
from cpeft.models.cache import file_hash, models_cache, write_once
from cpeft.models.gguf import converted
from cpeft.models.places import model_identity
from cpeft.models.tiny import family_of
from cpeft.options.model import ModelOptions
from cpeft.study.recipe.settings import located_model
from tiny_gguf import TEMPLATE, write_gguf

gguf = pytest.importorskip("gguf", reason="pip install 'cpeft[gguf]'")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("CPEFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CPEFT_MODELS", raising=False)
    return tmp_path / "cache" / "models"


@pytest.fixture
def file(tmp_path):
    return write_gguf(tmp_path / "here" / "one.gguf")


def load(name, **more):
    return cpeft.load_lm(str(name), dtype="float32", device="cpu", **more)


def test_weights_are_the_values_that_the_file_stands_for(file):
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    model = load(file).model
    for name, weight in (
        ("token_embd", model.model.embed_tokens.weight),
        ("blk.0.ffn_down", model.model.layers[0].mlp.down_proj.weight),
        ("blk.0.attn_v", model.model.layers[0].self_attn.v_proj.weight),
    ):
        tensor = stored[f"{name}.weight"]
        assert tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0
        values = torch.from_numpy(np.array(gguf.dequantize(tensor.data, tensor.tensor_type)))
        assert torch.equal(weight.detach(), values), name


def test_the_tokenizer_has_template_and_special_tokens(file):
    tokenizer = load(file).tokenizer
    said = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert tokenizer.chat_template == TEMPLATE
    assert said == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.eos_token_id == 2
    assert tokenizer("<|im_end|>")["input_ids"] == [2]


def test_it_is_converted_once_and_kept_under_its_hash(file, cache, monkeypatch, capsys, tmp_path):
    first = load(file)
    [folder] = cache.iterdir()
    assert folder.name == file_hash(file)
    assert f"converting {file} into {folder}, once" in capsys.readouterr().err
    assert not list(folder.glob("*.gguf"))
    monkeypatch.setattr(module, "_convert", lambda *a: pytest.fail("converted twice"))
    monkeypatch.setattr(module, "find_spec", lambda name: pytest.fail("the package gguf is not needed any more"))
    elsewhere = tmp_path / "elsewhere" / "other-name.gguf"
    elsewhere.parent.mkdir()
    shutil.copy(file, elsewhere)
    again = load(elsewhere)
    assert again.fingerprint == first.fingerprint
    assert list(cache.iterdir()) == [folder]
    assert "converting" not in capsys.readouterr().err


def test_a_conversion_that_breaks_off_leaves_nothing(file, cache, monkeypatch):
    whole = module._read

    def broken(path):
        model, tokenizer = whole(path)
        tokenizer.save_pretrained = lambda folder: (_ for _ in ()).throw(KeyboardInterrupt)
        return model, tokenizer

    monkeypatch.setattr(module, "_read", broken)
    with pytest.raises(KeyboardInterrupt):
        converted(file)
    assert list(cache.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setenv("CPEFT_CACHE", str(cache.parent))
    assert converted(file).is_dir()


def test_two_at_once_leave_one_whole_folder(cache):
    meeting = threading.Barrier(2)

    def write(folder):
        folder.mkdir()
        (folder / "half").write_text("a")
        meeting.wait(60)
        (folder / "whole").write_text("b")

    both = [threading.Thread(target=write_once, args=(cache / "name", write)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert [path.name for path in cache.iterdir()] == ["name"]
    assert {path.name for path in (cache / "name").iterdir()} == {"half", "whole"}


def test_a_folder_that_holds_one_and_a_choice_among_several(file, tmp_path):
    assert load(file.parent).fingerprint == load(file).fingerprint
    other = write_gguf(file.parent / "two.gguf", seed=1)
    with pytest.raises(ConfigError, match=r"several GGUF files; choose one by model\.file: one\.gguf, two\.gguf"):
        load(file.parent)
    assert load(file.parent, file="two.gguf").fingerprint == load(other).fingerprint != load(file).fingerprint
    with pytest.raises(MissingModel, match=r"no file 'three\.gguf' in it, but one\.gguf, two\.gguf"):
        load(file.parent, file="three.gguf")


def test_safetensors_come_before_a_gguf_file_unless_it_is_chosen(file, tmp_path):
    folder = tmp_path / "both"
    shutil.copytree(converted(file), folder)
    write_gguf(folder / "other.gguf", seed=1)
    assert load(folder).fingerprint == load(file).fingerprint
    assert load(folder, file="other.gguf").fingerprint == load(folder / "other.gguf").fingerprint
    with pytest.raises(ConfigError, match=r"'model\.safetensors' is not a GGUF file"):
        load(folder, file="model.safetensors")


def test_one_identity_for_file_folder_and_another_place(file, tmp_path):
    copy = tmp_path / "there" / "renamed.gguf"
    copy.parent.mkdir()
    shutil.copy(file, copy)
    known = {
        model_identity(ModelOptions(name=str(name), file=chosen))["name"]
        for name, chosen in ((file, None), (file.parent, None), (file.parent, "one.gguf"), (copy, None))
    }
    assert known == {file_hash(file)}
    assert not models_cache().exists(), "nothing is converted to know it"
    other = write_gguf(tmp_path / "two.gguf", seed=1)
    assert model_identity(ModelOptions(name=str(other)))["name"] not in known


def test_a_path_is_relative_to_the_recipe_and_a_link_keeps_its_suffix(file, tmp_path):
    blob = tmp_path / "blob"
    shutil.move(file, blob)
    file.symlink_to(blob)
    options = located_model(ModelOptions(name="here/one.gguf"), tmp_path)
    assert options.name == str(file)
    assert model_identity(options)["name"] == file_hash(blob)
    assert family_of(options.name) == "llama"


def test_the_users_folder_of_models_is_searched(file, monkeypatch):
    monkeypatch.setenv("CPEFT_MODELS", str(file.parents[1]))
    assert model_identity(ModelOptions(name="here"))["name"] == file_hash(file)
    monkeypatch.setenv("CPEFT_MODELS", str(file.parent))
    assert load("one.gguf").width == 32


def test_what_cannot_be_read_is_one_sentence(file, tmp_path, cache):
    whole = file.read_bytes()
    (tmp_path / "text.gguf").write_text("no model " * 100)
    (tmp_path / "cut.gguf").write_bytes(whole[:-3000])
    (tmp_path / "empty.gguf").write_bytes(b"")
    (tmp_path / "part-00001-of-00003.gguf").write_bytes(whole)
    write_gguf(tmp_path / "alien.gguf", architecture="mamba9")
    write_gguf(tmp_path / "lacking.gguf", without=("blk.0.attn_q.weight",))
    for name, said in (
        ("text", "transformers cannot read this GGUF file: .*GGUF magic"),
        ("cut", "transformers cannot read this GGUF file: .*reshape"),
        ("empty", "transformers cannot read this GGUF file: .*empty"),
        ("alien", "transformers cannot read this GGUF file: GGUF model with architecture mamba9 is not supported"),
        ("lacking", r"1 of the model's tensors are not in the file, the first is .*q_proj"),
        ("part-00001-of-00003", "one of 3 parts; join them first"),
    ):
        with pytest.raises(ConfigError, match=rf"{name}\.gguf: {said}") as caught:
            load(tmp_path / f"{name}.gguf")
        assert len(str(caught.value).splitlines()) == 1
    assert not cache.exists() or list(cache.iterdir()) == []
    with pytest.raises(MissingModel, match=r"nowhere\.gguf': no such file"):
        load(tmp_path / "nowhere.gguf")
    with pytest.raises(ConfigError, match="'no/such' is no folder here"):
        load("no/such", file="x.gguf")
    with pytest.raises(ConfigError, match=r"model\.name is the file"):
        load(file, file="other.gguf")


def test_without_the_package_one_sentence_says_what_to_install(file, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    for call in (lambda: load(file), lambda: family_of(str(file))):
        with pytest.raises(
            ConfigError, match=r"one\.gguf: GGUF files need the package gguf: pip install 'cpeft\[gguf\]'"
        ):
            call()


def test_a_cache_that_cannot_be_written_says_where(file, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("CPEFT_CACHE", str(tmp_path / "taken"))
    with pytest.raises(CannotWrite, match=r"cannot write .*taken"):
        load(file)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert models_cache() == tmp_path / "cache" / "models"
    monkeypatch.delenv("CPEFT_CACHE")
    assert models_cache() == tmp_path / "xdg" / "cpeft" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models_cache() == tmp_path / ".cache" / "cpeft" / "models"
