"""The HTML report: what it says of a store, that every text is escaped, that nothing is loaded, and same store, same bytes."""

import base64
import hashlib
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from matplotlib.figure import Figure

from cpeft.errors import ConfigError
from cpeft.report.page import write_report
from cpeft.report.render.drawing import line_style
from cpeft.report.sections.attention import weight_text
from cpeft.report.sections.curves import draw_curves
from cpeft.report.study import Study
from cpeft.store.manifest import Manifest, PlannedRun
from cpeft.store.run_folder import Store
from tiny import run_python

HOSTILE = "<script>alert(1)</script> & \"quoted\" 'text' {{ 7 * 7 }} $x_1$"
SCORES = {
    ("plain", "rte"): (50.0, 54.0), ("plain", "cb"): (60.0, 60.0), ("mix", "rte"): (61.0, 65.0), ("mix", "cb"): (40.0, 44.0),
}  # fmt: skip
WEIGHTS = {"rte": (0.7, 0.2, 0.1), "cb": (0.25, 0.75, 0.0)}


def weights_of(task: str, row: int, seed: int) -> list[float]:
    """Weights that differ between three rows and two seeds, and have the means of `WEIGHTS`."""
    move = 0.05 * (row - 1) + (0.02 if seed else -0.02)
    first, second, own = WEIGHTS[task]
    return [first + move, second - move, own]


