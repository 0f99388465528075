"""Sentiment of reviews: Yelp (Zhang et al. 2015), IMDB (Maas et al. 2011) and SST-5 (Socher et al. 2013).

Differs from the published code: SST-5 is SST-5; TPV's entry of that name loaded SST-2 (papers.md E-10), and ATTEMPT's
read a column that does not exist. Yelp's two releases have different codes, so they are two tasks.
"""

from cpeft.tasks.base import TASKS, Hub, Sizes, Task, coded

SENTENCE = (("sentence", "text"),)
POLARITY = coded("negative", "positive")

for task in (
    Task("yelp", "Yelp polarity: is a review negative or positive?", SENTENCE, Sizes(560_000, None, 38_000),
         Hub("fancyzhx/yelp_polarity"), prefix="yelp_polarity", words=POLARITY, folders=("yelp_polarity",),
         real_rows=False),
    Task("yelp_stars", "Yelp five stars read as polarity: three stars are left out", SENTENCE,
         Sizes(520_000, None, 40_000),  # four fifths of 650,000 and 50,000
         Hub("Yelp/yelp_review_full"), prefix="yelp_polarity",  # the same question as `yelp`, so prompts carry over
         words=POLARITY, ask="Is a review negative or positive?",
         codes={0: 0, 1: 0, 2: None, 3: 1, 4: 1}, folders=("yelp_review_full",)),
    Task("imdb", "IMDB: is a film review negative or positive?", SENTENCE, Sizes(25_000, None, 25_000),
         Hub("stanfordnlp/imdb"), words=POLARITY),
    Task("sst5", "SST-5: a film snippet from very negative to very positive", SENTENCE, Sizes(8_544, 1_101, 2_210),
         Hub("SetFit/sst5"), ask="How negative or positive is a film snippet?",
         words=coded("very negative", "negative", "neutral", "positive", "very positive")),
):  # fmt: skip
    TASKS.add(task.name, task)
