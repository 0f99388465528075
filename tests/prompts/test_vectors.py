"""The algebra of task vectors: rows, linear forms, what must not be mixed, and what a composed prompt is on disk."""

import json
from dataclasses import replace

import numpy as np
import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cpeft
from cpeft.errors import ConfigError, PromptError, PromptMismatch
from cpeft.prompts.formula.evaluate import compose
from cpeft.prompts.formula.parse import parse_formula
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt, matrix_hash
from cpeft.prompts.vectors import TaskVector, mean_prompt
from cpeft.use.origins import make_origins
from tiny import D, P, make_lm, raw_model, run_python

MODEL = Provenance(model="tiny", embedding="f" * 64, encoder_decoder=True, dtype="float32")
TEXT = {"prefix": "none", "labels": "words"}
TASKS = ("mnli", "qnli", "sst2")


def matrix(seed, length=P, width=D):
    return torch.randn(length, width, generator=torch.Generator().manual_seed(seed))


ORIGINS = [SoftPrompt.drawn(matrix(900 + i), replace(MODEL, run=f"origin{i}")) for i in range(2)]


def trained(task, origin=ORIGINS[0], seed=None, **known):
    """A prompt of a task that records where it started."""
    moved = origin.weight + matrix(TASKS.index(task) if seed is None else seed, *origin.weight.shape)
    return SoftPrompt(moved, replace(MODEL, task=task, text=TEXT, method="prompt_tuning", **known), origin.weight)


VECTORS = {task: TaskVector.of(trained(task)) for task in TASKS}
a, b, c = VECTORS.values()


def close(x, y):
    torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)


# The algebra, over random linear combinations with coefficients that floats hold exactly

NUMBER = st.integers(-8, 8).map(lambda n: n / 4)
FORM = st.dictionaries(st.sampled_from(TASKS), NUMBER.filter(bool), max_size=3)


def vector(form):
    return sum((size * VECTORS[task] for task, size in form.items()), start=0 * a)


@given(FORM, FORM, FORM, NUMBER, NUMBER)
@settings(max_examples=80, deadline=None)
def test_vectors_are_a_vector_space(f, g, h, k, m):
    x, y, z, zero = vector(f), vector(g), vector(h), 0 * a
    for left, right in (
        (x + y, y + x),
        ((x + y) + z, x + (y + z)),
        ((x + y) - y, x),
        (k * (x + y), k * x + k * y),
        ((k + m) * x, k * x + m * x),
        (k * (m * x), (k * m) * x),
        (x + zero, x),
        (x - x, zero),
        (-x, -1 * x),
        (x - y, x + -y),
        (x * k, k * x),
        (sum([x, y, z]), x + y + z),
        (TaskVector.mean([x, y]), 0.5 * (x + y)),
    ):
        close(left.delta, right.delta)
        assert left.linear == right.linear
        assert left.origin == right.origin == matrix_hash(ORIGINS[0].weight)


@given(FORM)
@settings(max_examples=40, deadline=None)
def test_the_form_is_what_the_rows_are(form):
    made = vector(form)
    assert made.linear == form
    close(made.delta, sum((size * VECTORS[task].delta for task, size in form.items()), torch.zeros(P, D)))


@given(FORM, FORM)
@settings(max_examples=40, deadline=None)
def test_prompts_and_vectors(f, g):
    """A prompt plus a vector holds both; its vector is their sum; the difference of two prompts is that of their vectors."""
    x, y = ORIGINS[0] + vector(f), ORIGINS[0] + vector(g)
    for made, form in ((x, f), (y, g)):
        close(made.weight, ORIGINS[0].weight + vector(form).delta)
        assert made.provenance.linear == form
        close(TaskVector.of(made).delta, vector(form).delta)
        assert TaskVector.of(made).linear == form
    both = x + vector(g)
    assert both.provenance.linear == (vector(f) + vector(g)).linear
    assert TaskVector.between(x, y).linear == (TaskVector.of(x) - TaskVector.of(y)).linear
    close(TaskVector.between(x, y).delta, (vector(f) - vector(g)).delta)
    close((both - vector(g)).weight, x.weight)
    assert (both - vector(g)).provenance.linear == f


