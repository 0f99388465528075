r"""Exact match of the final answer of a MATH solution (Hendrycks et al. 2021): the content of the last \boxed{...}.

TPV publishes a figure for MATH without its metric; both this one and ROUGE-L are reported here. Answers are
compared after light normalisation: spacing, sizes of brackets and fractions, units in \text, dollar, degree and percent
signs. Nothing is evaluated: "0.5" and "\frac{1}{2}" differ.
"""

import re
from collections.abc import Sequence

from cpeft.metrics.base import MetricContext, References, best, metric

BOX = re.compile(r"\\(?:boxed|fbox)\s*")
REWRITES = (
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\\frac\s*(\d)\s*(\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\(?:left|right)(?![A-Za-z])|(?<!\\)\\[!,;: ]|\\?[$%]|\^\{?\\circ\}?"), ""),
    # A unit, "3\text{ cm}", goes; "\text{Monday}" is an answer.
    (re.compile(r"(?<=\S)\s*\\(?:text|textnormal|mbox)\s*\{\s[^{}]*\}"), ""),
    (re.compile(r"\\(?:text|textnormal|textbf|mbox|mathrm)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\s+|\.\s*$"), ""),
    (re.compile(r"(?<![\d.])\.(?=\d)"), "0."),
)


def boxed(text: str) -> str:
    """The content of the last box, braces nested to any depth; the whole text where there is no box."""
    boxes = list(BOX.finditer(text))
    if not boxes:
        return text
    rest = text[boxes[-1].end() :]
    if not rest.startswith("{"):
        return rest[:1]  # TeX's rule for "\boxed 2"
    depth = 0
    for brace in re.finditer(r"(?<!\\)[{}]", rest):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return rest[1 : brace.start()]
    return rest[1:]  # generation stopped inside the box


def final_answer(text: str) -> str:
    """The normalised final answer."""
    answer = boxed(text)
    for pattern, replacement in REWRITES:
        answer = pattern.sub(replacement, answer)
    return answer


@metric("math_exact", mean_over="row")
def math_exact(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """The share of rows whose final answer equals that of an accepted solution.

    An empty answer never counts: two solutions of MATH have an empty box, which silence must not match.
    """
    return best(predictions, references, final_answer, lambda answer, right: bool(answer) and answer == right)
