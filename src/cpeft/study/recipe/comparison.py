"""A comparison: the run of a stage that trains nothing and compares prompts of earlier stages.

[[stage]]
name = "similarity"
compare = ["sources/*@*", "targets/vocabulary/*@*"]

Its `similarity.json` holds `compare`; `compared`, which prompt stands behind every name; and `cards`, what
`prompts/similarity.py` finds (`Similarity.card`) of the prompts and of their task vectors, each prompt minus its own origin.
All are compared on live rows, those stored with dead rows on all stored rows too. Nothing else is needed to draw it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cpeft.config import Options, Table, digest, parse
from cpeft.errors import ConfigError
from cpeft.files import replace_text
from cpeft.store.machine import hardware, versions
from cpeft.store.result import ComparingSeconds, ComparisonResult, write_result
from cpeft.store.run_folder import RunFolder
from cpeft.study.recipe.references import RecipeRun, References, Source

if TYPE_CHECKING:
    from torch import Tensor

    from cpeft.prompts.soft_prompt import SoftPrompt

SCHEMA = 2  # raise when what is computed of the same prompts changes


class ComparisonStage(Options):
    """A stage that compares, as written."""

    name: str = Field(pattern=r"^[\w.-]+$")
    about: str = ""
    compare: tuple[str, ...] = Field(min_length=1)

    def run(self, forced: Table, base: Path) -> "Comparison":
        """Its one run, with what the command line sets."""
        compare = parse(ComparisonStage, {**self.model_dump(), **forced}, self.name).compare
        return Comparison(self.name, self.name, self.name, base, (), compare)


@dataclass(frozen=True)
class Compared:
    """A prompt to compare, with its dead rows, and what `similarity.json` says of it."""

    card: dict[str, Any]
    prompt: "SoftPrompt"
    dead_ND: "Tensor | None"


@dataclass(frozen=True)
class Comparison(RecipeRun):
    """The comparison of all prompts that `compare` names."""

    compare: tuple[str, ...]

    def references(self) -> list[str]:
        return list(self.compare)

    def needs(self, references: References) -> list[RecipeRun]:
        found = super().needs(references)
        files = [name for name in set(self.compare) if not references.named(name, self)]
        if len(files) + sum(len(run.tasks) for run in found) < 2:
            raise ConfigError(
                f"{self}: compare = {list(self.compare)} names fewer than two prompts; "
                "'stage/*' is every task of a stage, '@*' every seed"
            )
        return found

    def identity(self, references: References) -> str:
        from cpeft.prompts.soft_prompt import (
            matrix_hash,  # here: a plan loads torch only where there are prompts to compare
        )

        content = [
            [each.card, matrix_hash(each.prompt.origin) if each.prompt.origin is not None else "",
             matrix_hash(each.dead_ND) if each.dead_ND is not None else ""]
            for each in self._compared(references)
        ]  # fmt: skip
        return digest({"schema": SCHEMA, "compared": content})[:12]

    def saved(self) -> Table:
        return {"compare": list(self.compare)}

    def found(self, references: References) -> dict[str, Any]:
        """What `similarity.json` holds; raises PromptMismatch for prompts that cannot be compared, PromptError for fewer than
        two."""
        from cpeft.prompts.similarity import Item, compare
        from cpeft.prompts.vectors import TaskVector

        compared = list(self._compared(references))
        items = [Item.of(each.card["name"], each.prompt, each.dead_ND) for each in compared]
        stored = [item for item in items if item.dead_ND is not None]
        vectors = [
            Item.of(each.card["name"], TaskVector.of(each.prompt))
            for each in compared
            if each.prompt.origin is not None
        ]
        cards = [{"what": "prompts", **compare(items).card()}]
        cards += [{"what": "prompts", **compare(stored, "all").card()}] if len(stored) > 1 else []
        cards += [{"what": "vectors", **compare(vectors).card()}] if len(vectors) > 1 else []
        return {"compare": list(self.compare), "compared": [each.card for each in compared], "cards": cards}

    def _compared(self, references: References) -> Iterator[Compared]:
        from cpeft.prompts.exchange import load_stored
        from cpeft.prompts.soft_prompt import matrix_hash

        found = {source.path: source for reference in self.compare for source in references.prompts(reference, self)}
        for name, source in zip(_names(list(found.values())), found.values(), strict=True):
            prompt, dead_ND = load_stored(source.path)
            run = {"run": str(source.run), "prompt": source.name, "seed": source.run.seed} if source.run else {}
            yield Compared({"name": name, "hash": matrix_hash(prompt.weight), **run}, prompt, dead_ND)

    def conclude(self, found: dict[str, Any], seconds: float, folder: RunFolder) -> None:
        """Write `similarity.json`, and last `result.json`, which has no task."""
        replace_text(folder.similarity_path, json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")
        result = ComparisonResult(
            stage=self.stage, label=self.label, name=self.name, compared=len(found["compared"]),
            seconds=ComparingSeconds(comparing=seconds), versions=versions(), hardware=hardware(),
        )  # fmt: skip
        write_result(folder.result_path, result)


def _names(sources: Sequence[Source]) -> list[str]:
    """`mood@0` for a prompt and its seed, the name of a file; where these repeat, the run and the prompt, or the path."""
    short = [f"{name}@{run.seed}" if run else name for name, _, run in sources]
    long = [f"{run}/{name}" if run else str(path) for name, path, run in sources]
    return [name if short.count(name) == 1 else other for name, other in zip(short, long, strict=True)]
