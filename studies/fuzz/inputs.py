"""What `fuzz.py` writes: cases for the command, nearly right ones and wild ones, as hypothesis strategies.

A case is some files and a command line. It begins as one that works and is changed in a few places: values of other types and
out of range, missing and misspelt keys, other encodings, cut and doubled lines, deep nesting, damaged matrices. In a command
line `@` is the folder of the case's files.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import date, time
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tomli_w
import torch
from hypothesis import strategies as st
from safetensors.torch import save

from cpeft.models.loading import load_lm
from cpeft.models.tiny import WIDTH
from cpeft.prompts.soft_prompt import PEFT_KEY, Provenance, SoftPrompt

Draw = Callable[[st.SearchStrategy[Any]], Any]
Table = dict[str, Any]

TEXTS = ("", " ", "a", "0", "1", "-1", "1.0", "nan", "NA", "none", "true", "default", "full", "a b", "a/b", "../x",
         "/", "~", ".",
         "x" * 300, "x" * 5000, "\0", "\n", "\r", "\t", '"', "'", "\\", "{", "}", "{text}", "{task}", "{x}", "[", ",", ";", "=",
         "é", "日本", "\u202e", "\ufeff", "\u2028", "😀", "</s>", "<pad>", "own.toml", "train.csv", "a/own", "a/*", "@*",
         "a/own@0",
         "$HOME", "%s", "*", "**", "?", "[a", "-", "--help", "[red]", "[/]", "text", "label", "mood", "mini",
         "mini/mood", "rte",
         "prompt", "vocab", "random", "labels", "text('a')", "mean(a/own)", "v(a/own)", "vocab + v(a/own)", "origin", "3*vocab",
         "mean(", "a/own + ", "sum(v(a/{task}), ...)", "...", "{other}", "a/{other}", "((((", "text(", "first:1", "first:0",
         "first:x", "all", "epoch", "cuda", "cpu", "float16", "utf-16", "latin-1", "rot13", "hex", "idna", "utf-7")  # fmt: skip
NUMBERS = (0, 1, -1, 2, 3, 7, 100, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63), 10**400, 0.0, -0.0, 0.5, 1.0, 1.5, -1.5,
           1e-320, 1e308,
           float("nan"), float("inf"), float("-inf"))  # fmt: skip
PUT_IN = (*TEXTS, "[" * 3000, '{"a":' * 3000, "9" * 5000, "1e999999", "\x1a", "= =", "[[stage]]\n", "[labels]\n",
          "\n\n", "\r\n",
          "null", "NaN", "\\ud800", "\\u0000")  # fmt: skip
PLAIN = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(NUMBERS),
    st.booleans(),
    st.text(max_size=8).filter(lambda text: text.isprintable()),
)
ODD = st.one_of(
    PLAIN,
    st.sampled_from([date(2024, 1, 1), time(1, 2)]),
    st.lists(PLAIN, max_size=3),
    st.dictionaries(st.sampled_from([*TEXTS[2:6], "name", "a", "train", "test"]), PLAIN, max_size=2),
)
ODD_JSON = st.one_of(ODD.filter(lambda value: not isinstance(value, date | time)), st.none())

METHODS = (
    "prompt_tuning",
    "attempt",
    "no_prompt",
    "mpt",
    "lora",
    "bitfit",
    "ia3",
    "prefix_tuning",
    "adapters",
    "fine_tuning",
)
SETTINGS: dict[str, tuple[Any, ...]] = {
    "method.name": METHODS,
    "prompt.init": ("vocab", "random", "labels", "text('a b')", "random + v(a/own)", "a/own", "a/own@0", "mean(a/own, a/own)",
                    "a/*", "a/{task}", "0.5*a/own", "v(a/own)", "mixed(a/own, vocab)", "p", "'p'", "weighted(a/own, a/own)"),
    "prompt.rows": ("live", "doubled"),
    "prompt.dtype": ("float32", "bfloat16"),
    "prompt.length": (1, 2, 3, 40),
    "prompt.vocab_range": ([0, 9], [0, 0], [5, 4], [0, 10**8]),
    "sources": (["a/own"], ["a/*"], ["a/own", "p"], []),
    "source.rows": ("all", "first:1", "first:3"),
    "data.form": ("fields", "instruction", "chat"),
    "data.few_shot": ("full", 0, 1, 2, 100),
    "data.few_shot_per": ("class", "total"),
    "data.limit_train": (0, 1, 5), "data.limit_test": (1, 5), "data.limit_validation": (1, 2),
    "data.max_source": (1, 2, 10, 300),
    "data.examples": (0, 1, 3, 50), "data.examples_tokens": (1, 10, 1024),
    "data.split": ("disjoint", "attempt", "tpv", "tpv-text", "s0-text"),
    "data.labels": ("words", "spaced", "numbers"),
    "data.loss": ("answer", "sequence"), "data.label_padding": ("masked", "in-loss"), "data.padding": ("none", "room"),
    "data.cue": ("", "answer:", " "), "data.prefix": ("task", "none"),
    "eval.decode": (["greedy"], ["choice"], ["greedy", "choice", "calibrated"], []),
    "eval.match": ("exact", "lower"), "eval.max_new_tokens": (1, 2), "eval.bootstrap": (0, 1, 5), "eval.token_budget": (1, 50),
    "optim.lr": (1e-8, 0.3, 1e30), "optim.name": ("adamw", "adafactor", "sgd"), "optim.weight_decay": (0, 1e30),
    "optim.schedule": ("constant", "linear"), "optim.clip": (0.1, 1e-30), "optim.warmup": (0, 0.5, 1),
    "train.batch": (1, 4, 10**9), "train.eval_every": (1, 0.5, "epoch"), "train.select": ("metric", "loss"),
    "train.patience": (1,), "train.base_dropout": ("on", "off", "outside-attention"),
    "seed": (0, 5), "seeds.init": (1, 2**62), "seeds.subset": (0,),
    "gang.size": (1, 2), "predictions.texts": ("keep", "hash", "none"), "track.use": ([], ["tensorboard"], ["wnadb"]),
    "base": (".", "p", "nowhere"), "extends": ("small/attempt", "r.toml", "own.toml"), "about": ("x",),
    "launcher.slurm.workers": (1,), "launcher.processes.workers": (1, 2), "launcher.slurm.stage.a.gpus": (0, 1),
    "model.device": ("cpu", "auto", "x", "cuda:99"),
    "model.dtype": ("auto", "float32", "bfloat16", "float16"), "model.attention": ("auto", "eager", "sdpa"),
    "model.quantize": ("none", "8bit"), "energy.measure": ("off", "auto"),
}  # fmt: skip
STAGES: tuple[Table, ...] = (
    {"name": "b", "tasks": ["own.toml"], "prompt": {"init": "a/own"}},
    {"name": "b", "tasks": ["own.toml"], "sources": ["a/*"], "method": {"name": "attempt", "bottleneck": 4}},
    {"name": "b", "tasks": ["own.toml"], "grid": {"data.few_shot": [1, "full"], "optim.lr, train.batch": [[0.1, 2]]}},
    {"name": "b", "tasks": ["own.toml"], "variant": [{"name": "x"}, {"name": "y", "prompt": {"length": 2}}]},
    {"name": "b", "tasks": ["own.toml"], "task": {"own.toml": {"optim": {"lr": 0.1}}}, "seeds": [0, 1]},
    {"name": "b", "tasks": ["own.toml", "mini/mood"], "together": "yes", "data": {"limit_train": 4, "limit_test": 4}},
    {"name": "b", "compare": ["a/own", "p"]},
)
WORK = (
    "train.steps",
    "train.epochs",
    "eval.bootstrap",
    "eval.max_new_tokens",
    "prompt.length",
)  # what a run's time grows with


@dataclass(frozen=True)
class Case:
    """Files by name, and the arguments of `cpeft`."""

    files: dict[str, bytes]
    arguments: tuple[str, ...]


# Values and texts


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of nested tables and lists."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)


def _changed(draw: Draw, table: Table, odd: st.SearchStrategy[Any], least: int = 0) -> Table:
    """A table with a few places changed."""
    table = deepcopy(table)
    for _ in range(max(least, draw(st.sampled_from((0, 1, 1, 1, 2, 3))))):
        places = list(_places(table))
        if not places:
            return table
        container, key = draw(st.sampled_from(places)) if len(places) > 1 else places[0]
        old = container[key]
        match draw(st.sampled_from(("value", "value", "value", "gone", "misspelt", "more", "wrapped"))):
            case "value":
                container[key] = draw(odd)
            case "gone":
                del container[key]
            case "misspelt" if isinstance(container, dict):
                container[str(key)[:-1] or "x"] = container.pop(key)
            case "more" if isinstance(container, dict):
                container[draw(st.sampled_from(TEXTS))] = draw(odd)
            case _:
                container[key] = draw(st.sampled_from([[old], {"a": old}, [old, old], [[old]]]))
    return table


def _spoiled(draw: Draw, text: str) -> bytes:
    """A text in bytes: mostly as it is, else in another encoding or with a slip of the keyboard, the disk or a program."""
    lines = text.splitlines(keepends=True) or [""]
    at = partial(draw, st.integers(0, len(text)))
    line = partial(draw, st.integers(0, len(lines) - 1))
    slips = ("encoded", "cut", "put in", "put in", "doubled", "dropped", "wild", "empty")
    match draw(st.sampled_from(("as is",) * 20 + slips)):
        case "encoded":
            encoding = draw(
                st.sampled_from(("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-7"))
            )
            return text.encode(encoding, errors="replace")
        case "cut":
            return text[: at()].encode()
        case "put in":
            more, place = draw(st.sampled_from(PUT_IN)), at()
            return (text[:place] + more + text[place:]).encode()
        case "doubled":
            lines.insert(line(), lines[line()])
            return "".join(lines).encode()
        case "dropped":
            del lines[line()]
            return "".join(lines).encode()
        case "wild":
            return draw(st.binary(max_size=60))
        case "empty":
            return b""
    return text.encode("utf-8", errors="surrogatepass")


def _toml(draw: Draw, table: Table) -> bytes:
    return _spoiled(draw, tomli_w.dumps(_writable(table)))


def _writable(value: Any) -> Any:
    """What tomli_w writes: no None, keys that are text."""
    if isinstance(value, dict):
        return {str(key): _writable(inner) for key, inner in value.items() if inner is not None}
    return [_writable(inner) for inner in value if inner is not None] if isinstance(value, list) else value


def _json(draw: Draw, value: Any) -> bytes:
    return _spoiled(draw, json.dumps(value, ensure_ascii=draw(st.booleans())))


# Tasks and rows


def task_table(kind: str = "csv") -> Table:
    """A user's task that works."""
    return {"name": "own", "template": "{text}", "label_column": "label", "metrics": ["accuracy"],
            "labels": {"0": "bad", "1": "good"},
            "files": {"train": f"train.{kind}", "validation": f"validation.{kind}", "test": f"test.{kind}"}}  # fmt: skip


