"""Answers in free text: SQuAD 1.1 and 2.0, four MRQA sets (Fisch et al. 2019) and MATH (Hendrycks et al. 2021).

Differs from the published code: a SQuAD target is the answer's text, not the stringified answers dictionary (papers.md
E-3), and punctuation stays as it is; an unanswerable SQuAD 2.0 question has the target "unanswerable", so that no
answer is a text; the MRQA sets load themselves, where the replication's entries all loaded SQuAD (E-19); MATH has no
instruction.
"""

from cpeft.tasks.base import TASKS, Hub, Row, Sizes, Task

FIELDS = (("question", "question"), ("context", "context"))
LABELLED = {"train": "train", "validation": "validation"}
UNANSWERABLE = "unanswerable"  # the metrics squad_v2_* know this word


def spans(row: Row) -> tuple[str, ...]:
    """SQuAD: the annotators' answers without repeats."""
    return tuple(dict.fromkeys(row["answers"]["text"]))


def mrqa(name: str, title: str, subset: str, train: int, validation: int) -> Task:
    """One subset of the MRQA collection: one dataset with a column `subset`, whose test split holds other subsets."""
    return Task(
        name=name,
        title=title,
        kind="extraction",
        fields=FIELDS,
        prefix=name,
        metrics=("squad_f1", "squad_em"),
        official=Sizes(train, validation, None),
        hub=Hub("mrqa-workshop/mrqa", splits=LABELLED),
        folders=("mrqa",),
        keep=lambda row: row.get("subset", subset) == subset,
        answers=lambda row: tuple(dict.fromkeys(row["answers"])),
        real_rows=False,
    )


for task in (
    Task(
        name="squad",
        title="SQuAD 1.1: answer a question from a paragraph",
        kind="extraction",
        fields=FIELDS,
        prefix="squad",
        metrics=("squad_f1", "squad_em"),
        official=Sizes(87_599, 10_570, None),
        hub=Hub("rajpurkar/squad", splits=LABELLED),
        answers=spans,
    ),
    Task(
        name="squad_v2",
        title="SQuAD 2.0: answer a question from a paragraph, or say that it is unanswerable",
        kind="extraction",
        fields=FIELDS,
        prefix="squad_v2",
        metrics=("squad_v2_f1", "squad_v2_em"),
        official=Sizes(130_319, 11_873, None),
        hub=Hub("rajpurkar/squad_v2", splits=LABELLED),
        answers=lambda row: spans(row) or (UNANSWERABLE,),
    ),
    mrqa("nq", "Natural Questions, short answers", "NaturalQuestionsShort", 104_071, 12_836),
    mrqa("hotpotqa", "HotpotQA: answers that join two passages", "HotpotQA", 72_928, 5_904),
    mrqa("searchqa", "SearchQA: quiz clues answered from search results", "SearchQA", 117_384, 16_980),
    mrqa("newsqa", "NewsQA: questions about CNN articles", "NewsQA", 74_160, 4_212),
    Task(
        name="math",
        title="MATH: competition problems, solved in full",
        kind="generation",
        fields=(("level", "level"), ("type", "type"), ("problem", "problem")),
        prefix="math",
        metrics=("math_exact", "rouge_l"),
        official=Sizes(7_500, None, 5_000),
        hub=Hub("DigitalLearningGmbH/MATH-lighteval", "default", {"train": "train", "test": "test"}),
        answers=lambda row: (str(row["solution"]).strip(),),
    ),
):
    TASKS.add(task.name, task)
