"""Under load, while prompts are replaced and clients vanish, every answer is the one that `cpeft predict` gives the row alone.

`CPEFT_SERVE_REQUESTS` sets the number of requests for each model."""

import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from alone import task_of, texts, wait_for

from cpeft.data.rows import EncodedRow
from cpeft.evaluation.choice import label_scores
from cpeft.serve.results import Limits
from cpeft.use.target import load_subject

REQUESTS = int(os.environ.get("CPEFT_SERVE_REQUESTS", "200"))
CLIENTS = 16
NEAR = 1e-4  # between a probability in a batch and alone, in float32
HEAD = "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"


class Expected:
    """What each row is answered alone: text by `cpeft predict`, probabilities of labels in a pass of its own."""

    def __init__(self, shop, lm):
        self.shop, self.lm = shop, lm
        self.of, self.subject = cache(self._of), cache(self._subject)

    def _subject(self, name):
        subject = load_subject(self.shop.prompts[name], lm=self.lm)
        return subject, subject.reader(task_of(self.shop, name))

    def _of(self, name, text):
        subject, reader = self.subject(name)
        [answer] = subject.predict(task_of(self.shop, name), [{"text": text}])
        if not reader.closed:
            return answer, None
        [ids] = reader.encode([{"text": text}])[0]
        row = EncodedRow(tuple(ids), (), subject.index(reader.task))
        return answer, label_scores(subject.learner, [row], reader.closed).softmax(-1)[0].tolist()

    def fits(self, found, name, text):
        answer, shares = self.of(name, text)
        if shares is None:
            return found.answer == answer and found.probabilities is None
        return found.answer == answer and list(found.probabilities.values()) == pytest.approx(shares, abs=NEAR)


def requests_of(names, seed):
    """Requests of one to four rows, half of them behind one prompt, half behind a prompt for each row."""
    rng = np.random.default_rng(seed)
    known = texts(max(REQUESTS // 5, 1), seed)
    share = np.array([0.2 if name == "say" else 1.0 for name in names])  # of 128 tokens, where the others have two
    found = []
    for _ in range(REQUESTS):
        rows = int(rng.integers(1, 5))
        chosen = [str(name) for name in rng.choice(names, size=rows, p=share / share.sum())]
        if rng.random() < 0.5:
            chosen = chosen[:1] * rows
        found.append((chosen, [str(text) for text in rng.choice(known, size=rows)], bool(rng.random() < 0.2)))
    return found


class Background:
    """Something done again and again in a thread until the block ends; its error is that of the test."""

    def __init__(self, work):
        self.work, self.count, self.error, self.over = work, 0, None, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self.over.wait(0.05):
                self.work(self.count)
                self.count += 1
        except Exception as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        if self.error:
            raise self.error


DISK = {"kept_bytes": 0, "disk_bytes": 2**24}  # in memory the prompts of one batch


@pytest.mark.parametrize(("arch", "cache"), [("t5", {}), ("llama", DISK), ("mistral", {})])
def test_every_answer_is_that_of_the_row_alone(shops, loaded, serving, arch, cache):
    shop, (lm, prompts) = shops[arch], loaded[arch]
    expected = Expected(shop, lm)
    asked = requests_of([*shop.prompts, "turns"], 3)
    versions = [prompts["a"], prompts["b"]]
    body = json.dumps({"prompt": "long", "rows": [{"text": "w1 w2 w3 w4"}] * 8}).encode()

    with serving(arch, Limits(queue=10**6, deadline_s=300, **cache)) as running, running.client(timeout=300) as client:
        running.engine.catalogue.put("other", {"turns": versions[0]})

        def replace(turn):
            running.engine.catalogue.put("other", {"turns": versions[turn % 2]})

        def vanish(turn):
            with socket.create_connection(running.address) as gone:
                gone.sendall(HEAD.format(len(body)).encode() + body[: None if turn % 2 else 20])

        def ask(request):
            names, rows, exact = request
            return client.predict(names, [{"text": text} for text in rows], exact=exact)

        quiet = {place: ask(request) for place, request in enumerate(asked[: REQUESTS // 4]) if request[2]}
        with Background(replace) as replaced, Background(vanish) as vanished, ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(ask, asked))
        assert replaced.count > 5
        assert vanished.count > 5
        wait_for(lambda: len(running.engine.scheduler) == 0)  # rows of the last client that vanished may be left
    assert max(running.rows_of_batches) > 4
    if cache:
        assert running.engine.kept.read_back > 5
        assert running.engine.kept.disk.errors == 0

    both = set()
    for place, ((names, rows, _), found) in enumerate(zip(asked, answers, strict=True)):
        for way in ("a", "b"):  # all rows of a request are of one version, that which it began with
            really = [way if name == "turns" else name for name in names]
            if all(expected.fits(*each) for each in zip(found, really, rows, strict=True)):
                both.add(way)
                break
        else:
            pytest.fail(f"request {place}: {names} answer {found}")
        if place in quiet and "turns" not in names:
            assert found == quiet[place]  # `exact`: to the last bit
    assert both == {"a", "b"}
    assert any("turns" not in asked[place][0] for place in quiet)
