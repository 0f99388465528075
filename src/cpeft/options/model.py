"""`[model]`: which frozen model, and in which number format and place."""

from typing import Literal

from cpeft.config import Options

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Attention = Literal["auto", "eager", "sdpa"]


class ModelOptions(Options):
    """`[model]`: `name` is a named model (`cpeft list models`), a folder, a GGUF file or a hub name; `file` chooses in a
    folder of several GGUF files. `dtype = "auto"` is bfloat16 where that is fast (GPU, CPUs with AMX), else float32;
    `quantize` needs bitsandbytes. `attention = "auto"` is the model's own choice, but `eager` for bfloat16 on a CPU, where the
    fused kernel's backward pass is slow (a step measured 2.0 to 2.3 times faster with `eager`)."""

    name: str
    file: str | None = None
    revision: str | None = None
    dtype: Dtype = "auto"
    device: str = "auto"
    quantize: Literal["none", "8bit", "4bit"] = "none"
    attention: Attention = "auto"
