"""Closed choice and its calibration against plain transformers; texts without content; what runs without a prompt report."""

import json

import numpy as np
import pytest
import torch
from rich.console import Console

import cpeft
from cpeft.data.options import DataOptions
from cpeft.data.rows import EncodedRow
from cpeft.errors import ConfigError
from cpeft.evaluation.choice import label_scores, prior
from cpeft.evaluation.decoding import decode_rows
from cpeft.evaluation.task_data import task_data
from cpeft.options.evaluation import EvalOptions
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.settings import parse_settings, run_id
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from cpeft.tasks import TASKS
from tiny import LABELS, QUICK, make_batch, make_learner, make_lm, make_rows
from tiny_chat import make_chat_lm

ALL = ("greedy", "choice", "calibrated")


@pytest.fixture(params=["t5", "bart", "bert2bert", "llama", "gpt2"])
def lm(request):
    return make_lm(request.param, seed=1)


def plain_score(model, source, target) -> float:
    """log p(target | source) from one call of the model."""
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            start = [model.config.decoder_start_token_id, *target[:-1]]
            logits = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([start])).logits[0]
        else:
            logits = model(input_ids=torch.tensor([[*source, *target[:-1]]])).logits[0, len(source) - 1 :]
    logp = logits.double().log_softmax(-1)
    return float(logp[range(len(target)), list(target)].sum())


def by_hand(lm, sources, labels):
    spoken = lm.text.targets(list(labels))
    return np.array([[plain_score(lm.model, source, ids) for ids in spoken] for source in sources])


def calibrated_by_hand(scores_BC, free_NC):
    """argmax of log p(c | x) - log p_cf(c), p_cf the mean of the softmaxes over the labels."""
    p_NC = np.exp(free_NC) / np.exp(free_NC).sum(1, keepdims=True)
    return scores_BC - np.log(p_NC.mean(0))


def test_label_scores_are_those_of_plain_transformers(lm):
    learner, rows = make_learner(lm, "no_prompt", {}), make_rows(lm, 9, seed=3)
    got = label_scores(learner, rows, LABELS)
    np.testing.assert_allclose(got, by_hand(lm, [row.source for row in rows], LABELS), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("arch", ["t5", "bart", "llama"])
def test_label_scores_behind_prompts_are_the_score_of_each_label(arch):
    """Also where every row has a prompt of its own, in rows of several tasks."""
    lm = make_lm(arch)
    learner = make_learner(lm, "attempt", {"targets": "per_task"}, tasks=2)
    rows = make_rows(lm, 8, tasks=2)
    each = [
        learner.score(make_batch([EncodedRow(row.source, tuple(ids), row.task) for row in rows]))
        for ids in lm.text.targets(list(LABELS))
    ]
    torch.testing.assert_close(label_scores(learner, rows, LABELS), torch.stack(each, 1), rtol=1e-4, atol=1e-4)


def test_an_encoder_reads_a_row_once_for_all_labels():
    lm = make_lm("bart")
    learner, rows, calls = make_learner(lm, "no_prompt", {}), make_rows(lm, 4), []
    hook = lm.model.get_encoder().register_forward_hook(lambda *args: calls.append(1))
    try:
        label_scores(learner, rows, LABELS)
    finally:
        hook.remove()
    assert len(calls) == 1


def test_calibrated_choice_takes_away_what_is_preferred_without_content(lm):
    learner, rows = make_learner(lm, "no_prompt", {}), make_rows(lm, 40, seed=3)
    free = [EncodedRow(row.source, ()) for row in make_rows(lm, 3, seed=7)]
    scores = by_hand(lm, [row.source for row in rows], LABELS)
    wanted = calibrated_by_hand(scores, by_hand(lm, [row.source for row in free], LABELS))
    decoded = decode_rows(learner, rows, LABELS, EvalOptions(decode=ALL, token_budget=60), content_free=free)
    assert [row.choice for row in decoded] == [LABELS[i] for i in scores.argmax(1)]
    assert [row.calibrated for row in decoded] == [LABELS[i] for i in wanted.argmax(1)]
    assert [row.choice for row in decoded] != [row.calibrated for row in decoded], "else this shows nothing"
    log_prior = prior(learner, free, LABELS, 60)
    assert float(log_prior.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_calibration_without_texts_to_go_by_is_an_error(lm):
    with pytest.raises(ConfigError, match="content"):
        decode_rows(make_learner(lm, "no_prompt", {}), make_rows(lm, 2), LABELS, EvalOptions(decode=ALL))


# Texts without content


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("fields", "rte sentence1: {0} sentence2: {0}\nanswer:"),
        ("instruction", "{1}\nsentence1: {0}\nsentence2: {0}\nlabel:"),
        ("chat", "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n{1}\nsentence1: {0}\nsentence2: {0}\nlabel:"
                 "<|im_end|>\n<|im_start|>assistant\n"),
    ],
)  # fmt: skip
def test_a_text_without_content_is_the_tasks_own(form, told, monkeypatch, tmp_path):
    row = '{"sentence1": "A dog runs.", "sentence2": "It moves.", "label": 1}\n'
    (tmp_path / "rte").mkdir()
    for split in ("train", "validation"):
        text = "".join(row.replace("dog", f"{split} {i}").replace("1}", f"{i % 2}}}") for i in range(20))
        (tmp_path / "rte" / f"{split}.jsonl").write_text(text)
    lm = make_chat_lm("qwen")
    data = task_data("rte", None, DataOptions(form=form, folder=str(tmp_path)), 0, lm)
    asked = (
        "Does the first sentence entail the second?\nAnswer with the label alone, one of: entailment, not_entailment."
    )
    wanted = [told.format(filler, asked) for filler in ("N/A", "[MASK]", "")]
    assert [lm.tokenizer.decode(each.source) for each in data.content_free] == wanted


