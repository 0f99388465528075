"""Initialisation of prompts (Lester et al. 2021, section 3.1, and later papers).

Fresh prompts are drawn from the embedding table of the model, so that they start at the scale of the model's
inputs: T5's entries are of order 10, LLaMA's of order 0.01, and a standard normal draw is far from both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cpeft.errors import ConfigError, PromptError, PromptMismatch
from cpeft.options.prompt import PromptOptions
from cpeft.prompts.formula.evaluate import compose
from cpeft.prompts.formula.tree import Fresh
from cpeft.prompts.soft_prompt import SoftPrompt, check_same_space


@dataclass(frozen=True)
class Vocabulary:
    """The parts of a model that initialisers need: its embedding table (V, D) in float32 and a text -> ids function."""

    table_VD: Float[Tensor, "V D"]
    encode: Callable[[str], list[int]]

    @property
    def rms(self) -> float:
        """Root-mean-square entry of the table, the scale of random rows and of default learning rates."""
        return float(self.table_VD.pow(2).mean().sqrt())


def initial_prompt(
    options: PromptOptions,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    label_words: Sequence[str],
    resolve: Callable[[str], SoftPrompt],
) -> Float[Tensor, "P D"]:
    """The value of `options.init`, a matrix of `options.stored_length` rows. Prompts that it names are read by `resolve(name)`;
    one of another length is an error and is never cut silently.

    `random`: normal rows with the root-mean-square entry of the embedding table. `text`: embeddings of its tokens, repeated
    or cut. `vocab`: embeddings of distinct ids of `vocab_range`, cut to the table. `labels`: one row per class label, the
    mean of its tokens' embeddings, then a vocabulary sample (Lester et al. 2021)."""
    table_VD, length = vocabulary.table_VD, options.stored_length
    width = table_VD.shape[1]
    prompts = {name: resolve(name) for name in options.init.names}
    check_same_space(*prompts.values())
    for name, prompt in prompts.items():
        if prompt.length != length:
            wanted = f"prompt.length is {options.length}"
            wanted += f" and prompt.rows = 'doubled' stores {length}" if options.rows == "doubled" else ""
            raise PromptError(f"prompt '{name}' has {prompt.length} rows, {wanted}")
        if prompt.width != width:
            raise PromptMismatch(f"prompt '{name}' has width {prompt.width}, the model {width}")

    def fresh(part: Fresh) -> Float[Tensor, "P D"]:
        if part.kind == "random":
            return torch.from_numpy(rng.standard_normal((length, width)) * vocabulary.rms).float()
        if part.kind == "text":
            ids = vocabulary.encode(part.text)
            if not ids:
                raise ConfigError(f"prompt.init text({part.text!r}) has no tokens")
            return table_VD[torch.tensor([ids[i % len(ids)] for i in range(length)])]
        if part.kind == "labels" and not label_words:
            raise ConfigError("prompt.init = 'labels' needs a task with a closed label set; use 'vocab'")
        words = label_words[:length] if part.kind == "labels" else ()
        means = [table_VD[torch.tensor(vocabulary.encode(word))].mean(0) for word in words]
        rows_PD = torch.stack(means) if means else table_VD[:0]
        if len(rows_PD) == length:
            return rows_PD
        (low, last), more = options.vocab_range, length - len(rows_PD)
        count = min(last + 1, len(table_VD)) - low
        if count < more:
            raise ConfigError(f"prompt.vocab_range {[low, last]} holds {count} ids, the prompt has {more} rows")
        return torch.cat([rows_PD, table_VD[torch.from_numpy(low + rng.permutation(count)[:more])]])

    return compose(options.init, prompts, fresh).weight
