"""Tiny GGUF files: a random LLaMA of one layer in blocks of eight bits, with a byte-level tokenizer and a chat template."""

from pathlib import Path

import numpy as np
from tokenizers.pre_tokenizers import ByteLevel

WIDTH, FEED, HEADS = 32, 64, 2
WORDS = ["<unk>", "<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "ab"]
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SHAPES = {
    "token_embd.weight": (len(WORDS), WIDTH), "output_norm.weight": (WIDTH,), "blk.0.attn_norm.weight": (WIDTH,),
    "blk.0.ffn_norm.weight": (WIDTH,), "blk.0.attn_q.weight": (WIDTH, WIDTH), "blk.0.attn_k.weight": (WIDTH, WIDTH),
    "blk.0.attn_v.weight": (WIDTH, WIDTH), "blk.0.attn_output.weight": (WIDTH, WIDTH),
    "blk.0.ffn_gate.weight": (FEED, WIDTH), "blk.0.ffn_up.weight": (FEED, WIDTH), "blk.0.ffn_down.weight": (WIDTH, FEED),
}  # fmt: skip


def write_gguf(path: Path, seed: int = 0, architecture: str = "llama", without: tuple[str, ...] = ()) -> Path:
    """Write a file; tensors `without` are left out."""
    from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quantize

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_vocab_size(len(WORDS))
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(WORDS)
    writer.add_token_types([TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(WORDS) - 3))
    writer.add_token_merges(["a b"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    rng = np.random.default_rng(seed)
    for name, shape in SHAPES.items():
        values = rng.normal(1 if len(shape) == 1 else 0, 0.2, shape).astype(np.float32)
        if name in without:
            continue
        if len(shape) == 1:
            writer.add_tensor(name, values)
        else:
            blocks = quantize(values, GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, blocks, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
