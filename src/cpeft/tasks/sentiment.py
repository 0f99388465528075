"""Sentiment of reviews: Yelp (Zhang et al. 2015), IMDB (Maas et al. 2011) and SST-5 (Socher et al. 2013).

Differs from the published code: SST-5 is SST-5; TPV's entry of that name loaded SST-2 (papers.md E-10), and ATTEMPT's
read a column that does not exist. Yelp's two releases have different codes, so they are two tasks.
"""

from cpeft.tasks.base import TASKS, Hub, Sizes, Task, coded

SENTENCE = (("sentence", "text"),)
TRAIN_TEST = {"train": "train", "test": "test"}

for task in (
    Task(
        name="yelp",
        title="Yelp polarity: is a review negative or positive?",
        fields=SENTENCE,
        prefix="yelp_polarity",
        metrics=("accuracy", "f1"),
        official=Sizes(560_000, None, 38_000),
        hub=Hub("fancyzhx/yelp_polarity", splits=TRAIN_TEST),
        words=coded("negative", "positive"),
        folders=("yelp_polarity",),
        real_rows=False,
    ),
    Task(
        name="yelp_stars",
        title="Yelp five stars read as polarity: three stars are left out",
        fields=SENTENCE,
        prefix="yelp_polarity",  # the same question as `yelp`, so prompts carry over
        metrics=("accuracy", "f1"),
        official=Sizes(520_000, None, 40_000),  # four fifths of 650,000 and 50,000
        hub=Hub("Yelp/yelp_review_full", splits=TRAIN_TEST),
        words=coded("negative", "positive"),
        codes={0: 0, 1: 0, 2: None, 3: 1, 4: 1},
        folders=("yelp_review_full",),
    ),
    Task(
        name="imdb",
        title="IMDB: is a film review negative or positive?",
        fields=SENTENCE,
        prefix="imdb",
        metrics=("accuracy", "f1"),
        official=Sizes(25_000, None, 25_000),
        hub=Hub("stanfordnlp/imdb", splits=TRAIN_TEST),
        words=coded("negative", "positive"),
    ),
    Task(
        name="sst5",
        title="SST-5: a film snippet from very negative to very positive",
        fields=SENTENCE,
        prefix="sst5",
        metrics=("accuracy", "macro_f1"),
        official=Sizes(8_544, 1_101, 2_210),
        hub=Hub("SetFit/sst5"),
        words=coded("very negative", "negative", "neutral", "positive", "very positive"),
    ),
):
    TASKS.add(task.name, task)
