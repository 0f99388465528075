"""The packed LLaMA family against transformers' own modules: losses, gradients, answers; where it stands back."""

from dataclasses import replace

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

import tiny
from cpeft.baselines import changed_lm
from cpeft.baselines.base import BASELINES
from cpeft.data.encode import EncodedRow, collate
from cpeft.data.options import DataOptions
from cpeft.models.example_losses import example_losses
from cpeft.models.fast import causal_attention
from cpeft.models.fast.packed_llama import PackedLlama, packed_llama
from cpeft.models.prompted import PromptedLM, pooled_losses
from tiny import EOS, PAD, D, V, make_learner, make_lm, make_method

EXACT = 1e-12  # relative, in float64 throughout
WINDOW = 24
BUILDERS = {
    "qwen3": (lambda: tiny._llama_like(Qwen3Config, Qwen3ForCausalLM, head_dim=8), "$A"),
    "mistral": (lambda: tiny._llama_like(MistralConfig, MistralForCausalLM, sliding_window=WINDOW, head_dim=8), "<s> $A"),
    "llama-tied": (lambda: tiny._llama_like(tiny.LlamaConfig, tiny.LlamaForCausalLM, tie_word_embeddings=True), "<s> $A"),
    "llama-biased": (
        lambda: tiny._llama_like(tiny.LlamaConfig, tiny.LlamaForCausalLM, attention_bias=True, mlp_bias=True), "<s> $A",
    ),
    "llama-yarn": (
        lambda: tiny._llama_like(
            tiny.LlamaConfig, tiny.LlamaForCausalLM,
            rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16},
        ), "<s> $A",
    ),
    "llama-dynamic": (
        lambda: tiny._llama_like(
            tiny.LlamaConfig, tiny.LlamaForCausalLM,
            rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
        ), "<s> $A",
    ),
}  # fmt: skip
FAMILY = ("llama", "qwen2", "qwen3", "mistral", "llama-tied", "llama-biased", "llama-yarn")


@pytest.fixture(autouse=True)
def builders(monkeypatch):
    for name, builder in BUILDERS.items():
        monkeypatch.setitem(tiny.BUILDERS, name, builder)


