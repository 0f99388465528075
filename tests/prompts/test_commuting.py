"""Properties of random formulas over random prompts: saving and composing commute, and what does not belong together is
refused whatever the formula."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpeft.errors import CpeftError, PromptMismatch
from cpeft.prompts.formula.evaluate import compose, compose_files
from cpeft.prompts.formula.parse import parse_prompt
from cpeft.prompts.formula.tree import Call, Difference, Name, Scaled, Sum, names
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt

HOME, AWAY = ("origin0", "a", "my prompt"), ("origin1", "sst-2", "2*x")  # an origin and what was trained from it
BARE = ("old", "older")  # files of other programs, which record nothing
NUMBER = st.sampled_from([0.0, 1.0, -1.0, 0.25, 1 / 3, -2.5])
QUICK = settings(max_examples=40, deadline=None)


# How a set of prompts is made; they are made in the tests, for strategies must not draw numbers of their own.
MAKING = st.fixed_dictionaries({
    "shape": st.tuples(st.integers(1, 4), st.integers(1, 5)), "seed": st.integers(0, 10**6),
    "scale": st.sampled_from([1e-3, 1.0, 1e4]), "tasks": st.tuples(*[st.sampled_from(["", "mnli", "own"])] * 4),
    "known": st.fixed_dictionaries({
        "embedding": st.sampled_from(["", "f" * 64]), "encoder_decoder": st.sampled_from([None, True]),
        "text": st.sampled_from([{}, {"prefix": "none"}]), "note": st.sampled_from(["", "ü", "first 3 of 4 rows"]),
    }),
})  # fmt: skip


def make(shape, seed, scale, tasks, known):
    """Eight prompts of one model, with rows of any scale and histories that say much or nothing."""
    rng = torch.Generator().manual_seed(seed)

    def matrix():
        return scale * torch.randn(shape, generator=rng)

    known, task = Provenance(model="tiny", **known), iter(tasks)
    found = {name: SoftPrompt(matrix(), Provenance()) for name in BARE}
    for start, *trained in (HOME, AWAY):
        origin = found[start] = SoftPrompt.drawn(matrix(), replace(known, run=start))
        for name in trained:
            found[name] = SoftPrompt(origin.weight + matrix(), replace(known, task=next(task)), origin.weight)
    return found


def grown(vectors):
    return st.one_of(
        st.builds(Scaled, NUMBER, vectors),
        st.builds(Difference, vectors, vectors),
        st.lists(vectors, min_size=2, max_size=3).map(lambda parts: Sum(tuple(parts))),
        st.lists(vectors, min_size=1, max_size=3).map(lambda parts: Call("mean", tuple(parts))),
        st.builds(Call, st.sampled_from(["noise", "shuffle"]), st.tuples(vectors)),
    )


def formulas(leaf, cross=False):
    """Trees that stand for a prompt: one of `leaf`, plus or minus vectors of them."""
    leaf = st.sampled_from(leaf).map(Name)
    ends = st.one_of(leaf.map(lambda name: Call("v", (name,))), st.builds(Difference, leaf, leaf))
    if cross:
        ends = st.one_of(ends, ends.map(lambda part: Call("cross", (part,))))
    vectors = st.recursive(ends, grown, max_leaves=4)
    several = st.lists(leaf, min_size=2, max_size=3).map(tuple)
    base = st.one_of(
        leaf,
        several.map(lambda parts: Call("mean", parts)),
        st.builds(lambda probe, parts: Call("weighted", (probe, *parts)), leaf, several),
    )
    return st.one_of(base, st.builds(lambda p, v: Sum((p, v)), base, vectors), st.builds(Difference, base, vectors))


def outcome(compute):
    """What comes out: rows, origin and history to the bit, or the words of the refusal."""
    try:
        made = compute()
    except CpeftError as error:
        return type(error), str(error)
    return made.weight.tolist(), None if made.origin is None else made.origin.tolist(), made.provenance


@given(MAKING, formulas((*HOME, *AWAY, *BARE), cross=True).map(str))
@QUICK
def test_composing_and_saving_commute(making, text):
    """Refusals too: what may not be composed in memory may not be from files, in the same words."""
    found = make(**making)
    with TemporaryDirectory() as folder:
        saved = {name: prompt.save(Path(folder) / str(i)) for i, (name, prompt) in enumerate(found.items())}
        before = outcome(lambda: compose(text, found))
        after = outcome(lambda: compose(text, {name: SoftPrompt.load(path) for name, path in saved.items()}))
        assert before == after
        if isinstance(before[0], list):
            again = SoftPrompt.load(compose(text, found).save(Path(folder) / "made"))
            assert outcome(lambda: again) == before
            tree = in_files(parse_prompt(text).tree, saved)
            assert compose_files(str(tree)).weight.tolist() == before[0]


def in_files(tree, saved):
    """The same formula over paths."""
    match tree:
        case Name(name):
            return Name(str(saved[name]))
        case Sum(parts):
            return Sum(tuple(in_files(part, saved) for part in parts))
        case Difference(left, right):
            return Difference(in_files(left, saved), in_files(right, saved))
        case Scaled(factor, part):
            return Scaled(factor, in_files(part, saved))
        case Call(function, parts):
            return Call(function, tuple(in_files(part, saved) for part in parts))


def of_another_model(prompt):
    return replace(prompt, provenance=replace(prompt.provenance, model="llama", embedding="0" * 64))


def wider(prompt):
    return SoftPrompt(torch.cat([prompt.weight, prompt.weight], 1), prompt.provenance)


def longer(prompt):
    return SoftPrompt(torch.cat([prompt.weight, prompt.weight]), prompt.provenance)


STRANGE = {of_another_model: "different models: tiny and llama|different models: llama and tiny",
           wider: "different widths", longer: "different lengths"}  # fmt: skip


@pytest.mark.parametrize("change", STRANGE, ids=lambda change: change.__name__)
@given(MAKING, formulas(HOME), st.data())
@QUICK
def test_one_prompt_of_another_space_is_refused_by_every_formula(change, making, tree, data):
    found, there = make(**{**making, "known": {"embedding": "f" * 64}}), names(tree)
    if len(there) > 1:
        strange = data.draw(st.sampled_from(there))
        found[strange] = change(found[strange])
        with pytest.raises(PromptMismatch, match=STRANGE[change]):
            compose(str(tree), found)


def crossing(tree, home):
    """The formula with `cross` around every vector of its ends that is not of `home` alone; how many there are."""
    match tree:
        case Call("v", (Name(name),)):
            return (tree, 0) if name in home else (Call("cross", (tree,)), 1)
        case Difference(Name(left), Name(right)):
            return (tree, 0) if left in home and right in home else (Call("cross", (tree,)), 1)
        case Name():
            return tree, 0
        case Sum(parts):
            made = [crossing(part, home) for part in parts]
            return Sum(tuple(part for part, _ in made)), sum(count for _, count in made)
        case Difference(left, right):
            (left, one), (right, two) = crossing(left, home), crossing(right, home)
            return Difference(left, right), one + two
        case Scaled(factor, part):
            part, count = crossing(part, home)
            return Scaled(factor, part), count
        case Call(function, parts):
            made = [crossing(part, home) for part in parts]
            return Call(function, tuple(part for part, _ in made)), sum(count for _, count in made)


ENDS = st.sampled_from((*HOME[1:], *AWAY[1:])).map(lambda name: Call("v", (Name(name),)))
PAIRS = st.tuples(*[st.sampled_from((*HOME, *AWAY)).map(Name)] * 2).map(lambda pair: Difference(*pair))


@given(MAKING, st.sampled_from((HOME, AWAY)), st.data())
@QUICK
def test_origins_cross_where_it_is_said_and_nowhere_else(making, home, data):
    """Differences of origins and of what was trained from them included, and a factor of nought excuses nothing."""
    found = make(**making)
    vector = data.draw(st.recursive(st.one_of(ENDS, PAIRS), grown, max_leaves=4))
    base = Name(data.draw(st.sampled_from(home)))
    said, foreign = crossing(vector, home)
    plain, crossed = (Sum((base, part)) for part in (vector, said))
    if foreign:
        with pytest.raises(PromptMismatch, match="origin"):
            compose(str(plain), found)
    else:
        assert crossed == plain
    made = compose(str(crossed), found)
    assert made.measured_from == found[home[0]].measured_from
    assert bool(made.provenance.crossed) is bool(foreign)
