"""A soft prompt: a small trained matrix with its provenance.

On disk a prompt is a folder that `peft` itself loads (`adapter_model.safetensors`, `adapter_config.json`) plus
`cpeft.json` for everything peft has no field for, a README with code that runs it, and `origin.safetensors`, the matrix
training started from, because a task vector (Task Prompt Vectors, section 3) is the trained matrix minus the origin. Prompts
of encoder-decoder models are written with `num_transformer_submodules: 1`: peft's default of 2 stores twice the rows and never
reads the second half. A prompt trained in that layout on purpose has the second half as `dead` and is written as peft writes
it. Nothing is ever unpickled.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from cpeft.errors import PromptError, PromptMismatch
from cpeft.files import read_json, replace_bytes, replace_text, write_json
from cpeft.prompts.card import checked
from cpeft.prompts.readme import readme

MODEL_PARTS = {"tokenizer": "tokenizer", "template": "chat template", "config": "configuration"}
PEFT_KEY = "prompt_embeddings"  # the one key of peft's prompt tuning checkpoints


@dataclass(frozen=True)
class Provenance:
    """The history of a prompt or a task vector: base model, fingerprint of its embedding table, task, method, run, scores, and
    the record of prompt arithmetic (`prompts/vectors.py`)."""

    model: str = ""
    revision: str | None = None
    embedding: str = ""  # SHA-256 of the model's embedding table; empty if a foreign file does not record it
    config: str = ""  # hash of the model's configuration; these three are empty if not recorded
    tokenizer: str = ""
    template: str = ""  # hash of its chat template, if the text is rendered with it
    dtype: str = ""  # of the model in training: the fingerprint is that of the table as rounded to it
    encoder_decoder: bool | None = None
    text: dict[str, Any] = field(default_factory=dict)  # the text options it was trained under
    asked: dict[str, Any] = field(default_factory=dict)  # the row format by task (`evaluation/row_format.py`)
    task: str = ""
    method: str = ""
    init: str = ""  # the formula training started from
    seeds: dict[str, int] = field(default_factory=dict)
    run: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    note: str = ""
    formula: str = ""  # the formula of a composed prompt; empty for a trained or drawn one
    linear: dict[str, float] = field(default_factory=dict)  # coefficients by task of a composed prompt or vector
    origin: str = ""  # hash of the matrix that vectors of this prompt, or this vector, are measured from
    crossed: list[str] = field(default_factory=list)  # hashes of other origins that parts were measured from
    mixed: list[str] = field(default_factory=list)  # other forms of text that parts were trained under


@dataclass(frozen=True, eq=False)
class SoftPrompt:
    """`weight`: float32 (P, D), the rows before the input; `origin`: the (P, D) matrix training started from; `dead`: as many
    rows with their origin, stored after these and read by no model. All are copies of the arguments, so that further training
    does not change an exported prompt. Raises PromptError for other shapes and for values that are not finite."""

    weight: Float[Tensor, "P D"]
    provenance: Provenance = field(default_factory=Provenance)
    origin: Float[Tensor, "P D"] | None = None
    dead: "SoftPrompt | None" = None

    def __post_init__(self) -> None:
        if self.weight.dim() != 2 or 0 in self.weight.shape:
            raise PromptError(f"a prompt is a matrix of rows x width, got shape {tuple(self.weight.shape)}")
        if not torch.isfinite(self.weight).all():
            raise PromptError("a prompt must be finite; this one holds NaN or infinity")
        if self.origin is not None and self.origin.shape != self.weight.shape:
            shapes = f"{tuple(self.origin.shape)}, the prompt {tuple(self.weight.shape)}"
            raise PromptError(f"the origin of a prompt has its rows and width; this one has shape {shapes}")
        if self.dead is not None and self.dead.weight.shape != self.weight.shape:
            raise PromptError(f"{self.length} live rows have as many dead ones behind them, not {self.dead.length}")
        for name in ("weight", "origin"):
            if (matrix := getattr(self, name)) is not None:
                object.__setattr__(self, name, own_copy(matrix))

    @classmethod
    def from_stored_rows(
        cls, rows_ND: Tensor, live: int, provenance: Provenance, origin_ND: Tensor | None = None
    ) -> "SoftPrompt":
        """The prompt of the first `live` of the stored rows, with the others as its dead rows."""
        fore, back = (None, None) if origin_ND is None else (origin_ND[:live], origin_ND[live:])
        dead = cls(rows_ND[live:], origin=back) if live < len(rows_ND) else None
        return cls(rows_ND[:live], provenance, fore, dead)

    def whole(self) -> "SoftPrompt":
        """Live and dead rows as one prompt, for studies of doubled prompts."""
        if self.dead is None:
            return self
        both = None if self.origin is None or self.dead.origin is None else torch.cat([self.origin, self.dead.origin])
        return SoftPrompt(torch.cat([self.weight, self.dead.weight]), self.provenance, both)

    @classmethod
    def drawn(cls, weight: Float[Tensor, "P D"], provenance: Provenance) -> "SoftPrompt":
        """An origin: an untrained prompt, which records itself as its origin."""
        return cls(weight, replace(provenance, origin=matrix_hash(own_copy(weight))))

    @property
    def length(self) -> int:
        return int(self.weight.shape[0])

    @property
    def width(self) -> int:
        return int(self.weight.shape[1])

    @property
    def measured_from(self) -> str:
        """Hash of the recorded origin, that of the prompt itself for an origin; empty if it records none."""
        return self.provenance.origin if self.origin is None else matrix_hash(self.origin)

    @property
    def is_origin(self) -> bool:
        """Whether it records that it is untrained."""
        return self.origin is None and self.measured_from == matrix_hash(self.weight)

    def with_origin(self, origin: "SoftPrompt") -> "SoftPrompt":
        """The same prompt with the origin it was trained from, for files without one. Raises PromptMismatch if model, width or
        length differ, or if the prompt records another origin."""
        check_same_space(self, origin)
        given = matrix_hash(origin.weight)
        if self.measured_from not in ("", given):
            raise PromptMismatch(
                f"the prompt records that it was trained from origin {self.measured_from[:8]}, and this one is {given[:8]}: "
                "omit --origin; the recorded origin is used"
            )
        return replace(self, origin=origin.weight)

    def keep(self, spec: str) -> "SoftPrompt":
        """The prompt with `all` rows, or with the `first:N`, for prompts that a published system cut to N rows. Raises
        PromptError for another `spec`."""
        if spec == "all":
            return self
        word, _, count = spec.partition(":")
        if word != "first" or not count.isdigit() or not 0 < int(count) <= self.length:
            raise PromptError(f"rows = '{spec}': use 'all' or 'first:N' with N up to the prompt's {self.length} rows")
        known = replace(self.provenance, note=f"first {count} of {self.length} rows", origin="")
        if self.is_origin:
            return SoftPrompt.drawn(self.weight[: int(count)], known)
        origin = None if self.origin is None else self.origin[: int(count)]
        return SoftPrompt(self.weight[: int(count)], known, origin)

    def save(self, folder: str | Path) -> Path:
        """Write the prompt as a folder; each file is replaced atomically."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        known, whole = self.provenance, self.whole()
        replace_bytes(folder / "adapter_model.safetensors", save({PEFT_KEY: whole.weight}, {"format": "pt"}))
        origin = folder / "origin.safetensors"
        if whole.origin is None:
            origin.unlink(missing_ok=True)  # from a prompt saved in this folder before
        else:
            replace_bytes(origin, save({"origin": whole.origin}, {"format": "pt"}))
        kinds = {None: None, True: "SEQ_2_SEQ_LM", False: "CAUSAL_LM"}
        write_json(folder / "adapter_config.json", {
            "peft_type": "PROMPT_TUNING", "task_type": kinds[known.encoder_decoder],
            "base_model_name_or_path": known.model, "revision": known.revision,
            "num_virtual_tokens": self.length, "token_dim": self.width,
            "num_transformer_submodules": whole.length // self.length,
            "prompt_tuning_init": "RANDOM", "inference_mode": True,  # RANDOM: what peft does before it loads the weights
        })  # fmt: skip
        card = {"format": 1, "length": self.length, **asdict(known)}
        write_json(folder / "cpeft.json", card)
        replace_text(folder / "README.md", readme(card))
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> "SoftPrompt":
        """Read a folder written by `save`; raises PromptError with the file and the reason."""
        folder = Path(folder)
        path, weight = folder / "cpeft.json", read_matrix(folder / "adapter_model.safetensors", PEFT_KEY)
        card, origin = read_json(path), folder / "origin.safetensors"
        length = card.get("length", len(weight))
        if length not in (len(weight), len(weight) / 2):
            raise PromptError(
                f"{path}: 'length' is {str(length)[:20]}, and {len(weight)} rows are stored; copy the folder again"
            )
        known, start = checked(Provenance, card, path), read_matrix(origin, "origin") if origin.exists() else None
        if start is not None and start.shape != weight.shape:
            shapes = f"{tuple(start.shape)}, and the prompt is {tuple(weight.shape)}"
            raise PromptError(f"{origin}: the origin of a prompt has its rows and width; this one is {shapes}")
        return cls.from_stored_rows(weight, int(length), known, start)


