"""`similarity.json`: what is written comes back, absent keys stay absent, and damage is named."""

import json

import pytest

from cpeft.errors import DataError
from cpeft.store.similarity import SavedSimilarity, read_similarity, write_similarity

TABLES = {
    "what": "prompts", "rows": "live", "tasks": ["mood"],
    "prompts": [
        {"name": "mood@0", "task": "mood", "origin": "ab", "rows": 4, "norm": 2.0, "travelled": 1.0, "travelled/origin": 0.5},
        {"name": "own", "task": "mood", "origin": "", "rows": 4, "norm": 3.0, "travelled": None, "travelled/origin": None},
    ],
    "matrices": {"cka": [[1.0, None], [None, 1.0]]}, "by_task": {"cka": {"other": [[None]]}},
    "gaps": {"cka": {"gap": None, "pairs of tasks": 0}},
}  # fmt: skip
CARD = {
    "compare": ["sources/*", "own"],
    "compared": [{"name": "mood@0", "hash": "12", "run": "sources/mood", "prompt": "mood", "seed": 0},
                 {"name": "own", "hash": "34"}],
    "cards": [TABLES],
}  # fmt: skip


def test_a_comparison_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "similarity.json"
    assert read_similarity(path) is None
    write_similarity(path, SavedSimilarity.model_validate(CARD))
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == CARD
    found = read_similarity(path)
    assert found == SavedSimilarity.model_validate(CARD)
    (card,) = found.cards
    assert (card.repeated, card.matrices["cka"][0], card.prompts[0].share) == (True, (1.0, None), 0.5)
    assert str(card.gaps["cka"]["pairs of tasks"]) == "0"


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({**CARD, "cards": [{"what": "prompts"}]})])
def test_what_is_no_comparison_is_named(tmp_path, text):
    path = tmp_path / "similarity.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"{path}: not the result of a comparison"):
        read_similarity(path)