def test_one_by_one():
    mnli = trained("mnli")
    assert torch.equal(a.delta, mnli.weight - ORIGINS[0].weight)
    assert (a.linear, a.origin, a.length, a.width) == ({"mnli": 1.0}, matrix_hash(ORIGINS[0].weight), P, D)
    assert a.provenance.embedding == MODEL.embedding
    assert a.norm() == pytest.approx(float(np.linalg.norm(a.delta.numpy())), rel=1e-5)
    assert (0 * a).norm() == 0
    assert sum([a]) is a
    assert a == TaskVector.of(mnli)
    assert a != b
    assert a != 2 * a
    assert a != "mnli"
    assert repr(a - 0.5 * b).startswith(f"TaskVector(v(mnli) - 0.5*v(qnli), {P} x {D}, norm ")
    assert repr(-a).startswith("TaskVector(- v(mnli),")
    assert repr(0 * a) == f"TaskVector(0, {P} x {D}, norm 0)"
    assert torch.equal((a * np.float32(0.5)).delta, a.delta / 2)
    for number in (np.float64(0.5), np.float32(0.5)):
        assert isinstance(number * a, TaskVector)
        assert (number * a).linear == {"mnli": 0.5}
    with pytest.raises(AttributeError):
        a.delta = b.delta
    with pytest.raises(TypeError):
        hash(a)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_values_share_no_storage_with_what_they_were_made_of(kind):
    rows, start = matrix(1).to(kind), matrix(2).to(kind)
    vector, prompt = TaskVector(rows), SoftPrompt(rows[:P], origin=start)
    before, began = rows.float().clone(), start.float().clone()
    rows.zero_()
    start.zero_()
    for kept, value in ((vector.delta, before), (prompt.weight, before), (prompt.origin, began)):
        assert torch.equal(kept, value)
    part = prompt.keep("first:2")
    prompt.weight.zero_()
    assert torch.equal(part.weight, before[:2])


def test_the_provenance_of_a_composed_prompt():
    made = ORIGINS[0] + a - 0.5 * b
    known = made.provenance
    assert known.formula == "origin0 + v(mnli) - 0.5*v(qnli)"
    assert known.linear == {"mnli": 1.0, "qnli": -0.5}
    assert known.origin == matrix_hash(ORIGINS[0].weight)
    assert (known.task, known.method, known.run, known.scores) == ("mnli+qnli", "arithmetic", "", {})
    assert (known.model, known.embedding, known.text) == (MODEL.model, MODEL.embedding, TEXT)  # an origin has no text
    assert torch.equal(made.origin, ORIGINS[0].weight)
    assert (a + ORIGINS[0]).provenance == (ORIGINS[0] + a).provenance
    assert (trained("mnli") + b).provenance.linear == {"mnli": 1.0, "qnli": 1.0}
    nothing = ORIGINS[0] + 0 * a
    assert torch.equal(nothing.weight, ORIGINS[0].weight)
    assert TaskVector.of(nothing).linear == {}
    assert sum([a, b], start=ORIGINS[0]).provenance.linear == {"mnli": 1.0, "qnli": 1.0}


# Between prompts


def test_a_prompt_minus_its_origin_is_its_vector():
    assert TaskVector.between(trained("mnli"), ORIGINS[0]) == a
    assert TaskVector.between(trained("mnli"), trained("qnli")).linear == {"mnli": 1.0, "qnli": -1.0}


def test_a_prompt_trained_from_another_task(tmp_path):
    """SPoT: rte started from the trained mnli, so rte minus mnli is what rte learned."""
    mnli = trained("mnli")
    rte = SoftPrompt(mnli.weight + matrix(7), replace(MODEL, task="rte"), mnli.weight)
    assert TaskVector.between(rte, mnli) == TaskVector.of(rte)
    assert (mnli + TaskVector.of(rte)).provenance.linear == {"mnli": 1.0, "rte": 1.0}
    with pytest.raises(PromptMismatch, match="different origins"):
        a + TaskVector.of(rte)


