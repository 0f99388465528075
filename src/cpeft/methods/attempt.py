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
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cpeft.errors import ConfigError, PromptMismatch
from cpeft.methods.base import (
    METHODS,
    MethodInputs,
    MethodOptions,
    ParamGroup,
    PromptContext,
    PromptMethod,
    PromptOutput,
    uniform,
)
from cpeft.prompts.soft_prompt import check_same_space

Reduce = Literal["max", "mean", "max-mean", "attention"]


class AttemptOptions(MethodOptions):
    """`target`: `mixture` (in the mixture and added again) or `none` (sources only). `targets`: one for all tasks, or one
    per task under shared attention. `attention_from`: a run whose trained attention is the start."""

    name: Literal["attempt"] = "attempt"
    score: Literal["sub", "constant", "token", "linear", "dot"] = "sub"
    reduce: Reduce = "max"
    pool_padding: bool = False
    bottleneck: int | Literal["rows"] = 100
    layer_norm: Literal["trained", "frozen"] = "trained"
    temperature: float | Literal["D*exp(tau)", "learned", "auto"] = "D*exp(tau)"
    tau: float = 1.0
    attention_lr: float | None = None
    attention_from: str | None = None
    sources: Literal["frozen", "trained"] = "frozen"
    target: Literal["mixture", "none"] = "mixture"
    targets: Literal["one", "per_task"] = "one"

    def references(self) -> tuple[str, ...]:
        return (self.attention_from,) if self.attention_from else ()


class Pool(nn.Module):
    """Reduce (N, L, D) to (N, D): max, mean, their average, or attention under a learned query (zero at first: a mean)."""

    def __init__(self, reduce: Reduce, width: int) -> None:
        super().__init__()
        self.reduce = reduce
        self.query = nn.Parameter(torch.zeros(width)) if reduce == "attention" else None

    def forward(self, x_NLD: Tensor, count_NL: Tensor | None = None) -> Float[Tensor, "N D"]:
        """`count_NL` says how often each position counts: 0 leaves it out, None counts every position once."""
        if self.query is not None:
            logits_NL = x_NLD @ self.query / math.sqrt(x_NLD.shape[-1])
            if count_NL is not None:
                logits_NL = logits_NL + count_NL.log()
            return (logits_NL.softmax(1).unsqueeze(-1) * x_NLD).sum(1)
        parts = []
        if "max" in self.reduce:
            hidden = None if count_NL is None else (count_NL == 0).unsqueeze(-1)
            parts.append((x_NLD if hidden is None else x_NLD.masked_fill(hidden, -math.inf)).max(1).values)
        if "mean" in self.reduce:
            share_NL = torch.ones_like(x_NLD[..., 0]) if count_NL is None else count_NL
            parts.append(torch.einsum("nl,nld->nd", share_NL, x_NLD) / share_NL.sum(1, keepdim=True))
        return parts[0] if len(parts) == 1 else (parts[0] + parts[1]) / 2


