"""The rooms and their floors: who may import whom, file sizes, one file per method, and what importing costs."""

import ast
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cpeft.methods import METHODS
from tiny import SRC, run_python

ROOT = Path(SRC) / "cpeft"
FLOORS = (
    ("cli", "__init__", "__main__"),
    ("serve", "archive"),
    ("doctor", "report"),
    ("use",),
    ("study",),
    ("training", "evaluation", "baselines"),
    ("models",),
    ("methods", "data"),
    ("store",),
    ("prompts", "metrics", "tasks", "stats", "options"),
    ("config", "files"),
    ("registry", "plugins", "errors", "seeds"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(path for path in ROOT.rglob("*.py") if "assets" not in path.parts)


def module_of(path: Path) -> str:
    """`cpeft.training.engine`; a package's `__init__.py` is the package."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports(tree: ast.AST) -> list[tuple[str, str, int]]:
    """(module, name or "", line) of every import, including those inside functions and for type checkers only."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, "", node.lineno) for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found += [(node.module or "", alias.name, node.lineno) for alias in node.names]
    return found


def ours(module: str, name: str) -> str | None:
    """The module of cpeft that an import reads, if any."""
    if module.split(".")[0] != "cpeft":
        return None
    return f"{module}.{name}" if f"{module}.{name}" in MODULES else module


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def breaches(module: str, tree: ast.AST) -> list[str]:
    """What a module imports against the law."""
    wrong = []
    for target, name, line in imports(tree):
        other = ours(target, name)
        if other is None or (other == "cpeft" and name in ("", "__version__")):  # the version of the package
            continue
        here, there = room_of(module), room_of(other)
        if here not in FLOOR or there not in FLOOR:
            wrong.append(f"{module}:{line}: room '{here if here not in FLOOR else there}' stands on no floor")
        elif FLOOR[there] < FLOOR[here]:
            wrong.append(f"{module}:{line}: {here} must not import {other}")
        elif here == "report" and there in ("study", "use"):
            wrong.append(f"{module}:{line}: report reads stores, not {other}")
        elif module.startswith("cpeft.study.recipe") and other.startswith(
            ("cpeft.study.runner", "cpeft.study.launchers")
        ):
            wrong.append(f"{module}:{line}: a recipe is read without {other}")
        elif module.startswith("cpeft.study.runner") and other.startswith("cpeft.study.launchers"):
            wrong.append(f"{module}:{line}: the runner works without {other}")
    return wrong


def test_the_check_itself_finds_breaches():
    def found(module, code):
        return breaches(module, ast.parse(code))

    assert found("cpeft.prompts.init", "def f():\n    from cpeft.models import loading")
    assert found("cpeft.report.html", "from cpeft.study.runner.worker import x")
    assert found("cpeft.newroom.x", "import cpeft.errors")
    assert found("cpeft.store.result", "from cpeft.data import encode")
    assert found("cpeft.study.recipe.tiny", "if TYPE_CHECKING:\n    from cpeft.study.runner.plan import Plan")
    assert found("cpeft.study.recipe.recipe", "from cpeft.study.launchers import LAUNCHERS")
    assert found("cpeft.study.runner.worker", "from cpeft.study.launchers import LAUNCHERS")
    assert not found("cpeft.report.html", "from cpeft.store.result import x")
    assert not found(
        "cpeft.training.engine", "from cpeft.training import member\nimport torch\nfrom cpeft.errors import Stopped"
    )


def test_there_is_something_to_check():
    assert len(FILES) > 30
    assert {"cpeft.methods.attempt", "cpeft.training.engine", "cpeft.registry"} <= MODULES.keys()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arrows_point_down(module):
    assert breaches(module, parsed(MODULES[module])) == []


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first again at the end; empty where there is none."""
    state: dict[str, int] = {}

    def visit(module: str, trail: list[str]) -> list[str]:
        if state.get(module) == 1:
            return [*trail[trail.index(module) :], module]
        if module in state:
            return []
        state[module] = 1
        for other in sorted(graph.get(module, set()) - {module}):
            if found := visit(other, [*trail, module]):
                return found
        state[module] = 2
        return []

    return next((found for module in sorted(graph) if (found := visit(module, []))), [])


def test_no_circles():
    """Imports inside functions and for type checkers count too."""
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    graph = {
        module: {other for target, name, _ in imports(parsed(path)) if (other := ours(target, name))}
        for module, path in MODULES.items()
    }
    assert circle(graph) == []


@pytest.mark.parametrize("module", sorted(m for m in MODULES if room_of(m) == "prompts"))
def test_prompts_need_little(module):
    allowed = {*sys.stdlib_module_names, "torch", "numpy", "safetensors", "jaxtyping", "cpeft"}
    assert {target.split(".")[0] for target, _, _ in imports(parsed(MODULES[module]))} <= allowed


def test_model_classes_are_imported_in_one_room():
    suffixes = ("ForCausalLM", "ForSeq2SeqLM", "ForConditionalGeneration", "LMHeadModel")
    wrong = [
        f"{module}:{line}: {name}"
        for module, path in MODULES.items()
        for target, name, line in imports(parsed(path))
        if target.startswith("transformers") and (name.startswith("AutoModel") or name.endswith(suffixes))
        if room_of(module) != "models"
    ]
    assert wrong == []


def branches_on(tree: ast.AST, word: str) -> list[int]:
    """Lines that compare something with `word`, except names of split policies and of published papers."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            texts = [
                n.value
                for part in (node.left, *node.comparators)
                for n in ast.walk(part)
                if isinstance(n, ast.Constant)
            ]
            about = ast.unparse(node)
            if word in texts and not any(w in about for w in ("policy", "split", "against", "paper")):
                lines.append(node.lineno)
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant) and node.value.value == word:
            lines.append(node.lineno)
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == "isinstance"
            and "Attempt" in ast.unparse(node.args[1])
        ):
            lines.append(node.lineno)
    return lines