MORE: dict[str, tuple[Any, ...]] = {  # keys of a task that may as well be there
    "missing": ("", "none"), "encoding": ("latin-1", "utf-16", "ascii", "cp1252"), "prefix": ("", "own:"), "ask": ("Good?",),
    "labels": ({"0": "a", "1": "a b"}, {"0": "same", "1": "same"}, {"0": "</s>", "1": "é"}, {"1": "x", "01": "y"},
               {"0": "one"}),
    "template": ("{text} {text}", "{label}", "{nothing}", "{ text}", "x {text} y" * 50),
}  # fmt: skip


def _rows(split: str, count: int) -> list[Table]:
    return [{"text": f"{split} {i} is {'good' if i % 2 else 'bad'}", "label": str(i % 2)} for i in range(count)]


def _row_file(draw: Draw, kind: str, split: str, spoil: bool, count: int = 8) -> bytes:
    rows = _rows(split, count)
    if spoil:
        rows = _changed(draw, {"rows": rows}, ODD_JSON).get("rows", [])
    if kind in ("csv", "tsv"):
        tables = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        content = _csv(draw, tables, "\t" if kind == "tsv" else draw(st.sampled_from(",,,;\t|")), spoil)
    elif kind == "json":
        content = _json(draw, rows) if spoil else json.dumps(rows).encode()
    else:
        text = "".join(
            json.dumps(row, ensure_ascii=False) + "\n" for row in (rows if isinstance(rows, list) else [rows])
        )
        content = _spoiled(draw, text) if spoil else text.encode()
    return gzip.compress(content) if spoil and draw(st.integers(0, 15)) == 0 else content


