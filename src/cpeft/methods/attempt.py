"""ATTEMPT (Asai et al. 2022): per input, an attentional mixture of trained source prompts and a new target prompt.

With E = Embed(x), sources S_1..S_t (frozen), target T, x^ = pool(E) over the input, P^_j = pool(M_j) over prompt rows and
M = (S_1, .., S_t, T):

    h      = LayerNorm(W_up SiLU(W_down x^))              (score `sub`; `linear`: h = LayerNorm(W x^); `dot`: h = x^)
    a      = softmax_j(P^_j . h / temperature)            (`token`: one softmax per prompt row; `constant`: 1/(t+1))
    prompt = sum_j a_j M_j + T                            (eq. 1: the target enters twice)

The mixture is a matrix product of the weights with the stacked sources; [B, S+1, P, D] never exists.

What differs from the published code, each a named option: pooling leaves padding out (`pool_padding`), the LayerNorm is
trained (`layer_norm`; the authors' code freezes it), the attention's own learning rate takes effect (`attention_lr`; in
the authors' configuration it matched no parameter), `linear`, `dot` and `token` work. T = D * exp(tau) with tau = 1 gives
the published 2087 at D = 768.
"""

import math
from collections.abc import Mapping
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cpeft.errors import ConfigError, PromptMismatch
from cpeft.methods import METHODS, MethodInputs, MethodShape, ParamGroup, PromptContext, PromptMethod, PromptOutput
from cpeft.options.method import AttemptOptions, Reduce
from cpeft.prompts.soft_prompt import check_same_space


class Pool(nn.Module):
    """Reduce (N, L, D) to (N, D): max, mean, their average, or attention under a learned query (zero at first: a mean)."""

    def __init__(self, reduce: Reduce, width: int) -> None:
        super().__init__()
        self.reduce = reduce
        self.query = nn.Parameter(torch.zeros(width)) if reduce == "attention" else None

    def forward(self, x_NLD: Tensor, count_NL: Tensor | None = None) -> Float[Tensor, "N D"]:
        """`count_NL` is how often each position counts: 0 leaves it out, None counts every position once."""
        if count_NL is None:
            count_NL = torch.ones_like(x_NLD[..., 0])
        if self.query is not None:
            logits_NL = x_NLD @ self.query / math.sqrt(x_NLD.shape[-1]) + count_NL.log()
            return (logits_NL.softmax(1).unsqueeze(-1) * x_NLD).sum(1)
        parts = []
        if "max" in self.reduce:
            parts.append(_largest(x_NLD, count_NL > 0))
        if "mean" in self.reduce:
            parts.append(torch.einsum("nl,nld->nd", count_NL, x_NLD) / count_NL.sum(1, keepdim=True))
        return parts[0] if len(parts) == 1 else (parts[0] + parts[1]) / 2


def _largest(x_NLD: Tensor, kept_NL: Tensor) -> Float[Tensor, "N D"]:
    """The maximum over kept positions. On a CPU row by row: filling what is left out would write the whole batch once more."""
    if bool(kept_NL.all()):
        return x_NLD.max(1).values
    if x_NLD.device.type == "cpu":
        return torch.stack([x_LD[kept_L].max(0).values for x_LD, kept_L in zip(x_NLD, kept_NL, strict=True)])
    return x_NLD.masked_fill(~kept_NL.unsqueeze(-1), -math.inf).max(1).values


