"""GLUE (Wang et al. 2018): the nine tasks as ATTEMPT and TPV render them.

Differs from the published code: SST-2's label has its colon (papers.md E-20); STS-B scores are rounded to steps of 0.2,
which both codes meant and neither did (E-12). GLUE hides most test labels, so `test` is absent there and the labelled
validation plays that part; MRPC's test labels are public. MNLI validates on the matched half.
"""

from cpeft.tasks.base import TASKS, Hub, Row, Sizes, Task, coded, named

PAIR = named("sentence1", "sentence2")
GLUE = "nyu-mll/glue"  # successor of the script dataset "glue"
MATCHED = {"train": "train", "validation": "validation_matched", "validation_mismatched": "validation_mismatched"}


def similarity_score(row: Row) -> tuple[str, ...]:
    """An STS-B score, 0 to 5, as the nearest step of 0.2."""
    return (f"{round(float(row['label']) * 5) / 5:.1f}",)


for task in (
    Task("mnli", "MultiNLI: does the premise entail the hypothesis?", named("premise", "hypothesis"),
         Sizes(392_702, 9_815), Hub(GLUE, "mnli", MATCHED),
         words=coded("entailment", "neutral", "contradiction")),
    Task("qqp", "Quora question pairs: do two questions ask the same?", named("question1", "question2"),
         Sizes(363_846, 40_430), Hub(GLUE, "qqp"), words=coded("not_duplicate", "duplicate")),
    Task("qnli", "QNLI: does the sentence answer the question?", named("question", "sentence"),
         Sizes(104_743, 5_463), Hub(GLUE, "qnli"), words=coded("entailment", "not_entailment")),
    Task("sst2", "SST-2: is a film snippet negative or positive?", named("sentence"),
         Sizes(67_349, 872), Hub(GLUE, "sst2"), words=coded("negative", "positive")),
    Task("stsb", "STS-B: how similar are two sentences, 0 to 5?", PAIR, Sizes(5_749, 1_500), Hub(GLUE, "stsb"),
         kind="regression", metrics=("pearson", "spearman"), answers=similarity_score,
         values=tuple(f"{fifth / 5:.1f}" for fifth in range(26))),
    Task("mrpc", "MRPC: do two news sentences say the same?", PAIR,
         Sizes(3_668, 408, 1_725), Hub(GLUE, "mrpc"), words=coded("not_equivalent", "equivalent")),
    Task("rte", "RTE: does the first sentence entail the second?", PAIR,
         Sizes(2_490, 277), Hub(GLUE, "rte"), words=coded("entailment", "not_entailment")),
    Task("cola", "CoLA: is the sentence acceptable English?", named("sentence"), Sizes(8_551, 1_043),
         Hub(GLUE, "cola"), words=coded("unacceptable", "acceptable"), metrics=("matthews", "accuracy", "f1")),
    Task("wnli", "WNLI: does the first sentence entail the one with its pronoun replaced?", PAIR,
         Sizes(635, 71), Hub(GLUE, "wnli"), words=coded("not_entailment", "entailment"), real_rows=False),
):  # fmt: skip
    TASKS.add(task.name, task)
