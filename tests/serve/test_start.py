"""The command: what is served and under which names, what is refused at the start, and how it ends."""

import json
import re
import shutil
import signal
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from alone import alone

import cpeft
from cpeft.errors import ConfigError
from cpeft.serve.prompts import load_prompts
from launched import Started, wait_until
from tiny import run_python


@pytest.fixture
def start():
    started = Started()
    yield started
    started.end()


def test_names(shops, loaded):
    shop, prompts = shops["t5"], loaded["t5"][1]
    assert set(prompts) == set(shop.prompts)
    assert prompts["a"].kind == prompts["b"].kind == prompts["sum"].kind != prompts["long"].kind
    folder = shop.model.parent
    _, found = load_prompts([str(folder / "[ab]")], None, shop.tasks[:2])
    assert list(found) == ["a", "b"]


def test_a_store_is_served_by_run(shops, loaded, tmp_path):
    """Of a run that tunes a prompt its saved prompt; of one that mixes prompts the run; of one that is not done nothing."""
    for name in ("mix", "run", "begun"):
        folder = tmp_path / "store" / "stage" / f"{name}-1"
        shutil.copytree(shops["t5"].model.parent / name.replace("begun", "run"), folder)
        (folder / "config.toml").write_text("")
        if name != "begun":
            (folder / "result.json").write_text("{}")
    _, found = load_prompts([str(tmp_path / "store")], None, shops["t5"].tasks[:1])
    assert list(found) == ["stage/mix-1", "stage/run-1"]
    assert found["stage/mix-1"].hash == loaded["t5"][1]["mix"].hash
    assert found["stage/run-1"].hash != loaded["t5"][1]["a"].hash  # the same matrix, evaluated in another way
    assert found["stage/run-1"].subject.eval.match == "lower"


def test_everything_wrong_is_in_one_error(shops, tmp_path):
    shop = shops["t5"]
    (tmp_path / "empty").mkdir()
    wrong = ["a=nowhere", str(tmp_path / "empty"), str(tmp_path / "no*"), shop.texts[0], f"a={shop.prompts['b']}"]
    with pytest.raises(ConfigError) as error:
        load_prompts(wrong, None, shop.tasks[:2])
    for part in (
        "'nowhere' is no run",
        "has no prompts in it",
        "matches no file or folder",
        "2 prompts are called 'a'",
    ):
        assert part in str(error.value)
    with pytest.raises(ConfigError) as error:
        load_prompts([*shop.texts, shops["llama"].texts[1].replace("b=", "other=")], None, [shop.tasks[0], "x=y"])
    for part in ("say: its task 'open' is unknown here", "--task x=...: no prompt", "prompt 'other'"):
        assert part in str(error.value)


