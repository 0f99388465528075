"""Builds a tiny text-to-text model and the rows of three toy tasks: about a minute on one core.

    python studies/doubled-prompts/tiny_model.py FOLDER

The language has adjectives of two moods, nouns of two topics, people of two ranks and filler words. The model (a T5 of 0.2
million parameters) learns from a mixture in which the head of the input names the question and the answer words, as in
"mood good bad : ..." or "topic cat oak : ...". The tasks leave that head out, so that a prompt has to carry it. FOLDER gets
`model/` and the tasks' training rows as CSV files. It is a toy and measures nothing.
"""

import csv
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

GOOD = ["sunny", "kind", "bright", "warm", "gentle", "lovely", "calm", "merry"]
BAD = ["gloomy", "cruel", "dark", "cold", "harsh", "nasty", "angry", "bitter"]
ANIMALS = ["cat", "dog", "horse", "owl", "trout", "badger", "heron", "mouse"]
PLANTS = ["oak", "rose", "fern", "moss", "birch", "clover", "thistle", "pine"]
NOBLES = ["king", "queen", "duke", "knight", "baron", "prince", "lady", "earl"]
FOLK = ["farmer", "baker", "miller", "smith", "weaver", "tailor", "maid", "cook"]
FILLERS = ["the", "a", "near", "under", "with", "and", "then", "was", "by", "of", "over"]
ANSWERS = ["good", "bad", "yes", "no", "up", "down", "animal", "plant", "high", "low"]
HEADS = ["mood", "topic", "rank", ":"]
SPECIAL = ["<pad>", "</s>", "<unk>"]
QUESTIONS = {"mood": ("good", "bad"), "topic": ("animal", "plant"), "rank": ("high", "low")}


def sentence(rng: np.random.Generator) -> tuple[str, dict[str, int]]:
    """A sentence and the answer (0 or 1) to every question about it."""
    truth, words = {}, [FILLERS[i] for i in rng.integers(len(FILLERS), size=4)]
    for question, groups in {"mood": (GOOD, BAD), "topic": (ANIMALS, PLANTS), "rank": (NOBLES, FOLK)}.items():
        truth[question] = answer = int(rng.integers(2))  # two words of the group that answers, one of the other
        words += [groups[answer][i] for i in rng.integers(8, size=2)] + [groups[1 - answer][rng.integers(8)]]
    return " ".join(rng.permutation(words)), truth


def head(rng: np.random.Generator) -> tuple[str, tuple[str, str], str]:
    """A question with two answer words drawn anew, as text the model reads."""
    question = str(rng.choice(list(QUESTIONS)))
    first, second = rng.choice(ANSWERS, size=2, replace=False) if rng.random() < 0.5 else QUESTIONS[question]
    return question, (str(first), str(second)), f"{question} {first} {second} :"


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = [*SPECIAL, *HEADS, *ANSWERS, *GOOD, *BAD, *ANIMALS, *PLANTS, *NOBLES, *FOLK, *FILLERS]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(dict.fromkeys(words))}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def train_model(tokenizer: PreTrainedTokenizerFast, steps: int = 1500, batch: int = 64) -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=64, d_kv=16, d_ff=128, num_layers=3, num_decoder_layers=1, num_heads=4,
        dropout_rate=0.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        texts, answers = [], []
        for _ in range(batch):
            text, truth = sentence(rng)
            question, words, opening = head(rng)
            texts.append(f"{opening} {text}")
            answers.append(words[truth[question]])
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        labels = torch.tensor([[tokenizer.convert_tokens_to_ids(answer), 1] for answer in answers])
        loss = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if (step + 1) % 250 == 0:
            print(f"tiny model: step {step + 1}/{steps}, loss {loss.item():.3f}", flush=True)
    return model.eval()


SPLITS = {"train": 1000, "validation": 200, "test": 400}


def write_task(folder: Path, question: str) -> None:
    """A task of distinct sentences with their answers, no sentence in two splits."""
    rng = np.random.default_rng([0, *question.encode()])
    rows: dict[str, int] = {}
    while len(rows) < sum(SPLITS.values()):
        text, truth = sentence(rng)
        rows.setdefault(text, truth[question])
    left = iter(rows.items())
    for split, count in SPLITS.items():
        with (folder / f"{question}-{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *islice(left, count)])
    labels = "".join(f'{i} = "{word}"\n' for i, word in enumerate(QUESTIONS[question]))
    files = "".join(f'{split} = "{question}-{split}.csv"\n' for split in SPLITS)
    (folder / f"{question}.toml").write_text(
        f'name = "toy_{question}"\ntemplate = "{{text}}"\n[labels]\n{labels}[files]\n{files}'
    )


def main(folder: Path) -> None:
    if (folder / "model" / "config.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for question in QUESTIONS:
        write_task(folder, question)
    tokenizer = make_tokenizer()
    model = train_model(tokenizer)
    tokenizer.save_pretrained(folder / "model")
    model.save_pretrained(folder / "model")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
