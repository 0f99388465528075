"""Registries, seeds and the kinds of user mistakes."""

import pytest

from cpeft import errors
from cpeft.errors import CpeftError, UnknownName
from cpeft.methods.base import METHODS
from cpeft.registry import Registry, suggest
from cpeft.seeds import derive, generator
from tiny import run_python


def test_unknown_names_are_answered_with_the_closest():
    with pytest.raises(UnknownName, match=r"unknown method 'atempt', did you mean 'attempt'\?") as caught:
        METHODS.get("atempt")
    assert caught.value.exit_code == 2
    with pytest.raises(UnknownName, match=r"known: .*attempt.*prompt_tuning"):
        METHODS.get("zzz")
    assert suggest("x", []) == "; known: none"


def test_registered_methods():
    assert {"attempt", "no_prompt", "prompt_tuning"} <= set(METHODS.names())
    assert METHODS.names() == sorted(METHODS.names())
    assert dict(METHODS.items()) == {name: METHODS.get(name) for name in METHODS.names()}
    assert "attempt" in METHODS
    assert "atempt" not in METHODS
    assert all(cls.Options().name == name for name, cls in METHODS.items())


def test_a_package_file_registers_itself_and_twice_is_an_error(tmp_path, monkeypatch):
    package = tmp_path / "fruits_for_cpeft"
    package.mkdir()
    (package / "__init__.py").write_text("from cpeft.registry import Registry\nFRUITS = Registry('fruit', __name__)\n")
    (package / "apple.py").write_text("from fruits_for_cpeft import FRUITS\n@FRUITS.register('apple')\nclass A: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    from fruits_for_cpeft import FRUITS

    assert FRUITS.names() == ["apple"]
    FRUITS.add("apple", FRUITS.get("apple"))
    with pytest.raises(UnknownName, match="fruit 'apple' is registered twice"):
        FRUITS.add("apple", object())


def test_other_distributions_join_through_entry_points(monkeypatch):
    from importlib.metadata import EntryPoint

    import cpeft.registry as registry

    point = EntryPoint("pear", "collections:OrderedDict", "cpeft.fruits")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "cpeft.fruits" else [])
    fruits = Registry("fruit", "cpeft.methods")
    from collections import OrderedDict

    assert fruits.get("pear") is OrderedDict


def test_seeds_depend_on_purpose_and_nothing_else():
    assert derive(0, "order", 1) == derive(0, "order", 1)
    assert len({derive(s, p, e) for s in range(5) for p in ("init", "order") for e in range(5)}) == 50
    assert 0 <= derive(7, "x") < 2**63
    first = generator(3, "a").random(4)
    generator(3, "b").random(100)
    assert (generator(3, "a").random(4) == first).all()
    code = "from cpeft.seeds import derive; print(derive(0, 'order', 1))"
    assert run_python(code).stdout.strip() == str(derive(0, "order", 1)), "the same in every process"


def test_seed_values_never_change():
    """A changed value would change every result: frozen here."""
    import hashlib

    want = int.from_bytes(hashlib.sha256(b"42/order/3").digest()[:8], "big") >> 1
    assert derive(42, "order", 3) == want


def test_every_error_has_an_exit_code_and_a_reason():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 8
    for kind in kinds:
        assert issubclass(kind, CpeftError)
        assert kind.exit_code in (1, 2, 3, 4)
        assert kind.__doc__
    codes = {"ConfigError": 2, "UnknownName": 2, "PromptMismatch": 2, "TooLong": 2, "MissingData": 3, "MissingModel": 3,
             "RunFailed": 1, "Stopped": 4}  # fmt: skip
    assert {name: getattr(errors, name).exit_code for name in codes} == codes
