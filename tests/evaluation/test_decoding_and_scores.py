"""Decoding that stops early equals plain greedy decoding; choices equal naive log-probabilities; intervals of scores."""

import math

import numpy as np
import pytest
import torch

from cpeft.data.encode import micro_batches
from cpeft.data.rows import EncodedRow
from cpeft.evaluation.decoding import NoLabelPossible, decode_rows, mean_loss
from cpeft.evaluation.scoring import score_texts
from cpeft.methods.base import PromptOutput
from cpeft.metrics import METRICS, MetricContext
from cpeft.metrics.base import Metric
from cpeft.metrics.base import metric as metric_of_rows
from cpeft.models.greedy import plain_greedy
from cpeft.options.evaluation import EvalOptions
from tiny import BOS, EOS, LABELS, P, make_batch, make_learner, make_lm, make_member, make_rows, teach

TEXTS = (*LABELS, "w1 w2 w3", "positive w4", "not w5")  # what the models learn to say; the last three are no labels


@pytest.fixture(scope="module", params=["t5", "bart", "llama", "gpt2"])
def taught(request):
    """A model whose greedy outputs are labels, other texts, and mixtures, depending on the input; and many rows."""
    lm = make_lm(request.param, seed=1)
    rows = make_rows(lm, 40, seed=3)
    targets = lm.text.targets(list(TEXTS))
    teach(lm, [EncodedRow(row.source, tuple(targets[i % len(targets)])) for i, row in enumerate(rows[:28])])
    learner = make_learner(lm, "no_prompt", {})
    return learner, rows


def plain_texts(learner, rows, tokens):
    """One row at a time, nothing special: the model's own `generate` to the end, cut to `tokens` new ones afterwards."""
    out = []
    for row in rows:
        ids = learner.generate(torch.tensor([row.source]), max_new_tokens=20, do_sample=False)[0].tolist()
        ids = ids[: tokens + learner.lm.encoder_decoder]
        out.append(learner.lm.text.decode(ids[1:] if learner.lm.encoder_decoder else ids))
    return out


def test_early_decision_keeps_exact_match_row_by_row(taught):
    learner, rows = taught
    room = max(len(ids) for ids in learner.lm.text.targets(list(LABELS)))
    plain = plain_texts(learner, rows, room)
    decoded = [d.text for d in decode_rows(learner, rows, LABELS, EvalOptions(token_budget=90))]
    hits = [text in LABELS for text in plain]
    assert any(hits)
    assert not all(hits)
    assert len({text for text in plain if text in LABELS}) > 2
    for a, b in zip(plain, decoded, strict=True):
        assert (a == b) if a in LABELS else (b not in LABELS)
        assert a == b or a.startswith(b), "what is kept of an undecided row is the beginning of what the model says"


def test_early_decision_makes_fewer_steps(taught):
    """Over rows that leave the label set at once, the model is asked less often than plain decoding asks it."""
    learner, rows = taught
    labels = ("very very good",)
    room = max(len(ids) for ids in learner.lm.text.targets(list(labels)))
    chosen = [r for r, text in zip(rows, plain_texts(learner, rows, room), strict=True) if not text.startswith("very")][
        :6
    ]
    calls = []
    model = learner.lm.model
    body = model.get_decoder() if learner.lm.encoder_decoder else model
    hook = body.register_forward_hook(lambda *args: calls.append(1))
    try:
        decode_rows(learner, chosen, labels, EvalOptions())
        early = len(calls)
        decode_rows(learner, chosen, (), EvalOptions(max_new_tokens=room))
    finally:
        hook.remove()
    opening = 2 if learner.lm.text.targets(["a"])[0][0] == BOS else 1  # BART says its begin token first
    assert early == opening < len(calls) - early


def test_open_answers_are_plain_greedy(taught):
    learner, rows = taught
    got = [d.text for d in decode_rows(learner, rows, (), EvalOptions(max_new_tokens=7, token_budget=50))]
    assert got == plain_texts(learner, rows, 7)
    assert len(set(got)) > 3


def test_choice_is_the_most_probable_label(taught):
    learner, rows = taught
    decoded = decode_rows(learner, rows[:10], LABELS, EvalOptions(decode=("greedy", "choice")))
    assert len({d.choice for d in decoded}) > 1
    for row, got in zip(rows, decoded, strict=False):
        naive = [log_probability(learner, row.source, ids) for ids in learner.lm.text.targets(list(LABELS))]
        assert got.choice == LABELS[int(np.argmax(naive))]
    none = decode_rows(learner, rows[:2], LABELS, EvalOptions())
    assert [d.choice for d in none] == [None, None]


