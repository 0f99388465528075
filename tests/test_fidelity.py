"""Switches that bring published behaviour back: each does what its option says, and is off unless asked for."""

import json

import peft
import pytest
import torch
from rich.console import Console
from torch.nn import functional as F

import cpeft
from cpeft.data.options import DataOptions
from cpeft.errors import ConfigError, PromptError
from cpeft.evaluation.decoding import mean_loss
from cpeft.evaluation.task_data import task_data
from cpeft.models.prompted import PromptedLM
from cpeft.options.training import GangOptions
from cpeft.prompts.exchange import load_prompt, load_stored
from cpeft.prompts.formula.evaluate import read_items
from cpeft.prompts.soft_prompt import SoftPrompt, read_tensors
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.settings import parse_settings
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.prepare import make_learner
from cpeft.study.runner.worker import run_recipe
from cpeft.training.callbacks import Callback
from cpeft.training.engine import train_gang
from tiny import PAD, QUICK, P, make_batch, make_lm, make_member, make_method, make_rows, same_bits, trained_state

IN_LOSS = DataOptions(label_padding="in-loss")
RANGE = {"length": P, "vocab_range": [4, 80]}


@pytest.fixture(autouse=True)
def at_home(world, monkeypatch):
    monkeypatch.chdir(world)


def learner_of(lm, **prompt):
    settings = parse_settings({"tasks": ["mood.toml"], "model": {"name": "tiny"}, "prompt": {**RANGE, **prompt}})
    return make_learner(settings, lm, (), {}, lambda name: None, lambda name: {})


# data.label_padding


def test_pads_bear_loss_as_in_a_plain_forward_pass():
    """The loss equals that of transformers itself on labels that end in pad ids and hold no -100."""
    lm = make_lm("t5")
    learner = PromptedLM(lm, make_method(lm, "prompt_tuning", {}), IN_LOSS)
    data = task_data("rank.toml", None, IN_LOSS, 0, lm)
    rows = data.rows("train", 0)
    masked = task_data("rank.toml", None, DataOptions(), 0, lm).rows("train", 0)
    assert {len(row.target) for row in masked} == {2, 4}, "'negative' and 'very very good', each with its end token"
    assert {len(row.target) for row in rows} == {4}
    batch = learner.layout.batch(rows)
    labels = torch.tensor([[*row.target, *[PAD] * (4 - len(row.target))] for row in masked])
    assert torch.equal(batch.target_BT, labels)
    embedded = torch.cat([learner.method.weight.expand(len(batch), -1, -1), lm.embed(batch.source_BL)], 1)
    seen = torch.cat([torch.ones(len(batch), P, dtype=torch.bool), batch.mask_BL], 1)
    with torch.no_grad():
        logits = lm.model(inputs_embeds=embedded, attention_mask=seen.long(), labels=labels).logits
        by_hand = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        ours = learner.losses(batch)[0].sum() / sum(map(learner.layout.loss_tokens, rows))
    torch.testing.assert_close(ours, by_hand)
    assert mean_loss(learner, rows, 4096) == pytest.approx(float(by_hand), rel=1e-5)
    assert mean_loss(learner, masked, 4096) != pytest.approx(float(by_hand), rel=1e-2)


def test_pads_are_no_answer():
    """Scores and what counts as an answer stay as they are."""
    lm = make_lm("t5")
    plain, padded = (task_data("rank.toml", None, options, 0, lm) for options in (DataOptions(), IN_LOSS))
    assert plain.surfaces == padded.surfaces
    assert [part.examples for part in plain.parts.values()] == [part.examples for part in padded.parts.values()]


def test_pads_need_labels_and_an_encoder(world):
    with pytest.raises(
        ConfigError, match="label_padding = 'in-loss' is for tasks with labels on encoder-decoder models"
    ):
        task_data("rank.toml", None, IN_LOSS, 0, make_lm("llama"))
    files = 'train = "rank-train.csv"\ntest = "rank-test.csv"'
    (world / "open.toml").write_text(
        f'name = "open"\ntemplate = "{{text}}"\nmetrics = ["squad_f1"]\n[files]\n{files}\n'
    )
    with pytest.raises(ConfigError, match="task 'open'"):
        task_data("open.toml", None, IN_LOSS, 0, make_lm("t5"))


# train.eval_every


@pytest.mark.parametrize(
    ("every", "at"), [(0.25, [3, 6, 9, 12]), (5, [5, 10, 12]), (0.01, list(range(1, 13))), (99, [12])]
)
def test_a_share_of_the_steps_between_evaluations(tmp_path, every, at):
    seen = []
    watch = type("Watch", (Callback,), {"on_eval": lambda self, member, record: seen.append(record["step"])})()
    lm = make_lm("t5")
    train = {"steps": 12, "eval_every": every}
    member = make_member(learner_of(lm), make_rows(lm), tmp_path / "run", train=train, callbacks=[watch])
    train_gang([member], GangOptions(pool="member"))
    assert seen == at


