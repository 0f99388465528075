"""Text is data: no row spells a control token, and all other text keeps the ids that the tokenizer gives it."""

import os
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast, T5Config

from cpeft.models.named_models import ASSETS
from cpeft.models.row_tokens import STEM, RowTokens
from cpeft.models.text import TextCodec
from tiny_chat import FAMILIES, make_chat_lm, make_chat_tokenizer

SHARED = Path(os.environ.get("CPEFT_DATA", "/nowhere")).parent
PLAIN = [
    "a simple review", "", "  two  spaces ", "Příliš žluťoučký kůň 日本", "line\nbreak\ttab", "great film. ’ “quotes” 1234567",
    "x [INST] y", "a<b>c </sx", "| < > / { }", f"{STEM} {STEM}x",
]  # fmt: skip


def word_level():
    """A tokenizer that looks up whole words, control tokens among them."""
    words = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "</s>", "good", "bad", "</", "s", ">", "<"])}
    raw = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    raw.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", eos_token="</s>", unk_token="[UNK]")


def merged():
    """A tokenizer whose merges make its own end token out of letters."""
    words = ["<pad>", "<", "e", ">", "<e", "<e>", "g", "o", "d", " "]
    raw = Tokenizer(BPE({word: i for i, word in enumerate(words)}, [("<", "e"), ("<e", ">")]))
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<e>")


TOKENIZERS = {
    "mini": lambda: AutoTokenizer.from_pretrained(ASSETS / "mini"), "byt5": ByT5Tokenizer, "word level": word_level,
    "merged": merged, **{family: lambda family=family: make_chat_tokenizer(family) for family in FAMILIES},
    "t5": lambda: AutoTokenizer.from_pretrained(SHARED / "t5-tokenizer", eos_token="</s>", pad_token="<pad>"),
    "minilm": lambda: AutoTokenizer.from_pretrained(SHARED / "models" / "minilm-seq2seq"),
    "tinystories": lambda: AutoTokenizer.from_pretrained(SHARED / "models" / "tinystories-656k"),
}  # fmt: skip
PLACES = {"t5": "t5-tokenizer", "minilm": "models/minilm-seq2seq", "tinystories": "models/tinystories-656k"}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    if request.param in PLACES and not (SHARED / PLACES[request.param]).exists():
        pytest.skip(f"no {PLACES[request.param]} beside CPEFT_DATA")
    return TOKENIZERS[request.param]()


@pytest.mark.parametrize("special", [True, False])
def test_ordinary_text_keeps_its_ids(tokenizer, special):
    assert RowTokens(tokenizer).ids(PLAIN, special) == tokenizer(PLAIN, add_special_tokens=special)["input_ids"]


def test_no_text_spells_a_control_token(tokenizer):
    tokens = RowTokens(tokenizer)
    spelled = [*tokens.control, *(f"good {token} bad" for token in tokens.control), "".join(tokens.control)]
    spelled += [f"{STEM}{token}{STEM}z" for token in tokens.control]
    unknown = tokenizer.convert_tokens_to_ids(tokenizer.unk_token or "<unk>")  # what an unknown character is
    known = set(tokens.control.values()) - {unknown}
    assert known & {id for row in tokenizer(spelled)["input_ids"] for id in row}  # as the tokenizer itself reads them
    for text, row in zip(spelled, tokens.ids(spelled), strict=True):
        assert not known & set(row), text


def test_what_stands_around_a_row_writes_control_tokens(tokenizer):
    tokens = RowTokens(tokenizer)
    for token, place in tokens.control.items():
        (row,) = tokens.ids(["good bad"], before=f"{token}good ", behind=f" {token}")
        assert row == tokenizer(f"{token}good good bad {token}", add_special_tokens=False)["input_ids"], token
        assert row.count(place) >= 2


def test_added_words_that_are_no_control_tokens_stay_words():
    tokenizer = make_chat_tokenizer("qwen")
    tokenizer.add_tokens(["warmheartedly", AddedToken("<|tool|>", special=False)])
    texts = ["it ends warmheartedly well", "a <|tool|> b"]
    assert RowTokens(tokenizer).ids(texts) == tokenizer(texts, add_special_tokens=False)["input_ids"]
    (row,) = RowTokens(tokenizer, "the template writes <|tool|>").ids(["a <|tool|> b"])
    assert tokenizer.convert_tokens_to_ids("<|tool|>") not in row


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_cannot_leave_its_turn(family):
    """Between what the template writes a row's text has no control token, and the template has those it always has."""
    codec = make_chat_lm(family).codec("chat")
    spoken = "".join(codec.tokens.control)
    (plain, row), _ = codec.sources(["good", f"good {spoken} bad"])
    control = set(codec.tokens.control.values())
    assert [id for id in row if id in control] == [id for id in plain if id in control]
    for text, target in zip(("good", f"good {spoken}"), codec.targets(["good", f"good {spoken}"]), strict=True):
        assert target[-1] == codec.end, text
        assert not control & set(target[:-1]), text


def test_a_target_cannot_end_early():
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / "mini")
    codec = TextCodec(tokenizer, T5Config(decoder_start_token_id=0))
    (row,) = codec.targets(["good </s> bad <pad>"])
    assert row.count(codec.end) == 1
    assert row[-1] == codec.end
    assert codec.decode(row) == "good </s> bad <pad>"


def test_a_cue_may_write_a_control_token():
    lm = make_chat_lm("qwen")
    start = lm.tokenizer.convert_tokens_to_ids("<|im_start|>")
    (row, cut), count = lm.text.sources(["a <|im_start|> b", "good " * 50], cue="<|im_start|>:", limit=40)
    assert (row.count(start), cut.count(start), count) == (1, 1, 1)
    assert cut[-2] == start
