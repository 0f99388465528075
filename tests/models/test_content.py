"""What a model is, by content: what changes the hashes of its parts, and what does not."""

import json
import shutil

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, LlamaConfig

from cpeft.errors import ConfigError, MissingModel, PromptMismatch
from cpeft.models import loading
from cpeft.models.content import config_hash, folder_parts, template_hash, tokenizer_hash
from cpeft.models.loading import load_lm
from cpeft.models.named_models import ASSETS
from cpeft.models.places import model_identity
from cpeft.options.model import ModelOptions
from tiny_chat import make_chat_lm, make_chat_tokenizer


def edited(path, change):
    """Change a JSON file in place."""
    card = json.loads(path.read_text(encoding="utf-8"))
    change(card)
    path.write_text(json.dumps(card), encoding="utf-8")


@pytest.fixture
def mini(tmp_path):
    return shutil.copytree(ASSETS / "mini", tmp_path / "mini")


def identity(folder):
    return model_identity(ModelOptions(name=str(folder)))


def swap(card):
    vocabulary = card["model"]["vocab"]
    vocabulary[300][0], vocabulary[301][0] = vocabulary[301][0], vocabulary[300][0]


def lower(card):
    card["normalizer"] = {"type": "Lowercase"}


def no_end(card):
    card["post_processor"] = None