# prompt.rows = "doubled"


def test_the_model_reads_the_first_half():
    """Logits are those of the live half, whatever stands in the dead one, which gets no gradient at all."""
    lm = make_lm("t5")
    live, doubled = learner_of(lm), learner_of(lm, rows="doubled")
    assert doubled.method.weight.shape == (2 * P, lm.width)
    assert doubled.method.length == P
    assert torch.equal(doubled.method.weight[:P], live.method.weight), "one seed draws one live half"
    batch = make_batch(make_rows(lm))
    loss = doubled.losses(batch)[0]
    loss.sum().backward()
    gradient = doubled.method.weight.grad
    assert bool((gradient[P:] == 0).all())
    assert bool((gradient[:P] != 0).all())
    with torch.no_grad():
        doubled.method.weight[P:] *= 100
        assert torch.equal(doubled.losses(batch)[0], live.losses(batch)[0])
        labels = batch.target_BT
        logits = [each(batch.source_BL, batch.mask_BL, labels).logits for each in (live, doubled)]
        assert torch.equal(*logits)


def test_the_dead_half_only_decays(tmp_path):
    """θ0 (1 - η_1 λ) (1 - η_2 λ) ... under AdamW; the live half is trained as it would be alone, bit for bit."""
    lm, steps, rate, decay = make_lm("t5"), 5, 0.3, 0.1
    states = {}
    for rows in ("live", "doubled"):
        optim = {"lr": rate, "weight_decay": decay, "clip": 1.0}
        member = make_member(
            learner_of(lm, rows=rows), make_rows(lm), tmp_path / rows, train={"steps": steps}, optim=optim
        )
        train_gang([member], GangOptions(pool="member"))
        states[rows] = (member.learner.method.weight.detach(), member.learner.method.origin)
    assert torch.equal(states["doubled"][0][:P], states["live"][0])
    left = 1.0
    for step in range(member.best_step):
        left *= 1 - rate * (1 - step / steps) * decay
    assert left < 0.95
    torch.testing.assert_close(states["doubled"][0][P:], states["doubled"][1][P:] * left)


DOUBLED = """
[[stage]]
name = "sources"
tasks = ["mood.toml", "topic.toml"]
seeds = [0, 1]
optim.weight_decay = 0.5
[[stage]]
name = "made"
tasks = ["rank.toml"]
[[stage.variant]]
name = "sum"
prompt.init = "vocab + v(sources/mood) + v(sources/topic)"
train.steps = 0
[[stage.variant]]
name = "crossed"
prompt.init = "vocab + cross(v(sources/mood@1))"
train.steps = 0
[[stage.variant]]
name = "attempt"
sources = ["sources/*"]
prompt.init = "sources/mood"
method = { name = "attempt", bottleneck = "rows" }
"""


@pytest.fixture(scope="module")
def doubled(world, tmp_path_factory):
    """The store of a study in the doubled layout."""
    text = QUICK.replace("[prompt]", '[prompt]\nrows = "doubled"') + DOUBLED
    (world / "doubled.toml").write_text(text)
    store = Store(tmp_path_factory.mktemp("doubled") / "store")
    summary = run_recipe(Plan(load_recipe(world / "doubled.toml"), store), Console(quiet=True))
    assert (summary.done, summary.failures, summary.blocked) == (7, {}, {})
    return store


def saved(store, pattern):
    return next(store.path.glob(f"{pattern}/prompts/*"))


def test_prompts_are_saved_as_published_ones_were(doubled, world):
    folder = saved(doubled, "sources/mood*s0-*")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["num_virtual_tokens"], config["num_transformer_submodules"]) == (P, 2)
    prompt, dead = load_stored(folder)
    assert (prompt.length, dead.shape) == (P, prompt.weight.shape)
    assert "4 live rows kept, 4 rows the model never read" in prompt.provenance.note
    assert not torch.equal(dead, prompt.dead.origin)
    torch.testing.assert_close(dead / dead.norm(), prompt.dead.origin / prompt.dead.origin.norm())
    assert SoftPrompt.load(folder).dead is not None
    assert load_prompt(folder).dead is None, "whoever uses the prompt gets what the model reads"
    base = cpeft.load_lm("model", dtype="float32").model
    theirs = peft.PeftModel.from_pretrained(base, folder)
    stored = theirs.prompt_encoder["default"].embedding.weight
    assert torch.equal(stored, torch.cat([prompt.weight, dead]))


