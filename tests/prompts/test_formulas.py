"""Prompt arithmetic as text: what parses, what it means, and that older formulas mean what they meant."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cpeft
from cpeft.errors import ConfigError, CpeftError, PromptError, PromptMismatch
from cpeft.prompts.formula.evaluate import compose, compose_files, evaluate
from cpeft.prompts.formula.parse import parse_formula, parse_prompt
from cpeft.prompts.formula.tree import (
    FRESH,
    Call,
    Difference,
    Fresh,
    Name,
    Node,
    Scaled,
    Sum,
    kind_of,
    measured_names,
    names,
)
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.prompts.vectors import TaskVector

P, D = 3, 8
A, B, START = Name("a"), Name("b"), Name("origin0")


def call(function, *parts):
    return Call(function, parts)


VA, VB = call("v", A), call("v", B)


def matrix(seed):
    return torch.randn(P, D, generator=torch.Generator().manual_seed(seed))


ORIGIN, ELSEWHERE = (SoftPrompt.drawn(matrix(seed), Provenance(run=f"origin{seed - 90}")) for seed in (90, 91))
PROMPTS = {
    "origin0": ORIGIN,
    "origin1": ELSEWHERE,
    **{name: SoftPrompt(matrix(i), Provenance(task=name), ORIGIN.weight) for i, name in enumerate("abc")},
    "x@1": SoftPrompt(matrix(7), Provenance(task="x"), ELSEWHERE.weight),
    "old": SoftPrompt(matrix(8)),
    "sst-2": SoftPrompt(matrix(9), Provenance(task="sst2"), ORIGIN.weight),
    "my prompt": SoftPrompt(matrix(10), Provenance(task="mine"), ORIGIN.weight),
}
R = {name: prompt.weight for name, prompt in PROMPTS.items()}


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("v(a)", VA),
        ("origin0 + v(a)", Sum((START, VA))),
        ("origin0+v(a)", Sum((START, VA))),
        ("origin0 - v(a)", Difference(START, VA)),
        ("a - b", Difference(A, B)),
        ("a -b", Difference(A, B)),
        ("v(a)-v(b)", Difference(VA, VB)),
        ("v(a)+v(b)", Sum((VA, VB))),
        ("0.5*v(a)", Scaled(0.5, VA)),
        ("0.5 * v(a)", Scaled(0.5, VA)),
        (".5*v(a)", Scaled(0.5, VA)),
        ("2*v(a)", Scaled(2.0, VA)),
        ("1e-3*v(a)", Scaled(0.001, VA)),
        ("v(a)*0.5", Scaled(0.5, VA)),
        ("v(a) * 2 * 3", Scaled(3.0, Scaled(2.0, VA))),
        ("2*3*v(a)", Scaled(2.0, Scaled(3.0, VA))),
        ("-v(a)", Scaled(-1.0, VA)),
        ("-0.5*v(a)", Scaled(-1.0, Scaled(0.5, VA))),
        ("0.5*-v(a)", Scaled(0.5, Scaled(-1.0, VA))),
        ("--v(a)", Scaled(-1.0, Scaled(-1.0, VA))),
        ("-(v(a) + v(b))", Scaled(-1.0, Sum((VA, VB)))),
        ("0.5*(a - b)", Scaled(0.5, Difference(A, B))),
        ("v(a) - v(b) + v(a)", Sum((Difference(VA, VB), VA))),
        ("v(a) - (v(b) + v(a))", Difference(VA, Sum((VB, VA)))),
        ("sum(origin0, v(a), v(b))", Sum((START, VA, VB))),
        ("sum(a)", A),
        ("((a))", A),
        ("mean(v(a), a - b)", call("mean", VA, Difference(A, B))),
        ("origin1 + cross(v(a))", Sum((Name("origin1"), call("cross", VA)))),
        ("v(mean(a, b))", call("v", call("mean", A, B))),
        ("weighted(a, b, mean(a, b))", call("weighted", A, B, call("mean", A, B))),
        ("vocab + v(a)", Sum((Fresh("vocab"), VA))),
        ("v(\"my prompt\") + v('a')", Sum((call("v", Name("my prompt")), VA))),
    ],
)
def test_what_parses(text, tree):
    assert parse_formula(text).tree == tree


@pytest.mark.parametrize(
    "name",
    ["sst-2", "a-", "a--b", "a-v", "sources/*", "sources/mean", "x*0.5", "stage/rte@2", "2", "0.5", "1e-3", "v", "cross",
     "sum", "mean", "text", ".a", "./a", "../a", "/a", "@", "_", "2-3*x", "a*b", "v/a", "0.5.x*"],
)  # fmt: skip
def test_names_are_what_they_were(name):
    assert parse_formula(name).tree == Name(name)
    assert parse_formula(f"mean({name}, b)").tree == call("mean", Name(name), B)
    assert parse_formula(f"v({name}) - v({name})").tree == Difference(call("v", Name(name)), call("v", Name(name)))
    assert parse_formula(f"{name} + v({name})").tree == Sum((Name(name), call("v", Name(name))))


@pytest.mark.parametrize("name", ["2*x", "1e-3*x", ".5 *x", "vocab", "a b", "it's", "*", "-a", "sst-2", "0.5.x*"])
def test_any_name_is_written_so_that_it_reads_back(name):
    assert parse_formula(str(Name(name))).tree == Name(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a + b", r"a and b are prompts, which do not add; write a \+ v\(b\), or mean\(a, b\)"),
        ("sum(v(a), a, b)", r"a and b are prompts, which do not add"),
        ("c + a - b", r"c and a are prompts"),
        ("vocab + a", r"vocab and a are prompts, which do not add"),
        ("0.5*a", r"a is a prompt, which has no multiples; write 0\.5\*v\(a\)"),
        ("0.5*sst-2", r"write 0\.5\*v\(sst-2\)"),
        ("-a", r"a is a prompt, which has no multiples; write -v\(a\)"),
        ('2*"my prompt"', r'write 2\*v\("my prompt"\)'),
        ("v(a) - b", r"v\(a\) is a vector and b a prompt; write v\(a\) - v\(b\)"),
        ("weighted(a)", "a probe and prompts to average"),
        ("weighted(a, v(b))", r"weighted\(\) takes prompts, and v\(b\) is a vector"),
        ("mean(a, v(b))", r"mean takes prompts or vectors; a is a prompt, v\(b\) a vector"),
        ("v(v(a))", r"v\(\) takes a prompt, and v\(a\) is a vector already"),
        ("v(a - b)", r"v\(\) takes a prompt, and \(a - b\) is a vector already"),
        ("cross(a)", r"cross\(\) takes a vector, and a is a prompt; write cross\(v\(a\)\)"),
        ("v(a, b)", r"v\(\) takes one argument, not 2; write v\(a\) \+"),
        ("cross(v(a), v(b))", r"cross\(\) takes one argument"),
        ("v()", "a prompt name is missing"),
        ("a +", "a prompt name is missing"),
        ("+ a", "a prompt name is missing"),
        ("a + * b", "a prompt name is missing"),
        ("0.5*", "a prompt name is missing"),
        ("(a", r"'\)' is missing"),
        ("v(a", r"'\)' is missing"),
        ("(a, b)", r"'\)' is missing"),
        ("a- b", "did not expect 'b'"),
        ("v(a) v(b)", r"did not expect 'v'"),
        ("v(a)/2", r"did not expect '/2'"),
        ("v(a)*v(b)", r"a number must follow '\*', not 'v'"),
        ("v(a)*", r"a number must follow '\*', not ''"),
        ("w(a)", r"unknown function 'w'; use cross, mean, mixed, noise, shuffle, v, weighted, sum or text"),
        ("__import__('os')", "unknown function '__import__'"),
        ("origin0-v(mnli_0)", r"unknown function 'origin0-v'.*; a minus directly .* write origin0 - v\(\.\.\.\)"),
        ("sst-2-0.5*v(a)", r"write sst-2 - 0\.5\*v\(\.\.\.\)"),
        (f"{'(' * 5000}a{')' * 5000}", "nested more than 100 levels deep: take brackets away"),
        (f"a{' - v(b)' * 300}", "nested more than 100 levels deep"),
    ],
)
def test_mistakes_say_what_to_write(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_formula(text)
    assert f"formula '{text[:40]}" in str(caught.value)


@pytest.mark.parametrize("text", ["v(a)", "a - b", "-v(a) + 2*v(b)", "sum(v(a), v(b))", "mean(v(a))", "cross(v(a))"])
def test_a_vector_is_no_prompt(text):
    assert kind_of(parse_formula(text).tree) == "vector"
    for refused in (lambda: parse_prompt(text), lambda: cpeft.compose(text, PROMPTS)):
        with pytest.raises(ConfigError, match=r"this is a task vector; add it to a prompt, as in origin0 \+ v\(mnli\)"):
            refused()


# What formulas stand for

O0, O1 = R["origin0"], R["origin1"]
MEANINGS = {
    "origin0 + v(a)": R["a"],
    "origin0 + v(a) + 0.5*v(b) - mean(v(c), v(sst-2))": R["a"]
    + 0.5 * (R["b"] - O0)
    - (R["c"] + R["sst-2"] - 2 * O0) / 2,
    "a + v(b)": R["a"] + R["b"] - O0,
    "a - v(a)": O0,
    "a - b + c": R["a"] - R["b"] + R["c"],
    "c + (a - b)": R["a"] - R["b"] + R["c"],
    "origin0 - 2*(a - origin0)": 3 * O0 - 2 * R["a"],
    "sum(v(a), origin0, -v(b))": O0 + R["a"] - R["b"],
    "mean(a, b) + v(c)": (R["a"] + R["b"]) / 2 + R["c"] - O0,
    "origin0 + v(mean(a, b))": (R["a"] + R["b"]) / 2,
    "origin1 + cross(v(a))": O1 + R["a"] - O0,
    "origin0 + v(a) + cross(v(x@1))": R["a"] + R["x@1"] - O1,
    "mean(origin0 + v(a), 'my prompt')": (R["a"] + R["my prompt"]) / 2,
    "a + 0*v(b)": R["a"],
    "origin0 + (old - origin0)": R["old"],
    "origin0 + cross(origin1 - origin0)": O1,
    "origin1 + 0.5*cross(a - x@1) + v(x@1)": 0.5 * (R["a"] + R["x@1"]),
    "mean(origin0, origin1) + v(mean(a, x@1))": (R["a"] + R["x@1"]) / 2,
    "mean(a, x@1, old)": (R["a"] + R["x@1"] + R["old"]) / 3,
}


@pytest.mark.parametrize("text", MEANINGS)
def test_meanings(text):
    made = cpeft.compose(f" {text} ", PROMPTS)
    torch.testing.assert_close(made.weight, MEANINGS[text], rtol=1e-5, atol=1e-5)
    assert made.provenance.formula == text


def test_a_name_alone_is_the_prompt_itself():
    assert cpeft.compose("a", PROMPTS) is PROMPTS["a"]
    assert cpeft.compose("('my prompt')", PROMPTS) is PROMPTS["my prompt"]


def test_long_formulas_that_are_not_too_deep():
    long = " + ".join(["a", *["v(b)", "-v(b)"] * 45])
    for text in (long, f"sum(a{', v(b), -v(b)' * 400})", f"{'(' * 50}a{')' * 50}"):
        torch.testing.assert_close(cpeft.compose(text, PROMPTS).weight, R["a"], rtol=1e-4, atol=1e-4)


def test_forms_follow():
    def form(text):
        return cpeft.compose(text, PROMPTS).provenance.linear

    assert form("origin0 + v(a) + 0.5*v(b) - mean(v(c), v(a))") == {"a": 0.5, "b": 0.5, "c": -0.5}
    assert form("origin0 + (old - origin0)") == {"old": 1.0}  # it records no task, so the formula's name stands
    assert form("a - v(a)") == {}
    assert form("mean(a, b) + v(c)") == {"a": 0.5, "b": 0.5, "c": 1.0}
    assert form("v(sst-2) + a") == {"a": 1.0, "sst2": 1.0}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("origin0 + v(old)", PromptError, r"'old' records no origin.*'old - origin0'"),
        ("origin0 + v(origin0)", PromptError, "'origin0' is an origin itself"),
        ("origin0 + (origin1 - origin0)", PromptMismatch, r"'origin1' is origin .*write cross\(origin1 - origin0\)"),
        ("origin1 - (origin1 - origin0)", PromptMismatch, "'origin1' is origin"),
        ("a + (mean(a, x@1) - a)", PromptMismatch, "their difference would include the difference between the origins"),
        (
            "a + 0*(mean(origin0, origin1) - origin0)",
            PromptMismatch,
            "their difference would include the difference between the origins",
        ),
        ("origin0 + v(mean(a, x@1))", PromptMismatch, "different origins"),
        ("origin1 + cross(v(a)) - (a - origin0)", PromptMismatch, "different origins"),
        (
            "origin0 + v(x@1)",
            PromptMismatch,
            r"prompt 'origin0' and vector 'x' have different origins.*cross\(\.\.\.\)",
        ),
        ("a + v(b) + v(x@1)", PromptMismatch, "different origins"),
        ("origin0 + (v(a) - v(x@1))", PromptMismatch, "vector 'a' and vector 'x' have different origins"),
        ("a + (b - x@1)", PromptMismatch, r"'b' was trained from origin"),
        ("old + (a - old)", PromptMismatch, r"'a' was trained from origin"),
        ("a + v(d)", ConfigError, r"no prompt 'd'; known: a, b"),
        ("a + v(my_prompt)", ConfigError, "no prompt 'my_prompt', did you mean 'my prompt'"),
        ("vocab + v(a)", PromptError, "only saved prompts can be combined here, not 'vocab'"),
    ],
)
def test_mixtures_that_are_refused(text, error, message):
    with pytest.raises(error, match=message):
        cpeft.compose(text, PROMPTS)


def test_drawn_starts_are_origins_too():
    drawn = {"vocab": O0, "text": R["c"]}

    def made(text):
        return compose(text, PROMPTS, lambda part: drawn[part.kind])

    assert torch.equal(made("a + (b - vocab)").weight, R["a"] + (R["b"] - O0))
    with pytest.raises(PromptMismatch, match=r"'text' is origin .*write cross\(text - vocab\)"):
        made("vocab + (text('x') - vocab)")
    torch.testing.assert_close(made("vocab + cross(text('x') - vocab)").weight, R["c"])


def test_weights_are_the_cosines_of_token_means():
    """By hand: the probe's mean row is (1, 0, ...); those of x, y and z have cosines 0.6, 0.8 and -1 with it."""

    def mean_row(*values):
        return torch.tensor([values + (0.0,) * (D - len(values))]).expand(P, D) + torch.tensor([[1.0], [-1.0], [0.0]])

    rows = {"probe": mean_row(1.0), "x": mean_row(0.6, 0.8), "y": mean_row(8.0, 6.0), "z": mean_row(-2.0)}
    prompts = {name: SoftPrompt(matrix, Provenance(task=name)) for name, matrix in rows.items()}
    made = cpeft.compose("weighted(probe, x, y, z)", prompts)
    torch.testing.assert_close(made.weight, (0.6 * rows["x"] + 0.8 * rows["y"]) / 1.4)
    assert made.provenance.linear == pytest.approx({"x": 0.6 / 1.4, "y": 0.8 / 1.4})
    with pytest.raises(PromptError, match="no cosine above 0"):
        cpeft.compose("weighted(probe, z)", prompts)
    kin = cpeft.compose("weighted(a, a, b)", PROMPTS)  # of one origin, so it has a task vector
    assert TaskVector.of(kin).linear.keys() == {"a", "b"}