def test_no_file_branches_on_a_methods_name():
    assert branches_on(ast.parse("if method.name == 'attempt': pass"), "attempt") == [1]
    assert branches_on(ast.parse("if name in ('attempt', 'x'): pass"), "attempt") == [1]
    assert branches_on(ast.parse("if policy == 'attempt': pass"), "attempt") == []
    found = {
        module: branches_on(parsed(path), "attempt")
        for module, path in MODULES.items()
        if not module.endswith(".attempt")
    }
    assert {module: lines for module, lines in found.items() if lines} == {}
    readers = [
        module
        for module, path in MODULES.items()
        for target, name, _ in imports(parsed(path))
        if "cpeft.methods.attempt" in (target, f"{target}.{name}")
    ]
    assert readers == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 320


def test_folders_stay_small():
    """About ten files beside `__init__`, except where every file is an entry that registers itself."""
    count = Counter(path.parent.relative_to(ROOT) for path in FILES if path.name != "__init__.py")
    large = {str(folder) for folder, files in count.items() if files > 11}
    entries = {"tasks", "methods", "baselines", "metrics", "report/sections"}
    assert large <= entries | {"models", "models/fast", "data", "prompts"}  # known, to be divided


def test_every_room_but_the_known_is_absent():
    rooms = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES}
    assert rooms <= FLOOR.keys()


@pytest.mark.parametrize("room", ["report", "store"])
def test_a_room_imports_no_torch(room):
    modules = [module for module in MODULES if room_of(module) == room]
    assert modules
    loads = "; ".join(f"import {module}" for module in sorted(modules))
    done = run_python(f"import sys; {loads}; print('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"


def test_importing_cpeft_is_cheap():
    """CPU seconds over a bare interpreter, best of three; and no torch."""

    def cpu(code: str) -> float:
        env = {**os.environ, "PYTHONPATH": SRC}
        best = float("inf")
        for _ in range(3):
            before = os.times()
            subprocess.run([sys.executable, "-c", code], env=env, check=True)
            after = os.times()
            spent = after.children_user + after.children_system - before.children_user - before.children_system
            best = min(best, spent)
        return best

    started = time.monotonic()
    assert cpu("import cpeft") - cpu("pass") < 0.3
    assert time.monotonic() - started < 60
    assert run_python("import sys, cpeft; print('torch' in sys.modules)").stdout.strip() == "False"


def test_packaged_methods_are_known_by_their_options_alone():
    """So that listing and planning import no torch: each stands in `options/method.py`."""
    found = run_python("from cpeft.options.method import METHOD_OPTIONS; print(*METHOD_OPTIONS.names())")
    assert set(found.stdout.split()) == set(METHODS.names())


LOOKS = (
    "list methods",
    "list tasks",
    "list recipes",
    "list models",
    "show task mini/mood",
    "show options train",
    "plan start.toml",
    "doctor start.toml",
)
START = """name = "start"
[model]
name = "mini"
[train]
steps = 1
[[stage]]
name = "one"
tasks = ["mini/mood"]
[[stage]]
name = "two"
tasks = ["mini/claim"]
prompt.init = "one/mini/mood"
"""


def test_looking_imports_no_torch(tmp_path, monkeypatch):
    """What takes a tokenizer or weights is remembered from the first time; prompts are hashed without torch too."""
    monkeypatch.setenv("CPEFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "start.toml").write_text(START)
    folder = tmp_path / "stores" / "start" / "one"
    for command in ("doctor start.toml", "plan start.toml", "run start.toml data.limit_test=8 data.limit_validation=8"):
        assert (
            run_python(f"import sys; from cpeft.cli import main; sys.argv[1:] = {command.split()!r}; main()").returncode
            == 0
        )
    assert folder.exists()
    for command in LOOKS:
        call = f"app({command.split()!r}, standalone_mode=False)"
        done = run_python(f"import sys; from cpeft.cli import app; {call}; print('torch' in sys.modules)")
        assert done.stdout.splitlines()[-1:] == ["False"], (command, done.stderr)
