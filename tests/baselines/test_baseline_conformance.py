"""What every registered baseline must do, on every kind of model. A new baseline is tested by being registered."""

from importlib.util import find_spec

import pytest
import torch

from cpeft.baselines import changed_lm, load_learner
from cpeft.errors import ConfigError, UnknownName
from cpeft.methods import METHODS
from cpeft.models.loading import FrozenLM
from cpeft.models.saved import save_method
from cpeft.options.method import METHOD_OPTIONS
from cpeft.options.training import GangOptions
from cpeft.training.callbacks import Callback
from cpeft.training.engine import train_gang
from tiny import (
    ARCHITECTURES,
    close,
    make_batch,
    make_learner,
    make_lm,
    make_member,
    make_rows,
    rounding,
    same_bits,
    trained_state,
)

TASKS = 2
BASELINES = {name: cls for name, cls in METHODS.items() if cls.changes_model}
VARIANTS = {
    "adapters": {"": {}, "pfeiffer": {"placement": "pfeiffer", "layer_norm": "frozen", "reduction": 4}},
    "bitfit": {"": {}, "added": {"biases": "added"}},
    "lora": {"": {"rank": 4}},
    "prefix_tuning": {"": {"length": 3}, "mlp": {"length": 3, "projection": "mlp"}},
}
OF_PEFT = ("ia3", "lora", "prefix_tuning")
NO_BIASES = ("t5", "llama")
RATE = {"fine_tuning": 0.01}  # 0.05 of the runs below breaks a whole model


def cases():
    for name in BASELINES:
        for key, options in VARIANTS.get(name, {"": {}}).items():
            for arch in ARCHITECTURES:
                marks = [pytest.mark.skipif(name in OF_PEFT and not find_spec("peft"), reason="needs peft")]
                if not (name == "bitfit" and not options and arch in NO_BIASES):
                    case = "-".join(filter(None, (name, key, arch)))
                    yield pytest.param(arch, name, options, id=case, marks=marks)


every_baseline = pytest.mark.parametrize(("arch", "name", "options"), list(cases()))


def make(lm, name, options, seed=0):
    names = tuple(f"task{i}" for i in range(TASKS))
    return changed_lm(lm, METHODS.get(name).Options(name=name, **options), names, seed)


