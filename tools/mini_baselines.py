"""What a task takes without prompts: a bag-of-words logistic regression and full fine-tuning of the embedded model.

    python tools/mini_baselines.py OUT.jsonl [TASK ...] [--seeds 3] --rates 0.001

Rows are those that `cpeft run` takes: the same splits, the same few-shot subsets per seed, no task name in the input, the whole
test split scored once per run. The rate of fine-tuning is the one with the best validation accuracy on mini/formality, seed 100
(`--rates` with several values scores validation rows and nothing else). One line per run; what is in OUT is not run again.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from cpeft.data.encode import EncodedRow, collate
from cpeft.data.options import DataOptions
from cpeft.data.stream import Stream
from cpeft.models.loading import FrozenLM, load_lm
from cpeft.seeds import generator
from cpeft.study.task_data import TaskData, task_data

TARGETS = ("mini/mood", "mini/claim", "mini/acceptability", "mini/question", "mini/wic")
STEPS = {16: 50, "full": 200}  # as the prompts get
BATCH = 16
PILOT = ("mini/formality", 100)


def bag_of_words(data: TaskData, split: str) -> float:
    """Accuracy of a logistic regression on word counts."""
    counter = CountVectorizer()
    train, held = data.parts["train"].examples, data.parts[split].examples
    model = LogisticRegression(max_iter=2000)
    model.fit(counter.fit_transform(e.source for e in train), [e.target for e in train])
    return 100 * float(model.score(counter.transform(e.source for e in held), [e.target for e in held]))


def fine_tuning(data: TaskData, split: str, seed: int, rate: float, steps: int) -> float:
    """Accuracy (greedy, whole answer) after training every weight with AdamW; float32 weights, bfloat16 products."""
    torch.manual_seed(seed)
    lm = load_lm("mini", dtype="float32")
    model = lm.model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 10) * (1 - step / steps))
    rows = data.parts["train"].rows
    stream = Stream(len(rows), BATCH, int(generator(seed, "fine-tuning").integers(2**31)))
    for step in range(steps):
        batch = collate([rows[i] for i in stream.at(step)], lm.text.pad)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=batch.source_BL, attention_mask=batch.mask_BL.long(), labels=batch.target_BT).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    part = data.parts[split]
    said = answers(lm, part.rows)
    right = sum(
        data.spoken.get(text, text) == example.target for text, example in zip(said, part.examples, strict=True)
    )
    return 100 * right / len(said)


@torch.inference_mode()
def answers(lm: FrozenLM, rows: Sequence[EncodedRow]) -> list[str]:
    said: list[str] = []
    for start in range(0, len(rows), 100):
        batch = collate(rows[start : start + 100], lm.text.pad)
        with torch.autocast("cpu", torch.bfloat16):
            out = lm.model.generate(
                input_ids=batch.source_BL, attention_mask=batch.mask_BL.long(), max_new_tokens=8, do_sample=False
            )
        said += [lm.text.decode(ids[1:].tolist()) for ids in out]
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("tasks", nargs="*", default=TARGETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="+", required=True)
    given = parser.parse_args()
    pilot = len(given.rates) > 1
    tasks, seeds, split = ([PILOT[0]], [PILOT[1]], "validation") if pilot else (given.tasks, range(given.seeds), "test")
    lm = load_lm("mini")
    done = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    keys = [{name: line[name] for name in line if name != "accuracy"} for line in done]
    for task in tasks:
        for few in STEPS:
            for seed in seeds:
                data = task_data(task, None, DataOptions(prefix="none", few_shot=few), seed, lm)
                for method, rate in (("bag of words", None), *(("fine-tuning", rate) for rate in given.rates)):
                    key: dict[str, Any] = {
                        "task": task, "few_shot": few, "seed": seed, "method": method, "rate": rate, "split": split
                    }  # fmt: skip
                    if key in keys:
                        continue
                    score = (
                        bag_of_words(data, split) if rate is None else fine_tuning(data, split, seed, rate, STEPS[few])
                    )
                    line = json.dumps({**key, "accuracy": score})
                    print(line, flush=True)
                    with given.out.open("a") as file:
                        file.write(line + "\n")


if __name__ == "__main__":
    main()
