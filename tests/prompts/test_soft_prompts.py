"""Prompts as values and files: round trips, prompts of other programs, damage, code in pickles, mismatches."""

import json
import os
import pickle
from dataclasses import replace

import numpy as np
import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from cpeft.errors import PromptError, PromptMismatch
from cpeft.prompts.exchange import export_prompt, load_prompt
from cpeft.prompts.hashes import stored_hash
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt, check_same_space, matrix_hash
from tiny import D, P, make_lm, raw_model

FULL = Provenance(
    model="tiny", revision="abc", embedding="f" * 64, encoder_decoder=True, task="rte", method="prompt_tuning", init="vocab",
    seeds={"init": 3}, run="stage/rte-1", scores={"accuracy": 61.5}, versions={"torch": "2"}, note="ü",
)  # fmt: skip


def prompt(length=P, width=D, seed=0, **provenance) -> SoftPrompt:
    rng = torch.Generator().manual_seed(seed)
    weight, origin = (torch.randn(length, width, generator=rng) for _ in range(2))
    return SoftPrompt(weight, replace(FULL, **provenance), origin)


def test_save_and_load_keep_everything(tmp_path):
    saved = prompt()
    assert saved.save(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    for loaded in (SoftPrompt.load(tmp_path / "a" / "b"), load_prompt(str(tmp_path / "a" / "b"))):
        assert torch.equal(loaded.weight, saved.weight)
        assert torch.equal(loaded.origin, saved.origin)
        assert loaded.provenance == FULL
    assert not [file for file in (tmp_path / "a" / "b").iterdir() if file.name.endswith(".tmp")]


def test_saving_again_replaces_the_files(tmp_path):
    prompt(seed=1).save(tmp_path)
    prompt(seed=2, task="qnli").save(tmp_path)
    loaded = SoftPrompt.load(tmp_path)
    assert torch.equal(loaded.weight, prompt(seed=2).weight)
    assert loaded.provenance.task == "qnli"


def test_a_prompt_without_origin_replaces_one_with(tmp_path):
    prompt().save(tmp_path)
    SoftPrompt(torch.ones(P, D)).save(tmp_path)
    assert SoftPrompt.load(tmp_path).origin is None, "the origin of another prompt must not survive"


def test_a_card_of_a_later_version_still_loads(tmp_path):
    prompt().save(tmp_path)
    card = json.loads((tmp_path / "cpeft.json").read_text())
    (tmp_path / "cpeft.json").write_text(json.dumps({**card, "something_new": 1}))
    assert SoftPrompt.load(tmp_path).provenance == FULL


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_are_float32_on_the_cpu(dtype):
    weight = torch.randn(3, 5).to(dtype)
    got = SoftPrompt(weight.t().requires_grad_()).weight
    assert (got.dtype, got.requires_grad, got.is_contiguous()) == (torch.float32, False, True)
    assert torch.equal(got, weight.t().float())


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.zeros(3), "matrix"),
        (torch.zeros(2, 3, 4), "matrix"),
        (torch.zeros(0, 4), "matrix"),
        (torch.tensor([[1.0, float("nan")]]), "finite"),
        (torch.tensor([[1.0, float("inf")]]), "finite"),
    ],
)
def test_what_is_no_prompt_is_refused(weight, message, tmp_path):
    torch.save(weight, tmp_path / "p.pt")  # from a file, where no type checker helps
    with pytest.raises(PromptError, match=message):
        load_prompt(tmp_path / "p.pt")


def test_rows():
    whole = prompt(length=5)
    first = whole.keep("first:2")
    assert torch.equal(first.weight, whole.weight[:2])
    assert torch.equal(first.origin, whole.origin[:2])
    assert first.provenance.note == "first 2 of 5 rows"
    assert whole.keep("all") is whole
    for wrong in ("first:0", "first:6", "first:", "first:-1", "last:2", "2", ""):
        with pytest.raises(PromptError, match="5 rows"):
            whole.keep(wrong)


def test_mismatches_name_both():
    a = prompt(run="one")
    with pytest.raises(PromptMismatch, match=r"'one' and 'two'.*llama and t5") as caught:
        check_same_space(prompt(run="one", model="llama"), prompt(run="two", model="t5", embedding="0" * 64))
    assert caught.value.exit_code == 2
    with pytest.raises(PromptMismatch, match=f"'one' and 'two'.*widths: {D} and {D + 1}"):
        check_same_space(a, prompt(run="two", width=D + 1))
    with pytest.raises(PromptMismatch, match=f"'one' and 'two'.*lengths: {P} and {P + 1} rows"):
        check_same_space(a, prompt(run="two", length=P + 1))
    check_same_space(a, prompt(seed=4), prompt(embedding=""))
    check_same_space()


