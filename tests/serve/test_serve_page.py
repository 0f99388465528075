"""The page at `/`, in a real Chromium as a reader uses it: what it shows is what the server answers, with keys and screens of
any kind, and nothing is asked of anybody else."""

import csv
import io
import json
import math
import re
from collections.abc import Callable
from types import SimpleNamespace

import httpx
import pyarrow.parquet as pq
import pytest
from chromium import BROWSER, CONTROL, Chromium, Page

import cpeft
from cpeft.methods.base import METHODS
from cpeft.models.saved import save_method
from cpeft.options.evaluation import EvalOptions
from cpeft.serve.results import Limits
from cpeft.serve.web.page import FILES
from cpeft.tasks.mini import ROWS
from launched import Started, wait_until

TRAINING = {
    "prompt": {"length": 8},
    "train": {"steps": 2, "batch": 8},
    "data": {"limit_validation": 8, "limit_test": 8},
}
WIDTHS = (1280, 800, 400)
in_browser = [pytest.mark.slow,
              pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH (apt-get install chromium)")]  # fmt: skip
HANDS = """
  const $$ = id => document.getElementById(id);
  const pick = (id, value) => { $$(id).value = value; $$(id).dispatchEvent(new Event("change")); };
  const paste = text => { $$("pasted").value = text; $$("many").requestSubmit(); };
  const rows = () => [...document.querySelectorAll("#table tbody tr")].filter(row => row.offsetParent).map(
    row => [...row.cells].map(cell => cell.querySelector("strong")?.textContent ?? cell.textContent));
  const status = () => $$("status").textContent;
"""
DONE = "/rows? a second/.test(status())"


def test_the_page_needs_no_key_and_may_load_nothing_from_elsewhere(serving):
    limits = Limits(rows=5, body=4000)
    with serving(keys=["right"], limits=limits) as running, httpx.Client(base_url=running.url) as client:
        found = {path: client.get(path) for path in FILES}
        assert {path: answer.status_code for path, answer in found.items()} == dict.fromkeys(FILES, 200)
        assert client.get("/v1/models").status_code == client.get("/page.py").status_code == 401
        text = client.get("/metrics", headers={"authorization": "Bearer right"}).text
    assert 'cpeft_requests_total{path="/page.js",status="200"} 1.0' in text
    for answer in found.values():
        policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
        assert policy.pop("default-src") == policy.pop("frame-ancestors") == "'none'"
        assert set(policy.values()) == {"'self'", "'none'"}
        assert answer.headers["x-content-type-options"] == "nosniff"
    html, script = found["/"].text, found["/page.js"].text
    assert 'data-rows="5" data-bytes="4000"' in html
    assert not re.search(r"<style|<script(?! src=)|\sstyle=|\son\w+=|https?:", html)
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(|https?:|Storage|cookie", script)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.end()


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """A server process on `mini`: two prompts and a run of ATTEMPT for one task, and a prompt for a task of other columns."""
    folder, started = tmp_path_factory.mktemp("mini"), Started()
    lm = cpeft.load_lm("mini")

    def trained(name, task, seed):
        prompt = cpeft.train(lm, task, seed=seed, **TRAINING).export()[task]
        prompt.save(folder / name)
        return prompt

    sources = {name: trained(name, "mini/mood", seed) for seed, name in enumerate(("first", "second"))}
    trained("pair", "mini/claim", 0)
    settings = {"name": "attempt", "temperature": "auto"}
    mix = cpeft.train(lm, "mini/mood", sources=sources, method=settings, **TRAINING)
    card = {"eval": EvalOptions().model_dump(), "lm": {"name": "mini"}}
    save_method(mix, METHODS.get("attempt").Options(**settings), folder / "mix" / "method", card)
    names = ("first", "second", "mix", "pair")
    try:
        process = started(folder / "out", "serve", *(f"{name}={folder / name}" for name in names), "--port", 0)
        url = wait_until(lambda: re.search(r" at (http\S+)", (folder / "out").read_text()), process)[1]
        texts = [row["text"] for row in pq.read_table(ROWS / "mood" / "test.parquet").slice(0, 6).to_pylist()]
        yield SimpleNamespace(url=url, texts=texts)
    finally:
        started.end()


@pytest.fixture
def opened(chromium) -> Callable[..., Page]:
    """Opens the page of a server, at which a test has `HANDS`."""

    def open_at(url: str, a: str = "", b: str = "", **screen) -> Page:
        page = chromium.open(url + "/", **screen)
        page.js(HANDS)
        if a:
            page.until("$$('a').options.length")
            page.js(f"pick('a', {json.dumps(a)}); pick('b', {json.dumps(b)})")
        return page

    return open_at


def answered(page: Page, pasted: str) -> list[list[str]]:
    """Paste rows and wait for the answers: the texts of the table."""
    page.js(f"paste({json.dumps(pasted)})")
    page.until(DONE)
    return page.js("rows()")


def as_csv(texts) -> str:
    file = io.StringIO()
    csv.writer(file).writerows([("text", "note"), *((text, "x") for text in texts)])
    return file.getvalue()


class TestOnMini:
    pytestmark = in_browser

    def test_the_table_and_the_csv_are_the_servers_answers(self, mini, opened, chromium):
        page = opened(mini.url, "first", "mix")
        rows = answered(page, as_csv(mini.texts))
        with cpeft.Client(mini.url) as client:
            asked = [{"text": text} for text in mini.texts]
            pairs = list(zip(client.predict("first", asked), client.predict("mix", asked), strict=True))
        for place, (row, text, (one, mixed)) in enumerate(zip(rows, mini.texts, pairs, strict=True), 1):
            weights = [f"{weight:.2f}" for weight in mixed.attention.values()]
            differ = "agree" if one.answer == mixed.answer else "differ"
            assert row == [str(place), text, one.answer, mixed.answer, *weights, differ]
        shares = page.js("[...document.querySelectorAll('.bars .n')].map(each => parseFloat(each.textContent))")
        expected = [share for pair in pairs for each in pair for share in each.probabilities.values()]
        assert shares == pytest.approx(expected, abs=0.0051)
        widths = page.js("[...document.querySelectorAll('.bars i')].map(bar => parseFloat(bar.style.width))")
        assert widths == pytest.approx([100 * share for share in expected], abs=0.01)
        page.js("$$('save').click()")
        file = chromium.downloads / "answers.csv"
        wait_until(file.exists, chromium.process)
        with file.open(encoding="utf-8", newline="") as lines:
            saved = list(csv.DictReader(lines))
        assert [row["text"] for row in saved] == mini.texts  # and no column that the task does not read
        assert list(saved[0])[-3:] == ["mix: attention(second)", "mix: attention(target)", "differ"]
        for row, (one, mixed) in zip(saved, pairs, strict=True):
            assert (row["first: answer"], row["mix: answer"]) == (one.answer, mixed.answer)
            assert float(row["first: p(glad)"]) == pytest.approx(one.probabilities["glad"], abs=1e-6)
            assert float(row["mix: attention(second)"]) == pytest.approx(mixed.attention["second"], abs=1e-6)
        assert page.console == []
        assert {url.rpartition("/")[0] for url in page.requests} <= {mini.url, f"{mini.url}/v1", f"blob:{mini.url}"}

    def test_prompts_are_described(self, mini, opened):
        page = opened(mini.url, "pair")
        with cpeft.Client(mini.url) as client:
            models = {model["id"]: model for model in client.models() if model["task"]}
        text = page.js("document.querySelector('#a-facts').innerText")
        for part in ("mini/claim", ", ".join(models["pair"]["columns"]), "unproven, proven", models["pair"]["hash"]):
            assert part in text
        assert page.js("fields().map(field => field.name)") == models["pair"]["columns"]
        assert page.js("[...$$('b').options].map(each => each.value)") == [""]  # the others have other columns
        assert "Not offered: 3 prompts with other columns" in page.js("$$('b-help').textContent")
        assert page.js("[...$$('all').rows].map(row => row.cells[4].textContent)") == [
            model["hash"] for model in models.values()
        ]

    @pytest.mark.parametrize("dark", [False, True])
    @pytest.mark.parametrize("width", WIDTHS)
    def test_it_fits_the_screen_and_axe_finds_nothing(self, mini, opened, width, dark):
        page = opened(mini.url, "first", "mix", width=width, dark=dark)
        answered(page, as_csv(mini.texts[:3]))
        page.js(
            "document.querySelector('details').open = true; $$('error').textContent = 'Line 3: an error'; needKey()"
        )
        assert page.js("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
        assert page.axe() == {}
        assert page.console == []

    def test_axe_and_the_console_notice_a_bad_page(self, mini, opened):
        page = opened(mini.url, "first")
        page.js("document.body.append(make('img', '')); $$('title').style.color = 'rgb(250, 250, 250)'")
        page.js("document.body.append(Object.assign(make('script', ''), { textContent: 'window.ran = true' }))")
        page.js("document.body.append(Object.assign(make('img', ''), { src: 'http://example.invalid/x.png' }))")
        assert {"image-alt", "color-contrast"} <= set(page.axe())
        assert page.js("window.ran") is None  # the policy
        page.until("true")
        assert "Content Security Policy" in str(page.console)

    def test_the_keyboard_is_enough(self, mini, opened):
        page = opened(mini.url)
        page.until("$$('a').options.length")
        met = []
        while page.js("document.activeElement.name") != "text":
            page.press("Tab")
            met.append(page.js("document.activeElement.id || document.activeElement.tagName"))
            assert len(met) < 20
            if met[-1] in ("a", "b"):
                page.press("ArrowDown")
        assert met[:2] == ["a", "b"]
        assert page.js("[$$('a').value, $$('b').value]") == ["second", "first"]
        page.type(mini.texts[0])
        page.press("Enter", CONTROL)
        page.until(DONE)
        assert page.js("rows()[0][1]") == mini.texts[0]
        page.press("Tab")  # to the button of the row, which does the same
        page.press("Enter")
        page.until(f"!running && {DONE}")
        assert page.js("rows().length") == 1


BAD = [
    ("", "There are no rows"),
    ("text", "no rows under the header"),
    ("text\nw1\nw2, w3", "Line 3: 2 cells, and the header has 1"),
    ("a\ttext\nw1", "Line 2: 1 cell, and the header has 2. Between cells is a tab"),
    ('text,a\n"w1\nw2",1\n"w3', "Line 4: the cell begins with a quote, and no quote ends it"),
    ('text\n"w1" w2', "Line 2: text after a closing quote"),
    ("text,text\nw1,w2", "Line 1: two columns are called 'text'"),
    ('{"text": "w1"}\n\n{"text": ', "Line 3: not readable as JSON"),
    ('{"text": "w1"}\n["w2"]', "Line 2: not an object"),
    ('{"text": {"a": "w1"}}', "Line 1: 'text' is not a text"),
    ('{"text": "w1"}\n\n{"text": null}', "Row 2 (line 3): task 'mood': column 'text' is missing"),  # from here on
    ("txt\nw1", "no column 'text'"),  # the server's words
    ("text\nw1\n" + "w2 " * 30, "Row 2 (line 3): 24 tokens, and at most 20 fit"),
]
GOOD = [
    ("text\nw1\n\nw2\n", ["w1", "w2"]),
    ('\ufefftext;a\r\n"w1; ""w2""\nw3";1\r\nw4;2', ['w1; "w2"\nw3', "w4"]),
    ('a\ttext\n1\t5" w1, w2\n', ['5" w1, w2']),
    ('{"text": "w1"}\n{"text": 2.50}\n{"text": true}', ["w1", "2.50", "true"]),
    ('text\n""\n<img src=x onerror=alert(1)>', ["", "<img src=x onerror=alert(1)>"]),
]


class TestOnTinyModels:
    pytestmark = in_browser

    def test_bad_rows_are_refused_with_their_line(self, serving, opened):
        with serving(limits=Limits(row_tokens=20)) as running:
            page = opened(running.url, "a")
            for pasted, message in BAD:
                page.js(f"$$('error').textContent = ''; paste({json.dumps(pasted)})")
                assert message in page.until("!running && $$('error').textContent"), pasted

    def test_rows_are_read_as_they_are_written(self, serving, opened):
        with serving() as running:
            page = opened(running.url, "a", "b")
            for pasted, texts in GOOD:
                assert [row[1] for row in answered(page, pasted)] == texts
            assert page.js("document.querySelectorAll('#table img').length") == 0
            assert page.console == []

    def test_rows_that_differ_are_found(self, serving, opened):
        texts = [f"w{number} w{number + 1}" for number in range(30)]
        with serving() as running, running.client() as client:
            asked = [{"text": text} for text in texts]
            answers = [[each.answer for each in client.predict(name, asked)] for name in ("a", "b")]
            differing = [text for text, one, two in zip(texts, *answers, strict=True) if one != two]
            page = opened(running.url, "a", "b")
            answered(page, as_csv(texts))
            assert 0 < len(differing) < 30
            assert f"A and B differ in {len(differing)} row" in page.js("status()")
            page.js("$$('only').click()")
            assert [row[1] for row in page.js("rows()")] == differing
            assert [row["text"] for row in csv.DictReader(io.StringIO(page.js("csv()")))] == differing
            answered(page, as_csv(texts[:2]))  # all rows again
            assert len(page.js("rows()")) == 2

    def test_open_answers_have_no_probabilities(self, serving, opened):
        with serving() as running, running.client() as client:
            page = opened(running.url, "say")
            assert "open answers" in page.js("$$('a-facts').textContent")
            assert answered(page, "text\nw1 w2")[0][2] == client.predict("say", [{"text": "w1 w2"}])[0].answer
            assert page.js("document.querySelectorAll('.bars').length") == 0

    @pytest.mark.parametrize(("limits", "most"), [({"rows": 7}, 7), ({"body": 200}, 9)])
    def test_many_rows_are_sent_in_several_requests(self, serving, opened, limits, most):
        texts = [f"w{number} w{number % 7}" for number in range(10, 70)]
        with serving(limits=Limits(**limits)) as running:
            page = opened(running.url, "a")
            assert [row[1] for row in answered(page, as_csv(texts))] == texts
            assert sum(url.endswith("/v1/predict") for url in page.requests) == math.ceil(60 / most)

    def test_of_many_labels_and_rows_the_table_has_some(self, serving, opened):
        shares = {f"label {number}": number / 36 for number in range(9)}
        with serving() as running:
            page = opened(running.url, "a")
            bars = page.js(f"[...bars({json.dumps(shares)}, 'label 8').children].map(each => each.textContent)")
            page.js("""
              window.fetch = async (path, { body }) => new Response(JSON.stringify({ answers: JSON.parse(body).rows.map(
                row => ({ answer: row.text, in_label_set: null, probabilities: null, attention: null })) }));
            """)
            rows = answered(page, as_csv(f"w{number}" for number in range(1100)))
            assert len(rows) == 1000
            assert "The table has the first 1,000, the CSV all." in page.js("status()")
            assert len(page.js("csv()").splitlines()) == 1101
        assert bars == [f"label {number}{number / 36:.2f}" for number in (8, 7, 6, 5, 4)] + [
            "and 4 labels that are less probable"
        ]

    def test_many_rows_can_be_stopped(self, serving, opened):
        with serving(limits=Limits(rows=4)) as running:
            page = opened(running.url, "a")
            page.js(f"paste({json.dumps(as_csv(['w1', 'w2'] * 1000))}); $$('stop').focus()")
            page.until("$$('progress').value > 0")
            assert page.js("$$('progress').max") == 2000
            page.press("Enter")
            page.until("!running")
            assert re.match(r"Stopped\. \d+ rows of 2,000 in ", page.js("status()"))
            assert page.js("shown.rows.length") == len(page.js("rows()")) < 2000
            assert page.js("document.activeElement.id") == "status"
            assert len(answered(page, "text\nw1")) == 1  # and it works again

    def test_a_busy_and_a_slow_server_are_asked_again(self, serving, opened):
        """Statuses that the server gives under load, here from a stub in front of it."""
        stub = """
          const real = fetch, sizes = [];
          let busy = 1;
          window.fetch = (path, sent) => {
            sizes.push(JSON.parse(sent.body).rows.length);
            if (busy-- > 0) return Promise.resolve(new Response("", { status: 429, headers: { "retry-after": "1" } }));
            if (sizes.at(-1) > 8) return Promise.resolve(new Response("{}", { status: 504 }));
            return real(path, sent);
          };
        """
        with serving() as running:
            page = opened(running.url, "a")
            page.js(stub)
            page.js(f"paste({json.dumps(as_csv(['w1'] * 20))})")
            assert page.until("/busy/.test(status()) && status()") == "The server is busy; trying again in 1 second."
            page.until(DONE)
            assert len(page.js("rows()")) == 20
            assert page.js("sizes.slice(0, 3)") == [20, 20, 5]

    def test_a_key_is_asked_for_and_kept_nowhere(self, serving, opened):
        with serving(keys=["right"]) as running:
            page = opened(running.url)
            page.until("!$$('key-form').hidden")
            assert page.js("$$('prompts').hidden && $$('rows').hidden")
            assert page.axe() == {}
            for key in ("wrong", "right"):
                page.js("$$('key').value = ''; $$('key').focus()")
                page.type(key)
                page.press("Enter")
                page.until("$$('load-error').textContent" if key == "wrong" else "!$$('prompts').hidden")
            page.js("pick('a', 'a')")
            assert len(answered(page, "text\nw1")) == 1
            assert page.js("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
            page.js("key = 'old'; paste('text\\nw1')")
            assert "a valid key is needed" in page.until("$$('error').textContent")
            assert not page.js("$$('key-form').hidden")

    def test_a_server_that_is_gone_is_an_error(self, serving, opened):
        with serving() as running:
            page = opened(running.url, "a")
        page.js("paste('text\\nw1')")
        assert "The server does not answer" in page.until("$$('error').textContent")
