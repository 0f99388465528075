"""The README of a prompt folder: what the prompt is, and lines that run it with transformers and peft alone.

They are exact because they leave nothing to guess: the text before and after a row (that of a chat template too), the fields,
the tokens that end an answer and the largest number of new tokens are those that the prompt was trained and scored with.
`evaluation/row_format.py` records them when a learner is made; the README of a prompt without that record has the same lines
with a gap.
"""

from typing import Any

CODE = """\
import re
import torch
from peft import PeftModel
from transformers import {auto}, AutoTokenizer, GenerationConfig

MODEL = {model}  # a folder, or a name on the hub
ASKED = {{  # text before a row, the row, text behind it; most tokens of an answer; labels by their surface forms
{asked}}}

tokenizer = AutoTokenizer.from_pretrained(MODEL{revision})
base = {auto}.from_pretrained(MODEL{revision}, dtype=torch.{dtype})
base.generation_config = GenerationConfig({generation})
# (without a cache: with one, some versions of peft and transformers lose the prompt after the first token)
model = PeftModel.from_pretrained(base, ".").eval()  # the folder of this file

def answer(row, task={first}):
    before, fields, behind, most, labels = ASKED[task]
    fields = re.sub(r"\\{{([^{{}}]+)\\}}", lambda column: str(row[column[1]]).strip(), fields)
    ids = tokenizer(before + fields + behind, add_special_tokens={special}, return_tensors="pt").input_ids{cut}
    tokens = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=most)[0, {start}:]
{decoded}

print(answer({row}))
"""
OPEN = "    return tokenizer.decode(tokens, skip_special_tokens=True).strip()"
CLOSED = """\
    texts = [tokenizer.decode(tokens[:n], skip_special_tokens=True).strip() for n in range(1, len(tokens) + 1)]
    lost = (text for text in texts if not any(dense(label).startswith(dense(text)) for label in labels))
    text = next(lost, texts[-1])  # an answer ends once it can become no label
    return labels.get({text}, text)

def dense(text):
    return "".join({text}.split()).rstrip("\\ufffd")"""
PARTS = ("before", "fields", "behind", "most", "labels")
UNKNOWN = {"before": "", "fields": "{text}", "behind": "", "most": 20, "labels": {}, "columns": ["text"]}


def readme(known: dict[str, Any]) -> str:
    """The text of `README.md`; `known` is the content of `cpeft.json`."""
    cards = known["asked"] or {known["task"] or "task": UNKNOWN}
    card = next(iter(cards.values()))
    where = f"It was trained on {known['model']}. " if known["model"] else ""
    lines = [
        f"# Soft prompt: {known['task'] or known['formula'] or 'no task on record'}",
        f"{known['length']} rows before the input of a frozen model. {where}`cpeft.json` records where it came from. "
        "With `pip install torch transformers peft` this runs it:",
        f"```python\n{_code(known, cards)}```",
        *_remarks(known, card),
    ]
    return "\n\n".join(lines) + "\n"


def _code(known: dict[str, Any], cards: dict[str, Any]) -> str:
    first, card = next(iter(cards.items()))
    closed = CLOSED.format(text="text.lower()" if card.get("lower") else "text")
    tokens = {"do_sample": False, "num_beams": 1, "use_cache": False, **card.get("tokens", {})}
    return CODE.format(
        auto="AutoModelForSeq2SeqLM" if known["encoder_decoder"] else "AutoModelForCausalLM",
        model=repr(card.get("model") or known["model"]), first=repr(first),
        asked="".join(f"    {task!r}: {tuple(each[part] for part in PARTS)!r},\n" for task, each in cards.items()),
        revision=f", revision={known['revision']!r}" if known["revision"] else "", dtype=known["dtype"] or "float32",
        generation=", ".join(f"{name}={value!r}" for name, value in tokens.items()),
        special=card.get("special", True), cut="[:, :-1]" if card.get("ends") else "",
        start="1" if known["encoder_decoder"] else "ids.shape[1]", row=repr(dict.fromkeys(card["columns"], "...")),
        decoded=closed if card["labels"] else OPEN,
    )  # fmt: skip


def _remarks(known: dict[str, Any], card: dict[str, Any]) -> list[str]:
    """Remarks that a reader needs besides the lines."""
    found = []
    if not known["asked"]:
        found.append("How its rows were written is not on record: complete `ASKED` with the text it was trained on.")
    if known["note"]:
        found.append(f"Note: {known['note']}.")
    if card.get("cleaned"):
        found.append("CPEFT rewrites the columns of a row of this task first; give `answer` the rewritten ones.")
    if known["asked"] and (limit := known["text"].get("max_source")):
        found.append(
            f"CPEFT cuts texts of more than {limit} tokens, and reads a control token that a row spells as text; "
            "these lines do neither."
        )
        if known["text"].get("examples"):
            found.append("It leaves examples out first where a text would otherwise be cut.")
    return found
