"""What a prompt starts from, and the formulas that say so."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpeft.errors import ConfigError, CpeftError, PromptError, PromptMismatch
from cpeft.options.prompt import PromptOptions
from cpeft.prompts.formula.parse import Formula, parse_formula
from cpeft.prompts.formula.tree import FRESH, Call, Fresh, Name, names
from cpeft.prompts.init import Vocabulary, initial_prompt
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt

V, D, P = 50, 16, 6
TABLE = torch.randn(V, D, generator=torch.Generator().manual_seed(0)) * 7
WORDS = {"yes": [10], "no": [11, 12], "very": [13], "good": [14]}
VOCABULARY = Vocabulary(TABLE, lambda text: [i for word in text.split() for i in WORDS.get(word, [])])
PROMPTS = {
    n: SoftPrompt(torch.full((P, D), float(i)), Provenance(run=n)) for i, n in enumerate(["mnli", "a/b.c@2", "qnli"])
}


def start(init, length=P, seed=0, labels=("yes", "no"), vocab_range=(0, 4999)):
    options = PromptOptions(length=length, init=init, vocab_range=vocab_range)
    return initial_prompt(options, VOCABULARY, np.random.default_rng(seed), labels, PROMPTS.__getitem__)


def ids_of(rows):
    """Which row of the table each prompt row is."""
    found = [(row == TABLE).all(1).nonzero().flatten().tolist() for row in rows]
    assert all(len(matches) == 1 for matches in found)
    return [matches[0] for matches in found]


def test_vocab_draws_distinct_ids_from_the_range():
    for seed in range(20):
        ids = ids_of(start("vocab", vocab_range=(10, 15), seed=seed))
        assert sorted(ids) == [10, 11, 12, 13, 14, 15]  # the last id is included
    assert ids_of(start("vocab", seed=1)) != ids_of(start("vocab", seed=2))
    assert ids_of(start("vocab", seed=1)) == ids_of(start("vocab", seed=1))
    assert len(set(ids_of(start("vocab", length=V)))) == V  # 0..4999 is cut to the table
    with pytest.raises(ConfigError, match=r"\[10, 14\] holds 5 ids, the prompt has 6 rows"):
        start("vocab", vocab_range=(10, 14))


def test_random_has_the_scale_of_the_table():
    rows = start("random", length=4000)
    scale = float(TABLE.pow(2).mean().sqrt())
    assert float(rows.pow(2).mean().sqrt()) == pytest.approx(scale, rel=0.02)
    assert abs(float(rows.mean())) < 0.02 * scale
    assert rows.dtype == torch.float32
    assert torch.equal(start("random"), start("random"))
    assert not torch.equal(start("random"), start("random", seed=1))


def test_text_is_repeated_or_cut():
    assert ids_of(start('text("very good")')) == [13, 14] * 3
    assert ids_of(start("text('no very good')", length=2)) == [11, 12]
    with pytest.raises(ConfigError, match="no tokens"):
        start('text("???")')


def test_labels_are_mean_rows_then_a_vocabulary_sample():
    rows = start("labels")
    torch.testing.assert_close(rows[0], TABLE[10])
    torch.testing.assert_close(rows[1], (TABLE[11] + TABLE[12]) / 2)
    assert len(set(ids_of(rows[2:]))) == P - 2
    assert start("labels", length=1).shape == (1, D)
    torch.testing.assert_close(start("labels", length=2), rows[:2])
    with pytest.raises(ConfigError, match="closed label set"):
        start("labels", labels=())


def test_names_and_means():
    assert torch.equal(start("qnli"), PROMPTS["qnli"].weight)
    assert float(start("mean(mnli, a/b.c@2, qnli)").mean()) == pytest.approx(1.0)
    assert float(start("mean(mnli, mean(qnli, qnli))").mean()) == pytest.approx(1.0)
    half = start("mean(vocab, mnli)")
    torch.testing.assert_close(half * 2, start("vocab"))


def test_prompts_that_do_not_fit_are_errors():
    with pytest.raises(PromptError, match=r"'qnli' has 6 rows, prompt.length is 5"):
        start("qnli", length=5)
    PROMPTS["wide"] = SoftPrompt(torch.zeros(P, D + 1), Provenance(run="wide"))
    try:
        with pytest.raises(PromptMismatch, match=r"'mnli' and 'wide'.*16 and 17"):
            start("mean(mnli, wide)")
        with pytest.raises(PromptMismatch, match=r"'wide'.*17.*16"):
            start("wide")
    finally:
        del PROMPTS["wide"]


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("vocab", Fresh("vocab")),
        ('"vocab"', Name("vocab")),
        (" mnli ", Name("mnli")),
        ("'a b(c)'", Name("a b(c)")),
        ("sst-2", Name("sst-2")),
        ('text("a, b)")', Fresh("text", "a, b)")),
        ("mean(a)", Call("mean", (Name("a"),))),
        ("mean( a , mean(b,random) )", Call("mean", (Name("a"), Call("mean", (Name("b"), Fresh("random")))))),
        ("stage/rte@2", Name("stage/rte@2")),
    ],
)
def test_formulas(text, tree):
    assert parse_formula(text).tree == tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a prompt name is missing"),
        ("mean()", "a prompt name is missing"),
        ("mean(a,)", "a prompt name is missing"),
        ("mean(a", r"'\)' is missing"),
        ("mean(a b)", r"'\)' is missing"),
        ("a b", "did not expect 'b'"),
        ("mean(a))", r"did not expect '\)'"),
        ("a ; b", r"unexpected ';' at 1"),
        ('text("a', "unexpected '\"'"),
        ("text(a, b)", "one quoted text"),
        ("max(a, b)", r"unknown function 'max'; use cross, mean"),
    ],
)
def test_formula_errors_say_where(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_formula(text)
    assert f"'{text}'" in str(caught.value)


NAME = st.from_regex(r"[A-Za-z0-9_][\w/.@-]{0,8}", fullmatch=True).filter(lambda n: n not in FRESH)
QUOTED = st.text(st.characters(blacklist_characters="\"'", blacklist_categories=("Cs",)), max_size=8)
TREE = st.recursive(
    st.one_of(NAME.map(Name), QUOTED.map(lambda t: Fresh("text", t)), st.sampled_from(FRESH).map(Fresh)),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda parts: Call("mean", tuple(parts))),
    max_leaves=6,
)


def render(tree) -> str:
    if isinstance(tree, Name):
        return tree.value
    if isinstance(tree, Fresh):
        return f'text("{tree.text}")' if tree.kind == "text" else tree.kind
    return f"mean({', '.join(map(render, tree.parts))})"


@given(TREE)
@settings(max_examples=150, deadline=None)
def test_every_formula_reads_back(tree):
    assert parse_formula(render(tree)).tree == tree
    text = render(tree)
    assert len(set(names(tree))) == len(names(tree))
    assert all(name in text for name in names(tree))


@given(st.text("abv(),\"' @/.*-+", max_size=15))
@settings(max_examples=200, deadline=None)
def test_any_other_text_is_one_kind_of_error(text):
    try:
        formula = parse_formula(text)
    except CpeftError as error:
        assert isinstance(error, ConfigError)  # noqa: PT017 (either outcome is fine, another error is not)
    else:
        assert isinstance(formula, Formula)