def test_prompts_of_other_programs_are_measured_from_what_is_subtracted():
    """Files that record no origin: the one that is taken away is the origin of both."""
    start = SoftPrompt(matrix(900), Provenance(task="start"))
    mnli, qnli = (SoftPrompt(start.weight + matrix(i), Provenance(task=task)) for i, task in enumerate(TASKS[:2]))
    v, w = TaskVector.between(mnli, start), TaskVector.between(qnli, start)
    made = start + v + w
    close(made.weight, start.weight + matrix(0) + matrix(1))
    assert made.provenance.linear == {"mnli": 1.0, "qnli": 1.0}
    close((qnli + TaskVector.between(mnli, qnli)).weight, mnli.weight)
    with pytest.raises(PromptMismatch, match="different origins"):
        v + TaskVector.between(mnli, qnli)


def test_means_of_prompts():
    mean = mean_prompt([trained("mnli"), trained("qnli")])
    assert TaskVector.of(mean).linear == {"mnli": 0.5, "qnli": 0.5}
    close(TaskVector.of(mean).delta, TaskVector.mean([a, b]).delta)
    assert mean_prompt([ORIGINS[0], trained("mnli")]).provenance.linear == {"mnli": 0.5}
    assert torch.equal(mean.origin, ORIGINS[0].weight)


def test_means_across_origins_are_measured_from_the_mean_origin():
    """Their vector is the mean of the vectors, which belongs to neither origin; what records nothing changes nothing."""
    mixed = mean_prompt([trained("mnli"), trained("qnli", ORIGINS[1])])
    middle = mean_prompt(ORIGINS)
    assert mixed.provenance.linear == TaskVector.of(mixed).linear == {"mnli": 0.5, "qnli": 0.5}
    close(TaskVector.of(mixed).delta, (matrix(0) + matrix(1)) / 2)
    assert middle.is_origin
    assert middle.provenance.linear == {}
    close((middle + TaskVector.of(mixed)).weight, mixed.weight)
    for mix in (
        lambda: ORIGINS[0] + TaskVector.of(mixed),
        lambda: TaskVector.between(mixed, ORIGINS[0]),
        lambda: TaskVector.between(mixed, trained("mnli")),
        lambda: TaskVector.between(middle, ORIGINS[0]),
        lambda: mixed + a,
    ):
        with pytest.raises(PromptMismatch, match="origin"):
            mix()
    old, older = (SoftPrompt(matrix(seed), Provenance(task="old")) for seed in (5, 6))
    one, two = (mean_prompt([old, trained("mnli"), trained("qnli", ORIGINS[i])]) for i in range(2))
    assert (one.origin, two.origin, mean_prompt([old, older]).measured_from) == (None, None, "")
    assert TaskVector.between(one, ORIGINS[0]).linear == pytest.approx({"old": 1 / 3, "mnli": 1 / 3, "qnli": 1 / 3})
    for mix in (lambda: TaskVector.between(one, ORIGINS[1]), lambda: TaskVector.between(two, ORIGINS[0])):
        with pytest.raises(PromptMismatch, match="difference would include the difference between the origins"):
            mix()


# What is refused


def test_vectors_of_different_spaces_are_refused():
    other = SoftPrompt(ORIGINS[0].weight, replace(MODEL, model="llama", embedding="0" * 64))
    wide, long = (SoftPrompt(matrix(1, *shape), MODEL) for shape in ((P, D + 1), (P + 1, D)))
    for origin, words in (
        (other, "different models: tiny and llama"),
        (wide, f"different widths: {D} and {D + 1}"),
        (long, f"different lengths: {P} and {P + 1} rows"),
    ):
        known = {"embedding": origin.provenance.embedding, "model": origin.provenance.model}
        strange = TaskVector.of(replace(trained("qnli", origin), provenance=replace(MODEL, task="qnli", **known)))
        for mix in (
            lambda v=strange: a + v,
            lambda v=strange: a - v,
            lambda v=strange: TaskVector.mean([a, v]),
            lambda v=strange: a + v.crossing(),
        ):
            with pytest.raises(PromptMismatch, match=rf"'mnli' and 'qnli'.*{words}"):
                mix()
        with pytest.raises(PromptMismatch, match=words):
            ORIGINS[0] + strange
        with pytest.raises(PromptMismatch, match=words):
            TaskVector.between(trained("mnli"), origin)


