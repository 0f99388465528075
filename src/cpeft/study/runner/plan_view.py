"""What `cpeft plan` shows: the graph of a study, how every run stands, and what it needs that is not on this machine.

The id of a run hashes its rows, so without them nobody knows its folder or whether it is done; the plan is shown all the same.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from cpeft.errors import Missing, MissingData
from cpeft.evaluation.task_data import dataset_of
from cpeft.models.named_models import named_model
from cpeft.models.places import check_model
from cpeft.study.recipe.runs import RecipeRun, TrainingRun
from cpeft.study.recipe.settings import located_model
from cpeft.study.runner.data_check import SAMPLE, Finding, check_data
from cpeft.study.runner.plan import Plan, Planned, State
from cpeft.tasks.custom import find_task


@dataclass(frozen=True)
class Lack:
    """What runs need and is not here; `fetch` is how `cpeft fetch` calls it, empty where it can fetch no such thing."""

    what: str
    fetch: str
    revision: str | None
    data: bool


class Outlook:
    """A plan as it stands; `needs` are the runs that each run needs, by name."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.needs: dict[str, list[str]] = {}
        self._seen: dict[Hashable, Lack | None] = {}
        found: dict[str, Planned] = {}
        for run in plan.recipe.runs:
            needs = self.needs[str(run)] = [str(need) for need in run.needs(plan.references)]
            if lacks := self._lacks(run):
                state: State = "needs data" if lacks[0].data else "needs model"
                found[str(run)] = Planned(run, state, None, lacks[0].what.partition(": ")[0])
            else:
                found[str(run)] = plan.judged(run, [found[need] for need in needs])
        self.entries = list(found.values())

    @property
    def lacks(self) -> list[Lack]:
        """What is missing, each once."""
        return [lack for lack in self._seen.values() if lack]

    @property
    def downloads(self) -> list[str]:
        """The named models that are not here yet, which `cpeft run` downloads first."""
        left = [entry.run for entry in self.entries if entry.pending]
        names = dict.fromkeys(run.settings.model.name for run in left if isinstance(run, TrainingRun))
        return [model.name for name in names if (model := named_model(name)) and not model.here]

    def _lacks(self, run: RecipeRun) -> list[Lack]:
        if not isinstance(run, TrainingRun):
            return []
        data, model = run.settings.data, located_model(run.settings.model, run.base)
        keys: list[Hashable] = [(name, run.base, data.revision, data.folder) for name in run.settings.tasks]
        for name, key in zip(run.settings.tasks, keys, strict=True):
            if key not in self._seen:
                self._seen[key] = _missing_rows(name, run)
        if model not in self._seen:
            self._seen[model] = _missing_model(run)
        return [lack for key in (*keys, model) if (lack := self._seen[key])]

    def warnings(self) -> list[Finding]:
        """What is wrong with the data of the runs that are left, as far as rows and tokenizers are here."""
        left = [e.run for e in self.entries if e.pending and not e.state.startswith("needs")]
        found = check_data([run for run in left if isinstance(run, TrainingRun)], SAMPLE)
        return [finding for finding in found if finding.level in ("warning", "error")]

    def stages(self) -> list[dict[str, Any]]:
        """Every stage: its runs by state, and the stages that come first."""
        stages: dict[str, list[Planned]] = {}
        for entry in self.entries:
            stages.setdefault(entry.run.stage, []).append(entry)
        return [
            {"stage": name, "runs": len(entries), "states": dict(Counter(entry.state for entry in entries)),
             "needs": list(dict.fromkeys(n.partition("/")[0] for entry in entries for n in self.needs[str(entry.run)]))}
            for name, entries in stages.items()
        ]  # fmt: skip

    def runs(self) -> list[dict[str, Any]]:
        """Every run: its state and why, its folder where it is known, and the runs that come first."""
        return [
            {"stage": e.run.stage, "run": e.run.name, "state": e.state, "why": e.why,
             "folder": str(e.folder.path) if e.folder else None, "needs": self.needs[str(e.run)]}
            for e in self.entries
        ]  # fmt: skip

    def check(self) -> None:
        """Raise MissingData naming everything that is not here, once, and the command that fetches it."""
        if not self.lacks:
            return
        count = sum(entry.state in ("needs data", "needs model") for entry in self.entries)
        lines = [
            f"{count} of {len(self.entries)} runs need what is not here:",
            *(f"  {lack.what}" for lack in self.lacks),
        ]
        for revision in dict.fromkeys(lack.revision for lack in self.lacks if lack.fetch):
            items = " ".join(lack.fetch for lack in self.lacks if lack.fetch and lack.revision == revision)
            asked = f" --revision {revision}" if revision else ""
            lines.append(
                f"with a network: `cpeft fetch {items} --out DIR{asked}`; data is found after `export CPEFT_DATA=DIR`, a "
                "model by model.name=DIR/models/NAME"
            )
        raise MissingData("\n".join(lines))


def _missing_rows(name: str, run: TrainingRun) -> Lack | None:
    options, task = run.settings.data, find_task(name, run.base)
    try:
        dataset_of(name, run.base, options.revision, options.folder)
    except MissingData as error:
        return Lack(error.what, "" if task.files else f"task:{task.name}", options.revision, data=True)
    return None


def _missing_model(run: TrainingRun) -> Lack | None:
    options = located_model(run.settings.model, run.base)
    try:
        check_model(options)
    except Missing as error:
        return Lack(error.what, f"model:{options.name}", options.revision, data=False)
    return None
