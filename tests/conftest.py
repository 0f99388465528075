"""Run-time checks of the annotated shapes and types, and fixtures over the tiny models of `tiny.py`.

`tests/` is on the import path because this file lies in it, so test files import their helpers with `from tiny import ...`.
"""

import os
import signal
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["PIP_NO_INDEX"] = "1"  # no test downloads a model
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
from hypothesis import settings  # noqa: E402

torch.set_num_threads(1)
settings.register_profile("shared machine", deadline=None)  # nothing is timed in tests
settings.load_profile("shared machine")

from rich.console import Console  # noqa: E402

from cpeft import cli  # noqa: E402
from cpeft.errors import MissingModel  # noqa: E402
from cpeft.models.loading import FrozenLM, load_lm  # noqa: E402
from cpeft.store.run_folder import Store  # noqa: E402
from cpeft.study.recipe.recipe import load_recipe  # noqa: E402
from cpeft.study.runner.plan import Plan  # noqa: E402
from cpeft.study.runner.worker import run_recipe  # noqa: E402
from tiny import ARCHITECTURES, make_lm, write_world  # noqa: E402


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables have the width of a log, whatever terminal the tests run in and whatever a library has set."""
    monkeypatch.delenv("COLUMNS", raising=False)


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


@pytest.fixture(scope="session")
def smollm2() -> FrozenLM:
    """The real chat model in float32, where `cpeft fetch smollm2` has brought it; else the test skips."""
    try:
        return load_lm("smollm2", dtype="float32", device="cpu", fetch=False)
    except MissingModel as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """A folder with a tiny model, three tasks and a recipe; read only."""
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def finished(world, tmp_path_factory) -> Store:
    """The store of the finished study; read only."""
    store = Store(tmp_path_factory.mktemp("finished") / "store")
    summary = run_recipe(Plan(load_recipe(world / "study.toml"), store), Console(quiet=True))
    assert (summary.done, summary.failures, summary.blocked) == (16, {}, {})
    return store


@pytest.fixture
def cpeft_main(monkeypatch, capsys):
    """Call the command in this process: (exit code, standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["cpeft", *map(str, arguments)])
        monkeypatch.setattr(cli.base.console, "width", 200)
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        said = capsys.readouterr()
        return leaving.value.code or 0, said.out, said.err

    before = signal.getsignal(signal.SIGTERM)
    yield call
    signal.signal(signal.SIGTERM, before)
