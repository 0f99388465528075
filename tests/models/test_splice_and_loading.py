"""Where prompts go, positions, limits, dtypes, and loading models from folders."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpeft.errors import ConfigError, MissingModel, TooLong
from cpeft.models.loading import FrozenLM, load_lm
from cpeft.models.losses import row_losses
from cpeft.models.prompted import PromptedLM
from cpeft.models.splice import before_labels, join, rearrange
from tiny import EOS, LABELS, P, close, gap, make_batch, make_learner, make_lm, make_rows, same_bits


@given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4),
    st.sampled_from(["left", "right"]),
)
@settings(max_examples=60, deadline=None)
def test_join_keeps_prompt_and_text_together(mask, side):
    """Whatever the mask: prompt, then the real tokens in their order, padding on one side, and the order can be undone."""
    mask_BL = torch.tensor(mask)
    B, L = mask_BL.shape
    x_BLD = torch.arange(1.0, B * L + 1).view(B, L, 1)
    prompt_BPD = -torch.arange(1.0, B * 2 + 1).view(B, 2, 1)
    joined, new_mask, order = join(prompt_BPD, x_BLD, mask_BL, side)
    for b in range(B):
        real = joined[b, new_mask[b], 0].tolist()
        assert real == [*prompt_BPD[b, :, 0].tolist(), *x_BLD[b, mask_BL[b], 0].tolist()]
        n = int(new_mask[b].sum())
        place = new_mask[b, :n] if side == "right" else new_mask[b, -n:]
        assert bool(place.all())
    back = joined if order is None else rearrange(joined, order.argsort(1))
    assert torch.equal(back, torch.cat([prompt_BPD, x_BLD], 1))


def test_no_reordering_where_none_is_needed():
    def order(mask, side):
        mask_BL = torch.tensor(mask)
        return join(torch.zeros(len(mask), 0, 1), torch.zeros(*mask_BL.shape, 1), mask_BL, side)[2]

    assert order([[True, True, False], [True, False, False]], "right") is None
    assert order([[False, True, True], [True, True, True]], "left") is None
    assert order([[False, True, True]], "right").tolist() == [[1, 2, 0]]


def test_source_is_what_stands_before_the_first_label():
    mask = torch.tensor([[True, True, True, True, False], [False, True, True, True, True]])
    labels = torch.tensor([[-100, -100, 7, 8, -100], [-100, -100, -100, 7, -100]])
    want = [[True, True, False, False, False], [False, True, True, False, False]]
    assert before_labels(mask, labels).tolist() == want
    assert torch.equal(before_labels(mask, None), mask)


@pytest.mark.parametrize("arch", ["bart", "gpt2"])
def test_absolute_positions_count_the_prompt(arch):
    """The text's first token stands at position P, not 0, whatever side is padded."""
    lm = make_lm(arch)
    learner = make_learner(lm, "prompt_tuning", {})
    table = lm.model.model.encoder.embed_positions if arch == "bart" else lm.model.transformer.wpe
    offset = 2 if arch == "bart" else 0
    ids = torch.tensor([[5, 6, 7, 0, 0]])
    for row, mask in ((ids, [[1, 1, 1, 0, 0]]), (ids.flip(1), [[0, 0, 1, 1, 1]])):
        labels = {"labels": torch.tensor([[5, 1]])} if arch == "bart" else {}
        base = learner(row, torch.tensor(mask), **labels).logits.detach()
        changed = {}
        for position in range(12):
            with torch.no_grad():
                old = table.weight[offset + position].clone()
                table.weight[offset + position] += torch.randn(lm.width, generator=torch.Generator().manual_seed(0))
                now = learner(row, torch.tensor(mask), **labels).logits
                table.weight[offset + position] = old
            real = torch.tensor(mask[0]).bool() if arch == "gpt2" else slice(None)
            changed[position] = not torch.allclose(base[0, real], now[0, real], atol=1e-6)
        assert changed == {position: position < P + 3 for position in range(12)}


@pytest.mark.parametrize("arch", ["gpt2", "llama"])
def test_left_padded_generation_equals_one_by_one(arch):
    """`generate` under padding of either side gives each row the tokens it gets alone."""
    lm = make_lm(arch)
    learner = make_learner(lm, "attempt", {})
    rows = make_rows(lm, 5)
    batch = make_batch(rows)
    together = learner.generate(batch.source_BL, batch.mask_BL, max_new_tokens=6, do_sample=False).tolist()
    for row, tokens in zip(rows, together, strict=True):
        alone = learner.generate(torch.tensor([row.source]), max_new_tokens=6, do_sample=False)[0].tolist()
        assert tokens[: len(alone)] == alone
    assert len(set(map(tuple, together))) > 1