def log_probability(learner, source, target) -> float:
    """Sum of log-probabilities, token by token, from the model's own logits without any of our code."""
    model, total = learner.lm.model, 0.0
    with torch.no_grad():
        for i, token in enumerate(target):
            if learner.lm.encoder_decoder:
                start = [model.config.decoder_start_token_id, *target[:i]]
                logits = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([start])).logits
            else:
                logits = model(input_ids=torch.tensor([[*source, *target[:i]]])).logits
            total += float(logits[0, -1].double().log_softmax(-1)[token])
    return total


def test_score_is_the_log_probability_of_the_target(taught):
    learner, rows = taught
    got = learner.score(make_batch(rows[:6])).tolist()
    assert got == pytest.approx([log_probability(learner, r.source, r.target) for r in rows[:6]], rel=1e-4, abs=1e-3)


def test_mean_loss_is_per_token_whatever_the_budget(taught):
    learner, rows = taught
    losses = learner.losses(make_batch(rows))[0].sum() / sum(len(row.target) for row in rows)
    for budget in (1, 64, 100_000):
        assert mean_loss(learner, rows, budget) == pytest.approx(float(losses), rel=1e-5)
    assert mean_loss(learner, [], 10) == 0.0


@pytest.mark.parametrize("arch", ["t5", "llama"])
def test_rows_keep_their_order_prompts_and_notes(arch):
    """Sorted into groups by length inside, returned in the order given, each with its own task's prompt and attention."""
    lm = make_lm(arch)
    learner = make_learner(lm, "attempt", {"targets": "per_task", "temperature": 1.0}, tasks=2)
    with torch.no_grad():
        learner.method.target_TPD[1] += 3.0
    rows = make_rows(lm, 9, tasks=2, longest=12)
    options = EvalOptions(max_new_tokens=4, token_budget=40)
    together = decode_rows(learner, rows, (), options)
    alone = [decode_rows(learner, [row], (), options)[0] for row in rows]
    assert [d.text for d in together] == [d.text for d in alone]
    for a, b in zip(together, alone, strict=True):
        assert len(a.extras["attention"]) == len(learner.method.candidates)
        assert a.extras["attention"] == pytest.approx(b.extras["attention"], abs=1e-5)
    swapped = [EncodedRow(row.source, row.target, 1 - row.task) for row in rows]
    assert [d.text for d in decode_rows(learner, swapped, (), options)] != [d.text for d in together]


def test_text_of_a_decided_row_has_no_padding_words():
    """A model that names no pad token: filler after a decided row is not part of its text."""
    model = make_lm("gpt2").model
    with plain_greedy(model, 7):
        assert model.generation_config.pad_token_id == 0
    model.generation_config.pad_token_id = model.config.pad_token_id = None
    with plain_greedy(model, EOS):
        assert model.generation_config.pad_token_id == EOS
    assert model.generation_config.pad_token_id is None


@pytest.mark.parametrize(
    "habit",
    [{"repetition_penalty": 5.0}, {"no_repeat_ngram_size": 1}, {"min_new_tokens": 9}, {"forced_eos_token_id": EOS}],
)
def test_the_models_own_generation_habits_do_not_decide_scores(taught, habit):
    """A repetition penalty or a forced end in the model's settings changes `generate`, but not what is scored."""
    learner, rows = taught
    options = EvalOptions(max_new_tokens=4)
    plain = [d.text for d in decode_rows(learner, rows, (), options)]
    own = learner.lm.model.generation_config
    before = {name: getattr(own, name, None) for name in habit}
    try:
        for name, value in habit.items():
            setattr(own, name, value)
        assert [d.text for d in decode_rows(learner, rows, (), options)] == plain
    finally:
        for name, value in before.items():
            setattr(own, name, value)


def test_text_of_a_row_that_can_become_no_label_comes_from_the_pass_over_the_labels(taught, monkeypatch):
    """`generate` is asked for no row of a packed model that leaves the labels for good, and the texts are those it says."""
    learner, rows = taught
    if not learner.lm.packed:
        pytest.skip("it has no packed form")
    labels = LABELS[:1]
    told = [row.text for row in decode_rows(learner, rows, labels, EvalOptions())]
    monkeypatch.setattr(type(learner), "generate_from", lambda *given, **more: pytest.fail("asked for again"))
    assert [row.text for row in decode_rows(learner, rows, labels, EvalOptions())] == told
    assert any(text not in labels for text in told)
    monkeypatch.setattr(type(learner), "read", lambda *given: None)
    assert [row.text for row in decode_rows(learner, rows, labels, EvalOptions())] == told