def test_prompts_of_different_lengths_name_both():
    short = SoftPrompt(matrix(1)[:2], Provenance(task="short"))
    with pytest.raises(PromptMismatch, match=r"'a' and 'short'.*3 and 2 rows"):
        cpeft.compose("a + v(short)", {**PROMPTS, "short": short})


def test_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("origin0", "a", "b", "my prompt"):
        PROMPTS[name].save(tmp_path / name)
    text = f"origin0 + v({tmp_path}/a) - 0.5*v('my prompt')"
    made = compose_files(text)
    assert torch.equal(made.weight, cpeft.compose("origin0 + v(a) - 0.5*v('my prompt')", PROMPTS).weight)
    assert torch.equal(compose_files("my prompt").weight, R["my prompt"])
    assert torch.equal(compose_files("'my prompt'").weight, R["my prompt"])
    assert compose_files(f"a{' + v(b) - v(b)' * 20}").provenance.linear == {"a": 1.0}  # too long for a file name
    with pytest.raises(PromptError, match="nothing: no such prompt"):
        compose_files("a + v(nothing)")
    for wrong in ("nothing", "'no thing'", "vocab", "mean(vocab, random)"):
        with pytest.raises(PromptError, match="is no run folder, no prompt and no formula of prompts"):
            compose_files(wrong)