def test_origins_cross_only_by_name():
    there, here = ORIGINS[1], ORIGINS[0]
    ids = [matrix_hash(origin.weight) for origin in ORIGINS]
    foreign = TaskVector.of(trained("qnli", there))
    for mix in (
        lambda: a + foreign,
        lambda: a - foreign,
        lambda: sum([a, foreign]),
        lambda: TaskVector.mean([a, foreign]),
        lambda: here + foreign,
        lambda: here - foreign,
        lambda: trained("mnli") + foreign,
        lambda: (here + a) + foreign,
    ):
        with pytest.raises(PromptMismatch, match=r"'qnli'.*different origins.*train both from one origin.*cross"):
            mix()
    for subtract in (lambda: TaskVector.between(trained("mnli"), there),
                     lambda: TaskVector.between(trained("mnli"), trained("qnli", there))):  # fmt: skip
        with pytest.raises(PromptMismatch, match=r"'mnli' was trained from origin .*cross\(v"):
            subtract()
    made = here + foreign.crossing()  # the paper's mixed initialisation
    close(made.weight, here.weight + foreign.delta)
    assert (made.provenance.origin, made.provenance.crossed) == (ids[0], [ids[1]])
    assert TaskVector.of(made).provenance.crossed == [ids[1]]
    both = a + foreign.crossing()
    assert (both.origin, both.linear, both.provenance.crossed) == (ids[0], {"mnli": 1.0, "qnli": 1.0}, [ids[1]])
    assert foreign.crossing().crossing() == foreign.crossing()
    with pytest.raises(PromptMismatch, match="different origins"):
        there + both


def test_origins_are_measured_from_themselves():
    """So their difference crosses origins, which must be said; of one origin nothing is left."""
    here, there = ORIGINS
    with pytest.raises(
        PromptMismatch, match=r"'origin1' is origin .*'origin0' belongs to .*write cross\(origin1 - origin0\)"
    ):
        TaskVector.between(there, here)
    with pytest.raises(PromptMismatch, match="'origin1' is origin"):
        TaskVector.between(there, trained("mnli"))
    with pytest.raises(PromptError, match="'origin0' is an origin itself"):
        TaskVector.of(here)
    nothing = TaskVector.between(here, here)
    assert (nothing.norm(), nothing.linear) == (0, {})
    made = here + TaskVector.across(there, here)
    close(made.weight, there.weight)
    assert (made.provenance.linear, made.provenance.origin) == ({}, matrix_hash(here.weight))
    assert made.provenance.crossed == sorted(matrix_hash(origin.weight) for origin in ORIGINS)
    across, apart = (
        x(trained("mnli"), trained("qnli", there)) for x in (TaskVector.across, lambda p, q: p.weight - q.weight)
    )
    close(across.delta, apart)
    assert (across.linear, across.origin) == ({"mnli": 1.0, "qnli": -1.0}, "")
    own = TaskVector.across(trained("mnli"), here)
    assert own == a.crossing()
    first = [prompt.keep("first:2") for prompt in (trained("mnli"), here, there)]
    assert first[1].is_origin
    assert TaskVector.between(first[0], first[1]) == TaskVector.of(first[0])
    with pytest.raises(PromptMismatch, match="was trained from origin"):
        TaskVector.between(first[0], first[2])


def test_origins_are_known_on_disk_too(tmp_path):
    here, there = (SoftPrompt.load(origin.save(tmp_path / origin.provenance.run)) for origin in ORIGINS)
    assert here.is_origin
    assert here.measured_from == ORIGINS[0].measured_from
    with pytest.raises(PromptMismatch, match="'origin1' is origin"):
        TaskVector.between(there, here)
    lost = trained("mnli").save(tmp_path / "lost")
    (lost / "origin.safetensors").unlink()
    (lost / "cpeft.json").write_text(
        json.dumps({**json.loads((lost / "cpeft.json").read_text()), "origin": here.measured_from})
    )
    mnli = SoftPrompt.load(lost)  # the hash of its origin is left
    assert TaskVector.between(mnli, here) == a
    with pytest.raises(PromptMismatch, match="'mnli' was trained from origin"):
        TaskVector.between(mnli, there)
    both = mnli + b
    assert (both.provenance.linear, both.origin, both.measured_from) == (
        {"mnli": 1, "qnli": 1},
        None,
        here.measured_from,
    )


