"""Every task on a hand-made row in its published schema: exact text, labels, prefix, and mistakes that are named."""

import pytest

from cpeft.errors import DataError
from cpeft.metrics import METRICS
from cpeft.tasks import TASKS

PAIR = {"sentence1": "A dog runs.", "sentence2": "An animal moves."}
PAIR_TEXT = "sentence1: A dog runs. sentence2: An animal moves."
NLI = {"premise": "A dog runs.", "hypothesis": "It sits."}
NLI_TEXT = "premise: A dog runs. hypothesis: It sits."
QA = {"question": "Who won?", "context": "In the end Ann won."}
QA_TEXT = "question: Who won? context: In the end Ann won."
MRQA = {**QA, "answers": ["Ann", "Ann"]}
ASK = "What is the category for following text:"

# task: (row, source with prefix, target in words, target in numbers)
GOLDEN = {
    "mnli": ({**NLI, "label": 2}, f"mnli {NLI_TEXT}", "contradiction", "2"),
    "qqp": ({"question1": "Why?", "question2": "How?", "label": 0}, "qqp question1: Why? question2: How?",
            "not_duplicate", "0"),
    "qnli": ({"question": "Who?", "sentence": "Ann did.", "label": 0}, "qnli question: Who? sentence: Ann did.",
             "entailment", "0"),
    "sst2": ({"sentence": "a joy . ", "label": 1}, "sst2 sentence: a joy .", "positive", "1"),
    "stsb": ({**PAIR, "label": 3.75}, f"stsb {PAIR_TEXT}", "3.8", "3.8"),
    "mrpc": ({**PAIR, "label": 1}, f"mrpc {PAIR_TEXT}", "equivalent", "1"),
    "rte": ({**PAIR, "label": 1}, f"rte {PAIR_TEXT}", "not_entailment", "1"),
    "cola": ({"sentence": "Dogs run.", "label": 1}, "cola sentence: Dogs run.", "acceptable", "1"),
    "wnli": ({**PAIR, "label": 1}, f"wnli {PAIR_TEXT}", "entailment", "1"),
    "boolq": ({"question": "is it so", "passage": "It is.", "label": 1},
              "superglue-boolq question: is it so passage: It is.", "true", "1"),
    "cb": ({**NLI, "label": 1}, f"superglue-cb {NLI_TEXT}", "contradiction", "1"),
    "wic": ({**PAIR, "word": "run", "label": 0}, f"superglue-wic {PAIR_TEXT} word: run", "false", "0"),
    "wsc": ({"text": "Ann told Bea that she won.", "span1_index": 0, "span1_text": "Ann", "span2_index": 4,
             "span2_text": "she", "label": 1}, "superglue-wsc.fixed text: * Ann * told Bea that # she # won.",
            "true", "1"),
    "multirc": ({"paragraph": "<b>Sentence 1: </b>A dog ran.<br><b>Sentence 2: </b>It sat.<br>", "question": "Who ran?",
                 "answer": "A dog", "idx": {"paragraph": 3, "question": 7, "answer": 1}, "label": 1},
                "superglue-multirc question: Who ran? answer: A dog paragraph: A dog ran. It sat.", "true", "1"),
    "record": ({"passage": "Ann met Bea.\n@highlight\nThey spoke\n@highlight\nBea left", "query": "@placeholder left .",
                "entities": ["Ann", "Bea"], "answers": ["Bea", "Bea", "Beatrice"]},
               "superglue-record record query: @placeholder left . entities: Ann, Bea "
               "passage: Ann met Bea. They spoke. Bea left.", "Bea", "Bea"),
    "snli": ({**NLI, "label": 1}, f"snli {NLI_TEXT}", "neutral", "1"),
    "scitail": ({"sentence1": "A dog runs.", "sentence2": "It sits.", "gold_label": "entailment"},
                f"scitail {NLI_TEXT}", "entailment", "0"),
    "trec": ({"text": "How far ?", "coarse_label": 5, "fine_label": 40},
             "trec_coarse What is this question asking for: How far ?", "Quantity", "5"),
    "trec_fine": ({"text": "How far ?", "coarse_label": 5, "fine_label": 40}, "trec_fine sentence: How far ?",
                  "distance", "40"),
    "dbpedia": ({"title": "Fido", "content": "A dog.", "label": 9}, f"dbpedia {ASK} title: Fido content: A dog.",
                "Animal", "9"),
    "ag_news": ({"text": "Shares rose.", "label": 2}, f"ag_news {ASK} Shares rose.", "Business", "2"),
    "yahoo": ({"topic": 4, "question_title": "Mac?", "question_content": "Or not", "best_answer": "Yes"},
              f"yahoo {ASK} title: Mac? content: Or not answer: Yes", "Computers", "4"),
    "yelp": ({"text": "Bad.", "label": 0}, "yelp_polarity sentence: Bad.", "negative", "0"),
    "yelp_stars": ({"text": "Fine.", "label": 3}, "yelp_polarity sentence: Fine.", "positive", "1"),
    "imdb": ({"text": "Bad.", "label": 0}, "imdb sentence: Bad.", "negative", "0"),
    "sst5": ({"text": "bad", "label": 0}, "sst5 sentence: bad", "very negative", "0"),
    "squad": ({**QA, "answers": {"text": ["Ann", "Ann", "Ann won"], "answer_start": [11, 11, 11]}},
              f"squad {QA_TEXT}", "Ann", "Ann"),
    "squad_v2": ({**QA, "answers": {"text": [], "answer_start": []}}, f"squad_v2 {QA_TEXT}",
                 "unanswerable", "unanswerable"),
    "nq": ({**MRQA, "subset": "NaturalQuestionsShort"}, f"nq {QA_TEXT}", "Ann", "Ann"),
    "hotpotqa": ({**MRQA, "subset": "HotpotQA"}, f"hotpotqa {QA_TEXT}", "Ann", "Ann"),
    "searchqa": ({**MRQA, "subset": "SearchQA"}, f"searchqa {QA_TEXT}", "Ann", "Ann"),
    "newsqa": ({**MRQA, "subset": "NewsQA"}, f"newsqa {QA_TEXT}", "Ann", "Ann"),
    "math": ({"problem": "What is $1+1$?", "level": "Level 1", "type": "Algebra", "solution": "$\\boxed{2}$ "},
             "math level: Level 1 type: Algebra problem: What is $1+1$?", "$\\boxed{2}$", "$\\boxed{2}$"),
    "winogrande": ({"sentence": "The _ is big.", "option1": "cup", "option2": "car", "answer": "2"},
                   "winogrande sentence: The _ is big. option0: cup option1: car", "option1", "1"),
    "paws": ({**PAIR, "label": 1}, f"paws {PAIR_TEXT}", "paraphrase", "1"),
}  # fmt: skip
NLI_DE = {"premise": "Ein Hund läuft.", "hypothesis": "Er sitzt."}
PAIR_DE = {"sentence1": "Ein Hund läuft.", "sentence2": "Er läuft."}
for code in ["ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"]:
    GOLDEN[f"xnli/{code}"] = (
        {**NLI_DE, "label": 2}, "xnli premise: Ein Hund läuft. hypothesis: Er sitzt.", "contradiction", "2",
    )  # fmt: skip
