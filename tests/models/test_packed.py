"""The packed T5 against transformers' own module: losses, gradients, encoder outputs, answers; and when it stands back."""

from dataclasses import replace

import pytest
import torch

from cpeft.baselines import changed_lm
from cpeft.data.encode import collate
from cpeft.data.options import DataOptions
from cpeft.data.rows import EncodedRow
from cpeft.evaluation.decoding import decode_rows
from cpeft.methods import METHODS
from cpeft.models.example_losses import example_losses
from cpeft.models.fast import product, sublayers, t5_attention
from cpeft.models.fast.label_trie import LabelTrie
from cpeft.models.fast.packed_t5 import packed_t5
from cpeft.models.fast.product import Product, arranges, mkl_is_fast
from cpeft.models.prompted import PromptedLM
from cpeft.options.evaluation import EvalOptions
from tiny import EOS, LABELS, PAD, D, P, V, close, make_learner, make_lm, make_rows

T5S = ("t5", "t5-gated")


@pytest.fixture(params=T5S)
def t5(request):
    return make_lm(request.param, double=True)


def uneven_rows(count=7, seed=0):
    """Rows of unlike lengths, two of them alike."""
    rng = torch.Generator().manual_seed(seed)

    def ids(n):
        return tuple(torch.randint(4, V, (n,), generator=rng).tolist())

    lengths = [9, 2, 5, 5, 1, 12, 3][:count]
    return [EncodedRow((*ids(n), EOS), (*ids(1 + n % 3), EOS)) for n in lengths]


def by_module(lm, monkeypatch):
    """The same model without its packed form."""
    monkeypatch.setitem(vars(lm), "packed", None)
    return lm


