"""`cpeft predict`: answer the rows of a file into another file, as a stream, resumable.

The file is read three times and never loaded as a whole: to find every row that cannot be answered before the model is loaded,
to answer, and to write the rows with their answers. Answers are saved in OUT.partial as they are computed; after an
interruption, re-run the same command to resume. OUT is written when all rows are answered.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from cpeft.config import digest, merge, override
from cpeft.data.csv_rows import STRAY
from cpeft.data.row_writers import kind_of, open_writer
from cpeft.data.user_files import FileRow, UserFile, check_columns
from cpeft.errors import CannotWrite, ConfigError, CpeftError, DataError, writing
from cpeft.prompts.formula.evaluate import compose_files
from cpeft.registry import closest
from cpeft.tasks import Task
from cpeft.tasks.cells import cell_text, is_missing
from cpeft.tasks.custom import checked_encoding, find_task
from cpeft.use.target import CountedAnswers, Subject, load_subject, prompts_subject

AT_ONCE = 256  # rows answered together; an interruption loses at most these
OWN = "prediction"


@dataclass(frozen=True)
class Survey:
    """The contents of a file: the number of rows, the columns, and the prompts that rows name, each with the first such row."""

    rows: int
    columns: tuple[str, ...]
    prompts: dict[str, FileRow]
    notes: tuple[str, ...]

    @property
    def own(self) -> str:
        """The name of the column of answers, different from every column of the file."""
        name = OWN
        while name in self.columns:
            name = f"cpeft_{name}"
        return name


def predict_file(
    what: str, task: str, rows: Path, out: Path, settings: Sequence[str], model: str | None,
    prompt_column: str | None = None, encoding: str | None = None,
) -> tuple[int, list[str]]:  # fmt: skip
    """Answer the rows of a CSV, JSON or Parquet file into a file of the format that the suffix of `out` names. With a
    `prompt_column`, each row is answered by the prompt it names there, or by `what` if it names none. Returns the number of
    rows, and notes on them. Raises DataError, naming the row, before any row is answered."""
    kind, found = kind_of(out), find_task(task)
    try:
        file = UserFile(rows, checked_encoding(encoding or found.encoding))
    except ValueError as error:
        raise ConfigError(f"--encoding {encoding}: {error}") from None
    if rows.exists() and out.exists() and rows.samefile(out):
        raise ConfigError(f"--out {out} is the input itself; name another file")
    survey = _survey(file, found, what, prompt_column)
    place = {name: index for index, name in enumerate(survey.prompts)}
    subject = _subject(what, survey, file, model, prompt_column).under(merge(*map(override, settings)))
    with writing(out):
        if out.is_dir():
            raise IsADirectoryError(21, "is a directory", str(out))
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Partial(out.with_name(f"{out.name}.partial"), _identity(file, found, subject, prompt_column))
        for chunk in _chunks(file, partial.done):
            which = [place[_named(row, what, prompt_column)] for row in chunk] if len(place) > 1 else []
            partial.add(subject.answer(task, [row.cells for row in chunk], which))
        if partial.done != survey.rows:
            raise DataError(f"{rows} changed while its rows were answered; start again, without {partial.path}")
        _write(out, kind, file, survey, partial)
        partial.path.unlink()
    return survey.rows, [*_column_notes(survey, prompt_column, found), *partial.notes(subject.learner.data.max_source)]


def _survey(file: UserFile, task: Task, what: str, prompt_column: str | None) -> Survey:
    columns: dict[str, None] = {}
    prompts: dict[str, FileRow] = {}
    for row in file:
        columns.update(dict.fromkeys(row.cells))
        try:
            task.source(row.cells)
            prompts.setdefault(_named(row, what, prompt_column), row)
        except DataError as error:
            raise DataError(f"{file.place(row)}: {error}") from None
    check_columns(task, set(columns), str(file.path))
    if prompt_column and prompt_column not in columns:
        raise DataError(f"{file.path}: no column '{prompt_column}' (--prompt-column){closest(prompt_column, columns)}")
    return Survey(file.rows, tuple(columns), prompts, file.notes)


def _named(row: FileRow, what: str, prompt_column: str | None) -> str:
    """The prompt that a row names, else `what`."""
    value = row.cells.get(prompt_column) if prompt_column else None
    try:
        return what if is_missing(value) else cell_text(value).strip() or what
    except ValueError as error:
        raise DataError(f"column '{prompt_column}' {error}") from None


def _subject(what: str, survey: Survey, file: UserFile, model: str | None, prompt_column: str | None) -> Subject:
    if list(survey.prompts) == [what]:
        return load_subject(what, model)
    prompts = {}
    for name, row in survey.prompts.items():
        try:
            prompts[name] = compose_files(name)
        except CpeftError as error:
            raise DataError(f"{file.place(row)}: column '{prompt_column}': {error}") from None
    return prompts_subject(prompts, model)


def _identity(file: UserFile, task: Task, subject: Subject, prompt_column: str | None) -> str:
    """A digest of everything that decides the answers."""
    with file.path.open("rb") as content:
        rows = hashlib.file_digest(content, "sha256").hexdigest()
    words = {str(code): word for code, word in task.words.items()}
    text = [task.name, task.version, task.template, task.prefix, task.ask, task.missing, words]
    return digest([rows, file.encoding, text, prompt_column, subject.digest()])


def _chunks(file: UserFile, done: int) -> Iterator[list[FileRow]]:
    rows = islice(file, done, None)
    while chunk := list(islice(rows, AT_ONCE)):
        yield chunk


class Partial:
    """The answers computed so far, on disk: a line that identifies the command, then a line per chunk of rows."""

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.done, self.cut, self.unknown = path, 0, 0, 0
        whole = 0  # bytes of whole lines
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):  # an incomplete last line, from an interruption
                        break
                    whole += len(line)
                    try:
                        self._count(json.loads(line), identity)
                    except (ValueError, TypeError):
                        raise CannotWrite(
                            f"{path} holds no answers of this program; delete it or name another --out"
                        ) from None
            os.truncate(path, whole)
        if not whole:
            path.write_text(json.dumps({"command": identity}) + "\n", encoding="utf-8")

    def _count(self, kept: dict[str, object], identity: str) -> None:
        if "command" not in kept:
            answers = CountedAnswers(**kept)  # type: ignore[arg-type]
            self.done, self.cut = self.done + len(answers.texts), self.cut + answers.cut
            self.unknown += answers.unknown
        elif kept["command"] != identity:
            raise CannotWrite(
                f"{self.path} has answers of another command (other rows, prompt, model or settings); delete it to begin anew"
            )

    def add(self, answers: CountedAnswers) -> None:
        """Keep the answers of the next chunk."""
        kept = asdict(answers)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")
        self._count(kept, "")

    def texts(self) -> Iterator[str]:
        """All answers in order."""
        with self.path.open(encoding="utf-8", newline="\n") as file:
            for line in islice(file, 1, None):
                yield from json.loads(line)["texts"]

    def notes(self, most: int | None) -> Iterator[str]:
        """Notes on the sources that the model did not read unchanged."""
        if self.cut:
            yield f"{self.cut} of {self.done} texts were cut to {most} tokens (data.max_source)"
        if self.unknown:
            yield f"{self.unknown} of {self.done} texts have characters that the tokenizer does not know"


def _write(out: Path, kind: str, file: UserFile, survey: Survey, partial: Partial) -> None:
    """Write the rows with their answers, atomically."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        writer = open_writer(kind, temporary, survey.columns, [survey.own], file.schema, out.suffix.lower() == ".tsv")
        for row, text in zip(file, partial.texts(), strict=True):
            writer.write(row, {survey.own: text})
        writer.close()
        os.replace(temporary, out)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _column_notes(survey: Survey, prompt_column: str | None, task: Task) -> Iterator[str]:
    yield from (note for note in survey.notes if STRAY in note)
    if survey.own != OWN:
        yield f"your column '{OWN}' is kept; the answers are in '{survey.own}'"
    if "prompt" in survey.columns and not prompt_column and "prompt" not in task.shown:
        yield "the column 'prompt' is kept and not used; --prompt-column prompt answers each row by the prompt it names"
