"""LoRA, IA3 and prefix tuning against `peft` used directly: logits, losses and gradients of equal weights."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from cpeft.baselines import changed_lm
from cpeft.errors import ConfigError
from cpeft.methods import METHODS
from cpeft.models.loading import FrozenLM
from tiny import ARCHITECTURES, close, make_batch, make_lm, make_rows, make_tokenizer, raw_model

peft = pytest.importorskip("peft", reason="needs peft")

P = 3
INJECTED = {
    "lora": ({"rank": 4, "alpha": 12}, lambda **more: peft.LoraConfig(r=4, lora_alpha=12, **more)),
    "ia3": ({}, lambda **more: peft.IA3Config(**more)),
}


def theirs_of(arch, config):
    config.task_type = "SEQ_2_SEQ_LM" if arch in ("t5", "bart") else "CAUSAL_LM"
    return peft.get_peft_model(raw_model(arch).double(), config).eval()


def ours_of(arch, name, options):
    learner = changed_lm(make_lm(arch, double=True), METHODS.get(name).Options(name=name, **options), ("a",))
    shake(learner.parameters())
    return learner


def shake(parameters, seed=0):
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64).to(parameter.dtype) * 0.1)


def summed_loss(theirs, lm, rows):
    """peft's loss of every row alone, unpadded, summed over its target tokens."""
    losses = []
    for row in rows:
        ids, target = torch.tensor([row.source]), torch.tensor([row.target])
        if lm.encoder_decoder:
            logits = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), labels=target).logits[0]
        else:
            whole = torch.cat([ids, target], 1)
            logits = theirs(input_ids=whole, attention_mask=torch.ones_like(whole)).logits[0, len(row.source) - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(logits, target[0], reduction="sum"))
    return torch.stack(losses)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", INJECTED)
def test_injected_layers_equal_peft(arch, name):
    options, config = INJECTED[name]
    ours, theirs = ours_of(arch, name, options), theirs_of(arch, config())
    trained = {key: p for key, p in theirs.named_parameters() if p.requires_grad}
    own = {f"base_model.model.{key}": p for key, p in ours.method.trained.named_parameters()}
    assert trained.keys() == own.keys()
    with torch.no_grad():
        for key, parameter in trained.items():
            parameter.copy_(own[key])
    rows = make_rows(ours.lm, 5)
    a, b = ours.losses(make_batch(rows))[0], summed_loss(theirs, ours.lm, rows)
    close(ours.lm, a, b, 1e-9)
    a.sum().backward()
    b.sum().backward()
    for key, parameter in trained.items():
        close(ours.lm, own[key].grad, parameter.grad, 1e-7)
        assert bool(parameter.grad.any())


@pytest.mark.parametrize("seed", [0, 5])
def test_a_fresh_lora_is_drawn_as_peft_draws_it(seed):
    options, config = INJECTED["lora"]
    ours = changed_lm(make_lm("t5"), METHODS.get("lora").Options(**options), ("a",), seed)
    model = raw_model("t5")
    torch.manual_seed(seed)
    theirs = peft.get_peft_model(model, config(task_type="SEQ_2_SEQ_LM"))
    own = dict(ours.method.trained.named_parameters())
    drawn = {key.removeprefix("base_model.model."): p for key, p in theirs.named_parameters() if p.requires_grad}
    assert own.keys() == drawn.keys()
    assert all(torch.equal(own[key], drawn[key]) for key in own)


@pytest.mark.parametrize("projection", ["none", "mlp"])
@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_prefix_equals_peft(arch, projection):
    ours = ours_of(arch, "prefix_tuning", {"length": P, "projection": projection})
    more = {"prefix_projection": projection == "mlp", "encoder_hidden_size": ours.lm.width}
    theirs = theirs_of(arch, peft.PrefixTuningConfig(num_virtual_tokens=P, **more)).double()
    mine = ours.lm.model.prefix.encoder
    theirs.prompt_encoder["default"].load_state_dict(mine.state_dict())
    rows = make_rows(ours.lm, 5)
    a, b = ours.losses(make_batch(rows))[0], summed_loss(theirs, ours.lm, rows)
    close(ours.lm, a, b, 1e-9)
    a.sum().backward()
    b.sum().backward()
    for own, other in zip(mine.parameters(), theirs.prompt_encoder["default"].parameters(), strict=True):
        close(ours.lm, own.grad, other.grad, 1e-7)


@pytest.mark.parametrize("arch", ["t5", "bart"])
def test_a_prefix_of_peft_for_encoder_decoder_is_one_of_ours(arch):
    """peft's layer i of L reads the places 4i and 4i + 1, modulo 2L, of its prefix; ours reads 2i and 2i + 1. With the
    matrices put where they are read, both are one function, and the places that peft never reads are dead."""
    ours = ours_of(arch, "prefix_tuning", {"length": P})
    lm, L = ours.lm, 2
    theirs = theirs_of(arch, peft.PrefixTuningConfig(num_virtual_tokens=P)).double()
    stored = theirs.prompt_encoder["default"].embedding.weight
    shake([stored], seed=1)
    read = [(4 * i + j) % (2 * L) for i in range(L) for j in (0, 1)]
    with torch.no_grad():
        places = stored.unflatten(1, (2 * L, lm.width))
        ours.lm.model.prefix.encoder.embedding.weight.copy_(places[:, read].flatten(1))
    rows = make_rows(lm, 5)
    a, b = ours.losses(make_batch(rows))[0], summed_loss(theirs, lm, rows)
    close(ours.lm, a, b, 1e-9)
    b.sum().backward()
    reached = stored.grad.unflatten(1, (2 * L, lm.width)).abs().sum((0, 2)) > 0
    assert [i for i, there in enumerate(reached) if there] == sorted(set(read)) == [0, 1]
    a.sum().backward()
    assert bool((next(ours.parameters()).grad.abs().sum(0) > 0).all()), "ours has no dead place"


def test_a_prefix_fits_models_whose_heads_do_not_fill_the_width():
    """T5 of 3B and 11B: heads x head width is not the width of the model, where peft's own guess fails."""
    config = T5Config(vocab_size=93, d_model=32, d_kv=6, d_ff=40, num_layers=1, num_decoder_layers=3, num_heads=2,
                      pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)  # fmt: skip
    lm = FrozenLM(T5ForConditionalGeneration(config), make_tokenizer("$A </s>"), "narrow")
    learner = changed_lm(lm, METHODS.get("prefix_tuning").Options(length=P), ("a",))
    assert sum(p.numel() for p in learner.parameters()) == P * 3 * 2 * 12
    learner.losses(make_batch(make_rows(lm, 4)))[0].sum().backward()
    assert bool((next(learner.parameters()).grad != 0).all())


@pytest.mark.parametrize("name", ["lora", "ia3"])
def test_an_architecture_that_peft_does_not_know_says_what_to_do(name):
    lm = make_lm("t5")
    with pytest.raises(ConfigError, match=rf"'{name}' on tiny-t5 .*Target modules.*method\.targets"):
        changed_lm(lm, METHODS.get(name).Options(name=name, targets=("nowhere",)), ("a",))
    with pytest.raises(ConfigError, match=rf"'{name}' on tiny-bert2bert .*method\.targets"):
        changed_lm(make_lm("bert2bert"), METHODS.get(name).Options(name=name), ("a",))