def losses_and_gradient(lm, rows):
    batch = collate(rows, PAD)
    prompt_PD = torch.randn(P, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_(True)
    loss_B = example_losses(lm, prompt_PD.expand(len(rows), -1, -1), lm.embed(batch.source_BL), batch)
    loss_B.sum().backward()
    return loss_B.detach(), prompt_PD.grad


def test_losses_and_gradients_are_the_modules(t5, monkeypatch):
    assert t5.packed is not None
    ours = losses_and_gradient(t5, uneven_rows())
    theirs = losses_and_gradient(by_module(t5, monkeypatch), uneven_rows())
    for own, other in zip(ours, theirs, strict=True):
        close(t5, own, other)
    assert float(ours[1].norm()) > 1e-3


def test_neighbours_change_nothing(t5):
    """A row alone has the loss that it has in a batch."""
    rows = uneven_rows()
    together, _ = losses_and_gradient(t5, rows)
    alone = torch.cat([losses_and_gradient(t5, [row])[0] for row in rows])
    close(t5, together, alone)


@pytest.mark.parametrize("name", ["prompt_tuning", "attempt"])
@pytest.mark.parametrize("arch", T5S)
def test_answers_are_those_of_generate(arch, name, monkeypatch):
    """Row by row, for label sets that greedy decoding meets and misses; the weights of mixtures too."""
    lm = make_lm(arch)
    learner = make_learner(lm, name, {})
    rows = make_rows(lm, 40)
    first = decode_rows(learner, rows, LABELS, EvalOptions())
    assert first == decode_rows(PromptedLM(by_module(lm, monkeypatch), learner.method), rows, LABELS, EvalOptions())


def test_one_pass_tells_what_greedy_decoding_says(t5, monkeypatch):
    """Label sets made of what the model really says, of a beginning of it, and of what it never says."""
    rows = [replace(row, target=()) for row in uneven_rows()]
    learner = make_learner(t5, "prompt_tuning", {})
    batch = learner.layout.batch(rows)
    tokens, _ = learner.decode(batch.source_BL, batch.mask_BL, batch.task_B, max_new_tokens=3, do_sample=False)
    spoken = [tuple(row) for row in tokens[:, 1:].tolist()]
    known = list(dict.fromkeys(spoken[:3]))
    beside = [(*known[0][:-1], (known[0][-1] + 1) % V), (V - 1, V - 2, V - 3), (known[0][0], V - 1)]
    labels = [label for label in [*known, *beside] if label not in spoken[3:] or label in known]
    reading = learner.read(batch.source_BL, batch.mask_BL, batch.task_B)
    said = reading.answers(LabelTrie(labels), scored=False).greedy
    assert [row in labels for row in said] == [row in labels for row in spoken]
    assert [row[: len(tokens)] for row, tokens in zip(spoken, said, strict=True)] == said
    assert {row in labels for row in said} == {True, False} or len(set(spoken)) == len(known)


def test_a_trie_shares_beginnings():
    trie = LabelTrie([(5, EOS), (5, 6, EOS), (7, EOS)])
    assert (len(trie), trie.depths) == (4, [0, 1, 2, 1])
    assert trie.sees_MM.tolist() == [
        [True, False, False, False], [True, True, False, False], [True, True, True, False], [True, False, False, True],
    ]  # fmt: skip
    best = {0: 5, 1: 6, 2: EOS, 3: 9}
    assert trie.greedy_tokens([best[i] for i in range(4)]) == (5, 6, EOS)
    assert trie.greedy_tokens([5, EOS, 0, 0]) == (5, EOS)
    assert trie.greedy_tokens([7, 0, 0, 3]) == (7, 3)
    assert trie.greedy_tokens([8, 0, 0, 0]) == (8,)


def test_plain_matrices_are_held_once_and_the_module_keeps_working(t5):
    """Where oneDNN has no layout of its own for them, as in float64."""
    block = t5.model.encoder.block[0].layer[0].SelfAttention
    before = block.k.weight.clone()
    fused = t5.packed.encoder[0].attention.qkv.plain
    assert torch.equal(block.k.weight, before)
    assert block.k.weight.data_ptr() == fused.data_ptr() + fused[: block.q.out_features].nbytes


@pytest.mark.parametrize("biased", [(), (0,), (0, 1)], ids=["plain", "one biased", "biased"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_arranged_matrices_multiply_as_plain_ones(dtype, biased):
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16 products in oneDNN")
    rng = torch.Generator().manual_seed(0)
    linears = [torch.nn.Linear(24, n, bias=i in biased).to(dtype) for i, n in enumerate((16, 40))]
    arranged, plain = Product(linears, True), Product(linears, False)
    assert arranged.plain is None
    x, y, g = (torch.randn(7, n, generator=rng).to(dtype) for n in (24, 56, 56))
    exact = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    for of in (
        lambda p: p.forward(x), lambda p: p.forward(x, relu=True), lambda p: p.onto(x, y), lambda p: p.backward(g),
        lambda p: p(x.view(1, 7, 24))[0],
    ):  # fmt: skip
        torch.testing.assert_close(of(arranged), of(plain), **exact)
    leaf = x.clone().requires_grad_(True)
    arranged(leaf).backward(g)
    torch.testing.assert_close(leaf.grad, plain.backward(g), **exact)


def test_what_is_arranged(monkeypatch):
    """Nothing in float32, and no model that is too large to be held three times."""
    model = make_lm("t5").model
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert not arranges(model)
    assert arranges(model.bfloat16())
    monkeypatch.setattr(product.os, "sysconf", lambda name: 1000 if name == "SC_PAGE_SIZE" else 100)
    assert not arranges(model)


def test_where_mkl_is_fast(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(product, "CPU_INFO", info)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert mkl_is_fast()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert not mkl_is_fast()
    info.write_text("vendor_id : GenuineIntel")
    assert mkl_is_fast()
    info.write_text("vendor_id : AuthenticAMD")
    assert not mkl_is_fast()


@pytest.mark.parametrize("fast", [True, False])
def test_both_libraries_multiply_alike(monkeypatch, fast):
    monkeypatch.setattr(product, "mkl_is_fast", lambda: fast)
    rng = torch.Generator().manual_seed(0)
    linears = [torch.nn.Linear(24, n, bias=n == 40) for n in (16, 40)]
    ours = Product(linears, False)
    x, y, g = (torch.randn(7, n, generator=rng) for n in (24, 56, 56))
    want = torch.cat([linear(x) for linear in linears], -1).detach()
    torch.testing.assert_close(ours.forward(x), want)
    torch.testing.assert_close(ours.forward(x, relu=True), want.relu())
    torch.testing.assert_close(ours.onto(x, y), y + want)
    torch.testing.assert_close(ours.backward(g), g @ torch.cat([linear.weight.detach() for linear in linears]))


def test_long_rows_go_through_fused_attention(t5, monkeypatch):
    """Longer than `SHORT`, beside shorter ones."""
    monkeypatch.setattr(t5_attention, "SHORT", P + 4)
    ours = losses_and_gradient(t5, uneven_rows())
    theirs = losses_and_gradient(by_module(t5, monkeypatch), uneven_rows())
    for own, other in zip(ours, theirs, strict=True):
        close(t5, own, other)


@pytest.mark.parametrize("method", ["lora", "bitfit", "adapters", "fine_tuning"])
def test_a_changed_model_goes_through_its_module(method):
    lm = make_lm("t5")
    options = METHODS.get(method).Options(**({"biases": "added"} if method == "bitfit" else {}))
    learner = changed_lm(lm, options, ("mood",), 0, DataOptions())
    assert learner.lm.packed is None
    assert lm.packed is not None


@pytest.mark.parametrize("arch", ["bart", "bert2bert"])
def test_other_architectures_have_none(arch):
    assert make_lm(arch).packed is None


def test_a_form_that_does_not_agree_is_not_used(monkeypatch):
    whole = sublayers.Norm.forward
    monkeypatch.setattr(sublayers.Norm, "forward", lambda self, x: (1.01 * whole(self, x)[0], whole(self, x)[1]))
    assert packed_t5(make_lm("t5").model) is None


def test_agreement_is_asked_for_without_dropout(t5):
    """Also where the form is first wanted in training mode, which is left on."""
    t5.model.train()
    assert t5.packed is not None
    assert t5.model.training


def test_the_encoder_reads_rows_once(t5, monkeypatch):
    """Also those whose answer is no label, which are then told token by token."""
    learner, rows, encode, read = make_learner(t5, "prompt_tuning", {}), make_rows(t5, 12), type(t5.packed).encode, []
    monkeypatch.setattr(
        type(t5.packed), "encode", lambda self, x, own: read.append(len(own.order_B)) or encode(self, x, own)
    )
    decoded = decode_rows(learner, rows, LABELS, EvalOptions())
    assert sum(read) == len(rows)
    assert any(row.text not in LABELS for row in decoded)


def test_some_rows_of_a_reading_are_padded_as_a_batch_of_their_own(t5):
    learner, rows = make_learner(t5, "prompt_tuning", {}), uneven_rows()
    batch = learner.layout.batch(rows)
    reading = learner.read(batch.source_BL, batch.mask_BL, batch.task_B)
    states, mask = reading.padded([4, 2])
    assert mask.sum(1).tolist() == [P + len(rows[i].source) for i in (4, 2)]
    assert states.shape[:2] == mask.shape == (2, P + len(rows[2].source))
    for place, row in enumerate((4, 2)):
        alone = learner.layout.batch([rows[row]])
        own, _ = learner.read(alone.source_BL, alone.mask_BL, alone.task_B).padded()
        close(t5, states[place][mask[place]], own[0])
    assert float(states[~mask].abs().sum()) == 0
