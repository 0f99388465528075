"""Reading texts behind prompts of any methods and lengths in one pass, as a server does."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cpeft.models.fast.causal_reading import KeptPrompts, read_behind, read_each
from cpeft.models.fast.packed_llama import Known, PackedLlama
from cpeft.models.fast.packed_t5 import PackedT5
from cpeft.models.fast.reading import EncoderReading, Reading
from cpeft.models.loading import FrozenLM


@dataclass(frozen=True)
class RowPrompt:
    """The prompt of one text. `key` is equal for equal prompts; None where the prompt is of this text alone."""

    prompt_PD: Float[Tensor, "P D"]
    key: Hashable = None


@torch.no_grad()
def read_mixed(
    lm: FrozenLM,
    kept: KeptPrompts | None,
    prompts: Sequence[RowPrompt],
    sources: Sequence[Sequence[int]],
    new: Sequence[int],
) -> Reading | None:
    """Read the token ids of every row behind its prompt, for at most so many `new` tokens of it to follow. A decoder-only model
    takes keys and values of prompts with a key from `kept`. None where the model has no packed form for these rows."""
    packed = lm.packed
    if packed is None:
        return None
    texts = lm.embed(torch.tensor([token for ids in sources for token in ids])).split([len(ids) for ids in sources])
    if isinstance(packed, PackedT5):
        joined = [torch.cat([each.prompt_PD.to(x.dtype), x]) for each, x in zip(prompts, texts, strict=True)]
        x_ND, rows = packed.pack_each(joined)
        return EncoderReading(rows, {}, packed, packed.encode(x_ND, rows))
    assert kept is not None
    longest = max(len(each.prompt_PD) + len(ids) + n for each, ids, n in zip(prompts, sources, new, strict=True))
    if not packed.takes(longest):
        return None
    known, owners = _known(packed, kept, prompts, texts[0].dtype)
    x_BLD = pad_sequence(list(texts), batch_first=True)
    ids_BL = pad_sequence([torch.tensor(ids) for ids in sources], batch_first=True)
    mask_BL = torch.arange(ids_BL.shape[1]) < torch.tensor([len(ids) for ids in sources])[:, None]
    return read_behind(packed, known, torch.tensor(owners), x_BLD, ids_BL, mask_BL, {})


def _known(
    packed: PackedLlama, kept: KeptPrompts, prompts: Sequence[RowPrompt], dtype: torch.dtype
) -> tuple[list[Known], list[int]]:
    """Keys and values of every different prompt, and which one each row has."""
    by_key = {each.key: each.prompt_PD.to(dtype) for each in prompts if each.key is not None}
    own = [each.prompt_PD.to(dtype) for each in prompts if each.key is None]
    known = kept.of(list(by_key), list(by_key.values())) + read_each(packed, own)
    place, alone = {key: i for i, key in enumerate(by_key)}, iter(range(len(by_key), len(known)))
    return known, [next(alone) if each.key is None else place[each.key] for each in prompts]
