"""Does the similarity of vectors foretell transfer? `python -m studies.tpv-smollm2.transfer`, from the committed data.

gain(source, target) = score of the source's prompt on the target - score of the origin alone, points
rho                  = Spearman's correlation over all pairs of the cosine of their vectors with the gain, for each origin
"""

from pathlib import Path

import pandas as pd
from scipy import stats
from studies.claims.frames import scores, tidy
from studies.scores import table

from cpeft.stats.intervals import t_interval
from cpeft.store.similarity import SavedSimilarity, read_similarity

DATA = Path(__file__).parent / "data"
TASKS = ("sst2", "trec", "imdb", "yelp_stars")
STAGES = {  # source on each target, by stage
    "transfer-1": {"sst2": "imdb", "trec": "imdb", "imdb": "sst2", "yelp_stars": "sst2"},
    "transfer-2": {"sst2": "yelp_stars", "trec": "yelp_stars", "imdb": "yelp_stars", "yelp_stars": "imdb"},
    "unrelated": {"sst2": "trec", "trec": "sst2", "imdb": "trec", "yelp_stars": "trec"},
}
MEASURES = (("vectors", "flattened"), ("vectors", "token_mean"), ("prompts", "token_mean"))
Gains = dict[tuple[str, str, int], float]  # by source, target and origin


def transfer(frame: pd.DataFrame, found: SavedSimilarity) -> list[str]:
    gained = gains(frame)
    seeds = sorted({seed for *_, seed in gained})
    means = pd.Series(gained).groupby(level=[0, 1]).mean().to_dict()
    cells = [
        [source, *(f"{means[source, target]:+.1f}" if source != target else "" for target in TASKS)] for source in TASKS
    ]
    ranked = []
    for what, measure in MEASURES:
        alike = cosines(found, what, measure)
        rhos = [rank(alike, gained, seed) for seed in seeds]
        low, high = t_interval(rhos)
        each = " ".join(f"{rho:+.2f}" for rho in rhos)
        ranked.append(
            [f"{what}, {measure}", f"{sum(rhos) / len(rhos):+.2f} [{max(low, -1):+.2f}, {min(high, 1):+.2f}]", each]
        )
    return [
        *table(["source", *(f"on {task}" for task in TASKS)], cells),
        "",
        *table(["similarity of", "mean rho", "every origin"], ranked),
    ]


def gains(frame: pd.DataFrame) -> Gains:
    alone = scores(frame, "origins", "origin alone")
    return {
        (source, target, seed): value - alone[target, seed]
        for stage, sources in STAGES.items()
        for target, source in sources.items()
        for (_, seed), value in scores(frame, stage, *frame["label"].unique(), tasks=[target]).items()
    }


def cosines(found: SavedSimilarity, what: str, measure: str) -> Gains:
    """The cosine of two prompts of one origin, by both tasks and the origin's seed."""
    (card,) = [card for card in found.cards if (card.what, card.rows) == (what, "live")]
    names = [(task, int(seed)) for task, seed in (each.name.split("@") for each in card.prompts)]
    return {
        (one, two, seed): card.matrices[measure][i][j]
        for i, (one, seed) in enumerate(names)
        for j, (two, other) in enumerate(names)
        if seed == other and one != two
    }


def rank(alike: Gains, gained: Gains, seed: int) -> float:
    pairs = [key for key in gained if key[2] == seed]
    return float(stats.spearmanr([alike[key] for key in pairs], [gained[key] for key in pairs]).statistic)


if __name__ == "__main__":
    saved = read_similarity(DATA / "similarity.json")
    assert saved is not None
    print("\n".join(transfer(tidy(pd.read_parquet(DATA / "scores.parquet")), saved)))