def test_a_vector_knows_how_large_its_origin_is():
    size = float(ORIGINS[0].weight.double().norm())
    start = SoftPrompt(matrix(900), Provenance(task="start"))
    foreign = TaskVector.of(trained("qnli", ORIGINS[1]))
    between = [TaskVector.between(trained("mnli"), other) for other in (ORIGINS[0], trained("qnli"))]
    computed = (
        a - b,
        0.5 * a,
        -a,
        sum([a, b]),
        TaskVector.mean([a, b]),
        a.noise(),
        a.shuffled(),
        a + foreign.crossing(),
    )
    for vector in (a, *between, TaskVector.between(SoftPrompt(matrix(1)), start), *computed):
        assert vector.origin_norm == pytest.approx(size)
    assert a.crossing().origin_norm is None
    assert TaskVector(matrix(0)).origin_norm is None


def test_a_prompt_without_origin_has_no_vector():
    with pytest.raises(PromptError, match=r"'old' records no origin.*subtract the prompt.*'old - origin0'"):
        TaskVector.of(SoftPrompt(matrix(0), Provenance(task="old")))


@pytest.mark.parametrize("wrong", [lambda: a * b, lambda: a + 1, lambda: 1 + a, lambda: a * "x", lambda: a - 1])
def test_what_is_no_operation(wrong):
    with pytest.raises(TypeError):
        wrong()


def test_what_is_no_vector():
    with pytest.raises(PromptError, match="must be finite"):
        float("inf") * a
    with pytest.raises(PromptError, match="mean of no task vectors"):
        TaskVector.mean([])
    code = "import torch, cpeft; cpeft.SoftPrompt(torch.ones(2, 3), origin=torch.ones(1, 3))"  # here jaxtyping is first
    assert "PromptError: the origin of a prompt has its rows and width" in run_python(code).stderr


# On disk and in the language


def test_saving_commutes_with_composing(tmp_path):
    prompts = {"origin0": ORIGINS[0], "mnli": trained("mnli"), "qnli": trained("qnli")}
    loaded = {name: SoftPrompt.load(prompt.save(tmp_path / name)) for name, prompt in prompts.items()}
    text = "origin0 + v(mnli) + 0.5*v(qnli)"
    before, after = (cpeft.compose(text, each) for each in (prompts, loaded))
    again = SoftPrompt.load(before.save(tmp_path / "made"))
    for made in (after, again):
        assert torch.equal(made.weight, before.weight)
        assert torch.equal(made.origin, before.origin)
        assert made.provenance == before.provenance
    assert torch.equal(before.weight, (ORIGINS[0] + a + 0.5 * b).weight)
    assert TaskVector.of(again) == TaskVector.of(before)
    card = json.loads((tmp_path / "made" / "cpeft.json").read_text())
    assert (card["formula"], card["linear"]) == (text, {"mnli": 1.0, "qnli": 0.5})


def test_cards_written_before_there_was_arithmetic(tmp_path):
    folder = trained("mnli").save(tmp_path)
    card = json.loads((folder / "cpeft.json").read_text())
    old = {key: value for key, value in card.items() if key not in ("formula", "linear", "origin", "crossed")}
    assert old.keys() < card.keys()
    (folder / "cpeft.json").write_text(json.dumps(old))
    assert TaskVector.of(SoftPrompt.load(folder)) == a


def test_peft_loads_a_composed_prompt(tmp_path):
    made = ORIGINS[0] + a + 0.5 * b
    made.save(tmp_path)
    theirs = peft.PeftModel.from_pretrained(raw_model("t5"), tmp_path)
    assert torch.equal(theirs.prompt_encoder["default"].embedding.weight, made.weight)


