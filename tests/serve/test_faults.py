"""What a server does when it is killed, when prompts are broken, and when clients are slow, silent or many."""

import json
import os
import re
import resource
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest
import torch
from alone import wait_for
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

import cpeft
from cpeft.serve.client import RequestFailed
from cpeft.serve.prompts import load_prompts
from cpeft.serve.results import Limits
from cpeft.serve.web.connection import Connection
from launched import Started, wait_until

ROW = {"text": "w1 w2"}
HEAD = "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"
IDLE = int(os.environ.get("CPEFT_IDLE_CONNECTIONS", "800"))
SOON_S = 2.0  # from the death of the server to the end of every open request


@pytest.fixture
def start():
    started = Started()
    yield started
    started.end()


def launch(start, shop, out, port=0):
    """A server process, its address and the seconds until it was ready."""
    options = [part for task in shop.tasks for part in ("--task", task)]
    began, before = time.monotonic(), out.stat().st_size if out.exists() else 0
    process = start(out, "serve", *shop.texts, *options, "--port", port)
    found = wait_until(lambda: re.search(r"serving 6 prompts at (\S+)", out.read_text()[before:]), process)
    return process, found[1], time.monotonic() - began


def raw_answers(address, body, stop):
    """Send requests until the server is gone; what came back to each, byte for byte, and when the last one ended."""
    found = []
    while not stop.is_set():
        try:
            with socket.create_connection(address, timeout=30) as connection:
                connection.sendall(HEAD.format(len(body)).encode() + body)
                answer = received(connection)
        except ConnectionError:
            answer = b""
        found.append((answer, time.monotonic()))
    return found


def received(connection, limit_s=30):
    """A request or response to its end, or as much of it as comes before the connection is closed."""
    connection.settimeout(limit_s)
    answer = b""
    while part := connection.recv(65536):
        answer += part
        head, end, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if end and length and len(body) >= int(length[1]):
            break
    return answer


def answers_of(response):
    """The answers in a response, byte for byte."""
    return json.loads(response.partition(b"\r\n\r\n")[2])["answers"]


def test_a_killed_server_answers_in_full_or_not_at_all_and_comes_back(shops, start, tmp_path):
    """Every open request ends soon, none with a part of an answer; a client that repeats its request has the same answer
    from the server that is started again."""
    shop, out = shops["t5"], tmp_path / "out"
    process, url, _ = launch(start, shop, out)
    host, port = url.removeprefix("http://").split(":")
    rows = [{"text": f"w{number} w2 w3"} for number in range(50)]
    with cpeft.Client(url) as client:
        expected = [each.answer for each in client.predict("a", rows)]
        body, stop = json.dumps({"prompt": "a", "rows": rows}).encode(), threading.Event()
        with ThreadPoolExecutor(8) as pool:
            clients = [pool.submit(raw_answers, (host, int(port)), body, stop) for _ in range(8)]
            lines = wait_until(
                lambda: [line for line in out.read_text().splitlines() if '"rows": 50' in line][8:], process
            )
            os.kill(process.pid, signal.SIGKILL)
            killed = time.monotonic()
            stop.set()
            process.wait()
            answers = [answer for each in clients for answer in each.result(60)]
        assert lines
        assert max(ended for _, ended in answers) - killed < SOON_S
        assert any(not answer for answer, _ in answers)  # open requests there were
        for answer, _ in answers:
            if answer:  # whole, and right
                assert answer.startswith(b"HTTP/1.1 200")
                assert [each["answer"] for each in answers_of(answer)] == expected
        with pytest.raises(RequestFailed) as error:
            client.predict("a", rows)
        assert error.value.status is None
        launch(start, shop, out, port)
        assert [each.answer for each in client.predict("a", rows)] == expected


