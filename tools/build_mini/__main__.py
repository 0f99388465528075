"""Builds the embedded model: vocabulary, pre-training, and the folder that goes into the package.

    python -m tools.build_mini OUT --corpus ../shared/corpus --data ../shared/data

The same command goes on where it was stopped. OUT keeps vocabulary, token ids, checkpoint, log.jsonl and the finished `mini/`.
"""

import argparse
from pathlib import Path

from tools.build_mini import corpus, vocabulary
from tools.build_mini.mixture import Mixture
from tools.build_mini.pretrain import Pretraining

SEED = 0
STEPS, DECAY = 20_000, 5000  # in all, and with falling rate at the end
TEXT = 20_000_000  # characters of the books the vocabulary is learned from


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if not (given.out / "tokenizer.json").exists():
        vocabulary.build_tokenizer(corpus.texts(given.corpus, given.data, TEXT), given.out)
    training = Pretraining(Mixture(given.corpus, given.data, given.out, SEED), given.out)
    training.run(STEPS, DECAY)
    training.export(given.out / "mini")


if __name__ == "__main__":
    main()
