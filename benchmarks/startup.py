"""python -m benchmarks.startup: processor seconds of commands above those of a bare Python, medians of several."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROUNDS = 5
LOOKS = (
    ("--help",), ("list", "tasks"), ("list", "methods"), ("list", "recipes"), ("show", "task", "mini/mood"),
)  # fmt: skip
IMPORTS = "import gc; gc.set_threshold(100_000, 50, 100); from transformers import T5ForConditionalGeneration"
RUNS = 500
STUDY = """name = "start"
[model]
name = "mini"
[prompt]
length = 16
[train]
steps = 1
batch = 16
[data]
limit_validation = 8
limit_test = 8
[energy]
measure = "off"
[[stage]]
name = "one"
tasks = ["mini/mood"]
"""


def seconds(*command: str) -> float:
    """Processor time of a command and its children; raises where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def one_run(place: Path) -> Path:
    """The store of a study of one run of one step."""
    recipe, store = place / "start.toml", place / "store"
    recipe.write_text(STUDY)
    seconds(sys.executable, "-m", "cpeft.cli", "run", str(recipe), "--store", str(store))
    return store


def many_runs(store: Path, count: int) -> None:
    """Copies of the one run of a store, as runs of other seeds."""
    first = min(path.parent for path in store.glob("one/mini.mood.*/result.json"))
    result = json.loads((first / "result.json").read_text())
    rng = np.random.default_rng(0)
    for seed in range(1, count):
        name = f"mini.mood.{seed}"
        folder = first.with_name(f"{name}-{seed:012x}")
        if folder.exists():
            continue
        shutil.copytree(first, folder)
        scores = json.loads(json.dumps(result["scores"]))
        for metrics in scores.values():
            for score in metrics.values():
                score["value"] = float(rng.uniform(40, 60))
        told = {**result, "seed": seed, "label": f"method {seed % 10}", "name": name, "scores": scores}
        (folder / "result.json").write_text(json.dumps(told))


def main() -> None:
    python, cpeft = sys.executable, [sys.executable, "-m", "cpeft.cli"]
    bare = np.median([seconds(python, "-c", "pass") for _ in range(ROUNDS)])
    with tempfile.TemporaryDirectory() as place:
        os.environ["CPEFT_CACHE"] = str(Path(place) / "cache")
        recipe, store = Path(place) / "start.toml", Path(place) / "store"
        recipe.write_text(STUDY)

        def run() -> float:
            shutil.rmtree(store, ignore_errors=True)
            return seconds(*cpeft, "run", str(recipe), "--store", str(store))

        found = {" ".join(("cpeft", *words)): [seconds(*cpeft, *words) for _ in range(ROUNDS)] for words in LOOKS}
        for command in (
            "plan",
            "doctor",
        ):  # the first time reads the tokenizer, and the model, and remembers what it found
            found[f"cpeft {command} quickstart, the first time"] = [seconds(*cpeft, command, "quickstart")]
            found[f"cpeft {command} quickstart"] = [seconds(*cpeft, command, "quickstart") for _ in range(ROUNDS)]
        found["a run of one step of mini, with its report"] = [run() for _ in range(ROUNDS)]
        found["of which importing torch and transformers' T5"] = [seconds(python, "-c", IMPORTS) for _ in range(ROUNDS)]
        many_runs(store, RUNS)
        found[f"cpeft report on {RUNS} runs"] = [seconds(*cpeft, "report", str(store)) for _ in range(ROUNDS)]
        found[f"cpeft status on {RUNS} runs"] = [seconds(*cpeft, "status", str(store)) for _ in range(ROUNDS)]
        size = (store / "report.html").stat().st_size / 2**20
    print("| command | seconds above bare Python | quartiles | n |\n|---|---:|---|---:|")
    for name, values in found.items():
        low, middle, high = np.percentile(np.array(values) - bare, [25, 50, 75])
        print(f"| {name} | {middle:.2f} | {low:.2f} to {high:.2f} | {len(values)} |")
    print(f"\nThe report of {RUNS} runs has {size:.1f} MiB.")


if __name__ == "__main__":
    main()
