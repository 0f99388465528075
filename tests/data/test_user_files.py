"""A cell of a user's file is the text that stands in it, whatever the file; what cannot be read is one sentence."""

import datetime
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpeft.data.csv_rows import STRAY
from cpeft.data.json_rows import CHUNK
from cpeft.data.resolve import load_tables
from cpeft.data.user_files import UserFile
from cpeft.errors import DataError, MissingData
from cpeft.tasks.base import Task
from cpeft.tasks.custom import load_custom


def read(path, content, encoding="utf-8"):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [row.cells for row in UserFile(path, encoding)]


def notes(path):
    file = UserFile(path)
    list(file)
    return " ".join(file.notes)


@pytest.mark.parametrize(
    "cell", ["007", "2.50", "3", "true", "False", "NA", "null", "2020-01-05 10:00", "", " x ", "1e5", "NaN"]
)
def test_a_csv_cell_is_its_text(tmp_path, cell):
    assert read(tmp_path / "a.csv", f"text,n\n{cell},1\nother,2\n")[0] == {"text": cell, "n": "1"}


def test_a_json_string_stays_and_a_number_is_its_digits(tmp_path):
    text = '{"a": "2019-01-01", "b": 2.50, "c": 1e5, "d": true, "e": null, "f": 123456789012345678901234567890}'
    cells = {"a": "2019-01-01", "b": "2.50", "c": "1e5", "d": True, "e": None, "f": "123456789012345678901234567890"}
    assert read(tmp_path / "a.jsonl", text) == [cells]
    assert read(tmp_path / "a.jsonl", '{"a": 1}\n\n{"a": "1"}\n') == [
        {"a": "1"},
        {"a": "1"},
    ]  # of both kinds in one file


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.JSON", "a.ndjson"])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_objects_is_read_whatever_its_layout(tmp_path, name, indent):
    rows = [{"text": 'a "]}, {" b\u2028', "n": [1, {"x": None}]}, {"text": "two", "n": 1.5}]
    (tmp_path / name).write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    found = list(UserFile(tmp_path / name))
    assert [row.cells["text"] for row in found] == [row["text"] for row in rows]
    assert [json.loads(row.raw) for row in found] == rows
    assert all("\n" not in row.raw for row in found)


