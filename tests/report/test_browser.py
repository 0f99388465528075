"""The HTML report in a real browser: no console message, no request, and no sideways scrolling on a narrow screen.

A headless Chromium from PATH draws the page; without one these tests say so and skip. Each check is made on a bad page too,
so that it cannot pass by looking at nothing.
"""

import csv
import json
import re
import shutil
import subprocess
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
from fabricate import change, write_addition, write_crossing, write_many, write_shots, write_trial
from test_page import write_run, write_store
from test_transfer import write_transfer

from cpeft.report.page import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH (apt-get install chromium)")
pytestmark = [needs_browser, pytest.mark.slow]
OWN_HOSTS = ("google.com", "googleapis.com", "gvt1.com")  # what a fresh Chromium asks on its own, page or no page


def browse(page: Path, folder: Path) -> tuple[str, list[str], set[str]]:
    """The page as the browser sees it, what it wrote to the console, and the hosts it asked; names resolve to nothing."""
    log = folder / "net.json"
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
    named = {"user-data-dir": folder / "profile", "host-resolver-rules": "MAP * ~NOTFOUND", "virtual-time-budget": 5000,
             "log-net-log": log, "enable-logging": "stderr", "v": 0}  # fmt: skip
    command = [BROWSER, *flags, *(f"--{name}={value}" for name, value in named.items()), "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    hosts = {urlsplit(url).hostname or "" for url in re.findall(r'"url":"(\w+://[^"]+)"', log.read_text())}
    return done.stdout, console, {host for host in hosts if host and not host.endswith(OWN_HOSTS)}


def widths(page: Path, folder: Path, width: int) -> tuple[int, int]:
    """(inner width, scroll width) of a copy of the page with a measuring script, in a frame, because windows have a least
    width of 500."""
    html = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    told = "parent.postMessage([innerWidth, document.documentElement.scrollWidth], '*')"
    copy, frame = folder / "copy.html", folder / "frame.html"
    copy.write_text(html.replace("</body>", f"<script>onload = () => {told}</script></body>"), encoding="utf-8")
    frame.write_text(
        "<!doctype html><title>-</title><script>onmessage = e => document.title = JSON.stringify(e.data)</script>"
        f'<iframe src="{copy.name}" width="{width}" height="800" style="border: 0"></iframe>'
    )
    inner, scroll = json.loads(re.search(r"<title>(.*?)</title>", browse(frame, folder)[0])[1])
    return inner, scroll


def axe_findings(page: Path, folder: Path, dark: bool = False) -> dict[str, list[str]]:
    """What axe-core finds moderate, serious or critical on a copy of the page, without its policy: rule -> elements."""
    spec = find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core is not installed: pip install axe-core-python")
    html = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    if dark:  # headless Chromium takes its preference from no flag
        html = html.replace("(prefers-color-scheme: dark)", "all")
    run = """axe.run().then(found => { document.body.textContent = JSON.stringify(found.violations
      .filter(each => ["moderate", "serious", "critical"].includes(each.impact))
      .map(each => [each.id, each.nodes.slice(0, 5).map(node => node.html.slice(0, 200) + node.failureSummary)])); })"""
    axe, copy = Path(spec.origin).with_name("axe.min.js"), folder / "axe.html"
    copy.write_text(html.replace("</body>", f'<script src="{axe.as_uri()}"></script><script>{run}</script></body>'))
    said = re.search(r"<body[^>]*>(\[.*\])\s*</body>", browse(copy, folder)[0], flags=re.S)
    assert said, "axe-core did not finish"
    return dict(json.loads(unescape(said[1])))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A report with every section and long names in every place, all of it unfolded."""
    store = write_store(tmp_path_factory.mktemp("browser") / "a-store-with-a-rather-long-name-that-has-no-space-in-it")
    write_transfer(store)
    for seed in (0, 1):
        write_run(
            store,
            "a method with a very long label lr=0.00001 length=100",
            ["a_task_with_a_long_name"],
            seed,
            "another-long-stage",
        )
    for write in (write_crossing, write_addition, write_shots):
        write(store)
    other = tmp_path_factory.mktemp("other")
    write_run(other, "plain", ["rte"], 0)
    path = write_report(store, paper="attempt", other=other)
    path.write_text(path.read_text(encoding="utf-8").replace("<details>", "<details open>"), encoding="utf-8")
    return path


def test_a_bad_page_is_noticed(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<!doctype html><title>x</title><body><img src="http://example.invalid/x.png"><script>console.error("boo")</script>'
        '<div style="width: 900px">wide</div></body>'
    )
    _, console, hosts = browse(bad, tmp_path)
    assert any("boo" in line for line in console)
    assert hosts == {"example.invalid"}
    assert widths(bad, tmp_path, 400)[1] > 800


def test_axe_notices_a_bad_page(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text('<!doctype html><title>x</title><body><img src="x.png"><p style="color: #ccc">pale</p></body>')
    assert {"image-alt", "html-has-lang", "color-contrast", "region"} <= set(axe_findings(bad, tmp_path))


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(page, tmp_path, dark):
    assert axe_findings(page, tmp_path, dark) == {}


def test_the_console_stays_empty_and_nothing_is_asked_for(page, tmp_path):
    dom, console, hosts = browse(page, tmp_path)
    for title in (
        "Reproduce",
        "Task vectors across origins",
        "Sums of task vectors",
        "Few-shot curves",
        "Prompt similarity",
        "Beside published figures",
        "Beside another store",
        "Transfer",
    ):
        assert title in dom
    assert console == []
    assert hosts == set()


@pytest.mark.parametrize("width", [320, 400, 1280])
def test_the_page_does_not_scroll_sideways(page, tmp_path, width):
    assert widths(page, tmp_path, width) == (width, width)


def test_the_browser_reads_the_page_as_it_was_written(page, tmp_path):
    """No tag is moved or closed by the browser's repair of bad HTML: the same tags come back in the same order."""
    written = re.sub(r"<(style|script)>.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.S)
    bare = tmp_path / "bare.html"
    bare.write_text(written, encoding="utf-8")
    seen = browse(bare, tmp_path)[0]
    tags = re.compile(r"<(\w+)")
    assert [tag for tag in tags.findall(seen) if tag != "tbody"] == [t for t in tags.findall(written) if t != "tbody"]


def told_by(page: Path, folder: Path, script: str) -> dict[str, Any]:
    """What a script says that acts as a reader does, in a copy of the page without its policy; `told` is its answer."""
    html = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    copy = folder / "copy.html"
    act = f"onload = () => {{ const told = {{}}; {script} document.title = JSON.stringify(told); }}"
    copy.write_text(html.replace("</body>", f"<script>{act}</script></body>"), encoding="utf-8")
    dom, console, _ = browse(copy, folder)
    assert console == []
    return json.loads(unescape(re.search(r"<title>(.*?)</title>", dom)[1]))


SORT = """
  const heads = table => [...document.querySelectorAll(`${table} thead th`)];
  const press = (table, title) => heads(table).find(cell => cell.textContent.trim() === title).querySelector("button").click();
  const column = (table, title) => heads(table).findIndex(cell => cell.textContent.trim() === title);
  const texts = (table, title, rows = "tbody tr") => [...document.querySelectorAll(`${table} ${rows}`)].map(
    row => row.cells[column(table, title)].textContent.trim());
"""


def test_tables_sort(page, tmp_path):
    told = told_by(page, tmp_path, SORT + """
      const numbers = () => texts("#board-1", "Rank").map(parseFloat);
      told.before = numbers();
      press("#board-1", "Rank"); told.falling = numbers();
      press("#board-1", "Rank"); told.rising = numbers();
      press("#board-1", "Rank"); told.after = numbers();
    """)  # fmt: skip
    assert told["before"] == told["after"] != sorted(told["before"], reverse=True)
    assert told["falling"] == sorted(told["before"], reverse=True)
    assert told["rising"] == sorted(told["before"])


def test_scores_sort_within_each_task(tmp_path):
    """The head of a task and its majority class stay above; stages, which unsorted rows say once, are shown in all of them."""
    for task in ("rte", "cb", "wic"):
        for label, score in (("plain", 60.0), ("blend", 70.0), ("late", 50.0)):
            write_trial(tmp_path / "store", "few", label, 0, {task: score})
    told = told_by(write_report(tmp_path / "store"), tmp_path, SORT + """
      const title = "Mean and 95% interval";
      const parts = () => [...document.querySelectorAll(".scores tbody")].map(
        body => [...body.rows].map(row => row.className === "task" ? "task" : row.cells[2].textContent.slice(0, 5)));
      const hidden = () => [...document.querySelectorAll(".scores .again")].filter(
        cell => getComputedStyle(cell).opacity === "0").length;
      told.before = parts(); told.hidden = hidden();
      press(".scores", title); told.falling = parts(); told.shown = hidden();
    """)  # fmt: skip
    assert len(told["before"]) > 2
    assert any(part[2:] != sorted(part[2:], key=float, reverse=True) for part in told["before"])
    for before, part in zip(told["before"], told["falling"], strict=True):
        assert part[:2] == before[:2] == ["task", "47.50"]
        assert part[2:] == sorted(before[2:], key=float, reverse=True)
    assert told["hidden"] > told["shown"] == 0


def test_tables_are_filtered_and_saved(tmp_path):
    """Rows of a task are found by its name, and parts without a match are hidden whole; a table is saved with all its rows."""
    for task in ("rte", "cb", "wic"):
        for label, score in (("plain", 60.0), ("mix, with a comma", 70.0)):
            write_trial(tmp_path / "store", "few", label, 0, {task: score})
    told = told_by(write_report(tmp_path / "store"), tmp_path, """
      const shown = () => [...document.querySelectorAll("#scores-1 tbody tr")].filter(row => !row.hidden).length;
      const field = document.querySelector("#scores .tools input");
      const type = words => { field.value = words; field.dispatchEvent(new Event("input")); return shown(); };
      told.all = shown();
      told.task = type("rte");
      told.both = type("plain RTE");
      told.none = type("nowhere");
      told.again = type("");
      const Own = Blob;
      URL.createObjectURL = () => "#";
      Blob = class extends Own { constructor(parts, options) { super(parts, options); told.csv = parts[0]; } };
      document.querySelector("#board-1").closest(".scroll").nextElementSibling.click();
    """)  # fmt: skip
    assert (told["all"], told["task"], told["both"], told["none"], told["again"]) == (12, 4, 3, 0, 12)
    head, *rows = csv.reader(told["csv"].splitlines())
    assert head[:2] == ["Method", "Mean"]
    assert [row[0] for row in rows] == ["mix, with a comma", "plain"]


def test_a_link_opens_the_fold_that_it_leads_to(tmp_path):
    for label in ("plain", "mix"):
        write_trial(tmp_path / "store", "few", label, 0, {"rte": 60.0})
    told = told_by(write_report(tmp_path / "store"), tmp_path, """
      const fold = document.querySelector("#scores > details");
      told.before = fold.open;
      location.hash = "#scores";
      dispatchEvent(new HashChangeEvent("hashchange"));
      told.after = fold.open;
    """)  # fmt: skip
    assert (told["before"], told["after"]) == (False, True)


def test_intervals_and_p_values_sort_as_numbers_and_totals_stay_below(page, tmp_path):
    told = told_by(page, tmp_path, SORT + """
      const long = [...document.querySelectorAll("[id^=differences]")].sort((a, b) => b.rows.length - a.rows.length)[0];
      const table = "#" + long.id;
      press(table, "95% interval"); told.intervals = texts(table, "95% interval");
      press(table, "p, Holm"); told.p = texts(table, "p, Holm");
      press("#addition-1", "Own prompt’s");
      told.sums = [...document.querySelectorAll("#addition-1 tbody tr")].map(row => row.className);
      told.names = [...document.querySelectorAll("#addition-1 .whole")].map(cell => getComputedStyle(cell).opacity);
    """)  # fmt: skip
    lows = [float(text[1:].split(",")[0].replace("−", "-")) for text in told["intervals"]]
    assert lows == sorted(lows, reverse=True)
    assert len(lows) > 1
    values = [float(text.removeprefix("< ")) for text in told["p"]]
    assert values == sorted(values, reverse=True)
    assert told["sums"][-1] == "total"
    assert set(told["names"]) == {"1"}


def test_answers_are_found(page, tmp_path):
    told = told_by(page, tmp_path, """
      const rows = () => document.querySelectorAll("#answers-rows tr").length;
      const form = document.getElementById("answers-form");
      const type = (name, value) => {
        if (name === "wrong") form.elements[name].checked = value; else form.elements[name].value = value;
        form.dispatchEvent(new Event("input"));
        return rows();
      };
      told.wrong = type("run", "");
      told.all = type("wrong", false);
      told.mix = type("run", "mix rte");
      told.text = type("text", "rte row 1");
      told.none = type("text", "nowhere to be found");
    """)  # fmt: skip
    assert 0 < told["text"] < told["mix"] < told["wrong"] < told["all"]
    assert told["none"] == 0


def test_every_picture_is_saved_whole(page, tmp_path):
    """Each has a button; what it saves has the page's colours and the legend that stands above it."""
    told = told_by(page, tmp_path, """
      told.pictures = document.querySelectorAll("main svg.plot").length;
      const buttons = [...document.querySelectorAll("figure button.save")];
      told.buttons = buttons.length;
      told.names = new Set(buttons.map(each => each.ariaLabel)).size;
      told.saved = [];
      const legend = document.getElementById("shots-rte-float32").closest("figure").parentElement.querySelector(".legend");
      told.legend = [...legend.children].map(line => line.textContent.trim());
      URL.createObjectURL = () => "#";
      const Own = Blob;
      Blob = class extends Own { constructor(parts, options) { super(parts, options); told.saved.push(parts[0]); } };
      for (const id of ["shots-rte-float32", "alike-0-0-0", "transfer-0"])
        document.getElementById(id).closest("figure").querySelector("button.save").click();
    """)  # fmt: skip
    assert told["pictures"] == told["buttons"] > 8
    curves, heat, transfer = (ElementTree.fromstring(text) for text in told["saved"])
    texts = ["".join(element.itertext()).strip() for element in curves.iter() if element.tag.endswith("}text")]
    assert {*told["legend"], "full"} <= set(texts)
    legend = [element for element in curves.iter() if element.tag.endswith("}line")]
    assert len(legend) == len(told["legend"]) > 1
    assert all(float(line.get("y1")) < float(curves.get("height").removesuffix("pt")) for line in legend)
    assert "color: var(--ink)" in curves.get("style")
    assert "●" in {"".join(element.itertext()) for element in transfer.iter()}
    assert heat.get("aria-label").startswith("Heat map")


def test_a_table_that_goes_on_beyond_the_edge_says_so(page, tmp_path):
    html = page.read_text(encoding="utf-8")
    narrow = tmp_path / "narrow.html"
    narrow.write_text(html.replace("<body>", '<body style="width: 380px">'), encoding="utf-8")
    script = """
      const boxes = [...document.querySelectorAll(".scroll")].filter(box => box.offsetParent);
      const over = boxes.filter(box => box.scrollWidth > box.clientWidth + 1);
      told.over = over.length;
      setTimeout(() => {
        told.said = over.filter(box => box.classList.contains("wider")).length;
        document.title = JSON.stringify(told);
      }, 500);
    """
    told = told_by(narrow, tmp_path, script)
    assert told["over"] == told["said"] > 3


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext on PATH (apt-get install poppler-utils)")
def test_the_page_prints(tmp_path):
    """Heads repeat on the next page, nothing speaks of buttons or of searching, and the paper's table is not cut."""
    store = write_many(tmp_path / "store", 96)
    for task in ("mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola", "multirc", "boolq", "wic", "wsc", "cb"):
        run = write_trial(store, "glue", "glue", 0, {task: 80.0})
        change(run, lambda result, task=task: result["scores"][task].update(
            {name: {"value": 60.0, "low": 60.0, "high": 60.0} for name in ("pearson", "matthews", "multirc_f1a")}))  # fmt: skip
    page, pdf = write_report(store, paper="attempt"), tmp_path / "page.pdf"
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer")
    files = (f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={pdf}", page.as_uri())
    command = [BROWSER, *flags, "--virtual-time-budget=5000", *files]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    text = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True).stdout
    heads = [line.split() for line in text.splitlines() if line.split()[:3] == ["Stage", "Method", "Mean"]]
    assert len(heads) > 1
    assert heads[0][-1] == "Trained"
    for unsaid in ("Save as SVG", "Save CSV", "Searching needs", "Answers to test rows", "scroll right"):
        assert unsaid not in text
    assert re.search(r"MultiRC +BoolQ +WiC +WSC +CB +SuperGLUE, average", text)


def test_five_hundred_runs_stay_usable(tmp_path):
    """Small enough to be sent, and all of it works. How long it takes is measured by benchmarks/startup.py."""
    path = write_report(write_many(tmp_path / "store"))
    assert path.stat().st_size <= 25 * 2**20
    told = told_by(path, tmp_path, SORT + """
      press(".scores", "Mean and 95% interval");
      told.sorted = [...document.querySelectorAll(".scores tbody:first-of-type tr:not(.task, .fixed)")].map(
        row => parseFloat(row.cells[2].textContent));
      const form = document.getElementById("answers-form");
      form.closest("details").open = true;
      form.elements.text.value = "task 3: row 17 ";
      form.dispatchEvent(new Event("input"));
      told.found = document.querySelectorAll("#answers-rows tr").length;
      told.panels = document.querySelectorAll("#curves svg.plot").length;
    """)  # fmt: skip
    assert told["sorted"] == sorted(told["sorted"], reverse=True) != []
    assert told["found"] > 3
    assert told["panels"] > 80
    _, console, hosts = browse(path, tmp_path)
    assert (console, hosts) == ([], set())
