"""Which answers were given for which, by hand."""

import pyarrow as pa
import pyarrow.parquet as pq
from fabricate import write_trial
from test_page import read

from cpeft.report.sections.confusion import OUTSIDE, confusions
from cpeft.report.study import Study
from cpeft.store.run_folder import Store


def study(folder):
    return Study.of(Store(folder))


def test_answers_of_all_seeds_are_counted_together(tmp_path):
    """Two runs: yes was answered yes, no and with a word that is no label; a row with two right answers is left out."""
    for seed in (0, 1):
        run = write_trial(tmp_path, "few", "SPoT", seed, {"rte": 50.0})
        rows = [
            ("yes", ["yes"]),
            ("no", ["yes"]),
            ("maybe" if seed else "yes", ["yes"]),
            ("no", ["no"]),
            ("no", ["no", "yes"]),
        ]
        table = [{"task": "rte", "row": i, "source": "-", "prediction": answer, "references": right, "in_label_set": True,
                  "choice": None, "attention": []} for i, (answer, right) in enumerate(rows)]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(table), run / "predictions.parquet")
    (found,) = confusions(study(tmp_path))
    assert (found.task, found.runs, found.labels, found.answers) == ("rte", 2, ("yes", "no"), ("yes", "no", OUTSIDE))
    assert found.counts == ((3, 2, 1), (0, 2, 0))
    assert found.share(0, 0) == 0.5
    html, page = read(tmp_path)
    assert "confusion" in page.sections
    assert 'title="3 rows">50<' in html
    assert page.row("yes", "50", "33") == "yes 50 33 17 6"


def test_matrices_stand_in_the_order_of_the_runs(tmp_path):
    for stage in ("a", "b"):
        for task in ("wic", "cb"):
            write_trial(tmp_path, stage, "plain", 0, {task: 50.0})
    assert [(found.task, found.stage) for found in confusions(study(tmp_path))] == [
        ("cb", "a"), ("cb", "b"), ("wic", "a"), ("wic", "b"),
    ]  # fmt: skip
