"""What the top of the page warns of, and that it is silent where there is nothing."""

import json

from fabricate import change, write_trial
from test_page import read

from cpeft.data import notes
from cpeft.report.sections.cautions import cautions_of
from cpeft.report.study import Study
from cpeft.store.run_folder import Store


def found(store):
    return {caution.title: caution.places for caution in cautions_of(Study.of(Store(store)))}


def test_nothing_to_say(tmp_path):
    write_trial(tmp_path, "few", "SPoT", 0, {"rte": 60.0})
    assert found(tmp_path) == {}
    html, page = read(tmp_path)
    assert "cautions" not in page.sections
    assert "No run failed, no seed collapsed, and no trained run is at chance." in html


def test_trained_methods_at_chance_and_no_others(tmp_path):
    """The best constant answer is 47.5. Seeds count together, and a control without training may lie where it wants."""
    for seed, score in enumerate((40.0, 54.0)):
        write_trial(tmp_path, "few", "weak", seed, {"rte": score})
    write_trial(tmp_path, "few", "fine", 0, {"rte": 48.0})
    write_trial(tmp_path, "zero", "control", 0, {"rte": 1.0}, steps=0)
    (caution,) = cautions_of(Study.of(Store(tmp_path)))
    assert (caution.title, caution.count) == ("At chance", "1 of 3 scores of trained runs")
    html, page = read(tmp_path)
    assert page.sections[:2] == ["answer", "cautions"]
    assert page.row("few, weak") == "few, weak 1 of 2 40.0"
    assert "rte (constant 47.5)" in html
    assert "<strong>What went wrong</strong>: 1 of 3 scores of trained runs are at chance." in html


def test_single_runs_at_chance_are_told_where_their_mean_is_not(tmp_path):
    for seed, score in enumerate((90.0, 47.5, float("nan"))):
        write_trial(tmp_path, "few", "some", seed, {"rte": score})
    assert read(tmp_path)[1].row("few, some") == "few, some 2 of 3 47.5, nan"


def test_the_matrix_of_chance_holds_methods_and_tasks_that_are_at_chance(tmp_path):
    for seed in (0, 1):
        for task, scores in {"rte": (40.0, 60.0), "cb": (41.0, 60.0), "wic": (90.0, 60.0)}.items():
            for label, score in zip(("weak", "fine"), scores, strict=True):
                write_trial(tmp_path, "few", label, seed, {task: score + seed})
    html, page = read(tmp_path)
    table = html[html.index('id="chance"') :].partition("</table>")[0]
    assert page.row("few, weak") == "few, weak 2 of 2 41.0, 42.0 2 of 2 40.0, 41.0"
    assert "fine" not in table
    assert "wic" not in table


def test_runs_that_hardly_say_a_label(tmp_path):
    """Of three rows each: of two seeds one says a label twice, which is enough; open answers and old runs were not counted."""
    for seed, (outside, task) in enumerate([(3, "rte"), (1, "rte"), (None, "squad")]):
        run = write_trial(tmp_path, "zero", "control", seed, {task: 60.0}, steps=0)
        change(run, lambda result, task=task, outside=outside: result["data"][task].update(no_label=outside))
    write_trial(tmp_path, "few", "old", 0, {"rte": 60.0})
    assert found(tmp_path) == {
        "Answers that are no label": ("zero, control, rte: seed 0: 3 of 3 answers are no label",)
    }
    html, _ = read(tmp_path)
    assert "<strong>Answers that are no label</strong> (1 of 2 scores of tasks with labels)" in html


def test_nothing_is_folded_up_however_much_there_is(tmp_path):
    for seed in range(40):
        write_trial(tmp_path, "few", "weak", seed, {"rte": 40.0})
        (tmp_path / "few" / f"broken-{seed}").mkdir()
        (tmp_path / "few" / f"broken-{seed}" / "failed.json").write_text('{"error": "RunFailed: loss is nan"}')
    html, page = read(tmp_path)
    top = html[html.index('id="cautions"') : html.index('id="scores"')]
    assert "<details" not in top
    assert top.count("RunFailed: loss is nan</li>") == 40
    assert page.row("few, weak") == f"few, weak 40 of 40 {', '.join(['40.0'] * 40)}"


def test_cut_and_shared_texts_and_failures(tmp_path):
    run = write_trial(tmp_path, "few", "fine", 0, {"rte": 60.0})
    text = (run / "result.json").read_text()
    noted = ["6 of 100 train sources were cut to 64 tokens", "5 of 100 test sources were cut to 64 tokens",
             "3 train rows have the text of a test row and were left out"]  # fmt: skip
    (run / "result.json").write_text(text.replace('["a note on rte"]', json.dumps(noted)))
    (tmp_path / "few" / "broken").mkdir()
    (tmp_path / "few" / "broken" / "failed.json").write_text('{"error": "RunFailed: loss is nan"}')
    assert found(tmp_path) == {
        "Failed runs": ("few/broken: RunFailed: loss is nan",), "Cut texts": (f"rte: {noted[0]}",),
        "Texts in several splits": (f"rte: {noted[2]}",),
    }  # fmt: skip


def rewrite(run, change):
    result = json.loads((run / "result.json").read_text())
    change(result)
    (run / "result.json").write_text(json.dumps(result))


def test_seeds_that_collapsed(tmp_path):
    """One far below the others, in spreads of the others and in points."""
    for seed, score in enumerate((88.0, 90.0, 60.0)):
        write_trial(tmp_path, "few", "one", seed, {"rte": score})
    for seed, score in enumerate((88.0, 90.0, 81.0)):
        write_trial(tmp_path, "few", "noisy", seed, {"rte": score})
    for seed, score in enumerate((90.0, 60.0)):
        write_trial(tmp_path, "few", "two", seed, {"rte": score})
    assert found(tmp_path) == {
        "Collapsed seeds": ("few, one, rte: seed 2 has accuracy 60.0, the other 2 between 88.0 and 90.0",),
    }


def test_what_was_noted_of_the_data(tmp_path):
    run = write_trial(tmp_path, "few", "fine", 0, {"rte": 60.0})
    said = {
        "Unknown characters": notes.unknown(45, 100, "train", (450, 1000), "Příliš"),
        "Classes without rows": notes.absent(["good"], 20, "test"),
        "Few validation rows": notes.few_validated(5),
        "Suspicious files": f"train.csv: a cell of the row that begins in line 4 has 57 line breaks: {notes.STRAY}",
    }
    rewrite(run, lambda result: result["data"]["rte"].update(notes=list(said.values())))
    assert found(tmp_path) == {title: (f"rte: {note}",) for title, note in said.items()}
    assert "45 of 100 train sources" in said["Unknown characters"]
    assert "450 of 1000 tokens, 45.0%" in said["Unknown characters"]
    html, _ = read(tmp_path)
    assert "only 5 validation rows choose the best step: each is 20 points" in html