def test_decided_rows(taught):
    """Open while the text is the beginning of a label, white space aside; closed once it is not."""
    codec = taught[0].lm.text
    criterion = NoLabelPossible(codec, ("very very good", "positive"), skip=0)

    def ids(text):
        return torch.tensor([codec.targets([text])[0][:-1]])

    for text, closed in {"very": False, "very very good": False, "very good": True, "positive": False,
                         "positive very": True, "negative": True}.items():  # fmt: skip
        assert criterion(ids(text), None).tolist() == [closed], text


def test_an_evaluation_sees_the_prompt_of_the_moment(tmp_path):
    """Two prompts, two outputs: nothing of an earlier evaluation is kept."""
    lm = make_lm("llama")
    learner = make_learner(lm, "prompt_tuning", {})
    rows = make_rows(lm, 6)
    member = make_member(learner, rows, tmp_path)
    before, first = (
        decode_rows(learner, rows, (), EvalOptions(max_new_tokens=4)),
        member.evaluate(),
    )
    with torch.no_grad():
        learner.method.weight.add_(torch.randn_like(learner.method.weight) * 3)
    assert decode_rows(learner, rows, (), EvalOptions(max_new_tokens=4)) != before
    assert member.evaluate().loss != first.loss
    assert learner.method.length == P
    assert isinstance(
        learner.prompts(lm.embed(torch.tensor([[5]])), torch.tensor([[True]]), torch.tensor([0])), PromptOutput
    )


@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_keys_and_values_of_a_prompt_are_computed_once_for_all_batches(arch, monkeypatch):
    """Until the prompt changes; answers are those of a learner that never kept any. (Of packed forms `test_packed_llama.py`
    says so.)"""
    lm = make_lm(arch)
    monkeypatch.setitem(vars(lm), "packed", None)
    learner, rows, calls = make_learner(lm, "prompt_tuning", {}), make_rows(lm, 12), []
    assert lm.keeps_prompt  # settled before calls are counted
    assert lm.gap_limit is None
    base = type(lm.model.base_model)
    forward = base.forward

    def seen(self, *args, **kwargs):
        kept = kwargs.get("past_key_values", kwargs.get("cache"))  # its name from transformers 5.24 on
        calls.append("prompt" if kept is None else "text")
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(base, "forward", seen)
    few = EvalOptions(token_budget=40)
    first = decode_rows(learner, rows, LABELS, few)
    assert calls.count("prompt") == 1
    assert calls.count("text") > 3, "several batches"
    with torch.no_grad():
        next(learner.parameters()).mul_(-1)
    decode_rows(learner, rows, LABELS, few)
    assert calls.count("prompt") == 2, "a changed prompt is computed anew"
    with torch.no_grad():
        next(learner.parameters()).mul_(-1)
    assert decode_rows(learner, rows, LABELS, few) == first


def test_micro_batches_of_decoding_cover_all_rows():
    assert micro_batches([], lambda i: 1, 10) == []


# Scores


def accuracy_data(rows=400, right=0.7, seed=0):
    rng = np.random.default_rng(seed)
    references = [(label,) for label in rng.choice(["yes", "no"], rows)]
    predictions = [r[0] if rng.random() < right else {"yes": "no", "no": "yes"}[r[0]] for r in references]
    return predictions, references


def accuracy_name():
    return "accuracy" if "accuracy" in METRICS else "exact_match"


def test_value_without_resamples_is_the_metric():
    predictions, references = accuracy_data()
    score = score_texts(accuracy_name(), predictions, references, ("yes", "no"))
    right = 100 * np.mean([p == r[0] for p, r in zip(predictions, references, strict=True)])
    assert score.value == score.low == score.high == pytest.approx(right)
    assert score.value == METRICS.get(accuracy_name())(predictions, references, MetricContext(("yes", "no"), ()))


def test_interval_has_the_width_theory_says():
    """Accuracy is binomial: the 95% interval is about 1.96 standard errors to each side."""
    predictions, references = accuracy_data()
    score = score_texts(accuracy_name(), predictions, references, ("yes", "no"), resamples=1000)
    p = score.value / 100
    half = 196 * (p * (1 - p) / 400) ** 0.5
    assert score.value - score.low == pytest.approx(half, rel=0.15)
    assert score.high - score.value == pytest.approx(half, rel=0.15)
    assert score == score_texts(accuracy_name(), predictions, references, ("yes", "no"), resamples=1000), "repeatable"


