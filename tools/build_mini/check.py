"""Held-out loss of a finished `mini` against a unigram model: span corruption over books it has never seen.

python -m tools.build_mini.check OUT --corpus ../shared/corpus --data ../shared/data
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import T5ForConditionalGeneration

from tools.build_mini.corpus import token_ids
from tools.build_mini.mixture import PAD, Mixture
from tools.build_mini.vocabulary import SENTINELS, SIZE

BATCHES = 40


@torch.no_grad()
def losses(mixture: Mixture, model: T5ForConditionalGeneration, unigram: torch.Tensor) -> dict[str, float]:
    """Nats per word token of the spans (sentinels and the end left out), of the model and of the unigram frequencies."""
    sums, count = torch.zeros(2), 0
    for step in range(BATCHES):
        batch = mixture.plain_spans(step)
        logits = model(input_ids=batch.source, attention_mask=batch.mask, labels=batch.labels).logits.float()
        token = cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=-100, reduction="none")
        labels = batch.labels.flatten()
        words = (labels > 2) & (labels < SIZE - SENTINELS)
        sums += torch.stack([token[words].sum(), -unigram[labels[words]].sum()])
        count += int(words.sum())
    return {"model": float(sums[0] / count), "unigram": float(sums[1] / count), "tokens": count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    counts = np.bincount(token_ids(given.corpus, "train", given.out), minlength=SIZE) + 1.0
    mixture = Mixture(given.corpus, given.data, given.out, seed=1, split="validation")
    model = T5ForConditionalGeneration.from_pretrained(given.out / "mini", dtype=torch.float32).eval()
    assert model.config.pad_token_id == PAD
    print(json.dumps(losses(mixture, model, torch.from_numpy(np.log(counts / counts.sum())).float())))


if __name__ == "__main__":
    main()
