"""The same question in several languages: XNLI (Conneau et al. 2018) and PAWS-X (Yang et al. 2019), one task per language.

Prefix, field names and label words are English and the same in every language, so that a prompt carries over from one to
another; `language` says which one a task is in. Training rows of all languages but English are machine translations, the rest
were translated by people. Not in any paper that this program replicates, so there is no published form to differ from.
"""

from cpeft.tasks.base import TASKS, Hub, Sizes, Task, coded, named

XNLI = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
PAWS_X = ("de", "en", "es", "fr", "ja", "ko", "zh")

for code in XNLI:
    TASKS.add(f"xnli/{code}", Task(
        f"xnli/{code}", f"XNLI in {code}: does the premise entail the hypothesis?", named("premise", "hypothesis"),
        Sizes(392_702, 2_490, 5_010), Hub("facebook/xnli", code), prefix="xnli", language=code,
        words=coded("entailment", "neutral", "contradiction"), real_rows=False,
    ))  # fmt: skip

for code in PAWS_X:
    TASKS.add(f"paws_x/{code}", Task(
        f"paws_x/{code}", f"PAWS-X in {code}: do two sentences of the same words mean the same?",
        named("sentence1", "sentence2"), Sizes(49_401, 2_000, 2_000), Hub("google-research-datasets/paws-x", code),
        prefix="paws_x", language=code, words=coded("not_paraphrase", "paraphrase"), real_rows=False,
    ))  # fmt: skip
