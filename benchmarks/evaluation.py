"""Rows on answers: label sets beside `generate`, and a decoder-only model's prompt cache."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
import transformers

from benchmarks.measure import Ratio, compare
from benchmarks.peers import PeftLoop, peft_generate
from benchmarks.scene import LABELS, LENGTHS, P, frozen, learner, model, rows_of, tokenizer
from cpeft.data.encode import collate
from cpeft.data.rows import EncodedRow
from cpeft.evaluation.decoding import decode_rows
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.options.evaluation import EvalOptions

V_CAUSAL = 32000


def evaluation(shape: str, task: str, batch: int, rounds: int, walls: int, with_loss: bool, ends: bool) -> Ratio:
    """Answers beside generate(10), of a model that says labels and `ends`, or of one that goes on to the tenth token, on which
    the peer's cost hangs."""
    made = _telling(shape) if ends else model(shape)
    rows = [EncodedRow(row.source, ()) for row in rows_of(task, 3 * batch, seed=1)]
    mine = learner(frozen(made))
    theirs = PeftLoop(model(shape), mine.method.export()["task"].weight, rows, None, dropout=False)
    theirs.model.base_model.load_state_dict(made.state_dict())
    labelled = [replace(row, target=tuple(tokenizer()(LABELS[0])["input_ids"])) for row in rows]
    options = EvalOptions(token_budget=batch * (P + LENGTHS[task][1]))
    said = _same_answers(mine, theirs, rows, batch, options)
    what = "says labels and ends" if ends else "says no label, to the last token"
    name = f"evaluation of {len(rows)} rows, T5-{shape}, {task} lengths, float32; the model {what}"
    against = f"peft, {'loss and ' if with_loss else ''}generate(10), batches of {batch}"
    return compare(name, against, said, lambda: decode_rows(mine, rows, LABELS, options),
                   lambda: peft_generate(theirs, labelled, batch, 10, with_loss), rounds, walls)  # fmt: skip


def _same_answers(
    mine: PromptedLM, theirs: PeftLoop, rows: list[EncodedRow], batch: int, options: EvalOptions
) -> str:  # fmt: skip
    """What both sides answer; ends the benchmark where a label, or whether a row is one, differs."""
    ours = [row.text for row in decode_rows(mine, rows, LABELS, options)]
    other = [mine.text.decode(ids) for ids in peft_generate(theirs, rows, batch, 10, False)]
    inside = sum(text in LABELS for text in other)
    if any(a != b for a, b in zip(ours, other, strict=True) if a in LABELS or b in LABELS):
        raise SystemExit(f"answers differ: {ours} and {other}")
    return f"{inside} of {len(rows)} answers are labels, the same ones row by row"


def _telling(shape: str) -> Any:
    """A model taught for some steps to say labels, as a trained one does."""
    made = model(shape)
    lm = frozen(made)
    made.requires_grad_(True)
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
    said = [tuple(tokenizer()(label)["input_ids"]) for label in LABELS]
    rows = [EncodedRow(row.source, said[i % 3]) for i, row in enumerate(rows_of("SST-2", 4))]
    batch = collate(rows, 0)
    prompt_BPD = learner(lm).method.export()["task"].weight.expand(len(rows), -1, -1)
    for _ in range(12):
        joined = torch.cat([prompt_BPD, lm.embed(batch.source_BL).detach()], 1)
        mask = torch.cat([torch.ones(len(rows), P, dtype=torch.bool), batch.mask_BL], 1)
        made(inputs_embeds=joined, attention_mask=mask.long(), labels=batch.target_BT).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return made.requires_grad_(False)


def prompt_cache(rounds: int, walls: int, batches: int, size: int = 8, length: int = 30) -> Ratio:
    """A decoder-only model's answers to batches of rows with the prompt's keys and values computed once in all, beside plain
    `generate` with the prompt in front of every row; the first token of each."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=V_CAUSAL, hidden_size=512, intermediate_size=1376, num_hidden_layers=6,
                                      num_attention_heads=8, pad_token_id=0, eos_token_id=1)  # fmt: skip
    plain = transformers.LlamaForCausalLM(config).eval()
    mine = learner(FrozenLM(deepcopy(plain), tokenizer(), "benchmark", None, "float32"))
    texts = list(torch.randint(3, V_CAUSAL, (batches, size, length)))
    mask_BL, task_B = torch.ones(size, length, dtype=torch.bool), torch.zeros(size, dtype=torch.long)
    prompt_BPD = mine.method.export()["task"].weight.expand(size, -1, -1)

    def ours() -> torch.Tensor:
        mine._kept = None  # an evaluation begins with a new prompt
        return torch.cat([mine.decode(ids, mask_BL, task_B, max_new_tokens=1, do_sample=False)[0] for ids in texts])

    @torch.no_grad()
    def theirs() -> torch.Tensor:
        mask = torch.ones(size, P + length, dtype=torch.long)
        joined = [torch.cat([prompt_BPD, plain.get_input_embeddings()(ids)], 1) for ids in texts]
        return torch.cat([plain.generate(inputs_embeds=x, attention_mask=mask, max_new_tokens=1, do_sample=False)
                          for x in joined])  # fmt: skip

    if not torch.equal(ours(), theirs()):
        raise SystemExit("the prompt's cache changes answers")
    what = f"6 layers, width 512, {P} prompt rows, {length} tokens, batch {size}"
    name = f"decoder-only evaluation of {batches * size} rows, {what}"
    return compare(name, "generate, the prompt in front of every row", "same tokens", ours, theirs, rounds, walls)