CHANGES = {
    "two pieces swapped": ("tokenizer.json", swap, "tokenizer"),
    "another normalizer": ("tokenizer.json", lower, "tokenizer"),
    "no end token": ("tokenizer.json", no_end, "tokenizer"),
    "a layer fewer": ("config.json", lambda card: card.update(num_layers=3), "config"),
    "another activation": ("config.json", lambda card: card.update(feed_forward_proj="relu"), "config"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_part_that_changes_is_seen_and_no_other(mini, change):
    file, edit, part = CHANGES[change]
    before = identity(mini)
    edited(mini / file, edit)
    assert {name for name, value in identity(mini).items() if value != before[name]} == {part}


def test_how_files_were_saved_makes_no_difference(mini, tmp_path):
    """In another place, indented otherwise, by another version, with what the architecture says by itself spelled out."""
    before = identity(mini)
    moved = shutil.move(mini, tmp_path / "elsewhere")
    edited(
        moved / "config.json", lambda card: card.update(transformers_version="4.0.0", dtype="float16", use_cache=False)
    )
    edited(
        moved / "config.json", lambda card: card.update(_name_or_path="somewhere", relative_attention_max_distance=128)
    )
    edited(moved / "tokenizer.json", lambda card: card.update(truncation=None))
    assert identity(moved) == before == identity("mini")


def test_a_loaded_model_has_the_hashes_of_its_folder(mini, tmp_path):
    lm = load_lm(mini, dtype="float32")
    assert lm.parts == folder_parts(mini, "mini") == load_lm(mini, dtype="bfloat16").parts == lm.copy().parts
    lm.model.save_pretrained(tmp_path / "again")
    lm.tokenizer.save_pretrained(tmp_path / "again")
    assert folder_parts(tmp_path / "again", "again") == lm.parts
    lm.text.sources(["a text", "another"])
    lm.tokenizer(
        ["a text", "another text"], padding=True, truncation=True, max_length=2
    )  # leaves its mark in the tokenizer
    assert load_lm(mini).parts["tokenizer"] == tokenizer_hash(lm.tokenizer)


def test_merges_count_where_the_vocabulary_is_the_same():
    tokenizer, other = make_chat_tokenizer("qwen"), make_chat_tokenizer("qwen")
    assert tokenizer_hash(tokenizer) == tokenizer_hash(other)
    spec = json.loads(other.backend_tokenizer.to_str())
    merges = spec["model"]["merges"]
    merges[-1], merges[-2] = merges[-2], merges[-1]
    other._tokenizer = type(other.backend_tokenizer).from_str(json.dumps(spec))
    assert tokenizer_hash(tokenizer) != tokenizer_hash(other)


def test_the_template_is_hashed_as_text():
    tokenizer = make_chat_tokenizer("qwen")
    before, whole = template_hash(tokenizer), tokenizer_hash(tokenizer)
    tokenizer.chat_template += " "
    assert template_hash(tokenizer) != before
    assert tokenizer_hash(tokenizer) == whole
    tokenizer.chat_template = None
    assert template_hash(tokenizer) == ""


def test_a_configuration_within_another_is_looked_into():
    config = LlamaConfig(hidden_size=32, rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    assert config_hash(config) != config_hash(
        LlamaConfig(hidden_size=32, rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    )
    assert config_hash(config) == config_hash(AutoConfig.for_model("llama", hidden_size=32))


@pytest.mark.parametrize("flags", ["amx_bf16", "avx2"])
def test_the_machine_has_no_say_in_an_identity(tmp_path, monkeypatch, flags):
    before = model_identity(ModelOptions(name="mini"))
    (tmp_path / "cpu").write_text(f"flags: {flags}")
    monkeypatch.setattr(loading, "CPU", tmp_path / "cpu")
    assert model_identity(ModelOptions(name="mini")) == before
    assert before["dtype"] == "auto"
    assert model_identity(ModelOptions(name="mini", dtype="float32"))["dtype"] == "float32"


def test_a_hub_model_is_described_from_the_cache(mini, monkeypatch):
    """By its name, and by what its files say; with the hashes of a folder with the same files."""
    from cpeft.models import places

    asked = {}

    def snapshot(name, revision, allow_patterns, local_dir):
        asked.update(name=name, revision=revision, patterns=allow_patterns)
        return str(mini)

    places._hub_description.cache_clear()
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    found = model_identity(ModelOptions(name="some/mini", revision="v1"))
    assert found == {**identity(mini), "name": "some/mini"}
    assert asked["revision"] == "v1"
    assert not any(pattern.endswith((".safetensors", ".bin", ".py")) for pattern in asked["patterns"])
    places._hub_description.cache_clear()


def test_a_hub_model_that_is_nowhere_is_missing():
    with pytest.raises(
        MissingModel, match="'no/such-model': no such folder, here or in CPEFT_MODELS, not in the hub's cache"
    ):
        model_identity(ModelOptions(name="no/such-model"))


# Program code in a model's folder

CONFIG = '{"model_type": "%s", "vocab_size": 300, "auto_map": {"AutoConfig": "c.C", "AutoModelForCausalLM": "m.L"}}'
TOKENIZER = '{"tokenizer_class": "New", "auto_map": {"AutoTokenizer": ["t.T", null]}}'
CODE = """open({!r}, "w").write("ran")
from transformers import PretrainedConfig
class C(PretrainedConfig): model_type = "new_llm"
class L: pass
class T: pass
"""


@pytest.fixture(params=["config", "tokenizer"])
def with_code(request, tmp_path, mini):
    """A model whose configuration, or whose tokenizer, is a program; and the file that it writes if it is run."""
    mark, folder = tmp_path / "RAN", tmp_path / "code"
    if request.param == "config":
        folder.mkdir()
        (folder / "config.json").write_text(CONFIG % "new_llm")
    else:
        shutil.copytree(mini, folder)
        (folder / "tokenizer.json").unlink()
        (folder / "config.json").write_text(CONFIG % "new_llm2")
        (folder / "tokenizer_config.json").write_text(TOKENIZER)
    for name in ("c", "m", "t"):
        (folder / f"{name}.py").write_text(CODE.format(str(mark)))
    return folder, mark


@pytest.mark.parametrize("answer", ["y\n", ""])
def test_code_of_a_model_is_neither_run_nor_offered(with_code, world, tmp_path, monkeypatch, cpeft_main, answer):
    folder, mark = with_code
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asks"))
    with pytest.raises(ConfigError, match="comes with program code of its own, which cpeft never runs"):
        load_lm(folder)
    for command in ("plan", "run"):
        code, _, err = cpeft_main(command, world / "study.toml", "--store", tmp_path / "store", f"model.name={folder}")
        assert code == 2
        assert err.count("program code of its own") == 1
        assert "cpeft fetch" not in err
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[model]\nname = "{folder}"\n[train]\nsteps = 1\n[[stage]]\nname = "s"\ntasks = ["mini/mood"]\n')
    assert "program code of its own" in " ".join(cpeft_main("doctor", recipe)[1].split())
    assert not mark.exists()


def test_rows_of_the_hub_come_without_code(monkeypatch):
    import datasets

    from cpeft.data import resolve
    from cpeft.errors import MissingData
    from cpeft.tasks import TASKS

    asked = {}

    def load(*names, **how):
        asked.update(how)
        raise OSError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(MissingData):
        resolve._from_hub(TASKS.get("rte"), None)
    assert asked["trust_remote_code"] is False


# A vocabulary larger than the embedding table


def test_a_token_without_a_row_in_the_table_is_told_when_the_model_is_loaded(saved_model):
    folder, source = saved_model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = len(source.embeddings.weight)
    tokenizer.add_tokens([f"w{i}x" for i in range(rows - len(tokenizer))] + ["[NEWTOKEN]", "[OTHER]"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(
        ConfigError, match=rf"2 tokens beyond the {rows} rows of its embedding table, the first '\[NEWTOKEN\]'"
    ):
        load_lm(folder)


def test_a_control_token_without_a_row_that_no_text_reaches_does_no_harm(saved_model):
    folder, source = saved_model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    tokenizer.save_pretrained(folder)
    lm = load_lm(folder)
    rows, _ = lm.text.sources(["w1 <mask> w2"])
    assert max(rows[0]) < len(source.embeddings.weight)


# A model that agrees in its embedding table alone


def test_another_part_is_told_with_both_sides():
    lm = make_chat_lm("qwen")
    lm.check_same("prompt 'a'", {"model": "other", **lm.parts})
    lm.check_same("prompt 'a'", {"model": "other"})
    lm.check_same("prompt 'a'", {"model": "other", **lm.parts, "template": ""})
    for part, called in (("tokenizer", "tokenizer"), ("template", "chat template"), ("config", "configuration")):
        with pytest.raises(PromptMismatch) as caught:
            lm.check_same("prompt 'a'", {"model": "other", **lm.parts, part: "0123456789abcdef"})
        assert (
            f"prompt 'a' was trained under {called} 01234567 of other, and {lm.name} has {called} {lm.parts[part][:8]}"
            in str(caught.value)
        )
    assert torch.isfinite(lm.embeddings.weight).all()
