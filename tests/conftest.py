"""Run-time checks of the annotated shapes and types, and fixtures over the tiny models of `tiny.py`.

`tests/` is on the import path because this file lies in it, so test files import their helpers with `from tiny import ...`.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook

# Before the first import of cpeft. Left out: options classes (pydantic checks those) and callbacks, whose annotations
# name classes that exist for type checkers only.
CHECKED = ("prompts", "methods", "models", "data.encode", "data.stream", "evaluation")
CHECKED_TRAIN = ("engine", "member", "optim", "checkpoint", "workers")
install_import_hook(
    [f"cpeft.{room}" for room in CHECKED] + [f"cpeft.training.{room}" for room in CHECKED_TRAIN], "beartype.beartype"
)

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)

from tiny import ARCHITECTURES, make_lm  # noqa: E402


@pytest.fixture(params=ARCHITECTURES)
def arch(request: pytest.FixtureRequest) -> str:
    """Each of the architectures the conformance suites run on."""
    return request.param


@pytest.fixture
def lm(arch: str):
    """A tiny frozen model in float32."""
    return make_lm(arch)


@pytest.fixture
def lm64(arch: str):
    """The same model in float64, where a true equality holds to about 1e-12."""
    return make_lm(arch, double=True)


@pytest.fixture
def saved_model(arch: str, tmp_path):
    """A folder that `load_lm` reads."""
    source = make_lm(arch)
    source.model.save_pretrained(tmp_path / "model")
    source.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model", source