def test_mismatch_behind_a_foreign_prompt_is_found():
    """A file that does not say its model agrees with anything, but two others that do say still have to agree."""
    foreign = SoftPrompt(torch.ones(P, D))
    with pytest.raises(PromptMismatch, match="'one' and 'two'"):
        check_same_space(foreign, prompt(run="one"), prompt(run="two", embedding="0" * 64))


# Prompts of other programs


def test_peft_doubled_prompt_keeps_live_rows(tmp_path):
    """peft's default stores two copies of the rows for T5 and only ever reads the first half."""
    config = peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=P)
    theirs = peft.get_peft_model(raw_model("t5"), config)
    stored = theirs.prompt_encoder["default"].embedding.weight.detach().clone()
    assert stored.shape == (2 * P, D)
    theirs.save_pretrained(tmp_path)
    got = load_prompt(tmp_path)
    assert torch.equal(got.weight, stored[:P])
    assert got.provenance.note == f"doubled layout: {P} live rows kept, {P} rows the model never read dropped"
    assert got.provenance.encoder_decoder is True
    lm = make_lm("t5")
    ids = torch.tensor([[10, 11, 1]])
    joined = torch.cat([got.weight[None], lm.embed(ids)], 1)
    want = theirs.eval()(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor([[20, 1]])).logits
    have = lm.model(
        inputs_embeds=joined, attention_mask=torch.ones(1, P + 3).long(), labels=torch.tensor([[20, 1]])
    ).logits
    torch.testing.assert_close(have, want, rtol=1e-5, atol=1e-5)


def test_peft_causal_prompt(tmp_path):
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=P)
    theirs = peft.get_peft_model(raw_model("llama"), config)
    theirs.save_pretrained(tmp_path)
    got = load_prompt(tmp_path)
    assert torch.equal(got.weight, theirs.prompt_encoder["default"].embedding.weight)
    assert (got.provenance.encoder_decoder, got.provenance.note) == (False, "")


