"""What `cpeft plan` shows: the graph of a study, the state of every run, and missing data and models.

The id of a run hashes its rows, so without them its folder and state are unknown. The rest of the plan is shown all the same.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cpeft.config import Table
from cpeft.errors import Missing, MissingData, NothingChosen
from cpeft.evaluation.task_data import dataset_of
from cpeft.models.named_models import named_model
from cpeft.models.places import check_model
from cpeft.store.state import RunState
from cpeft.study.recipe.references import RecipeRun
from cpeft.study.recipe.runs import TrainingRun
from cpeft.study.recipe.search import ChosenRun, SearchRun
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


@dataclass(frozen=True)
class SearchView:
    """A search stage: its runs and how many are left, the settings it tries, how many points of the grid for how many methods,
    the stages that use it, and the chosen values by variant, as far as they are known."""

    stage: str
    runs: int
    settings: tuple[str, ...]
    points: int
    methods: int
    left: int
    used_by: tuple[str, ...]
    chosen: dict[str, Table]

    @property
    def lines(self) -> list[str]:
        """In words."""
        settings, methods = " and ".join(self.settings), f"{self.methods} method{'s' * (self.methods > 1)}"
        found = [
            f"{self.stage}: {self.runs} search runs try {self.points} values of {settings} for {methods}, scored on validation "
            "rows only"
        ]
        known = [f"{name} {', '.join(f'{k} = {v}' for k, v in values.items())}" for name, values in self.chosen.items()]
        waits = [f"waits for {self.left} search runs"] if self.left else []
        if self.used_by:
            found.append(
                f"{', '.join(self.used_by)}: {settings} chosen by search {self.stage}: {'; '.join(known + waits)}"
            )
        return found


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

    def searches(self) -> list[SearchView]:
        """Every search stage, and what it has chosen for the runs that use it."""
        tries: dict[str, list[SearchRun]] = {}
        for run in self.plan.recipe.runs:
            if isinstance(run, SearchRun):
                tries.setdefault(run.stage, []).append(run)
        return [self._search(stage, runs) for stage, runs in tries.items()]

    def _search(self, stage: str, runs: Sequence[SearchRun]) -> SearchView:
        names, states = {str(run) for run in runs}, {str(entry.run): entry.state for entry in self.entries}
        used_by: dict[str, list[str]] = {}
        chosen: dict[str, Table] = {}
        for run in self.plan.recipe.runs:
            if isinstance(run, ChosenRun) and run.search == stage:
                used_by.setdefault(run.stage, []).append(str(run))
                tries = [str(each) for each in run.tries(self.plan.references)]
                if run.variant not in chosen and all(states[name] == RunState.DONE for name in tries):
                    with suppress(NothingChosen):  # the state of the run says so
                        chosen[run.variant] = run.chosen(self.plan.references).values
        return SearchView(
            stage,
            runs=len(runs),
            settings=tuple(dict.fromkeys(key for run in runs for key in run.values)),
            points=len({run.place for run in runs}),
            methods=len({run.variant for run in runs}),
            left=sum(states[name].pending for name in names),
            used_by=tuple(used_by),
            chosen=chosen,
        )

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
