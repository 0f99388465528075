"""Tiny chat models: trained byte-pair tokenizers with chat templates of several families, over a random LLaMA or Qwen.

Each template is written here after the layout of its family: a system turn with the day's date, a default system turn, none,
words that trim what is said, a space before the answer, an end of turn that is not the end of text.
"""

from functools import cache
from typing import Any

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Metaspace, Sequence, Split
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from cpeft.models.loading import FrozenLM
from cpeft.tasks import TASKS, instruction
from tiny import LABELS, WORDS

WORDS_AND_LINES = (
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"  # as LLaMA 3
)

# family: (template, special tokens with pad, begin and end of text first)
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "llama": (
        "{{ bos_token }}{{ '<|start_header_id|>system<|end_header_id|>\n\nToday is ' }}"
        "{% if date_string is defined %}{{ date_string }}{% else %}{{ strftime_now('%d %b %Y') }}{% endif %}{{ '<|eot_id|>' }}"
        "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' }}"
        "{{ m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        ("<|pad|>", "<|begin|>", "<|end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "qwen": (
        "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        ("<|endoftext|>", "", "<|im_end|>", "<|im_start|>"),
    ),
    "smollm": (  # ChatML with a system turn of its own; the end of turn is the end of text, and fills rows too
        "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a small model and answer questions<|im_end|>\n' }}{% endif %}"
        "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        ("<|im_end|>", "", "<|im_end|>", "<|im_start|>", "<|endoftext|>"),
    ),
    "thinking": (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
        "{% if m['role'] == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        ("<|endoftext|>", "", "<|im_end|>", "<|im_start|>", "<think>", "</think>"),
    ),
    "deepseek": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ 'User: ' + m['content'] + '\n\n' }}"
        "{% else %}{{ 'Assistant: ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
        ("<|pad|>", "<|begin|>", "<|end|>"),
    ),
    "mistral": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] | trim + ' [/INST]' }}"
        "{% else %}{{ ' ' + m['content'] | trim + eos_token }}{% endif %}{% endfor %}",
        ("<unk>", "<s>", "</s>"),
    ),
    "untold": (  # a template that ends no turn
        "{% for m in messages %}{{ '### ' + m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### assistant:' }}{% endif %}",
        ("<|pad|>", "", "<|end|>"),
    ),
}  # fmt: skip


@cache
def corpus() -> list[str]:
    """What the tokenizers learn from: the instructions of all tasks and the words of the tiny world."""
    return [*(instruction(TASKS.get(name)) for name in TASKS.names()), " ".join(WORDS), *LABELS] * 3


def make_chat_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """A tokenizer of about 600 pieces with the family's special tokens and template; it puts its own begin token in front of
    a text unless told not to, as real ones do."""
    template, special = FAMILIES[family]
    pad, begin, end, *more = special
    raw = Tokenizer(BPE(unk_token="<unk>", byte_fallback=False) if family == "mistral" else BPE())
    if family == "mistral":
        raw.pre_tokenizer, raw.decoder = Metaspace(split=True), MetaspaceDecoder()
        alphabet = [*map(chr, range(33, 127)), "\n"]
    else:
        split = Split(Regex(WORDS_AND_LINES), behavior="isolated")
        raw.pre_tokenizer = Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
        raw.decoder, alphabet = ByteLevelDecoder(), ByteLevel.alphabet()
    tokens = [token for token in dict.fromkeys(special) if token]
    raw.train_from_iterator(
        corpus(), BpeTrainer(vocab_size=600, special_tokens=tokens, initial_alphabet=alphabet, show_progress=False)
    )
    if begin:
        first = [(begin, raw.token_to_id(begin))]
        raw.post_processor = TemplateProcessing(single=f"{begin} $A", special_tokens=first)
    named = {"bos_token": begin} if begin else {}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token=pad, eos_token=end, **named)
    tokenizer.add_special_tokens({"additional_special_tokens": more} if more else {})
    tokenizer.chat_template = template
    return tokenizer


def make_chat_lm(family: str, seed: int = 0, positions: int = 512, double: bool = False) -> FrozenLM:
    """A random chat model."""
    tokenizer = make_chat_tokenizer(family)
    qwen = family in ("qwen", "thinking")
    config, model = (Qwen2Config, Qwen2ForCausalLM) if qwen else (LlamaConfig, LlamaForCausalLM)
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": positions, "initializer_range": 0.3,
        "pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    torch.manual_seed(seed)
    made = model(config(**sizes)).eval()
    return FrozenLM(made.double() if double else made, tokenizer, f"tiny-{family}")