for code in ["de", "en", "es", "fr", "ja", "ko", "zh"]:
    GOLDEN[f"paws_x/{code}"] = (
        {**PAIR_DE, "label": 1}, "paws_x sentence1: Ein Hund läuft. sentence2: Er läuft.", "paraphrase", "1",
    )  # fmt: skip

EVERY = [name for name in TASKS.names() if not TASKS.get(name).rows]  # generated rows: test_mini
CLOSED = [name for name in EVERY if TASKS.get(name).words]


def test_every_task_has_a_golden_row() -> None:
    assert sorted(GOLDEN) == EVERY


@pytest.mark.parametrize("name", EVERY)
def test_golden_text(name: str) -> None:
    task = TASKS.get(name)
    row, source, word, number = GOLDEN[name]
    assert not task.keep or task.keep(row)
    words, numbers = task.example(row), task.example(row, style="numbers")
    assert (words.source, words.target, numbers.target) == (source, word, number)
    assert numbers.source == source
    assert words.target == words.references[0]
    assert task.source(row, prefix=False) == source.removeprefix(f"{task.prefix} ") != source


@pytest.mark.parametrize("name", EVERY)
def test_entry_is_sound(name: str) -> None:
    task = TASKS.get(name)
    assert task.name == name
    assert task.metrics
    assert all(metric in METRICS for metric in task.metrics)
    assert set(task.hub.splits) - {"validation_mismatched"} == {
        split for split in ("train", "validation", "test") if getattr(task.official, split) is not None
    }
    assert bool(task.words) == (task.kind == "classification")
    assert bool(task.words) != bool(task.answers)


@pytest.mark.parametrize("name", CLOSED)
def test_words_and_numbers_name_the_same_codes(name: str) -> None:
    task = TASKS.get(name)
    assert task.labels("numbers") == tuple(str(place) for place in range(len(task.words)))
    assert len(set(task.labels())) == len(task.words), "two labels share one word"
    assert {code for code in task.codes.values() if code is not None} <= set(task.words)


@pytest.mark.parametrize("name", CLOSED)
def test_a_label_outside_the_map_names_the_task(name: str) -> None:
    task = TASKS.get(name)
    row = {key: value for key, value in GOLDEN[name][0].items() if key != "gold_label"}
    with pytest.raises(DataError, match=f"task '{name}': label 77 .* is outside the label map"):
        task.example({**row, task.label_column: 77})


