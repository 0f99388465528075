"""What every registered method must do, on every kind of model. A new method is tested by being registered."""

import pytest
import torch

from cpeft.baselines import load_learner
from cpeft.data.rows import EncodedRow
from cpeft.methods.base import METHODS
from cpeft.models.prompted import PromptedLM
from cpeft.models.saved import save_method
from cpeft.options.training import GangOptions
from cpeft.training.engine import train_gang
from tiny import (
    ARCHITECTURES,
    CHAT,
    close,
    gap,
    make_batch,
    make_learner,
    make_lm,
    make_member,
    make_rows,
    make_sources,
    rounding,
    same_bits,
    trained_state,
)

TASKS = 2
VARIANTS = {
    "attempt": {
        "sub": {},
        "constant": {"score": "constant"},
        "token": {"score": "token"},
        "linear": {"score": "linear"},
        "dot": {"score": "dot"},
        "mean": {"reduce": "mean"},
        "max-mean": {"reduce": "max-mean"},
        "attention": {"reduce": "attention"},
        "per_task": {"targets": "per_task"},
        "token-per_task": {"score": "token", "targets": "per_task"},
        "trained-sources": {"sources": "trained"},
        "learned-temperature": {"temperature": "learned"},
        "auto-temperature": {"temperature": "auto"},
        "frozen-norm": {"layer_norm": "frozen", "bottleneck": "rows"},
        "no-target": {"target": "none", "attention_lr": 0.1},
        "pool-padding": {"pool_padding": True},
    },
    "mpt": {"": {}, "rank-3": {"rank": 3, "task_lr": 0.02}},
}
NAMES = [name for name, method in METHODS.items() if not method.changes_model]  # tests/baselines has the others
CASES = [(name, key, options) for name in NAMES for key, options in VARIANTS.get(name, {"": {}}).items()]
METHOD_CASES = [pytest.param(name, options, id=f"{name}-{key}".rstrip("-")) for name, key, options in CASES]
TRAINED_CASES = [case for case in METHOD_CASES if case.values[0] != "no_prompt"]
every_method = pytest.mark.parametrize(("name", "options"), METHOD_CASES)
every_trained_method = pytest.mark.parametrize(("name", "options"), TRAINED_CASES)


@pytest.fixture(params=(*ARCHITECTURES, CHAT))
def arch(request):
    """Each of the architectures, and a chat model whose rows stand in its template."""
    return request.param


def learner_of(lm, name, options, seed=0):
    """A learner whose targets and queries have left their start, so that tasks and rows get prompts of their own."""
    learner = make_learner(lm, name, options, seed, TASKS)
    rng = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in learner.parameters():
            noise = torch.randn(parameter.shape, generator=rng, dtype=torch.float32)
            parameter.add_(noise.to(parameter.dtype) * 0.3)
    learner.calibrate(make_batch(make_rows(lm, tasks=TASKS)))
    return learner


def prompts_of(learner: PromptedLM, call) -> torch.Tensor:
    """The prompts a method hands out during `call`."""
    seen: list[torch.Tensor] = []
    hook = learner.method.register_forward_hook(
        lambda module, args, output: seen.append(output.prompt_BPD.detach().clone())
    )
    try:
        call()
    finally:
        hook.remove()
    assert len(seen) == 1, "a method is asked once per batch"
    return seen[0]


def prompts_in_losses(learner, rows):
    return prompts_of(learner, lambda: learner.losses(make_batch(rows)))


def text_dependent(learner) -> bool:
    return learner.method.reads_input and learner.method.options.score != "constant"


def test_every_registered_method_is_covered():
    assert set(VARIANTS) <= set(NAMES)
    assert {"attempt", "mpt", "no_prompt", "prompt_tuning"} <= set(NAMES)


@every_trained_method
def test_training_learns_and_leaves_the_model_alone(lm, name, options, tmp_path):
    before = {key: value.clone() for key, value in lm.model.state_dict().items()}
    learner = make_learner(lm, name, options, tasks=TASKS)
    start = trained_state(learner)
    rows = make_rows(lm, 4, tasks=TASKS)
    member = make_member(learner, rows, tmp_path / "run", train={"steps": 30, "eval_every": 30, "checkpoint_every": 99})
    learner.calibrate(make_batch(member.next_rows()))  # what the run does before its first step
    first = member.evaluate().loss
    train_gang([member], GangOptions(pool="member"))
    assert member.failure is None
    assert member.step == 30
    assert member.evaluate().loss < (0.995 if options.get("target") == "none" else 0.9) * first
    assert same_bits(before, lm.model.state_dict())
    assert not any(p.requires_grad or p.grad is not None for p in lm.model.parameters())
    frozen = start.keys() - {key for key, value in learner.named_parameters() if value.requires_grad}
    frozen -= {key for key in frozen if key.endswith("attention.temperature")}  # set from the first batch if "auto"
    assert all(torch.equal(start[key], learner.state_dict()[key]) for key in frozen)


