"""What `cpeft plan` shows: the graph of a study, the state of every run, and missing data and models.

The id of a run hashes its rows, so without them its folder and state are unknown. The rest of the plan is shown all the same.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from cpeft.errors import Missing, MissingData
from cpeft.evaluation.task_data import dataset_of
from cpeft.models.named_models import named_model
from cpeft.models.places import check_model
from cpeft.store.state import RunState
from cpeft.study.recipe.references import RecipeRun
from cpeft.study.recipe.runs import TrainingRun
from cpeft.study.recipe.settings import located_model
from cpeft.study.runner.data_check import Finding, data_warnings
from cpeft.study.runner.plan import Entry, Plan
from cpeft.tasks.custom import find_task


@dataclass(frozen=True)
class MissingItem:
    """Data or a model that is not on this machine. `fetch` is its name for `cpeft fetch`, empty if it cannot be fetched."""

    what: str
    fetch: str
    revision: str | None
    state: RunState


class PlanView:
    """A plan at present; `needs` holds the names of the runs that each run needs, by name."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.needs: dict[str, list[str]] = {}
        self._checked: dict[Hashable, MissingItem | None] = {}
        entries: dict[str, Entry] = {}
        for run in plan.recipe.runs:
            needs = self.needs[str(run)] = [str(need) for need in run.needs(plan.references)]
            if missing := self._missing(run):
                entries[str(run)] = Entry(run, missing[0].state, None, missing[0].what.partition(": ")[0])
            else:
                entries[str(run)] = plan.entry_of(run, [entries[need] for need in needs])
        self.entries = list(entries.values())

    @property
    def missing(self) -> list[MissingItem]:
        """Everything that is missing, each once."""
        return [item for item in self._checked.values() if item]

    @property
    def downloads(self) -> list[str]:
        """The named models that are not on this machine yet, which `cpeft run` downloads first."""
        left = [entry.run for entry in self.entries if entry.state.pending]
        names = dict.fromkeys(run.settings.model.name for run in left if isinstance(run, TrainingRun))
        return [model.name for name in names if (model := named_model(name)) and not model.here]

    def _missing(self, run: RecipeRun) -> list[MissingItem]:
        if not isinstance(run, TrainingRun):
            return []
        data, model = run.settings.data, located_model(run.settings.model, run.base)
        keys: list[Hashable] = [(name, run.base, data.revision, data.folder) for name in run.settings.tasks]
        for name, key in zip(run.settings.tasks, keys, strict=True):
            if key not in self._checked:
                self._checked[key] = _missing_rows(name, run)
        if model not in self._checked:
            self._checked[model] = _missing_model(run)
        return [item for key in (*keys, model) if (item := self._checked[key])]

    def warnings(self) -> list[Finding]:
        """Problems with the data of unfinished runs, as far as rows and tokenizers are on this machine."""
        unknown = (RunState.NEEDS_DATA, RunState.NEEDS_MODEL)
        return data_warnings(entry.run for entry in self.entries if entry.state.pending and entry.state not in unknown)

    def stages(self) -> list[dict[str, Any]]:
        """Every stage: the number of its runs, also by state, and the stages that come first."""
        stages: dict[str, list[Entry]] = {}
        for entry in self.entries:
            stages.setdefault(entry.run.stage, []).append(entry)
        return [
            {"stage": name, "runs": len(entries), "states": dict(Counter(entry.state for entry in entries)),
             "needs": list(dict.fromkeys(n.partition("/")[0] for entry in entries for n in self.needs[str(entry.run)]))}
            for name, entries in stages.items()
        ]  # fmt: skip

    def runs(self) -> list[dict[str, Any]]:
        """Every run: its state and the reason, its folder where known, and the runs that come first."""
        return [
            {"stage": e.run.stage, "run": e.run.name, "state": e.state, "why": e.why,
             "folder": str(e.folder.path) if e.folder else None, "needs": self.needs[str(e.run)]}
            for e in self.entries
        ]  # fmt: skip

    def check(self) -> None:
        """Raise MissingData if anything is missing, naming each item once and the command that fetches it."""
        if not self.missing:
            return
        count = sum(entry.state in (RunState.NEEDS_DATA, RunState.NEEDS_MODEL) for entry in self.entries)
        lines = [
            f"{count} of {len(self.entries)} runs need data or models that are not on this machine:",
            *(f"  {item.what}" for item in self.missing),
        ]
        for revision in dict.fromkeys(item.revision for item in self.missing if item.fetch):
            items = " ".join(item.fetch for item in self.missing if item.fetch and item.revision == revision)
            option = f" --revision {revision}" if revision else ""
            lines.append(
                f"with a network: `cpeft fetch {items} --out DIR{option}`; data is found after `export CPEFT_DATA=DIR`, a "
                "model by model.name=DIR/models/NAME"
            )
        raise MissingData("\n".join(lines))


def _missing_rows(name: str, run: TrainingRun) -> MissingItem | None:
    options, task = run.settings.data, find_task(name, run.base)
    try:
        dataset_of(name, run.base, options.revision, options.folder)
    except MissingData as error:
        fetch = "" if task.files else f"task:{task.name}"
        return MissingItem(error.what, fetch, options.revision, RunState.NEEDS_DATA)
    return None


def _missing_model(run: TrainingRun) -> MissingItem | None:
    options = located_model(run.settings.model, run.base)
    try:
        check_model(options)
    except Missing as error:
        return MissingItem(error.what, f"model:{options.name}", options.revision, RunState.NEEDS_MODEL)
    return None
