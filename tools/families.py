"""Every family of transformers, tried at tiny size: is a row's answer the same alone and in a batch?

    python -m tools.families                       # every type, the table to docs/families.md (an hour)
    python -m tools.families mistral mpt gemma2    # these types alone, to the terminal

A random model of two layers is made from each type's configuration. Its weights are enlarged so that attention matters, and its
windows are shortened to 16 positions. Prompts shorter and longer than a window stand before texts of 1 to 40 tokens. Greedy
answers and the probabilities of three labels are compared for every row: alone, in one batch with all the others, and as
transformers' own `generate` answers without padding. Each type runs in a process of its own.
"""

import argparse
import multiprocessing
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from cpeft.data.rows import EncodedRow
from cpeft.errors import ConfigError
from cpeft.evaluation.decoding import decode_rows
from cpeft.methods.base import METHODS, MethodInputs
from cpeft.models.greedy import plain_greedy
from cpeft.models.loading import FrozenLM, load_lm
from cpeft.models.prompted import PromptedLM
from cpeft.models.splice import join
from cpeft.models.tiny import write_tokenizer
from cpeft.options.evaluation import EvalOptions

WINDOW, POSITIONS, VOCABULARY = 16, 256, 259
LARGER, FARTHER = 6.0, 4.0  # weights, so that rows are answered differently; attention to the encoder once more
ACROSS = ("encoder_attn", "EncDecAttention", "cross")  # in the names of attention to the encoder
PROMPTS = (5, 24)  # rows: shorter and longer than a window
TEXTS = (1, 40, 3, 17, 9, 28, 2, 12)  # tokens
NEW = 5
DTYPES = ("float32", "float64", "bfloat16")
LABELS = ("yes", "no", "not at all")
LARGEST = 200_000_000  # parameters: parts of a model whose sizes `SIZES` does not name keep their own
SECONDS = 600  # that one type may take
CLOSE, NEAR = 1e-4, 1e-3  # probabilities that count as equal; best scores that count as tied
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "word_embed_proj_dim", "embedding_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers",
                     "num_encoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads",
                     "decoder_attention_heads", "num_encoder_attention_heads", "num_decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "multi_query_group_num"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_hidden_size",
                     "moe_intermediate_size", "expert_ffn_hidden_size", "shared_expert_intermediate_size", "dim_ff",
                     "intermediate_size_mlp"), 48),
    **dict.fromkeys(("head_dim", "d_kv", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "dim_head"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("rotary_dim",), 4),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk", "n_group", "topk_group"), 2),
    **dict.fromkeys(("n_group", "topk_group"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"), POSITIONS),
    **dict.fromkeys(("sliding_window", "window_size", "attention_chunk_size", "local_attention"), WINDOW),
    "attention_window": [WINDOW, WINDOW], "sliding_window_pattern": 2, "local_radius": WINDOW, "vocab_size": VOCABULARY,
    "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1, "attention_types": [[["global", "local"], 1]],
    "attn_config": {"alibi": True, "attn_impl": "eager"}, "first_k_dense_replace": 1, "rope_dim": 8,
    "num_kv_shared_layers": 0,
}  # fmt: skip
FIXED = {"decoder_start_token_id": 0, "forced_eos_token_id": None, "forced_bos_token_id": None}


@dataclass(frozen=True)
class Verdict:
    """What one type came to. `state`: equal, refused, differs, or not built (its reason in `why`); `kept`: how far the prompt
    is computed once; `near`: rows whose two best labels are nearly tied; `apart`: largest difference of probabilities."""

    family: str
    kind: str
    state: str
    why: str = ""
    kept: str = ""
    near: int = 0
    apart: float = 0.0
    half: str = ""


def tiny_config(family: str, seq2seq: bool) -> Any:
    """The configuration of a type at tiny size, windows included: with all of `SIZES` that it knows, or without those that some
    types compute for themselves."""
    plain = AutoConfig.for_model(family)
    known = {key: value for key, value in SIZES.items() if _has(plain, key)}
    if _has(plain, "sliding_window"):
        known["sliding_window"] = WINDOW
    if "kv_lora_rank" in known:  # keys and values of every head come from one small vector
        known["num_key_value_heads"] = SIZES["num_attention_heads"]
    if kinds := getattr(plain, "layer_types", None):
        first = next((kind for kind in kinds if kind != "full_attention"), kinds[0])
        known["layer_types"] = [first, "full_attention" if "full_attention" in kinds else kinds[-1]]
    known |= {key: value for key, value in FIXED.items() if seq2seq or _has(plain, key)}
    if not seq2seq and _has(plain, "is_decoder"):
        known["is_decoder"] = True
    reason: Exception | None = None
    for left_out in ((), ("layer_types",), ("layer_types", "head_dim"), ("head_dim",), ("num_key_value_heads",)):
        try:
            config = AutoConfig.for_model(family, **{k: v for k, v in known.items() if k not in left_out})
            auto = AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM
            with torch.device("meta"):
                count = sum(p.numel() for p in auto.from_config(config).parameters())
        except Exception as error:
            reason = reason or error
        else:
            if count > LARGEST:
                raise ValueError(
                    f"its parts have {count / 1e6:,.0f} million parameters at the smallest size known here"
                )
            return config
    assert reason
    raise reason


def _has(config: Any, key: str) -> bool:
    try:
        return hasattr(config, key)
    except Exception:  # some refuse to say one value for all layers
        return False


def write_model(family: str, folder: Path, seq2seq: bool) -> None:
    """A random model of a type with enlarged weights, and a tokenizer of bytes."""
    torch.manual_seed(0)
    auto = AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM
    model = auto.from_config(tiny_config(family, seq2seq)).eval()
    with torch.no_grad():
        if not seq2seq:
            model(**model.dummy_inputs)  # else its sizes do not go together, which says nothing of the type
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.mul_(LARGER * (FARTHER if any(part in name for part in ACROSS) else 1))
            else:  # norms, biases and gates that begin at zero
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    write_tokenizer(folder, seq2seq)


def learner_of(lm: FrozenLM, rows: int) -> PromptedLM:
    """Prompt tuning with so many rows of the vocabulary."""
    table_VD = lm.vocabulary.table_VD
    start_PD = table_VD[torch.arange(rows) * 7 % len(table_VD)].to(lm.precise)
    method = METHODS.get("prompt_tuning")
    return PromptedLM(lm, method(method.Options(), MethodInputs(("t",), start_PD)))


def texts(lm: FrozenLM) -> list[EncodedRow]:
    """Rows of very different lengths, over all of the vocabulary but its special tokens."""
    draw = torch.Generator().manual_seed(1)
    ids = [torch.randint(3, VOCABULARY, (length,), generator=draw).tolist() for length in TEXTS]
    tail = [lm.text.end] if lm.encoder_decoder else []
    return [EncodedRow((*row, *tail), (lm.text.end,)) for row in ids]


def answers(learner: PromptedLM, groups: Iterable[Sequence[EncodedRow]]) -> list[str]:
    options = EvalOptions(max_new_tokens=NEW, token_budget=10**6)
    return [row.text for group in groups for row in decode_rows(learner, group, (), options)]


def scores(learner: PromptedLM, groups: Iterable[Sequence[EncodedRow]]) -> torch.Tensor:
    """Log-probabilities of the labels, a row of the batch a row."""
    labels = [tuple(ids) for ids in learner.text.targets(LABELS)]
    return torch.cat([
        torch.stack([learner.score(learner.layout.batch([replace(row, target=ids) for row in group])) for ids in labels], 1)
        for group in groups
    ]).double()  # fmt: skip


def own_answers(learner: PromptedLM, rows: Sequence[EncodedRow], together: bool) -> tuple[list[str], list[float]]:
    """What transformers' `generate` says behind [prompt ; text] with nothing of ours: one by one, or padded as it asks for; and
    how far its two best tokens lay apart where they were closest."""
    lm = learner.lm
    prompt_PD = learner.method.export()["t"].weight.to(lm.embeddings.weight.dtype)
    said, margins = [], []
    for group in [rows] if together else [[row] for row in rows]:
        batch = learner.layout.batch(group)
        x_BLD = lm.embed(batch.source_BL)
        side = "right" if lm.encoder_decoder else "left"
        joined, mask, _ = join(prompt_PD.expand(len(group), -1, -1), x_BLD, batch.mask_BL, side)
        with plain_greedy(lm.model, lm.text.pad, lm.text.end), torch.no_grad():
            out = lm.model.generate(inputs_embeds=joined, attention_mask=mask.long(), max_new_tokens=NEW,
                                    output_logits=True, return_dict_in_generate=True)  # fmt: skip
        said += [lm.text.decode(ids[1 if lm.encoder_decoder else 0 :]) for ids in out.sequences.tolist()]
        best_SB2 = torch.stack(out.logits).topk(2, -1).values
        margins += (best_SB2[..., 0] - best_SB2[..., 1]).amin(0).tolist()
    return said, margins


class NotIn64(Exception):
    """transformers' own module does not compute in float64."""


def differences(folder: Path, dtypes: Sequence[str]) -> tuple[list[str], str, int, float, str]:
    """What differs, how rows stand in a batch, near ties, the largest difference of probabilities, bfloat16's disagreements.
    Raises NotIn64 where float64 is asked of a module that fails in it with nothing of ours."""
    faults: list[str] = []
    near, apart, half = 0, 0.0, ""
    for dtype in dtypes:
        lm = load_lm(folder, dtype="float32" if dtype == "float64" else dtype)  # type: ignore[arg-type]
        if dtype == "float64":
            if hasattr(lm.model, "set_experts_implementation"):
                lm.model.set_experts_implementation("eager")  # the grouped product of experts knows no float64
            module = lm.model.double()
            if not lm.encoder_decoder:
                try:
                    with torch.no_grad():
                        module(**module.dummy_inputs)
                except RuntimeError as error:
                    raise NotIn64(_first_line(error)) from error
            lm = FrozenLM(module, lm.tokenizer, lm.name)
        rows = texts(lm)
        alone, ours, theirs = [[row] for row in rows], 0, 0
        for length in PROMPTS:
            learner = learner_of(lm, length)
            one, all_ = answers(learner, alone), answers(learner, [rows])
            if dtype == "bfloat16":
                ours += sum(a != b for a, b in zip(one, all_, strict=True))
                single, batch = (own_answers(learner, rows, together)[0] for together in (False, True))
                theirs += sum(a != b for a, b in zip(single, batch, strict=True))
                half = f"{ours} / {theirs}"
                continue
            one_BC, all_BC = scores(learner, alone), scores(learner, [rows])
            best = one_BC.topk(2, 1).values
            tied = (best[:, 0] - best[:, 1]) < NEAR  # labels
            off = (one_BC.softmax(1) - all_BC.softmax(1)).abs().max().item()
            where = f"{dtype}, {length} prompt rows"
            if off > (CLOSE if dtype == "float32" else 1e-6):
                faults.append(f"probabilities alone and together differ by {off:.1g} ({where})")
            if len(set(one)) < 2:
                faults.append(f"only {len(set(one))} answers to {len(rows)} rows, which shows nothing ({where})")
            said, margins = own_answers(learner, rows, False)
            close = [dtype == "float32" and margin < NEAR for margin in margins]
            if dtype == "float32":
                near, apart = near + int(tied.sum()) + sum(close), max(apart, off)
            for name, other in {"in a batch": all_, "by generate": said}.items():
                count = sum(a != b and not tie for a, b, tie in zip(one, other, close, strict=True))
                if count:
                    faults.append(f"{count} of {len(rows)} answers differ {name} ({where})")
    return faults, "" if lm.encoder_decoder else way(lm), near, apart, half


def way(lm: FrozenLM) -> str:
    """How rows of different lengths stand in one batch of a decoder-only model."""
    if not lm.keeps_prompt:
        return "prompt with every row" + ("" if lm.pads_left else ", by length")
    limit = lm.gap_limit
    if limit is None:
        return "prompt once"
    beyond = "prompt with every row" if lm.pads_left else "by length"
    return f"prompt once up to {limit} positions, then {beyond}" if limit else beyond


def judge(family: str, seq2seq: bool, dtypes: Sequence[str] = DTYPES) -> Verdict:
    """One type from its configuration to its verdict."""
    kind = "encoder-decoder" if seq2seq else "decoder-only"
    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            write_model(family, folder, seq2seq)
            AutoConfig.from_pretrained(folder)
        except Exception as error:
            return Verdict(family, kind, "not built", _first_line(error))
        try:
            try:
                faults, kept, near, apart, half = differences(folder, dtypes)
                unknown = ""
            except NotIn64 as error:
                unknown = f"not tried in float64, in which transformers' module fails ({error})"
                faults, kept, near, apart, half = differences(folder, [each for each in dtypes if each != "float64"])
        except ConfigError as error:
            return Verdict(family, kind, "refused", _first_line(error).replace(f"'{folder}' ", ""))
        except Exception as error:  # what is looked for: a family that neither works nor is refused
            return Verdict(family, kind, "fails", f"{type(error).__name__}: {_first_line(error)}")
    state = "differs" if faults else "equal"
    return Verdict(family, kind, state, "; ".join([*faults, *filter(None, [unknown])]), kept, near, apart, half)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:220]


def _judge_into(pipe: Any, family: str, seq2seq: bool) -> None:
    warnings.filterwarnings("ignore")
    pipe.send(judge(family, seq2seq))


def judge_apart(family: str, seq2seq: bool) -> Verdict:
    """`judge` in a process of its own, which may crash or hang."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_judge_into, args=(theirs, family, seq2seq))
    process.start()
    theirs.close()
    try:
        if ours.poll(SECONDS):
            return ours.recv()  # type: ignore[no-any-return]
        why = f"no answer within {SECONDS} s"
    except EOFError:
        process.join()
        why = f"its process ended with {process.exitcode}"
    finally:
        process.kill()
        process.join()
    return Verdict(family, "encoder-decoder" if seq2seq else "decoder-only", "fails", why)


def page(verdicts: Sequence[Verdict], untried: Sequence[str]) -> str:
    """The table as Markdown, with the types that were not tried."""
    count = {
        state: sum(v.state == state for v in verdicts)
        for state in ("equal", "refused", "differs", "fails", "not built")
    }
    head = f"""# Model families

Every type of `AutoModelForCausalLM` and `AutoModelForSeq2SeqLM` in transformers {transformers.__version__}, made at
tiny size from its configuration with windows of {WINDOW} positions and tried by `python -m tools.families`
(torch {torch.__version__}, on a CPU). Each row is answered alone, in one batch with {len(TEXTS) - 1} others of
{min(TEXTS)} to {max(TEXTS)} tokens, and by transformers' own `generate` without padding, behind prompts of
{PROMPTS[0]} and {PROMPTS[1]} rows.

- **equal** ({count["equal"]}): the same greedy answers in float64 and float32, and probabilities of labels within
  {CLOSE:g} in float32.
- **refused** ({count["refused"]}): refused by name when the model is loaded, with this reason.
- **differs** ({count["differs"]}) and **fails** ({count["fails"]}): neither. Do not use these.
- **not built** ({count["not built"]}): transformers makes no text model that runs of this configuration at this size, so
  nothing is known. Most are models of images or sound.

*in one batch* says how rows of different lengths stand together: with keys and values of the prompt computed once
(always, or up to the shortest window), with the prompt in every row behind padding, or in parts of one length, without
padding. *near ties* counts rows whose two best labels lie within {NEAR:g} nats, of {2 * len(TEXTS)}. *bfloat16* counts
answers, of {2 * len(TEXTS)}, that differ between alone and together: ours / transformers' own `generate`.

"""
    lines = ["| type | kind | verdict | in one batch | near ties | largest difference | bfloat16 | reason |",
             "|---|---|---|---|---:|---:|---:|---|"]  # fmt: skip
    order = {"differs": 0, "fails": 1, "equal": 2, "refused": 3, "not built": 4}
    for v in sorted(verdicts, key=lambda v: (order[v.state], v.kind, v.family)):
        figures = f"{v.near} | {v.apart:.0e} | {v.half}" if v.state in ("equal", "differs") else " | | "
        why = v.why.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| `{v.family}` | {v.kind} | {v.state} | {v.kept} | {figures} | {why} |")
    rest = f"\nNot tried in this reading: {', '.join(f'`{name}`' for name in untried)}.\n" if untried else ""
    return head + "\n".join(lines) + "\n" + rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help="transformers' model types; without any, all of them")
    parser.add_argument("--out", type=Path, help="the page to write [default: docs/families.md where all are tried]")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    both = [(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, False), (MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, True)]
    known = [(family, seq2seq) for names, seq2seq in both for family in names]
    verdicts = []
    for family, seq2seq in known:
        if not options.families or family in options.families:
            verdicts.append(judge_apart(family, seq2seq))
            print(verdicts[-1], flush=True)
    out = options.out or (None if options.families else Path("docs/families.md"))
    if out:
        tried = {(verdict.family, verdict.kind == "encoder-decoder") for verdict in verdicts}
        untried = dict.fromkeys(family for family, seq2seq in known if (family, seq2seq) not in tried)
        out.write_text(page(verdicts, list(untried)), encoding="utf-8")


if __name__ == "__main__":
    main()