@every_trained_method
def test_every_trainable_element_receives_gradient(lm, name, options):
    learner = learner_of(lm, name, options)
    touched = {key: torch.zeros_like(p) for key, p in learner.named_parameters() if p.requires_grad}
    grouped = {id(p) for group in learner.param_groups() for p in group.params}
    assert grouped == {id(p) for p in learner.parameters() if p.requires_grad}
    assert sum(len(group.params) for group in learner.param_groups()) == len(grouped), (
        "a parameter stands in two groups"
    )
    for seed in range(4):
        learner.zero_grad()
        learner.losses(make_batch(make_rows(lm, seed=seed, tasks=TASKS)))[0].sum().backward()
        for key, parameter in learner.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, key
                touched[key] += parameter.grad.abs()
    assert touched
    for key, total in touched.items():
        assert bool((total > 0).all()), (
            f"{key}: {int((total == 0).sum())} of {total.numel()} elements never get a gradient"
        )


@every_method
def test_saved_and_loaded_state_gives_identical_logits(lm, name, options, tmp_path, monkeypatch):
    learner, other = learner_of(lm, name, options), learner_of(lm, name, options, seed=7)
    batch = make_batch(make_rows(lm, tasks=TASKS))
    call = {"input_ids": batch.source_BL, "attention_mask": batch.mask_BL, "task_ids": batch.task_B}
    call |= {"labels": batch.target_BT} if lm.encoder_decoder else {}
    with torch.no_grad():
        expected = learner(**call).logits
        assert name == "no_prompt" or not torch.equal(expected, other(**call).logits)
        save_method(learner, METHODS.get(name).Options(name=name, **options), tmp_path, {})
        monkeypatch.setattr(METHODS.get(name), "initialise", None)  # a saved method starts from its tensors alone
        loaded = load_learner(tmp_path, lm)
        assert torch.equal(expected, loaded(**call).logits)
    assert (loaded.method.source_names, loaded.method.extras) == (learner.method.source_names, learner.method.extras)


@every_method
def test_state_holds_nothing_of_the_model(lm, name, options):
    learner = make_learner(lm, name, options)
    assert all(key.startswith("method.") for key in learner.state_dict())
    assert sum(p.numel() for p in learner.parameters()) == sum(p.numel() for p in learner.method.parameters())


@every_method
def test_rows_do_not_depend_on_padding_or_neighbours(lm64, name, options):
    """One by one, among longer rows, and among rows of other tasks: the same loss and the same prompt."""
    learner = learner_of(lm64, name, options)
    rows = make_rows(lm64, 6, tasks=TASKS, longest=12)
    assert len({len(row.source) for row in rows}) > 2
    with torch.no_grad():
        together = learner.losses(make_batch(rows))[0]
        alone = torch.cat([learner.losses(make_batch([row]))[0] for row in rows])
        prompts = prompts_in_losses(learner, rows)
        single = torch.cat([prompts_in_losses(learner, [row]) for row in rows])
    assert together.dtype == torch.float64
    close(lm64, together, alone)
    torch.testing.assert_close(prompts, single, rtol=1e-10, atol=1e-10)  # made of embeddings alone, in float64
    assert bool((prompts != prompts[:1]).any()) == (text_dependent(learner) or learner.method.by_task)


@every_method
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_side_does_not_matter_in_forward(lm64, name, options, side):
    """`forward` takes padding on either side and gives the loss and logits of the unpadded rows."""
    learner = learner_of(lm64, name, options)
    rows = make_rows(lm64, 3, tasks=TASKS, longest=12)
    expected = [forward(learner, [row], side) for row in rows]
    loss, logits = forward(learner, rows, side)
    counts = torch.tensor([float(len(row.target)) for row in rows], dtype=torch.float64)
    losses = torch.stack([one for one, _ in expected])
    close(lm64, loss, (losses * counts).sum() / counts.sum())
    for row, got, (_, want) in zip(rows, logits, expected, strict=True):
        length = len(row.target) if lm64.encoder_decoder else len(row.source) + len(row.target)
        if lm64.encoder_decoder or side == "right":
            got, want = got[:length], want[0][:length]
        else:
            got, want = got[-length:], want[0][-length:]
        close(lm64, got, want, 1e-9)
    direct = learner.losses(make_batch(rows))[0].detach()  # and both routes to a loss agree
    close(lm64, direct, losses * counts, 1e-9)


