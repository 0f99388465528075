"""Natural language inference outside GLUE: SNLI (Bowman et al. 2015) and SciTail (Khot et al. 2018).

Differs from the published code: SNLI pairs without a gold label (-1) are left out, which ATTEMPT did not do (papers.md
E-32); SciTail is tested on its official test split, which ATTEMPT ignored (E-13).
"""

from cpeft.tasks.base import TASKS, Hub, Sizes, Task, coded

FIELDS = (("premise", "premise"), ("hypothesis", "hypothesis"))

for task in (
    Task(
        name="snli",
        title="SNLI: does the caption entail the hypothesis?",
        fields=FIELDS,
        prefix="snli",
        metrics=("accuracy", "macro_f1"),
        official=Sizes(549_367, 9_842, 9_824),  # with a gold label
        hub=Hub("stanfordnlp/snli"),
        words=coded("entailment", "neutral", "contradiction"),
        codes={-1: None},
    ),
    Task(
        name="scitail",
        title="SciTail: does the sentence entail the answer to a science question?",
        fields=FIELDS,
        prefix="scitail",
        metrics=("accuracy", "f1"),
        official=Sizes(23_596, 1_304, 2_126),  # the hub's other config, tsv_format, has 23,097
        hub=Hub("allenai/scitail", "snli_format"),
        words=coded("entailment", "neutral"),
        codes={"entails": 0, "entailment": 0, "neutral": 1},
        columns={"premise": ("sentence1",), "hypothesis": ("sentence2",), "label": ("gold_label",)},
    ),
):
    TASKS.add(task.name, task)