@pytest.mark.parametrize("arch", ["bart", "gpt2", "llama", "bert2bert"])
def test_too_long_names_the_numbers(arch):
    lm = make_lm(arch)
    lm.check_fits(4, 60)
    with pytest.raises(TooLong, match=r"4 prompt rows and 61 tokens do not fit the 64 positions.*at most 60"):
        lm.check_fits(4, 61)


def test_relative_positions_set_no_limit():
    lm = make_lm("t5")
    assert lm.text.positions is None
    lm.check_fits(100, 10_000)


def test_float32_prompt_over_a_bfloat16_model(arch):
    """The prompt and its gradient stay float32; the loss agrees with float32 to bfloat16's precision."""
    lm, full = make_lm(arch), make_lm(arch)
    lm.model.to(torch.bfloat16)
    rows = make_rows(lm, 4)
    learner, reference = make_learner(lm, "attempt", {}), make_learner(full, "attempt", {})
    loss, want = learner.losses(make_batch(rows))[0], reference.losses(make_batch(rows))[0]
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, want, rtol=0.2, atol=2.0)
    loss.sum().backward()
    gradients = [p.grad for p in learner.parameters() if p.requires_grad]
    assert all(g is not None and g.dtype == torch.float32 and bool(torch.isfinite(g).all()) for g in gradients)
    assert learner.generate(make_batch(rows).source_BL, make_batch(rows).mask_BL, max_new_tokens=2).shape[0] == 4


@pytest.mark.parametrize("arch", ["t5-gated", "bert2bert", "qwen2", "gemma"])
def test_further_architectures_train_and_generate(arch):
    lm = make_lm(arch, double=True)
    learner = make_learner(lm, "attempt", {"targets": "per_task"}, tasks=2)
    rows = make_rows(lm, 5, tasks=2)
    together = learner.losses(make_batch(rows))[0]
    alone = torch.cat([learner.losses(make_batch([row]))[0] for row in rows])
    close(lm, together, alone)
    together.sum().backward()
    assert all(bool((p.grad != 0).all()) for p in learner.parameters() if p.requires_grad)
    batch = make_batch(rows)
    tokens = learner.generate(batch.source_BL, batch.mask_BL, batch.task_B, max_new_tokens=3, do_sample=False)
    assert tokens.shape[0] == 5


def test_losses_over_a_large_vocabulary_are_as_precise_as_their_dtype():
    """torch's cross-entropy over a middle dimension adds the exponentials one by one, 1e-4 off at 100,000 words."""
    rng = torch.Generator().manual_seed(0)
    logits_BTV = 5 * torch.randn(4, 3, 100_000, generator=rng)
    labels_BT = torch.tensor([[5, 7, -100], [99_999, 0, 3], [1, 2, 3], [-100, 4, 50_000]])
    exact = row_losses(logits_BTV.double(), labels_BT)
    torch.testing.assert_close(row_losses(logits_BTV, labels_BT).double(), exact, rtol=1e-6, atol=0)


def test_the_head_of_a_decoder_only_model_reads_one_piece_of_memory():
    lm, heard = make_lm("llama"), []
    again = FrozenLM(lm.model, lm.tokenizer, "the same", None)
    lm.model.lm_head.register_forward_hook(lambda head, inputs, output: heard.append(inputs[0].is_contiguous()))
    PromptedLM(again, make_learner(again, "prompt_tuning", {}).method).generate(torch.full((3, 4), 5), max_new_tokens=2)
    assert heard[-2:] == [True, True]
    assert all(heard)
    assert len(lm.model.lm_head._forward_pre_hooks) == 1


def test_labels_everywhere_need_a_source_mask():
    """Whole-sequence loss: a method that reads the input must be told where the input ends."""
    lm = make_lm("llama")
    ids = torch.tensor([[3, 10, 11, 12, 13]])
    reader, blind = make_learner(lm, "attempt", {}), make_learner(lm, "prompt_tuning", {})
    with pytest.raises(ConfigError, match="source_mask"):
        reader(ids, labels=ids)
    assert torch.isfinite(reader(ids, labels=ids, source_mask=torch.tensor([[1, 1, 1, 0, 0]])).loss)
    assert torch.isfinite(blind(ids, labels=ids).loss)


def test_gradients_never_reach_the_model_through_the_input():
    lm = make_lm("bart")
    learner = make_learner(lm, "attempt", {})
    seen = []
    learner.method.register_forward_pre_hook(lambda module, args: seen.append(args[0].x_BLD.requires_grad))
    learner.losses(make_batch(make_rows(lm)))[0].sum().backward()
    assert seen == [False]


# Loading


