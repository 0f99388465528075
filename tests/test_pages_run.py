"""Every shell and Python block of the README and the guides runs, in the order of its page, on the model that comes with CPEFT
and with few steps and rows; or a comment above it says why not:

<!-- not run: REASON -->      it needs what no test has
<!-- run by tests/FILE -->    another test runs it
"""

import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import torch

import cpeft
from cpeft.models.named_models import ASSETS
from tiny import child_environment, run_cpeft

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
REASON = re.compile(r"<!-- (?:not run: \S[^\n]*|run by (tests/\S+)) -->\n\s*\Z")
READ = {"toml", "yaml", "text", "json"}  # recipes and tasks are loaded by test_readme.py, the others are no programs
SMALL = {  # in the place of what no test machine has, or what takes long
    "google-t5/t5-small": "mini", "--task rte": "--task mini/entailment", "--task sst2": "--task mini/sentiment",
    '"sst2"': '"mini/sentiment"', '"sentence"': '"text"', "--target cb": "--target mini/claim", "--count 3": "--count 1",
}  # fmt: skip
STEPS = re.compile(r"""(["']?(?:train\.)?(?:steps|limit_\w+)["']?\s*[=:]\s*)\d+""")
FEWER = {"eval": ["data.limit_test=4", "eval.bootstrap=20"], "suggest": ["--set", "data.limit_validation=4"]}
pytestmark = pytest.mark.skipif(not (ASSETS / "mini").exists(), reason="no embedded model in this checkout")


def blocks(page):
    """Every block: its line, language, text, and the comment above it."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        yield text[: found.start()].count("\n") + 1, found[2], found[3], REASON.search(text[: found.start()])


def to_run(page):
    return [(line, kind, body) for line, kind, body, reason in blocks(page) if kind not in READ and not reason]


def test_every_block_runs_or_says_why_not():
    """A shell or Python block has a reason, or is in a language that the test below knows how to run."""
    for page in PAGES:
        for line, kind, _, reason in blocks(page):
            assert kind in READ | {"bash", "python"}, (
                f"{page.name}:{line}: {kind} blocks are not run; use bash or python"
            )
            if reason and reason[1]:
                assert page.name in (ROOT / reason[1]).read_text(encoding="utf-8"), (
                    f"{reason[1]} says nothing of {page.name}"
                )


def test_a_block_without_a_reason_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\na\n```\n<!-- not run: needs a GPU -->\n```bash\nb\n```\n<!-- not run: -->\n```bash\nc\n```\n"
    )
    assert [body for _, _, body in to_run(page)] == ["a\n", "c\n"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """What a reader of any page has: the README's study, trained prompts, files of other programs, rows."""
    folder = tmp_path_factory.mktemp("pages")
    recipe = next(body for _, kind, body, _ in blocks(PAGES[0]) if kind == "toml")
    recipe = STEPS.sub(r"\g<1>2", recipe).replace("[0, 1]", "[0]")
    (folder / "my-study.toml").write_text(f"eval.bootstrap = 20\n{recipe}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = run_cpeft("run", "my-study.toml")
        assert done.returncode == 0, done.stderr
        shutil.copytree("stores/my-study", "stores/my-old-study")
        done = run_cpeft("origins", "mini", "--count", "1", "--out", "origins", "prompt.length=20")
        assert done.returncode == 0, done.stderr
        lm, origin = cpeft.load_lm("mini"), cpeft.load_prompt("origins/origin0")
        few = {"train": {"steps": 1, "batch": 2}, "data": {"limit_validation": 4, "limit_test": 4}}
        for name, task in {"mnli": "entailment", "qnli": "claim", "rte": "paraphrase", "mood": "mood"}.items():
            cpeft.train(lm, f"mini/{task}", start=origin, **few).export()[f"mini/{task}"].save(f"prompts/{name}")
        for copy, prompt in {"old/a": "mnli", "old/b": "qnli", "path/to/peft-folder": "mnli"}.items():
            shutil.copytree(f"prompts/{prompt}", copy)
        weights = cpeft.load_prompt("prompts/mnli").weight
        torch.save(torch.cat([weights] * 3), "mnli.pt")
        np.save("mnli.npy", weights.numpy())
        np.save("start.npy", weights.numpy() + 1)
        Path("new.jsonl").write_text('{"text": "the food was awful"}\n')
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)], ids=lambda page: page.stem)
def test_pages(page, world, monkeypatch, cpeft_main):
    monkeypatch.chdir(world)
    with Reader(cpeft_main, monkeypatch) as reader:
        for line, kind, body in to_run(page):
            try:
                reader.run(kind, body)
            except Exception as error:
                raise AssertionError(f"{page.name}, the block of line {line}: {error}") from error


class Reader:
    """Does what a page says, on a smaller scale."""

    def __init__(self, cpeft_main, monkeypatch):
        self.cpeft_main, self.monkeypatch = cpeft_main, monkeypatch
        self.server, self.port = None, ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()

    def stop(self):
        if self.server:
            self.server.terminate()
            self.server.communicate()
        self.server = None

    def run(self, kind, body):
        for long, short in SMALL.items():
            body = body.replace(long, short)
        body = STEPS.sub(r"\g<1>2", body)
        for stage in ("sources", "targets"):
            run = min(Path("stores/my-study", stage).glob("*"), default=Path("none"))
            body = body.replace(f"{stage}/RUN/prompts/sst2", f"{stage}/{run.name}").replace(
                f"{stage}/RUN", f"{stage}/{run.name}"
            )
        if kind == "python":
            exec(body.replace(":8000", f":{self.port}"), {})
            return
        for line in body.replace("\\\n", " ").splitlines():
            self.command(shlex.split(line, comments=True))

    def command(self, words):
        match words:
            case []:
                pass
            case ["export", *settings]:
                for setting in settings:
                    self.monkeypatch.setenv(*setting.split("=", 1))
            case ["curl", *_]:
                if not shutil.which("curl"):
                    pytest.skip("no curl on this machine")
                words = [word.replace(":8000", f":{self.port}") for word in words]
                answer = subprocess.run([*words, "--fail-with-body"], capture_output=True, text=True, timeout=60)
                assert answer.returncode == 0, answer.stdout + answer.stderr
            case ["cpeft", "serve", *rest]:
                self.serve(rest)
            case ["cpeft", command, *rest]:
                status, _, err = self.cpeft_main(command, *rest, *FEWER.get(command, ()))
                assert status == 0, f"{shlex.join(words)}: {err}"
            case _:
                raise AssertionError(f"'{shlex.join(words)}' is no command of cpeft: say why it is not run")

    def serve(self, arguments):
        """Start the server on a free port, and wait until it answers."""
        pytest.importorskip("uvicorn")
        self.stop()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        command = [sys.executable, "-m", "cpeft.cli", "serve", *arguments]
        command[command.index("--port") + 1] = self.port
        self.server = subprocess.Popen(
            command, env=child_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(300):
            try:
                urlopen(f"http://127.0.0.1:{self.port}/v1/models", timeout=5).close()
                return
            except OSError:
                assert self.server.poll() is None, self.server.stderr.read()
                time.sleep(0.1)
        raise AssertionError("the server did not answer within 30 seconds")
