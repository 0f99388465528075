"""Rows on a real small model of another architecture, where it is at hand: what holds without a packed form."""

from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM

from benchmarks.measure import Ratio, compare
from benchmarks.peers import PeftLoop, peft_generate
from benchmarks.scene import Ours, learner
from benchmarks.training import ALONE, _same
from cpeft.data.options import DataOptions
from cpeft.data.rows import EncodedRow
from cpeft.evaluation.decoding import decode_rows
from cpeft.evaluation.task_data import task_data
from cpeft.models.loading import load_lm
from cpeft.options.evaluation import EvalOptions

MINILM = Path(__file__).parents[2] / "shared" / "models" / "minilm-seq2seq"  # a BART of 30 million parameters
PROMPT, BATCH = 20, 16


def minilm(task: str, what: str, rounds: int, walls: int) -> Ratio:
    """A training step, or answers to test rows, on minilm-seq2seq and real texts, beside peft padded to the longest row."""
    lm = load_lm(MINILM, dtype="float32")
    data = task_data(task, None, DataOptions(prefix="none", max_source=128, limit_train=BATCH, limit_test=96), 0, lm)
    mine = learner(lm, length=PROMPT)
    rows = data.rows("train", 0)
    other = AutoModelForSeq2SeqLM.from_pretrained(MINILM, dtype=torch.float32)
    loop = PeftLoop(other, mine.method.export()["task"].weight, rows, None, dropout=False)
    if what == "training":
        said, ours, theirs = _same(mine, loop, rows, torch.float32), Ours([mine], rows, BATCH, ALONE), loop
    else:
        asked = [EncodedRow(row.source, ()) for row in data.rows("test", 0)]
        options = EvalOptions(token_budget=4096)
        own = [row.text for row in decode_rows(mine, asked, data.closed, options)]
        other_said = [mine.text.decode(ids) for ids in peft_generate(loop, asked, BATCH, 10, False)]
        if any(a != b for a, b in zip(own, other_said, strict=True) if a in data.closed or b in data.closed):
            raise SystemExit(f"answers differ: {own} and {other_said}")
        said = f"{sum(text in data.closed for text in own)} of {len(own)} answers are labels, the same ones row by row"
        ours = lambda: decode_rows(mine, asked, data.closed, options)  # noqa: E731
        theirs = lambda: peft_generate(loop, asked, BATCH, 10, False)  # noqa: E731
    name = f"{'training step' if what == 'training' else 'evaluation of 96 rows'}, minilm-seq2seq (BART), {task}, batch {BATCH}"
    against = "peft, padded to the longest row" + ("" if what == "training" else ", generate(10)")
    return compare(name, against, said, ours, theirs, rounds, walls)
