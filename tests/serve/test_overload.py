"""More than the server can do: what it takes is answered right and in time, the rest is refused, and then it is as before.

`CPEFT_OVERLOAD_S` sets for how long; a minute shows that memory does not grow."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np

from cpeft.serve.results import Limits

SECONDS = float(os.environ.get("CPEFT_OVERLOAD_S", "3"))
CLIENTS, QUEUE, DEADLINE_S = 48, 32, 10.0
GROWTH = 64 * 2**20  # bytes, after the first third
TEXTS = [f"w{number} w{number + 1} w{number + 2}" for number in range(40)]


def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_overload(serving):
    limits = Limits(queue=QUEUE, deadline_s=DEADLINE_S)
    with serving(limits=limits) as running, running.client() as client, ThreadPoolExecutor(CLIENTS) as pool:
        expected = {text: client.predict("a", [{"text": text}])[0].answer for text in TEXTS}
        end, sizes = time.monotonic() + SECONDS, []

        def hammer(number):
            rng, seen = np.random.default_rng(number), []
            with httpx.Client(base_url=running.url, timeout=60) as http:
                while time.monotonic() < end:
                    rows = [{"text": str(text)} for text in rng.choice(TEXTS, 8)]
                    began = time.monotonic()
                    found = http.post("/v1/predict", json={"prompt": "a", "rows": rows})
                    seen.append((found.status_code, time.monotonic() - began))
                    if found.status_code == 429:
                        assert found.headers["retry-after"]
                        continue
                    answers = [each["answer"] for each in found.json()["answers"]]
                    assert answers == [expected[row["text"]] for row in rows]
                    if number == 0:
                        sizes.append(memory())
            return seen

        seen = [each for own in pool.map(hammer, range(CLIENTS)) for each in own]
        began = time.monotonic()
        assert client.predict("a", [{"text": TEXTS[0]}])[0].answer == expected[TEXTS[0]]
        assert time.monotonic() - began < 2
    counts = {status: sum(status == other for other, _ in seen) for status, _ in seen}
    assert set(counts) == {200, 429}
    late = np.percentile([seconds for status, seconds in seen if status == 200], 99)
    assert late < DEADLINE_S
    assert sizes[-1] - sizes[len(sizes) // 3] < GROWTH
    print(
        f"{counts}, p99 of answers {late:.2f} s, memory {sizes[len(sizes) // 3] / 2**20:.0f} to {sizes[-1] / 2**20:.0f} MiB"
    )