# Any tree that fits reads back from its text, and has the rows numpy says

LEAF = st.sampled_from(["a", "b", "sst-2", "my prompt"]).map(Name)
NUMBER = st.sampled_from([0.0, 0.25, 0.1, 2.0, -1.0, -0.3])


def grown(vectors):
    return st.one_of(
        st.builds(Scaled, NUMBER, vectors),
        st.builds(Difference, vectors, vectors),
        st.lists(vectors, min_size=2, max_size=3).map(lambda parts: Sum(tuple(parts))),
        st.lists(vectors, min_size=1, max_size=3).map(lambda parts: call("mean", *parts)),
        st.builds(call, st.just("cross"), vectors),
    )


VECTOR = st.recursive(
    st.one_of(st.builds(call, st.just("v"), LEAF), st.builds(Difference, LEAF, LEAF)), grown, max_leaves=6
)
PROMPT = st.one_of(LEAF, st.builds(lambda p, v: Sum((p, v)), LEAF, VECTOR), st.builds(Difference, LEAF, VECTOR))


def rows(tree):
    match tree:
        case Name(name):
            return R[name].double()
        case Call("v", (Name(name),)):
            return R[name].double() - O0.double()
        case Call("cross", (part,)):
            return rows(part)
        case Scaled(factor, part):
            return factor * rows(part)
        case Difference(left, right):
            return rows(left) - rows(right)
        case Sum(parts):
            return sum(map(rows, parts))
        case Call("mean", parts):
            return sum(map(rows, parts)) / len(parts)


