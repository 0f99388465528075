"""Writes the page of this study and its picture. About three minutes on one core.

    python -m studies.doubled-prompts.claims build/tiny

Trains prompts with peft itself in its default layout for encoder-decoder models (twice the rows, the second half never read) on
three toy tasks from three origins, and compares them on all stored rows, as published, and on live rows. The model is the
toy of `tiny_model.py`, which is written to the folder given.
"""

import csv
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers

import cpeft
from cpeft.doctor import examine
from cpeft.prompts.formula.evaluate import read_items
from cpeft.prompts.similarity import Similarity, compare
from cpeft.report.vectors.similarity import TITLES, Matrix, draw
from cpeft.seeds import generator

tiny_model = import_module("studies.doubled-prompts.tiny_model")
HERE = Path(__file__).parent
TASKS, ORIGINS, STEPS, LENGTH = tuple(tiny_model.QUESTIONS), 3, (30, 100, 300), 10
LR, DECAY, BATCH = 0.1, 1e-5, 32
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # ids, mask, labels


def train_doubled(base: Any, origin_ND: torch.Tensor, batches: Iterable[Batch], out: dict[int, Path]) -> torch.Tensor:
    """Tune a prompt with peft's own model and AdamW from a doubled origin (2P, D), and let peft save it after the steps named
    by `out`. Returns the largest gradient that any row of the second half ever had."""
    rows = len(origin_ND) // 2
    model = peft.get_peft_model(base, peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=rows))
    weight = model.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        weight.copy_(origin_ND)
    optimizer = torch.optim.AdamW([weight], lr=LR, weight_decay=DECAY)
    largest = torch.zeros(())
    for step, (ids, mask, labels) in enumerate(batches, start=1):
        model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        largest = torch.maximum(largest, weight.grad[rows:].abs().max())
        optimizer.step()
        optimizer.zero_grad()
        if step in out:
            model.save_pretrained(out[step])
    return largest


def toy_batches(folder: Path, task: str, tokenizer: Any, seed: int) -> Iterator[Batch]:
    rows = list(csv.DictReader((folder / f"{task}-train.csv").open()))
    rng, words = generator(seed, "order", task), tiny_model.QUESTIONS[task]
    for _ in range(STEPS[-1]):
        chosen = [rows[i] for i in rng.integers(len(rows), size=BATCH)]
        inputs = tokenizer([row["text"] for row in chosen], padding=True, return_tensors="pt")
        answers = [[tokenizer.convert_tokens_to_ids(words[int(row["label"])]), 1] for row in chosen]
        yield inputs["input_ids"], inputs["attention_mask"], torch.tensor(answers)


def train_all(folder: Path, lm: Any, out: Path) -> float:
    """`out/STEP/TASK-ORIGIN` as peft saved them, `out/origin-N.npy` doubled; returns the largest dead gradient."""
    largest, table_VD = 0.0, lm.vocabulary.table_VD
    for number in range(ORIGINS):
        ids = 3 + generator(number, "origin").permutation(len(table_VD) - 3)[: 2 * LENGTH]
        origin_ND = table_VD[torch.from_numpy(ids)]
        np.save(out / f"origin-{number}.npy", origin_ND.numpy())
        for task in TASKS:
            places = {step: out / str(step) / f"{task}-{number}" for step in STEPS}
            batches = toy_batches(folder, task, lm.tokenizer, number)
            largest = max(largest, float(train_doubled(lm.model, origin_ND, batches, places)))
            print(f"{task} from origin {number}", flush=True)
    return largest


def similarity(out: Path, step: int, rows: str, vectors: bool = False) -> Similarity:
    minus = " - '{}/origin-{}.npy'" if vectors else ""
    texts = [f"{task}@{n}='{out}/{step}/{task}-{n}'" + minus.format(out, n) for task in TASKS for n in range(ORIGINS)]
    return compare(read_items(texts, live=LENGTH), rows)


def gaps(out: Path) -> Iterator[str]:
    """The lines of the table."""
    for vectors in (False, True):
        for measure in ("flattened", "token_mean"):
            for step in STEPS:
                cells = []
                for rows in ("all", "live"):
                    gap = similarity(out, step, rows, vectors).gap(measure)
                    cells += [f"{gap[key]:.3f}" for key in ("same origin", "other origin", "gap")]
                name = "vectors" if vectors else "prompts"
                yield f"| {name} | {TITLES[measure]} | {step} | " + " | ".join(cells) + " |"


def picture(out: Path, path: Path) -> None:
    """The published heat map, origins mixed, under both published definitions: all stored rows above, live rows below."""
    grid: list[list[Matrix]] = []
    for rows, title in (("all", "all stored rows"), ("live", "live rows")):
        found = similarity(out, STEPS[-1], rows)
        measures = ("flattened", "token_mean")
        grid.append(
            [(f"{TITLES[m].capitalize()}, {title}", found.tasks, found.by_task(m, "published")) for m in measures]
        )
    draw(grid, path)


def main(folder: Path) -> None:
    tiny_model.main(folder)
    lm = cpeft.load_lm(folder / "model", dtype="float32")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        largest = train_all(folder, lm, out)
        decayed = (1 - LR * DECAY) ** STEPS[-1]
        dead = read_items([str(out / f"{STEPS[-1]}/{TASKS[0]}-0")])[0].matrix("all")[LENGTH:]
        left = np.abs(dead - decayed * np.load(out / "origin-0.npy")[LENGTH:]).max()
        prompts = {(s, t): cpeft.load_prompt(out / f"{s}/{t}-0") for s in STEPS for t in TASKS}
        scores = {
            key: cpeft.evaluate(prompt, str(folder / f"{key[1]}.toml"), lm, prefix="none")["accuracy"].value
            for key, prompt in prompts.items()
        }
        findings = examine([str(out / f"{STEPS[-1]}/{task}-{n}") for task in TASKS for n in range(ORIGINS)])
        facts = {
            "gaps": "\n".join(gaps(out)), "gradient": f"{largest:g}", "left": f"{left:.1e}", "decayed": f"{decayed:.6f}",
            "scores": "\n".join(f"| {s} | " + " | ".join(f"{scores[s, t]:.1f}" for t in TASKS) + " |" for s in STEPS),
            "doctor": findings[-1].what, "python": platform.python_version(), "torch": torch.__version__,
            "peft": peft.__version__, "transformers": transformers.__version__, "cpeft": cpeft.__version__,
        }  # fmt: skip
        picture(out, HERE / "data" / "similarity.svg")
    template = (HERE / "page.md").read_text(encoding="utf-8")
    (HERE / "README.md").write_text(template.format(**facts), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
