"""Rows on ATTEMPT's prompts alone: time and memory beside the published formula."""

import torch

from benchmarks.measure import Ratio, compare
from benchmarks.peers import published_mixture
from benchmarks.scene import frozen, learner, model
from cpeft.methods.base import PromptContext, PromptMethod


def scene(sources: int, batch: int) -> tuple[PromptMethod, PromptContext]:
    """A mixture of `sources` prompts of 100 rows and width 768, and texts of up to 256 tokens."""
    lm = frozen(model("base", layers=1))
    lengths = torch.linspace(40, 256, batch).long()
    ids_BL = torch.randint(3, 32000, (batch, 256), generator=torch.Generator().manual_seed(0))
    mask_BL = torch.arange(256) < lengths[:, None]
    context = PromptContext(lm.embed(ids_BL).float(), mask_BL, torch.zeros(batch, dtype=torch.long))
    return learner(lm, "attempt", sources).method, context


def mixture(sources: int, batch: int, rounds: int, walls: int) -> Ratio:
    """ATTEMPT's prompts, forward and backward, beside the published formula."""
    method, context = scene(sources, batch)
    theirs = published_mixture(method, context.x_BLD, context.mask_BL)
    off = float((method(context).prompt_BPD - theirs).detach().abs().max())
    if off > 1e-3:
        raise SystemExit(f"not the same prompts: {off}")
    name = f"ATTEMPT's mixture, {sources} sources, width 768, batch {batch}, forward and backward"
    given = method, context.x_BLD, context.mask_BL
    return compare(name, "the published formula", f"same prompts to {off:.0e}",
                   lambda: method(context).prompt_BPD.sum().backward(),
                   lambda: published_mixture(*given).sum().backward(), rounds, walls)  # fmt: skip
