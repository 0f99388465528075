"""The JSON card of a prompt, with the type of every value checked."""

from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from cpeft.errors import PromptError
from cpeft.plugins import check_names_none

T = TypeVar("T")


def checked(kind: type[T], card: dict[str, Any], path: Path) -> T:
    """The fields of a dataclass from a JSON object, which may have other keys too. Raises PromptError, naming the file, for a
    value of the wrong type, and ConfigError for a card that names plugins."""
    check_names_none(card, path)
    hints = get_type_hints(kind)
    known = {key: value for key, value in card.items() if key in hints}
    for key, value in known.items():
        if not _is_a(value, hints[key]):
            raise PromptError(
                f"{path}: '{key}' is {str(value)[:60]!r}, which it cannot be; copy the file again, or correct it"
            )
    return kind(**known)


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a JSON value is of an annotated type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_is_a(value, each) for each in inner)
    if origin is dict:
        return isinstance(value, dict) and all(_is_a(each, inner[1]) for each in value.values())
    if origin is list:
        return isinstance(value, list) and all(_is_a(each, inner[0]) for each in value)
    if hint is Any:
        return True
    if hint in (int, float):
        return isinstance(value, int | float if hint is float else int) and not isinstance(value, bool)
    return isinstance(value, hint)
