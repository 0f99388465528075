"""Configuration: pydantic models to and from TOML, strict keys, dotted overrides, grids, digests.

Options live beside the code that reads them, as subclasses of `Options`; this module knows none of them. A wrong key or
value is reported as `file:line: [table] unknown key 'x', did you mean 'y'?`.
"""

import hashlib
import itertools
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cpeft.errors import ConfigError
from cpeft.registry import suggest

Table = dict[str, Any]
Place = Path | Sequence[Path]  # a file, or several of which the first that sets a key is meant
M = TypeVar("M", bound="Options")
DEFAULT = "default"  # as a value: restores the default, whatever outer tables set
MOST = 10**9  # a larger count is a typing mistake, and may not fit torch's integers


def _no_truth_value(value: Any) -> Any:
    """Raise ValueError for true and false, which pydantic takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


NUMBER = BeforeValidator(_no_truth_value)
Count = Annotated[int, Field(ge=1, le=MOST), NUMBER]
CountOrZero = Annotated[int, Field(ge=0, le=MOST), NUMBER]
Rows = Annotated[int, Field(ge=1, le=65_536), NUMBER]  # of a prompt: a longer one fits no model
Seed = Annotated[int, Field(ge=0, lt=2**63), NUMBER]
Positive = Annotated[float, Field(gt=0), NUMBER]
PositiveOrZero = Annotated[float, Field(ge=0), NUMBER]
Share = Annotated[float, Field(ge=0, le=1), NUMBER]


class Options(BaseModel):
    """Base of every options class: unknown keys are errors, values are immutable, numbers are finite and have bounds."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


REASONS = {
    "greater_than": "must be above {gt}", "greater_than_equal": "must be {ge} or more", "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} or less", "finite_number": "must be a finite number",
    "int_type": "must be a whole number", "int_parsing": "must be a whole number", "int_from_float": "must be a whole number",
    "float_type": "must be a number", "float_parsing": "must be a number", "bool_type": "must be true or false",
    "bool_parsing": "must be true or false", "string_type": "must be text", "literal_error": "must be {expected}",
    "tuple_type": "must be a list, in square brackets", "list_type": "must be a list, in square brackets",
    "too_short": "must hold {min_length} or more values", "dict_type": "must be a table", "model_type": "must be a table",
}  # fmt: skip


def read_toml(path: Path) -> Table:
    """Parse a TOML file; raises ConfigError naming file and line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors on Windows write a byte order mark
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number of thousands of digits, nested as deep
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def parse(model: type[M], data: Table, where: str = "", path: Place = ()) -> M:
    """Validate `data` against `model`; the first problem becomes one sentence.

    `where` is the dotted table the data came from, `path` the file or files, both for the message.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = error.errors()
        first, *others = (_sentence(model, each, found, where, path) for each in found)
        raise ConfigError(first, others) from None


def _sentence(model: type[BaseModel], first: Any, found: Sequence[Any], where: str, path: Place) -> str:
    """One of pydantic's errors as a sentence."""
    keys: list[str] = []
    kind: Any = model
    for part in first["loc"]:
        if isinstance(part, int):
            break  # a value in a list: the list's name is more helpful than the place
        key = str(part)
        fields = getattr(kind, "model_fields", {})  # of the table that has the key
        keys.append(key)
        kind = fields[key].annotation if key in fields else None
        if get_origin(kind) in (Union, UnionType):
            break  # pydantic continues with the member of the union that it tried last (`int`), which is not in the file
    key = keys[-1] if keys else ""
    table = ".".join(filter(None, (where, *keys[:-1])))
    at = located(path, key) + (f"[{table}] " if table else "")
    if first["type"] == "extra_forbidden":
        return f"{at}unknown key '{key}'{suggest(key, list(fields))}"
    if first["type"] == "missing":
        return f"{at}missing key '{key}'"
    alike = [each for each in found if tuple(map(str, each["loc"][: len(keys)])) == tuple(keys)]
    message = ", or ".join(dict.fromkeys(map(_reason, alike if key else [first]))).replace(", or must be ", ", or ")
    return f"{at}'{key}' = {first.get('input')!r}: {message}" if key else f"{at}{message}"


