"""Tiny random models, tokenizers, rows, learners and runs for tests; nothing here is read from the network or disk.

Weights are drawn larger than a real initialisation would, so that outputs depend visibly on inputs and prompts.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import cpeft
from cpeft.data.encode import Batch, collate
from cpeft.data.rows import EncodedRow
from cpeft.evaluation.decoding import mean_loss
from cpeft.methods.base import METHODS, MethodInputs
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.options.training import OptimOptions, TrainOptions
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.store.run_folder import RunFolder
from cpeft.training.member import Evaluation, Member

ARCHITECTURES = ("t5", "bart", "llama", "gpt2")
CHAT = "chatml"  # a LLaMA with a chat template
SINGLE = 1e-5  # the last bit of float32 (6e-8), through a dozen norms, on logits of up to 10
PAD, EOS, UNK, BOS = 0, 1, 2, 3
LABELS = ("positive", "negative", "not entailment", "very very good")
WORDS = [*dict.fromkeys(" ".join(LABELS).split()), *(f"w{i}" for i in range(85))]
V = 4 + len(WORDS)
D = 32
P = 4
WINDOW = 24  # positions that a layer of the Mistral sees
SRC = str(Path(next(iter(cpeft.__path__))).parent)


def make_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """One token per word; `template` such as `$A </s>` adds special tokens to a text."""
    words = ["<pad>", "</s>", "<unk>", "<s>", *WORDS]
    raw = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = WhitespaceSplit()
    raw.post_processor = TemplateProcessing(single=template, special_tokens=[("<s>", BOS), ("</s>", EOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", bos_token="<s>"
    )


def _t5(feed_forward: str = "relu") -> Any:
    return T5ForConditionalGeneration(T5Config(
        vocab_size=V, d_model=D, d_kv=8, d_ff=48, num_layers=2, num_heads=4, feed_forward_proj=feed_forward,
        pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=PAD, initializer_factor=1.0,
    ))  # fmt: skip


def _bart() -> Any:
    return BartForConditionalGeneration(BartConfig(
        vocab_size=V, d_model=D, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64, pad_token_id=PAD, eos_token_id=EOS,
        bos_token_id=BOS, decoder_start_token_id=EOS, forced_eos_token_id=EOS, init_std=0.3, scale_embedding=True,
    ))  # fmt: skip


def _llama_like(config: type, model: type, layers: int = 2, **more: Any) -> Any:
    return model(config(
        vocab_size=V, hidden_size=D, intermediate_size=48, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, pad_token_id=PAD, eos_token_id=EOS, bos_token_id=BOS,
        initializer_range=0.3, **more,
    ))  # fmt: skip


def _gpt2() -> Any:
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=V, n_positions=64, n_embd=D, n_layer=2, n_head=4, n_inner=48, initializer_range=0.3, pad_token_id=PAD,
        eos_token_id=EOS, bos_token_id=BOS,
    ))  # fmt: skip


def _bert2bert() -> Any:
    sizes = {
        "vocab_size": V, "hidden_size": D, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "max_position_embeddings": 64, "initializer_range": 0.3, "pad_token_id": PAD,
    }  # fmt: skip
    config = EncoderDecoderConfig.from_encoder_decoder_configs(BertConfig(**sizes), BertConfig(**sizes))
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id, config.vocab_size = BOS, PAD, EOS, V
    model = EncoderDecoderModel(config)
    generation = model.generation_config
    generation.decoder_start_token_id, generation.pad_token_id, generation.eos_token_id = BOS, PAD, EOS
    return model


BUILDERS = {
    "t5": (_t5, "$A </s>"),
    "t5-gated": (lambda: _t5("gated-gelu"), "$A </s>"),
    "bart": (_bart, "<s> $A </s>"),
    "llama": (lambda: _llama_like(LlamaConfig, LlamaForCausalLM), "<s> $A"),
    "gpt2": (_gpt2, "$A"),
    "bert2bert": (_bert2bert, "<s> $A </s>"),
    "qwen2": (lambda: _llama_like(Qwen2Config, Qwen2ForCausalLM), "$A"),
    "gemma": (lambda: _llama_like(GemmaConfig, GemmaForCausalLM, head_dim=8), "<s> $A"),
    "mistral": (lambda: _llama_like(MistralConfig, MistralForCausalLM, sliding_window=WINDOW, head_dim=8), "<s> $A"),
}


def raw_model(arch: str, seed: int = 0) -> Any:
    """The bare transformers model, with every parameter drawn afresh where the library would leave zeros or ones."""
    torch.manual_seed(seed)
    model = BUILDERS[arch][0]()
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases too, so that nothing is trivially the identity
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
        if arch.startswith("t5"):  # tied embeddings: else the decoder says its start token for ever
            model.shared.weight[PAD] *= 0.1
    return model.eval()


def make_lm(arch: str, double: bool = False, seed: int = 0) -> FrozenLM:
    if arch == CHAT:
        from tiny_chat import make_chat_lm  # which is made of this module

        return make_chat_lm("smollm", seed, double=double)
    model = raw_model(arch, seed)
    return FrozenLM(model.double() if double else model, make_tokenizer(BUILDERS[arch][1]), f"tiny-{arch}")


def rounding(model: torch.nn.Module, exact: float) -> float:
    """How far two ways to one result may lie apart in a float64 model: `exact`, or more where a part of it is float32.

    The norms of T5 and of the LLaMA family take the mean of squares in float32, whatever the model's dtype: there a
    difference in the last bit of float64, which another batch may make on some processor, becomes one of float32 (6e-8)
    or none. A row that saw padding or a neighbour, or a step with half a gradient, differs by 1e-3 and more."""
    norms = {type(module).__name__ for module in model.modules()}
    return max(exact, SINGLE) if any(name.endswith(("RMSNorm", "T5LayerNorm")) for name in norms) else exact


def close(lm: FrozenLM, a: torch.Tensor, b: torch.Tensor, exact: float = 1e-10) -> None:
    """Equal up to `rounding`."""
    bound = rounding(lm.model, exact)
    torch.testing.assert_close(a, b, rtol=bound, atol=bound)


def make_rows(lm: FrozenLM, count: int = 8, seed: int = 0, tasks: int = 1, longest: int = 9) -> list[EncodedRow]:
    """Random sources of different lengths with one of the label texts as target; of a chat model in its template's turns."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, longest + 1, size=count)
    texts = [" ".join(rng.choice(WORDS[8:], size=n)) for n in lengths]
    codec = lm.codec("chat" if lm.tokenizer.chat_template else "fields")
    sources, _ = codec.sources(texts, "" if lm.encoder_decoder else " w0")
    targets = codec.targets([LABELS[i % len(LABELS)] for i in range(count)])
    return [EncodedRow(tuple(s), tuple(t), i % tasks) for i, (s, t) in enumerate(zip(sources, targets, strict=True))]


