"""The model inside the package: it loads by name, is what its card says, and answers its own prefixes on rows it never saw."""

import json
from pathlib import Path

import pytest
import torch

import cpeft
from cpeft.data.options import DataOptions
from cpeft.evaluation.task_data import task_data
from cpeft.models.named_models import ASSETS, MODELS
from cpeft.models.places import model_identity
from cpeft.options.model import ModelOptions
from cpeft.study.recipe.settings import located_model
from cpeft.tasks import mini

FOLDER = ASSETS / "mini"
pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason="no embedded model in this checkout; tools/build_mini makes it"
)


@pytest.fixture(scope="module")
def lm():
    return cpeft.load_lm("mini")


def test_it_is_a_small_t5_with_its_own_vocabulary(lm) -> None:
    assert type(lm.model).__name__ == "T5ForConditionalGeneration"
    assert lm.encoder_decoder
    assert lm.text.positions is None
    assert (FOLDER / "model.safetensors").stat().st_size <= 20e6
    assert 7_000 <= len(lm.tokenizer) <= 9_000
    assert len(lm.tokenizer) == lm.model.config.vocab_size
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    assert sum(parameter.numel() for parameter in lm.model.parameters()) == MODELS.get("mini").parameters
    assert lm.model.config.model_type == MODELS.get("mini").family


def test_weights_are_bfloat16_without_padding_or_duplicates(lm) -> None:
    stored = json.loads((FOLDER / "config.json").read_text())
    assert stored["dtype"] == "bfloat16"
    numbers = sum(parameter.numel() for parameter in lm.model.parameters())
    assert (FOLDER / "model.safetensors").stat().st_size < 2 * numbers * 1.01


def test_its_card_says_what_it_was_made_from() -> None:
    card = (FOLDER / "README.md").read_text()
    for word in ("public-domain", "squad", "snli", "CC BY-SA", "steps", "cannot"):
        assert word in card


def test_text_survives_the_tokenizer(lm) -> None:
    text = "the old baker can't come: 12.5 loaves, he said (twice)."
    ids = lm.tokenizer(text)["input_ids"]
    assert ids[-1] == lm.tokenizer.eos_token_id
    assert lm.text.decode(ids) == text


def test_the_name_is_known_by_its_weights_and_not_shadowed(tmp_path: Path) -> None:
    (tmp_path / "mini").mkdir()
    options = ModelOptions(name="mini", dtype="float32", device="cpu")
    assert located_model(options, tmp_path) == options
    assert MODELS.get("mini").folder == FOLDER
    assert len(model_identity(options)["name"]) == 64


@pytest.mark.parametrize("task", mini.SOURCES)
def test_its_own_prefixes_work_on_held_out_rows(lm, task: str) -> None:
    """Greedy answers to test rows beat the best constant by more than their sampling error."""
    data = task_data(task, None, DataOptions(limit_test=150, limit_train=16, limit_validation=16), 0, lm)
    method = cpeft.train(lm, task, method={"name": "no_prompt"}, data={"limit_train": 16, "limit_validation": 16})
    score = cpeft.evaluate(method, task, limit_test=150)["accuracy"]
    assert score.low > data.best_constant()


def test_bfloat16_and_float32_give_the_same_answers(lm) -> None:
    texts = [f"topic text: {place} rain is expected" for place in ("in the south", "over the hills")]
    batch = lm.tokenizer(texts, return_tensors="pt", padding=True)
    float32 = cpeft.load_lm("mini", dtype="float32").model.generate(**batch, max_new_tokens=4)
    half = cpeft.load_lm("mini", dtype="bfloat16").model.generate(**batch, max_new_tokens=4)
    assert torch.equal(float32, half)
