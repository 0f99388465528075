"""Closed choice: the label that is the most probable answer, plain and calibrated.

    choice        argmax_c  log p(c | x)
    calibrated    argmax_c  log p(c | x) - log p_cf(c)
                  p_cf(c) = 1/N Σ_i  p(c | x_i) / Σ_c' p(c' | x_i)

p(c | x) is the probability of the whole label c, with its end token, after the text x. The x_i are texts without content: the
source of a row whose every field is "N/A", "[MASK]" or empty (`Task.without_content`), with the text options of the run (the
same instruction, cue, template and examples). A preference on these texts does not depend on the input, so it is removed.
This is the contextual calibration of Zhao et al. (2021, "Calibrate Before Use", section 4: W = diag(p_cf)^-1, b = 0, the mean
over these three inputs), who use the probability of a label's first token; here it is that of the whole label. With one x_i
it would be the domain-conditional PMI of Holtzman et al. (2021, "Surface Form Competition").
"""

from collections.abc import Sequence
from functools import lru_cache, partial

import torch
from jaxtyping import Float
from torch import Tensor

from cpeft.data.rows import EncodedRow
from cpeft.errors import ConfigError
from cpeft.models.fast.label_trie import LabelTrie
from cpeft.models.prompted import PromptedLM
from cpeft.models.text import TextCodec
from cpeft.training.memory import in_groups


@lru_cache(maxsize=64)
def label_trie(codec: TextCodec, labels: tuple[str, ...]) -> LabelTrie:
    """The tree of a label set's tokens; built once, for a server asks for it with every batch."""
    return LabelTrie([tuple(ids) for ids in codec.targets(list(labels))])


@torch.no_grad()
def label_scores(learner: PromptedLM, rows: Sequence[EncodedRow], labels: Sequence[str]) -> Float[Tensor, "B C"]:
    """The log-probability (nats) of every label, with its end token, as the answer to every row. A packed model reads each row
    once for all labels."""
    label_ids = [tuple(ids) for ids in learner.text.targets(list(labels))]
    batch = learner.layout.batch(rows).to(learner.lm.device)
    longest = max(map(len, label_ids))
    if reading := learner.read(batch.source_BL, batch.mask_BL, batch.task_B, longest):
        scores_BC = reading.answers(label_trie(learner.text, tuple(labels)), greedy=False).scores_BC
        assert scores_BC is not None  # `greedy=False` always computes them
        return scores_BC
    return learner.label_scores(batch, label_ids)


def prior(
    learner: PromptedLM, content_free: Sequence[EncodedRow], labels: Sequence[str], budget: int
) -> Float[Tensor, "C"]:
    """log p_cf of every label from rows without content, read `budget` tokens at once. Raises ConfigError without such rows."""
    if not content_free:
        raise ConfigError(
            "calibrated choice goes by rows without content (`TaskData.content_free`), and none are given"
        )
    found = in_groups(partial(label_scores, learner, labels=labels), content_free, learner.layout, budget)
    scores_NC = torch.cat([scores for _, scores in found]).double()
    return scores_NC.log_softmax(1).logsumexp(0) - torch.tensor(float(len(scores_NC))).log()


def best(scores_BC: Float[Tensor, "B C"], labels: Sequence[str]) -> list[str]:
    """The label of the highest score for every row."""
    return [labels[i] for i in scores_BC.argmax(1).tolist()]
