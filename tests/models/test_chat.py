"""Chat templates of several families: what training and generation see is what the template writes, and loss is where it
should be."""

import pytest
import torch
from torch.nn import functional as F

from cpeft.data.options import DataOptions
from cpeft.data.rows import EncodedRow
from cpeft.errors import ConfigError, TooLong
from cpeft.evaluation.decoding import decode_rows, label_matcher, mean_loss
from cpeft.evaluation.row_text import example_of, frame_of, opening
from cpeft.metrics.base import NO_LABEL
from cpeft.models.chat import ChatCodec
from cpeft.models.fast.packed_llama import PackedLlama
from cpeft.models.prompted import PromptedLM, pooled_losses
from cpeft.options.evaluation import EvalOptions
from cpeft.tasks import TASKS
from tiny import LABELS, P, make_batch, make_lm, make_method, teach
from tiny_chat import FAMILIES, make_chat_lm, make_chat_tokenizer

CHAT = DataOptions(form="chat")
RTE = TASKS.get("rte")
ROWS = [{"sentence1": f"The w{i} is positive.", "sentence2": f"It is w{i} w{2 * i}.", "label": i % 2} for i in range(6)]
TODAY = {"date_string": "26 Jul 2024"}


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request):
    return request.param


@pytest.fixture(scope="module")
def lm(family):
    return make_chat_lm(family)


def encode_sources(task, texts, options, codec):
    rows, cut, _ = frame_of(task, options, codec).encode(texts, options.max_source)
    return rows, cut


def encoded(lm, rows=ROWS, options=CHAT, task=RTE):
    """Rows of a task as `task_data` encodes them."""
    codec, examples = lm.codec(options.form), [example_of(task, row, options) for row in rows]
    sources, _ = encode_sources(task, [example.source for example in examples], options, codec)
    targets = codec.targets([example.target for example in examples])
    return examples, [EncodedRow(tuple(s), tuple(t)) for s, t in zip(sources, targets, strict=True)]


def turns(example, cue="\nlabel:"):
    return [{"role": "user", "content": example.source + cue}, {"role": "assistant", "content": example.target}]


# Rendering


def test_text_is_the_templates(lm, family):
    """Source and target together are `apply_chat_template` of both turns, token by token, to the end of the answer's turn."""
    for example, row in zip(*encoded(lm), strict=True):
        whole = lm.tokenizer.apply_chat_template(turns(example), return_dict=False, **TODAY)
        ids = [*row.source, *row.target]
        told = len(ids) - (family == "untold")  # where the template ends no turn, the end of text does
        assert ids[:told] == whole[:told]
        assert lm.tokenizer.decode(whole[told:]).strip() == ""
        assert lm.codec("chat").decode(row.target) == example.target


def test_generation_sees_the_prefix_of_training(lm, family):
    """The source is the template with its generation prompt, as far as the template has one of its own making."""
    for example, row in zip(*encoded(lm), strict=True):
        asked = lm.tokenizer.apply_chat_template(
            turns(example)[:1], add_generation_prompt=True, return_dict=False, **TODAY
        )
        if family == "thinking":  # the empty block of thoughts is the template's, not the answer's
            assert list(row.source[: len(asked)]) == asked
            assert lm.tokenizer.decode(row.source).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
        else:
            assert list(row.source) == asked


def test_special_tokens_stand_once(lm):
    _, rows = encoded(lm)
    begin = lm.tokenizer.bos_token_id
    assert all(row.source.count(begin) == (begin is not None) for row in rows)
    assert all(row.target.count(lm.codec("chat").end) == 1 for row in rows)
    pad = lm.tokenizer.pad_token_id
    assert pad == lm.codec("chat").end or pad not in rows[0].source, (
        "a template may end earlier turns with what fills rows"
    )