@runtime_checkable
class PromptOrVector(Protocol):
    """The common interface of SoftPrompt and TaskVector."""

    @property
    def provenance(self) -> Provenance: ...
    @property
    def length(self) -> int: ...
    @property
    def width(self) -> int: ...


def differing_part(known: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The first part of the model that two cards record differently, with both hashes; None if none differs."""
    for name, part in MODEL_PARTS.items():
        ours, theirs = known.get(name), other.get(name)
        if ours and theirs and ours != theirs:
            return part, str(ours)[:8], str(theirs)[:8]
    return None


def check_same_space(*prompts: PromptOrVector) -> None:
    """Raise PromptMismatch, naming both, unless all prompts and task vectors share model, width and length."""
    for first, other in combinations(prompts, 2):
        a, b = first.provenance, other.provenance
        names = f"'{a.run or a.task or 'first'}' and '{b.run or b.task or 'second'}'"
        if a.embedding and b.embedding and a.embedding != b.embedding:
            raise PromptMismatch(f"prompts {names} belong to different models: {a.model} and {b.model}")
        if differing := differing_part(vars(a), vars(b)):
            part, ours, theirs = differing
            raise PromptMismatch(
                f"prompts {names} were trained under different models: {part} {ours} of {a.model}, {theirs} of {b.model}"
            )
        if first.width != other.width:
            raise PromptMismatch(f"prompts {names} have different widths: {first.width} and {other.width}")
        if first.length != other.length:
            raise PromptMismatch(
                f"prompts {names} have different lengths: {first.length} and {other.length} rows; "
                "train them with one prompt.length, or cut on purpose with source.rows = 'first:N'"
            )


def own_copy(matrix_PD: Tensor) -> Float[Tensor, "P D"]:
    """A float32 copy on the CPU that shares no storage and has no gradient."""
    return matrix_PD.detach().to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)


def matrix_hash(matrix_PD: Float[Tensor, "P D"]) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of a float32 matrix: the identity of prompts and origins."""
    return hashlib.sha256(matrix_PD.numpy().tobytes()).hexdigest()[:16]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file; raises PromptError naming the file."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise PromptError(f"{path}: no such file; a prompt is a folder written by cpeft or peft") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise PromptError(f"{path}: not a readable safetensors file ({error}); copy it again") from None


def read_matrix(path: Path, key: str) -> Float[Tensor, "N D"]:
    """A matrix of a safetensors file in float32; raises PromptError naming the file."""
    matrix = read_tensors(path).get(key)
    if matrix is None or matrix.dim() != 2:
        found = "there is none" if matrix is None else f"it has shape {tuple(matrix.shape)}"
        raise PromptError(f"{path}: a matrix '{key}' is wanted, and {found}; is this a prompt?")
    return matrix.float()
