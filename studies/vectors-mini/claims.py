"""The figures of this study's claims: python -m studies.vectors-mini.claims STORE"""

import sys
from pathlib import Path

from studies.vector_claims import Design, Target, claims

DESIGN = Design(
    families=(
        ("mini/entailment", "mini/paraphrase", "qnli", "stsb", "snli"),
        ("mini/sentiment", "mini/topic", "mini/mood"),
    ),
    targets=(
        Target("snli", {"mini/entailment": "SPoT entailment", "qnli": "SPoT qnli"}, {"mini/sentiment": "SPoT sentiment"}),
        Target("mini/mood", {"mini/sentiment": "SPoT sentiment", "mini/topic": "SPoT topic"},
               {"mini/entailment": "SPoT entailment"}),
    ),
)  # fmt: skip

if __name__ == "__main__":
    print("\n".join(claims(Path(sys.argv[1]), DESIGN)))
