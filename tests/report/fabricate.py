"""Run folders of the experiments with task vectors, written by hand: what counts here are settings and scores."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tomli_w
from safetensors.numpy import save_file
from test_page import write_run

from cpeft.config import merge


def write_trial(
    store: Path, stage: str, label: str, seed: int, scores: dict[str, float], init: str = "vocab", steps: int = 20,
    validation: float | None = None, settings: dict[str, Any] | None = None, **more: Any,
) -> Path:  # fmt: skip
    """A finished run on the tasks of `scores`; `settings` are further ones."""
    found = {
        task: {"accuracy": {"value": value, "low": value - 9, "high": value + 9}} for task, value in scores.items()
    }
    known = {"scores": found, "steps": steps, "validation": validation, "prompts": ["+".join(scores)], **more}
    folder = write_run(store, label, list(scores), seed, stage, **known)
    config = {"tasks": list(scores), "seed": seed, "method": {"name": "prompt_tuning"}, "train": {"steps": steps}}
    if init != "vocab":  # what is at its default is not saved
        config["prompt"] = {"init": init}
    (folder / "config.toml").write_text(tomli_w.dumps(merge(config, settings or {})))
    return folder


def write_try(store: Path, variant: str, place: int, validation: float | None) -> Path:
    """A finished search run."""
    folder = write_trial(store, "rates", f"{variant} lr={place}", 100, {"cb": 0.0})
    result = json.loads((folder / "result.json").read_text()) | {"scores": {}, "data": {}, "prompts": []}
    result |= {"variant": variant, "tried": {"optim.lr": place}, "place": place, "validation": validation}
    (folder / "result.json").write_text(json.dumps({**result, "higher_is_better": True, "best_step": 20}))
    return folder


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit the result of a run."""
    path = folder / "result.json"
    result = json.loads(path.read_text())
    edit(result)
    path.write_text(json.dumps(result))