class Attention(nn.Module):
    """h = LayerNorm(W_up SiLU(W_down x^)) and its relatives, with pooling queries and the temperature."""

    def __init__(self, options: AttemptOptions, width: int, rows: int, seed: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        R = rows if options.bottleneck == "rows" else options.bottleneck
        self.score = options.score
        # torch's default for Linear is U(-1/sqrt(in), 1/sqrt(in)); drawn here so that the seed decides alone
        if options.score in ("sub", "token"):
            self.down = uniform((R, width), 1 / math.sqrt(width), rng)
            self.up = uniform((width, R), 1 / math.sqrt(R), rng)
        elif options.score == "linear":
            self.down = uniform((width, width), 1 / math.sqrt(width), rng)
        if options.score in ("sub", "token", "linear"):
            self.norm = nn.LayerNorm(width)
            self.norm.requires_grad_(options.layer_norm == "trained")
        if options.score != "constant":
            self.pool_input = Pool(options.reduce, width)
        if options.score in ("sub", "linear", "dot"):
            self.pool_prompt = Pool(options.reduce, width)
        self.tau = nn.Parameter(torch.tensor(float(options.tau))) if self._learns(options) else None
        fixed = options.temperature if isinstance(options.temperature, float | int) else width * math.exp(options.tau)
        if options.temperature == "auto":
            fixed = math.nan  # set by `calibrate` on the first batch
        self.register_buffer("temperature", torch.tensor(float(fixed)))

    @staticmethod
    def _learns(options: AttemptOptions) -> bool:
        return options.temperature == "learned" and options.score in ("sub", "token", "linear")

    def query(self, x_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        if self.score in ("sub", "token"):
            return cast(Tensor, self.norm(F.linear(F.silu(F.linear(x_BD, self.down)), self.up)))
        return cast(Tensor, self.norm(F.linear(x_BD, self.down))) if self.score == "linear" else x_BD

    def divisor(self) -> Tensor:
        """The temperature; `dot` has none."""
        if self.tau is not None:
            return self.norm.normalized_shape[0] * self.tau.clamp(0.005, 5.0).exp()
        if self.score == "dot":
            return torch.ones(())
        if bool(torch.isnan(cast(Tensor, self.temperature))):
            raise ConfigError("method.temperature 'auto' needs training rows to be set on; give a number")
        return cast(Tensor, self.temperature)


@METHODS.register("attempt")
class Attempt(PromptMethod):
    """`sources_SPD` (S, P, D), `target_TPD` (T, P, D) with T = 1 unless `targets = "per_task"`, and the attention."""

    Options = AttemptOptions
    uses_sources = True
    reads_input = True

    def __init__(self, options: AttemptOptions, inputs: MethodInputs) -> None:
        super().__init__(options, inputs)
        if not inputs.sources:
            raise ConfigError("method 'attempt' needs source prompts: give sources = \"stage/*\" or a list of prompts")
        check_same_space(*inputs.sources.values())
        self.options = options
        self.source_names = tuple(inputs.sources)
        stacked_SPD = torch.stack([source.weight for source in inputs.sources.values()])
        initial_PD = inputs.initial_PD.detach().float()
        if stacked_SPD.shape[1:] != initial_PD.shape:
            raise PromptMismatch(
                f"sources are {tuple(stacked_SPD.shape[1:])} (rows, width), the target is {tuple(initial_PD.shape)}; "
                "set prompt.length to the sources' rows, or source.rows = 'first:N'"
            )
        if options.sources == "trained":
            self.sources_SPD = nn.Parameter(stacked_SPD)
        else:
            self.register_buffer("sources_SPD", stacked_SPD)
        T = len(inputs.tasks) if options.targets == "per_task" else 1
        self.target_TPD = nn.Parameter(initial_PD.repeat(T, 1, 1)) if options.target == "mixture" else None
        self.register_buffer("origin", initial_PD.clone())
        self.attention = Attention(options, int(initial_PD.shape[1]), int(initial_PD.shape[0]), inputs.seed)
        if options.attention_from:
            self._start_from(dict(inputs.state(options.attention_from)), options.attention_from)
        if not self.param_groups():
            raise ConfigError(
                f"attempt with score = '{options.score}', target = 'none' and frozen sources trains nothing"
            )

    def _start_from(self, state: dict[str, Tensor], reference: str) -> None:
        found = {key.removeprefix("attention."): value for key, value in state.items() if key.startswith("attention.")}
        own = self.attention.state_dict()
        if {k: v.shape for k, v in found.items()} != {k: v.shape for k, v in own.items()}:
            raise ConfigError(
                f"method.attention_from '{reference}': its attention has other parts or sizes than this one"
            )
        if self.options.temperature != "auto":
            found["temperature"] = own["temperature"]  # the recipe's, not the one the attention was trained under
        self.attention.load_state_dict(found)

    @property
    def length(self) -> int:
        return int(self.sources_SPD.shape[1])

    @property
    def by_task(self) -> bool:
        return self.options.targets == "per_task"

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of the mixed prompts, in the order of the attention weights."""
        return (*self.source_names, "target") if self.target_TPD is not None else self.source_names

    def forward(self, context: PromptContext) -> PromptOutput:
        target_BPD = self._target(context)
        if self.options.score == "token":
            return self._mix_rows(context, target_BPD)
        weights_BC = self._scores(context).softmax(-1)
        S, P, D = self.sources_SPD.shape
        mixed_BPD = (weights_BC[:, :S] @ self.sources_SPD.reshape(S, P * D)).view(-1, P, D)
        if target_BPD is not None:
            mixed_BPD = mixed_BPD + (1 + weights_BC[:, S]).view(-1, 1, 1) * target_BPD
        return PromptOutput(mixed_BPD, {"attention": weights_BC})

    def _target(self, context: PromptContext) -> Float[Tensor, "B P D"] | None:
        if self.target_TPD is None:
            return None
        if self.by_task:
            return self.target_TPD[context.task_B]
        return self.target_TPD.expand(context.x_BLD.shape[0], -1, -1)

    def _pooled_input(self, context: PromptContext) -> Float[Tensor, "B D"]:
        x_BLD = context.x_BLD.to(self.sources_SPD.dtype)
        count_BL = context.mask_BL.to(x_BLD.dtype)
        if self.options.pool_padding and context.pad_D is not None:
            # One position stands for all the padding of published code, which padded every row to `room`.
            length_B1 = count_BL.sum(1, keepdim=True)
            missing_B1 = (context.room - length_B1).clamp_min(0) if context.room else torch.ones_like(length_B1)
            x_BLD = torch.cat([x_BLD, context.pad_D.to(x_BLD.dtype).expand(x_BLD.shape[0], 1, -1)], 1)
            count_BL = torch.cat([count_BL, missing_B1], 1)
        return cast(Tensor, self.attention.pool_input(x_BLD, count_BL))

    def _scores(self, context: PromptContext) -> Float[Tensor, "B C"]:
        """Scores of every candidate, the target last."""
        B = context.x_BLD.shape[0]
        if self.options.score == "constant":
            return self.sources_SPD.new_zeros(B, len(self.candidates))
        query_BD = self.attention.query(self._pooled_input(context))
        raw_BC: Tensor = query_BD @ self.attention.pool_prompt(self.sources_SPD).T
        if self.target_TPD is not None:
            pooled_TD = self.attention.pool_prompt(self.target_TPD)
            chosen_BD = pooled_TD[context.task_B] if self.by_task else pooled_TD.expand(B, -1)
            raw_BC = torch.cat([raw_BC, (query_BD * chosen_BD).sum(-1, keepdim=True)], 1)
        return raw_BC / self.attention.divisor().to(raw_BC.device)

    def _row_scores(self, context: PromptContext) -> Float[Tensor, "B C P"]:
        """Scores per prompt row, for `token`."""
        query_BD = self.attention.query(self._pooled_input(context))
        raw_BCP = torch.einsum("bd,spd->bsp", query_BD, self.sources_SPD)
        target_BPD = self._target(context)
        if target_BPD is not None:
            raw_BCP = torch.cat([raw_BCP, torch.einsum("bd,bpd->bp", query_BD, target_BPD).unsqueeze(1)], 1)
        return raw_BCP / self.attention.divisor().to(raw_BCP.device)

    def _mix_rows(self, context: PromptContext, target_BPD: Tensor | None) -> PromptOutput:
        weights_BCP = self._row_scores(context).softmax(1)
        S = self.sources_SPD.shape[0]
        mixed_BPD = torch.einsum("bsp,spd->bpd", weights_BCP[:, :S], self.sources_SPD)
        if target_BPD is not None:
            mixed_BPD = mixed_BPD + (1 + weights_BCP[:, S]).unsqueeze(-1) * target_BPD
        return PromptOutput(mixed_BPD, {"attention": weights_BCP.mean(-1)})

    @torch.no_grad()
    def calibrate(self, context: PromptContext) -> None:
        """`temperature = "auto"`: the largest spread of scores that the attention can reach becomes 1.

        h has norm sqrt(D) after its LayerNorm, so scores spread by about |P^ - mean| at the random start (measured here as
        the standard deviation over candidates) and by sqrt(D) times that once h points along P^. Unit spread at the start
        was tried: the softmax saturated within ten steps (entropy 1e-4) and never recovered. The published T = D e on T5
        gives the same regime: 0.01 to 0.05 at the start, 1 to 7 at most.
        """
        if self.options.score in ("constant", "dot") or self.options.temperature != "auto":
            return
        temperature = cast(Tensor, self.attention.temperature)
        if torch.isnan(temperature):
            temperature.fill_(1.0)
            scores = self._row_scores(context) if self.options.score == "token" else self._scores(context)
            spread = scores.std(1).mean() if scores.shape[1] > 1 else torch.ones(())
            temperature.fill_(float(spread.clamp_min(1e-6)) * math.sqrt(context.x_BLD.shape[-1]))

    def param_groups(self) -> list[ParamGroup]:
        attention = [p for p in self.attention.parameters() if p.requires_grad]
        prompts = [p for p in (self.target_TPD, self.sources_SPD) if isinstance(p, nn.Parameter)]
        groups = [ParamGroup("prompt", prompts), ParamGroup("attention", attention, self.options.attention_lr)]
        return [group for group in groups if group.params]

    def matrices(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        origin = cast(Tensor, self.origin)
        if self.target_TPD is None:
            return {}
        if self.by_task:
            return {task: (self.target_TPD[i], origin) for i, task in enumerate(self.tasks)}
        return {"+".join(self.tasks): (self.target_TPD[0], origin)}