def test_interval_covers_the_truth_about_95_times_of_100():
    covered = 0
    for seed in range(100):
        predictions, references = accuracy_data(rows=150, seed=seed)
        score = score_texts(accuracy_name(), predictions, references, ("yes", "no"), resamples=150)
        covered += score.low <= 70 <= score.high
    assert 86 <= covered <= 100


def test_groups_are_drawn_together():
    """Rows of a group that are right or wrong as one: the interval is that of the groups, wider by sqrt(group size)."""
    predictions, references = accuracy_data(rows=60, seed=2)
    many = [x for x in predictions for _ in range(9)], [x for x in references for _ in range(9)]
    groups = [f"g{i}" for i in range(60) for _ in range(9)]
    grouped = score_texts(accuracy_name(), *many, ("yes", "no"), groups, resamples=600)
    single = score_texts(accuracy_name(), *many, ("yes", "no"), resamples=600)
    base = score_texts(accuracy_name(), predictions, references, ("yes", "no"), resamples=600)
    assert grouped.value == single.value == base.value
    assert grouped.high - grouped.low == pytest.approx(base.high - base.low, rel=0.15)
    assert (grouped.high - grouped.low) / (single.high - single.low) == pytest.approx(3, rel=0.2)


def test_a_group_drawn_twice_counts_twice():
    """A group metric must see repeated draws as different groups, or a resample of n groups would hold fewer."""
    from cpeft.evaluation import scoring

    seen = []

    def spy(predictions, references, context):
        seen.append((len(predictions), len(set(context.groups)), len(context.groups)))
        return 0.0

    original = scoring.METRICS
    scoring.METRICS = {"spy": Metric(compute=spy)}
    try:
        score_texts("spy", list("abcdef"), [("x",)] * 6, (), ["p", "p", "q", "q", "r", "r"], resamples=20)
    finally:
        scoring.METRICS = original
    assert seen[0] == (6, 3, 6)
    assert all(entry == (6, 3, 6) for entry in seen[1:])


@pytest.mark.parametrize(("said", "value"), [("no", 0), ("yes", 100)])
@pytest.mark.parametrize("metric", ["accuracy", "exact_match", "squad_em", "squad_f1"])
def test_all_right_or_all_wrong_is_not_certain(metric, said, value):
    """Wilson's interval of a proportion: z = 1.96, (n p + z² / 2 ± ...) / (n + z²), z² / (n + z²) wide at either end."""
    for rows in (1, 20, 200):
        score = score_texts(metric, [said] * rows, [("yes",)] * rows, ("yes", "no"), resamples=50)
        width = 100 * 1.959964**2 / (rows + 1.959964**2)
        bounds = (0, width) if value == 0 else (100 - width, 100)
        assert (score.value, score.low, score.high) == pytest.approx((value, *bounds), abs=1e-4)
    assert score_texts(metric, [said], [("yes",)]).low == value, "no interval was asked for"


def test_groups_that_are_all_right_count_once_each():
    """Rows of a question depend on each other: eight rows of two questions are two units."""
    groups = ["a"] * 4 + ["b"] * 4
    for metric in ("accuracy", "multirc_em"):
        score = score_texts(metric, ["yes"] * 8, [("yes",)] * 8, ("no", "yes"), groups, resamples=50)
        assert (score.low, score.high) == pytest.approx((100 * 2 / (2 + 1.959964**2), 100), abs=1e-4)


def test_what_is_a_mean_says_so_itself(monkeypatch):
    """A metric of a user's own gets the interval by declaring it, whatever it is called; F1 is no mean and never does."""
    metrics = dict(METRICS.items())
    own = metric_of_rows(mean_over="row", low=0.0, high=1.0)(lambda predictions, references, context: 0.0)
    monkeypatch.setattr("cpeft.evaluation.scoring.METRICS", {"mine": own})
    assert score_texts("mine", ["a"] * 20, [("b",)] * 20, resamples=9).high == pytest.approx(0.161, abs=0.001)
    with pytest.raises(ValueError, match="no bounds"):
        metric_of_rows("mine", mean_over="row", high=math.inf)
    assert {name for name, known in metrics.items() if known.mean_over is None} >= {
        "f1",
        "macro_f1",
        "matthews",
        "pearson",
    }
    assert metrics["multirc_em"].mean_over == "group"


def test_nothing_to_score():
    score = score_texts(accuracy_name(), [], [], ("yes", "no"), resamples=10)
    assert (score.value, score.low, score.high) == (0, 0, 0)
