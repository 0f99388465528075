"""What a prompt starts from (Lester et al. 2021, section 3.1, and the papers that build on it).

Fresh prompts are drawn from the embedding table of the model, so that they start at the scale the model reads: T5's
entries are of order 10, LLaMA's of order 0.01, and a standard normal draw is far from both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cpeft.config import Options
from cpeft.errors import ConfigError, PromptError, PromptMismatch
from cpeft.prompts.expression import Expression, Fresh, Mean, Name, parse_expression
from cpeft.prompts.soft_prompt import SoftPrompt, check_same_space


class PromptOptions(Options):
    """`[prompt]`: `length` rows really prepended; `init` an expression; `vocab_range` the ids `vocab` draws from, last
    one included (0..4999 in all papers)."""

    length: int = 100
    init: str = "vocab"
    vocab_range: tuple[int, int] = (0, 4999)


@dataclass(frozen=True)
class Vocabulary:
    """What initialisers need of a model: its embedding table (V, D) in float32 and a text -> ids function."""

    table_VD: Float[Tensor, "V D"]
    encode: Callable[[str], list[int]]


def random(vocabulary: Vocabulary, length: int, rng: np.random.Generator) -> Float[Tensor, "P D"]:
    """Normal rows with the root-mean-square entry of the embedding table."""
    table_VD = vocabulary.table_VD
    scale = float(table_VD.float().pow(2).mean().sqrt())
    return torch.from_numpy(rng.standard_normal((length, table_VD.shape[1])) * scale).float()


def vocab(
    vocabulary: Vocabulary, length: int, rng: np.random.Generator, id_range: tuple[int, int]
) -> Float[Tensor, "P D"]:
    """Embeddings of distinct token ids drawn from `id_range` (last id included, cut to the table)."""
    low, high = id_range[0], min(id_range[1] + 1, vocabulary.table_VD.shape[0])
    if high - low < length:
        raise ConfigError(f"prompt.vocab_range {list(id_range)} holds {high - low} ids, the prompt has {length} rows")
    ids = low + rng.permutation(high - low)[:length]
    return vocabulary.table_VD[torch.from_numpy(ids)].float()


def text(vocabulary: Vocabulary, length: int, words: str) -> Float[Tensor, "P D"]:
    """Embeddings of the tokens of a text, repeated or cut to `length`."""
    ids = vocabulary.encode(words)
    if not ids:
        raise ConfigError(f"prompt.init text({words!r}) has no tokens")
    return vocabulary.table_VD[torch.tensor([ids[i % len(ids)] for i in range(length)])].float()


def labels(
    vocabulary: Vocabulary, length: int, rng: np.random.Generator, words: Sequence[str], id_range: tuple[int, int]
) -> Float[Tensor, "P D"]:
    """One row per class label, the mean of its tokens' embeddings, then a vocabulary sample (Lester et al. 2021)."""
    if not words:
        raise ConfigError("prompt.init = 'labels' needs a task with a closed label set; use 'vocab'")
    rows = [vocabulary.table_VD[torch.tensor(vocabulary.encode(word))].float().mean(0) for word in words[:length]]
    if length == len(rows):
        return torch.stack(rows)
    return torch.cat([torch.stack(rows), vocab(vocabulary, length - len(rows), rng, id_range)])


def initial_prompt(
    options: PromptOptions,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    label_words: Sequence[str],
    resolve: Callable[[str], SoftPrompt],
) -> Float[Tensor, "P D"]:
    """The matrix an init expression stands for; other prompts come through `resolve(name)`.

    A prompt whose rows are not `options.length` is an error, never a silent cut.
    """

    def value(expression: Expression) -> Float[Tensor, "P D"]:
        if isinstance(expression, Name):
            return _fitting(resolve(expression.value), expression.value).weight
        if isinstance(expression, Mean):
            named = [resolve(part.value) for part in expression.parts if isinstance(part, Name)]
            if named:
                check_same_space(*named)
            return torch.stack([value(part) for part in expression.parts]).mean(0)
        return _fresh(expression)

    def _fitting(prompt: SoftPrompt, name: str) -> SoftPrompt:
        if prompt.length != options.length:
            raise PromptError(f"prompt '{name}' has {prompt.length} rows, prompt.length is {options.length}")
        if prompt.width != vocabulary.table_VD.shape[1]:
            raise PromptMismatch(f"prompt '{name}' has width {prompt.width}, the model {vocabulary.table_VD.shape[1]}")
        return prompt

    def _fresh(expression: Fresh) -> Float[Tensor, "P D"]:
        if expression.kind == "random":
            return random(vocabulary, options.length, rng)
        if expression.kind == "vocab":
            return vocab(vocabulary, options.length, rng, options.vocab_range)
        if expression.kind == "labels":
            return labels(vocabulary, options.length, rng, label_words, options.vocab_range)
        return text(vocabulary, options.length, expression.text)

    return value(parse_expression(options.init))