def test_peft_folders_that_are_no_prompt(tmp_path):
    peft.get_peft_model(raw_model("llama"), peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(
        tmp_path / "lora"
    )
    with pytest.raises(PromptError, match="LORA is not PROMPT_TUNING"):
        load_prompt(tmp_path / "lora")
    prompt(encoder_decoder=False).save(tmp_path / "cut")
    (tmp_path / "cut" / "cpeft.json").unlink()
    config = json.loads((tmp_path / "cut" / "adapter_config.json").read_text())
    (tmp_path / "cut" / "adapter_config.json").write_text(json.dumps({**config, "num_virtual_tokens": P - 1}))
    with pytest.raises(PromptError, match=f"{P} rows stored, but num_virtual_tokens is {P - 1}"):
        load_prompt(tmp_path / "cut")
    (tmp_path / "cut" / "adapter_config.json").write_text("[1")
    with pytest.raises(PromptError, match=r"adapter_config.json: not valid JSON"):
        load_prompt(tmp_path / "cut")
    (tmp_path / "void").mkdir()
    with pytest.raises(PromptError, match=r"void: a folder without cpeft.json"):
        load_prompt(tmp_path / "void")
    with pytest.raises(PromptError, match="no such prompt"):
        load_prompt(tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth"])
@pytest.mark.parametrize("form", ["bare", "parameter", "dict", "one-matrix", "half"])
def test_attempt_files(tmp_path, suffix, form):
    weight = torch.randn(P, D)
    content = {
        "bare": weight,
        "parameter": torch.nn.Parameter(weight),
        "dict": {"prompt_embeddings": weight, "other": torch.zeros(2, 2), "steps": 3},
        "one-matrix": {"x": weight, "bias": torch.zeros(3)},
        "half": weight.bfloat16(),
    }[form]
    torch.save(content, tmp_path / f"p{suffix}")
    got = load_prompt(tmp_path / f"p{suffix}")
    assert torch.equal(got.weight, weight.bfloat16().float() if form == "half" else weight)
    assert got.provenance.note == f"imported from p{suffix}"


@pytest.mark.parametrize(
    "content", [{"a": torch.zeros(2, 2), "b": torch.zeros(2, 2)}, {"a": torch.zeros(2)}, [1, 2], 5]
)
def test_files_without_one_matrix_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "p.pt")
    with pytest.raises(PromptError, match=r"p\.pt: expected"):
        load_prompt(tmp_path / "p.pt")


class Evil:
    """Makes a folder when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle", "nested", "npy"])
def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path, form):
    mark = tmp_path / "the-code-ran"
    file = tmp_path / ("p.npy" if form == "npy" else "p.pt")
    evil = Evil(str(mark))
    if form == "pickle":
        file.write_bytes(pickle.dumps(evil))
    elif form == "npy":
        np.save(file, np.array([evil], dtype=object), allow_pickle=True)
    else:
        content = {"prompt_embeddings": torch.zeros(2, 2), "x": evil} if form == "nested" else evil
        torch.save(content, file, _use_new_zipfile_serialization=form != "legacy")
    with pytest.raises(PromptError, match=r"refused|not a plain numpy array"):
        load_prompt(file)
    assert not mark.exists()
    if form in ("pickle", "legacy"):  # the weapon works: unguarded reading does run it
        with file.open("rb") as stream:
            while not mark.exists():
                pickle.load(stream)
        assert mark.exists()


def damaged(kind, tmp_path):
    file = {"safetensors": "p.safetensors", "pt": "p.pt", "npy": "p.npy"}[kind]
    return tmp_path / file


@pytest.mark.parametrize("kind", ["safetensors", "pt", "npy"])
def test_damaged_files_name_themselves(tmp_path, kind):
    export_prompt(prompt(), tmp_path / "p.safetensors", "prompt_embeds")
    export_prompt(prompt(), tmp_path / "p.npy", "npy")
    torch.save(prompt().weight, tmp_path / "p.pt")
    file = damaged(kind, tmp_path)
    whole = file.read_bytes()
    for cut in (0, 1, 7, 20, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(PromptError, match=file.name):
            load_prompt(file)


@given(data=st.binary(max_size=60), kind=st.sampled_from(["safetensors", "pt", "npy"]), start=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x93NUMPY\x01\x00"]))  # fmt: skip  # noqa: E501
@settings(max_examples=150, deadline=None)
def test_noise_is_never_another_error(tmp_path_factory, data, kind, start):
    file = damaged(kind, tmp_path_factory.mktemp("noise"))
    file.write_bytes(start + data)
    with pytest.raises(PromptError):
        load_prompt(file)


def test_damaged_prompt_folder(tmp_path):
    prompt().save(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\0" * 10)
    with pytest.raises(PromptError, match=r"adapter_model.safetensors: not a readable safetensors"):
        load_prompt(tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(PromptError, match=r"adapter_model.safetensors: no such file"):
        SoftPrompt.load(tmp_path)


CARDS = {
    "revision": {"a": 1}, "embedding": 3, "text": "x", "task": None, "scores": {"a": "high"}, "seeds": {"init": 1.5},
    "crossed": [1], "encoder_decoder": 1, "length": "4", "linear": [], "model": ["tiny"],
}  # fmt: skip


@pytest.mark.parametrize("key", CARDS)
def test_a_card_with_a_value_that_cannot_be(tmp_path, key):
    card = json.loads((prompt().save(tmp_path) / "cpeft.json").read_text())
    (tmp_path / "cpeft.json").write_text(json.dumps(card | {key: CARDS[key]}))
    with pytest.raises(PromptError, match=rf"cpeft.json: '{key}' is "):
        load_prompt(tmp_path)


@pytest.mark.parametrize("length", [P + 1, 2 * P, P - 1, 0, -1, P // 2 - 1])
def test_a_card_of_another_number_of_rows(tmp_path, length):
    card = json.loads((prompt().save(tmp_path) / "cpeft.json").read_text())
    (tmp_path / "cpeft.json").write_text(json.dumps(card | {"length": length}))
    with pytest.raises(PromptError, match=f"'length' is {length}, and {P} rows are stored"):
        load_prompt(tmp_path)


@pytest.mark.parametrize("text", ['{"a":' * 5000, '{"task": "\\ud800"}'])
def test_json_nested_too_deeply_or_with_half_a_character(tmp_path, text):
    prompt().save(tmp_path)
    (tmp_path / "cpeft.json").write_text(text)
    with pytest.raises(PromptError, match=r"cpeft.json: not valid JSON"):
        load_prompt(tmp_path)


@pytest.mark.parametrize("file", ["adapter_model", "origin"])
@pytest.mark.parametrize("shape", [None, (), (D,), (P, D, 1)])
def test_folders_without_a_matrix_where_it_belongs(tmp_path, file, shape):
    prompt().save(tmp_path)
    key = {"adapter_model": "prompt_embeddings", "origin": "origin"}[file]
    save_file({key if shape is not None else "x": torch.zeros(shape or ())}, tmp_path / f"{file}.safetensors")
    with pytest.raises(PromptError, match=f"{file}.safetensors: a matrix '{key}' is wanted, and "):
        load_prompt(tmp_path)


@pytest.mark.parametrize("shape", [(P + 1, D), (P, D - 1), (1, 1)])
def test_an_origin_of_another_shape_is_told_of_its_file(tmp_path, shape):
    prompt().save(tmp_path)
    save_file({"origin": torch.zeros(shape)}, tmp_path / "origin.safetensors")
    with pytest.raises(PromptError, match=r"origin.safetensors: the origin of a prompt has its rows and width"):
        load_prompt(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8, torch.bool])
def test_matrices_of_other_numbers(tmp_path, dtype):
    prompt().save(tmp_path)
    save_file({"prompt_embeddings": torch.ones(P, D).to(dtype)}, tmp_path / "adapter_model.safetensors")
    assert torch.equal(load_prompt(tmp_path).weight, torch.ones(P, D))


@pytest.mark.parametrize("wrong", [{"num_virtual_tokens": {}}, {"base_model_name_or_path": 3}, {"revision": [1]}])
def test_a_peft_configuration_that_cannot_be(tmp_path, wrong):
    prompt().save(tmp_path)
    (tmp_path / "cpeft.json").unlink()
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | wrong))
    with pytest.raises(PromptError, match=rf"adapter_config.json: '{next(iter(wrong))}' is "):
        load_prompt(tmp_path)


def test_matrices_whose_names_are_no_text(tmp_path):
    torch.save({3: torch.ones(P, D), "b": torch.ones(P, D)}, tmp_path / "two.pt")
    with pytest.raises(PromptError, match="found 3, b"):
        load_prompt(tmp_path / "two.pt")


def test_npz_under_a_false_name(tmp_path):
    with (tmp_path / "p.npy").open("wb") as file:
        np.savez(file, a=np.ones((2, 2)))
    with pytest.raises(PromptError, match=r"p\.npy"):
        load_prompt(tmp_path / "p.npy")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
def test_numpy(tmp_path, dtype):
    array = (np.arange(12).reshape(3, 4) / 2).astype(dtype)
    np.save(tmp_path / "p.npy", array)
    assert torch.equal(load_prompt(tmp_path / "p.npy").weight, torch.from_numpy(array).float())


def test_exports(tmp_path):
    from safetensors import safe_open

    one = prompt()
    export_prompt(one, tmp_path / "new" / "e.safetensors", "prompt_embeds")
    with safe_open(tmp_path / "new" / "e.safetensors", framework="np") as file:
        assert list(file.keys()) == ["prompt_embeds"]
        np.testing.assert_array_equal(file.get_tensor("prompt_embeds"), one.weight.numpy())
        assert json.loads(file.metadata()["cpeft"]) == {"model": "tiny", "task": "rte"}
    assert torch.equal(load_prompt(export_prompt(one, tmp_path / "e.npy", "npy")).weight, one.weight)
    assert torch.equal(load_prompt(export_prompt(one, tmp_path / "peft")).weight, one.weight)
    with pytest.raises(PromptError, match="unknown form 'gguf'; use peft"):
        export_prompt(one, tmp_path / "x", "gguf")


def test_unknown_suffix(tmp_path):
    (tmp_path / "p.ckpt").write_text("")
    with pytest.raises(PromptError, match=r"'\.ckpt' is none of \.npy"):
        load_prompt(tmp_path / "p.ckpt")


def test_a_plan_hashes_stored_prompts_as_torch_does(tmp_path):
    one = prompt()
    for number, each in enumerate((one, SoftPrompt(one.weight, origin=one.weight + 1))):
        folder = each.save(tmp_path / str(number))
        assert stored_hash(folder) == matrix_hash(load_prompt(folder).weight)
        origin = load_prompt(folder).origin
        assert stored_hash(folder, origin=True) == ("" if origin is None else matrix_hash(origin))
    doubled = SoftPrompt.from_stored_rows(torch.cat([one.weight, one.weight + 2]), one.length, one.provenance)
    folder = doubled.save(tmp_path / "doubled")
    assert stored_hash(folder) == matrix_hash(one.weight)
    (folder / "adapter_model.safetensors").write_bytes(b"damaged")
    assert stored_hash(folder) == stored_hash(tmp_path / "nothing") == ""