GOLDEN = {
    ("llama", "rte"): (
        {"sentence1": "A dog runs.", "sentence2": "It moves.", "label": 1}, DataOptions(form="chat", labels="spaced"),
        "<|begin|><|start_header_id|>system<|end_header_id|>\n\nToday is 26 Jul 2024<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nDoes the first sentence entail the second?\n"
        "Answer with the label alone, one of: entailment, not entailment.\n"
        "sentence1: A dog runs.\nsentence2: It moves.\nlabel:<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n", "not entailment<|eot_id|>",
    ),
    ("qwen", "trec"): (
        {"text": "How far ?", "coarse_label": 5}, DataOptions(form="chat", cue="\nclass: "),
        "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nWhat kind of answer does a question want?\n"
        "Answer with the label alone, one of: Abbreviation, Entity, Description, Person, Location, Quantity.\n"
        "text: How far ?\nclass:<|im_end|>\n<|im_start|>assistant\n", "Quantity<|im_end|>",
    ),
    ("deepseek", "squad_v2"): (
        {"question": "Who won?", "context": "Ann won.", "answers": {"text": ["Ann"], "answer_start": [0]}}, CHAT,
        "<|begin|>User: Answer the question with words of the context alone. "
        'Where the context holds no answer, say "unanswerable".\n'
        "question: Who won?\ncontext: Ann won.\nanswer:\n\nAssistant:", " Ann<|end|>",
    ),
}  # fmt: skip


@pytest.mark.parametrize("key", GOLDEN, ids="-".join)
def test_golden_text(key):
    lm, (row, options, source, target) = make_chat_lm(key[0]), GOLDEN[key]
    _, [ids] = encoded(lm, [row], options, TASKS.get(key[1]))
    assert (lm.tokenizer.decode(ids.source), lm.tokenizer.decode(ids.target)) == (source, target)


def test_the_day_does_not_change_the_text():
    tokenizer = make_chat_tokenizer("llama")
    for asked in (
        "{{ strftime_now('%d %b %Y') }}",
        "{% if strftime_now is defined %}{{ strftime_now('%d') }}{% endif %}",
    ):
        tokenizer.chat_template = asked + "{% for m in messages %}{{ m['content'] }}{% endfor %}"
        assert ChatCodec(tokenizer, make_lm("llama").model.config).before == "26 Jul 2024"


def test_the_plain_instruction_needs_no_template():
    lm = make_chat_lm("llama")
    lm.tokenizer.chat_template = None
    options = DataOptions(form="instruction")
    examples, rows = encoded(lm, options=options)
    assert lm.tokenizer.decode(rows[0].source) == f"<|begin|>{examples[0].source}\nlabel:"
    assert lm.tokenizer.decode(rows[0].target) == " entailment<|end|>"
    assert opening(RTE, DataOptions()) == ""


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "has no chat template"),
        ("{% for m in messages %}{{ m['role'] }}{% endfor %}", "must contain the user message"),
        ("{{ messages[1]['content'] + messages[0]['content'] }}", "must contain the user message and then the answer"),
        ("{{ messages[0]['content'] * 2 + messages[1]['content'] }}", "exactly once each"),
        ("{{ raise_exception('only tools') }}", "fails on one user's .* only tools"),
    ],
)
def test_templates_that_cannot_be_used_say_why(template, reason):
    lm = make_chat_lm("qwen")
    lm.tokenizer.chat_template = template
    with pytest.raises(ConfigError, match=reason):
        lm.codec("chat")
    assert lm.codec("instruction") is lm.codec("fields") is lm.text


def test_answers_that_melt_into_the_template_are_an_error():
    lm = make_chat_lm("deepseek")
    lm.tokenizer.chat_template = "{{ messages[0]['content'] + ' not_' + messages[1]['content'] }}"
    with pytest.raises(ConfigError, match="joins answers with the chat template's text"):
        lm.codec("chat").targets(["entailment"])


def test_encoder_decoders_have_no_turns_and_no_loss_on_their_input():
    lm = make_lm("t5")
    lm.tokenizer.chat_template = FAMILIES["qwen"][0]
    with pytest.raises(ConfigError, match="decoder-only"):
        lm.codec("chat")
    with pytest.raises(ConfigError, match=r"data.loss = 'sequence'"):
        PromptedLM(lm, make_method(lm, "prompt_tuning", {}), DataOptions(loss="sequence"))


# Truncation


def test_a_cut_takes_the_fields_alone(lm, family):
    """Instruction, cue and template stay whole; the end of the last field goes; what was cut is counted."""
    whole = encoded(lm)[1][0].source
    text = lm.tokenizer.decode(whole)
    codec, sources = lm.codec("chat"), [example.source for example in encoded(lm)[0]]
    limit = len(whole) - 4
    rows, cut = encode_sources(RTE, sources, DataOptions(form="chat", max_source=limit), codec)
    assert cut == sum(len(row.source) > limit for row in encoded(lm)[1]) > 0
    assert len(rows[0]) == limit
    short = lm.tokenizer.decode(rows[0])
    kept, tail = text.split("sentence1:")[0], text[text.index("\nlabel:") :]
    assert short.startswith(kept + "sentence1: The w0")
    assert short.endswith(tail)
    middle = short[: -len(tail)]
    assert text.startswith(middle)
    assert len(middle) < len(text[: -len(tail)])


