"""The figures of this study's claims: python -m studies.vectors-minilm.claims STORE"""

import sys
from pathlib import Path

from studies.vector_claims import Design, Target, claims

DESIGN = Design(
    families=(("mnli", "qnli", "snli"), ("sst2", "yelp_stars", "imdb"), ("trec", "ag_news")),
    targets=(
        Target("snli", {"mnli": "SPoT mnli", "qnli": "SPoT qnli"}, {"sst2": "SPoT sst2", "trec": "SPoT trec"}),
        Target("imdb", {"sst2": "SPoT sst2", "yelp_stars": "SPoT yelp_stars"}, {"mnli": "SPoT mnli", "trec": "SPoT trec"}),
    ),
)  # fmt: skip

if __name__ == "__main__":
    print("\n".join(claims(Path(sys.argv[1]), DESIGN)))