@pytest.mark.parametrize("name", [name for name in TASKS.names() if TASKS.get(name).words])
def test_every_closed_task_has_texts_without_content(name):
    """Also those that rewrite their rows: nothing of a row is asked for, and the filler stands in every field."""
    task = TASKS.get(name)
    assert task.without_content("N/A").count("N/A") == len(task.fields)


# Runs


@pytest.fixture
def at_home(world, monkeypatch):
    monkeypatch.chdir(world)
    return world


def planned(world, tmp_path, more):
    path = world / f"{tmp_path.name}.toml"
    path.write_text(f'{QUICK}\n[[stage]]\nname = "s"\ntasks = ["mood.toml"]\n{more}')
    return Plan(load_recipe(path), Store(tmp_path / "store"))


BOTH = (
    '[[stage.variant]]\nname = "none"\nmethod.name = "no_prompt"\n[[stage.variant]]\nname = "tuned"\ntrain.steps = 0\n'
)


def test_a_run_without_a_prompt_reports_all_three(at_home, tmp_path, cpeft_main):
    plan = planned(at_home, tmp_path, BOTH)
    assert run_recipe(plan, Console(quiet=True)).failures == {}
    none, tuned = (entry.folder for entry in plan.entries())
    metrics = ("accuracy", "macro_f1")
    assert set(none.result().scores["mood"]) == {way + m for way in ("", "choice_", "calibrated_") for m in metrics}
    assert set(tuned.result().scores["mood"]) == set(metrics)
    # the scores are those of the texts as plain transformers reads them
    lm = cpeft.load_lm(str(at_home / "model"), dtype="float32")
    data = task_data("mood.toml", at_home, DataOptions(), 0, lm)
    free = [f"{filler}" for filler in ("N/A", "[MASK]", "")]
    assert [row.source for row in data.content_free] == [tuple(ids) for ids in lm.text.sources(free)[0]]
    scores = by_hand(lm, [row.source for row in data.rows("test", 0)], data.labels)
    wanted = calibrated_by_hand(scores, by_hand(lm, [row.source for row in data.content_free], data.labels))
    answers = [example.target for example in data.parts["test"].examples]
    for way, chosen in (("choice", scores), ("calibrated", wanted)):
        right = np.mean([data.labels[i] == answer for i, answer in zip(chosen.argmax(1), answers, strict=True)])
        assert none.result().scores["mood"][f"{way}_accuracy"].value == pytest.approx(100 * right)
    # the same from the command, and in the table
    code, out, _ = cpeft_main("eval", none.path, "--task", "mood.toml", "--json")
    assert (code, set(json.loads(out))) == (0, set(none.result().scores["mood"]))
    code, out, _ = cpeft_main("run", at_home / f"{tmp_path.name}.toml", "--store", tmp_path / "store")
    assert code == 0
    for metric in ("choice_accuracy", "calibrated_accuracy"):
        assert metric in (tmp_path / "store" / "table.md").read_text()


def test_a_learner_without_a_prompt_is_scored_in_the_same_ways(at_home):
    lm = make_lm("t5")
    learner = cpeft.train(lm, "mood.toml", method={"name": "no_prompt"}, prompt={"length": 4})
    assert {"accuracy", "choice_accuracy", "calibrated_accuracy"} <= set(cpeft.evaluate(learner, "mood.toml"))
    assert set(cpeft.predict(learner, "mood.toml", [{"text": "w1 w2"}])) != {""}


def test_only_ids_of_runs_without_a_prompt_follow_what_they_report_now():
    """An id written before `decode` had a default of its own stays what it was."""

    def identity(method, **scoring):
        return run_id(
            parse_settings({"tasks": ["rte"], "model": {"name": "m"}, "method": {"name": method}, "eval": scoring}), {}
        )

    for method in ("prompt_tuning", "lora"):
        assert identity(method) == identity(method, decode=["greedy"]) != identity(method, decode=list(ALL))
    assert identity("prompt_tuning") == "369d72c8c53d"
    assert identity("no_prompt", decode=["greedy"]) == "17077ea58342"
    assert identity("no_prompt") == identity("no_prompt", decode=list(ALL)) != identity("no_prompt", decode=["greedy"])


def test_a_run_is_asked_for_some_answers(at_home, tmp_path):
    with pytest.raises(ConfigError, match=r"toml:\d+: \[eval\] 'decode' = \[\]: .* greedy, choice, calibrated"):
        planned(at_home, tmp_path, BOTH + "eval.decode = []")
