"""Sections register themselves, render on every store, know nothing of one another, and users' packages add theirs."""

import ast
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from fabricate import write_addition, write_crossing, write_shots, write_try
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from test_page import write_run, write_store
from test_transfer import write_transfer

from cpeft.report import page as page_module
from cpeft.report.page import write_report
from cpeft.report.section import SECTIONS, Page, Section
from cpeft.report.study import Study
from cpeft.store.run_folder import Store

REPORT = Path(page_module.__file__).parent
ALWAYS = {"answer", "scores", "making", "reading"}
OWN = """
from cpeft.report.section import section

@section("runs", "Number of runs", 15)
def runs(page):
    return {"count": len(page.study.runs)}
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, Path]:
    """An empty store, one of a single run, and one with something for every section."""
    root = tmp_path_factory.mktemp("stores")
    (root / "empty").mkdir()
    write_run(root / "one", "plain", ["rte"], 0)
    full = write_store(root / "full")
    for write in (write_transfer, write_crossing, write_addition, write_shots):
        write(full)
    write_try(full, "plain", 0, 50.0)
    spent = {
        "kwh": 1.5,
        "kg": 0.6,
        "intensity": 0.4,
        "country": None,
        "scope": "process",
        "sensors": [],
        "notes": [],
        "codecarbon": "3",
    }
    write_run(full, "plain", ["rte"], 5, energy=spent)
    return {name: root / name for name in ("empty", "one", "full")}


@pytest.mark.parametrize("name", SECTIONS.names())
@pytest.mark.parametrize("kind", ["empty", "one", "full"])
def test_every_section_renders_or_is_absent(stores, kind, name):
    one = Study.of(Store(stores["one"]))
    beside = {"paper": "attempt", "other": one} if kind == "full" else {}
    section = SECTIONS.get(name)
    values = section(Page(Study.of(Store(stores[kind])), **beside))
    if values is None:
        assert kind != "full"
        assert kind == "empty" or name not in ALWAYS
        return
    folders = [REPORT / "templates", section.folder]
    templates = Environment(loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined)
    assert templates.get_template(f"{name}.html").render(values).strip()


def test_orders_differ_and_templates_stand_beside_their_functions():
    sections = [section for _, section in SECTIONS.items()]
    assert len({section.order for section in sections}) == len(sections) > 15
    assert all((section.folder / f"{section.name}.html").exists() for section in sections)


def test_no_section_imports_another():
    for path in (REPORT / "sections").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert [module for module in modules if module.startswith("cpeft.report.sections")] == [], path


def test_a_package_of_a_user_adds_a_section(stores, tmp_path, monkeypatch):
    (tmp_path / "counting.py").write_text(OWN)
    (tmp_path / "runs.html").write_text("<p>{{ count }} runs</p>")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("runs", "counting:runs", "cpeft.sections")
    monkeypatch.setattr("cpeft.registry.entry_points", lambda group: [point] if group == "cpeft.sections" else [])
    monkeypatch.setattr(SECTIONS, "_items", dict(SECTIONS.items()))
    monkeypatch.setattr(SECTIONS, "_loaded", False)
    html = write_report(stores["one"], tmp_path / "page.html").read_text(encoding="utf-8")
    assert isinstance(SECTIONS.get("runs"), Section)
    assert html.index("<main>") < html.index("<p>1 runs</p>") < html.index('<h2 id="scores-title">')
