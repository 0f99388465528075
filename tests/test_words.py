"""Plain English: words that confused readers stay out of the code and its documentation, and a class name has one meaning.

Names are held to a list of words, texts (comments, docstrings, messages, templates, pages) to a list of phrases.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
CODE = HERE / "src" / "cpeft"
NAMES = {"told", "tell", "tells", "said", "heard", "spoken"}
PHRASES = re.compile(
    r"""
    \bgo(es|ne)?\ on\ (from|by\ themselves|with)\b | \bsame\ (command|call)(\ after\ a\ kill)?\ goes\ on\b
    | \bwork(s|ed)?\ ((the|a|its)\ \w+\ |it\ )?off\b | \bmend(s|ed|ing)?\b | \bunawares\b | \bnoughts?\b | \balike\ the\b
    | \bof\ anyone's\b | \bis\ no\ list\ of\b | \bnames\ no\ prompt\b | \bdoes\ without\b | \bseed\ \S+\ to\ keep\ to\b
    | \bhas\ no\ place\ here\b | \bno\ knowledge\ of\ the\ task\b | \bits\ like\ in\ the\ other\b | \btake\ v\(
    | \bback\ to\ ours\b | \bwere\ told\b | \bis\ told\b | \btold\ to\b | \bsaid\ once\b | \bbe\ said\ of\b | \bunless\ told\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
SKIPS = 136  # `# fmt: skip`: tables and commands that read better by hand


def folder(path: Path) -> str:
    """The room of a file of the package, or `docs`."""
    return path.relative_to(CODE).parts[0].removesuffix(".py") if path.is_relative_to(CODE) else "docs"


def wrong_names(code: str) -> list[str]:
    """Identifiers with a word of the list in them."""
    found = []
    for node in ast.walk(ast.parse(code)):
        names = (getattr(node, key, None) for key in ("id", "attr", "name", "arg", "asname"))
        found += [name for name in names if isinstance(name, str) and NAMES & set(name.lower().split("_"))]
    return found


def findings() -> dict[str, list[str]]:
    """What is found, by folder."""
    found = defaultdict(list)
    pages = [
        *(HERE / "docs").rglob("*.md"),
        *(HERE / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ]
    for path in sorted([*CODE.rglob("*.py"), *CODE.rglob("*.html"), *pages]):
        text = path.read_text(encoding="utf-8")
        words = wrong_names(text) if path.suffix == ".py" else []
        words += [" ".join(match[0].split()) for match in PHRASES.finditer(text)]
        found[folder(path)] += [f"{path.relative_to(HERE)}: {word}" for word in words]
    return found


def classes() -> dict[str, list[str]]:
    """The modules of each class name."""
    found = defaultdict(list)
    for path in sorted(CODE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(path.relative_to(CODE)))
    return found


FOUND = findings()


def test_the_check_itself_finds_words():
    assert wrong_names("def _told(x):\n    heard_BL = x  # told") == ["_told", "heard_BL"]
    assert PHRASES.search("the same command goes on")
    assert PHRASES.search("each works the store off")
    assert not PHRASES.search("recommended; it works offline; a command goes on")


@pytest.mark.parametrize("room", sorted(FOUND))
def test_words(room):
    assert not FOUND[room], "\n".join(FOUND[room])


def test_a_class_name_has_one_meaning():
    assert {name: places for name, places in classes().items() if len(places) > 1} == {}


def test_no_more_lines_are_kept_from_the_formatter():
    assert sum(path.read_text(encoding="utf-8").count("# fmt: skip") for path in CODE.rglob("*.py")) <= SKIPS
