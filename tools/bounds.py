"""Runs tests with the lowest and with the newest versions of the dependencies that `pyproject.toml` allows.

python -m tools.bounds lowest|newest [--python 3.12] [PYTEST ARGUMENTS ...]

uv resolves the versions (`--resolution lowest-direct`, or `highest`) and installs them into an environment of its own,
build/lowest or build/newest; the virtual environment of the checkout is left alone.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
EXTRAS = ("carbon", "gguf", "peft", "rouge", "serve", "slurm")
WITH = ("pip", "pytest", "hypothesis", "beartype", "openai")  # what the tests need, at any version
TESTS = (
    "tests/prompts",
    "tests/stats",
    "tests/metrics",
    "tests/archive",
    "tests/store",
    "tests/serve",
    "tests/models",
    "tests/evaluation",
    "tests/baselines",
    "tests/test_cli.py",
    "tests/test_options.py",
    "tests/training/test_engine_and_runs.py",
    "tests/report/test_frame.py",
)


def environment(which: str, python: str) -> Path:
    """The interpreter of a fresh environment with these versions."""
    folder = ROOT / "build" / which
    folder.parent.mkdir(exist_ok=True)
    versions = folder.with_suffix(".txt")
    resolved = ["--resolution", RESOLUTIONS[which], "--python-version", python, "--quiet", "--output-file", versions]
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    _uv("pip", "compile", ROOT / "pyproject.toml", *extras, "--upgrade", "--no-header", *resolved)
    _uv("venv", "--quiet", "--clear", "--python", python, folder)
    interpreter = folder / "bin" / "python"
    _uv("pip", "install", "--quiet", "--python", interpreter, "--requirement", versions, *WITH)
    return interpreter


def _uv(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "uv", *map(str, arguments)], check=True, cwd=ROOT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=RESOLUTIONS)
    parser.add_argument("--python", default="3.11")
    chosen, arguments = parser.parse_known_args()
    interpreter = environment(chosen.which, chosen.python)
    _uv("pip", "list", "--python", interpreter)
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    return subprocess.run([interpreter, "-m", "pytest", "-q", *(arguments or TESTS)], cwd=ROOT, env=env).returncode


if __name__ == "__main__":
    sys.exit(main())
