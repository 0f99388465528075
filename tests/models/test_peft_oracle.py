"""Prompt tuning against `peft`: logits, loss, gradient, generated tokens; and prompts we save, loaded by `peft`.

peft puts `prompt, padding, text` in that order when the caller pads on the left, so positions of the text move away from the
prompt, and causal generation behind right padding continues from the padding. In those cases the row without padding is the
oracle, which peft computes correctly.
"""

import peft
import pytest
import torch

from cpeft.models.prompted import PromptedLM
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from tiny import P, make_batch, make_lm, make_method, make_rows, raw_model

ALL = ["t5", "t5-gated", "bart", "llama", "gpt2", "qwen2", "gemma"]


def pair(arch):
    """Our learner and a peft model over equal weights with an equal prompt."""
    lm = make_lm(arch)
    learner = PromptedLM(lm, make_method(lm, "prompt_tuning", {}))
    seq2seq = lm.encoder_decoder
    more = {"num_transformer_submodules": 1} if seq2seq else {}
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM", num_virtual_tokens=P, token_dim=lm.width, **more
    )
    theirs = peft.get_peft_model(raw_model(arch), config)
    with torch.no_grad():
        theirs.prompt_encoder["default"].embedding.weight.copy_(learner.method.weight)
    return lm, learner, theirs.eval()


def inputs_of(lm, rows, side="right"):
    """ids, mask and labels as a user of the base model would pass them."""
    texts = [row.source if lm.encoder_decoder else row.source + row.target for row in rows]
    width = max(map(len, texts))
    ids, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(2))
    labels = torch.full_like(ids, -100)
    for i, (row, text) in enumerate(zip(rows, texts, strict=True)):
        start = width - len(text) if side == "left" else 0
        ids[i, start : start + len(text)], mask[i, start : start + len(text)] = torch.tensor(text), 1
        labels[i, start + len(row.source) : start + len(text)] = torch.tensor(text[len(row.source) :], dtype=torch.long)
    return ids, mask, make_batch(rows).target_BT if lm.encoder_decoder else labels


def their_logits(lm, out):
    """peft's causal logits include the prompt's positions."""
    return out.logits if lm.encoder_decoder else out.logits[:, P:]


@pytest.mark.parametrize("arch", ALL)
def test_right_padded_logits_loss_and_gradient_equal_peft(arch):
    lm, ours, theirs = pair(arch)
    ids, mask, labels = inputs_of(lm, make_rows(lm, 5))
    a, b = ours(ids, mask, labels=labels), theirs(input_ids=ids, attention_mask=mask, labels=labels)
    real = torch.ones_like(labels, dtype=torch.bool) if lm.encoder_decoder else mask.bool()
    torch.testing.assert_close(a.logits[real], their_logits(lm, b)[real], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(a.loss, b.loss, rtol=1e-5, atol=1e-5)
    a.loss.backward()
    b.loss.backward()
    gradient = theirs.prompt_encoder["default"].embedding.weight.grad
    assert float(gradient.abs().max()) > 1e-4
    torch.testing.assert_close(ours.method.weight.grad, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch", ALL)
def test_engine_losses_equal_peft(arch):
    """The route the engine takes: summed loss of a row equals peft's mean loss of that row times its tokens."""
    lm, ours, theirs = pair(arch)
    rows = make_rows(lm, 5)
    got = ours.losses(make_batch(rows))[0]
    for row, loss in zip(rows, got, strict=True):
        ids, mask, labels = inputs_of(lm, [row])
        want = theirs(input_ids=ids, attention_mask=mask, labels=labels).loss * len(row.target)
        torch.testing.assert_close(loss, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arch", ALL)
def test_left_padded_logits_equal_peft_without_padding(arch):
    lm, ours, theirs = pair(arch)
    rows = make_rows(lm, 4)
    ids, mask, labels = inputs_of(lm, rows, "left")
    with torch.no_grad():
        logits = ours(ids, mask, labels=labels).logits
        for i, row in enumerate(rows):
            one_ids, one_mask, one_labels = inputs_of(lm, [row])
            want = their_logits(lm, theirs(input_ids=one_ids, attention_mask=one_mask, labels=one_labels))[0]
            got = logits[i, : len(row.target)] if lm.encoder_decoder else logits[i, -one_ids.shape[1] :]
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("arch", ALL)
def test_generated_tokens_equal_peft_row_by_row(arch, side):
    lm, ours, theirs = pair(arch)
    rows = make_rows(lm, 5)
    sources = [type(row)(row.source, () if not lm.encoder_decoder else row.target) for row in rows]
    ids, mask, _ = inputs_of(lm, sources, side)
    settings = {"max_new_tokens": 6, "do_sample": False, "num_beams": 1}
    got = ours.generate(ids, mask, **settings).tolist()
    seen = set()
    for row, tokens in zip(sources, got, strict=True):
        one = torch.tensor([row.source])
        want = theirs.generate(input_ids=one, attention_mask=torch.ones_like(one), **settings)[0].tolist()
        want = want if lm.encoder_decoder else want[len(row.source) :]
        assert tokens[: len(want)] == want
        assert set(tokens[len(want) :]) <= {0}
        seen.add(tuple(want))
    assert len(seen) > 1, "outputs must depend on inputs for this to mean anything"


def test_the_prompt_changes_what_is_generated():
    lm, ours, _ = pair("llama")
    ids, mask, _ = inputs_of(lm, make_rows(lm, 5))
    before = ours.generate(ids, mask, max_new_tokens=6, do_sample=False)
    with torch.no_grad():
        ours.method.weight.add_(torch.randn_like(ours.method.weight) * 3)
    assert not torch.equal(before, ours.generate(ids, mask, max_new_tokens=6, do_sample=False))


@pytest.mark.parametrize("arch", ["t5", "bart", "llama", "gpt2"])
def test_a_saved_prompt_loads_with_peft(arch, tmp_path):
    lm = make_lm(arch)
    learner = PromptedLM(lm, make_method(lm, "prompt_tuning", {}))
    SoftPrompt(learner.method.weight, Provenance(lm.name, encoder_decoder=lm.encoder_decoder)).save(tmp_path / "prompt")
    theirs = peft.PeftModel.from_pretrained(raw_model(arch), tmp_path / "prompt").eval()
    assert theirs.get_prompt_embedding_to_save("default").shape == (P, lm.width)
    ids, mask, labels = inputs_of(lm, make_rows(lm, 3))
    with torch.no_grad():
        want = theirs(input_ids=ids, attention_mask=mask, labels=labels)
        got = learner(ids, mask, labels=labels)
    real = torch.ones_like(labels, dtype=torch.bool) if lm.encoder_decoder else mask.bool()
    torch.testing.assert_close(got.logits[real], their_logits(lm, want)[real], rtol=1e-4, atol=1e-4)
