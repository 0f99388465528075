"""Answers in the page: wrong ones first, as many as are promised, and a row's text once."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
from fabricate import write_trial
from test_page import read

from cpeft.report.section import Page
from cpeft.report.sections.predictions import ROWS, TEXT, predictions
from cpeft.report.study import Study
from cpeft.store.run_folder import Store


def answered(folder, label, seed, rows):
    run = write_trial(folder, "few", label, seed, {"rte": 50.0})
    kept = {"in_label_set": True, "choice": None, "attention": [], "references": ["yes"]}
    table = [
        {"task": "rte", "row": i, "source": f"text {i} </script>" + "x" * TEXT, "prediction": answer, **kept}
        for i, answer in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(table), run / "predictions.parquet")


def test_errors_come_first_and_texts_stand_once(tmp_path):
    answered(tmp_path, "SPoT", 0, ["yes"] * 150 + ["no"] * 3)
    answered(tmp_path, "SPoT", 1, ["yes"] * 2)
    found = predictions(Page(Study.of(Store(tmp_path))))["content"]
    first, second = found["runs"]
    assert (first["total"], first["wrong"], len(first["rows"])) == (153, 3, ROWS)
    assert [row[1:] for row in first["rows"][:4]] == [
        [150, "no", False],
        [151, "no", False],
        [152, "no", False],
        [0, "yes", True],
    ]
    assert (second["wrong"], second["seed"]) == (0, 1)
    assert len(found["texts"]["rte"]) == ROWS
    assert found["texts"]["rte"][0][0].endswith("x …")
    html, page = read(tmp_path)
    data = re.search(r'<script type="application/json" id="answers-data">(.*?)</script>', html, re.S)[1]
    assert json.loads(data)["runs"] == found["runs"]  # no text closed the script
    assert page.row("few SPoT", "153") == f"few SPoT 0 3 153 {first['path']}"


def test_runs_without_answers_have_no_section(tmp_path):
    (write_trial(tmp_path, "few", "SPoT", 0, {"rte": 50.0}) / "predictions.parquet").unlink()
    assert predictions(Page(Study.of(Store(tmp_path)))) is None
