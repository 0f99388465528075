"""The generated tasks: the same rows every time, none twice, balanced, not solved by counting words, kin that share nothing."""

import random
import re
from collections import Counter
from functools import lru_cache
from importlib import import_module

import pytest
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer
from sklearn.linear_model import LogisticRegression
from tools.mini_tasks.__main__ import family
from tools.mini_tasks.family import Family
from tools.mini_tasks.family import rows as written
from tools.mini_tasks.grammar import Grammar, sentence

from cpeft.config import digest
from cpeft.data.resolve import load_tables
from cpeft.tasks import TASKS, mini
from cpeft.tasks.mini import NAMES, SIZES

FAMILIES: dict[str, Family] = {f"mini/{name}": family(name) for name in NAMES}
CLOSED = [name for name, family in FAMILIES.items() if family.words]
PAIRS = [(kin, source) for kin in mini.KIN for source in mini.SOURCES]


@lru_cache(maxsize=32)
def rows(name: str) -> dict[str, list[dict[str, object]]]:
    """The rows of a task by split, as the package has them."""
    return {split: table.to_pylist() for split, table in load_tables(TASKS.get(name)).tables.items()}


def texts(name: str, split: str) -> list[str]:
    return [TASKS.get(name).source(row) for row in rows(name)[split]]


def content_words(name: str) -> set[str]:
    """Words of all rows but closed-class ones; prefix and field labels belong to the template."""
    words = {
        word
        for split in SIZES
        for row in rows(name)[split]
        for _, column in FAMILIES[name].fields
        for word in re.findall(r"[a-z]+", row[column].lower())
    }
    return {w for w in words if len(w) > 1} - ENGLISH_STOP_WORDS


def templates(name: str) -> set[str]:
    """Every rule of the module's grammars, without slots; rules of a word or two are lexicon."""
    grammars = [
        value
        for value in vars(import_module(f"tools.mini_tasks.{name.removeprefix('mini/')}")).values()
        if isinstance(value, Grammar)
    ]
    rules = (
        re.sub(r"\{[^{}]+\}", "_", rule).lower() for g in grammars for options in g.rules.values() for rule in options
    )
    return {rule for rule in rules if len(re.findall(r"[a-z]+", rule)) > 2}


def test_at_least_ten_families_and_their_roles() -> None:
    assert len(FAMILIES) >= 10
    assert set(FAMILIES) == {name for name in TASKS.names() if name.startswith("mini/")}
    assert set(mini.SOURCES) | set(mini.KIN) | set(mini.FAR) <= set(FAMILIES)
    assert len(mini.SOURCES) == 4
    assert len(mini.KIN) == 2


@pytest.mark.parametrize("name", FAMILIES)
def test_the_grammar_writes_the_rows_of_the_package(name: str) -> None:
    random.seed(random.random())  # a generator that took the global one would differ
    assert written(FAMILIES[name]) == rows(name)
    assert digest(rows(name)) == load_tables(TASKS.get(name)).fingerprint


@pytest.mark.parametrize("name", FAMILIES)
def test_splits_share_no_row_and_have_their_sizes(name: str) -> None:
    splits = rows(name)
    keys = [FAMILIES[name].key(row) for split in splits.values() for row in split]
    assert len(set(keys)) == len(keys)
    assert {split: len(content) for split, content in splits.items()} == SIZES


@pytest.mark.parametrize("name", CLOSED)
def test_labels_are_balanced(name: str) -> None:
    for split in rows(name).values():
        counts = Counter(row["label"] for row in split)
        assert set(counts) == set(range(len(FAMILIES[name].words)))
        assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_render(name: str) -> None:
    task = TASKS.get(name)
    for row in rows(name)["test"][:200]:
        example = task.example(row)
        assert not re.search(r"[{}]|  | [.,]", example.source), example.source
        assert len(example.source.split()) <= 70
        if task.kind == "extraction":
            assert example.target in row["passage"]


def test_counting_words_does_not_solve_half_of_them() -> None:
    scores = {}
    for name in CLOSED:
        counter = CountVectorizer()
        train = counter.fit_transform(texts(name, "train"))
        model = LogisticRegression(max_iter=1000).fit(train, [row["label"] for row in rows(name)["train"]])
        answers = [row["label"] for row in rows(name)["test"]]
        scores[name] = model.score(counter.transform(texts(name, "test")), answers)
    assert sum(score < 0.95 for score in scores.values()) >= len(FAMILIES) / 2, scores


@pytest.mark.parametrize(("kin", "source"), PAIRS)
def test_kin_share_nothing_with_a_source(kin: str, source: str) -> None:
    assert not content_words(kin) & content_words(source)
    assert not templates(kin) & templates(source)
    assert not set(FAMILIES[kin].words) & set(FAMILIES[source].words)
    assert not {label for label, _ in FAMILIES[kin].fields} & {label for label, _ in FAMILIES[source].fields}


def test_a_grammar_names_the_slot_without_rules() -> None:
    with pytest.raises(KeyError, match="'noun'"):
        Grammar({"text": ["the {noun}"]})


def test_given_symbols_hold_everywhere_below() -> None:
    grammar = Grammar({"text": ["{who} and {pair}"], "pair": ["{who} again"], "who": ["x", "y"]})
    assert grammar.expand("text", random.Random(0), who="z") == "z and z again"


def test_sentences_get_their_article_and_end_mark() -> None:
    assert sentence("a apple fell on a bench") == "An apple fell on a bench."
    assert sentence("who is it?") == "Who is it?"