def write_run(store: Path, label: str, tasks: list[str], seed: int, stage: str = "targets", **more) -> Path:
    """A finished run folder as `cpeft run` leaves it; `mix` keeps attention over sst2, mnli and its own prompt."""
    name = f"{'+'.join(tasks)}.{label}.s{seed}".replace(" ", "_").replace("/", "_")
    folder = store / stage / f"{name}-{hashlib.sha256(f'{stage}/{name}'.encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True)
    values = {task: SCORES.get((label, task), (70.0, 71.0))[seed % 2] for task in tasks}
    mixed = label == "mix"
    config = {"tasks": tasks, "seed": seed, "method": {"name": "attempt" if mixed else "prompt_tuning"},
              "optim": {"lr": 0.1 if mixed else 0.3}, "train": {"steps": 20}}  # fmt: skip
    (folder / "config.toml").write_text(tomli_w.dumps(config))
    records = [{"step": step, "loss": 5.0 / step + seed} for step in (1, 10, 20)]
    records += [{"step": 20, "headline": 1.0, **{f"validation/{task}/accuracy": values[task] for task in tasks}}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    rows = [
        {"task": task, "row": i, "source": f"{task} row {i}: {HOSTILE}", "prediction": "yes",
         "references": ["yes" if i else "no"], "in_label_set": True, "choice": None,
         "attention": weights_of(task, i, seed) if mixed else []}
        for task in tasks for i in range(3)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"attention": "sst2\tmnli\ttarget" if mixed else ""})
    pq.write_table(table, folder / "predictions.parquet")
    data = {
        task: {"version": 1, "origin": f"/data/{task}", "rows": {"train": 9, "validation": 4, "test": 3}, "majority": 47.5,
               "labels": ["yes", "no"], "headline": "accuracy", "notes": [f"a note on {task}"]}
        for task in tasks
    }  # fmt: skip
    result = {
        "stage": stage, "label": label, "name": folder.name, "tasks": tasks, "method": config["method"]["name"], "seed": seed,
        "scores": {task: {"accuracy": {"value": v, "low": v - 9, "high": v + 9}} for task, v in values.items()},
        "data": data, "prompts": tasks, "steps": 20, "trainable": 1234,
        "model": {"name": "/models/t5-tiny", "dtype": "float32"},
        "seconds": {"training": 60.0, "scoring": 6.0}, "versions": {"cpeft": "0.1.0"},
        "hardware": {"machine": "x86_64", "system": "Linux", "gpu": None}, **more,
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def write_store(folder: Path) -> Path:
    """Two methods, two tasks, two seeds, a failed and an unfinished run."""
    for label in ("mix", "plain"):
        for task in ("rte", "cb"):
            for seed in (0, 1):
                write_run(folder, label, [task], seed)
    failed, unfinished = folder / "targets" / "rte.wild.s0-aa", folder / "targets" / "rte.slow.s0-bb"
    failed.mkdir()
    (failed / "failed.json").write_text(
        json.dumps({"error": f"RunFailed: loss is NaN {HOSTILE}", "traceback": "secret"})
    )
    unfinished.mkdir()
    (unfinished / "config.toml").write_text('tasks = ["rte"]\n')
    (unfinished / "metrics.jsonl").write_text('{"step": 7, "loss": 1.0}\n{"step": 8, "lo')  # killed
    return folder


class Page(HTMLParser):
    """Everything a page could load or run, its ids, and the text of its rows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: list[str] = []
        self.rows: list[str] = []
        self.inside = False  # a row of a table
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.sections.append(dict(attrs)["id"])
        if tag == "tr":
            self.rows.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "tr"

    def handle_data(self, data):
        if self.inside:
            self.rows[-1] = f"{self.rows[-1]} {data}"

    def row(self, *words: str) -> str:
        """The first row that holds all words, white space collapsed."""
        rows = [" ".join(row.split()) for row in self.rows]
        return next(row for row in rows if all(word in row for word in words))


@pytest.fixture
def store(tmp_path) -> Path:
    return write_store(tmp_path / "store")


def read(store: Path) -> tuple[str, Page]:
    html = write_report(store).read_text(encoding="utf-8")
    return html, Page(html)


def test_the_whole_page(store):
    html, page = read(store)
    assert html.startswith("<!doctype html>")
    assert page.sections == [
        "answer", "cautions", "scores", "curves", "attention", "confusion", "examples", "predictions", "making", "reading",
    ]  # fmt: skip
    for text in (
        "8 finished",
        "0.1 of training",
        "t5-tiny (float32, weights not written down)",
        "cpeft 0.1.0",
        "mix, plain",
        "Student’s",
        "47.50",
    ):
        assert text in html


def test_the_table_tells_mean_interval_and_seeds(store):
    _, page = read(store)
    assert page.row("mix", "63.00") == (
        "targets mix targets 63.00 [37.6, 88.4] seed 0: 61.00, seed 1: 65.00, interval 37.6 to 88.4 1,234"
    )
    assert page.row("majority") == "majority class 47.50"
    assert page.row("rte", "plain", "0:") == "rte targets plain accuracy 2.83 0: 50.00 1: 54.00"


def test_every_seed_links_to_its_run(store, tmp_path):
    """Wherever the page is written."""
    for out in (store / "report.html", tmp_path / "pages" / "other.html"):
        out.parent.mkdir(exist_ok=True)
        page = Page(write_report(store, out).read_text(encoding="utf-8"))
        links = {attrs["href"] for tag, attrs in page.tags if tag == "a" and not attrs["href"].startswith("#")}
        folders = {(out.parent / unquote(link)).resolve() for link in links}
        assert folders == {path.parent.resolve() for path in store.glob("*/*/result.json")}


def test_a_single_run_is_marked(tmp_path):
    write_run(tmp_path, "plain", ["rte"], 0)
    html, page = read(tmp_path)
    assert "50.00 [41.0, 59.0] rows" in page.row("plain")
    assert "so there is no leader" in html


def test_axes_are_fitted_to_the_task_and_say_where_an_interval_goes_on(store):
    """Of rte: from below the constant answer, 47.5, to above the best seed, 65; the intervals of two seeds are wider."""
    html, _ = read(store)
    assert re.findall(r'<div class="ends"><span>(.*?)</span><span>(.*?)</span>', html) == [
        ("38.4", "61.6"),
        ("46.1", "66.4"),
    ]
    assert html.count("below above") == 3  # of all but the seeds of plain on cb, which are alike


def test_every_metric_of_a_task_is_shown(tmp_path):
    """Those of the headline first, each metric under a head of its own."""
    for seed, value in enumerate((50.0, 54.0)):
        scores = {
            "accuracy": {"value": value, "low": 0, "high": 99},
            "macro_f1": {"value": 2 * value / 5, "low": 0, "high": 99},
        }
        write_run(tmp_path, "plain", ["rte"], seed, scores={"rte": scores})
    html, page = read(tmp_path)
    table = html[html.index('class="scores">') : html.index("Every seed’s score")]
    assert [name.strip() for name in re.findall(r'rte <span class="muted">(.*?)</span>', table)] == [
        "accuracy",
        "macro_f1",
    ]
    assert page.row("plain", "20.80").startswith(
        "targets plain targets 20.80 [10.6, 31.0] seed 0: 20.00, seed 1: 21.60,"
    )
    assert page.row("macro_f1", "0: 20.00")


def test_seeds_that_came_out_alike_say_so(store):
    assert read(store)[1].row("plain", "60.00", "seed 0") == (
        "targets plain targets 60.00 2 seeds alike seed 0: 60.00, seed 1: 60.00, one and the same value 1,234"
    )


def test_dtypes_stand_in_tables_of_their_own(tmp_path):
    write_run(tmp_path, "plain", ["rte"], 0)
    write_run(tmp_path, "plain", ["rte"], 1, model={"name": "t5-tiny", "dtype": "bfloat16"})
    html, _ = read(tmp_path)
    assert html.count('class="scores">') == 2
    assert "frozen model in float32" in html
    assert "frozen model in bfloat16" in html


def test_attention_is_the_mean_over_rows_and_seeds(store):
    html, page = read(store)
    (heat,) = re.findall(r'<svg class="plot" role="img" aria-label="Heat map.*?</svg>', html, re.S)
    assert "cb: mnli .75; rte: sst2 .70" in heat
    assert re.findall(r">([.\d]+)</text>", heat) == [".25", ".75", ".00", ".70", ".20", ".10"]
    assert re.findall(r">(sst2|mnli|own prompt)<", heat) == ["sst2", "mnli", "own prompt"]
    rows = [np.asarray(weights_of("rte", row, seed)) for row in range(3) for seed in (0, 1)]
    used = np.mean([np.exp(-np.sum(row * np.log(row))) for row in rows])
    assert page.row("rte", "sst2", ".70") == f"rte sst2 .70 {used:.1f} .04"


def test_examples_follow_their_rule(store):
    """First rows of cb and rte (folders in order), then row 1 of cb; row 0 is wrong and row 1 right, so nothing is swapped."""
    html, _ = read(store)
    found = re.findall(r'<h3>(\w+)<span class="muted">, test row (\d)', html)
    assert found == [("cb", "0"), ("rte", "0"), ("cb", "1")]
    assert re.findall(r'<span class="(right|wrong)">yes</span>', html) == ["wrong", "wrong", "right"]
    assert html.count("0.630") == 1  # rte row 0 of seed 0


def test_examples_show_both_outcomes_where_there_are(tmp_path):
    for task in ("cb", "rte", "trec"):
        write_run(tmp_path, "plain", [task], 0)
    html, _ = read(tmp_path)
    assert re.findall(r'<h3>(\w+)<span class="muted">, test row (\d)', html) == [
        ("cb", "0"),
        ("rte", "0"),
        ("trec", "1"),
    ]
    assert "attention" not in Page(html).sections
    assert "Attention weights" not in html


def test_failed_and_unfinished_runs_are_listed_with_the_reason(store):
    html, _ = read(store)
    top = html[html.index('id="cautions"') : html.index('id="scores"')]
    assert "<strong>Failed runs</strong> (1)" in top
    assert "<li>targets/rte.wild.s0-aa: RunFailed: loss is NaN &lt;script&gt;" in top
    assert "<li>targets/rte.slow.s0-bb: last logged step 7; re-run the same command to resume</li>" in top
    assert "<details" not in top
    assert "secret" not in html


def test_settings_shared_and_different(store):
    html, page = read(store)
    assert "<li><code>train.steps = 20</code></li>" in html
    assert page.row("mix", "method.name") == 'targets mix 4 method.name = "attempt" optim.lr = 0.1'
    assert "a note on rte" in page.row("/data/rte", "9 / 4 / 3")


def leave_manifest(store, name, stages, overrides=()):
    """What `cpeft run` leaves of a recipe over the runs of some stages, in that order."""
    runs = tuple(PlannedRun(path.parent.name, path.name, f"{path.parent.name}/{path.name}")
                 for stage in stages for path in sorted((store / stage).iterdir()))  # fmt: skip
    note = Manifest(
        name, f"/recipes/{name}.toml", overrides, (), {f"/recipes/{name}.toml": 'name = "<b>mine</b>"\n'}, runs
    )
    (store / note.path).write_text(json.dumps(note.card()))


def test_commands_and_recipes_stand_as_the_store_keeps_them(store):
    assert "This store keeps no recipe" in read(store)[0]
    leave_manifest(store, "mine", ["targets"], ("optim.lr=0.3",))
    html, _ = read(store)
    assert f"cpeft run /recipes/mine.toml optim.lr=0.3 --store {store}\n" in html
    assert '<pre class="recipe"><code>name = &#34;&lt;b&gt;mine&lt;/b&gt;&#34;\n' in html
    assert "keeps no recipe" not in html


def test_stages_and_runs_stand_in_the_order_of_the_recipe(tmp_path):
    for stage in ("ladder", "sources", "quality", "apart"):
        for label in ("mix", "plain"):
            write_run(tmp_path, label, ["rte"], 0, stage)
    leave_manifest(tmp_path, "mine", ["sources", "ladder", "quality"])
    write_run(tmp_path, "later", ["rte"], 0, "sources")  # by no note
    study = Study.of(Store(tmp_path))
    assert list(study.groups) == [
        ("sources", "mix"), ("sources", "plain"), ("sources", "later"), ("ladder", "mix"), ("ladder", "plain"),
        ("quality", "mix"), ("quality", "plain"), ("apart", "mix"), ("apart", "plain"),
    ]  # fmt: skip


def test_every_text_is_escaped(tmp_path):
    """Labels, sources, predictions, reasons, task names, data notes and the store's own name."""
    store = write_store(tmp_path / "<b>store</b>")
    write_run(store, "<i onload=x>label</i>", ["<u>task</u>"], 0, notes=[HOSTILE])
    html, page = read(store)
    assert not {tag for tag, _ in page.tags} & {"i onload=x", "u", "iframe", "link", "img", "object"}
    assert [attrs.get("id") for tag, attrs in page.tags if tag == "script"] == [
        "answers-data",
        None,
    ]  # data, and our own
    assert [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)] == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quoted&#34;" in html
    assert "{{ 7 * 7 }} $x_1$" in html
    assert "&lt;i onload=x&gt;label" in html