def normal(tree):
    """Negative factors are written with a sign."""
    match tree:
        case Scaled(factor, part):
            inner = normal(part) if factor == -1 else Scaled(abs(factor), normal(part))
            return Scaled(-1.0, inner) if factor < 0 else inner
        case Difference(left, right):
            return Difference(normal(left), normal(right))
        case Sum(parts):
            return Sum(tuple(map(normal, parts)))
        case Call(function, parts):
            return call(function, *map(normal, parts))
    return tree


@given(st.one_of(PROMPT, VECTOR))
@settings(max_examples=120, deadline=None)
def test_every_tree_reads_back_and_computes(tree):
    read = parse_formula(str(tree)).tree
    assert read == normal(tree)
    assert set(measured_names(tree)) <= set(names(tree))
    value = evaluate(tree, PROMPTS, lambda part: O0)
    made = value.weight if isinstance(value, SoftPrompt) else value.delta
    assert kind_of(tree) == ("prompt" if isinstance(value, SoftPrompt) else "vector")
    assert isinstance(value, SoftPrompt | TaskVector)
    torch.testing.assert_close(made.double(), rows(tree), rtol=1e-4, atol=1e-4)


@given(st.text("abv05(),\"' @/.*-+", max_size=18))
@settings(max_examples=300, deadline=None)
def test_any_other_text_is_one_kind_of_error(text):
    try:
        tree = parse_formula(text).tree
    except CpeftError as error:
        assert isinstance(error, ConfigError)  # noqa: PT017 (either outcome is fine, another error is not)
    else:
        assert isinstance(tree, Node)