def make_sources(count: int = 3, length: int = P, width: int = D, seed: int = 5) -> dict[str, SoftPrompt]:
    rng = torch.Generator().manual_seed(seed)
    names = ["mnli", "qnli", "squad", "qqp"][:count]
    return {n: SoftPrompt(torch.randn(length, width, generator=rng), Provenance(task=n, run=n)) for n in names}


def make_method(lm: FrozenLM, name: str, options: dict[str, Any], seed: int = 0, tasks: int = 1) -> Any:
    """A registered method with random initial prompt and sources; in the dtype of the model."""
    cls = METHODS.get(name)
    initial_PD = torch.randn(P, lm.width, generator=torch.Generator().manual_seed(100 + seed)) * 0.5
    sources = make_sources(width=lm.width) if cls.Options.uses_sources else {}
    inputs = MethodInputs(tuple(f"task{i}" for i in range(tasks)), initial_PD, sources, seed)
    method = cls(cls.Options(name=name, **options), inputs)
    return method.double() if lm.embeddings.weight.dtype == torch.float64 else method


def make_learner(lm: FrozenLM, name: str, options: dict[str, Any], seed: int = 0, tasks: int = 1) -> PromptedLM:
    return PromptedLM(lm, make_method(lm, name, options, seed, tasks))


def make_batch(rows: list[EncodedRow]) -> Batch:
    return collate(rows, PAD)


def make_member(learner: PromptedLM, rows: list[EncodedRow], folder: Path, **more: Any) -> Member:
    """A run with quick settings; `train` and `optim` are tables that change them."""
    train = {"steps": 6, "batch": 4, "eval_every": 3, "log_every": 1, "checkpoint_every": 2, **more.pop("train", {})}
    optim = {"lr": 0.05, "warmup": 0.0, **more.pop("optim", {})}

    def evaluate() -> Evaluation:
        loss = mean_loss(learner, rows, 4096)
        return Evaluation(-loss, loss, {"nll": loss})

    settings = {"name": folder.name, "order_seed": 11, "dropout_seed": 12, "evaluate": evaluate, **more}
    return Member(
        learner=learner, rows=rows, options=TrainOptions(**train), optim=OptimOptions(**optim),
        folder=RunFolder(folder), **settings,
    )  # fmt: skip


def trained_state(learner: PromptedLM) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in learner.state_dict().items()}


def same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Equal keys and bit-identical tensors."""
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def gap(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest absolute difference between two states."""
    assert a.keys() == b.keys()
    return max(float((a[k] - b[k]).abs().max()) for k in a)


