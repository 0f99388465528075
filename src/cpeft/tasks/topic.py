"""Topic and question classification: TREC, DBpedia, AG News and Yahoo Answers with the fields and words of TPV.

The question put before the text belongs to the first field, as published, so it stays when the prefix goes. Differs
from the published code: TREC's coarse task is called `trec`; the fine classes have words of our own, because the
published list gives two classes the word "description", which makes them one.
"""

from cpeft.tasks.base import TASKS, Hub, Sizes, Task, coded

ASK = "What is the category for following text"

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
    Task("trec", "TREC, six classes: what kind of answer does a question want?",
         (("What is this question asking for", "text"),), Sizes(5_452, None, 500), Hub("CogComp/trec"),
         prefix="trec_coarse", label_column="coarse_label", folders=("trec_coarse",),
         words=coded("Abbreviation", "Entity", "Description", "Person", "Location", "Quantity")),
    Task("trec_fine", "TREC, fifty classes: what exactly does a question want?", (("sentence", "text"),),
         Sizes(5_452, None, 500), Hub("CogComp/trec"), label_column="fine_label", words=FINE, folders=("trec",)),
    Task("dbpedia", "DBpedia, fourteen classes: what kind of thing is an article about?",
         ((f"{ASK}: title", "title"), ("content", "content")), Sizes(560_000, None, 70_000),
         Hub("fancyzhx/dbpedia_14"), folders=("dbpedia_14",),
         words=coded("Company", "Educational Institution", "Artist", "Athlete", "Office Holder",
                     "Mean Of Transportation", "Building", "Natural Place", "Village", "Animal", "Plant", "Album",
                     "Film", "Written Work")),
    Task("ag_news", "AG News, four classes: which desk does a news item belong to?", ((ASK, "text"),),
         Sizes(120_000, None, 7_600), Hub("fancyzhx/ag_news"), words=coded("World", "Sports", "Business", "Sci/Tech")),
    Task("yahoo", "Yahoo Answers, ten classes: which topic does a question belong to?",
         ((f"{ASK}: title", "question_title"), ("content", "question_content"), ("answer", "best_answer")),
         Sizes(1_400_000, None, 60_000), Hub("community-datasets/yahoo_answers_topics"), label_column="topic",
         words=coded("Society", "Science", "Health", "Education", "Computers", "Sports", "Business",
                     "Entertainment", "Family", "Politics"),
         folders=("yahoo_answers_topics",), real_rows=False),
):  # fmt: skip
    TASKS.add(task.name, task)
