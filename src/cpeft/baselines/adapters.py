"""Bottleneck adapters (Houlsby et al. 2019; Pfeiffer et al. 2021): two small layers behind sublayers of every block.

With y the output of a sublayer before it is added to the residual stream, and a bottleneck of R = D / reduction:

    y <- y + W_up gelu(W_down y + b_down) + b_up

`houlsby` puts one behind self-attention and one behind the feed-forward layer, `pfeiffer` one behind the latter alone. W_up and
b_up start at zero, so that training begins from the model as it is (Houlsby et al. draw both matrices near zero). Layer norms
are trained with them, as in Houlsby et al. and in the baseline of ATTEMPT, unless `layer_norm = "frozen"`.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from cpeft.baselines.base import Baseline
from cpeft.errors import ConfigError
from cpeft.methods import METHODS
from cpeft.models.loading import FrozenLM
from cpeft.options.method import AdaptersOptions

ATTENTION = ("SelfAttention.o", "self_attn.out_proj", "self_attn.o_proj", "attn.c_proj")  # T5, BART, LLaMA, GPT-2
FEED_FORWARD = ("DenseReluDense.wo", "fc2", "mlp.down_proj", "mlp.c_proj")


class Bottleneck(nn.Module):
    """y + W_up gelu(W_down y + b_down) + b_up."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        size = max(width // reduction, 1)
        self.down, self.up = nn.Linear(width, size), nn.Linear(size, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, y: Tensor) -> Tensor:
        added: Tensor = self.up(F.gelu(self.down(y)))
        return y + added


@METHODS.register("adapters")
class Adapters(Baseline):
    """A `Bottleneck` behind sublayers of every block. The default rate is the one of the baselines of ATTEMPT."""

    Options = AdaptersOptions
    rate = 3e-4

    def change(self, options: AdaptersOptions, lm: FrozenLM) -> None:
        ends = options.behind or (FEED_FORWARD if options.placement == "pfeiffer" else (*ATTENTION, *FEED_FORWARD))
        modules = dict(lm.model.named_modules())
        chosen = [module for name, module in modules.items() if f".{name}".endswith(tuple(f".{end}" for end in ends))]
        if not chosen:
            raise ConfigError(
                f"method 'adapters' knows no sublayer of {lm.name} ({type(lm.model).__name__}): name the layers to adapt "
                "in method.behind"
            )
        norms = [module for module in modules.values() if "norm" in type(module).__name__.lower()]
        for norm in norms if options.layer_norm == "trained" else ():
            norm.requires_grad_(True)
        for module in chosen:
            adapter = Bottleneck(lm.width, options.reduction)
            module.add_module("adapter", adapter.to(lm.device, lm.precise))
            module.register_forward_hook(_adapt)


def _adapt(module: nn.Module, args: object, output: Tensor) -> Tensor:
    adapted: Tensor = module.get_submodule("adapter")(output)
    return adapted