def test_formulas_act_on_all_stored_rows(doubled):
    mood, topic, other = (
        load_stored(saved(doubled, f"sources/{name}-*"))[0].whole()
        for name in ("mood.sources.s0", "topic.sources.s0", "mood.sources.s1")
    )
    made, crossed = (load_stored(saved(doubled, f"made/rank.{name}.s0-*"))[0] for name in ("sum", "crossed"))
    assert torch.equal(mood.origin, topic.origin)
    torch.testing.assert_close(made.whole().weight, mood.weight + topic.weight - topic.origin)
    torch.testing.assert_close(crossed.whole().weight, mood.origin + other.weight - other.origin)
    texts = [str(saved(doubled, f"sources/{task}*s0-*")) for task in ("mood", "topic")]
    a, b = read_items(texts, vectors=True)
    alike = F.cosine_similarity(a.dead_ND.flatten(), b.dead_ND.flatten(), 0)
    assert float(alike) == pytest.approx(1.0), "dead halves of one origin differ by a factor only"


def test_attempt_mixes_live_rows_and_pools_over_all(doubled, cpeft_main):
    run = next(doubled.path.glob("made/rank.attempt*"))
    card, result = (json.loads((run / name).read_text()) for name in ("method/method.json", "result.json"))
    assert (card["shape"][0], card["live"], result["length"]) == (2 * P, P, P)
    state = read_tensors(run / "method" / "state.safetensors")
    assert state["sources_SPD"].shape[1] == state["target_TPD"].shape[1] == state["attention.down"].shape[0] == 2 * P
    code, out, error = cpeft_main("eval", run, "--task", "rank.toml", "--json")
    assert code == 0, error
    assert {m: s["value"] for m, s in json.loads(out).items()} == {
        m: s["value"] for m, s in result["scores"]["rank"].items()
    }


def test_doubled_is_for_encoders_and_for_doubled_sources(doubled, world):
    with pytest.raises(ConfigError, match="a layout of encoder-decoder prompts"):
        learner_of(make_lm("llama"), rows="doubled")
    live = load_prompt(saved(doubled, "sources/mood*s0-*"))
    with pytest.raises(PromptError, match=r"has 4 rows, prompt.length is 4 and prompt.rows = 'doubled' stores 8"):
        cpeft.train(cpeft.load_lm("model"), "rank.toml", start=live, prompt={"rows": "doubled"}, train={"steps": 1})


# prompt.dtype


def test_weight_decay_is_lost_in_bfloat16(tmp_path):
    """lr x decay is 3e-6 of a weight, a bfloat16 has steps of 4e-3: a prompt of gradient zero stays as it is."""
    for dtype, stays in (("float32", False), ("bfloat16", True)):
        learner = learner_of(make_lm("t5"), dtype=dtype)
        before = learner.method.weight.detach().clone()
        member = make_member(learner, make_rows(learner.lm), tmp_path / dtype, optim={"lr": 0.3, "weight_decay": 1e-5})
        learner.method.weight.grad = torch.zeros_like(learner.method.weight)
        member.optimizer.step()
        assert torch.equal(learner.method.weight, before) is stays
        assert learner.method.origin.dtype == torch.float32


def test_a_bfloat16_run_resumes_bit_for_bit(tmp_path):
    lm = make_lm("t5")

    class Crash(Callback):
        def on_step(self, member, record):
            if record["step"] == 5:
                raise KeyboardInterrupt

    def run_of(name, *callbacks):
        return make_member(learner_of(lm, dtype="bfloat16"), make_rows(lm), tmp_path / name, callbacks=callbacks)

    whole, resumed = run_of("whole"), run_of("parts")
    train_gang([whole], GangOptions(pool="member"))
    with pytest.raises(KeyboardInterrupt):
        train_gang([run_of("parts", Crash())], GangOptions(pool="member"))
    train_gang([resumed], GangOptions(pool="member"))
    assert same_bits(trained_state(whole.learner), trained_state(resumed.learner))
    weight, origin = whole.learner.method.weight, whole.learner.method.origin
    assert (weight.dtype, origin.dtype) == (torch.bfloat16, torch.float32)
    assert float((weight - origin).detach().abs().max()) > 0.01


def test_bfloat16_is_for_prompts():
    settings = parse_settings(
        {"tasks": ["mood.toml"], "model": {"name": "tiny"}, "method": {"name": "attempt"},
         "prompt": {**RANGE, "dtype": "bfloat16"}}
    )  # fmt: skip
    lm = make_lm("t5")
    source = SoftPrompt(lm.vocabulary.table_VD[:P])
    with pytest.raises(ConfigError, match="train a prompt and no network"):
        make_learner(settings, lm, (), {"mood": source}, lambda name: source, lambda name: {})
