"""Figures and tables of a report as files: all of them, as the page has them, and made without torch."""

import re
from pathlib import Path

import pytest
from fabricate import write_addition, write_crossing, write_shots
from test_page import write_run, write_store

from cpeft.report.page import Report
from cpeft.report.render.drawing import Picture
from cpeft.report.render.files import write_files
from tiny import run_python

LABEL = "50% of $x_1$ & {more} | <b> ~^#\\"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Report, Path]:
    """A report with every section and its files."""
    store = write_store(tmp_path_factory.mktemp("files") / "store")
    for write in (write_crossing, write_addition, write_shots):
        write(store)
    write_run(store, LABEL, ["wic"], 0)
    report = Report.of(store)
    write_files(report.parts, store / "figures")
    return report, store / "figures"


def test_every_figure_and_table_is_there_and_listed(made):
    (report, folder), html = made, made[0].html
    pictures = [part for part in report.parts if isinstance(part, Picture)]
    names = {path.name for path in folder.iterdir()}
    assert sum(len(picture.panels) for picture in pictures) == html.count('<svg class="plot') > 10
    drawn = [picture.name for picture in pictures]
    assert {path.stem for path in folder.glob("*.svg")} == {path.stem for path in folder.glob("*.pdf")} == set(drawn)
    assert len(set(drawn)) == len(drawn)
    tables = html.count("<table") - html.count('<table class="matrix"') - 1  # the answers come from the script
    assert len(list(folder.glob("*.tex"))) == tables > 12
    assert {path.stem for path in folder.glob("*.tex")} == {path.stem for path in folder.glob("*.md")} - {"index"}
    assert {"crossing-1.tex", "addition-1.md", "addition-scales-1.svg", "shots-rte-float32.svg", "map-0.pdf"} <= names
    listed = re.findall(r"\]\(([^)]+)\)", (folder / "index.md").read_text())
    assert {*listed, "index.md"} == names
    assert len(listed) == len(set(listed))


def test_markdown_says_what_the_page_says(made):
    text = (made[1] / "crossing-1.md").read_text()
    assert text.startswith(
        "Vectors of sources across origins: test scores in per cent, frozen model in float32\n\n| Task |"
    )
    assert "| rte accuracy | 82.00 ± 2.00 (3) | 80.33 ± 3.33 (6) | 50.00 (1) |" in text
    tests = (made[1] / "crossing-tests-1.md").read_text()
    assert "| rte accuracy | −1.67 | [−5.5, 2.1] | −0.62 | 3 |" in tests
    assert "|---|---:|---:|" in text
    sums = (made[1] / "addition-1.md").read_text()
    assert "| rte + cb | 0: 0.5, 1: 1 | rte accuracy | 47.00 | 55.00 | 85.0 | [21.5, 148.5] | 2 | 47.50 |" in sums
    assert "|  |  | cb accuracy | 63.00 |" in sums  # under a cell of two rows
    assert "| Mean over tasks |  |  |  |  | 95.0 |" in sums
    for path in made[1].glob("*.md"):
        lines = [re.sub(r"\\\\|\\\|", "", line) for line in path.read_text().splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1, path


def test_latex_has_as_many_columns_in_every_row(made):
    for path in made[1].glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        columns = len(re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1])
        body = text[text.index("\\toprule") : text.index("\\bottomrule")]
        for line in body.splitlines():
            if line.endswith(r"\\"):
                spans = [int(span) - 1 for span in re.findall(r"\\multicolumn\{(\d+)\}", line)]
                assert len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) == columns, (path, line)
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        assert rf"\label{{tab:{path.stem}}}" in text
    scores = (made[1] / "scores-1.tex").read_text()
    said = r"50\% of \$x\_1\$ \& \{more\} \textbar{} \textless{}b\textgreater{} "
    assert said + r"\textasciitilde{}\textasciicircum{}\#\textbackslash{}" in scores
    assert r"\multicolumn{6}{l}{rte accuracy} &  \\" in scores


def test_the_same_page_gives_the_same_files(made, tmp_path):
    report, folder = made
    files = write_files(report.parts, tmp_path / "deep" / "again")
    assert {path.name: path.read_bytes() for path in files} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_the_command_needs_no_torch(made, tmp_path):
    store = made[1].parent
    code = (
        f"import sys; sys.argv = ['cpeft', 'report', {str(store)!r}, '--out', {str(tmp_path / 'page.html')!r}, "
        f"'--figures', {str(tmp_path / 'figures')!r}]\nfrom cpeft import cli\n"
        "try: cli.main()\nexcept SystemExit as leaving: assert not leaving.code\n"
        "print('torch' in sys.modules)"
    )
    done = run_python(code)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    count = len(list((tmp_path / "figures").iterdir()))
    assert f"figures and tables: {count} files in" in done.stdout
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {path.name for path in made[1].iterdir()}
