"""SuperGLUE (Wang et al. 2019): six tasks in the form of T5 (Raffel et al. 2020) that ATTEMPT took over.

Differs from the published code: the label words are ours (the papers have numbers alone); ReCoRD is scored once per
query with every gold answer as a reference, where the published code repeats the query for each gold answer, in
evaluation too, and so weighs queries by their number of answers; WSC spans are found by their text from the word index
on, because the released text and spans differ in letter case and, in one row, by a word. Test labels are hidden, so
`test` is absent.
"""

import re

from cpeft.errors import DataError
from cpeft.tasks.base import TASKS, Hub, Row, Sizes, Task, coded, named

SUPERGLUE = "aps/super_glue"  # successor of the script dataset "super_glue"


def mark_spans(row: Row) -> Row:
    """WSC: `* noun *` and `# pronoun #` around the two spans, both found in the unmarked text."""
    text = str(row["text"])
    words = [match.start() for match in re.finditer(r"\S+", text)]
    marks = []
    for span, sign in (("span1", "*"), ("span2", "#")):
        wanted = r"\s+".join(re.escape(word) for word in str(row[f"{span}_text"]).split())
        index = int(row[f"{span}_index"])
        found = re.compile(wanted, re.IGNORECASE).search(text, words[index]) if 0 <= index < len(words) else None
        if not found:
            raise DataError(f"task 'wsc': {span} '{row[f'{span}_text']}' is not at or after word {index} of: {text}")
        length = found.end() - found.start()
        marks += [(found.start(), -length, f"{sign} "), (found.end(), length, f" {sign}")]
    # From the end to the start, so that no insertion moves a later one; the lengths put the marks of the longer span
    # outside where one span holds the other ("their mothers" and "their").
    for place, _, mark in sorted(marks, reverse=True):
        text = text[:place] + mark + text[place:]
    return {**row, "text": text}


def plain_paragraph(row: Row) -> Row:
    """MultiRC: the paragraph without its `<br>` and `<b>Sentence 1: </b>` markup."""
    text = re.sub(r"<b>Sentence \d+:\s*</b>|</?b>|<br\s*/?>", " ", str(row["paragraph"]))
    return {**row, "paragraph": re.sub(r"\s+", " ", text)}


def question_of(row: Row) -> str:
    """MultiRC: the question an answer belongs to."""
    return f"{row['idx']['paragraph']}-{row['idx']['question']}"


def plain_passage(row: Row) -> Row:
    """ReCoRD: each "@highlight" becomes the end of a sentence; the entities become one line."""
    parts = [part.strip() for part in re.split(r"\n?@highlight\n?", str(row["passage"]))]
    passage = " ".join(part if part.endswith((".", "?", "!", '"', "'")) else f"{part}." for part in parts if part)
    return {**row, "passage": passage, "entities": ", ".join(row["entities"])}


for task in (
    Task("boolq", "BoolQ: a yes/no question about a passage", named("question", "passage"), Sizes(9_427, 3_270),
         Hub(SUPERGLUE, "boolq"), prefix="superglue-boolq", metrics=("accuracy",), words=coded("false", "true"),
         ask="Does the passage answer the question with yes (true) or no (false)?"),
    Task("cb", "CommitmentBank: does the speaker commit to the hypothesis?", named("premise", "hypothesis"),
         Sizes(250, 56), Hub(SUPERGLUE, "cb"), prefix="superglue-cb",
         words=coded("entailment", "contradiction", "neutral")),
    Task("wic", "Words in context: is a word used in one sense in both sentences?",
         named("sentence1", "sentence2", "word"), Sizes(5_428, 638), Hub(SUPERGLUE, "wic"),
         prefix="superglue-wic", metrics=("accuracy",), words=coded("false", "true")),
    Task("wsc", "Winograd schema challenge: does the pronoun mean the noun?", named("text"), Sizes(554, 104),
         Hub(SUPERGLUE, "wsc.fixed"), prefix="superglue-wsc.fixed", metrics=("accuracy",),
         words=coded("false", "true"), clean=mark_spans,
         ask="Does the pronoun between # and # mean the noun between * and *?"),
    Task("multirc", "MultiRC: is this one of the right answers to the question?",
         named("question", "answer", "paragraph"), Sizes(27_243, 4_848), Hub(SUPERGLUE, "multirc"),
         prefix="superglue-multirc", metrics=("multirc_f1a", "multirc_em", "multirc_f1m"),
         words=coded("false", "true"), clean=plain_paragraph, group=question_of),
    Task("record", "ReCoRD: which entity fills the placeholder?", named("query", "entities", "passage"),
         Sizes(100_730, 10_000), Hub(SUPERGLUE, "record"), kind="extraction",
         prefix="superglue-record record",  # T5 wrote the task's name twice and everyone after it kept that
         clean=plain_passage, answers=lambda row: tuple(dict.fromkeys(row["answers"])), real_rows=False),
):  # fmt: skip
    TASKS.add(task.name, task)