def test_the_command_refuses_what_cannot_be_served(cpeft_main, shops, tmp_path, monkeypatch):
    text = shops["t5"].texts[0]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, error = cpeft_main("serve", text, "--port", taken.getsockname()[1])
    assert (code, "cannot listen on 127.0.0.1" in error) == (2, True)
    code, _, error = cpeft_main("serve", text, "--host", "0.0.0.0", "--port", 0)
    assert (code, "give keys with --key-file or CPEFT_SERVE_KEYS" in error) == (2, True)
    (tmp_path / "keys").write_text("\n")
    code, _, error = cpeft_main("serve", text, "--key-file", tmp_path / "keys", "--port", 0)
    assert (code, "no key in it" in error) == (2, True)
    code, _, error = cpeft_main("serve", text, "--port", 0)
    assert (code, "its task 'mood' is unknown here" in error) == (2, True)
    code, _, error = cpeft_main("serve", text, "--task", shops["t5"].tasks[0], "--cache-disk", 1, "--port", 0)
    assert (code, "--cache-disk is for LLaMA-like decoder-only models" in error) == (2, True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    given = (shops["llama"].texts[0], "--task", shops["llama"].tasks[0])
    code, _, error = cpeft_main("serve", *given, "--cache-disk", 1, "--port", 0)
    assert (code, "--cache-disk: no temporary file can be made (no such file or directory)" in error) == (2, True)


def test_sigterm_answers_what_was_accepted(shops, start, tmp_path):
    shop, out = shops["t5"], tmp_path / "out"
    options = [part for task in shop.tasks for part in ("--task", task)]
    process = start(out, "serve", *shop.texts, *options, "--port", 0, "--log-texts", CPEFT_SERVE_KEYS="k")
    address = wait_until(lambda: re.search(r"serving 6 prompts at (\S+)", out.read_text()), process)[1]
    assert "loading " in out.read_text()
    rows = [{"text": f"w{number} w2 w3"} for number in range(200)]
    with cpeft.Client(address, key="k") as client, ThreadPoolExecutor(8) as pool:
        expected = client.predict("a", rows)
        asked = [pool.submit(client.predict, "a", rows) for _ in range(8)]
        wait_until(lambda: sum(future.done() for future in asked), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        answered = [future.result() for future in asked if future.exception() is None]
        refused = [future.exception() for future in asked if future.exception() is not None]
    assert all([each.answer for each in found] == [each.answer for each in expected] for found in answered)
    assert all(error.status is None for error in refused)  # not accepted: no connection, never half an answer
    lines = [json.loads(line) for line in out.read_text().splitlines() if line.startswith("{")]
    assert {line["status"] for line in lines} == {200}
    assert len(lines) == 1 + len(answered)
    assert "w7 w2 w3" in lines[0]["body"]


def test_the_cache_on_disk_gives_the_same_answers_and_leaves_nothing(shops, loaded, start, tmp_path):
    """Killed or not."""
    shop, lm, out, folder = shops["llama"], loaded["llama"][0], tmp_path / "out", tmp_path / "tmp"
    folder.mkdir()
    options = [part for task in shop.tasks for part in ("--task", task)]
    asked = [(name, {"text": f"w{number} w2 w3"}) for number in range(3) for name in shop.prompts]
    expected = [alone(shop, name, lm, row) for name, row in asked]
    for number in (signal.SIGTERM, signal.SIGKILL):
        out.write_text("")
        process = start(
            out, "serve", *shop.texts, *options, "--port", 0, "--cache", 0, "--cache-disk", 4, TMPDIR=str(folder)
        )
        address = wait_until(lambda: re.search(r"serving 6 prompts at (\S+)", out.read_text()), process)[1]
        with cpeft.Client(address) as client:
            found = [client.predict(name, [row])[0].answer for name, row in asked]
        metrics = httpx.get(f"{address}/metrics").text
        counts = dict(re.findall(r'cpeft_kept_prompts{found="(\w+)"} ([\d.]+)', metrics))
        process.send_signal(number)
        assert process.wait(60) == (0 if number == signal.SIGTERM else -number)
        assert found == expected
        assert float(counts["disk"]) >= 2 * (len(shop.prompts) - 1)  # each but the run that mixes, after the first turn
        assert float(counts["no"]) <= len(shop.prompts)
        assert "cpeft_cache_disk_errors 0.0" in metrics
        assert not list(folder.iterdir())


def test_the_front_and_the_client_need_no_torch_and_say_what_they_need():
    code = "import sys, cpeft.serve.web.http, cpeft.serve.client, cpeft.serve.web.guard; print('torch' in sys.modules)"
    assert run_python(code).stdout.strip() == "False"
    code = "import sys; sys.modules['httpx'] = None; import cpeft; cpeft.Client()"
    assert "cpeft.Client needs the package httpx: pip install 'cpeft[serve]'" in run_python(code).stderr
    code = "import sys; sys.modules['uvicorn'] = None; sys.argv = ['cpeft', 'serve', 'x']; from cpeft.cli import main; main()"
    found = run_python(code)
    assert "pip install 'cpeft[serve]'" in found.stderr
    assert found.returncode == 2