def _csv(draw: Draw, rows: list[Table], separator: str, spoil: bool) -> bytes:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if spoil and draw(st.integers(0, 7)) == 0 and columns:
        columns.append(draw(st.sampled_from([*columns, "", " text", "Text", "prediction", "prompt"])))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=draw(st.sampled_from(("\n", "\r\n"))))
    writer.writerow(columns)
    writer.writerows([row.get(column, "") for column in columns] for row in rows)
    return _spoiled(draw, out.getvalue()) if spoil else out.getvalue().encode()


def _task(draw: Draw) -> dict[str, bytes]:
    """A task and its files, of which at most one is spoiled."""
    kind = draw(st.sampled_from(("csv", "csv", "tsv", "jsonl", "json")))
    table = task_table(kind)
    if draw(st.integers(0, 3)) == 0:
        del table["labels"]
    if draw(st.integers(0, 3)) == 0:
        table["metrics"] = draw(
            st.sampled_from((["squad_em", "squad_f1"], ["macro_f1"], ["pearson"], ["rouge_l"], ["bleu"]))
        )
    for key, values in MORE.items():
        if draw(st.integers(0, 7)) == 0:
            table[key] = draw(st.sampled_from(values))
    for split in ("validation", "test", "train"):
        if len(table["files"]) > 1 and draw(st.integers(0, 9)) == 0:
            del table["files"][split]
    chosen = draw(st.sampled_from(("train", "validation", "test", "", "table", "table")))
    files = {
        f"{split}.{kind}": _row_file(draw, kind, split, split == chosen) for split in ("train", "validation", "test")
    }
    own = _toml(draw, _changed(draw, table, ODD)) if chosen == "table" else tomli_w.dumps(table).encode()
    return {"own.toml": own, **files}


