"""The options that a recipe or a task file can set, as rows for the command line and the documentation."""

import json
from typing import Any

from pydantic import BaseModel

from cpeft.config import MOST, Options
from cpeft.errors import UnknownName
from cpeft.options.method import METHOD_OPTIONS
from cpeft.registry import closest
from cpeft.study.launchers.base import LAUNCHERS
from cpeft.study.recipe.comparison import ComparisonStage
from cpeft.study.recipe.settings import RunSettings
from cpeft.study.recipe.stage import Stage
from cpeft.tasks.custom import CustomTask
from cpeft.training.callbacks.tracker import TRACKERS

TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "object": "table"}
BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def option_tables() -> dict[str, type[Options]]:
    """The options class of every table, in the order in which a recipe is written."""
    settings = {name: field.annotation for name, field in RunSettings.model_fields.items()}
    tables = {name: kind for name, kind in settings.items() if isinstance(kind, type) and issubclass(kind, Options)}
    named: dict[str, type[Options]] = {f"method.{name}": kind for name, kind in METHOD_OPTIONS.items()}
    named |= {f"track.{name}": tracker.Options for name, tracker in TRACKERS.items()}
    named |= {f"launcher.{name}": launcher.Options for name, launcher in LAUNCHERS.items()}
    with_options = {name: kind for name, kind in named.items() if set(kind.model_fields) - {"name"}}
    return {"stage": Stage, "stage.compare": ComparisonStage, **tables, **with_options, "task": CustomTask}


def option_rows(name: str | None = None) -> list[dict[str, Any]]:
    """One row per option of a table, of all tables, or the one option `TABLE.OPTION`: its table, name, type, default and
    description. Raises UnknownName with the nearest name."""
    rows = [row for table, kind in option_tables().items() for row in _rows(table, kind)]
    if name is None:
        return rows
    found = [row for row in rows if name in (row["table"], f"{row['table']}.{row['option']}")]
    if not found:
        known, tables = [f"{row['table']}.{row['option']}" for row in rows], ", ".join(option_tables())
        raise UnknownName(
            f"no table or option is called '{name}'{closest(name, [*option_tables(), *known]) or f'; tables: {tables}'}"
        )
    return found


def _rows(table: str, kind: type[Options]) -> list[dict[str, Any]]:
    rows = field_rows(kind)
    if table.startswith("method."):
        rows = [row for row in rows if row["option"] != "name"]  # it is described in [method]
    if kind is Stage:
        rows += [row for row in field_rows(RunSettings) if row["option"] == "sources"]  # the only setting in no table
    return [{"table": table, **row} for row in rows]


def field_rows(kind: type[BaseModel]) -> list[dict[str, Any]]:
    """One row per field of a model: its name (`option`), type, default and description."""
    schema = kind.model_json_schema()
    required = schema.get("required", ())
    return [
        {
            "option": name,
            "type": type_text(shape),
            "default": "required" if name in required else _default(shape.get("default")),
            "description": shape.get("description", ""),
        }
        for name, shape in schema["properties"].items()
    ]


def _default(value: Any) -> str:
    """A default in TOML syntax; `not set` for None and for an empty table, list or text."""
    return "not set" if value in (None, "", [], {}) else json.dumps(value)


def type_text(shape: dict[str, Any]) -> str:
    """A JSON schema in words: `integer >= 1, or "full"`."""
    if "$ref" in shape:
        return str(shape["$ref"]).rpartition("/")[2]
    if "anyOf" in shape:
        return ", or ".join(type_text(each) for each in shape["anyOf"] if each != {"type": "null"})
    if values := shape.get("enum") or ([shape["const"]] if "const" in shape else []):
        return " | ".join(map(json.dumps, values))
    if shape.get("type") == "array":
        items = shape.get("prefixItems")
        return f"list of {len(items)}: {type_text(items[0])}" if items else f"list of {type_text(shape['items'])}"
    bounds = [f"{sign} {shape[key]:,}" for key, sign in BOUNDS.items() if key in shape and abs(shape[key]) < MOST]
    return " ".join([TYPES.get(shape.get("type", "object"), "table"), " and ".join(bounds)]).strip()
