"""What is refused, and how; the queue; clients that leave."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from alone import wait_for

from cpeft.serve.client import RequestFailed
from cpeft.serve.results import Limits
from cpeft.serve.scheduler import QueueFull, Request, Scheduler, WaitingRow

ROW = {"text": "w1 w2"}


@pytest.fixture(scope="module")
def small():
    return Limits(body=2000, body_s=0.3, rows=3, row_tokens=12, new_tokens=8)


BAD = [
    ("/v1/predict", b"{", 400, "JSON"),
    ("/v1/predict", b"[" * 1900, 400, ""),
    ("/v1/predict", {}, 400, "prompt: Field required"),
    ("/v1/predict", {"prompt": "a", "rows": []}, 400, "1 to 3 rows, this one has 0"),
    ("/v1/predict", {"prompt": "a", "rows": [ROW] * 4}, 400, "1 to 3 rows, this one has 4"),
    ("/v1/predict", {"prompt": ["a"], "rows": [ROW] * 2}, 400, "1 prompts for 2 rows"),
    ("/v1/predict", {"prompt": "A", "rows": [ROW]}, 404, "no prompt 'A', did you mean 'a'?"),
    ("/v1/predict", {"prompt": "x" * 201, "rows": [ROW]}, 400, "at most 200 characters"),
    ("/v1/predict", {"prompt": "../../etc", "rows": [ROW]}, 404, "no prompt"),
    ("/v1/predict", {"prompt": "a", "rows": [{"txt": "w1"}]}, 400, "no column 'text'"),
    ("/v1/predict", {"prompt": "a", "rows": [{"text": None}]}, 400, "row 1: task 'mood': column 'text' is missing"),
    ("/v1/predict", {"prompt": ["a", "say"], "rows": [ROW, {"text": None}]}, 400, "row 2: task 'open'"),
    ("/v1/predict", {"prompt": "a", "rows": [{"text": ["w1"]}]}, 400, "rows.0.text"),
    ("/v1/predict", {"prompt": "a", "rows": [{"text": "w1 " * 30}]}, 400, "row 1: 24 tokens, and at most 12 fit"),
    ("/v1/predict", b'{"prompt": "a", "rows": [{"text": "\\ud800"}]}', 400, "not valid Unicode"),
    ("/v1/predict", b'{"prompt": "\\ud800", "rows": [{"text": "w1"}]}', 400, "unicode"),
    ("/v1/predict", b'{"prompt": "a", "rows": [{"\\ud800": "w1"}]}', 400, "not valid Unicode"),
    ("/v1/predict", {"prompt": "a", "rows": [ROW], "weights": [1]}, 400, "weights: Extra inputs"),
    ("/v1/predict", b"x" * 2001, 413, "at most 2000 bytes"),
    ("/v1/completions", {"model": "say", "prompt": "w1", "max_tokens": 9}, 400, "max_tokens is at most 8"),
    ("/v1/completions", {"model": "say", "prompt": "w1", "logprobs": 5}, 400, "logprobs: Extra inputs"),
    ("/v1/chat/completions", {"model": "say", "messages": [{"role": "system", "content": "x"}]}, 400, "'user'"),
    ("/v1/chat/completions", {"model": "say", "messages": []}, 400, "at least 1 item"),
    ("/v1/nothing", {}, 404, "Not Found"),
    ("/v1/models", {}, 405, "Method Not Allowed"),
]  # fmt: skip


def test_bad_requests_are_refused_with_a_reason(serving, small, caplog):
    caplog.set_level("INFO", "cpeft.serve")
    with serving(limits=small) as running, httpx.Client(base_url=running.url) as client:
        for path, body, status, message in BAD:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            found = client.post(path, content=content, headers={"content-type": "application/json"})
            error = found.json()["error"]
            assert (found.status_code, message in error["message"]) == (status, True), (path, body, found.text)
            assert "/work" not in found.text
            assert "cpeft/" not in found.text
        assert client.post("/v1/predict", json={"prompt": "a", "rows": [ROW]}).status_code == 200
        assert client.get("/health", headers={"host": "example.org"}).status_code == 403
        text = client.get("/metrics").text
        assert "w1" not in caplog.text  # texts are not logged
        assert running.rows_of_batches == [1]
    assert 'cpeft_requests_total{path="/v1/predict",status="400"}' in text
    assert 'cpeft_requests_total{path="other",status="404"} 1.0' in text
    assert 'cpeft_rows_total{prompt="a"} 1.0' in text


def test_keys(serving):
    with serving(keys=["right", "other"]) as running:
        for key, status in (("wrong", 401), (None, 401), ("right", 200), ("other", 200)):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            assert httpx.get(f"{running.url}/v1/models", headers=headers).status_code == status
            assert httpx.get(f"{running.url}/metrics", headers=headers).status_code == status
        assert httpx.get(f"{running.url}/v1/models", headers={"authorization": "Basic right"}).status_code == 401
        assert httpx.get(f"{running.url}/ready").status_code == 200


def test_pages_and_ids(serving):
    with serving() as running, httpx.Client(base_url=running.url) as client:
        page, schema = client.get("/docs").text, client.get("/openapi.json").json()
        assert "POST /v1/predict" in page
        assert "http" not in page.replace("<!doctype html>", "")  # nothing from elsewhere
        assert "/v1/predict" in schema["paths"]
        assert client.get("/health", headers={"x-request-id": "my-1"}).headers["x-request-id"] == "my-1"
        assert client.get("/health", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"
        models = {model["id"]: model for model in client.get("/v1/models").json()["data"]}
    assert models["a"]["labels"] == ["negative", "positive"]
    assert models["a"]["columns"] == ["text"]
    assert models["a"]["parent"] == "model"
    assert len({model["hash"] for model in models.values()}) == len(models)


def test_a_full_queue_is_refused_and_works_again(serving, held):
    with serving(limits=Limits(queue=2)) as running, running.client(retries=0) as client, httpx.Client() as plain:
        threads = [threading.Thread(target=client.predict, args=("a", [ROW])) for _ in range(3)]
        threads[0].start()
        wait_for(lambda: held.seen)
        for thread in threads[1:]:
            thread.start()
        wait_for(lambda: len(running.engine.scheduler) == 2)
        refused = plain.post(f"{running.url}/v1/predict", json={"prompt": "b", "rows": [ROW]})
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "rate_limit_error"
        held.set()
        for thread in threads:
            thread.join(20)
        assert client.predict("b", [ROW])[0].prompt == "b"
        assert len(running.engine.scheduler) == 0


def test_rows_of_clients_that_are_gone_and_of_late_requests_are_dropped(serving, held):
    with serving(limits=Limits(deadline_s=1.0)) as running, running.client() as client:
        body = json.dumps({"prompt": "a", "rows": [ROW]}).encode()
        head = "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\n\r\n"
        pool = ThreadPoolExecutor(1)
        first = pool.submit(client.predict, "b", [ROW])
        wait_for(lambda: held.seen)
        with socket.create_connection(running.address) as gone:
            gone.sendall(head.encode() + body)
            wait_for(lambda: len(running.engine.scheduler) == 1)
        with pytest.raises(RequestFailed, match="no answer within 1 seconds") as late:
            client.predict("long", [ROW])
        assert late.value.status == 504
        with pytest.raises(RequestFailed, match="no answer within"):  # the model has it, which cannot be stopped
            first.result(20)
        held.set()
        wait_for(lambda: len(running.engine.scheduler) == 0)
        assert len(client.predict("a", [ROW, ROW])) == 2
        assert len(held.seen) == 3  # the first one, and the two of the last request


def test_a_body_that_does_not_end_is_refused(serving, small):
    with serving(limits=small) as running, socket.create_connection(running.address) as slow:
        slow.sendall(b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        slow.settimeout(20)
        assert b" 408 " in slow.recv(4096).partition(b"\r\n")[0]


def test_one_bad_row_fails_alone_and_says_nothing_of_the_inside(serving, held, monkeypatch, caplog):
    from cpeft.serve import engine as engines

    read = engines.read_mixed

    def failing(lm, kept, prompts, sources, new):
        if wrong := [ids for ids in sources if len(ids) == 4]:
            raise RuntimeError(f"secret {wrong}")
        return read(lm, kept, prompts, sources, new)

    monkeypatch.setattr(engines, "read_mixed", failing)
    held.set()
    with serving() as running, running.client() as client, running.client() as other:
        found = []
        good = threading.Thread(target=lambda: found.extend(other.predict("a", [ROW])))
        good.start()
        with pytest.raises(RequestFailed, match="internal error") as error:
            client.predict("a", [{"text": "w1 w2 w3"}])
        good.join(20)
        assert error.value.status == 500
        assert "secret [" not in str(error.value) + caplog.text
        assert len(found) == 1
        assert client.predict("a", [ROW])[0].answer == found[0].answer


# The queue itself


def rows(prompt, count, batch="x", width=10, request=None):
    request = request or Request(count)
    return [WaitingRow(prompt, batch, width, None, request, place) for place in range(count)]


def names(batch):
    return "".join(row.prompt for row in batch)


def test_prompts_take_turns():
    queue = Scheduler(100, 40, 0.0)
    queue.add(rows("a", 6))
    queue.add(rows("b", 2))
    queue.add(rows("c", 1, batch="y"))
    assert names(queue.next_batch()) == "abab"
    assert names(queue.next_batch()) == "c"  # its turn, though more rows of the first kind wait
    assert names(queue.next_batch()) == "aaaa"
    queue.close()
    assert queue.next_batch() is None


def test_a_batch_keeps_to_its_tokens_and_the_queue_to_its_rows():
    queue = Scheduler(3, 40, 0.0)
    queue.add([*rows("a", 1, width=10), *rows("b", 1, width=15), *rows("c", 1, width=50)])
    with pytest.raises(QueueFull):
        queue.add(rows("d", 1))
    assert [names(queue.next_batch()) for _ in range(2)] == ["ab", "c"]
    assert len(queue) == 0
    queue.add(rows("d", 3))
    queue.close()
    with pytest.raises(QueueFull):
        queue.add(rows("d", 1))
    assert names(queue.next_batch()) == "ddd"


def test_a_batch_waits_for_more_but_not_long():
    queue = Scheduler(100, 1000, 0.2)
    queue.add(rows("a", 1))
    threading.Timer(0.05, lambda: queue.add(rows("b", 1))).start()
    started = time.monotonic()
    assert names(queue.next_batch()) == "ab"
    assert time.monotonic() - started < 5
    full = Scheduler(100, 10, 60.0)
    full.add(rows("a", 1))
    assert names(full.next_batch()) == "a"


def test_cancelled_rows_leave_the_queue():
    queue, request = Scheduler(3, 1000, 0.0), Request(2)
    queue.add(rows("a", 2, request=request))
    queue.add(rows("b", 1))
    request.future.cancel()
    queue.add(rows("c", 2))  # there is room again
    assert names(queue.next_batch()) == "bcc"