def run_python(code: str, **more: Any) -> subprocess.CompletedProcess:
    """Run code in a fresh interpreter that finds this source tree."""
    env = {**os.environ, "PYTHONPATH": SRC, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120, **more)


def teach(lm: FrozenLM, rows: list[EncodedRow], steps: int = 150, lr: float = 0.01, seed: int = 0) -> None:
    """Train the model itself on rows behind a fixed prompt-free input, then freeze it again, so that its outputs are texts
    that depend on the input."""
    learner = make_learner(lm, "no_prompt", {})
    lm.model.requires_grad_(True)
    optimizer = torch.optim.Adam(lm.model.parameters(), lr=lr)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        chosen = [rows[i] for i in rng.integers(len(rows), size=16)]
        loss = learner.losses(make_batch(chosen))[0].sum() / sum(len(row.target) for row in chosen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    lm.model.requires_grad_(False)


# A whole little study on disk: a model, tasks with rows, a recipe of two stages.

QUICK = """
[model]
name = "model"
dtype = "float32"
[prompt]
length = 4
vocab_range = [4, 80]
[optim]
lr = 0.05
[train]
steps = 6
batch = 4
eval_every = 3
log_every = 1
checkpoint_every = 2
[eval]
bootstrap = 20
"""

STUDY = f"""name = "tiny"
about = "two stages"
{QUICK}
[energy]
measure = "off"  # readings differ from run to run
[[stage]]
name = "sources"
tasks = ["mood.toml", "topic.toml"]
seeds = [0, 1]

[[stage]]
name = "targets"
tasks = ["rank.toml"]
seeds = [0, 1]
[stage.grid]
"data.few_shot" = [3, "full"]
[[stage.variant]]
name = "vocab"
[[stage.variant]]
name = "spot"
prompt.init = "sources/mood"
[[stage.variant]]
name = "attempt"
sources = ["sources/*"]
method = {{ name = "attempt", temperature = "auto", bottleneck = 8 }}
"""

ANSWERS = {  # task -> what a text's first and last word (numbers) make the answer
    "mood": (("negative", "positive"), lambda first, last: first % 2),
    "topic": (("not entailment", "very very good"), lambda first, last: int(last < 42)),
    "rank": (("negative", "very very good"), lambda first, last: int(first < 42)),
}


def _task_rows(task: str, split: str, count: int) -> list[tuple[str, int]]:
    rng = np.random.default_rng([len(split), *task.encode()])
    rows = [rng.integers(85, size=rng.integers(2, 7)) for _ in range(count)]
    return [(" ".join(f"w{n}" for n in row), ANSWERS[task][1](int(row[0]), int(row[-1]))) for row in rows]


def write_world(folder: Path, rows: int = 12) -> Path:
    """`model/` (a T5 that has learned to say labels), three tasks with CSV rows, and `study.toml`."""
    folder.mkdir(parents=True, exist_ok=True)
    lm = make_lm("t5")
    lesson = []
    for task, (words, _) in ANSWERS.items():
        for split in ("train", "validation", "test"):
            lines = _task_rows(task, split, rows)
            text = "".join(f"{text},{label}\n" for text, label in lines)
            (folder / f"{task}-{split}.csv").write_text("text,label\n" + text)
            sources, targets = lm.text.sources([t for t, _ in lines])[0], lm.text.targets([words[n] for _, n in lines])
            lesson += [EncodedRow(tuple(s), tuple(t)) for s, t in zip(sources, targets, strict=True)]
        files = "".join(f'{split} = "{task}-{split}.csv"\n' for split in ("train", "validation", "test"))
        (folder / f"{task}.toml").write_text(
            f'name = "{task}"\ntemplate = "{{text}}"\nmetrics = ["accuracy", "macro_f1"]\n'
            f'[labels]\n0 = "{words[0]}"\n1 = "{words[1]}"\n[files]\n{files}'
        )
    teach(lm, lesson, steps=60)
    lm.model.save_pretrained(folder / "model")
    lm.tokenizer.save_pretrained(folder / "model")
    (folder / "study.toml").write_text(STUDY)
    return folder


def cpeft_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "cpeft.cli", *map(str, arguments)]


def child_environment(**more: str) -> dict[str, str]:
    """For child processes: one thread, no network, no task data of the machine."""
    env = {k: v for k, v in os.environ.items() if k not in ("CPEFT_DATA", "CPEFT_MODELS")}
    return {**env, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": SRC, **more}


def run_cpeft(
    *arguments: object, more_environment: dict[str, str] | None = None, **more: Any
) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    env = child_environment(**(more_environment or {}))
    return subprocess.run(cpeft_command(*arguments), capture_output=True, text=True, env=env, timeout=240, **more)
