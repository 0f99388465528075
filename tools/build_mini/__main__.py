"""Builds the embedded model: vocabulary, pre-training, and the folder that goes into the package.

    torchrun --nproc-per-node 2 -m tools.build_mini OUT --corpus ../shared/corpus --data ../shared/data

One process per core, each with a batch of its own (OMP_NUM_THREADS=1); the number of processes is part of the build. The same
command goes on where it was stopped. OUT keeps vocabulary, token ids, checkpoint, log.jsonl and the finished `mini/`.
"""

import argparse
import os
from pathlib import Path

from torch import distributed

from tools.build_mini import corpus, vocabulary
from tools.build_mini.mixture import Mixture
from tools.build_mini.pretrain import Pretraining

SEED = 0
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
    if "WORLD_SIZE" in os.environ:
        distributed.init_process_group("gloo")
    training = Pretraining(Mixture(given.corpus, given.data, given.out, SEED), given.out)
    training.run()
    if training.rank == 0:
        training.export(given.out / "mini")
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
