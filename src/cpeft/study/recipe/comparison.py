"""A comparison: the run of a stage that trains nothing and compares prompts of earlier stages.

[[stage]]
name = "similarity"
compare = ["sources/*@*", "targets/vocabulary/*@*"]

Its `similarity.json` (`store/similarity.py`) holds the similarities of the prompts and of their task vectors, each prompt minus
its own origin. Live rows are compared, and all stored rows too for prompts that have dead rows. Nothing else is needed to draw
it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from cpeft.config import Options, Table, digest, parse
from cpeft.errors import ConfigError
from cpeft.store.machine import hardware, versions
from cpeft.store.result import ComparingSeconds, ComparisonResult, write_result
from cpeft.store.run_folder import RunFolder
from cpeft.store.similarity import ComparedPrompt, SavedSimilarity, SimilarityTables, write_similarity
from cpeft.study.recipe.references import RecipeRun, References, Source

if TYPE_CHECKING:
    from torch import Tensor

    from cpeft.prompts.soft_prompt import SoftPrompt

SCHEMA = 2  # raise when a comparison of the same prompts gives other results


class ComparisonStage(Options):
    """A stage that compares prompts of earlier stages and trains nothing."""

    name: str = Field(pattern=r"^[\w.-]+$", description="Name of the stage.")
    about: str = Field(default="", description="What the stage is for; for readers alone.")
    compare: tuple[str, ...] = Field(
        min_length=1, description="Prompts to compare: files or earlier runs, `stage/*@*` is every task and seed."
    )

    def run(self, forced: Table, base: Path) -> "Comparison":
        """Its one run, under the overrides of the command line."""
        compare = parse(ComparisonStage, {**self.model_dump(), **forced}, self.name).compare
        return Comparison(self.name, self.name, self.name, base, (), compare)


@dataclass(frozen=True)
class Comparison(RecipeRun):
    """The comparison of all prompts that `compare` names."""

    compare: tuple[str, ...]

    def references(self) -> list[str]:
        return list(self.compare)

    def needs(self, references: References) -> list[RecipeRun]:
        needs = super().needs(references)
        files = [name for name in set(self.compare) if not references.named(name, self)]
        if len(files) + sum(len(run.tasks) for run in needs) < 2:
            raise ConfigError(
                f"{self}: compare = {list(self.compare)} names fewer than two prompts; "
                "'stage/*' is every task of a stage, '@*' every seed"
            )
        return needs

    def identity(self, references: References) -> str:
        from cpeft.prompts.soft_prompt import matrix_hash  # here: only a plan with finished comparisons needs torch

        content = [
            [
                card.model_dump(exclude_unset=True),
                *("" if matrix is None else matrix_hash(matrix) for matrix in (prompt.origin, dead_ND)),
            ]
            for card, prompt, dead_ND in self._compared(references)
        ]
        return digest({"schema": SCHEMA, "compared": content, **self.code})[:12]

    def saved(self) -> Table:
        return {"compare": list(self.compare)}

    def similarity(self, references: References) -> SavedSimilarity:
        """The content of `similarity.json`; raises PromptMismatch for prompts that cannot be compared, PromptError for fewer
        than two."""
        from cpeft.prompts.similarity import Item, compare
        from cpeft.prompts.vectors import TaskVector

        compared = list(self._compared(references))
        items = [Item.of(card.name, prompt, dead_ND) for card, prompt, dead_ND in compared]
        stored = [item for item in items if item.dead_ND is not None]
        vectors = [
            Item.of(card.name, TaskVector.of(prompt)) for card, prompt, _ in compared if prompt.origin is not None
        ]
        found = [compare(items)]
        found += [compare(stored, "all")] if len(stored) > 1 else []
        found += [compare(vectors)] if len(vectors) > 1 else []
        cards = tuple(SimilarityTables.model_validate(each.card()) for each in found)
        return SavedSimilarity(compare=self.compare, compared=tuple(card for card, _, _ in compared), cards=cards)

    def _compared(self, references: References) -> Iterator[tuple[ComparedPrompt, "SoftPrompt", "Tensor | None"]]:
        """The record in `similarity.json` of every prompt, the prompt, and its dead rows."""
        from cpeft.prompts.exchange import load_stored
        from cpeft.prompts.soft_prompt import matrix_hash

        named = [source for reference in self.compare for source in references.prompts(reference, self)]
        sources = list({source.path: source for source in named}.values())
        for name, source in zip(_names(sources), sources, strict=True):
            prompt, dead_ND = load_stored(source.path)
            run = {"run": str(source.run), "prompt": source.name, "seed": source.run.seed} if source.run else {}
            card = {"name": name, "hash": matrix_hash(prompt.weight), **run}
            yield ComparedPrompt.model_validate(card), prompt, dead_ND

    def conclude(self, similarity: SavedSimilarity, seconds: float, folder: RunFolder) -> None:
        """Write `similarity.json`, and last `result.json`, which has no task."""
        write_similarity(folder.similarity_path, similarity)
        result = ComparisonResult(
            stage=self.stage, label=self.label, name=self.name, compared=len(similarity.compared),
            seconds=ComparingSeconds(comparing=seconds), versions=versions(), hardware=hardware(),
        )  # fmt: skip
        write_result(folder.result_path, result)


def _names(sources: Sequence[Source]) -> list[str]:
    """`mood@0` for a prompt and its seed, or the name of a file; where that is not unique, run and prompt, or the path."""
    short = [f"{name}@{run.seed}" if run else name for name, _, run in sources]
    long = [f"{run}/{name}" if run else str(path) for name, path, run in sources]
    return [name if short.count(name) == 1 else other for name, other in zip(short, long, strict=True)]