def test_a_stream_that_breaks_off_has_no_end_mark(shops, start, tmp_path):
    process, url, _ = launch(start, shops["t5"], tmp_path / "out")
    ask = {"model": "say", "prompt": [f"w{number} w5" for number in range(32)], "max_tokens": 1000, "stream": True}
    with httpx.stream("POST", f"{url}/v1/completions", json=ask, timeout=30) as response:
        parts = response.iter_text()
        begun = next(parts)
        os.kill(process.pid, signal.SIGKILL)
        rest = []
        with pytest.raises(httpx.RemoteProtocolError):
            rest.extend(parts)
    assert "data: {" in begun
    assert "[DONE]" not in begun + "".join(rest)


class Proxy:
    """Breaks off the first `broken` connections after the request has come, and passes the others on."""

    def __init__(self, address, broken):
        self.address, self.broken, self.seen = address, broken, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:  # closed: the test is over
                return
            with connection, socket.create_connection(self.address) as server:
                self.seen += 1
                request = received(connection)
                if self.seen > self.broken:
                    server.sendall(request)
                    connection.sendall(received(server))


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_the_client_repeats_a_request_once_where_the_connection_breaks(serving, broken):
    with serving() as running:
        proxy = Proxy(running.address, broken)
        with cpeft.Client(proxy.url) as client, proxy.listener:
            if broken < 2:
                assert len(client.predict("a", [ROW])) == 1
            else:
                with pytest.raises(RequestFailed, match="disconnected") as error:
                    client.predict("a", [ROW])
                assert error.value.status is None
        assert proxy.seen == min(broken + 1, 2)


@pytest.mark.parametrize("arch", ["t5", "llama"])
def test_a_prompt_that_is_not_finite_fails_alone(shops, serving, loaded, arch):
    _, broken = load_prompts([shops[arch].texts[0]], None, shops[arch].tasks[:1])
    bad = replace(broken["a"], hash="broken")
    with torch.no_grad():
        for matrix in bad.learner.method.state_dict().values():
            matrix.fill_(float("nan"))
    with serving(arch) as running, ThreadPoolExecutor(8) as pool, running.client() as client:
        expected = client.predict(["a", "b"] * 8, [ROW] * 16)
        running.engine.catalogue.put("other", {"broken": bad})
        names = ["broken", "a", "b"] * 16
        asked = [pool.submit(client.predict, name, [ROW]) for name in names]
        for name, future in zip(names, asked, strict=True):
            if name == "broken":
                error = future.exception(60)
                assert isinstance(error, RequestFailed), future.result()
                assert error.status == 500
            else:
                assert future.result(60)[0].answer == expected[name == "b"].answer
                assert future.result(60)[0].probabilities == pytest.approx(
                    expected[name == "b"].probabilities, abs=1e-5
                )


def test_a_client_that_reads_slowly_holds_up_nobody(serving):
    body = json.dumps({"prompt": "a", "rows": [ROW] * 128}).encode()
    with serving() as running, running.client() as client:
        slow = [socket.create_connection(running.address) for _ in range(4)]
        for each in slow:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            each.sendall(HEAD.format(len(body)).encode() + body)  # and reads nothing
        for _ in range(20):
            assert len(client.predict("b", [ROW])) == 1
        for each in slow:
            assert len(answers_of(received(each, 60))) == 128
            each.close()


def test_half_a_body_ends_in_time_and_holds_up_nobody(serving):
    with serving(limits=Limits(body_s=0.5)) as running, running.client() as client:
        halves = [socket.create_connection(running.address) for _ in range(50)]
        for each in halves:
            each.sendall(HEAD.format(1000).encode() + b'{"prompt": ')
        assert len(client.predict("a", [ROW])) == 1
        for each in halves:
            each.settimeout(20)
            assert b" 408 " in each.recv(4096).partition(b"\r\n")[0]
            each.close()
        gone = socket.create_connection(running.address)
        gone.sendall(HEAD.format(1000).encode() + b'{"prompt": ')
        gone.close()
        assert len(client.predict("a", [ROW])) == 1
        assert running.rows_of_batches == [1, 1]


