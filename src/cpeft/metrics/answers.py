"""Answers as free text: SQuAD 1.1 and 2.0 exact match and F1 (Rajpurkar et al. 2016, 2018) and ROUGE-L (Lin 2004).

The best of the accepted answers counts. SQuAD texts are compared in lower case, without punctuation, articles and
extra spaces. In the 2.0 metrics the word "unanswerable" and an empty text both mean that there is no answer. Where one
text is empty after that, F1 is 1 if both are and else 0: the rule of the 2.0 script, which agrees with exact match
where 1.1's script did not (an answer that is only an article).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

from cpeft.errors import ConfigError
from cpeft.metrics.base import MetricContext, References, best, metric

NO_ANSWER = "unanswerable"
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normal(text: str) -> str:
    """SQuAD's normal form of an answer."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(PUNCTUATION)).split())


def normal_v2(text: str) -> str:
    """The normal form, empty for an answer that there is none."""
    form = normal(text)
    return "" if form == NO_ANSWER else form


def overlap(prediction: str, answer: str) -> float:
    """F1 of two bags of words."""
    given, right = prediction.split(), answer.split()
    if not given or not right:
        return float(given == right)
    shared = (Counter(given) & Counter(right)).total()
    return 2 * shared / (len(given) + len(right))


@metric("squad_em", mean_over="row")
def squad_em(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """Equality of normal forms."""
    return best(predictions, references, normal)


@metric("squad_f1", mean_over="row")
def squad_f1(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """Word overlap of normal forms."""
    return best(predictions, references, normal, overlap)


@metric("squad_v2_em", mean_over="row")
def squad_v2_em(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """Equality of normal forms, no answer being one of them."""
    return best(predictions, references, normal_v2)


@metric("squad_v2_f1", mean_over="row")
def squad_v2_f1(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """Word overlap of normal forms, no answer being one of them."""
    return best(predictions, references, normal_v2, overlap)


@metric("rouge_l", mean_over="row")
def rouge_l(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """F-measure of the longest common subsequence of words, without stemming."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise ConfigError("metric 'rouge_l' needs the package rouge-score: pip install 'cpeft[rouge]'") from None
    scorer = RougeScorer(["rougeL"])
    return best(predictions, references, str, lambda text, answer: scorer.score(answer, text)["rougeL"].fmeasure)