@pytest.mark.parametrize("name", EVERY)
def test_a_missing_column_names_what_is_there(name: str) -> None:
    with pytest.raises(DataError, match=f"task '{name}': no column .*; the row has other, thing"):
        TASKS.get(name).example({"thing": 1, "other": 2})


def test_rows_of_other_tasks_are_left_out() -> None:
    assert TASKS.get("snli").code({**NLI, "label": -1}) is None
    assert [TASKS.get("yelp_stars").code({"label": stars}) for stars in range(5)] == [0, 0, None, 1, 1]
    keep = TASKS.get("newsqa").keep
    assert keep is not None
    assert not keep({**MRQA, "subset": "SQuAD"})
    assert keep(MRQA)


def test_what_an_entry_leaves_out_is_derived() -> None:
    metrics = {name: TASKS.get(name).metrics for name in ("rte", "cb", "nq", "boolq")}
    assert metrics == {
        "rte": ("accuracy", "f1"),
        "cb": ("accuracy", "macro_f1"),
        "nq": ("squad_f1", "squad_em"),
        "boolq": ("accuracy",),
    }
    assert (TASKS.get("rte").prefix, TASKS.get("yelp_stars").prefix) == ("rte", "yelp_polarity")
    assert TASKS.get("imdb").hub.splits == {"train": "train", "test": "test"}
    assert TASKS.get("mnli").hub.splits["validation"] == "validation_matched"


def test_tasks_say_their_language() -> None:
    """One task per language of the same text, from the dataset of that language; all others are in English."""
    for name in EVERY:
        task, (family, _, code) = TASKS.get(name), name.partition("/")
        assert task.language == (code or "en")
        assert not code or (task.hub.config, task.prefix) == (code, family)


def test_every_answer_is_a_reference_once() -> None:
    assert TASKS.get("record").example(GOLDEN["record"][0]).references == ("Bea", "Beatrice")
    assert TASKS.get("squad").example(GOLDEN["squad"][0]).references == ("Ann", "Ann won")
    with pytest.raises(DataError, match="without answers"):
        TASKS.get("squad").example({**QA, "answers": {"text": [], "answer_start": []}})


def test_stringified_answers_are_dictionaries_as_published() -> None:
    """ATTEMPT's SQuAD had spaces round all punctuation, TPV's SQuAD 2.0 did not; other tasks know no such form."""
    row = {**QA, "answers": {"text": ["Saint Ann"], "answer_start": [11]}}
    told = {name: TASKS.get(name).example(row, written="stringified") for name in ("squad", "squad_v2")}
    assert told["squad"].target == "{ ' text ' : [ ' Saint Ann ' ] , ' answer _ start ' : [ 11 ] }"
    assert told["squad_v2"].target == "{'text': ['Saint Ann'], 'answer_start': [11]}"
    assert told["squad"].references == (told["squad"].target,)
    empty = TASKS.get("squad_v2").example(GOLDEN["squad_v2"][0], written="stringified")
    assert empty.target == "{'text': [], 'answer_start': []}"
    for name in EVERY:
        if not name.startswith("squad"):
            assert TASKS.get(name).example(GOLDEN[name][0], written="stringified").target == GOLDEN[name][2]


def test_answers_of_one_question_share_a_group() -> None:
    task, row = TASKS.get("multirc"), GOLDEN["multirc"][0]
    other = {**row, "idx": {"paragraph": 3, "question": 7, "answer": 2}}
    next_question = {**row, "idx": {"paragraph": 3, "question": 8, "answer": 0}}
    assert task.example(row).group == task.example(other).group != task.example(next_question).group


@pytest.mark.parametrize(("score", "text"), [(0, "0.0"), (5.0, "5.0"), (2.27, "2.2"), (3.5, "3.6"), (1.09, "1.0")])
def test_similarity_scores_keep_to_steps_of_a_fifth(score: float, text: str) -> None:
    assert TASKS.get("stsb").example({**PAIR, "label": score}).target == text


def wsc(text: str, *spans: tuple[int, str]) -> str:
    (first, noun), (second, pronoun) = spans
    row = {"span1_index": first, "span1_text": noun, "span2_index": second, "span2_text": pronoun, "text": text}
    return TASKS.get("wsc").source(row, prefix=False).removeprefix("text: ")


def test_wsc_marks_both_spans_wherever_they_are() -> None:
    assert wsc("When she won, Ann ran.", (3, "Ann"), (1, "she")) == "When # she # won, * Ann * ran."
    assert wsc("In it, The Cat saw it.", (2, "the cat"), (5, "it")) == "In it, * The Cat * saw # it #."
    assert wsc("Then their mothers left.", (1, "their mothers"), (1, "their")) == "Then * # their # mothers * left."
    with pytest.raises(DataError, match="span1 'Bea' is not at or after word 0"):
        wsc("Ann saw her.", (0, "Bea"), (2, "her"))
