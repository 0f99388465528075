"""The LLaMA family (LLaMA, Qwen 2 and 3, Mistral) over packed rows behind shared prompts.

Why: behind causal attention a prompt does not depend on the texts that follow it, yet a batch computes it once for every
row, and pads the rows to their longest. Here every prompt of a batch is computed once, with its gradient, and the real tokens
of all rows stand behind it in one matrix [N, D]. Query, key and value are one product, gate and value of the feed-forward layer
another; logits are computed at label positions alone, the last layer computes what these need, and the first layer's
backward pass what the prompts need. What it gains is in `studies/speed`; its oracle is transformers' own module.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from cpeft.data.encode import IGNORE, Batch
from cpeft.data.options import Loss
from cpeft.models.fast.agreement import AGREE, agree, check_batch, is_plain
from cpeft.models.fast.causal_attention import Angles, CausalAttention, Layout, causal
from cpeft.models.fast.product import Product, arranges
from cpeft.models.fast.rows import PackedRows
from cpeft.models.fast.sublayers import FeedForward, Norm, precise_dtype
from cpeft.models.losses import precise, row_losses
from cpeft.models.support import shortest_window

KINDS = ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "MistralForCausalLM")
ROTARY = ("default", "linear", "llama3", "yarn")  # whose frequencies do not depend on the length of a text
# In bfloat16 the gradient of 30 layers is itself 0.13 off that of float32, by the module as by the packed form.
CLOSE = {**AGREE, torch.bfloat16: 0.3}
LEAD = 8  # common tokens from which on it pays to compute them once
Known = list[Tensor]  # keys and values, by layer or by span of rows


class _Block:
    """The sublayers of one decoder block."""

    def __init__(self, block: Any, arranged: bool) -> None:
        mlp = block.mlp
        self.attention = CausalAttention(block.input_layernorm, block.self_attn, arranged)
        into = [mlp.gate_proj, mlp.up_proj]
        norm = Norm.of(block.post_attention_layernorm)
        self.feed_forward = FeedForward(norm, into, mlp.act_fn, mlp.down_proj, arranged)


class PackedLlama:
    """The packed forward passes of one frozen model. `window` is how many positions its layers see, None for all."""

    def __init__(self, model: Any) -> None:
        arranged, body = arranges(model), model.model
        self.model, self.embed = model, model.get_input_embeddings()
        self.blocks = [_Block(block, arranged) for block in body.layers]
        self.norm, self.vocabulary = Norm.of(body.norm), Product([model.lm_head], arranged)
        self.window = shortest_window(model.config)

    def takes(self, positions: int) -> bool:
        """Whether rows of so many positions, prompts included, are computed here: within the window, and without dropout."""
        drops = self.model.training and self.model.model.layers[0].self_attn.attention_dropout > 0
        return not drops and (self.window is None or positions <= self.window)

    def losses(
        self, prompt_BPD: Tensor, x_BLD: Tensor, batch: Batch, alike_B: Tensor, loss: Loss = "answer"
    ) -> Float[Tensor, "B"]:
        """Summed cross-entropy (nats) of every row, as `example_losses` defines it; rows of one number in `alike_B` have the
        same prompt."""
        known_BT = batch.target_BT != IGNORE
        text_BLD = torch.cat([x_BLD, self.embed(batch.target_BT.masked_fill(~known_BT, 0))], 1)
        mask_BL = torch.cat([batch.mask_BL, known_BT], 1)
        source_label_BL = batch.source_BL.masked_fill(~(batch.mask_BL & (loss == "sequence")), IGNORE)
        label_BL = torch.cat([source_label_BL, batch.target_BT], 1)
        _, prompt_KPD, owner_B = distinct(prompt_BPD.to(x_BLD.dtype), alike_B)
        if loss == "answer" and len(prompt_KPD) < len(batch):
            lead = shared_lead(batch.source_BL, batch.mask_BL)
            prompt_KPD = behind(prompt_KPD, x_BLD[0, :lead].detach())
            text_BLD, mask_BL, label_BL = text_BLD[:, lead:], mask_BL[:, lead:], label_BL[:, lead:]
        rows = PackedRows.of((mask_BL.sum(1) - 1).clamp(min=1).tolist())  # a row's last token predicts nothing
        order_B = rows.order_B
        layout = self.layout(len(prompt_KPD), prompt_KPD.shape[1], rows, owner_B[order_B])
        rank_BL = mask_BL.cumsum(1)[order_B] - 1
        within = mask_BL[order_B] & (rank_BL < rows.length_B[:, None])
        x_ND = torch.cat([prompt_KPD.flatten(0, 1), text_BLD[order_B][within].detach()])
        at_BL = _before(rank_BL, layout)
        label_BL = label_BL[order_B].masked_fill(at_BL < 0, IGNORE)
        has_loss_BL = label_BL != IGNORE
        at_C, back_C = at_BL[has_loss_BL].unique(return_inverse=True)  # several rows may need the end of one prompt
        hidden = self.hidden(x_ND, layout, at_C)[back_C]
        token_losses = F.cross_entropy(self.logits(hidden), label_BL[has_loss_BL], reduction="none")
        owner = order_B[:, None].expand_as(has_loss_BL)[has_loss_BL]
        return token_losses.new_zeros(len(batch)).index_add(0, owner, token_losses)

    def layout(self, prompts: int, length: int, rows: PackedRows, owner_B: Int[Tensor, "B"]) -> Layout:
        """Where prompts and texts stand, each text's positions behind those of its prompt."""
        text = [torch.arange(n).repeat(count) for _, count, n in rows.spans]
        positions_N = torch.cat([torch.arange(length).repeat(prompts), torch.cat(text) + length])
        return Layout(prompts, length, rows, owner_B, self.angles(positions_N))

    def angles(self, positions_N: Int[Tensor, "N"]) -> Angles:
        """The rotation of every position, as the module computes it: in float32."""
        rotary, kind = self.model.model.rotary_emb, precise_dtype(self.embed.weight)
        angle_N1W = (positions_N.float()[:, None] * rotary.inv_freq.float())[:, None]
        scale = rotary.attention_scaling
        return Angles((angle_N1W.cos() * scale).to(kind), (angle_N1W.sin() * scale).to(kind))

    def hidden(self, x_ND: Float[Tensor, "N D"], layout: Layout, at_C: Int[Tensor, "C"]) -> Float[Tensor, "C D"]:
        """The hidden states from which logits are computed, at these places of packed prompts and texts."""
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            learns = layout.head if number == 0 else len(x_ND)
            x_ND = block.attention(x_ND, layout, learns, at_C if number == last else None)
            x_ND = block.feed_forward(x_ND)
        return self.norm(x_ND)

    def read(
        self, x_ND: Tensor, rows: PackedRows, positions_N: Tensor, contexts: Iterable[Sequence[Tensor | None]],
        own_LL: Tensor | None = None,
    ) -> tuple[Float[Tensor, "N D"], list[Known]]:  # fmt: skip
        """Rows through all layers, without gradient, and the keys and values by layer and span of what they saw and made.
        `contexts` are keys and values that they see, by layer and span; they see one another causally or as `own_LL` says."""
        angles, known = self.angles(positions_N), []
        own_LL = causal(rows.longest, x_ND) if own_LL is None else own_LL.to(precise_dtype(x_ND))
        for block, context in zip(self.blocks, contexts, strict=True):
            x_ND, made = block.attention.read(x_ND, rows, angles, context, own_LL)
            x_ND = block.feed_forward(x_ND)
            known.append(made)
        return x_ND, known

    def read_prompts(self, prompt_KPD: Float[Tensor, "K P D"]) -> Known:
        """Keys and values of prompts by layer, [2, K, keys, P, width]."""
        count, length, _ = prompt_KPD.shape
        if not length:
            return [block.attention.nothing(count, prompt_KPD) for block in self.blocks]
        rows, positions_N = PackedRows.of([length] * count), torch.arange(length).repeat(count)
        _, known = self.read(prompt_KPD.flatten(0, 1), rows, positions_N, [[None]] * len(self.blocks))
        return [layer[0] for layer in known]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits, float32 at least."""
        return precise(self.vocabulary(hidden))


def shared_lead(source_BL: Int[Tensor, "B L"], mask_BL: Tensor) -> int:
    """The number of tokens that all texts begin with, such as an instruction: they are computed once behind each prompt. Every
    text keeps a token of its own; 0 for fewer than `LEAD`."""
    same_L = ((source_BL == source_BL[0]) & mask_BL).all(0)
    count = min(int(same_L.cumprod(0).sum()), int(mask_BL.sum(1).min()) - 1)
    return count if count >= LEAD else 0


def behind(prompt_KPD: Float[Tensor, "K P D"], lead_SD: Float[Tensor, "S D"]) -> Float[Tensor, "K N D"]:
    """Prompts with the same tokens behind each."""
    return torch.cat([prompt_KPD, lead_SD.expand(len(prompt_KPD), -1, -1)], 1)


def distinct(
    prompt_BPD: Tensor, alike_B: Int[Tensor, "B"]
) -> tuple[list[int], Float[Tensor, "K P D"], Int[Tensor, "B"]]:
    """The distinct prompts with their numbers in `alike_B`, and the prompt of every row."""
    numbers, owner_B = alike_B.unique(return_inverse=True)
    places = owner_B.tolist()
    return numbers.tolist(), prompt_BPD[[places.index(number) for number in range(len(numbers))]], owner_B


def _before(rank_BL: Tensor, layout: Layout) -> Int[Tensor, "B L"]:
    """The packed place that stands before each token of these texts, by the token's rank in its row: in the text, else the end
    of the prompt; -1 where there is neither."""
    length_B = layout.rows.length_B
    start_B = layout.head + length_B.cumsum(0) - length_B
    end_B = (layout.owner_B + 1) * layout.length - 1 if layout.length else torch.full_like(layout.owner_B, -1)
    return torch.where(rank_BL > 0, start_B[:, None] + rank_BL - 1, end_B[:, None])


def packed_llama(model: Any) -> PackedLlama | None:
    """The packed form of a frozen model on the CPU, or None where it is another kind of model, changed in any way, or does not
    agree with its own module."""
    if type(model).__name__ not in KINDS or not is_plain(model, biases=True):
        return None
    rotary = model.model.rotary_emb
    whole = 2 * len(rotary.inv_freq) == model.model.layers[0].self_attn.head_dim
    if rotary.rope_type not in ROTARY or not whole:
        return None
    packed, training = PackedLlama(model), model.training
    model.eval()  # dropout is the module's alone
    agrees = _agrees(packed, model)
    model.train(training)
    return packed if agrees else None


def _agrees(packed: PackedLlama, model: Any) -> bool:
    """Whether loss and gradient of a prompt are those of the module, on the actual weights and rows of unlike lengths."""
    batch = check_batch(model)
    one = torch.zeros(len(batch), dtype=torch.long)
    known_BT = batch.target_BT != IGNORE

    def by_module(prompt_BPD: Tensor, x_BLD: Tensor) -> Tensor:
        losses = []
        for row, prompt_PD in enumerate(prompt_BPD):
            target_T = batch.target_BT[row][known_BT[row]]
            parts = [prompt_PD, x_BLD[row][batch.mask_BL[row]], packed.embed(target_T)]
            logits_BLV = model(inputs_embeds=torch.cat(parts)[None], use_cache=False).logits
            losses.append(row_losses(logits_BLV[:, -len(target_T) - 1 : -1], target_T[None]))
        return torch.cat(losses)

    return agree(model, batch, lambda prompt_BPD, x_BLD: packed.losses(prompt_BPD, x_BLD, batch, one), by_module, CLOSE)
