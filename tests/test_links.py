"""Every relative link of every Markdown page leads to a file, and to a heading if it names one; every study is in the index."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN = ("docs", "examples", "recipes", "src", "studies", "tests", "tools", "benchmarks")  # folders of the repository
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in OWN for page in (ROOT / folder).rglob("*.md"))])
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)


def links(page: Path) -> list[str]:
    """The relative targets of a page."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    targets = [one or other for one, other in LINK.findall(text)]
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    found = []
    for target in links(page):
        file, _, anchor = target.partition("#")
        place = page.parent / file if file else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in headings(place)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    assert broken(page) == []


def test_every_study_is_in_the_index():
    pages = {page.relative_to(ROOT / "studies").as_posix() for page in (ROOT / "studies").glob("*/README.md")}
    assert pages == {target for target in links(ROOT / "studies" / "README.md") if target.endswith("/README.md")}
    assert {page.partition("/")[0] for page in pages} == {
        place.name for place in (ROOT / "studies").iterdir() if place.is_dir() and place.name != "__pycache__"
    }


def test_broken_links_are_found(tmp_path):
    (tmp_path / "there.md").write_text("# A heading, `code`\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#a-heading-code) [c](gone.md) ![d](gone.svg) [e](there.md#gone) [f](https://x.org)\n"
        "`[g](code.md)`\n[h]: gone.txt\n```\n[i](code.md)\n```\n"
    )
    assert broken(page) == ["gone.md", "gone.svg", "there.md#gone", "gone.txt"]
