"""What `similarity.json` holds, the result of a stage that compares prompts: `SavedSimilarity`.

`cpeft.prompts.similarity` defines the measures and the kinds of pairs. A number that does not exist is null.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from cpeft.errors import DataError
from cpeft.files import replace_text
from cpeft.store.result import Record

Matrix = tuple[tuple[float | None, ...], ...]


class ComparedPrompt(Record):
    """A prompt that was compared. `run`, `prompt` and `seed` are absent for a prompt of the user."""

    name: str = Field(description="Its name in the tables.")
    hash: str = Field(description="Hash of its live rows.")
    run: str | None = Field(default=None, description="The run that exported it, `stage/run`.")
    prompt: str | None = Field(default=None, description="Its name in that run.")
    seed: int | None = Field(default=None, description="Seed of that run.")


class PromptNorms(Record):
    """One of the prompts, or of their task vectors, in a table."""

    name: str = Field(description="Its name.")
    task: str = Field(description="Its task.")
    origin: str = Field(description="Hash of the matrix that training started from; empty where none is recorded.")
    rows: int = Field(description="Rows compared.")
    norm: float = Field(description="Frobenius norm of these rows.")
    travelled: float | None = Field(description="Norm of live rows minus origin.")
    share: float | None = Field(alias="travelled/origin", description="The same over the norm of the origin.")


class SimilarityTables(Record):
    """The similarities of the prompts, or of their task vectors."""

    what: Literal["prompts", "vectors"] = Field(description="What is compared.")
    rows: Literal["live", "all"] = Field(description="Rows that the model reads, or all stored rows.")
    prompts: tuple[PromptNorms, ...] = Field(description="In the order of `matrices`.")
    tasks: tuple[str, ...] = Field(description="Their tasks, in the order of `by_task`.")
    matrices: dict[str, Matrix] = Field(description="By measure, of every pair of prompts.")
    by_task: dict[str, dict[str, Matrix]] = Field(description="By measure and kind of pairs, means over prompts.")
    gaps: dict[str, dict[str, int | float | None]] = Field(
        description="By measure, means over pairs of one and of two origins."
    )

    @property
    def repeated(self) -> bool:
        """Whether a task stands for several prompts, so that averages over tasks say more than single pairs."""
        return len(self.tasks) < len(self.prompts)


class SavedSimilarity(Record):
    """The result of a comparison."""

    compare: tuple[str, ...] = Field(description="As the recipe names the prompts.")
    compared: tuple[ComparedPrompt, ...] = Field(description="The prompts.")
    cards: tuple[SimilarityTables, ...] = Field(
        description="Of live rows, of all stored rows where some are dead, of vectors."
    )


def read_similarity(path: Path) -> SavedSimilarity | None:
    """The content of a file, None if there is none; raises DataError naming it for anything else."""
    try:
        return SavedSimilarity.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise DataError(f"{path}: not the result of a comparison: {error}") from None


def write_similarity(path: Path, found: SavedSimilarity) -> None:
    """Write it atomically."""
    replace_text(path, found.model_dump_json(by_alias=True, exclude_unset=True) + "\n")
