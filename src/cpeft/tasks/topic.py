"""Topic and question classification: TREC, DBpedia, AG News and Yahoo Answers with the fields and words of TPV.

The question put before the text belongs to the first field, as published, so it stays when the prefix goes. Differs
from the published code: TREC's coarse task is called `trec`; the fine classes have words of our own, because the
published list gives two classes the word "description", which makes them one.
"""

from cpeft.tasks.base import TASKS, Hub, Sizes, Task, coded

ASK = "What is the category for following text"
TRAIN_TEST = {"train": "train", "test": "test"}

FINE = coded(
    *("abbreviation", "what an abbreviation stands for"),
    *("animal", "part of the body", "color", "creative work", "currency", "disease or medicine", "event", "food"),
    *("instrument", "language", "letter of the alphabet", "another entity", "plant", "product", "religion", "sport"),
    *("substance", "symbol", "technique", "equivalent term", "vehicle", "word"),
    *("definition", "description of something", "manner", "reason"),
    *("group of people", "individual", "title of a person", "description of a person"),
    *("city", "country", "mountain", "another location", "state"),
    *("code", "count", "date", "distance", "amount of money", "rank", "another number", "period of time"),
    *("percentage", "speed", "temperature", "size", "weight"),
)

for task in (
    Task(
        name="trec",
        title="TREC, six classes: what kind of answer does a question want?",
        fields=(("What is this question asking for", "text"),),
        prefix="trec_coarse",
        metrics=("accuracy", "macro_f1"),
        official=Sizes(5_452, None, 500),
        hub=Hub("CogComp/trec", splits=TRAIN_TEST),
        label_column="coarse_label",
        words=coded("Abbreviation", "Entity", "Description", "Person", "Location", "Quantity"),
        folders=("trec_coarse",),
    ),
    Task(
        name="trec_fine",
        title="TREC, fifty classes: what exactly does a question want?",
        fields=(("sentence", "text"),),
        prefix="trec_fine",
        metrics=("accuracy", "macro_f1"),
        official=Sizes(5_452, None, 500),
        hub=Hub("CogComp/trec", splits=TRAIN_TEST),
        label_column="fine_label",
        words=FINE,
        folders=("trec",),
    ),
    Task(
        name="dbpedia",
        title="DBpedia, fourteen classes: what kind of thing is an article about?",
        fields=((f"{ASK}: title", "title"), ("content", "content")),
        prefix="dbpedia",
        metrics=("accuracy", "macro_f1"),
        official=Sizes(560_000, None, 70_000),
        hub=Hub("fancyzhx/dbpedia_14", splits=TRAIN_TEST),
        words=coded(
            *("Company", "Educational Institution", "Artist", "Athlete", "Office Holder", "Mean Of Transportation"),
            *("Building", "Natural Place", "Village", "Animal", "Plant", "Album", "Film", "Written Work"),
        ),
        folders=("dbpedia_14",),
    ),
    Task(
        name="ag_news",
        title="AG News, four classes: which desk does a news item belong to?",
        fields=((ASK, "text"),),
        prefix="ag_news",
        metrics=("accuracy", "macro_f1"),
        official=Sizes(120_000, None, 7_600),
        hub=Hub("fancyzhx/ag_news", splits=TRAIN_TEST),
        words=coded("World", "Sports", "Business", "Sci/Tech"),
    ),
    Task(
        name="yahoo",
        title="Yahoo Answers, ten classes: which topic does a question belong to?",
        fields=((f"{ASK}: title", "question_title"), ("content", "question_content"), ("answer", "best_answer")),
        prefix="yahoo",
        metrics=("accuracy", "macro_f1"),
        official=Sizes(1_400_000, None, 60_000),
        hub=Hub("community-datasets/yahoo_answers_topics", splits=TRAIN_TEST),
        label_column="topic",
        words=coded(
            *("Society", "Science", "Health", "Education", "Computers"),
            *("Sports", "Business", "Entertainment", "Family", "Politics"),
        ),
        folders=("yahoo_answers_topics",),
        real_rows=False,
    ),
):
    TASKS.add(task.name, task)
