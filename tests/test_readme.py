"""What the README and the guides show is what there is: commands parse, recipes and tasks too, Python compiles and names what
the package has; links lead to files. test_pages_run.py runs the blocks."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer

import cpeft
from cpeft import cli
from cpeft.config import parse, read_toml
from cpeft.study.recipe.recipe import SETTINGS, load_recipe, packaged_recipes
from cpeft.tasks.custom import CustomTask

README = Path(__file__).parents[1] / "README.md"
GUIDES = ("archives", "arithmetic", "clusters", "models-and-data", "python", "recipes", "serving", "speed")
PAGES = [README, *(README.parent / "docs" / f"{name}.md" for name in GUIDES)]
BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
GROUP = typer.main.get_command(cli.app)


def blocks(text, *kinds):
    return [body for _, kind, body in BLOCK.findall(text) if kind in kinds]


def commands(text):
    """Every `cpeft ...` of the shell blocks, continued lines joined, prompts and comments left out."""
    lines = [
        line
        for body in blocks(text, "console", "bash", "sh", "shell")
        for line in body.replace("\\\n", " ").splitlines()
    ]
    lines = [re.sub(r"^\s*\$\s+", "", line).strip() for line in lines]
    words = [shlex.split(line, comments=True) for line in lines if re.match(r"(\.venv/bin/)?cpeft\s", line)]
    return [line[1:] for line in words]


def check(arguments):
    """Raise click's usage error unless the command and all its options exist and take these arguments; nothing runs."""
    name, command, rest = GROUP.resolve_command(GROUP.make_context("cpeft", ["list", "tasks"]), list(arguments))
    if "--help" in rest:
        return
    context = command.make_context(name, rest)
    for override in context.params.get("overrides") or []:
        assert "=" in override, f"'{override}' is no override"
    if name in ("run", "plan"):
        recipe = context.params["recipe"]
        assert recipe.endswith(".toml") or recipe in packaged_recipes(), f"no recipe '{recipe}'"
        if recipe.startswith("recipes/"):
            assert (README.parent / recipe).exists(), f"no file '{recipe}'"


def check_toml(text, folder):
    """A recipe, a task, or tables of a recipe."""
    path = folder / "block.toml"
    path.write_text(text)
    table = read_toml(path)
    if "stage" in table:
        if "model" not in table:
            path.write_text(text + '\n[model]\nname = "model"\n')
        return load_recipe(path).runs
    if "template" in table:
        return parse(CustomTask, table, path=path)
    assert set(table) <= {*SETTINGS, "name", "about", "launcher"}, (
        f"neither a recipe nor a task nor settings: {sorted(table)}"
    )
    path.write_text('model.name = "model"\n' + text + '\n[[stage]]\nname = "s"\ntasks = ["rte"]\n')
    return load_recipe(path).runs


def check_python(text):
    """It compiles (top-level await aside), and what it takes from cpeft is there."""
    tree = ast.parse(re.sub(r"^(>>>|\.\.\.) ?", "", text, flags=re.MULTILINE))
    names = [
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "cpeft"
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "cpeft":
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cpeft."):
            module = __import__(node.module, fromlist=["x"])
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
    assert all(hasattr(cpeft, name) for name in names), names
    return names


TEXT = README.read_text(encoding="utf-8")
TEXTS = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def test_the_readme_shows_something_and_is_short():
    assert commands(TEXT), "no cpeft command in a ```bash or ```console block"
    assert len(TEXT.splitlines()) <= 150


@pytest.mark.parametrize("arguments", commands(TEXTS), ids=" ".join)
def test_commands(arguments):
    check(arguments)


@pytest.mark.parametrize("number", range(len(blocks(TEXTS, "toml"))))
def test_recipes_and_tasks(number, tmp_path):
    check_toml(blocks(TEXTS, "toml")[number], tmp_path)


@pytest.mark.parametrize("number", range(len(blocks(TEXTS, "python", "py", "pycon"))))
def test_python(number):
    check_python(blocks(TEXTS, "python", "py", "pycon")[number])


def test_the_picture_has_the_figures_of_the_table():
    picture = (README.parent / "studies/quickstart/right-answers.svg").read_text(encoding="utf-8")
    rows = [
        line.strip("|* ").split("|")[1:3] for line in TEXT.splitlines() if line.startswith("|") and "mini" not in line
    ]
    figures = [number for row in rows[:6] for cell in row for number in re.findall(r"\d+", cell)]
    assert re.findall(r"<title>(\d+)</title>", picture) == figures


# The checks themselves find what they are for


@pytest.mark.parametrize("line", ["runn x.toml", "run x.toml --stor y", "eval x", "run x.toml steps", "run nosuch"])
def test_wrong_commands_are_found(line):
    with pytest.raises(Exception, match=r"No such|Missing parameter|is no override|no recipe"):
        check(line.split())


def test_shell_blocks_are_read():
    text = "```console\n$ cpeft run a.toml \\\n    optim.lr=3  # why\nout\n```\n```text\ncpeft nothing\n```\n"
    text += "```bash\ncpeft list tasks\n```\n"
    assert commands(text) == [["run", "a.toml", "optim.lr=3"], ["list", "tasks"]]


def test_wrong_blocks_are_found(tmp_path):
    for wrong in ('[[stage]]\nname = "s"\ntasks = ["rtee"]\n', 'name = "x"\ntemplate = "none"\n', "[optim]\nlrr = 3\n"):
        with pytest.raises(Exception, match=r"rtee|template|lrr"):
            check_toml(wrong, tmp_path)
    with pytest.raises(AssertionError):
        check_python("import cpeft\ncpeft.trian()\n")
    with pytest.raises(SyntaxError):
        check_python("import = 3\n")
