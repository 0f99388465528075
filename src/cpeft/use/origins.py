"""Origins: the drawn prompts that training starts from and task vectors are measured from (Belanec et al. 2024 use ten).

Origin i is drawn from the seed and i alone, so a study can add origins later or draw one of them on another machine.
"""

from pathlib import Path
from typing import Any

from cpeft.config import changed_by, parse
from cpeft.errors import ConfigError, writing
from cpeft.models.loading import FrozenLM, load_lm
from cpeft.options.prompt import PromptOptions
from cpeft.prompts.init import initial_prompt
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.seeds import derive, generator


def make_origins(lm: FrozenLM, count: int, seed: int = 0, **prompt: Any) -> dict[str, SoftPrompt]:
    """`origin0` .. `origin{count-1}` by name; `prompt` are settings of `[prompt]` (`length`, `vocab_range`)."""
    options = parse(PromptOptions, prompt, "prompt")
    return {f"origin{index}": make_origin(lm, options, index, seed) for index in range(count)}


def make_origin(lm: FrozenLM, options: PromptOptions, index: int, seed: int = 0) -> SoftPrompt:
    """One origin: `options.init`, by default a sample of the vocabulary, drawn from `seed` and `index`."""

    def resolve(name: str) -> SoftPrompt:
        raise ConfigError(f"an origin is drawn from the model alone; prompt.init = '{options.init}' names '{name}'")

    rows_PD = initial_prompt(options, lm.vocabulary, generator(seed, "origin", index), (), resolve)
    known = Provenance(
        model=lm.name, revision=lm.revision, embedding=lm.fingerprint, config=lm.parts["config"],
        tokenizer=lm.parts["tokenizer"], encoder_decoder=lm.encoder_decoder, method="origin",
        init=str(options.init), seeds={"init": derive(seed, "origin", index)}, run=f"origin{index}",
    )  # fmt: skip
    return SoftPrompt.drawn(rows_PD, known)


def write_origins(model: str, folder: Path, count: int, seed: int, overrides: list[str]) -> list[Path]:
    """Draw origins for a model, loaded in float32 so that every machine draws the same, and save each as a folder."""
    if count < 1:
        raise ConfigError(f"--count {count}: at least one origin is wanted")
    made = make_origins(load_lm(model, dtype="float32"), count, seed, **changed_by(overrides, "prompt"))
    with writing(folder):
        return [origin.save(folder / name) for name, origin in made.items()]
