"""Natural language inference outside GLUE: SNLI (Bowman et al. 2015) and SciTail (Khot et al. 2018).

Differs from the published code: SNLI pairs without a gold label (-1) are left out, which ATTEMPT did not do (papers.md
E-32); SciTail is tested on its official test split, which ATTEMPT ignored (E-13).
"""

from cpeft.tasks.base import TASKS, Hub, Sizes, Task, coded, named

FIELDS = named("premise", "hypothesis")
ASK = "Does the premise entail the hypothesis?"

for task in (
    Task("snli", "SNLI: does the caption entail the hypothesis?", FIELDS,
         Sizes(549_367, 9_842, 9_824),  # with a gold label
         Hub("stanfordnlp/snli"), words=coded("entailment", "neutral", "contradiction"), ask=ASK, codes={-1: None}),
    Task("scitail", "SciTail: does the sentence entail the answer to a science question?", FIELDS,
         Sizes(23_596, 1_304, 2_126),  # the hub's other config, tsv_format, has 23,097
         Hub("allenai/scitail", "snli_format"), words=coded("entailment", "neutral"), ask=ASK,
         codes={"entails": 0, "entailment": 0, "neutral": 1},
         columns={"premise": ("sentence1",), "hypothesis": ("sentence2",), "label": ("gold_label",)}),
):  # fmt: skip
    TASKS.add(task.name, task)
