"""Rows on many prompts and one frozen model: every row of a batch behind a prompt of its own, beside peft, which makes one
prompt after another the active one and answers its row alone. What our side gains is told apart by its causes."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from peft import PromptTuningConfig, TaskType, get_peft_model
from torch import Tensor

from benchmarks import scene
from benchmarks.causal import decoder
from benchmarks.causal import rows_of as causal_rows
from benchmarks.measure import Ratio, compare
from cpeft.data.rows import EncodedRow
from cpeft.evaluation.decoding import decode_rows
from cpeft.methods.bank import PromptBank
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.options.evaluation import EvalOptions
from cpeft.prompts.soft_prompt import SoftPrompt

TOKENS = 10
BUDGET = 8192  # tokens of one of our batches
Gain = Literal["all", "trie", "cache", "batching"]
# By cause: how our side works, and beside what. `trie`: labels decided in one pass; `cache`: keys and values of a prompt kept;
# `batching`: rows of different prompts together.
GAINS = {
    "all": ("kept prompts, rows together", f"peft, set_adapter and generate({TOKENS}), row by row"),
    "trie": ("prompts read anew, row by row", f"peft, set_adapter and generate({TOKENS}), row by row"),
    "cache": ("kept prompts, row by row", "ours, prompts read anew, row by row"),
    "batching": ("kept prompts, rows together", "ours, kept prompts, row by row"),
}


class SwappingPeft:
    """One model with a prompt for each row: `set_adapter`, then `generate`, row by row."""

    def __init__(self, model: Any, prompts: Sequence[Tensor], encoder_decoder: bool) -> None:
        task = TaskType.SEQ_2_SEQ_LM if encoder_decoder else TaskType.CAUSAL_LM
        self.encoder_decoder = encoder_decoder
        for number, prompt_PD in enumerate(prompts):
            config = PromptTuningConfig(task_type=task, num_virtual_tokens=len(prompt_PD))
            if number:
                self.model.add_adapter(str(number), config)
            else:
                self.model = get_peft_model(model, config, adapter_name="0")
            with torch.no_grad():
                self.model.prompt_encoder[str(number)].embedding.weight[: len(prompt_PD)] = prompt_PD
        self.model.eval()

    @torch.no_grad()
    def __call__(self, rows: Sequence[EncodedRow]) -> list[list[int]]:
        said = []
        for row in rows:
            self.model.set_adapter(str(row.task))
            ids_BL = torch.tensor([row.source])
            out = self.model.generate(input_ids=ids_BL, attention_mask=torch.ones_like(ids_BL), max_new_tokens=TOKENS,
                                      do_sample=False, num_beams=1)  # fmt: skip
            said.append(out[0, 1 if self.encoder_decoder else len(row.source) :].tolist())
        return said


def mixed(
    kind: Literal["LLaMA", "T5"], shape: str, length: int, prompts: int, rounds: int, gain: Gain = "all", walls: int = 0,
    mean: int = 60,
) -> Ratio:  # fmt: skip
    """Greedy answers over two labels to a row of each of so many prompts, of a model that says no label and goes on to the last
    token; float32. T5's rows have SST-2 lengths."""
    makes = partial(decoder, shape, torch.float32) if kind == "LLaMA" else partial(scene.model, shape)
    drawn = causal_rows(mean, prompts) if kind == "LLaMA" else scene.rows_of("SST-2", prompts, seed=1)
    rows = [EncodedRow(row.source, (), task) for task, row in enumerate(drawn)]
    mine, weights = _bank(scene.frozen(makes()), prompts, length)
    theirs = SwappingPeft(makes(), weights, kind == "T5")
    labels, options = scene.LABELS[:2], EvalOptions(token_budget=BUDGET)
    together = partial(decode_rows, mine, rows, labels, options)

    def apart(kept: bool) -> list[str]:
        said = []
        for row in rows:
            if not kept:
                mine._kept = None
            said += [decoded.text for decoded in decode_rows(mine, [row], labels, options)]
        return said

    other = [mine.text.decode(ids) for ids in theirs(rows)]
    for name, ours in {"together": [row.text for row in together()], "apart": apart(kept=False)}.items():
        if any(a != b for a, b in zip(ours, other, strict=True) if a in labels or b in labels):
            raise SystemExit(f"answers differ {name}: {ours} and {other}")
    said = f"{sum(text in labels for text in other)} of {prompts} answers are labels, the same ones row by row"
    ways = {
        "all": (together, lambda: theirs(rows)), "trie": (lambda: apart(False), lambda: theirs(rows)),
        "cache": (lambda: apart(True), lambda: apart(False)), "batching": (together, lambda: apart(True)),
    }  # fmt: skip
    ours_is, against = GAINS[gain]
    lengths = f"mean {mean} tokens" if kind == "LLaMA" else "SST-2 lengths"
    name = f"{prompts} prompts of {length} rows, a row each, {kind} ({shape}), {lengths}, float32: {ours_is}"
    return compare(name, against, said, *ways[gain], rounds, walls)


def _bank(lm: FrozenLM, prompts: int, length: int) -> tuple[PromptedLM, list[Tensor]]:
    """A learner of so many prompts, drawn from the vocabulary, and their rows."""
    draw = torch.Generator().manual_seed(0)
    table_VD = lm.vocabulary.table_VD
    weights = [table_VD[torch.randint(scene.V, (length,), generator=draw)].clone() for _ in range(prompts)]
    return PromptedLM(lm, PromptBank({str(i): SoftPrompt(each) for i, each in enumerate(weights)})), weights