@cache
def good_task() -> dict[str, bytes]:
    """The files of a task that works."""
    rows = {f"{split}.jsonl": "".join(json.dumps(row) + "\n" for row in _rows(split, 8)).encode()
            for split in ("train", "validation", "test")}  # fmt: skip
    return {"own.toml": tomli_w.dumps(task_table("jsonl")).encode(), **rows}


# Prompts


@cache
def good_prompt(model: str) -> dict[str, bytes]:
    """The files of a prompt of the tiny model that was trained a little."""
    lm = load_lm(model, dtype="float32")
    generator = torch.Generator().manual_seed(0)
    origin, moved = (torch.randn(3, WIDTH, generator=generator) for _ in range(2))
    text = {"form": "fields", "max_source": 64}
    known = Provenance(model=model, embedding=lm.fingerprint, dtype="float32", encoder_decoder=True, task="own", text=text,
                       method="prompt_tuning", init="vocab", seeds={"init": 1, "subset": 2}, scores={"own/accuracy": 50.0},
                       versions={"cpeft": "0"}, **lm.parts)  # fmt: skip
    with TemporaryDirectory() as folder:
        SoftPrompt(origin + moved, known, origin).save(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


KINDS = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn,
         torch.float8_e5m2)  # fmt: skip
SHAPES = (
    (3, WIDTH),
    (0, WIDTH),
    (3, 0),
    (1, 1),
    (6, WIDTH),
    (3, WIDTH + 1),
    (WIDTH,),
    (),
    (3, WIDTH, 1),
    (2, WIDTH),
    (3, 64),
)


def _matrix(draw: Draw) -> torch.Tensor:
    shape = draw(st.sampled_from(SHAPES))
    value = draw(st.sampled_from((0.0, 1.0, -2.5, 1e38, float("nan"), float("inf"))))
    matrix = (
        torch.full(shape, value) if draw(st.booleans()) else torch.arange(float(np.prod(shape))).reshape(shape) + value
    )
    return matrix.to(draw(st.sampled_from(KINDS))) if draw(st.booleans()) else matrix


