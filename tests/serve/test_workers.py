"""Several processes: workers under a supervisor, replicas behind a load balancer."""

import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

import cpeft
from cpeft.serve.client import RequestFailed
from launched import LIMIT_S, Started, wait_until

ROW = {"text": "w1 w2 w3"}
BALANCER = """
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
    option httpchk
    option redispatch
    retries 2
frontend front
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    http-check send meth GET uri /ready ver HTTP/1.1 hdr Host localhost
    http-check expect status 200
    server one 127.0.0.1:{one} check inter 200ms fall 1 rise 1
    server two 127.0.0.1:{two} check inter 200ms fall 1 rise 1
"""


@pytest.fixture
def start():
    started = Started()
    yield started
    started.end()


def children(pid):
    found = subprocess.run(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in found.splitlines() if "spawn_main" in line]


def answers(client):
    with suppress(RequestFailed):
        return client.predict("a", [ROW])
    return None


@pytest.mark.skipif(not shutil.which("ps"), reason="there is no ps to find workers with")
def test_a_worker_that_dies_is_started_again(shops, start, tmp_path):
    shop, out = shops["t5"], tmp_path / "out"
    tasks = [part for task in shop.tasks[:2] for part in ("--task", task)]
    process = start(out, "serve", *shop.texts[:2], *tasks, "--port", 0, "--workers", 2)
    address = wait_until(lambda: re.search(r"2 workers at (http://[^,\s]+)", out.read_text()), process)[1]
    with cpeft.Client(address, retries=0) as client:
        expected = wait_until(lambda: answers(client), process)
        workers = wait_until(lambda: len(found := children(process.pid)) == 2 and found, process)
        os.kill(workers[0], signal.SIGKILL)
        again = wait_until(
            lambda: len(found := children(process.pid)) == 2 and workers[0] not in found and found, process
        )
        assert workers[1] in again
        assert wait_until(lambda: answers(client), process)[0].probabilities == pytest.approx(expected[0].probabilities)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not [pid for pid in again if Path(f"/proc/{pid}").exists()]


def test_workers_that_cannot_load_end_the_server(shops, start, tmp_path):
    process = start(tmp_path / "out", "serve", shops["t5"].texts[0], "--port", 0, "--workers", 2)
    process.wait(LIMIT_S)
    assert "its task 'mood' is unknown here" in (tmp_path / "out").read_text()


@pytest.mark.skipif(not shutil.which("haproxy"), reason="there is no HAProxy here")
def test_two_replicas_behind_a_load_balancer(serving, tmp_path):
    with serving() as one, serving() as two, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        ports = {"one": one.address[1], "two": two.address[1], "port": port}
        (tmp_path / "balancer.cfg").write_text(BALANCER.format(**ports))
        balancer = subprocess.Popen(["haproxy", "-f", tmp_path / "balancer.cfg", "-db"], stderr=subprocess.DEVNULL)
        try:
            with cpeft.Client(f"http://127.0.0.1:{port}", retries=0) as client:
                expected = wait_until(lambda: answers(client), balancer)
                for _ in range(8):
                    client.predict("a", [ROW])
                assert len(one.rows_of_batches) > 0 < len(two.rows_of_batches)  # both answer
                one.server.should_exit = True
                one.thread.join(30)
                wait_until(lambda: httpx.get(f"{two.url}/ready").status_code == 200, balancer)
                found = wait_until(lambda: answers(client), balancer)
                assert found[0].probabilities == pytest.approx(expected[0].probabilities)
        finally:
            balancer.terminate()
            balancer.wait(10)
