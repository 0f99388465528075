"""Answers in free text: SQuAD 1.1 and 2.0, four MRQA sets (Fisch et al. 2019) and MATH (Hendrycks et al. 2021).

Differs from the published code: a SQuAD target is the answer's text, not the stringified answers dictionary (papers.md
E-3; `data.squad_target = "stringified"` brings it back, and scores then compare dictionaries), and punctuation stays as it
is; an unanswerable SQuAD 2.0 question has the target "unanswerable", so that no
answer is a text; the MRQA sets load themselves, where the replication's entries all loaded SQuAD (E-19); MATH has
an instruction only where a run asks for one.
"""

import re

from cpeft.tasks.base import TASKS, Hub, Row, Sizes, Task, named

FIELDS = named("question", "context")
SPAN = "Answer the question with words of the context alone."
UNANSWERABLE = "unanswerable"  # the metrics squad_v2_* know this word


def spans(row: Row) -> tuple[str, ...]:
    """SQuAD: the annotators' answers without repeats."""
    return tuple(dict.fromkeys(row["answers"]["text"]))


def dictionary(row: Row) -> tuple[str, ...]:
    """The answers as Python prints them, in TPV's SQuAD 2.0: {'text': ['Ann'], 'answer_start': [11]}."""
    return (str({key: list(row["answers"][key]) for key in ("text", "answer_start")}),)


def spaced_dictionary(row: Row) -> tuple[str, ...]:
    """The same with spaces round all punctuation, in ATTEMPT's SQuAD: { ' text ' : [ ' Ann ' ] , ' answer _ start ' ..."""
    return (" ".join(re.sub(r"([^\w\s]|_)", r" \1 ", dictionary(row)[0]).split()),)


def mrqa(name: str, title: str, subset: str, official: Sizes) -> Task:
    """One subset of the MRQA collection: one dataset with a column `subset`, whose test split holds other subsets."""
    return Task(name, title, FIELDS, official, Hub("mrqa-workshop/mrqa"), kind="extraction", ask=SPAN, folders=("mrqa",),
                keep=lambda row: row.get("subset", subset) == subset,
                answers=lambda row: tuple(dict.fromkeys(row["answers"])), real_rows=False)  # fmt: skip


for task in (
    Task("squad", "SQuAD 1.1: answer a question from a paragraph", FIELDS,
         Sizes(87_599, 10_570), Hub("rajpurkar/squad"), kind="extraction", ask=SPAN, answers=spans,
         stringified=spaced_dictionary),
    Task("squad_v2", "SQuAD 2.0: answer a question from a paragraph, or say that it is unanswerable", FIELDS,
         Sizes(130_319, 11_873), Hub("rajpurkar/squad_v2"), kind="extraction",
         ask=f'{SPAN} Where the context holds no answer, say "{UNANSWERABLE}".',
         metrics=("squad_v2_f1", "squad_v2_em"), answers=lambda row: spans(row) or (UNANSWERABLE,),
         stringified=dictionary),
    mrqa("nq", "Natural Questions, short answers", "NaturalQuestionsShort", Sizes(104_071, 12_836)),
    mrqa("hotpotqa", "HotpotQA: answers that join two passages", "HotpotQA", Sizes(72_928, 5_904)),
    mrqa("searchqa", "SearchQA: quiz clues answered from search results", "SearchQA", Sizes(117_384, 16_980)),
    mrqa("newsqa", "NewsQA: questions about CNN articles", "NewsQA", Sizes(74_160, 4_212)),
    Task("math", "MATH: competition problems, solved in full", named("level", "type", "problem"),
         Sizes(7_500, None, 5_000), Hub("DigitalLearningGmbH/MATH-lighteval", "default"), kind="generation",
         ask="Solve the problem step by step and put the final answer into \\boxed{}.",
         metrics=("math_exact", "rouge_l"), answers=lambda row: (str(row["solution"]).strip(),)),
):  # fmt: skip
    TASKS.add(task.name, task)