def _tensors(draw: Draw, content: bytes, key: str) -> bytes:
    match draw(st.sampled_from(("matrix", "matrix", "key", "cut", "byte", "none", "header", "wild"))):
        case "matrix":
            return save({key: _matrix(draw)})
        case "key":
            return save(
                {draw(st.sampled_from((PEFT_KEY, "origin", "weight", "", "x"))): _matrix(draw), "y": torch.zeros(1)}
            )
        case "cut":
            return content[: draw(st.integers(0, len(content)))]
        case "byte":
            at = draw(st.integers(0, len(content) - 1))
            return content[:at] + draw(st.binary(min_size=1, max_size=3)) + content[at + 1 :]
        case "none":
            return save({})
        case "header":
            head = json.dumps(
                {key: _changed(draw, {"dtype": "F32", "shape": [3, WIDTH], "data_offsets": [0, 384]}, ODD_JSON)}
            )
            return len(head).to_bytes(8, "little") + head.encode() + bytes(384)
    return draw(st.binary(max_size=40))


def _prompt(draw: Draw, model: str) -> dict[str, bytes]:
    """A prompt folder of which one or two files are spoiled, or gone."""
    files = dict(good_prompt(model))
    if draw(st.integers(0, 4)) == 0:
        del files["cpeft.json"]  # as peft writes one
    for name in draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2, unique=True)):
        if draw(st.integers(0, 9)) == 0:
            del files[name]
        elif name.endswith(".json"):
            files[name] = _json(draw, _changed(draw, json.loads(files[name]), ODD_JSON, least=1))
        elif name.endswith(".safetensors"):
            files[name] = _tensors(draw, files[name], PEFT_KEY if name.startswith("adapter") else "origin")
    return files


def _bare_prompt(draw: Draw) -> tuple[str, bytes]:
    """A matrix in one file."""
    suffix = draw(st.sampled_from(("npy", "pt", "bin", "safetensors")))
    out = io.BytesIO()
    if suffix == "npy":
        matrix = _matrix(draw)
        np.save(out, matrix.float().numpy().astype(draw(st.sampled_from(("f4", "f8", "i2", "?", "c8", "U3", ">f4")))))
    elif suffix == "safetensors":
        return f"bare.{suffix}", _tensors(draw, save({PEFT_KEY: torch.ones(3, WIDTH)}), PEFT_KEY)
    else:
        value = _matrix(draw)
        torch.save(draw(st.sampled_from((value, {"w": value}, {"w": value, 3: value}, [value], {}, 3, None))), out)
    content = out.getvalue()
    return f"bare.{suffix}", content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 3)) == 0 else content


# Cases


def _recipe_table(draw: Draw, model: str) -> Table:
    table: Table = {
        "name": "t", "model": {"name": model, "dtype": "float32"}, "prompt": {"length": 3}, "optim": {"lr": 0.05},
        "train": {"steps": 1, "batch": 4, "eval_every": 1}, "eval": {"bootstrap": 2, "max_new_tokens": 9},
        "energy": {"measure": "off"}, "stage": [{"name": "a", "tasks": ["own.toml"], "seeds": [0]}],
    }  # fmt: skip
    if draw(st.booleans()):
        table["stage"].append(deepcopy(draw(st.sampled_from(STAGES))))
    for _ in range(draw(st.integers(0, 3))):
        dotted = draw(st.sampled_from(sorted(SETTINGS)))
        of_all = dotted.startswith(("base", "extends", "launcher", "seeds", "about")) or draw(st.booleans())
        _set(table if of_all else table["stage"][-1], dotted, draw(st.sampled_from(SETTINGS[dotted])))
    return table


def _set(table: Table, dotted: str, value: Any) -> None:
    *tables, key = dotted.split(".")
    for name in tables:
        if not isinstance(table.get(name), dict):
            table[name] = {}
        table = table[name]
    table[key] = value


