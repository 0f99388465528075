"""What a process may work on next: the runs of a plan, or of one stage of it, that are ready and that nobody has claimed."""

from collections.abc import Sequence

import tomli_w
import torch
from rich.console import Console

from cpeft.files import read_json, replace_text, write_json
from cpeft.options.training import GangOptions
from cpeft.store.claims import Claim
from cpeft.store.manifest import Manifest, PlannedRun
from cpeft.study.recipe.files import packaged_recipes
from cpeft.study.recipe.runs import Gang
from cpeft.study.runner.pace import Pace
from cpeft.study.runner.plan import Plan, Planned


class Queue:
    """The runs of a plan that this process works on; `stage` narrows them to those of one stage."""

    def __init__(self, plan: Plan, console: Console, stage: str | None = None) -> None:
        self.plan, self.console, self.stage = plan, console, stage
        self.pace = Pace(console)

    def look(self) -> list[Planned]:
        """All runs as they stand now; told where something has changed, and kept in the manifest once a run was made."""
        entries = self.plan.entries()
        self.pace.tell(entries)
        if any(entry.state in ("done", "failed") for entry in entries):
            self.leave_manifest(entries)
        return entries

    def leave_manifest(self, entries: Sequence[Planned]) -> None:
        """Keep the study's manifest and its recipe in the store up to date; other processes write the same files."""
        manifest, store = manifest_of(self.plan, entries), self.plan.store
        path, kept, card = store.path / manifest.path, store.path / manifest.kept, manifest.card()
        with store.lock():
            if not path.exists() or read_json(path) != card:
                write_json(path, card)
            if not kept.exists():
                kept.parent.mkdir(exist_ok=True)
                table = tomli_w.dumps(self.plan.recipe.table)
                replace_text(kept, f"# {manifest.recipe} as it was run, with all that it extends\n{table}")

    def claim(self, entries: Sequence[Planned], gang: Gang | None = None, places: int = 1) -> dict[int, Claim]:
        """The next runs that can share a model, by place in the recipe, claimed for this process: as many as there are places
        in a gang that is at work, or as a new one holds."""
        claims: dict[int, Claim] = {}
        for i, entry in enumerate(entries):
            fits = entry.run.gang == gang if gang else not claims
            if not fits or len(claims) >= places or entry.state != "ready" or not self.ours(entry):
                continue
            if claim := self.plan.store.claim(self.plan.references.folder(entry.run)):
                claims[i] = claim
                if gang is None and (gang := entry.run.gang):
                    places = gang_size(gang[1])
        return claims

    def waits(self, entries: Sequence[Planned]) -> bool:
        """Whether to wait for what other processes have claimed, which may be lost or make more runs ready. Who works on one
        stage does not: it has its place on a machine for that stage alone, and gives it back."""
        left = sum(entry.pending for entry in entries if self.ours(entry))
        if self.stage and left:
            self.console.print(f"{left} runs of {self.stage} are left to others, or to a later job", markup=False)
        return left > 0 and self.stage is None

    def ours(self, entry: Planned) -> bool:
        """Whether this process works on such runs."""
        return self.stage in (None, entry.run.stage)


def gang_size(options: GangOptions) -> int:
    """How many runs to train together: as set, or one on a CPU, where a gang saves no time, and eight on a GPU."""
    auto = 8 if torch.cuda.is_available() else 1
    return auto if options.size == "auto" else options.size


def manifest_of(plan: Plan, entries: Sequence[Planned]) -> Manifest:
    """The manifest of a plan in its present state."""
    recipe = plan.recipe
    file = recipe.files[0].resolve()
    called = next((name for name, path in packaged_recipes().items() if path.resolve() == file), str(file))
    runs = [
        PlannedRun(
            e.run.stage, e.run.name, e.folder.path.relative_to(plan.store.path).as_posix() if e.folder else "",
            e.why if e.state == "blocked" else "",
        )
        for e in entries
    ]  # fmt: skip
    texts = {str(path.resolve()): text for path, text in zip(recipe.files, recipe.texts, strict=True)}
    return Manifest(recipe.name, called, recipe.overrides, plan.only, texts, tuple(runs))