def test_origins_come_one_by_one():
    lm = make_lm("t5")
    settings = {"length": P, "vocab_range": (4, 80)}
    few, many = (make_origins(lm, count, 3, **settings) for count in (2, 5))
    assert list(many) == ["origin0", "origin1", "origin2", "origin3", "origin4"]
    for name, origin in few.items():
        assert torch.equal(origin.weight, many[name].weight)
        assert (origin.provenance.embedding, origin.provenance.init) == (lm.fingerprint, "vocab")
        assert all((row == lm.vocabulary.table_VD[4:81]).all(1).any() for row in origin.weight)
    assert len({matrix_hash(origin.weight) for origin in many.values()}) == 5
    assert not torch.equal(make_origins(lm, 1, 4, **settings)["origin0"].weight, few["origin0"].weight)
    with pytest.raises(ConfigError, match="drawn from the model alone"):
        make_origins(lm, 1, 0, init="mnli")


FORMS = {
    "form": ("chat", "fields"), "examples": (4, 0), "prefix": ("task", "none"), "labels": ("words", "numbers"),
    "cue": (None, "\nsaid:"),
}  # fmt: skip


def of_form(name, seed, **text):
    """A prompt of its own origin trained under some text options."""
    rng = torch.Generator().manual_seed(seed)
    origin = torch.randn(P, D, generator=torch.Generator().manual_seed(0))
    known = Provenance(model="tiny", embedding="f" * 64, task=name, text={"form": "fields", "max_source": 256, **text})
    return SoftPrompt(origin + torch.randn(P, D, generator=rng), known, origin)


@pytest.mark.parametrize("option", FORMS)
@pytest.mark.parametrize("formula", [
    "mean(a, b)", "vocab + v(a) + v(b)", "vocab + sum(v(a), v(b))", "a + 0.5*v(b)", "weighted(a, b, b)", "vocab + cross(a - b)",
    "a - v(b)", "vocab + mean(v(a), v(b))", "mean(a, mean(b, b))",
])  # fmt: skip
def test_prompts_of_different_forms_of_text_do_not_join(option, formula):
    ours, theirs = FORMS[option]
    prompts = {"a": of_form("a", 1, **{option: ours}), "b": of_form("b", 2, **{option: theirs})}
    origin = prompts["a"].origin
    with pytest.raises(PromptMismatch) as caught:
        compose(formula, prompts, fresh=lambda part: origin)
    assert f"data.{option} = {ours!r} and {theirs!r}" in str(caught.value) or (
        f"data.{option} = {theirs!r} and {ours!r}" in str(caught.value)
    )
    assert "mixed(...)" in str(caught.value)


@pytest.mark.parametrize(
    "formula", ["mean(mixed(a), b)", "b + v(mixed(a))", "b + mixed(0.5*v(a))", "weighted(mixed(a), b, b)"]
)
def test_mixed_joins_them_and_the_result_reads_as_the_others(formula):
    prompts = {"a": of_form("a", 1, form="chat"), "b": of_form("b", 2)}
    same = {"a": of_form("a", 1), "b": of_form("b", 2)}
    made = compose(formula, prompts)
    assert made.provenance.text["form"] == "fields"
    assert torch.equal(made.weight, compose(formula.replace("mixed", ""), same).weight)
    weighs = formula.startswith("weighted")  # the probe weighs and is no part
    assert made.provenance.mixed == ([] if weighs else ["form = 'chat'"])
    assert str(parse_formula(formula).tree) == str(parse_formula(str(parse_formula(formula).tree)).tree)


def test_other_lengths_of_text_still_join():
    compose("mean(a, b)", {"a": of_form("a", 1), "b": of_form("b", 2, max_source=128)})


@pytest.mark.parametrize("part", ["tokenizer", "template", "config"])
def test_prompts_of_other_models_under_one_table_do_not_join(part):
    a, b = (of_form(name, seed) for name, seed in (("a", 1), ("b", 2)))
    a, b = (
        replace(each, provenance=replace(each.provenance, **{part: hash}))
        for each, hash in ((a, "1" * 16), (b, "2" * 16))
    )
    with pytest.raises(PromptMismatch, match="11111111 of tiny, 22222222 of tiny"):
        compose("mean(a, b)", {"a": a, "b": b})
    compose("mean(a, b)", {"a": a, "b": replace(b, provenance=replace(b.provenance, **{part: ""}))})