def test_many_idle_connections_cost_little_and_are_closed(shops, start, tmp_path):
    """Above the limit requests are refused at once; when the server has closed the idle ones, it answers as before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # the server has this limit too
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(IDLE + 500, hard)), hard))
    process, url, _ = launch(start, shops["t5"], tmp_path / "out")
    host, port = url.removeprefix("http://").split(":")
    with cpeft.Client(url) as client:
        [expected] = client.predict("a", [ROW])
    before = memory_of(process)
    opened = time.monotonic()
    idle = [socket.create_connection((host, int(port)), timeout=30) for _ in range(IDLE)]
    began = time.monotonic()
    refused = httpx.post(f"{url}/v1/predict", json={"prompt": "a", "rows": [ROW]}, timeout=30)
    assert refused.status_code == 503
    refused_s, grown = time.monotonic() - began, memory_of(process) - before
    assert grown < 20 * IDLE * 1024
    wait_until(lambda: httpx.get(f"{url}/ready", timeout=30).status_code == 200, process)
    with cpeft.Client(url) as client:
        assert client.predict("a", [ROW]) == [expected]
    again_s = time.monotonic() - opened
    for each in idle:
        each.close()
    print(
        f"{IDLE} idle: {grown / 2**20:.1f} MiB, refused in {refused_s:.2f} s, as before {again_s:.1f} s after the first"
    )


def memory_of(process):
    """Resident bytes."""
    with open(f"/proc/{process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


HALVES = [
    b"",
    b"POST /v1/pre",
    b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\nx-",
    HEAD.format(1000).encode() + b'{"a',
]


@pytest.fixture(params=[HttpToolsProtocol, H11Protocol])
def protocol(request):
    """A server's connections with and without httptools."""
    before, Connection.__bases__ = Connection.__bases__, (request.param,)
    yield
    Connection.__bases__ = before


def test_connections_without_a_whole_request_are_closed(serving, protocol):
    """Also behind an answer, and where a byte comes now and then; a client that works keeps its connection."""
    limits = Limits(head_s=1.0, body_s=1.0, connections=20)
    body = json.dumps({"prompt": "a", "rows": [ROW]}).encode()
    with serving(limits=limits) as running, httpx.Client(base_url=running.url) as client:
        halves = [socket.create_connection(running.address) for _ in range(8)]
        after = [socket.create_connection(running.address) for _ in range(4)]
        for each, half in zip(halves, HALVES * 2, strict=True):
            each.sendall(half)
        for each, half in zip(after, HALVES, strict=True):
            each.sendall(HEAD.format(len(body)).encode() + body)
            assert received(each).startswith(b"HTTP/1.1 200")
            each.sendall(half)
        waiting = [*halves, *after]
        end = time.monotonic() + 20
        while waiting and time.monotonic() < end:
            asked = client.post("/v1/predict", json={"prompt": "a", "rows": [ROW]})
            assert asked.status_code == 200
            for each in halves[1:3]:
                with suppress(OSError):
                    each.sendall(b"a")
            waiting = [each for each in waiting if not ended(each)]
        assert not waiting
        assert len(running.server.server_state.connections) == 1  # the client's that works
        for each in (*halves, *after):
            each.close()


def ended(connection, wait_s=0.05):
    """Whether the server has closed a connection, whatever it sent before."""
    connection.settimeout(wait_s)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("stream", [False, True])
def test_clients_that_read_nothing_are_cut_off(serving, stream):
    rows, path = {"prompt": "a", "rows": [ROW] * 200}, "/v1/predict"
    if stream:
        rows, path = {"model": "say", "prompt": ["w1 w2"] * 8, "max_tokens": 200, "stream": True}, "/v1/completions"
    body = json.dumps(rows).encode()
    with serving(limits=Limits(head_s=1.0)) as running, running.client() as client:
        running.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(running.address)
        slow.sendall(HEAD.replace("/v1/predict", path).format(len(body)).encode() + body)
        held = running.server.server_state.connections
        wait_for(lambda: any(each.transport.get_write_buffer_size() for each in list(held)))
        assert client.predict("a", [ROW])
        wait_for(lambda: slow.getsockname() not in {each.client for each in list(held)})
        slow.settimeout(20)
        with suppress(ConnectionError):
            while part := slow.recv(65536):
                assert b"[DONE]" not in part
        slow.close()
        assert client.predict("a", [ROW])
