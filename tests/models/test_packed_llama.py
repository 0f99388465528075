"""The packed LLaMA family against transformers' own modules: losses, gradients, answers; where it stands back."""

from dataclasses import replace

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

import tiny
from cpeft.baselines import changed_lm
from cpeft.data.encode import collate
from cpeft.data.options import DataOptions
from cpeft.data.rows import EncodedRow
from cpeft.evaluation.choice import label_scores
from cpeft.evaluation.decoding import decode_rows
from cpeft.methods import METHODS
from cpeft.models.example_losses import example_losses
from cpeft.models.fast import causal_attention, causal_reading
from cpeft.models.fast.label_trie import LabelTrie
from cpeft.models.fast.packed_llama import LEAD, PackedLlama, packed_llama
from cpeft.models.prompted import PromptedLM, pooled_losses
from cpeft.options.evaluation import EvalOptions
from tiny import EOS, LABELS, PAD, WINDOW, D, V, make_learner, make_lm, make_method, make_rows

EXACT = 1e-12  # relative, in float64 throughout
BUILDERS = {
    "qwen3": (lambda: tiny._llama_like(Qwen3Config, Qwen3ForCausalLM, head_dim=8), "$A"),
    "llama-tied": (lambda: tiny._llama_like(tiny.LlamaConfig, tiny.LlamaForCausalLM, tie_word_embeddings=True), "<s> $A"),
    "llama-biased": (
        lambda: tiny._llama_like(tiny.LlamaConfig, tiny.LlamaForCausalLM, attention_bias=True, mlp_bias=True), "<s> $A",
    ),
    "llama-one-layer": (
        lambda: tiny._llama_like(tiny.LlamaConfig, tiny.LlamaForCausalLM, layers=1), "<s> $A",
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


def instructed(rows, count=LEAD + 3, seed=5):
    """The rows behind tokens that all of them begin with, as an instruction."""
    lead = tuple(torch.randint(4, V, (count,), generator=torch.Generator().manual_seed(seed)).tolist())
    return [replace(row, source=lead + row.source) for row in rows]


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


@pytest.mark.parametrize("rows", [uneven_rows(), instructed(uneven_rows())], ids=["texts", "instructed"])
@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("kind", ALIKE)
def test_losses_and_gradients_are_the_modules(lm, kind, left, rows, monkeypatch):
    assert isinstance(lm.packed, PackedLlama)
    alike, batch = torch.tensor(ALIKE[kind]), batch_of(rows, left)
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


@pytest.mark.parametrize("lm", ["llama-one-layer"], indirect=True)
def test_in_a_model_of_one_layer_texts_learn_nothing(lm, monkeypatch):
    """Its only layer is the first, where prompts alone learn, and the last, where places are kept that are asked for."""
    test_methods_get_the_gradient_of_the_module(lm, "prompt_tuning", monkeypatch)


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
    options = METHODS.get(method).Options(**({"biases": "added"} if method == "bitfit" else {}))
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


# Answers


def ended(tokens):
    """Each row up to its end."""
    return [tuple(row[: row.index(EOS) + 1] if EOS in row else row) for row in tokens.tolist()]


def spoken_by(learner, rows, count=3):
    """What `generate` says of each row alone."""
    how = {"max_new_tokens": count, "do_sample": False}
    said = [learner.generate(torch.tensor([row.source]), task_ids=torch.tensor(row.task), **how) for row in rows]
    return [ended(tokens)[0] for tokens in said]


def reading_of(learner, rows, new=3):
    batch = learner.layout.batch(rows)
    return learner.read(batch.source_BL, batch.mask_BL, batch.task_B, new)


@pytest.mark.parametrize("lead", [0, LEAD + 3], ids=["texts", "instructed"])
@pytest.mark.parametrize("name", ["prompt_tuning", "mpt", "attempt", "no_prompt"])
def test_answers_are_those_of_generate(lm, name, lead, monkeypatch):
    """Row by row through plain transformers, for label sets that greedy decoding meets and misses."""
    learner, rows = make_learner(lm, name, {}, tasks=2), [*make_rows(lm, 9, tasks=2), *uneven_rows(tasks=2)]
    rows = instructed([row for row in rows if len(row.source) <= 6] if lead else rows, lead)  # within Mistral's window
    with monkeypatch.context() as off:
        plain = spoken_by(PromptedLM(by_module(lm, off), learner.method), rows)
    labels = list(dict.fromkeys([*plain[:3], (plain[4][0], V - 1), (V - 1, V - 2, V - 3)]))
    reading = reading_of(learner, rows)
    said = reading.answers(LabelTrie(labels), scored=False).greedy
    assert [row in labels for row in said] == [row in labels for row in plain]
    assert [row[: len(tokens)] for row, tokens in zip(plain, said, strict=True)] == said
    assert ended(learner.generate_from(reading, max_new_tokens=3, do_sample=False)) == plain
    assert ended(learner.generate_from(reading, [5, 1], max_new_tokens=3, do_sample=False)) == [plain[5], plain[1]]
    assert len(set(plain)) > 3


@pytest.mark.parametrize("lead", [0, LEAD + 3], ids=["texts", "instructed"])
@pytest.mark.parametrize("name", ["prompt_tuning", "mpt", "attempt", "no_prompt"])
def test_label_scores_are_the_modules(lm, name, lead, monkeypatch):
    learner, rows = make_learner(lm, name, {}, tasks=2), instructed(uneven_rows(tasks=2), lead)
    ours = label_scores(learner, rows, LABELS)
    by_module(lm, monkeypatch)
    theirs = label_scores(learner, rows, LABELS)
    assert float((ours - theirs).abs().max()) <= EXACT * float(theirs.abs().max())


@pytest.mark.parametrize("lm", ["llama"], indirect=True)
def test_a_thousand_labels_are_scored_in_pieces(lm, monkeypatch):
    """Of one to four tokens, many with common beginnings; a row is read once."""
    rng = torch.Generator().manual_seed(3)
    drawn = [(*torch.randint(4, V, (n % 4 + 1,), generator=rng).tolist(), EOS) for n in range(1100)]
    labels, rows, learner = list(dict.fromkeys(drawn)), uneven_rows(), make_learner(lm, "prompt_tuning", {})
    reading, passes = reading_of(learner, rows, 6), []
    monkeypatch.setattr(causal_reading, "NODES", 10**6)
    read = PackedLlama.read
    monkeypatch.setattr(PackedLlama, "read", lambda self, x, *more: passes.append(len(x)) or read(self, x, *more))
    ours = reading.answers(LabelTrie(labels), greedy=False).scores_BC
    assert len(passes) == 1
    monkeypatch.setattr(causal_reading, "NODES", 2500)
    pieces = reading.answers(LabelTrie(labels), greedy=False).scores_BC
    assert 1 + 3 <= len(passes) <= 1 + 7
    torch.testing.assert_close(pieces, ours, rtol=1e-12, atol=1e-12)
    chosen = [0, 1, 500, len(labels) - 1]
    theirs = PromptedLM(by_module(lm, monkeypatch), learner.method).label_scores(
        batch_of(rows), [labels[i] for i in chosen]
    )
    torch.testing.assert_close(ours[:, chosen], theirs, rtol=1e-12, atol=1e-12)


def test_prompts_of_a_mixed_batch_are_computed_once_until_they_change(lm, monkeypatch):
    """Each for itself: a changed prompt alone is computed anew."""
    learner, rows = make_learner(lm, "mpt", {}, tasks=3), make_rows(lm, 12, tasks=3)
    assert lm.packed is not None
    seen, read = [], PackedLlama.read_prompts
    monkeypatch.setattr(PackedLlama, "read_prompts", lambda self, p_KPD: seen.append(len(p_KPD)) or read(self, p_KPD))
    few = EvalOptions(token_budget=60)
    first = decode_rows(learner, rows, LABELS, few)
    assert sum(seen) == 3
    with torch.no_grad():
        learner.method.u_TPR[1] += 1
    changed = decode_rows(learner, rows, LABELS, few)
    assert sum(seen) == 4
    alone = [decode_rows(make_copy(learner), [row], LABELS, few)[0] for row in rows]
    assert changed == alone
    with torch.no_grad():
        learner.method.u_TPR[1] -= 1
    assert decode_rows(learner, rows, LABELS, few) == first


def test_what_all_texts_begin_with_is_computed_once(monkeypatch):
    """Behind each prompt; in batches that have more in common than others too, and with another beginning anew."""
    lm = make_lm("llama", double=True)
    learner, rows = make_learner(lm, "prompt_tuning", {}), uneven_rows((9, 2, 5, 5, 4, 12, 3, 2, 6, 6))
    few = EvalOptions(token_budget=60)
    seen, read = [], PackedLlama.read_prompts
    assert lm.packed is not None
    monkeypatch.setattr(
        PackedLlama, "read_prompts", lambda self, p_KPD: seen.append(p_KPD.shape[1]) or read(self, p_KPD)
    )
    more = instructed([*instructed(rows[:4], 2, seed=6), *rows[4:]])
    for given in (instructed(rows), more, instructed(rows, seed=7)):
        together = decode_rows(learner, given, LABELS, few)
        scores = label_scores(learner, given, LABELS)
        assert together == [decode_rows(make_copy(learner), [row], LABELS, few)[0] for row in given]
        alone = torch.cat([label_scores(make_copy(learner), [row], LABELS) for row in given])
        assert float((scores - alone).abs().max()) <= EXACT * float(alone.abs().max())
    length = learner.method.length
    kept = [size for size in seen if size > length]
    assert set(kept) == {length + LEAD + 3}, "the common beginning of all, not of some"
    assert len(kept) <= 4


def make_copy(learner):
    """A learner that has kept nothing."""
    return PromptedLM(learner.lm, learner.method)


def test_the_prompts_kept_are_bounded_and_those_not_used_for_longest_go():
    lm = make_lm("llama")
    learner, rows = make_learner(lm, "mpt", {}, tasks=4), make_rows(lm, 8, tasks=4)
    decode_rows(learner, rows, LABELS, EvalOptions())
    kept = learner._kept
    assert (len(kept._known), kept.hits, kept.misses) == (4, 0, 4)
    kept.most_bytes = kept.bytes // 2
    some = [row for row in rows if row.task in (1, 3)]
    decode_rows(learner, some, LABELS, EvalOptions())
    assert (set(kept._known), kept.hits, kept.misses) == ({1, 3}, 2, 4)
    assert kept.bytes == kept.most_bytes
    assert decode_rows(learner, rows, LABELS, EvalOptions()) == decode_rows(
        make_copy(learner), rows, LABELS, EvalOptions()
    )


def test_a_text_is_read_once(monkeypatch):
    """Also where its answer is no label, which is then told token by token."""
    lm = make_lm("llama")
    learner, rows = make_learner(lm, "prompt_tuning", {}), make_rows(lm, 12)
    assert lm.packed is not None
    read, forward, passes, told = PackedLlama.read, type(lm.model.model).forward, [], []

    def seen(self, *given, inputs_embeds=None, **known):
        kept = known.get("past_key_values", known.get("cache"))  # its name from transformers 5.24 on
        told.append(kept.get_seq_length() > 0)
        return forward(self, *given, inputs_embeds=inputs_embeds, **known)

    monkeypatch.setattr(PackedLlama, "read", lambda self, x, *more: passes.append(len(x)) or read(self, x, *more))
    monkeypatch.setattr(type(lm.model.model), "forward", seen)
    decoded = decode_rows(learner, rows, LABELS, EvalOptions(decode=("greedy", "choice")))
    assert passes[1] == sum(len(row.source) for row in rows)
    assert len(passes) <= 4, "the prompt, the texts, the labels for greedy decoding and for choice"
    assert any(row.text not in LABELS for row in decoded)
    assert all(told), "generate goes on from kept keys and values"


def test_beams_are_generates_own(monkeypatch):
    """Of one text more rows are made, whose prompt is not kept apart."""
    lm = make_lm("llama")
    learner, ids = make_learner(lm, "attempt", {}), torch.full((2, 3), 7)
    ours = learner.generate(ids, max_new_tokens=3, num_beams=3)
    by_module(lm, monkeypatch)
    assert torch.equal(ours, learner.generate(ids, max_new_tokens=3, num_beams=3))


def test_answers_beyond_the_window_are_the_modules(monkeypatch):
    """A batch whose widest row and new tokens pass it, and whose tokens are not counted."""
    lm = make_lm("mistral", double=True)
    learner, rows = make_learner(lm, "prompt_tuning", {}), uneven_rows((18, 3, 15, 9))
    assert reading_of(learner, rows, WINDOW - 4 - 18) is not None
    assert reading_of(learner, rows, WINDOW - 4 - 18 + 1) is None
    assert reading_of(learner, rows, None) is None
    together = [row.text for row in decode_rows(learner, rows, (), EvalOptions(max_new_tokens=4))]
    with monkeypatch.context() as off:
        plain = spoken_by(PromptedLM(by_module(lm, off), learner.method), rows, 4)
    assert together == [learner.text.decode(ids) for ids in plain]