def test_a_limit_without_room_for_the_text_is_an_error(lm):
    sources = [example.source for example in encoded(lm)[0]]
    with pytest.raises(TooLong, match=r"data.max_source = 30 leaves nothing of the text: .* take \d+ tokens"):
        encode_sources(RTE, sources, DataOptions(form="chat", max_source=30), lm.codec("chat"))
    rows, cut = encode_sources(RTE, sources, DataOptions(form="chat", max_source=None), lm.codec("chat"))
    assert cut == 0
    assert [tuple(row) for row in rows] == [row.source for row in encoded(lm)[1]]


# Loss


def learner_of(lm, method="prompt_tuning", **data):
    return PromptedLM(lm, make_method(lm, method, {}), DataOptions(form="chat", **data))


def by_hand(learner, row, first):
    """Negative log-probability of a row's tokens from place `first` on, behind the prompt, from plain logits."""
    ids = torch.tensor([[*row.source, *row.target]])
    source = torch.arange(ids.shape[1])[None] < len(row.source)
    prompt_BPD = learner.prompts(
        learner.lm.embed(ids[:, : len(row.source)]), source[:, : len(row.source)], torch.zeros(1).long()
    )
    seen = torch.cat([prompt_BPD.prompt_BPD, learner.lm.embed(ids)], 1)
    logits = learner.lm.model(inputs_embeds=seen).logits[0, P - 1 : -1]
    return float(F.cross_entropy(logits[first:].float(), ids[0, first:], reduction="sum"))


@pytest.mark.parametrize("method", ["prompt_tuning", "attempt"])
def test_loss_is_on_the_answer_and_its_end_or_on_everything(lm, method):
    """The mask: exactly the answer with its end of turn, or every token from the first; padding of a batch bears none."""
    _, rows = encoded(lm)
    answer, everything = learner_of(lm, method), learner_of(lm, method, loss="sequence")
    with torch.no_grad():
        want = torch.tensor([[by_hand(answer, row, len(row.source)), by_hand(answer, row, 0)] for row in rows])
        got = torch.stack([learner.losses(make_batch(rows))[0] for learner in (answer, everything)], 1)
        assert len({len(row.source) for row in rows}) > 1
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-3)
        assert everything.score(make_batch(rows)).tolist() == answer.score(make_batch(rows)).tolist()
        tokens = [sum(len(row.target) for row in rows), sum(len(row.source) + len(row.target) for row in rows)]
        for learner, sums, count in zip((answer, everything), want.sum(0).tolist(), tokens, strict=True):
            assert mean_loss(learner, rows, 300) == pytest.approx(sums / count, rel=1e-4)
        pooled = pooled_losses([everything, everything], [rows[:2], rows[2:]])
        torch.testing.assert_close(torch.cat([loss for loss, _ in pooled]), want[:, 1], rtol=1e-4, atol=1e-3)


def test_the_prompt_stands_before_everything_in_the_packed_form(lm, monkeypatch):
    learner, (_, [row, *_]) = learner_of(lm), encoded(lm)
    assert lm.packed is not None
    seen, hidden = [], PackedLlama.hidden
    monkeypatch.setattr(PackedLlama, "hidden", lambda self, x_ND, *more: seen.append(x_ND) or hidden(self, x_ND, *more))
    learner.losses(make_batch([row]))
    prompt_PD = next(iter(learner.export().values())).weight
    told = lm.embed(torch.tensor([*row.source, *row.target[:-1]]))
    assert torch.equal(seen[0], torch.cat([prompt_PD, told]))


def test_the_prompt_stands_before_everything(lm, monkeypatch):
    """Virtual tokens first, then the template's own begin token; `generate` asks the prompt once, then the text."""
    monkeypatch.setitem(vars(lm), "packed", None)
    learner, (_, [row, *_]) = learner_of(lm), encoded(lm)
    assert learner.lm.keeps_prompt  # settled before passes are counted
    seen = []
    base = lm.model.base_model
    hook = base.register_forward_pre_hook(lambda m, a, kw: seen.append(kw["inputs_embeds"]), with_kwargs=True)
    try:
        learner.losses(make_batch([row]))
        learner.generate(torch.tensor([row.source]), max_new_tokens=1)
    finally:
        hook.remove()
    prompt_PD = next(iter(learner.export().values())).weight
    trained, once, text = seen
    assert once.shape[:2] == (1, P)
    for embeds in (trained, torch.cat([once, text], 1)):
        assert torch.equal(embeds[0, :P], prompt_PD)
        assert torch.equal(embeds[0, P : P + len(row.source)], lm.embed(torch.tensor(row.source)))