def _reason(error: Any) -> str:
    """The reason of one of pydantic's errors, in plain words."""
    words = REASONS.get(error["type"], "")
    return words.format(**error.get("ctx", {})) if words else error["msg"].removeprefix("Value error, ")


def located(files: Place, key: str) -> str:
    """`file:line: ` of the first line that sets a key in the first file that does, for messages; line 1 of the first file where
    none does, nothing without files."""
    paths = [files] if isinstance(files, Path) else list(files)
    pattern = re.compile(rf"(^|[.\s\[{{,\"])({re.escape(key)})\"?\s*[=.\]]")
    for path in paths:
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.exists() else []
        for number, line in enumerate(lines, 1):
            if pattern.search(line):
                return f"{path}:{number}: "
    return f"{paths[0]}:1: " if paths else ""


def merge(*tables: Table) -> Table:
    """Merge nested tables, later ones winning; inputs stay untouched."""
    result: Table = {}
    for table in tables:
        for key, value in table.items():
            old = result.get(key)
            both = isinstance(old, dict) and isinstance(value, dict)
            result[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return result


def without_defaults(table: Table) -> Table:
    """A table without the keys that are set to "default"."""
    kept = {key: without_defaults(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in kept.items() if value != DEFAULT}


def nested(dotted: str, value: Any) -> Table:
    """`nested("optim.lr", 0.3)` is `{"optim": {"lr": 0.3}}`."""
    for key in reversed(dotted.split(".")):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def override(argument: str) -> Table:
    """A command-line override `optim.lr=0.3` as a nested table; the value is TOML, or else a plain string."""
    key, equals, text = argument.partition("=")
    if not equals or not key:
        raise ConfigError(f"override '{argument}' is not of the form key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text
    return nested(key.strip(), value)


def changed_by(arguments: Sequence[str], table: str) -> Table:
    """What command-line overrides set in the one table that a command takes; raises ConfigError for any other."""
    found = merge(*(override(argument) for argument in arguments))
    if other := sorted(set(found) - {table}):
        raise ConfigError(f"only {table}.* can be set here, not {', '.join(other)}")
    return found.get(table, {})  # type: ignore[no-any-return]


def expand_grid(grid: dict[str, list[Any]]) -> Iterator[Table]:
    """Every combination of a grid of dotted keys, as nested tables; an empty grid gives one empty table. Keys joined by commas
    go together: `"data.few_shot, train.batch" = [[5, 2], [50, 8]]`."""
    axes = [[_cell(keys, value) for value in values] for keys, values in grid.items()]
    for cells in itertools.product(*axes):
        yield merge(*cells)


def _cell(joined: str, value: Any) -> Table:
    keys = [key.strip() for key in joined.split(",")]
    values = value if len(keys) > 1 else [value]
    if not isinstance(values, list) or len(values) != len(keys):
        raise ConfigError(f"[grid] expected a list of {len(keys)} values for keys '{joined}', got {value!r}")
    return merge(*(nested(key, value) for key, value in zip(keys, values, strict=True)))


def changed(options: BaseModel) -> Table:
    """The settings that differ from their defaults, nested, without the ones that equal them."""
    return options.model_dump(mode="json", exclude_defaults=True)


def flat(table: Table, prefix: str = "") -> dict[str, str]:
    """A table as dotted keys and JSON."""
    pairs: dict[str, str] = {}
    for key, value in table.items():
        inner = isinstance(value, dict)
        pairs |= flat(value, f"{prefix}{key}.") if inner else {prefix + key: json.dumps(value, ensure_ascii=False)}
    return pairs


def digest(value: Any) -> str:
    """SHA-256 of a JSON value with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
