"""How far runs lie apart, and which answers were given for which, by hand."""

import pyarrow as pa
import pyarrow.parquet as pq
from fabricate import write_trial
from test_page import read

from cpeft.report.sections.confusion import OUTSIDE, confusions
from cpeft.report.sections.stability import spreads
from cpeft.report.study import Study
from cpeft.store.run_folder import Store


def study(folder):
    return Study.of(Store(folder))


def test_the_spread_and_the_best_of_runs(tmp_path):
    """rte 50 and 60, cb 70 and 72: sd 7.07 and 1.41, the best seeds 60 and 72, three more than the means 55 and 71."""
    for seed, rte, cb in ((0, 50.0, 70.0), (1, 60.0, 72.0)):
        write_trial(tmp_path, "few", "SPoT", seed, {"rte": rte})
        write_trial(tmp_path, "few", "SPoT", seed, {"cb": cb})
    write_trial(tmp_path, "few", "once", 0, {"rte": 50.0})
    (spread,) = spreads(study(tmp_path))
    assert (spread.method, spread.tasks, spread.seeds, spread.mean, spread.best, spread.gained) == (
        "SPoT",
        2,
        (2,),
        63,
        66,
        3,
    )
    assert (spread.widest, spread.range) == ("rte", (50, 60))
    _, page = read(tmp_path)
    assert page.row("few SPoT", "66.00") == "few SPoT 2 2 63.00 4.24 66.00 +3.00 rte: 50.0 to 60.0"


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


def test_matrices_stand_in_the_order_of_the_runs(tmp_path):
    for stage in ("a", "b"):
        for task in ("wic", "cb"):
            write_trial(tmp_path, stage, "plain", 0, {task: 50.0})
    assert [(found.task, found.stage) for found in confusions(study(tmp_path))] == [
        ("cb", "a"), ("cb", "b"), ("wic", "a"), ("wic", "b"),
    ]  # fmt: skip