def test_float32_prompt_over_a_bfloat16_chat_model(family):
    lm = make_chat_lm(family)
    lm.model.to(torch.bfloat16)
    learner, (_, rows) = learner_of(lm), encoded(lm)
    loss = learner.losses(make_batch(rows))[0]
    loss.sum().backward()
    [weight] = [p for p in learner.parameters() if p.requires_grad]
    assert loss.dtype == weight.dtype == weight.grad.dtype == torch.float32
    assert bool((weight.grad != 0).any(1).all())


# Generation


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_nothing(lm, side):
    learner, (_, rows) = learner_of(lm, "attempt"), encoded(lm)
    width, pad = max(len(row.source) for row in rows), lm.text.pad
    ids, mask = [], []
    for row in rows:
        gap = width - len(row.source)
        ids.append([*[pad] * gap, *row.source] if side == "left" else [*row.source, *[pad] * gap])
        mask.append([*[0] * gap, *[1] * len(row.source)] if side == "left" else [*[1] * len(row.source), *[0] * gap])
    together = learner.generate(torch.tensor(ids), torch.tensor(mask), max_new_tokens=5, do_sample=False).tolist()
    for row, tokens in zip(rows, together, strict=True):
        alone = learner.generate(torch.tensor([row.source]), max_new_tokens=5, do_sample=False)[0].tolist()
        assert tokens[: len(alone)] == alone


@pytest.fixture(scope="module")
def talker():
    """A model that answers in the wrong case, with other words, or rightly, and ends its turn with a token that is not its
    end of text."""
    lm = make_chat_lm("llama", seed=1)
    _, rows = encoded(lm)
    said = ["Entailment", "NOT_ENTAILMENT", "entailment", "positive", "not_entailment", "very very good"]
    taught = [EncodedRow(row.source, tuple(t)) for row, t in zip(rows, lm.codec("chat").targets(said), strict=True)]
    teach(lm, taught, steps=120)
    return PromptedLM(lm, make_method(lm, "no_prompt", {}), CHAT), rows, said


def test_the_turn_ends_where_the_template_ends_it(talker):
    learner, rows, said = talker
    assert learner.text.end == learner.lm.tokenizer.convert_tokens_to_ids("<|eot_id|>") != learner.lm.text.end
    assert learner.lm.pads_left  # settled before passes are counted
    calls = []
    hook = learner.lm.model.register_forward_hook(lambda *args: calls.append(1))
    try:
        open_ended = [row.text for row in decode_rows(learner, rows, (), EvalOptions(max_new_tokens=40))]
    finally:
        hook.remove()
    assert open_ended == said
    assert len(calls) < 20, "rows end with their turn"


def test_published_matching(talker):
    """Equality in lower case, anything else is no label; rows end early without changing what they are."""
    learner, rows, said = talker
    labels = {label: label for label in RTE.labels()}
    texts = {}
    for rule in ("exact", "lower"):
        options, say = EvalOptions(match=rule), label_matcher(labels, rule)
        decoded = [row.text for row in decode_rows(learner, rows, tuple(labels), options)]
        texts[rule] = [say(text) for text in decoded]
        assert [text if text in labels else None for text in texts[rule]] == [
            say(text) if say(text) in labels else None for text in said
        ]
    assert [text in labels for text in texts["exact"]] == [False, False, True, False, True, False]
    assert texts["lower"] == ["entailment", "not_entailment", "entailment", NO_LABEL, "not_entailment", NO_LABEL]
    with pytest.raises(ConfigError, match="two labels are one in lower case"):
        label_matcher({"Yes": "Yes", "yes": "yes"}, "lower")


def test_closed_choice_among_whole_turns(talker):
    learner, rows, _ = talker
    options = EvalOptions(decode=("greedy", "choice"))
    chosen = [row.choice for row in decode_rows(learner, rows, RTE.labels(), options)]
    scores = [learner.score(make_batch([EncodedRow(row.source, tuple(ids)) for row in rows]))
              for ids in learner.text.targets(RTE.labels())]  # fmt: skip
    assert chosen == [RTE.labels()[i] for i in torch.stack(scores, 1).argmax(1).tolist()]
    assert set(LABELS).isdisjoint(chosen)
