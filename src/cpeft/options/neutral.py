"""Settings that do not change a result: they enter no run id, and no label of a run."""

from cpeft.config import Table

# how a run shares the machine, what it costs, who watches, and what is kept of its answers
TABLES = ("gang", "energy", "track", "predictions")
KEYS = ("eval.token_budget", "train.log_every", "train.checkpoint_every", "model.name", "model.file", "model.device",
        "model.dtype", "data.folder")  # fmt: skip


def is_neutral(key: str) -> bool:
    """Whether a setting, a dotted key, is one of them."""
    return key in KEYS or key.partition(".")[0] in TABLES


def deciding(settings: Table) -> Table:
    """Settings without those."""
    kept = {name: value for name, value in settings.items() if not is_neutral(name)}
    for name, value in kept.items():
        if isinstance(value, dict):
            kept[name] = {key: inner for key, inner in value.items() if not is_neutral(f"{name}.{key}")}
    return kept