def test_an_array_larger_than_what_is_read_at_once(tmp_path):
    rows = [{"text": f"{i} " + "x" * (CHUNK // 3)} for i in range(8)] + [{"text": "y" * (3 * CHUNK)}]
    assert read(tmp_path / "a.json", json.dumps(rows)) == rows
    lines = "\n".join(map(json.dumps, rows))
    assert read(tmp_path / "a.jsonl", lines) == rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_byte_order_marks_and_line_ends(tmp_path, encoding, ending):
    text = ending.join(["text,label", '"žluťoučký, kůň",1', "x,2", ""])
    assert read(tmp_path / "a.csv", text.encode(encoding)) == [
        {"text": "žluťoučký, kůň", "label": "1"},
        {"text": "x", "label": "2"},
    ]


def test_other_encodings_are_asked_for(tmp_path):
    content = "text,label\ngood,1\ncafé,1\n".encode("latin-1")
    with pytest.raises(
        DataError, match=r'a\.csv line 3: not UTF-8 \(byte 0xe9\); .*encoding = "latin-1".*--encoding latin-1'
    ):
        read(tmp_path / "a.csv", content)
    assert read(tmp_path / "a.csv", content, "latin-1")[1]["text"] == "café"
    with pytest.raises(DataError, match=r"a\.json line 3: not UTF-8"):
        read(tmp_path / "a.json", '[{"t": "x"},\n{"t": "y"},\n{"t": "é"}]'.encode("latin-1"))
    with pytest.raises(DataError, match=r'line 1: a NUL character, as in UTF-16 .* encoding = "utf-16-le"'):
        read(tmp_path / "a.csv", "text,label\nx,1\n".encode("utf-16-le"))
    assert read(tmp_path / "a.csv", "text,label\nx,1\n".encode("utf-16-le"), "utf-16-le") == [
        {"text": "x", "label": "1"}
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text;label\nx, y;1\n"), ("a.csv", "text\tlabel\nx, y\t1\n"), ("a.csv", "text|label\nx, y|1\n"),
        ("a.CSV", 'text,label\n"x, y",1\n'), ("a.tsv", "text\tlabel\nx, y\t1\n"), ("a.csv", "sep=;\ntext;label\nx, y;1\n"),
        ("a.csv", '"text, in words";label\nx;1\n'),
    ],
)  # fmt: skip
def test_separators(tmp_path, name, content):
    [cells] = read(tmp_path / name, content)
    assert list(cells.values()) in (["x, y", "1"], ["x", "1"])
    assert len(cells) == 2


def test_packed_files(tmp_path):
    for name, text in {
        "a.csv.gz": "text,label\nx,1\n",
        "a.jsonl.GZ": '{"text": "x", "label": 1}',
        "b.csv": "text,label\nx,1\n",
    }.items():
        assert read(tmp_path / name, gzip.compress(text.encode())) == [{"text": "x", "label": "1"}]
    with pytest.raises(DataError, match="damaged or not whole"):
        read(tmp_path / "a.csv.gz", gzip.compress(b"text,label\nx,1\n")[:-9])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "text,stars,text\na,5,b\n", "line 1: 2 columns are called 'text'"),
        ("a.csv", "text,,\na,5,b\n", "line 1: 2 columns have no name"),
        ("a.csv", 'text,label\n"5 inch,1\nx,2\n"y" z,3\n', "line 2: not a readable row .*line 4"),
        ("a.csv", 'text,label\nx,1\n"never closed,2\ny,3\n', "line 3: not a readable row"),
        ("a.csv", "text,label\nx,1\ny,1,2\n", "line 3: 3 cells, and the header has 2"),
        ("a.csv", "text,label\nx\n", "line 2: 1 cells, and the header has 2"),
        ("a.jsonl", '{"text": "x"}\n{"text": \n', "line 2: not a readable JSON object"),
        ("a.jsonl", '{"text": "x"}\n["x"]\n', r"line 2: \[.x.\] is no object"),
        ("a.jsonl", '{"text": NaN}\n', "line 1: NaN is not JSON"),
        ("a.jsonl", '{"a": 1, "a": 2}\n', "line 1: two values for 'a'"),
        ("a.jsonl", '{"a": "\\ud800"}\n', "line 1: .*half a character"),
        ("a.jsonl", '{"a": 1} {"a": 2}\n', "line 1: more text behind the object"),
        ("a.jsonl", '{"a": ' + "[" * 100_000 + "\n", "line 1: "),
        ("a.json", '{\n "rows": []\n}\n', "line 1: .*rows are objects, one a line, or one array"),
        ("a.json", '[{"a": 1}, 3]', "row 2: 3 is no object"),
        ("a.json", '[{"a": 1} {"a": 2}]', "row 2: .*a comma"),
        ("a.json", '[{"a": 1}', "row 2: "),
        ("a.json", "[]", "no rows"),
        ("a.csv", "", "the file is empty"),
        ("a.csv", "text,label\n", "no rows"),
        ("a.parquet", "version https://git-lfs.github.com/spec/v1\n", "not a readable .parquet"),
        ("a.csv", b"PK\x03\x04xxxx", "a zip archive or a spreadsheet"),
        ("a.xlsx", "x", "cannot read '.xlsx' files; .* Save a spreadsheet as CSV"),
        ("rows", "x", "cannot read 'rows'"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, name, content, says):
    with pytest.raises(DataError, match=says) as error:
        read(tmp_path / name, content)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingData, match="no such file"):
        list(UserFile(tmp_path / "gone.csv"))
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        list(UserFile(tmp_path / "a.csv"))


def test_rows_and_lines_are_both_told_and_swallowed_rows_are_a_warning(tmp_path):
    rows = [f"item {i} is {'great' if i % 2 else 'awful'},{5 if i % 2 else 1}" for i in range(100)]
    rows[2], rows[59] = '"5 inch screen is great,5', 'awful",1'
    assert len(read(tmp_path / "a.csv", "text,stars\n" + "\n".join(rows) + "\n")) == 43
    assert "a.csv: 43 rows in 101 lines" in notes(tmp_path / "a.csv")
    assert f"the row that begins in line 4 has 57 line breaks (43 rows were read from 101 lines): {STRAY}" in notes(
        tmp_path / "a.csv"
    )
    rows[2:60] = ['"5 inch', "a,1", "b,5", 'c",1']  # few lines, but each of them is a row
    read(tmp_path / "b.csv", "text,stars\n" + "\n".join(rows) + "\n")
    assert STRAY in notes(tmp_path / "b.csv")
    read(tmp_path / "c.csv", 'text,stars\n"Dear all,\nI liked it.\n\nYours",5\n\nx,1\n')
    assert notes(tmp_path / "c.csv") == "c.csv: 2 rows in 7 lines; 1 blank lines are no rows"