def answer(folder: Path, task: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """What a run answered to the test rows of a task, as (source, answer, right answer), with the accuracy of that."""
    table = [
        {"task": task, "row": row, "source": source, "prediction": said, "references": [right], "in_label_set": True,
         "choice": None, "attention": []}
        for row, (source, said, right) in enumerate(rows)
    ]  # fmt: skip
    before = pq.read_table(folder / "predictions.parquet").filter(pc.field("task") != task).to_pylist()
    pq.write_table(pa.Table.from_pylist([*before, *table]), folder / "predictions.parquet")
    value = 100 * sum(said == right for _, said, right in rows) / len(rows)

    def edit(result: dict[str, Any]) -> None:
        result["data"][task]["rows"]["test"] = len(rows)
        result["scores"][task]["accuracy"]["value"] = value

    change(folder, edit)


def write_prompt(folder: Path, task: str, ratio: float) -> None:
    """The prompt of a run, whose vector has `ratio` times the length of its origin."""
    origin = np.ones((2, 3), np.float32)
    (folder / "prompts" / task).mkdir(parents=True)
    save_file({"origin": origin}, folder / "prompts" / task / "origin.safetensors")
    save_file({"prompt_embeddings": (1 + ratio) * origin}, folder / "prompts" / task / "adapter_model.safetensors")


def write_energy(store: Path) -> Path:
    """Two measured runs and one from before measuring in two stages, and an unfinished run that spent something."""
    measured = {"kwh": 1.5, "kg": 0.648, "training": {"kwh": 1.0, "kg": 0.432, "seconds": 60.0},
                "scoring": {"kwh": 0.5, "kg": 0.216, "seconds": 6.0}, "intensity": 0.432, "country": None, "scope": "process",
                "gang": 1, "sensors": ["CPU(Intel Rapl)"], "notes": ["a note <b>"], "codecarbon": "3.3.2"}  # fmt: skip
    write_trial(store, "sources", "sources", 0, {"rte": 80.0}, energy=measured)
    write_trial(store, "sources", "sources", 1, {"rte": 80.0}, energy=None, energy_reason="energy.measure = 'off'")
    write_trial(store, "targets", "targets", 0, {"rte": 80.0}, energy={**measured, "kwh": 0.02, "kg": 0.00864})
    killed = write_trial(store, "targets", "targets", 1, {"rte": 80.0})
    (killed / "result.json").unlink()
    (killed / "energy.json").write_text('{"kwh": 0.5, "kg": 0.216, "seconds": 9.0}')
    return store


def write_crossing(store: Path) -> Path:
    """rte of seeds 0 to 2 on all three origins, with every control; mini/cb of one seed on its own origin alone."""
    cells = {(0, 0): 80.0, (0, 1): 78.0, (0, 2): 76.0, (1, 0): 81.0, (1, 1): 82.0, (1, 2): 79.0,
             (2, 0): 83.0, (2, 1): 85.0, (2, 2): 84.0}  # fmt: skip
    for seed, ratio in ((0, 0.5), (1, 1.0), (2, 3.0)):
        write_prompt(write_trial(store, "sources", "sources", seed, {"rte": 80.0}), "rte", ratio)
    write_trial(store, "sources", "sources", 0, {"mini/cb": 60.0})
    for (origin, vector), score in cells.items():
        own = origin == vector
        init = "vocab + v(sources/rte)" if own else f"vocab + cross(v(sources/rte@{vector}))"
        write_trial(store, "crossed", f"crossed {vector}", origin, {"rte": score}, init, steps=0)
    write_trial(store, "crossed", "crossed 0", 0, {"mini/cb": 60.0}, "vocab + v(sources/mini/cb)", steps=0)
    controls = {"noise(v(sources/rte))": 50.0, "shuffle(cross(v(sources/rte@1)))": 51.0, "v(sources/mini/cb@0)": 52.0}
    for number, (vector, score) in enumerate(controls.items()):
        write_trial(store, "controls", f"control {number}", 0, {"rte": score}, f"vocab + {vector}", steps=0)
    write_trial(store, "controls", "alone", 0, {"rte": 48.0}, steps=0)
    return store


def write_addition(store: Path) -> Path:
    """rte + cb at two scales and two seeds; the first seed ties on validation rows, the second prefers the larger scale."""
    singles = {(0, "rte"): 50.0, (1, "rte"): 60.0, (0, "cb"): 60.0, (1, "cb"): 60.0}
    for (seed, task), score in singles.items():
        write_trial(store, "singles", "singles", seed, {task: score})
    vectors = "sum(v(singles/rte), v(singles/cb))"
    sums = {
        (0, 0.5): (60.0, 40.0, 60.0),
        (0, 1): (60.0, 1.0, 1.0),
        (1, 0.5): (50.0, 1.0, 1.0),
        (1, 1): (70.0, 54.0, 66.0),
    }
    for (seed, scale), (validation, rte, cb) in sums.items():
        init, scores = f"vocab + {scale}*{vectors}", {"rte": rte, "cb": cb}
        write_trial(store, "pairs", f"pairs init={scale}", seed, scores, init, steps=0, validation=validation)
    return store


def write_shots(store: Path) -> Path:
    """rte from nothing, from a source and by a mixture that was never compared at 4; three seeds, no point of `mixed` at 0."""
    starts = {"vocabulary": ("vocab", {}), "SPoT": ("sources/mnli", {}),
              "mixed": ("vocab", {"method": {"name": "attempt"}, "sources": ["sources/*"]})}  # fmt: skip
    scores = {
        "vocabulary": {0: (10, 20, 30), 4: (40, 41, 42), 16: (50, 52, 54), "full": (60, 60, 60)},
        "SPoT": {0: (50, 50, 50), 4: (50, 50, 53), 16: (60, 61, 65), "full": (61, 60, 60)},
        "mixed": {16: (49, 53, 54), "full": (62, 62, 62)},
    }  # fmt: skip
    for name, of_name in scores.items():
        init, more = starts[name]
        for shots, values in of_name.items():
            for seed, value in enumerate(values):
                steps = 20 if shots else 0
                label = f"{name} few_shot={shots}" if shots else f"as it is {name}"
                settings = merge(more, {"data": {"few_shot": shots}} if isinstance(shots, int) and shots else {})
                write_trial(
                    store,
                    "few" if shots else "zero",
                    label,
                    seed,
                    {"rte": float(value)},
                    init,
                    steps,
                    settings=settings,
                )
    return store


def write_many(store: Path, runs: int = 500) -> Path:
    """So many runs as a study has them: stages of 12 tasks, four methods and three seeds, one method of them a mixture, a
    hundred logged steps and two hundred answers each."""
    rng = np.random.default_rng(0)
    tasks, methods = [f"task {i}" for i in range(12)], ("plain", "SPoT", "mixture", "fine-tuning")
    for number in range(runs):
        seed, rest = number % 3, number // 3
        task, rest = tasks[rest % 12], rest // 12
        method, stage = methods[rest % 4], f"stage {rest // 4}"
        score = float(rng.uniform(40, 90))
        more = {"prompts": [task], "method": "fine_tuning" if method == "fine-tuning" else "prompt_tuning"}
        folder = write_trial(store, stage, method, seed, {task: score}, "s/a" if method == "SPoT" else "vocab", **more)
        steps = range(10, 1010, 10)
        records = [{"step": step, "loss": 5 / step + float(rng.uniform(0, 0.1))} for step in steps]
        records += [
            {"step": step, "headline": score, f"validation/{task}/accuracy": score - 100 / step} for step in steps[::10]
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        rows = [
            {"task": task, "row": row, "source": f"{task}: row {row} " + 30 * "and a word ",
             "prediction": str(rng.choice(["yes", "no"])), "references": ["yes" if row % 2 else "no"],
             "in_label_set": True, "choice": None,
             "attention": rng.dirichlet([1, 1, 1]).tolist() if method == "mixture" else []}
            for row in range(200)
        ]  # fmt: skip
        named = {"attention": "sst2\tmnli\ttarget" if method == "mixture" else ""}
        pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(named), folder / "predictions.parquet")
    return store