def _override(draw: Draw) -> str:
    dotted = draw(st.sampled_from(sorted(SETTINGS)))
    if draw(st.booleans()):
        value = draw(st.sampled_from(SETTINGS[dotted]))
        return f"{dotted}={json.dumps(value, ensure_ascii=False)}"
    keys = (dotted, dotted[:-1], f"a.{dotted}", dotted.split(".")[0], "seeds", "tasks", "tiny", "a", "x", "")
    key = draw(st.sampled_from(keys))
    return f"{key}={draw(st.sampled_from((*TEXTS, '[[[', '[' * 3000, '9' * 5000, '{a=1}', '[0]', '1_', 'nan')))}"


def _fixed(draw: Draw) -> list[str]:
    """Overrides that keep a run short, whatever its recipe says: who asks for a billion steps waits for them."""
    small = {"train.steps": draw(st.integers(0, 2)), "eval.bootstrap": 2, "eval.max_new_tokens": 9}
    return [f"{key}={value}" for key, value in small.items()]


@st.composite
def recipes(draw: Draw, model: str) -> Case:
    """A recipe for plan, doctor or run, on a task that works."""
    table = _recipe_table(draw, model)
    command = draw(st.sampled_from(("plan", "plan", "plan", "doctor", "doctor", "run")))
    wrong = draw(st.booleans())
    if wrong:
        table = _changed(draw, table, ODD, least=1)
    files = {**good_task(), "r.toml": _toml(draw, table) if wrong else tomli_w.dumps(_writable(table)).encode()}
    files |= {f"p/{name}": content for name, content in good_prompt(model).items()}
    overrides = [_override(draw) for _ in range(draw(st.integers(0, 2)))]
    more = {"plan": ["--store", "@/s"], "doctor": [], "run": ["--store", "@/s"]}[command]
    if command == "run":
        overrides = [one for one in overrides if not one.startswith(WORK)] + _fixed(draw)
        overrides += [] if "prompt" not in tomli_w.dumps(_writable(table)) else ["prompt.length=3"]
    if command != "run" and draw(st.integers(0, 15)) == 0:
        overrides.append("--json")
    return Case(
        files, (command, "@/r.toml", *(one for one in overrides if not one.startswith("-") or one == "--json"), *more)
    )


@st.composite
def tasks(draw: Draw, model: str) -> Case:
    """A user's task, its table or one of its files spoiled, for show, plan and doctor."""
    files = _task(draw)
    match draw(st.sampled_from(("show", "show", "show model", "plan", "doctor", "run"))):
        case "show":
            overrides = [f"data.{one.partition('.')[2]}" for one in [_override(draw)] if one.startswith("data.")]
            return Case(files, ("show", "task", "@/own.toml", *overrides))
        case "show model":
            return Case(files, ("show", "task", "@/own.toml", "--model", model))
        case command:
            table = _recipe_table(draw, model)
            files = {**files, "r.toml": tomli_w.dumps(_writable(table)).encode()}
            files |= {f"p/{name}": content for name, content in good_prompt(model).items()}
            more = [*_fixed(draw), "prompt.length=3"] if command == "run" else []
            return Case(files, (command, "@/r.toml", *more, *([] if command == "doctor" else ["--store", "@/s"])))


@st.composite
def rows(draw: Draw, model: str) -> Case:
    """A file of rows to predict, or a task to read them by, spoiled."""
    kind = draw(st.sampled_from(("csv", "csv", "tsv", "jsonl", "json")))
    out = draw(st.sampled_from(("csv", "jsonl", "tsv", "parquet")))
    files = good_task() if draw(st.integers(0, 2)) else _task(draw)
    files = {**files, f"in.{kind}": _row_file(draw, kind, "new", True, count=3)}
    files |= {f"p/{name}": content for name, content in good_prompt(model).items()}
    more = ["--encoding", draw(st.sampled_from(TEXTS))] if draw(st.integers(0, 15)) == 0 else []
    if draw(st.integers(0, 15)) == 0:
        more += ["--prompt-column", draw(st.sampled_from(("text", "label", "prompt", "")))]
    overrides = [_override(draw)] if draw(st.integers(0, 7)) == 0 else []
    overrides = [one for one in overrides if one.startswith(("data.", "eval.")) and not one.startswith(WORK)]
    return Case(files, ("predict", "@/p", "--task", "@/own.toml", "--input", f"@/in.{kind}", "--out", f"@/out.{out}",
                        *overrides, "eval.max_new_tokens=2", *more))  # fmt: skip


