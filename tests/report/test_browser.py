"""The HTML report in a real browser: no console message, no request, and no sideways scrolling on a narrow screen.

A headless Chromium from PATH draws the page; without one these tests say so and skip. Each check is made on a bad page too,
so that it cannot pass by looking at nothing.
"""

import json
import re
import shutil
import subprocess
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fabricate import write_addition, write_crossing, write_shots
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
    """What axe-core finds serious or critical on a copy of the page, without its policy: rule -> elements."""
    spec = find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core is not installed: pip install axe-core-python")
    html = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    if dark:  # headless Chromium takes its preference from no flag
        html = html.replace("(prefers-color-scheme: dark)", "all")
    run = """axe.run().then(found => { document.body.textContent = JSON.stringify(found.violations
      .filter(each => ["serious", "critical"].includes(each.impact))
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
    path = write_report(store)
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
    assert {"image-alt", "html-has-lang", "color-contrast"} <= set(axe_findings(bad, tmp_path))


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(page, tmp_path, dark):
    assert axe_findings(page, tmp_path, dark) == {}


def test_the_console_stays_empty_and_nothing_is_asked_for(page, tmp_path):
    dom, console, hosts = browse(page, tmp_path)
    for title in (
        "How this was made",
        "Task vectors across origins",
        "Sums of task vectors",
        "Numbers of training examples",
        "How alike the prompts are",
        "Which source helps",
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


def test_tables_sort_and_answers_are_found(page, tmp_path):
    """A copy without the policy, with a script that presses buttons and types as a reader does."""
    html = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    press = """
      const told = {};
      const head = [...document.querySelectorAll("#stability-1 th")].find(cell => cell.textContent.trim() === "Mean");
      const column = head.cellIndex;
      const rowsOf = () => [...document.querySelectorAll("#stability-1 tbody tr")];
      const seen = () => rowsOf().map(row => parseFloat(row.cells[column].textContent));
      told.before = seen();
      head.querySelector("button").click();
      told.falling = seen();
      head.querySelector("button").click();
      told.rising = seen();
      head.querySelector("button").click();
      told.after = seen();
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
      told.save = document.querySelectorAll("figure button.save").length;
      document.title = JSON.stringify(told);
    """
    copy = tmp_path / "copy.html"
    copy.write_text(html.replace("</body>", f"<script>onload = () => {{{press}}}</script></body>"), encoding="utf-8")
    dom, console, _ = browse(copy, tmp_path)
    assert console == []
    told = json.loads(re.search(r"<title>(.*?)</title>", dom)[1])
    assert told["before"] == told["after"] != sorted(told["before"])
    assert told["falling"] == sorted(told["before"], reverse=True)
    assert told["rising"] == sorted(told["before"])
    assert 0 < told["text"] < told["mix"] < told["wrong"] < told["all"]
    assert told["none"] == 0
    assert told["save"] > 3