# Files of a task


def make_task(path, **more):
    settings = {"template": "{q} {c}", "label_column": "a", "files": {"test": str(path)}, "kind": "generation"}
    task = Task("own", "own", **{**settings, **more})
    return task if task.words else Task("own", "own", **settings, **more, answers=lambda row: (task.open_answer(row),))


def rows_of(path, **more):
    return load_tables(make_task(path, **more)).tables["test"].to_pylist()


def test_parquet_values_by_the_rule(tmp_path):
    table = pa.table(
        {
            "q": pa.array([3.0, 2.5], pa.float32()),
            "c": [True, False],
            "a": [datetime.date(2020, 1, 2)] * 2,
            "z": [[1], [2]],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet") == [
        {"q": "3", "c": "true", "a": "2020-01-02"},
        {"q": "2.5", "c": "false", "a": "2020-01-02"},
    ]
    pq.write_table(
        pa.table({"q": pa.array([0.1], pa.float32()), "c": pa.array(["x"]).dictionary_encode(), "a": [1]}),
        tmp_path / "b.parquet",
    )
    assert rows_of(tmp_path / "b.parquet") == [{"q": "0.1", "c": "x", "a": "1"}]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"q": null, "c": "x", "a": "y"}', "row 2 .line 2.: .*column 'q' is missing .null.; .* missing = \"\""),
        ('{"c": "x", "a": "y"}', "row 2 .line 2.: .*no column 'q'; the row has a, c"),
        ('{"q": "x", "c": "x", "a": null}', "row 2 .line 2.: .*the label column 'a' is missing"),
        ('{"q": "x", "c": "x", "a": " "}', "row 2 .line 2.: .*the answer in column 'a' is empty"),
        ('{"q": "x", "c": ["x"], "a": "y"}', "row 2 .line 2.: .*column 'c' holds a list, not text"),
        ('{"q": "x", "c": {"x": 1}, "a": "y"}', "row 2 .line 2.: .*column 'c' holds a dict, not text"),
        ('{"Q": "x", "c": "x", "a": "y"}', "no column 'q'; the row has Q, a, c, did you mean 'Q'"),
        ('{" q": "x", "c": "x", "a": "y"}', "did you mean ' q'"),
    ],
)
def test_a_missing_cell_is_no_word(tmp_path, line, says):
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": "x", "c": "x", "a": "y"}\n' + line + "\n")
    with pytest.raises(DataError, match=says) as error:
        rows_of(path)
    assert str(path) in str(error.value)


def test_missing_may_be_the_empty_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": "x", "c": null, "a": "y"}\n{"q": "x", "a": "y"}\n{"q": "x", "c": "z", "a": "y"}\n')
    assert [row["c"] for row in rows_of(path, missing="")] == ["", "", "z"]
    path.write_text('{"q": "x", "a": "y"}\n')  # a column that no row has is a mistake in the template
    with pytest.raises(DataError, match="no column 'c'; the row has a, q"):
        rows_of(path, missing="")
    path.write_text('{"q": "x", "c": null, "a": null}\n')
    with pytest.raises(DataError, match="the label column 'a' is missing"):
        rows_of(path, missing="")


def test_an_empty_answer_of_csv_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("q,c,a\nx,,1\ny,z,\n")
    with pytest.raises(DataError, match=r"row 2 \(line 3\): .*answer in column 'a' is empty"):
        rows_of(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("q,c,a\nx,,1\n")
    assert rows_of(tmp_path / "a.csv") == [{"q": "x", "c": "", "a": "1"}]  # an empty cell is the empty text


def test_a_template_that_shows_a_column_twice(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"a{i},b\n" for i in range(9)))
    (tmp_path / "own.toml").write_text('name = "own"\ntemplate = "{text} and {text}"\n[files]\ntrain = "a.csv"\n')
    task = load_custom(tmp_path / "own.toml")
    table = load_tables(task).tables["train"]
    assert table.column_names == ["text", "label"]
    assert [task.source(row, prefix=False) for row in table.to_pylist()] == [f"a{i} and a{i}" for i in range(9)]
