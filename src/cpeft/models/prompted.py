"""A frozen model behind a prompt method: loss per example, generation, scores.

    encoder-decoder   encoder input = [prompt ; source],          loss on the target
    decoder-only      input         = [prompt ; source ; target], loss on the target

The method sees only the source, in training and in `generate`, so an example gets the same prompt in both.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutput

from cpeft.data.encode import IGNORE, Batch, BatchLayout, collate
from cpeft.data.options import DataOptions, Loss
from cpeft.data.rows import EncodedRow
from cpeft.errors import ConfigError
from cpeft.methods.base import ParamGroup, PromptContext, PromptMethod, PromptOutput
from cpeft.models.example_losses import example_losses
from cpeft.models.fast.causal_reading import KeptPrompts, read_texts
from cpeft.models.fast.packed_llama import PackedLlama
from cpeft.models.fast.packed_t5 import PackedT5
from cpeft.models.fast.reading import EncoderReading, Reading
from cpeft.models.loading import FrozenLM
from cpeft.models.losses import precise, row_losses
from cpeft.models.splice import before_labels, join, rearrange
from cpeft.models.text import TextCodec
from cpeft.prompts.soft_prompt import SoftPrompt

MANY = {"num_beams", "num_return_sequences"}  # these make several rows of one, so keys and values are not kept
Losses = tuple[Float[Tensor, "B"], dict[str, Tensor]]


class PromptedLM(nn.Module):
    """`lm` frozen, `method` trained: only the method is part of `parameters()` and `state_dict()`. `data` are the text options
    the prompt is trained under (prefix, labels, cue, widths), `subset` the seed that draws training rows and examples."""

    def __init__(self, lm: FrozenLM, method: PromptMethod, data: DataOptions | None = None, subset: int = 0) -> None:
        super().__init__()
        self.lm = lm
        self.method = method.to(lm.device)
        self.data, self.subset = data or DataOptions(), subset
        self.asked: dict[str, Any] = {}  # by task, how exported prompts record the text around a row
        self._cached: tuple[Tensor, Any] | None = None  # a prompt and its keys and values on a decoder-only model
        self._kept: KeptPrompts | None = None  # the same in the model's packed form
        if self.data.loss == "sequence" and lm.encoder_decoder:
            raise ConfigError("data.loss = 'sequence' is for decoder-only models; an encoder's input has no loss")

    def under(self, data: DataOptions) -> "PromptedLM":
        """The same learner under other text options."""
        return type(self)(self.lm, self.method, data, self.subset)

    @property
    def text(self) -> TextCodec:
        """How this learner reads and writes text."""
        return self.lm.codec(self.data.form)

    @property
    def layout(self) -> BatchLayout:
        """How rows become batches for this learner."""
        max_length = self.data.max_source if self.data.padding == "room" else None
        pad, decoder_only = self.lm.text.pad or 0, not self.lm.encoder_decoder
        return BatchLayout(pad, max_length, self.method.length, counts_target=decoder_only, loss=self.data.loss)

    def prompts(self, x_BLD: Tensor, mask_BL: Tensor, task_B: Tensor) -> PromptOutput:
        """The prompt of every row, its live rows alone; `mask_BL` marks the source tokens."""
        output = self.method.prompts_of(self._context(x_BLD, mask_BL, task_B))
        if self.method.live is None:
            return output
        return replace(output, prompt_BPD=output.prompt_BPD[:, : self.method.live])

    def alike(self, task_B: Tensor) -> Int[Tensor, "B"]:
        """Numbers that are equal where rows have the same prompt."""
        if self.method.reads_input:
            return torch.arange(len(task_B), device=task_B.device)
        return task_B if self.method.by_task else torch.zeros_like(task_B)

    def _context(self, x_BLD: Tensor, mask_BL: Tensor, task_B: Tensor) -> PromptContext:
        pad_D = self.lm.embed(torch.tensor(self.lm.text.pad or 0, device=self.lm.device))
        return PromptContext(x_BLD.detach(), mask_BL, task_B, pad_D.detach(), self.data.max_source)

    def calibrate(self, batch: Batch) -> None:
        """Let the method see the first batch of a run before its first step."""
        batch = batch.to(self.lm.device)
        self.method.calibrate(self._context(self.lm.embed(batch.source_BL), batch.mask_BL, batch.task_B))

    def losses(self, batch: Batch) -> Losses:
        """Summed loss of every row over the tokens that `data.loss` names, and the method's extras."""
        return self._losses(batch, self.data.loss)

    def _losses(self, batch: Batch, loss: Loss) -> Losses:
        batch = batch.to(self.lm.device)
        x_BLD = self.lm.embed(batch.source_BL)
        output = self.prompts(x_BLD, batch.mask_BL, batch.task_B)
        return example_losses(self.lm, output.prompt_BPD, x_BLD, batch, loss, self.alike(batch.task_B)), output.extras

    def forward(
        self,
        input_ids: Int[Tensor, "B L"],
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        task_ids: Tensor | None = None,
        source_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The base model's output with `loss` (mean over labelled tokens) and `logits` aligned with `input_ids`, padded on
        either side. Decoder-only: the source is what stands before the first labelled token (labels other than -100); where
        every token is labelled, methods that read the input need `source_mask`."""
        mask_BL, task_B = _rows(input_ids, attention_mask, task_ids)
        x_BLD, source_BL = self.lm.embed(input_ids), mask_BL
        if not self.lm.encoder_decoder:
            source_BL = before_labels(mask_BL, labels) if source_mask is None else mask_BL & source_mask.bool()
        if self.method.reads_input and not bool(source_BL.any(1).all()):
            raise ConfigError("a row has no source text before its labels: mask them with -100 or give source_mask")
        prompt_BPD = self.prompts(x_BLD, source_BL, task_B).prompt_BPD
        self.lm.check_fits(self.method.length, input_ids.shape[1])
        joined, mask, order = join(prompt_BPD, x_BLD, mask_BL, pad="right")
        if self.lm.encoder_decoder:
            return self.lm.model(inputs_embeds=joined, attention_mask=mask.long(), labels=labels, **kwargs)
        out = self.lm.model(inputs_embeds=joined, attention_mask=mask.long(), **kwargs)
        if labels is not None:
            shifted = rearrange(F.pad(labels, (prompt_BPD.shape[1], 0), value=IGNORE), order)[:, 1:]
            logits = precise(out.logits[:, :-1]).flatten(0, 1)
            out.loss = F.cross_entropy(logits, shifted.flatten(), ignore_index=IGNORE)
        back = None if order is None else order.argsort(1)
        out.logits = rearrange(out.logits, back)[:, prompt_BPD.shape[1] :]
        return out

    def generate(
        self,
        input_ids: Int[Tensor, "B L"],
        attention_mask: Tensor | None = None,
        task_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Int[Tensor, "B T"]:
        """The base model's `generate` behind each row's prompt; `**kwargs` are its own. Decoder-only models return the new
        tokens only."""
        return self.decode(input_ids, *_rows(input_ids, attention_mask, task_ids), **kwargs)[0]

    @torch.no_grad()
    def decode(
        self, source_BL: Tensor, mask_BL: Tensor, task_B: Tensor, **kwargs: Any
    ) -> tuple[Int[Tensor, "B T"], dict[str, Tensor]]:
        """Generated tokens, and the method's extras on every row."""
        goes_on = self.lm.encoder_decoder or not MANY & kwargs.keys()
        if goes_on and (reading := self.read(source_BL, mask_BL, task_B, kwargs.get("max_new_tokens"))):
            return self.generate_from(reading, **kwargs), reading.extras
        self.lm.check_fits(self.method.length, source_BL.shape[1])
        if (groups := self._apart(mask_BL, task_B, kwargs.get("max_new_tokens"))) is None:
            return self._decode(source_BL, mask_BL, task_B, **kwargs)
        parts = [self._decode(source_BL[rows], mask_BL[rows], task_B[rows], **kwargs) for rows in groups]
        back_B = torch.cat(groups).argsort()
        tokens = [row for part, _ in parts for row in part]
        padded = nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=self.lm.text.pad or 0)
        return padded[back_B], {name: torch.cat([extras[name] for _, extras in parts])[back_B] for name in parts[0][1]}

    def _apart(self, mask_BL: Tensor, task_B: Tensor, new: int | None) -> list[Int[Tensor, "N"]] | None:
        """The rows of each length, where padding would change what the model reads; None where they may stand in one batch."""
        lm, lengths_B = self.lm, mask_BL.sum(1)
        if lm.encoder_decoder or (self._one_prompt(task_B) and self._may_gap(mask_BL, new)):
            return None
        if len(alike := lengths_B.unique()) == 1 or lm.pads_left:
            return None
        return [(lengths_B == length).nonzero()[:, 0] for length in alike]

    def _decode(
        self, source_BL: Tensor, mask_BL: Tensor, task_B: Tensor, **kwargs: Any
    ) -> tuple[Int[Tensor, "B T"], dict[str, Tensor]]:
        """`decode` of rows that may stand in one batch."""
        x_BLD = self.lm.embed(source_BL)
        output = self.prompts(x_BLD, mask_BL, task_B)
        if self._one_prompt(task_B) and self._may_gap(mask_BL, kwargs.get("max_new_tokens")):
            known, mask = self._behind_one_prompt(output.prompt_BPD, x_BLD, mask_BL)
        else:
            side = "right" if self.lm.encoder_decoder else "left"
            joined, mask, _ = join(output.prompt_BPD, x_BLD, mask_BL, pad=side)
            if side == "left":  # rows of one length have no padding, and work where the model bears none
                joined, mask = (part[:, -int(mask.sum(1).max()) :] for part in (joined, mask))
            known = {"inputs_embeds": joined}
        return self.lm.model.generate(**known, attention_mask=mask.long(), **kwargs), output.extras

    def _one_prompt(self, task_B: Tensor) -> bool:
        """Whether all rows have the same prompt."""
        return self.method.length > 0 and not self.method.reads_input and bool((task_B == task_B[0]).all())

    def _may_gap(self, mask_BL: Tensor, new: int | None) -> bool:
        """Whether a prompt computed once may stand before these texts and `new` tokens (None: unknown): all lie within the
        window, beyond which some models lose what they keep, and the model does not see the padding behind the prompt."""
        lm, lengths_B = self.lm, mask_BL.sum(1)
        if lm.encoder_decoder or not lm.keeps_prompt:
            return False
        if lm.window is not None and (new is None or self.method.length + int(lengths_B.max()) + new > lm.window):
            return False
        return bool((lengths_B == lengths_B[0]).all()) or lm.gap_limit != 0

    def _behind_one_prompt(
        self, prompt_BPD: Tensor, x_BLD: Tensor, mask_BL: Tensor
    ) -> tuple[dict[str, Any], Bool[Tensor, "B N"]]:
        """What a decoder-only model generates from, keys and values of the prompt computed once until it changes: text moved to
        the right, padding between prompt and text where lengths differ, which no row sees."""
        prompt_BPD = prompt_BPD.to(x_BLD.dtype)
        if self._cached is None or not torch.equal(self._cached[0], prompt_BPD[0]):
            out = self.lm.model.base_model(inputs_embeds=prompt_BPD[:1], use_cache=True)  # computes no logits
            self._cached = prompt_BPD[0].clone(), out.past_key_values
        cache = deepcopy(self._cached[1])
        cache.batch_repeat_interleave(len(prompt_BPD))
        text_BLD, mask_BL, _ = join(prompt_BPD[:, :0], x_BLD, mask_BL, pad="left")
        longest = int(mask_BL.sum(1).max())
        text_BLD, mask_BL = text_BLD[:, -longest:], mask_BL[:, -longest:]
        mask = torch.cat([mask_BL.new_ones(prompt_BPD.shape[:2]), mask_BL], 1)
        return {"inputs_embeds": torch.cat([prompt_BPD, text_BLD], 1), "past_key_values": cache}, mask

    @torch.no_grad()
    def read(self, source_BL: Tensor, mask_BL: Tensor, task_B: Tensor, new: int | None = None) -> Reading | None:
        """Read rows behind their prompts, for `new` tokens (None: unknown) to follow; None where the model has no packed form
        for them."""
        packed, method = self.lm.packed, self.method
        if isinstance(packed, PackedLlama):
            self.lm.check_fits(method.length, source_BL.shape[1])
            taken = new is not None or packed.window is None
            if not taken or not packed.takes(method.length + source_BL.shape[1] + (new or 0)):
                return None
        elif not packed:
            return None
        x_BLD = self.lm.embed(source_BL)
        output = self.prompts(x_BLD, mask_BL, task_B)
        if isinstance(packed, PackedT5):
            x_ND, rows = packed.pack(output.prompt_BPD, x_BLD, mask_BL)
            return EncoderReading(rows, output.extras, packed, packed.encode(x_ND, rows))
        if not method.reads_input and (self._kept is None or self._kept.packed is not packed):
            self._kept = KeptPrompts(packed)
        kept = None if method.reads_input else self._kept
        given = (output.prompt_BPD, self.alike(task_B), x_BLD, source_BL, mask_BL, output.extras)
        return read_texts(kept, packed, *given)

    @torch.no_grad()
    def generate_from(self, reading: Reading, chosen: Sequence[int] | None = None, **kwargs: Any) -> Int[Tensor, "B T"]:
        """The base model's `generate` on rows that have been read, or on the `chosen` ones."""
        tokens: Tensor = self.lm.model.generate(**reading.resumed(chosen), **kwargs)
        return tokens

    @torch.no_grad()
    def score(self, batch: Batch) -> Float[Tensor, "B"]:
        """Log-probability (nats) of every row's target."""
        return -self._losses(batch, "answer")[0]

    @torch.no_grad()
    def label_scores(self, batch: Batch, labels: Sequence[tuple[int, ...]]) -> Float[Tensor, "B C"]:
        """Log-probability (nats) of every label, token ids with their end token, as the answer to every row. An encoder reads
        a row once for all labels; a decoder reads it once for each."""
        batch = batch.to(self.lm.device)
        label_ids = [torch.tensor(ids, device=self.lm.device).expand(len(batch), -1) for ids in labels]
        if not self.lm.encoder_decoder:
            return torch.stack([self.score(replace(batch, target_BT=target_BT)) for target_BT in label_ids], 1)
        x_BLD = self.lm.embed(batch.source_BL)
        prompt_BPD = self.prompts(x_BLD, batch.mask_BL, batch.task_B).prompt_BPD
        joined, mask, _ = join(prompt_BPD, x_BLD, batch.mask_BL, pad="right")
        states_BSD = self.lm.model.get_encoder()(inputs_embeds=joined, attention_mask=mask.long()).last_hidden_state
        known = {"encoder_outputs": BaseModelOutput(last_hidden_state=states_BSD), "attention_mask": mask.long()}
        scores = []
        for target_BT in label_ids:
            starts = self.lm.model.prepare_decoder_input_ids_from_labels(labels=target_BT)
            scores.append(
                -row_losses(self.lm.model(**known, decoder_input_ids=starts, use_cache=False).logits, target_BT)
            )
        return torch.stack(scores, 1)

    def param_groups(self) -> list[ParamGroup]:
        return self.method.param_groups()

    @property
    def model_parts(self) -> dict[str, str]:
        """The hashes of the model beside its embeddings; of the chat template where rows use it."""
        return {**self.lm.parts, **({} if self.data.form == "chat" else {"template": ""})}

    def export(self) -> dict[str, SoftPrompt]:
        """The trained prompts by task name, with the model and the text options they belong to."""
        lm = self.lm
        known: dict[str, Any] = {"model": lm.name, "revision": lm.revision, "embedding": lm.fingerprint, "dtype": lm.dtype,
                 "encoder_decoder": lm.encoder_decoder, "text": self.data.text, **self.model_parts,
                 "seeds": {"subset": self.subset}}  # fmt: skip
        return {
            name: replace(prompt, provenance=replace(prompt.provenance, **known, asked=self._asked(name)))
            for name, prompt in self.method.export().items()
        }

    def _asked(self, name: str) -> dict[str, Any]:
        """Of the tasks of an exported prompt: the one it is named after, or all that trained it."""
        return {name: self.asked[name]} if name in self.asked else self.asked


