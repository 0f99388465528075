"""`[model]`: which frozen model, and in which number format and place."""

from typing import Literal

from pydantic import Field

from cpeft.config import Options

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Attention = Literal["auto", "eager", "sdpa"]


class ModelOptions(Options):
    """The frozen model. `attention = "auto"` is `eager` for bfloat16 on a CPU, where the fused kernel's backward pass is slow
    (a training step measured 2.0 to 2.3 times faster with `eager`), and the model's own choice elsewhere."""

    name: str = Field(description="A named model (`cpeft list models`), a folder, a GGUF file or a hub name.")
    file: str | None = Field(default=None, description="Which GGUF file of a folder that has several.")
    revision: str | None = Field(default=None, description="Revision of a hub model; without it the newest.")
    dtype: Dtype = Field(
        default="auto",
        description="Number format of the weights; `auto` is bfloat16 where it is fast (GPU, CPU with AMX), else float32.",
    )
    device: str = Field(
        default="auto", description="Device in torch's words, such as `cuda:1`; `auto` is a GPU if any."
    )
    quantize: Literal["none", "8bit", "4bit"] = Field(
        default="none", description="Load the weights quantized; needs bitsandbytes."
    )
    attention: Attention = Field(
        default="auto", description="Attention kernel; `auto` is the model's own choice, `eager` for bfloat16 on a CPU."
    )