def own_script(html):
    return re.search(r"<script>(.*?)</script>", html, re.S)[1]


def test_nothing_is_loaded(store):
    html, page = read(store)
    loading = {"src", "srcset", "action", "data", "poster", "background", "formaction", "ping"}
    assert [name for _, attrs in page.tags for name in attrs if name in loading] == []
    links = [value for _, attrs in page.tags for name, value in attrs.items() if name.endswith("href")]
    assert links
    assert all(value.startswith(("#", "targets/")) for value in links)  # in the page, and to folders of runs
    assert not re.search(r"url\((?!#)|@import|https?:|javascript:", html.replace(own_script(html), ""))
    assert "fetch(" not in own_script(html)
    (policy,) = [attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs]
    digest = base64.b64encode(hashlib.sha256(own_script(html).encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline';")


def test_ids_are_unique_and_links_arrive(store):
    html, page = read(store)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', html)) <= set(ids)


def test_figures_and_tables_are_accessible(store):
    _, page = read(store)
    pictures = [attrs for tag, attrs in page.tags if tag == "svg" and "aria-hidden" not in attrs]
    assert len(pictures) == 4  # losses of two tasks and two heat maps; a single validation is no curve
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs in pictures)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table") > 4
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    assert tags.count("h1") == 1


def test_the_same_store_gives_the_same_bytes(store):
    first = write_report(store).read_bytes()
    code = f"from pathlib import Path\nfrom cpeft.report.page import write_report\nwrite_report(Path({str(store)!r}))"
    done = run_python(code)  # another process has another hash seed
    assert done.returncode == 0, done.stderr
    assert (store / "report.html").read_bytes() == first


def test_the_head_says_what_ran_on_what(tmp_path):
    """Short hashes, whole ones in titles; everything that a result says of its machine."""
    weights, rows = "feedbeef" * 8, "c0ffee00" * 8
    model = {"name": "/models/t5-tiny", "dtype": "float32", "embedding": "abc", "revision": None}
    hardware = {"machine": "x86_64", "system": "Linux", "gpu": None, "threads": 2, "memory": "16 GiB"}
    folder = write_run(tmp_path, "plain", ["rte"], 0, weights=weights, model=model, hardware=hardware)
    result = json.loads((folder / "result.json").read_text())
    result["data"]["rte"]["fingerprint"] = rows
    (folder / "result.json").write_text(json.dumps(result))
    html, page = read(tmp_path)
    head = html[html.index('id="making"') :]
    assert f'<span title="weights {weights}, embeddings abc">t5-tiny (float32, weights feedbeeffeed)</span>' in head
    assert f'<span title="rows {rows}, text of version 1, from /data/rte">rte c0ffee00c0ff</span>' in head
    assert "CPU, Linux x86_64, 2 threads, memory 16 GiB" in head
    assert page.row("/data/rte", "c0ffee00c0ff")


def test_sections_with_nothing_to_show_are_left_out(tmp_path):
    folder = write_run(tmp_path, "plain", ["rte"], 0, prompts=[])
    (folder / "metrics.jsonl").unlink()
    (folder / "predictions.parquet").unlink()
    assert read(tmp_path)[1].sections == ["answer", "scores", "making", "reading"]


def test_runs_over_several_tasks(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, "mix", ["rte", "cb"], seed)
    html, page = read(tmp_path)
    assert "rte, cb together</figcaption>" in html
    assert page.row("cb", "mnli", ".75")


def test_a_store_without_finished_runs_says_what_to_give(store):
    shutil.rmtree(store / "targets")
    with pytest.raises(ConfigError, match=r"no finished run.*cpeft run"):
        write_report(store)


def drawn(curves, log=False):
    axes = Figure().add_subplot()
    draw_curves(axes, curves, log)
    return axes


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_curves_of_other_lengths_and_values():
    """A mean has the steps that all seeds share; a loss of 0 has no logarithm."""
    early = drawn({0: [[(1, 4.0), (10, 2.0)], [(1, 5.0), (10, 2.5), (20, 1.0)]]}, log=True)
    (mean,) = early.lines
    assert (list(mean.get_xdata()), list(mean.get_ydata())) == ([1, 10], [math.log10(4.5), math.log10(2.25)])
    assert words(early) == ["1", "2", "5", "0", "5", "10", "15", "20", "step"]
    assert list(drawn({0: [[(1, 1.0), (2, 0.0)]]}, log=True).lines[0].get_ydata()) == [1, 0]
    assert not drawn({0: [[(1, 1.0), (2, 2.0)], [(3, 1.0)]]}).lines  # no step in common, so no mean
    assert len({line_style(index) for index in range(24)}) == 24


def test_long_curves_keep_their_extremes():
    curve = [(step, 50.0 + step % 7) for step in range(1, 3000)]
    curve[1500] = (1501, 99.0)
    axes = drawn({0: [curve]})
    (run,) = axes.collections[-1].get_segments()
    for values in (axes.lines[0].get_ydata(), run[:, 1]):
        assert len(values) <= 200
        assert (min(values), max(values)) == (50, 99)


def test_the_page_says_whether_validation_chose_anything(store):
    html, _ = read(store)
    assert "Every run was validated once, and nothing was chosen by it." in html
    (folder,) = store.glob("targets/rte.plain.s0-*")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "headline": 1.0, "validation/rte/accuracy": 50.0}\n')
    assert "the best validation chose its checkpoint" in read(store)[0]


def test_a_mixture_that_ignores_its_input_is_said_to(store):
    """Weights of the fabricated runs move by .05 from row to row; of steady ones by .005."""
    assert "hardly depends" not in read(store)[0]
    for folder in store.glob("targets/rte.mix.*"):
        table = pq.read_table(folder / "predictions.parquet")
        rows = [{**row, "attention": [0.7 + 0.005 * (i - 1), 0.2, 0.1]} for i, row in enumerate(table.to_pylist())]
        pq.write_table(
            pa.Table.from_pylist(rows).replace_schema_metadata(table.schema.metadata), folder / "predictions.parquet"
        )
    html, _ = read(store)
    assert html.count("hardly depends on the input") == 1
    assert "<strong>The mixture hardly depends on the input</strong> for 1 of 2 targets (in mix: rte)" in html


@pytest.mark.parametrize(("value", "text"), [(0.0, ".00"), (1e-6, "<.01"), (0.37, ".37"), (1.0, "1.00")])
def test_weights_are_printed_short(value, text):
    assert weight_text(value) == text
