"""Writes a toy classification in the language of TinyStories: does the child end up happy or sad?

    python studies/causal-stories/stories.py FOLDER

Every row is a name, an opening and an event, e.g. "One day, Lily went outside. Her dog ran away." -> sad. No row is shared by
splits, but openings and events are: the test asks whether a prompt can make a tiny story model answer a question at all,
not whether it understands new events.
"""

import csv
import itertools
import sys
from pathlib import Path

import numpy as np

NAMES = ["Lily", "Tom", "Mia", "Ben", "Sue", "Max", "Anna", "Tim", "Sara", "Jack", "Lucy", "Sam"]
OPENINGS = [
    "One day, {} went to the park.",
    "Once upon a time, {} was at home.",
    "{} went outside in the morning.",
    "After lunch, {} sat under a tree.",
]
HAPPY = [
    "Mom gave a big hug.", "There was a new toy.", "A friend came to play.", "The sun was shining and the birds sang.",
    "Dad made a yummy cake.", "The lost cat came back.", "They played a fun game.", "There was a pretty rainbow.",
    "Grandma told a funny story.", "The puppy licked a hand.", "They won the race.", "There was a nice surprise.",
]  # fmt: skip
SAD = [
    "The toy broke.", "The dog ran away.", "Nobody wanted to play.", "It rained and the game was over.",
    "The ice cream fell on the ground.", "A big boy was mean.", "The balloon flew away.", "The best friend moved far away.",
    "The teddy bear was lost.", "A bee stung a finger.", "The tower of blocks fell down.", "The flower died.",
]  # fmt: skip
ROWS = {"train": 600, "validation": 150, "test": 400}


def write_tasks(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    events = [(event, "happy") for event in HAPPY] + [(event, "sad") for event in SAD]
    rows = [(f"{opening.format(name)} {event}", label) for name, opening, (event, label) in
            itertools.product(NAMES, OPENINGS, events)]  # fmt: skip
    order = np.random.default_rng(0).permutation(len(rows))
    start = 0
    for split, count in ROWS.items():
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(rows[i] for i in order[start : start + count])
        start += count
    files = "\n".join(f'{split} = "{split}.csv"' for split in ROWS)
    (folder / "feeling.toml").write_text(
        f'name = "feeling"\ntemplate = "{{text}}"\n[labels]\nhappy = "happy"\nsad = "sad"\n[files]\n{files}\n'
    )


if __name__ == "__main__":
    write_tasks(Path(sys.argv[1]))
