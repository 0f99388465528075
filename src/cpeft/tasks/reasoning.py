"""WinoGrande (Sakaguchi et al. 2020) and PAWS (Zhang et al. 2019).

Differs from the published code: WinoGrande shows both options, where both codes wrote the first one twice and made the
task unsolvable (papers.md E-20). The options keep their published names, option0 and option1, which are also the words.
"""

from cpeft.tasks.base import TASKS, Hub, Sizes, Task, coded, named

for task in (
    Task("winogrande", "WinoGrande: which option fills the blank?",
         (("sentence", "sentence"), ("option0", "option1"), ("option1", "option2")),
         Sizes(40_398, 1_267), Hub("allenai/winogrande", "winogrande_xl"), metrics=("accuracy",),
         label_column="answer", words={"1": "option0", "2": "option1"}, codes={1: "1", 2: "2"}, real_rows=False),
    Task("paws", "PAWS: do two sentences of the same words mean the same?", named("sentence1", "sentence2"),
         Sizes(49_401, 8_000, 8_000), Hub("google-research-datasets/paws", "labeled_final"),
         words=coded("not_paraphrase", "paraphrase"), real_rows=False),
):  # fmt: skip
    TASKS.add(task.name, task)
