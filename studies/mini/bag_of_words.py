"""Accuracy on tasks of the embedded model without any model: a logistic regression on word counts.

    python studies/mini/bag_of_words.py OUT.jsonl [TASK ...] [--seeds 3]

Rows are those that `cpeft run` takes: the same splits, the same few-shot subsets per seed, no task name in the input, the whole
test split scored once. Full fine-tuning and other baselines run from recipes (`method.name = "fine_tuning"`). One line per run;
what is in OUT is not run again.
"""

import argparse
import json
from pathlib import Path

from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from cpeft.data.options import DataOptions
from cpeft.evaluation.task_data import TaskData, task_data
from cpeft.models.loading import load_lm

TARGETS = ("mini/mood", "mini/claim", "mini/acceptability", "mini/question", "mini/wic")


def bag_of_words(data: TaskData) -> float:
    """Accuracy on the test rows."""
    counter = CountVectorizer()
    train, held = data.parts["train"].examples, data.parts["test"].examples
    model = LogisticRegression(max_iter=2000)
    model.fit(counter.fit_transform(e.source for e in train), [e.target for e in train])
    return 100 * float(model.score(counter.transform(e.source for e in held), [e.target for e in held]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("tasks", nargs="*", default=TARGETS)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    lm = load_lm("mini")
    done = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    keys = [{name: line[name] for name in line if name != "accuracy"} for line in done]
    for task in given.tasks:
        for few in (16, "full"):
            for seed in range(given.seeds):
                key = {"task": task, "few_shot": few, "seed": seed}
                if key in keys:
                    continue
                data = task_data(task, None, DataOptions(prefix="none", few_shot=few), seed, lm)
                line = json.dumps({**key, "accuracy": bag_of_words(data)})
                print(line, flush=True)
                with given.out.open("a") as file:
                    file.write(line + "\n")


if __name__ == "__main__":
    main()