@pytest.fixture(params=FAMILY)
def lm(request, monkeypatch):
    """In float64, norms too, which transformers takes in float32 whatever the model's dtype."""

    def whole(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    for norm in (LlamaRMSNorm, Qwen2RMSNorm, Qwen3RMSNorm, MistralRMSNorm):
        monkeypatch.setattr(norm, "forward", whole)
    return make_lm(request.param, double=True)


def uneven_rows(lengths=(9, 2, 5, 5, 1, 12, 3), tasks=1):
    """Rows of unlike lengths, two of them alike, one of a single token."""
    rng = torch.Generator().manual_seed(0)

    def ids(n):
        return tuple(torch.randint(4, V, (n,), generator=rng).tolist())

    return [EncodedRow(ids(n), (*ids(n % 3), EOS), i % tasks) for i, n in enumerate(lengths)]


def batch_of(rows, left=False):
    """Padded on the right as `collate` does, or with its padding moved to the left."""
    batch = collate(rows, PAD)
    if not left:
        return batch
    order = batch.mask_BL.long().argsort(dim=1, stable=True)
    return type(batch)(batch.source_BL.gather(1, order), batch.mask_BL.gather(1, order), batch.target_BT, batch.task_B)


def by_module(lm, monkeypatch):
    """The same model without its packed form."""
    monkeypatch.setitem(vars(lm), "packed", None)
    return lm


def losses_and_gradient(lm, batch, alike, length=4, loss="answer"):
    count = int(alike.max()) + 1
    rng = torch.Generator().manual_seed(1)
    prompt_KPD = torch.randn(count, length, D, generator=rng, dtype=torch.float64).requires_grad_(True)
    loss_B = example_losses(lm, prompt_KPD[alike], lm.embed(batch.source_BL), batch, loss, alike)
    loss_B.sum().backward()
    return loss_B.detach(), prompt_KPD.grad


def same(ours, theirs):
    for own, other in zip(ours, theirs, strict=True):
        assert float((own - other).norm()) <= EXACT * float(other.norm())
        assert float(other.norm()) > 1e-3


ALIKE = {"one prompt": [0] * 7, "three prompts": [0, 1, 1, 0, 2, 2, 2], "a prompt a row": list(range(7))}


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("kind", ALIKE)
def test_losses_and_gradients_are_the_modules(lm, kind, left, monkeypatch):
    assert isinstance(lm.packed, PackedLlama)
    alike, batch = torch.tensor(ALIKE[kind]), batch_of(uneven_rows(), left)
    ours = losses_and_gradient(lm, batch, alike)
    same(ours, losses_and_gradient(by_module(lm, monkeypatch), batch, alike))


@pytest.mark.parametrize("loss", ["answer", "sequence"])
@pytest.mark.parametrize(("length", "lengths"), [(11, (3, 1, 2)), (1, (9, 12, 12)), (6, (1, 1, 1))])
def test_prompts_longer_and_shorter_than_texts(lm, length, lengths, loss, monkeypatch):
    """With loss on the whole text the prompt's last position is asked too."""
    batch, alike = batch_of(uneven_rows(lengths)), torch.zeros(len(lengths), dtype=torch.long)
    ours = losses_and_gradient(lm, batch, alike, length, loss)
    same(ours, losses_and_gradient(by_module(lm, monkeypatch), batch, alike, length, loss))


@pytest.mark.parametrize("loss", ["answer", "sequence"])
def test_no_prompt_at_all(lm, loss, monkeypatch):
    learner, batch = PromptedLM(lm, make_method(lm, "no_prompt", {}), DataOptions(loss=loss)), batch_of(uneven_rows())
    ours = learner.losses(batch)[0]
    by_module(lm, monkeypatch)
    same([ours], [learner.losses(batch)[0]])


@pytest.mark.parametrize("name", ["prompt_tuning", "mpt", "attempt"])
def test_methods_get_the_gradient_of_the_module(lm, name, monkeypatch):
    """A prompt for all rows, one for every task, one for every row."""
    learner, batch = make_learner(lm, name, {}, tasks=2), batch_of(uneven_rows(tasks=2))
    found = []
    for step in (lambda: None, lambda: by_module(lm, monkeypatch)):
        step()
        learner.zero_grad()
        loss_B = learner.losses(batch)[0]
        loss_B.sum().backward()
        found.append([loss_B.detach(), *(p.grad for p in learner.parameters() if p.grad is not None)])
    same(*found)


def test_a_gang_computes_the_prompt_of_every_member_once(lm, monkeypatch):
    learners = [make_learner(lm, "prompt_tuning", {}, seed=i) for i in range(3)]
    assert lm.packed is not None  # settled before passes are counted
    rows, seen, hidden = uneven_rows(), [], PackedLlama.hidden

    def counted(self, x_ND, layout, at_C):
        seen.append(layout.prompts)
        return hidden(self, x_ND, layout, at_C)

    monkeypatch.setattr(PackedLlama, "hidden", counted)
    together = pooled_losses(learners, [rows[:2], rows[2:3], rows[3:]])
    torch.cat([loss for loss, _ in together]).sum().backward()
    assert seen == [3]
    pooled = [
        (loss.detach(), learner.method.weight.grad) for (loss, _), learner in zip(together, learners, strict=True)
    ]
    by_module(lm, monkeypatch)
    for learner, own, part in zip(learners, pooled, (rows[:2], rows[2:3], rows[3:]), strict=True):
        learner.zero_grad()
        loss_B = learner.losses(batch_of(part))[0]
        loss_B.sum().backward()
        same(own, (loss_B.detach(), learner.method.weight.grad))


def test_members_with_more_tasks_than_rows_keep_their_prompts_apart(lm, monkeypatch):
    """Tasks 3 and 1 of two members are other prompts, whatever numbers they have in a batch of two rows."""
    learners = [make_learner(lm, "mpt", {}, seed=i, tasks=4) for i in range(2)]
    rows = [replace(row, task=task) for row, task in zip(uneven_rows(), (3, 1), strict=False)]
    found = []
    for step in (lambda: None, lambda: by_module(lm, monkeypatch)):
        step()
        found.append(torch.cat([loss for loss, _ in pooled_losses(learners, [rows[:1], rows[1:]])]).detach())
    same([found[0]], [found[1]])


def test_long_rows_go_through_fused_attention(lm, monkeypatch):
    """Longer than `SHORT`, beside shorter ones; the prompt too."""
    monkeypatch.setattr(causal_attention, "SHORT", 5)
    batch, alike = batch_of(uneven_rows()), torch.tensor(ALIKE["three prompts"])
    ours = losses_and_gradient(lm, batch, alike, length=6)
    same(ours, losses_and_gradient(by_module(lm, monkeypatch), batch, alike, length=6))


def test_rows_beyond_the_window_go_through_the_module(monkeypatch):
    lm, alike = make_lm("mistral", double=True), torch.zeros(7, dtype=torch.long)
    assert lm.packed.window == WINDOW
    monkeypatch.setattr(PackedLlama, "losses", lambda *given: pytest.fail("beyond its window"))
    loss_B, _ = losses_and_gradient(lm, batch_of(uneven_rows()), alike, length=WINDOW)
    assert bool(loss_B.isfinite().all())


def test_dropout_is_the_modules(monkeypatch):
    lm = make_lm("llama")
    assert lm.packed.takes(20)
    lm.model.train()
    assert lm.packed.takes(20)
    lm.model.model.layers[0].self_attn.attention_dropout = 0.1
    assert not lm.packed.takes(20)
    lm.model.eval()
    assert lm.packed.takes(20)


@pytest.mark.parametrize("arch", ["gpt2", "gemma", "llama-dynamic"])
def test_other_models_have_none(arch):
    assert make_lm(arch).packed is None


@pytest.mark.parametrize("method", ["lora", "bitfit", "adapters", "fine_tuning", "prefix_tuning"])
def test_a_changed_model_goes_through_its_module(method):
    lm = make_lm("llama")
    options = BASELINES.get(method).Options(**({"biases": "added"} if method == "bitfit" else {}))
    learner = changed_lm(lm, options, ("mood",), 0, DataOptions())
    assert learner.lm.packed is None
    assert lm.packed is not None


def test_a_form_that_does_not_agree_is_not_used(monkeypatch):
    """A rotation that is off by a percent."""
    whole = causal_attention.Angles.turn
    monkeypatch.setattr(
        causal_attention.Angles, "turn", lambda self, x: whole(self._replace(sin_N1W=1.01 * self.sin_N1W), x)
    )
    assert packed_llama(make_lm("llama").model) is None


def test_bfloat16_agrees_with_its_module(monkeypatch):
    """As closely as the module's own bfloat16 agrees with float32."""
    rows, found = uneven_rows(), []
    for dtype, packed in ((torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True)):
        lm = make_lm("llama")
        lm.model.to(dtype)
        assert lm.packed is not None
        learner = make_learner(lm if packed else by_module(lm, monkeypatch), "prompt_tuning", {})
        loss_B = learner.losses(batch_of(rows))[0]
        loss_B.sum().backward()
        found.append(learner.method.weight.grad)
    true, module, ours = found
    assert float((ours - true).norm()) <= 2 * float((module - true).norm())
    assert ours.dtype == torch.float32