def forward(learner, rows, side):
    """Loss and logits of `PromptedLM.forward` for rows padded on one side, as a user's own loop would call it."""
    texts = [row.source if learner.lm.encoder_decoder else row.source + row.target for row in rows]
    width = max(map(len, texts))
    ids, mask, labels = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(3))
    labels.fill_(-100)
    for i, (row, text) in enumerate(zip(rows, texts, strict=True)):
        start = width - len(text) if side == "left" else 0
        ids[i, start : start + len(text)] = torch.tensor(text)
        mask[i, start : start + len(text)] = 1
        labels[i, start + len(row.source) : start + len(text)] = torch.tensor(text[len(row.source) :])
    if learner.lm.encoder_decoder:
        labels = make_batch(rows).target_BT
    with torch.no_grad():
        out = learner(ids, mask, labels=labels, task_ids=torch.tensor([row.task for row in rows]))
    return out.loss, out.logits


@every_method
def test_target_never_reaches_the_prompt(lm, name, options):
    learner = learner_of(lm, name, options)
    rows = make_rows(lm, 4, tasks=TASKS)
    others = [EncodedRow(row.source, (*reversed(row.target), 40, 41), row.task) for row in rows]
    assert torch.equal(prompts_in_losses(learner, rows), prompts_in_losses(learner, others))
    through = [prompts_of(learner, lambda r=r: forward(learner, r, "right")) for r in (rows, others)]
    torch.testing.assert_close(through[0], through[1], rtol=0, atol=1e-6)  # another width, hence another matrix kernel
    torch.testing.assert_close(prompts_in_losses(learner, rows), through[0], rtol=0, atol=1e-6)
    edited = [EncodedRow((*row.source[:1], *range(50, 70), *row.source[1:]), row.target, row.task) for row in rows]
    changed = (prompts_in_losses(learner, edited) - prompts_in_losses(learner, rows)).abs().sum()
    assert bool(changed > 1e-6) == text_dependent(learner), "the comparisons above would prove nothing"


@every_method
def test_training_and_generation_give_the_same_prompt(lm64, name, options):
    learner = learner_of(lm64, name, options)
    rows = make_rows(lm64, 5, tasks=TASKS)
    batch = make_batch(rows)
    left_ids, left_mask = torch.zeros_like(batch.source_BL), torch.zeros_like(batch.mask_BL)
    for i, row in enumerate(rows):
        left_ids[i, -len(row.source) :] = torch.tensor(row.source)
        left_mask[i, -len(row.source) :] = True
    expected = prompts_in_losses(learner, rows)
    for ids, mask in ((batch.source_BL, batch.mask_BL), (left_ids, left_mask)):
        call = lambda i=ids, m=mask: learner.generate(i, m, batch.task_B, max_new_tokens=2)  # noqa: E731
        torch.testing.assert_close(prompts_of(learner, call), expected, rtol=1e-12, atol=1e-12)


@every_trained_method
def test_seed_decides_everything(lm, name, options, tmp_path):
    rows = make_rows(lm, 6, tasks=TASKS)

    def state(folder, seed):
        learner = make_learner(lm, name, options, seed, TASKS)
        torch.manual_seed(len(folder))  # torch's global state must not matter
        train_gang([make_member(learner, rows, tmp_path / folder, train={"steps": 2})], GangOptions(pool="member"))
        return trained_state(learner)

    assert same_bits(state("a", 0), state("again", 0))
    assert not same_bits(state("one-more", 0), state("other", 3))


