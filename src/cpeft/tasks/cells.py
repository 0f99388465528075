"""The text of a cell, and which label a cell of the label column means.

A row's values become text by one rule, wherever the row came from: a string is itself, `true` and `false` are written so, a
whole number has no decimal point, any other number is its shortest decimal. A missing value has no text, nor has a list, a
table or bytes. Two spellings of a number are one label (`5`, `5.0`), unless labels were declared that differ in spelling alone
(`1`, `01`).
"""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def is_missing(value: Any) -> bool:
    """Whether a value is none: None, NaN, or what pandas writes for them."""
    if isinstance(value, str):
        return False
    if isinstance(value, float) or hasattr(value, "is_integer"):  # numpy's floats too
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def cell_text(value: Any) -> str:
    """The text of a value that is not missing; raises ValueError for one that is no text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | dict | set | bytes | bytearray | memoryview) or getattr(value, "ndim", False):
        raise ValueError(f"holds a {type(value).__name__}, not text: {str(value)[:60]}")
    text = str(value)
    if text in ("True", "False"):
        return text.lower()
    if isinstance(value, float) or (hasattr(value, "is_integer") and NUMBER.fullmatch(text)):  # numpy's narrow ones too
        return _decimal(text)
    return text


def _decimal(text: str) -> str:
    if not NUMBER.fullmatch(text):
        return text  # inf
    return format(Decimal(text), "f").removesuffix(".0")


def label_reader(labels: Iterable[str]) -> Callable[[str], str | None]:
    """From the text of a cell to the declared label that it means: the one spelled so, else so but for white space around it,
    else the only one of the same value. None where there is no such label."""
    declared = dict.fromkeys(labels)
    values: dict[Any, list[str]] = {}
    for label in declared:
        values.setdefault(_value(label), []).append(label)

    def read(text: str) -> str | None:
        if exact := [spelling for spelling in (text, text.strip()) if spelling in declared]:
            return exact[0]
        same = values.get(_value(text), [])
        return same[0] if len(same) == 1 else None

    return read


def _value(text: str) -> Any:
    """The value of a spelling: a number, true or false, else itself."""
    text = text.strip()
    if NUMBER.fullmatch(text):
        return Decimal(text)
    return text.lower() if text.lower() in ("true", "false") else text