def test_load_lm_from_a_folder_gives_the_same_model(saved_model):
    folder, source = saved_model
    lm = load_lm(folder, dtype="float32", device="cpu")
    assert lm.encoder_decoder == source.encoder_decoder
    assert lm.fingerprint == source.fingerprint
    assert lm.width == source.width
    assert lm.text.positions == source.text.positions
    assert lm.dtype == "float32"
    assert not lm.model.training
    assert not any(p.requires_grad for p in lm.model.parameters())
    rows = make_rows(lm, 4)
    assert rows == make_rows(source, 4)
    a, b = (make_learner(m, "prompt_tuning", {}) for m in (lm, source))
    with torch.no_grad():
        torch.testing.assert_close(a.losses(make_batch(rows))[0], b.losses(make_batch(rows))[0], rtol=1e-6, atol=1e-6)


def test_load_lm_in_bfloat16(saved_model):
    lm = load_lm(saved_model[0], dtype="bfloat16", device="cpu")
    assert lm.dtype == "bfloat16"
    assert lm.embeddings.weight.dtype == torch.bfloat16
    assert lm.vocabulary.table_VD.dtype == torch.float32


def test_missing_model_says_what_to_do(tmp_path):
    with pytest.raises(MissingModel, match=r"nowhere.*could not be loaded") as caught:
        load_lm(tmp_path / "nowhere")
    assert "cpeft fetch" in str(caught.value)
    assert caught.value.exit_code == 3
    with pytest.raises(MissingModel, match="no-such/model"):
        load_lm("no-such/model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingModel, match="empty"):
        load_lm(tmp_path / "empty")


def test_quantisation_without_bitsandbytes_is_explained(saved_model, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ConfigError, match="bitsandbytes"):
        load_lm(saved_model[0], quantize="4bit", device="cpu")


def test_vocabulary_is_what_the_model_really_looks_up():
    """BART scales its embeddings by sqrt(D); prompts start at the scaled size."""
    lm = make_lm("bart")
    torch.testing.assert_close(lm.vocabulary.table_VD, lm.embeddings.weight * lm.width**0.5)
    assert lm.vocabulary.rms == pytest.approx(float(lm.embeddings.weight.pow(2).mean().sqrt()) * lm.width**0.5)
    assert lm.vocabulary.encode("w1 w2") == lm.tokenizer.convert_tokens_to_ids(["w1", "w2"])


def test_text_codec(arch):
    """Targets end in one end token; sources of decoder-only models do not; decoding stops at the end token."""
    lm = make_lm(arch)
    targets = lm.text.targets(list(LABELS))
    assert all(row[-1] == EOS and row.count(EOS) == 1 and row[0] != lm.text.start for row in targets)
    assert [lm.text.decode(row) for row in targets] == list(LABELS)
    assert lm.text.decode([*targets[0], 10, 11]) == LABELS[0]
    source = lm.text.sources(["w1 w2"])[0][0]
    assert (source[-1] == EOS) == lm.encoder_decoder
    assert lm.text.sources([])[0] == lm.text.targets([]) == []


def test_real_model_trains_and_generates(tmp_path):
    """A model with trained weights: a few steps lower the loss of a prompt."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "models" / "tinystories-656k"
    if not folder.exists():
        pytest.skip(f"no trained model in {folder}")
    from cpeft.data.rows import EncodedRow
    from cpeft.options.prompt import PromptOptions
    from cpeft.options.training import GangOptions
    from cpeft.prompts.init import initial_prompt
    from cpeft.training.engine import train_gang
    from tiny import make_member, trained_state

    lm = load_lm(folder, dtype="float32", device="cpu")
    texts = ["Once upon a time there was a little girl", "Tom and his dog went to the park", "The sun was hot"]
    sources, _ = lm.text.sources(texts)
    targets = lm.text.targets([" He was happy.", " She was sad.", " They went home."])
    rows = [EncodedRow(tuple(s), tuple(t)) for s, t in zip(sources, targets, strict=True)]
    import numpy as np

    from cpeft.methods.base import MethodInputs
    from cpeft.methods.prompt_tuning import PromptTuning, PromptTuningOptions

    options = PromptOptions(length=8, init="vocab", vocab_range=(0, 1999))
    start = initial_prompt(options, lm.vocabulary, np.random.default_rng(0), (), lambda name: None)
    learner = PromptedLM(lm, PromptTuning(PromptTuningOptions(), MethodInputs(("a",), start)))
    before = {key: value.clone() for key, value in lm.model.state_dict().items()}
    optim = {"lr": None, "schedule": "constant"}
    member = make_member(learner, rows, tmp_path / "r", train={"steps": 40}, optim=optim, scale=lm.vocabulary.rms)
    first, state = member.evaluate().loss, trained_state(learner)
    train_gang([member], GangOptions())
    assert member.evaluate().loss < 0.7 * first
    assert gap(state, trained_state(learner)) > 0
    assert same_bits(before, lm.model.state_dict())
