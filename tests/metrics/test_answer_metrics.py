"""Metrics over free text: the rules of the official SQuAD scripts, MultiRC by hand, ROUGE-L and MATH answers."""

import builtins

import pytest
from sklearn.metrics import f1_score

from cpeft.errors import ConfigError
from cpeft.metrics import METRICS, MetricContext
from cpeft.metrics.final_answer import boxed, final_answer

EMPTY = MetricContext()


def score(name: str, prediction: str, *answers: str) -> float:
    return METRICS.get(name)([prediction], [answers], EMPTY)


@pytest.mark.parametrize(
    ("prediction", "answers", "em", "f1"),
    [
        ("Denver Broncos", ("Denver Broncos",), 100, 100),
        ("the Denver   Broncos!", ("Denver broncos.",), 100, 100),
        ("an A-Team", ("ateam",), 100, 100),  # punctuation goes before articles, without a space in its place
        ("theatre", ("atre",), 0, 0),  # articles are whole words
        ("Broncos", ("Denver Broncos",), 0, 200 / 3),
        ("Santa Clara, California", ("Levi's Stadium", "Santa Clara"), 0, 80),
        ("to to be", ("to be to be",), 0, 600 / 7),  # words count as often as they stand
        ("", ("Denver",), 0, 0),
        ("the", ("a",), 100, 100),
    ],
)
def test_squad(prediction: str, answers: tuple[str, ...], em: float, f1: float) -> None:
    assert score("squad_em", prediction, *answers) == em
    assert score("squad_f1", prediction, *answers) == pytest.approx(f1)
    assert score("squad_v2_em", prediction, *answers) == em
    assert score("squad_v2_f1", prediction, *answers) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("unanswerable", "unanswerable", 100),
        ("", "unanswerable", 100),
        ("Unanswerable.", "unanswerable", 100),
        ("Denver", "unanswerable", 0),
        ("unanswerable", "Denver", 0),
        ("", "Denver", 0),
    ],
)
def test_squad_v2_knows_no_answer(prediction: str, answer: str, expected: float) -> None:
    assert score("squad_v2_em", prediction, answer) == expected
    assert score("squad_v2_f1", prediction, answer) == expected


def test_squad_is_a_mean_over_rows() -> None:
    assert METRICS.get("squad_em")(["a b", "c"], [("b",), ("d", "e")], EMPTY) == 50.0


# Question a: all three right. Question b: one hit, one false alarm, one text outside the labels (a miss).
GROUPS = MetricContext(labels=("false", "true"), groups=("a", "b", "a", "b", "a", "b"))
GIVEN = ["true", "true", "false", "true", "true", "maybe"]
RIGHT = ["true", "true", "false", "false", "true", "true"]


def multirc(name: str, context: MetricContext = GROUPS) -> float:
    return METRICS.get(name)(GIVEN, [(text,) for text in RIGHT], context)


def test_multirc_by_hand() -> None:
    # All answers: 3 hits, 1 false alarm, 1 miss. Question b: F1 of true 2/(2+1+1), of false 0/(0+1+1).
    assert multirc("multirc_f1a") == pytest.approx(75.0)
    assert multirc("multirc_em") == 50.0
    assert multirc("multirc_f1m") == pytest.approx((100 + (50 + 0) / 2) / 2)
    assert f1_score([1, 0, 1], [1, 1, 0], average="macro") == pytest.approx(0.25)


def test_multirc_needs_groups() -> None:
    for name in ("multirc_em", "multirc_f1m"):
        with pytest.raises(ConfigError, match="needs the group of every row"):
            multirc(name, MetricContext(labels=("false", "true")))


def test_rouge_l() -> None:
    pytest.importorskip("rouge_score")
    assert score("rouge_l", "the cat sat", "the cat sat") == pytest.approx(100.0)
    # Longest common subsequence "the cat mat": precision 3/3, recall 3/6.
    assert score("rouge_l", "the cat mat", "dogs", "the cat sat on a mat") == pytest.approx(100 * 2 / 3)


def test_rouge_l_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_rouge(name: str, *rest: object) -> object:
        if name.startswith("rouge_score"):
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_rouge)
    with pytest.raises(ConfigError, match=r"cpeft\[rouge\]"):
        score("rouge_l", "a", "a")


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so $\boxed{5}$.", "5"),
        (r"$\boxed{1}$, no: $\boxed{\frac{1}{\sqrt{2}}}$ it is", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\frac{1}{2", r"\frac{1}{2"),
        (r"\boxed 7$", "7"),
        (r"\fbox{9}", "9"),
        ("42", "42"),
    ],
)
def test_the_last_box(text: str, content: str) -> None:
    assert boxed(text) == content


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\dfrac{1}{2}", r"\frac12"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        (r"3\text{ cm}", "3"),
        (r"\text{Monday}", "Monday"),
        (r"\$1,\!000", "1,000"),
        (r"50\%", "50"),
        (r"90^\circ", "90"),
        (".5", "0.5"),
        ("7.", "7"),
    ],
)
def test_answers_written_differently(one: str, other: str) -> None:
    assert final_answer(rf"\boxed{{{one}}}") == final_answer(rf"\boxed{{{other}}}")


def test_math_exact() -> None:
    solution = r"Since $1+1=2$, the answer is $\boxed{\frac{1}{2}}$."
    assert score("math_exact", r"Hence $\boxed{\frac12}$", solution) == 100.0
    assert score("math_exact", "no box here 1/2", solution) == 0.0
    assert score("math_exact", r"\boxed{0.5}", solution) == 0.0
    assert score("math_exact", "", r"$\boxed{}$") == 0.0
    assert final_answer(r"\boxed{\begin{pmatrix} 1 \\ 2 \end{pmatrix}}") == r"\begin{pmatrix}1\\2\end{pmatrix}"