def test_controls_keep_the_size_and_lose_the_direction():
    vector, noise, shuffled = (
        evaluate(parse_formula(text).tree, PROMPTS, lambda part: O0)
        for text in ("v(a)", "noise(v(a))", "shuffle(v(a))")
    )
    assert noise.norm() == pytest.approx(vector.norm(), rel=1e-5)
    assert abs(torch.nn.functional.cosine_similarity(noise.delta.flatten(), vector.delta.flatten(), dim=0)) < 0.5
    assert sorted(shuffled.delta.tolist()) == sorted(vector.delta.tolist())
    assert not torch.equal(shuffled.delta, vector.delta)
    assert noise == evaluate(
        parse_formula("noise(v(a))").tree, PROMPTS, lambda part: O0
    )  # no seed but the vector itself
    assert noise.linear == {"noise(a)": 1.0}
    assert compose("o + shuffle(v(a))", {**PROMPTS, "o": SoftPrompt(O0)}).provenance.linear == {"shuffle(a)": 1.0}
    with pytest.raises(ConfigError, match=r"noise\(\) takes a vector, and a is a prompt; write noise\(v\(a\)\)"):
        parse_formula("noise(a)")


def test_which_origins_count():
    assert measured_names(parse_formula("a + v(b) - (c - a)").tree) == ("b",)
    assert measured_names(parse_formula("mean(a, b)").tree) == ()
    assert set(FRESH).isdisjoint(names(parse_formula("vocab + v(mean(a, b)) - v(a)").tree))