@every_trained_method
@pytest.mark.parametrize("pool", ["member", "all"])
def test_gang_equals_alone(lm64, name, options, pool, tmp_path):
    """Three runs of different seeds, rows and lengths of training, together and one by one."""

    def member(k, folder):
        learner = make_learner(lm64, name, options, seed=k, tasks=TASKS)
        rows = make_rows(lm64, 5 + k, seed=k, tasks=TASKS)
        return make_member(learner, rows, tmp_path / folder / str(k), train={"steps": 3 + k}, order_seed=k)

    gang, alone = [member(k, "gang") for k in range(3)], [member(k, "alone") for k in range(3)]
    train_gang(gang, GangOptions(pool=pool, token_budget=60))
    for one in alone:
        train_gang([one], GangOptions(pool=pool, token_budget=60))
    for a, b in zip(gang, alone, strict=True):
        assert a.failure is None
        assert a.step == b.step == a.total
        if pool == "member":
            assert same_bits(trained_state(a.learner), trained_state(b.learner))
        else:
            assert gap(trained_state(a.learner), trained_state(b.learner)) < rounding(lm64.model, 1e-10)


class Crash(BaseException):
    """The process dies here."""


@every_trained_method
def test_resumed_equals_uninterrupted(lm, name, options, tmp_path):
    """Killed at step 5, after the checkpoint of step 4, and begun again by a new process."""
    from cpeft.training.callbacks import Callback

    class CrashAt(Callback):
        def on_step(self, member, record):
            if record["step"] == 5:
                raise Crash

    rows = make_rows(lm, 6, tasks=TASKS)

    def member(folder, *callbacks):
        learner = make_learner(lm, name, options, tasks=TASKS)
        return make_member(learner, rows, tmp_path / folder, callbacks=callbacks, train={"steps": 8})

    whole = member("whole")
    train_gang([whole], GangOptions(pool="member"))
    with pytest.raises(Crash):
        train_gang([member("cut", CrashAt())], GangOptions(pool="member"))
    resumed = member("cut")
    resumed.start()
    assert resumed.step == 4
    train_gang([resumed], GangOptions(pool="member"))
    assert resumed.step == whole.step == 8
    assert same_bits(trained_state(whole.learner), trained_state(resumed.learner))
    assert same_bits(whole.best_state, resumed.best_state)
    assert (whole.best_step, whole.best_loss) == (resumed.best_step, resumed.best_loss)
    slots = [m.optimizer.state_dict()["state"] for m in (whole, resumed)]
    assert slots[0].keys() == slots[1].keys()
    assert all(torch.equal(slots[0][i][s], slots[1][i][s]) for i in slots[0] for s in slots[0][i])


def test_export_names_prompts_after_tasks_and_keeps_the_origin(arch):
    lm = make_lm(arch)
    one = learner_of(lm, "prompt_tuning", {}).export()
    assert list(one) == ["task0+task1"]
    shared = learner_of(lm, "attempt", {"targets": "per_task"})
    exported = shared.export()
    assert list(exported) == ["task0", "task1"]
    assert torch.equal(exported["task1"].weight, shared.method.target_TPD[1])
    assert torch.equal(exported["task1"].origin, shared.method.origin)
    assert learner_of(lm, "attempt", {"target": "none"}).export() == {}


def test_exported_prompt_does_not_change_when_training_goes_on():
    learner = learner_of(make_lm("t5"), "prompt_tuning", {})
    prompt = learner.export()["task0+task1"]
    before = prompt.weight.clone()
    with torch.no_grad():
        learner.method.weight.add_(1.0)
    assert torch.equal(prompt.weight, before)


def test_no_prompt_run_is_its_evaluation(lm, tmp_path):
    """Nothing to train: no step, no checkpoint, no complaint."""
    learner = make_learner(lm, "no_prompt", {})
    member = make_member(learner, make_rows(lm), tmp_path / "zero-shot")
    train_gang([member], GangOptions())
    assert (member.total, member.step, member.failure) == (0, 0, None)
    assert not member.path.exists()
    assert learner.method.length == 0


def test_a_bank_gives_each_row_its_own_prompt():
    """One batch with rows of different prompts equals one learner per prompt."""
    bank_module = pytest.importorskip("cpeft.methods.bank")
    lm = make_lm("llama", double=True)
    prompts = make_sources(3, width=lm.width)
    rows = make_rows(lm, 6, tasks=3)
    bank = PromptedLM(lm, bank_module.PromptBank(prompts).double())
    together = bank.losses(make_batch(rows))[0]
    for k, prompt in enumerate(prompts.values()):
        alone = make_learner(lm, "prompt_tuning", {})
        with torch.no_grad():
            alone.method.weight.copy_(prompt.weight)
        mine = [i for i, row in enumerate(rows) if row.task == k]
        want = alone.losses(make_batch([rows[i] for i in mine]))[0]
        close(lm, together[mine], want)