def moved(learner, seed=0):
    """Away from the start, where some baselines do nothing."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng, dtype=torch.float32).to(parameter.dtype) * 0.1)
    return learner


def logits_of(learner, rows, targets=None):
    """Of every row alone: the logits at its target tokens, as the loss sees them."""
    found = []
    for row, target in zip(rows, targets or [row.target for row in rows], strict=True):
        source, labels = torch.tensor([row.source]), torch.tensor([target])
        with torch.no_grad():
            if learner.lm.encoder_decoder:
                found.append(learner(source, torch.ones_like(source), labels=labels).logits[0])
            else:
                whole = torch.cat([source, labels], 1)
                found.append(learner(whole, torch.ones_like(whole)).logits[0, len(row.source) - 1 : -1])
    return found


def test_every_registered_baseline_is_covered():
    assert set(VARIANTS) <= set(BASELINES)
    assert list(BASELINES) == ["adapters", "bitfit", "fine_tuning", "ia3", "lora", "prefix_tuning"]
    assert all(cls.Options().name == name and cls.rate > 0 for name, cls in BASELINES.items())


@every_baseline
def test_training_equals_generation(arch, name, options):
    """Logits met in `generate`, rows of different lengths padded on the left, are those of the same tokens under the loss."""
    lm = make_lm(arch, double=True)
    learner = moved(make(lm, name, options))
    rows = make_rows(lm, 5, tasks=TASKS)
    batch, seen = make_batch(rows), []
    assert lm.encoder_decoder or learner.lm.pads_left  # settled before passes are counted
    hook = learner.lm.model.register_forward_hook(lambda module, args, out: seen.append(out.logits[:, -1].detach()))
    tokens, _ = learner.decode(
        batch.source_BL,
        batch.mask_BL,
        batch.task_B,
        max_new_tokens=4,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    hook.remove()
    said = tokens[:, 1 if lm.encoder_decoder else 0 :]
    assert said.shape[1] == len(seen) == 4
    for row, forced in enumerate(logits_of(learner, rows, said.tolist())):
        close(lm, torch.stack(seen, 1)[row], forced, 1e-9)


@every_baseline
def test_both_ways_to_a_loss_agree_whatever_the_padding(arch, name, options):
    lm = make_lm(arch, double=True)
    learner = moved(make(lm, name, options))
    rows = make_rows(lm, 5, tasks=TASKS, longest=12)
    with torch.no_grad():
        together = learner.losses(make_batch(rows))[0]
    for row, logits, loss in zip(rows, logits_of(learner, rows), together, strict=True):
        alone = torch.nn.functional.cross_entropy(logits, torch.tensor(row.target), reduction="sum")
        close(lm, loss, alone, 1e-9)


@every_baseline
def test_training_learns_and_leaves_the_shared_model_alone(arch, name, options, tmp_path):
    lm = make_lm(arch)
    before = {key: value.clone() for key, value in lm.model.state_dict().items()}
    modules = [module for module, _ in lm.model.named_modules()]
    learner = make(lm, name, options)
    trained = {id(parameter) for parameter in learner.parameters()}
    frozen = {key: p.clone() for key, p in learner.lm.model.named_parameters() if id(p) not in trained}
    member = make_member(
        learner, make_rows(lm, 4, tasks=TASKS), tmp_path / "run",
        train={"steps": 60, "eval_every": 60, "checkpoint_every": 99}, optim={"lr": RATE.get(name, 0.05)},
    )  # fmt: skip
    first = member.evaluate().loss
    train_gang([member], GangOptions())
    assert member.failure is None
    assert member.evaluate().loss < 0.8 * first
    assert same_bits(before, lm.model.state_dict())
    assert modules == [module for module, _ in lm.model.named_modules()]
    assert not any(p.requires_grad or p.grad is not None for p in lm.model.parameters())
    left = dict(learner.lm.model.named_parameters())
    assert all(torch.equal(value, left[key]) for key, value in frozen.items())
    assert (name == "fine_tuning") == (not frozen)


@every_baseline
def test_saved_and_loaded_gives_identical_logits(arch, name, options, tmp_path):
    lm = make_lm(arch)
    learner = moved(make(lm, name, options))
    rows = make_rows(lm, tasks=TASKS)
    save_method(learner, METHODS.get(name).Options(name=name, **options), tmp_path, {})
    other = load_learner(tmp_path, lm)
    assert other.method.tasks == ("task0", "task1")
    for a, b in zip(logits_of(learner, rows), logits_of(other, rows), strict=True):
        assert torch.equal(a, b)
    fresh = logits_of(make(lm, name, options), rows)
    assert not any(torch.equal(a, b) for a, b in zip(logits_of(learner, rows), fresh, strict=True))


@every_baseline
def test_state_and_groups_hold_what_is_trained_and_no_more(arch, name, options):
    learner = make(make_lm(arch), name, options)
    inside = {key: p for key, p in learner.lm.model.named_parameters() if p.requires_grad}
    state = learner.state_dict()
    assert set(state) == {f"method.trained.{key}" for key in inside}
    assert all(state[f"method.trained.{key}"].data_ptr() == p.data_ptr() for key, p in inside.items())
    grouped = [p for group in learner.param_groups() for p in group.params]
    assert {id(p) for p in grouped} == {id(p) for p in inside.values()}
    assert len(grouped) == len(inside)
    assert learner.export() == {}


@every_baseline
def test_training_starts_from_the_model_as_it_is(arch, name, options):
    if name == "prefix_tuning":
        pytest.skip("a prefix of random keys and values changes the model at once")
    lm = make_lm(arch, double=True)
    rows = make_rows(lm, tasks=TASKS)
    learner = make(lm, name, options)
    with torch.no_grad():
        own = learner.losses(make_batch(rows))[0]
        frozen = make_learner(lm, "no_prompt", {}).losses(make_batch(rows))[0]
    bound = (
        rounding(lm.model, 1e-12) if arch == "llama" else 1e-12
    )  # its packed form takes norms in float64, its module not
    torch.testing.assert_close(own, frozen, rtol=bound, atol=bound)


class Crash(BaseException):
    """The process dies here."""


@every_baseline
def test_resumed_equals_uninterrupted(arch, name, options, tmp_path):
    """Killed at step 5, after the checkpoint of step 4, and begun again by a new process."""

    class CrashAt(Callback):
        def on_step(self, member, record):
            if record["step"] == 5:
                raise Crash

    lm = make_lm(arch)
    rows = make_rows(lm, 6, tasks=TASKS)

    def member(folder, *callbacks):
        learner = make(lm, name, options)
        more = {"train": {"steps": 8}, "optim": {"lr": RATE.get(name, 0.05)}}
        return make_member(learner, rows, tmp_path / folder, callbacks=callbacks, **more)

    whole = member("whole")
    train_gang([whole], GangOptions())
    with pytest.raises(Crash):
        train_gang([member("cut", CrashAt())], GangOptions())
    resumed = member("cut")
    resumed.start()
    assert resumed.step == 4
    train_gang([resumed], GangOptions())
    assert resumed.step == whole.step == 8
    assert same_bits(trained_state(whole.learner), trained_state(resumed.learner))
    assert same_bits(whole.best_state, resumed.best_state)


@every_baseline
def test_seed_decides_everything(arch, name, options, tmp_path):
    lm = make_lm(arch)
    rows = make_rows(lm, 6, tasks=TASKS)

    def state(folder, seed):
        torch.manual_seed(len(folder))  # torch's global state must not matter, and is left alone
        expected = torch.random.get_rng_state()
        learner = make(lm, name, options, seed)
        assert torch.equal(expected, torch.random.get_rng_state())
        train_gang([make_member(learner, rows, tmp_path / folder, train={"steps": 2})], GangOptions())
        return trained_state(learner)

    assert same_bits(state("a", 0), state("again", 0))
    if name in ("adapters", "lora", "prefix_tuning"):  # the others start from zeros, ones or the model
        assert not same_bits(state("one-more", 0), state("other", 3))


@every_baseline
def test_a_bfloat16_model_is_trained_in_float32(arch, name, options, tmp_path):
    """What is trained is float32, the rest stays bfloat16; small steps are kept; both passes agree as far as bfloat16 goes."""
    plain = make_lm(arch)
    lm = FrozenLM(plain.model.bfloat16(), plain.tokenizer, plain.name, dtype="bfloat16")
    learner = make(lm, name, options)
    trained = {id(parameter) for parameter in learner.parameters()}
    for key, parameter in learner.lm.model.named_parameters():
        beside = (name == "bitfit" and "ln_" in key) or "layer_norm" in key or "layernorm" in key  # weights of norms
        kept = (torch.bfloat16, torch.float32) if beside else (torch.bfloat16,)
        assert parameter.dtype in ((torch.float32,) if id(parameter) in trained else kept)
    rows = make_rows(lm, 4, tasks=TASKS)
    member = make_member(
        learner, rows, tmp_path / "run", train={"steps": 60, "eval_every": 60, "checkpoint_every": 99},
        optim={"lr": RATE.get(name, 0.05)},
    )  # fmt: skip
    first = member.evaluate().loss
    train_gang([member], GangOptions())
    assert member.failure is None
    assert member.evaluate().loss < 0.8 * first
    batch, seen = make_batch(rows), []
    learner.lm.pads_left = True  # one batch, where these large weights' rounding would have rows of each length apart
    hook = learner.lm.model.register_forward_hook(lambda module, args, out: seen.append(out.logits[:, -1].detach()))
    tokens, _ = learner.decode(
        batch.source_BL,
        batch.mask_BL,
        batch.task_B,
        max_new_tokens=3,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    hook.remove()
    said = tokens[:, 1 if lm.encoder_decoder else 0 :]
    forced = torch.stack(logits_of(learner, rows, said.tolist())).float()
    met = torch.stack(seen, 1).float()
    assert float((met - forced).abs().mean()) < 0.02 * float(forced.std())
    before = [parameter.clone() for parameter in learner.parameters()]
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.mul_(1 + 1e-4)  # below a 256th, so bfloat16 would round it away
    assert all(not torch.equal(a, b) for a, b in zip(before, learner.parameters(), strict=True) if bool(a.any()))


@pytest.mark.parametrize("arch", NO_BIASES)
def test_bitfit_on_a_model_without_biases_says_so(arch):
    with pytest.raises(ConfigError, match=f"tiny-{arch} has no bias terms.*biases = 'added'"):
        make(make_lm(arch), "bitfit", {})


def test_what_cannot_be_changed_is_refused():
    lm = make_lm("t5")
    lm.model.is_quantized = True
    with pytest.raises(ConfigError, match=r"model\.quantize = 'none'"):
        make(lm, "fine_tuning", {})
    half = FrozenLM(make_lm("t5").model.half(), lm.tokenizer, "half", dtype="float16")
    with pytest.raises(ConfigError, match=r"model\.dtype = 'bfloat16' or 'float32'"):
        make(half, "adapters", {})


@pytest.mark.parametrize("arch", ["t5", "llama"])
def test_fine_tuning_equals_a_plain_loop(arch, tmp_path):
    """Three steps of the engine against transformers' own loss and torch's AdamW on the bare model, in float64."""
    lm = make_lm(arch, double=True)
    learner = make(lm, "fine_tuning", {})
    rows = make_rows(lm, 8, tasks=TASKS)
    optim = {"lr": 0.01, "weight_decay": 0.1}
    member = make_member(
        learner, rows, tmp_path / "run", train={"steps": 3, "eval_every": 99}, optim={**optim, "schedule": "constant"}
    )
    plain = make_lm(arch, double=True).model.requires_grad_(True)
    optimizer = torch.optim.AdamW(plain.parameters(), **optim)
    for step in range(3):
        optimizer.zero_grad()
        chosen = [rows[i] for i in member.stream.at(step)]
        for row in chosen:
            before = () if lm.encoder_decoder else (-100,) * len(row.source)
            ids = torch.tensor([row.source if lm.encoder_decoder else row.source + row.target])
            mean = plain(input_ids=ids, labels=torch.tensor([before + row.target])).loss
            (mean * len(row.target) / sum(len(each.target) for each in chosen)).backward()
        optimizer.step()
    train_gang([member], GangOptions())
    own, start = learner.lm.model.state_dict(), lm.model.state_dict()
    assert max(float((own[key] - start[key]).abs().max()) for key in own) > 0.02
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(own[key], value, rtol=1e-5, atol=1e-6)  # transformers' loss of LLaMA is float32


def test_adapters_name_their_layers():
    lm = make_lm("llama")
    one = make(lm, "adapters", {"behind": ["v_proj"], "layer_norm": "frozen"})
    assert {key.split(".adapter.")[0].rpartition(".")[2] for key in one.state_dict()} == {"v_proj"}
    with pytest.raises(ConfigError, match=r"method\.behind"):
        make(lm, "adapters", {"behind": ["nowhere"]})


def test_trained_numbers_are_those_of_the_papers():
    """Per layer of width D: an adapter 2DR + D + R, LoRA R (in + out) per target, BitFit the biases, IA3 vectors."""
    lm = make_lm("bart")  # D = 32, feed-forward 48, two layers on each side
    count = lambda name, **options: sum(p.numel() for p in make(lm, name, options).parameters())  # noqa: E731
    assert count("fine_tuning") == sum(p.numel() for p in lm.model.parameters())
    assert count("bitfit") == sum(p.numel() for key, p in lm.model.named_parameters() if key.endswith("bias"))
    assert count("adapters", reduction=8, layer_norm="frozen") == (2 + 2) * 2 * (2 * 32 * 4 + 32 + 4)
    assert count("adapters", reduction=8, layer_norm="frozen", placement="pfeiffer") == (2 + 2) * (2 * 32 * 4 + 36)


@pytest.mark.skipif(not find_spec("peft"), reason="needs peft")
def test_trained_numbers_of_pefts():
    lm = make_lm("bart")
    count = lambda name, **options: sum(p.numel() for p in make(lm, name, options).parameters())  # noqa: E731
    assert count("lora", rank=3) == (2 + 2 * 2) * 2 * 3 * (32 + 32)  # query and value of every attention
    assert count("ia3") == (2 + 2 * 2) * 2 * 32 + (2 + 2) * 48
    assert count("prefix_tuning", length=5) == 5 * 2 * 2 * 32  # keys and values, two decoder layers


def test_an_unknown_name_is_answered_from_methods_and_baselines():
    with pytest.raises(UnknownName, match="did you mean 'fine_tuning'"):
        METHOD_OPTIONS.get("finetuning")
    with pytest.raises(UnknownName, match="did you mean 'prompt_tuning'"):
        METHOD_OPTIONS.get("prompt_tunin")
