"""`cpeft predict` on files: the user's columns untouched with ours beside them, and an interrupted command goes on."""

import csv
import datetime
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpeft.use import predict as answering
from cpeft.use.target import Subject

RULES = [
    ["id", "text", "when"],
    ["007", 'w1 "w2"', "2020-01-05 10:00"],
    ["008", "w3, w4\nw5", "NA"],
    ["1.50", "w6", ""],
]


@pytest.fixture
def prompts(finished):
    return [next(finished.path.glob(f"sources/{task}*s0*/prompts/{task}")) for task in ("mood", "topic")]


@pytest.fixture
def ask(cpeft_main, prompts, world, tmp_path, monkeypatch):
    """Predict in a folder of its own and return what was said."""
    monkeypatch.chdir(tmp_path)

    def predict(source, out, *more, code=0):
        got, said, error = cpeft_main(
            "predict", prompts[0], "--task", world / "mood.toml", "--input", source, "--out", out, *more
        )
        assert got == code, error
        return (said + error).replace("\n", " ")

    return predict


def rows_csv(path, separator=","):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def rows_jsonl(path):
    def no(word):
        raise AssertionError(f"{word} is not JSON")

    return [json.loads(line, parse_constant=no) for line in open(path, encoding="utf-8")]


def write_csv(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def test_csv_keeps_its_cells_in_every_kind_of_file(ask):
    write_csv("in.csv", RULES)
    for out in ("o.csv", "o.tsv", "o.jsonl", "o.parquet", "o"):
        assert f"3 predictions in {out}" in ask("in.csv", out)
    table = rows_csv("o.csv")
    assert [row[:3] for row in table] == RULES
    assert table[0][3] == "prediction"
    said = [row[3] for row in table[1:]]
    expected = [
        dict(zip(RULES[0], row, strict=True)) | {"prediction": text} for row, text in zip(RULES[1:], said, strict=True)
    ]
    assert rows_jsonl("o.jsonl") == rows_jsonl("o") == pq.read_table("o.parquet").to_pylist() == expected
    assert rows_csv("o.tsv", "\t") == table


def test_json_objects_keep_their_own_text(ask, tmp_path):
    lines = [
        '{"text": "w1",  "n": 2.50, "big": 123456789012345678901, "e": 1e5, "z": {"a": [1, 2.0]}}',
        '{"text":"2019-01-01", "t":true, "s":"\u017e"}',
    ]
    (tmp_path / "in.jsonl").write_text("\n\n".join(lines), encoding="utf-8")
    ask("in.jsonl", "o.jsonl")
    written = (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()
    assert [line.startswith(raw[:-1] + ', "prediction": ') for line, raw in zip(written, lines, strict=True)] == [
        True,
        True,
    ]
    ask("in.jsonl", "o.csv")
    first, second = rows_csv("o.csv")[1:]
    assert first[:-1] == ["w1", "2.50", "123456789012345678901", "1e5", '{"a": [1, 2.0]}', "", ""]
    assert second[:-1] == ["2019-01-01", "", "", "", "", "true", "\u017e"]
    (tmp_path / "in.json").write_text("[\n" + ",\n".join(lines) + "\n]", encoding="utf-8")
    ask("in.json", "again.jsonl")
    assert (tmp_path / "again.jsonl").read_text(encoding="utf-8").splitlines() == written


def test_parquet_keeps_its_types_and_json_has_no_nan(ask):
    table = pa.table({
        "text": ["w1", "w2"], "id": pa.array([7, None], pa.int16()), "x": [float("nan"), 0.5],
        "f": pa.array([0.1, None], pa.float32()),
        "when": [datetime.datetime(2020, 1, 5), None], "deep": [[{"a": float("nan")}], None],
    })  # fmt: skip
    pq.write_table(table, "in.parquet")
    ask("in.parquet", "o.parquet")
    again = pq.read_table("o.parquet")
    assert again.drop_columns("prediction").schema.equals(table.schema)
    assert str(again.drop_columns("prediction").to_pylist()) == str(table.to_pylist())  # NaN is itself as text
    ask("in.parquet", "o.jsonl")
    first, second = rows_jsonl("o.jsonl")
    assert [first[name] for name in ("id", "x", "f", "when", "deep")] == [
        7,
        None,
        0.1,
        "2020-01-05 00:00:00",
        [{"a": None}],
    ]
    assert [second[name] for name in ("id", "x", "f", "when", "deep")] == [None, 0.5, None, None, None]
    pq.write_table(table.append_column("image", [[b"x", b"y"]]), "in.parquet")
    assert "column 'image' holds bytes, which JSON cannot; write Parquet" in ask("in.parquet", "o.jsonl", code=2)


def test_columns_called_prediction_and_prompt_survive(ask):
    write_csv("in.csv", [["text", "prediction", "prompt"], ["w1", "mine", "see above"], ["w2", "", ""]])
    said = ask("in.csv", "o.csv")
    assert "your column 'prediction' is kept; the answers are in 'cpeft_prediction'" in said
    assert "the column 'prompt' is kept and not used; --prompt-column prompt answers" in said
    assert [row[:3] for row in rows_csv("o.csv")[1:]] == [["w1", "mine", "see above"], ["w2", "", ""]]
    assert rows_csv("o.csv")[0] == ["text", "prediction", "prompt", "cpeft_prediction"]


def test_rows_name_their_own_prompts_where_that_is_asked_for(ask, prompts, world, cpeft_main):
    other = str(prompts[1])
    write_csv("in.csv", [["text", "who"], ["w1 w2", ""], ["w1 w2", other], ["w3", f"'{other}' + 0*v('{other}')"]])
    ask("in.csv", "o.csv", "--prompt-column", "who")
    answers = [row[2] for row in rows_csv("o.csv")[1:]]
    cpeft_main("predict", prompts[1], "--task", world / "mood.toml", "--input", "in.csv", "--out", "p.csv")
    ask("in.csv", "q.csv")
    assert answers[0] == rows_csv("q.csv")[1][2]
    assert answers[1:] == [row[2] for row in rows_csv("p.csv")[2:]]
    assert "no column 'whom' (--prompt-column), did you mean 'who'?" in ask(
        "in.csv", "o.csv", "--prompt-column", "whom", code=2
    )
    write_csv("in.csv", [["text", "who"], ["w1 w2", ""], ["w1 w2", "see above"]])
    said = ask("in.csv", "o.csv", "--prompt-column", "who", code=2)
    assert "in.csv row 2 (line 3): column 'who': " in said


def test_a_row_that_cannot_be_answered_is_named_before_anything_is(ask, tmp_path):
    for line, why in {"{}": "no column 'text'; the row has none", '{"text": null}': "column 'text' is missing"}.items():
        (tmp_path / "in.jsonl").write_text('{"text": "w1"}\n' + line + "\n")
        said = ask("in.jsonl", "o.jsonl", code=2)
        assert "in.jsonl row 2 (line 2): " in said
        assert why in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]
    (tmp_path / "in.csv").write_bytes(b"text\ncaf\xe9\n")
    assert "--encoding latin-1" in ask("in.csv", "o.csv", code=2)
    ask("in.csv", "o.csv", "--encoding", "latin-1")
    assert rows_csv("o.csv")[1][0] == "café"
    assert "no text encoding is called 'latin-one'" in ask("in.csv", "o.csv", "--encoding", "latin-one", code=2)
    assert "is the input itself" in ask("in.csv", "in.csv", code=2)
    assert "compressed output is not supported" in ask("in.csv", "o.csv.gz", code=2)


def test_cut_and_unknown_texts_are_counted(ask, tmp_path):
    (tmp_path / "in.csv").write_text("text\nw1\n" + "w2 " * 300 + "\nw3 žluťoučký\n", encoding="utf-8")
    said = ask("in.csv", "o.csv")
    assert "1 of 3 texts were cut to 256 tokens" in said
    assert "1 of 3 texts have characters that the tokenizer does not know" in said


def test_an_interrupted_command_goes_on(ask, tmp_path, monkeypatch, world):
    """Killed in the third chunk, with a torn line at the end of what it kept."""
    monkeypatch.setattr(answering, "AT_ONCE", 4)
    write_csv("in.csv", [["text"], *[[f"w{i % 80} w{i % 7}"] for i in range(18)]])
    ask("in.csv", "whole.csv")
    asked, answer = [], Subject.answer

    def dying(self, task, rows, which=()):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(rows))
        return answer(self, task, rows, which)

    monkeypatch.setattr(Subject, "answer", dying)
    assert "re-run the same command to resume" in ask("in.csv", "o.csv", code=4)
    monkeypatch.setattr(Subject, "answer", lambda *a: asked.append(len(a[2])) or answer(*a))
    partial = tmp_path / "o.csv.partial"
    partial.write_bytes(partial.read_bytes() + b'{"texts": ["posi')
    assert not (tmp_path / "o.csv").exists()
    assert "o.csv.partial has answers of another command" in ask("in.csv", "o.csv", "eval.max_new_tokens=1", code=2)
    ask("in.csv", "o.csv")
    assert asked == [4, 4, 4, 4, 2]
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "o.csv", "whole.csv"]
    partial.write_text("mine\n")
    assert "o.csv.partial holds no answers of this program" in ask("in.csv", "o.csv", code=2)
