"""How a process takes runs of a plan: it claims those that can start, and writes the manifest, settings and failures."""

import traceback
from collections.abc import Callable, Sequence

import tomli_w
import torch
from rich.console import Console
from rich.markup import escape

from cpeft.config import Table
from cpeft.errors import LostClaim
from cpeft.files import read_json, replace_text, write_json
from cpeft.options.training import GangOptions
from cpeft.store.claims import Claim
from cpeft.store.manifest import Manifest, PlannedRun
from cpeft.store.run_folder import RunFolder
from cpeft.store.state import RunState
from cpeft.study.recipe.files import packaged_recipes
from cpeft.study.recipe.references import Gang, RecipeRun
from cpeft.study.runner.pace import StudyBars
from cpeft.study.runner.plan import Entry, Plan

CAN_START = (RunState.READY, RunState.STOPPED, RunState.STALE)
RUN_ERRORS = (OSError, ValueError, RuntimeError, KeyError)  # end one run; the others continue


class Claimer:
    """Claims runs of a plan for this process, or only those of one `stage`."""

    def __init__(self, plan: Plan, console: Console, stage: str | None = None) -> None:
        self.plan, self.console, self.stage = plan, console, stage
        self.pace = StudyBars(console)

    def entries(self) -> list[Entry]:
        """All runs with their present state; prints progress, and updates the manifest once any run has ended."""
        entries = self.plan.entries()
        self.pace.show(entries)
        if any(entry.state in (RunState.DONE, RunState.FAILED) for entry in entries):
            self.write_manifest(entries)
        return entries

    def write_manifest(self, entries: Sequence[Entry]) -> None:
        """Update the study's manifest and recipe in the store; other processes write the same files."""
        manifest, store = manifest_of(self.plan, entries), self.plan.store
        path, kept, card = store.path / manifest.path, store.path / manifest.kept, manifest.card()
        with store.lock():
            if not path.exists() or read_json(path) != card:
                write_json(path, card)
            if not kept.exists():
                kept.parent.mkdir(exist_ok=True)
                table = tomli_w.dumps(self.plan.recipe.table)
                replace_text(kept, f"# {manifest.recipe} as it was run, with all that it extends\n{table}")

    def claim(self, entries: Sequence[Entry], gang: Gang | None = None, places: int = 1) -> dict[int, Claim]:
        """Claim the next runs that can share a model; claims by place in the recipe. At most `places` runs for a `gang` that is
        training, else as many as a new gang holds."""
        claims: dict[int, Claim] = {}
        for i, entry in enumerate(entries):
            fits = entry.run.gang == gang if gang else not claims
            if not fits or len(claims) >= places or entry.state not in CAN_START or not self._may_take(entry):
                continue
            if claim := self.plan.store.claim(self.plan.references.folder(entry.run)):
                claims[i] = claim
                if gang is None and (gang := entry.run.gang):
                    places = gang_size(gang[1])
        return claims

    def should_wait(self, entries: Sequence[Entry]) -> bool:
        """Whether to wait for runs of other processes, which may be lost or make more runs ready. A process for one stage does
        not wait: its place on a machine is for that stage alone."""
        left = sum(entry.state.pending for entry in entries if self._may_take(entry))
        if self.stage and left:
            self.console.print(f"{left} runs of {self.stage} are left to other processes or a later job", markup=False)
        return left > 0 and self.stage is None

    def _may_take(self, entry: Entry) -> bool:
        return self.stage in (None, entry.run.stage)


def gang_size(options: GangOptions) -> int:
    """The number of runs to train together: as set, else one on a CPU, where a gang saves no time, and eight on a GPU."""
    auto = 8 if torch.cuda.is_available() else 1
    return auto if options.size == "auto" else options.size


def manifest_of(plan: Plan, entries: Sequence[Entry]) -> Manifest:
    """The manifest of a plan in its present state."""
    recipe = plan.recipe
    file = recipe.files[0].resolve()
    name = next((name for name, path in packaged_recipes().items() if path.resolve() == file), str(file))
    runs = [
        PlannedRun(
            e.run.stage, e.run.name, e.folder.path.relative_to(plan.store.path).as_posix() if e.folder else "",
            e.why if e.state == RunState.BLOCKED else "",
        )
        for e in entries
    ]  # fmt: skip
    texts = {str(path.resolve()): text for path, text in zip(recipe.files, recipe.texts, strict=True)}
    plugins = tuple(str(plugin.path) for plugin in recipe.plugins)
    return Manifest(recipe.name, name, recipe.overrides, plan.only, texts, tuple(runs), plugins)


def write_config(run: RecipeRun, folder: RunFolder) -> None:
    """Write a run's settings, unless they are already in its folder."""
    if not folder.config_path.exists():
        table = tomli_w.dumps(_without_none(run.saved()))
        replace_text(folder.config_path, f"# {run.stage}: {run.label}\n{table}")


def _without_none(table: Table) -> Table:
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in table.items() if v is not None}


def write_failure(
    folder: RunFolder, name: str, error: BaseException, console: Console, guard: Callable[[], None]
) -> None:
    """Write why a run failed, after which it is not started again without `--retry`. A LostClaim, by `error` or by `guard`, is
    printed only: the run belongs to another process."""
    try:
        guard()
        if isinstance(error, LostClaim):
            raise error
    except LostClaim as lost:
        console.print(f"[yellow]{escape(str(lost))}")
        return
    trace = "".join(traceback.format_exception(error))
    write_json(folder.failure_path, {"error": f"{type(error).__name__}: {error}", "traceback": trace})
    batch = folder.failed_batch_path
    where = f"; its batch is in {batch}" if batch.exists() else ""
    console.print(f"[red]failed[/red] {escape(f'{name}: {error}{where}')}")