class Attention(nn.Module):
    """h = LayerNorm(W_up SiLU(W_down x^)) and its relatives, with pooling queries and the temperature."""

    def __init__(self, options: AttemptOptions, width: int, rows: int) -> None:
        super().__init__()
        R = rows if options.bottleneck == "rows" else options.bottleneck
        self.score = options.score
        self.normed = options.score in ("sub", "token", "linear")
        if self.normed:
            self.down = nn.Parameter(torch.empty(width if options.score == "linear" else R, width))
            if options.score != "linear":
                self.up = nn.Parameter(torch.empty(width, R))
            self.norm = nn.LayerNorm(width).requires_grad_(options.layer_norm == "trained")
        if options.score != "constant":
            self.pool_input = Pool(options.reduce, width)
        if options.score in ("sub", "linear", "dot"):
            self.pool_prompt = Pool(options.reduce, width)
        learned = self.normed and options.temperature == "learned"
        self.tau = nn.Parameter(torch.tensor(float(options.tau))) if learned else None
        fixed = options.temperature if isinstance(options.temperature, float | int) else width * math.exp(options.tau)
        if options.temperature == "auto":
            fixed = math.nan  # set by `calibrate` on the first batch
        self.temperature = nn.Buffer(torch.tensor(float(fixed)))

    def draw(self, seed: int) -> None:
        """Random projections: torch's default for Linear, U(-1/sqrt(in), 1/sqrt(in)), drawn so that the seed alone decides."""
        rng = torch.Generator().manual_seed(seed)
        for weight in [self.down, *([] if self.score == "linear" else [self.up])] if self.normed else []:
            weight.copy_((torch.rand(weight.shape, generator=rng) * 2 - 1) * (1 / math.sqrt(weight.shape[1])))

    def query(self, x_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """h."""
        if self.score == "dot":
            return x_BD
        h = F.linear(x_BD, self.down)
        return cast(Tensor, self.norm(h if self.score == "linear" else F.linear(F.silu(h), self.up)))

    def keys(self, prompts_NPD: Float[Tensor, "N P D"]) -> Float[Tensor, "N K D"]:
        """P^, what candidates are scored by: K = 1 pooled row, or under `token` each of the K = P rows."""
        return prompts_NPD if self.score == "token" else self.pool_prompt(prompts_NPD).unsqueeze(1)

    def divisor(self) -> Tensor:
        """The temperature; `dot` and `constant` have none."""
        if self.tau is not None:
            return self.norm.normalized_shape[0] * self.tau.clamp(0.005, 5.0).exp()
        if self.score in ("dot", "constant"):
            return torch.ones_like(self.temperature)
        if bool(self.temperature.isnan()):
            raise ConfigError(
                "method.temperature 'auto' is calibrated on the first training batch, and there is none here; give a number"
            )
        return self.temperature


@METHODS.register("attempt")
class Attempt(PromptMethod):
    """`sources_SPD` (S, P, D), `target_TPD` (T, P, D) with T = 1 unless `targets = "per_task"`, and the attention.
    `candidates` names the mixed prompts in the order of the attention weights."""

    Options = AttemptOptions
    reads_input = True

    def build(self, options: AttemptOptions, shape: MethodShape) -> None:
        if not shape.sources:
            raise ConfigError("method 'attempt' needs source prompts: give sources = \"stage/*\" or a list of prompts")
        self.options = options
        self.by_task = options.targets == "per_task"
        self.candidates = (*shape.sources, "target") if options.target == "mixture" else shape.sources
        P, D, T = shape.rows, shape.width, len(shape.tasks) if self.by_task else 1
        sources_SPD = torch.empty(len(shape.sources), P, D)
        self.sources_SPD = nn.Parameter(sources_SPD) if options.sources == "trained" else nn.Buffer(sources_SPD)
        self.target_TPD = nn.Parameter(torch.empty(T, P, D)) if options.target == "mixture" else None
        self.origin = nn.Buffer(torch.empty(P, D))
        self.attention = Attention(options, D, P)
        if not self.param_groups():
            how = f"score = '{options.score}', target = 'none' and frozen sources"
            raise ConfigError(f"attempt with {how} trains nothing")

    def initialise(self, inputs: MethodInputs) -> None:
        check_same_space(*inputs.sources.values())
        stacked_SPD = torch.stack([source.weight for source in inputs.sources.values()])
        if stacked_SPD.shape[1:] != inputs.initial_PD.shape:
            raise PromptMismatch(
                f"sources are {tuple(stacked_SPD.shape[1:])} (rows, width), the target is {tuple(inputs.initial_PD.shape)}; "
                "set prompt.length to the sources' rows, or source.rows = 'first:N'"
            )
        self.sources_SPD.copy_(stacked_SPD)
        if self.target_TPD is not None:
            self.target_TPD.copy_(inputs.initial_PD)
        self.origin.copy_(inputs.initial_PD)
        self.attention.draw(inputs.seed)
        if self.options.attention_from:
            self._start_from(self.options.attention_from, inputs.state(self.options.attention_from))

    @property
    def extras(self) -> Mapping[str, tuple[int, ...]]:
        return {"attention": (len(self.candidates),)}

    def _start_from(self, run: str, state: Mapping[str, Tensor]) -> None:
        found = {key.removeprefix("attention."): value for key, value in state.items() if key.startswith("attention.")}
        own = self.attention.state_dict()
        if {k: v.shape for k, v in found.items()} != {k: v.shape for k, v in own.items()}:
            raise ConfigError(f"method.attention_from '{run}': its attention has other parts or sizes than this one")
        if self.options.temperature != "auto":
            found["temperature"] = own["temperature"]  # the recipe's, not the one the attention was trained under
        self.attention.load_state_dict(found)

    def forward(self, context: PromptContext) -> PromptOutput:
        weights_BKC = (self._scores(context) / self.attention.divisor()).softmax(-1)
        return PromptOutput(self._mixed(weights_BKC, context), {"attention": weights_BKC.mean(1)})

    def _mixed(self, weights_BKC: Float[Tensor, "B K C"], context: PromptContext) -> Float[Tensor, "B P D"]:
        """sum_j a_j S_j + (1 + a_T) T, as products of the weights with stacked prompts where every row has the same."""
        (S, *shape), target_TPD = self.sources_SPD.shape, self.target_TPD
        if self.options.score == "token":
            mixed_BPD = torch.einsum("bps,spd->bpd", weights_BKC[..., :S], self.sources_SPD)
        elif target_TPD is None or self.by_task:
            mixed_BPD = (weights_BKC[:, 0, :S] @ self.sources_SPD.flatten(1)).unflatten(1, shape)
        else:
            target_BN = (1 + weights_BKC[:, 0, S:]) @ target_TPD.flatten(1)
            mixed_BN: Tensor = torch.addmm(target_BN, weights_BKC[:, 0, :S], self.sources_SPD.flatten(1))
            return mixed_BN.reshape(-1, *shape)
        if target_TPD is None:
            return mixed_BPD
        return mixed_BPD + (1 + weights_BKC[..., S:]) * self._own(target_TPD, context)

    def _own(self, x_TPD: Float[Tensor, "T P D"], context: PromptContext) -> Float[Tensor, "B P D"]:
        """Of something per target, that of each row's target."""
        return x_TPD[context.task_B] if self.by_task else x_TPD.expand(len(context.x_BLD), -1, -1)

    def _pooled_input(self, context: PromptContext) -> Float[Tensor, "B D"]:
        x_BLD = context.x_BLD.to(self.sources_SPD.dtype)
        count_BL = context.mask_BL.to(x_BLD.dtype)
        if self.options.pool_padding and context.pad_D is not None:
            # One position represents all the padding of published code, which padded every row to `max_length`.
            length_B1 = count_BL.sum(1, keepdim=True)
            missing_B1 = (
                (context.max_length - length_B1).clamp_min(0) if context.max_length else torch.ones_like(length_B1)
            )
            x_BLD = torch.cat([x_BLD, context.pad_D.to(x_BLD.dtype).expand(len(x_BLD), 1, -1)], 1)
            count_BL = torch.cat([count_BL, missing_B1], 1)
        return cast(Tensor, self.attention.pool_input(x_BLD, count_BL))

    def _scores(self, context: PromptContext) -> Float[Tensor, "B K C"]:
        """P^ . h of every candidate, the target last; K = P rows under `token`, otherwise 1."""
        B, S = len(context.x_BLD), len(self.sources_SPD)
        if self.options.score == "constant":
            return self.sources_SPD.new_zeros(B, 1, len(self.candidates))
        query_BD = self.attention.query(self._pooled_input(context))
        keys_SKD = self.attention.keys(self.sources_SPD)
        scores_BKC = (query_BD @ keys_SKD.flatten(0, 1).T).view(B, S, -1).transpose(1, 2)
        if self.target_TPD is not None:
            own_BKD = self._own(self.attention.keys(self.target_TPD), context)
            scores_BKC = torch.cat([scores_BKC, (query_BD.unsqueeze(1) * own_BKD).sum(-1, keepdim=True)], -1)
        return scores_BKC

    @torch.no_grad()
    def calibrate(self, context: PromptContext) -> None:
        """`temperature = "auto"`: the largest spread of scores that the attention can reach becomes 1. h has norm sqrt(D)
        after its LayerNorm, so scores spread by about |P^ - mean| at the random start (measured here as the standard deviation
        over candidates) and by sqrt(D) times that once h points along P^. Unit spread at the start was tried: the softmax
        saturated within ten steps (entropy 1e-4) and never recovered. The published T = D e on T5 gives the same regime: 0.01
        to 0.05 at the start, 1 to 7 at most."""
        temperature = self.attention.temperature
        if self.options.score not in ("constant", "dot") and bool(temperature.isnan()):
            scores_BKC = self._scores(context)
            spread = scores_BKC.std(-1).mean() if len(self.candidates) > 1 else torch.ones(())
            temperature.fill_(float(spread.clamp_min(1e-6)) * math.sqrt(context.x_BLD.shape[-1]))

    def param_groups(self) -> list[ParamGroup]:
        attention = [p for p in self.attention.parameters() if p.requires_grad]
        prompts = [p for p in (self.target_TPD, self.sources_SPD) if isinstance(p, nn.Parameter)]
        groups = [ParamGroup("prompt", prompts), ParamGroup("attention", attention, self.options.attention_lr)]
        return [group for group in groups if group.params]

    def matrices(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        if self.target_TPD is None:
            return {}
        names = self.tasks if self.by_task else ("+".join(self.tasks),)
        return {name: (weight, self.origin) for name, weight in zip(names, self.target_TPD, strict=True)}