def _rows(input_ids: Tensor, attention_mask: Tensor | None, task_ids: Tensor | None) -> tuple[Tensor, Tensor]:
    """The mask and the tasks of a batch; unless given, every token is real and every row of the first task."""
    mask_BL = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    task_B = torch.as_tensor(0 if task_ids is None else task_ids, device=input_ids.device).long()
    return mask_BL.bool(), task_B.expand(len(input_ids))


def pooled_losses(learners: list[PromptedLM], rows: list[list[EncodedRow]]) -> list[Losses]:
    """Losses of several learners of one `lm`, prompt length and `data.loss` in one pass, each on its own rows with its own
    prompts. Rows are independent inside the model, so each learner's gradient is the one it would get alone, up to
    rounding."""
    lm, sizes = learners[0].lm, [len(part) for part in rows]
    max_length = max(learner.layout.max_length or 0 for learner in learners)
    batch = collate([row for part in rows for row in part], learners[0].layout.pad, max_length).to(lm.device)
    x_BLD = lm.embed(batch.source_BL)
    parts = zip(x_BLD.split(sizes), batch.mask_BL.split(sizes), batch.task_B.split(sizes), strict=True)
    outputs = [learner.prompts(*part) for learner, part in zip(learners, parts, strict=True)]
    prompts_BPD = torch.cat([output.prompt_BPD for output in outputs])
    alike = [learner.alike(task_B) for learner, task_B in zip(learners, batch.task_B.split(sizes), strict=True)]
    apart = 1 + max(int(each.max()) for each in alike)
    alike_B = torch.cat([apart * i + each for i, each in enumerate(alike)])
    losses = example_losses(lm, prompts_BPD, x_BLD, batch, learners[0].data.loss, alike_B).split(sizes)
    return [(loss, output.extras) for loss, output in zip(losses, outputs, strict=True)]
