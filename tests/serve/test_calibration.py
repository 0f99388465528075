"""The temperature of label probabilities, and a server that abstains."""

import json
import shutil

import httpx
import numpy as np
import pytest

from cpeft.errors import ConfigError
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.serve.catalogue import Catalogue
from cpeft.serve.prompts import load_one
from cpeft.use.calibration import FILE, calibrate, expected_error, fit


def test_the_temperature_undoes_a_known_one():
    rng = np.random.default_rng(0)
    true_NC = rng.normal(size=(4000, 3)) * 2
    p_NC = np.exp(true_NC) / np.exp(true_NC).sum(1, keepdims=True)
    truth_N = np.array([rng.choice(3, p=p) for p in p_NC])
    found = fit("task", true_NC * 4.0, truth_N)
    assert found.temperature == pytest.approx(4.0, rel=0.1)
    assert found.error_after < 0.03 < 0.1 < found.error_before
    assert found.rows == 4000


def test_expected_error():
    assert expected_error([[0.75, 1], [0.75, 1], [0.75, 1], [0.75, 0]]) == 0
    assert expected_error([[1.0, 0], [0.55, 1]]) == pytest.approx((1 + 0.45) / 2)


@pytest.fixture
def mood(shops, tmp_path):
    """A prompt and a task file with validation rows."""
    shutil.copytree(shops["t5"].model.parent / "a", tmp_path / "a")
    for start, split in enumerate(("train", "validation", "test")):
        rows = "\n".join(f"w{n} w{n + 1 + start},{n % 2}" for n in range(40))
        (tmp_path / f"{split}.csv").write_text(f"text,label\n{rows}\n")
    files = "".join(f'{split} = "{split}.csv"\n' for split in ("train", "validation", "test"))
    labels = '[labels]\n0 = "negative"\n1 = "positive"\n'
    (tmp_path / "mood.toml").write_text(f'name = "mood"\ntemplate = "{{text}}"\n{labels}[files]\n{files}')
    return tmp_path


def test_a_server_abstains_by_the_fitted_temperature(mood, serving, loaded, cpeft_main, shops):
    code, out, error = cpeft_main("calibrate", mood / "a", "--task", mood / "mood.toml")
    assert (code, "from 40 validation rows" in out) == (0, True), error
    found = json.loads((mood / "a" / FILE).read_text())
    lm, prompts = loaded["t5"]
    served = load_one(lm, "sure", mood / "a", shops["t5"].tasks[:1])
    assert served["sure"].temperature == found["temperature"]
    assert served["sure"].hash != prompts["a"].hash
    rows = [{"text": f"w{n} w{n + 1}"} for n in range(8)]
    with (
        serving(catalogue=Catalogue(lm, {**served, "a": prompts["a"]})) as running,
        running.client() as client,
        httpx.Client(base_url=running.url) as http,
    ):
        plain, sure = client.predict("a", rows), client.predict("sure", rows)
        ratio = [np.log(p["negative"] / p["positive"]) for p in (each.probabilities for each in plain)]
        scaled = [np.log(p["negative"] / p["positive"]) for p in (each.probabilities for each in sure)]
        assert np.allclose(scaled, np.array(ratio) / found["temperature"], atol=1e-4)
        bar = sorted(each.probabilities.get(each.answer, 0.0) for each in sure)[4]
        bar = min(max(bar, 0.01), 1.0)
        some = client.predict("sure", rows, min_probability=bar)
        expected = [each.answer if each.probabilities.get(each.answer, 0.0) >= bar else None for each in sure]
        assert [each.answer for each in some] == expected
        refused = http.post("/v1/predict", json={"prompt": "a", "rows": rows, "min_probability": 0.5})
        assert (refused.status_code, "cpeft calibrate" in refused.text) == (400, True)


def test_what_cannot_be_calibrated_is_said(mood, shops):
    with pytest.raises(ConfigError, match="no prompt folder"):
        calibrate(str(mood / "mood.toml"))
    few = (mood / "validation.csv").read_text().splitlines()[:11]
    (mood / "validation.csv").write_text("\n".join(few) + "\n")
    with pytest.raises(ConfigError, match="10 validation rows; 20 are needed"):
        calibrate(str(mood / "a"), str(mood / "mood.toml"))
    assert SoftPrompt.load(mood / "a").length
    assert not (mood / "a" / FILE).exists()