FORMULAS = ("v({})", "mean({}, {good})", "{good} + v({})", "{} + 0.5*v({good})", "cross({} - {good})",
            "{good} + cross({} - {good})", "mixed({}, {good})", "weighted({}, {good})", "2*{}")  # fmt: skip


@st.composite
def prompts(draw: Draw, model: str) -> Case:
    """A spoiled prompt, for the commands that read one."""
    files = {**good_task(), **{f"g/{name}": content for name, content in good_prompt(model).items()}}
    what = "@/p"
    if draw(st.integers(0, 3)):
        files |= {f"p/{name}": content for name, content in _prompt(draw, model).items()}
    else:
        name, content = _bare_prompt(draw)
        what, files = f"@/{name}", {**files, name: content}
    files["in.jsonl"] = b'{"text": "a"}\n'
    formula = draw(st.sampled_from(FORMULAS)).format(f"'{what}'", good="'@/g'")
    named = ("--model", model) if draw(st.booleans()) else ()
    short = "eval.max_new_tokens=2"
    recipe = {**_recipe_table(draw, model), "prompt": {"length": 3, "init": "'p'"}}
    files["r.toml"] = tomli_w.dumps(_writable(recipe)).encode()
    arguments = draw(st.sampled_from((
        ("show", "prompt", what), ("show", "prompt", formula), ("doctor", what), ("doctor", what, "@/g"),
        ("doctor", what, *named),
        ("predict", what, "--task", "@/own.toml", "--input", "@/in.jsonl", "--out", "@/out.jsonl", short, *named),
        ("eval", what, "--task", "@/own.toml", short, "eval.bootstrap=2", *named), ("compose", formula, "--out", "@/made"),
        ("similar", what, "@/g"),
        ("similar", "--vectors", what, "@/g"), ("similar", "--rows", "all", what, "@/g"),
        ("import", what, "@/made"), ("import", what, "@/made", "--origin", "@/g"),
        ("import", "@/g", "@/made", "--origin", what),
        ("export", what, "--out", "@/made"), ("export", what, "--out", "@/made.npy", "--form", "npy"),
        ("run", "@/r.toml", *_fixed(draw), "--store", "@/s"),
    )))  # fmt: skip
    return Case(files, arguments)


@st.composite
def command_lines(draw: Draw, model: str) -> Case:
    """Words in an order that nobody meant, on files that work."""
    files = {**good_task(), **{f"p/{name}": content for name, content in good_prompt(model).items()}}
    commands = ("show", "plan", "doctor", "eval", "predict", "compose", "similar", "origins", "import", "export", "list",
                "status", "report", "fetch", "suggest")  # fmt: skip
    ours = ("@/p", "@/own.toml", "@/train.jsonl", "task", "prompt", "--json", "--model", model, "--out", "@/x", "--task",
            "--store",
            "@/s", "@", "--rows", "--split", "--input", "tasks", "prompts", "--vectors", "--only")  # fmt: skip
    texts = st.sampled_from(TEXTS).filter(lambda text: "\0" not in text and "rte" not in text)
    words = st.one_of(st.sampled_from((*commands, *ours)), texts)
    command = draw(st.sampled_from(commands))
    rest = draw(st.lists(words, max_size=5))
    if command == "fetch":  # what it fetches is no matter of this
        rest = [word for word in rest if word.startswith("@")]
    if command == "suggest":
        rest = ["@/p", "--target", *rest[:2], "--set", "train.steps=1"]
    return Case(files, (command, *rest))


@st.composite
def cases(draw: Draw, model: str) -> Case:
    """Any of them; no argument holds a NUL, which no shell can pass."""
    kind = draw(st.sampled_from((*[recipes] * 3, *[tasks] * 3, *[rows] * 2, *[prompts] * 3, command_lines)))
    case = draw(kind(model))
    return replace(case, arguments=tuple(word.replace("\0", "") for word in case.arguments))
