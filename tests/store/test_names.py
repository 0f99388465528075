"""Only the room `store` spells the names of a run's files."""

import ast
from pathlib import Path

import pytest

from cpeft.store import run_folder
from tiny import SRC

ROOT = Path(SRC) / "cpeft"
NAMES = {part.name for part in vars(run_folder.RunFolder).values() if isinstance(part, run_folder._Part)} - {
    "method",
    "prompts",
}
NAMES |= {run_folder.METHOD_CARD, run_folder.METHOD_STATE, "dtype.json", "checkpoint.safetensors"}


def spelled(tree: ast.AST) -> list[str]:
    """The names in a module's strings, but for its docstrings."""
    docs = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in docs]
    return [text for text in texts if isinstance(text, str) and any(name in text for name in NAMES)]


def test_the_check_itself_finds_names():
    assert {"config.toml", "metrics.jsonl", "predictions.parquet", "result.json", "failed.json"} <= NAMES
    assert spelled(ast.parse('"""Of `result.json`."""\npath = folder / "result.json"')) == ["result.json"]
    assert spelled(ast.parse('path = f"{folder}/failed.json"')) == ["/failed.json"]


@pytest.mark.parametrize("room", sorted(path.name for path in ROOT.iterdir() if path.name not in ("store", "assets")))
def test_no_other_room_spells_them(room):
    place = ROOT / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place] * (place.suffix == ".py")
    found = {str(file.relative_to(ROOT)): spelled(ast.parse(file.read_text(encoding="utf-8"))) for file in files}
    assert {file: texts for file, texts in found.items() if texts} == {}
