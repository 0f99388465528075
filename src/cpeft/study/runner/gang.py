"""Runs trained together on one model. A run that ends is scored, and the next one that can share the model takes its place.

Claims are held only for runs that are being trained or scored, so other processes can take the rest.
"""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape

from cpeft.errors import CpeftError, Diverged, LostClaim, RunFailed
from cpeft.store.claims import Claim
from cpeft.store.result import RunResult, SearchResult
from cpeft.store.run_folder import RunFolder
from cpeft.study.recipe.runs import TrainingRun
from cpeft.study.recipe.search import SearchRun
from cpeft.study.runner.claiming import RUN_ERRORS, Claimer, gang_size, write_config, write_failure
from cpeft.study.runner.prepare import Prepared, prepare
from cpeft.study.runner.write_result import conclude, conclude_search
from cpeft.training.callbacks import Callback
from cpeft.training.callbacks.metrics_file import MetricsFile
from cpeft.training.callbacks.progress import ProgressBars
from cpeft.training.callbacks.tracker import Tracked, make_trackers
from cpeft.training.energy import EnergyMeter
from cpeft.training.engine import train_gang
from cpeft.training.member import Member
from cpeft.training.memory import trim
from cpeft.training.workers import Workers


class GangAtWork:
    """The runs of one gang, from claim to result. Several processes under accelerate do the same in step; only the first claims
    and writes."""

    def __init__(self, claimer: Claimer, first: TrainingRun, workers: Workers, console: Console) -> None:
        self.claimer, self.kind, self.workers, self.console = claimer, first.gang, workers, console
        self.options = first.settings.gang
        self.bars = ProgressBars(console, claimer.pace.runs)
        self.meter = EnergyMeter(first.settings.energy, workers)
        self.claims: dict[str, Claim] = {}
        self.ready: dict[Member, Prepared] = {}

    def work(self, claims: dict[int, Claim], chosen: Sequence[int]) -> None:
        """Train and score these runs and those that take their places. Raises Stopped with all progress saved."""
        try:
            members = self._begin(claims, chosen)
            if members and self.workers.first:
                self.claimer.write_manifest(self.claimer.plan.entries())
            train_gang(members, self.options, self.workers, self._refill)
        finally:
            for member in list(self.ready):
                self._leave(member)
            for name in list(self.claims):
                self._release(name)

    def _refill(self, ended: list[Member]) -> list[Member]:
        """Score the runs that have ended and begin those that take their places."""
        self.meter.pause()
        for member in ended:
            self._conclude(self.ready[member])
            self._leave(member)
        trim()
        fresh = self._next()
        self.meter.resume()
        return fresh

    def _next(self) -> list[Member]:
        """The next runs that can join the gang, as many as it has room for; none for a baseline, which changes its model."""
        fresh: list[Member] = []
        while self.kind and (places := gang_size(self.options) - len(self.ready)) > 0:
            entries = self.claimer.entries() if self.workers.first else []
            claims = self.claimer.claim(entries, self.kind, places)
            if not (chosen := self.workers.broadcast(list(claims))):
                break
            fresh += self._begin(claims, chosen)
        return fresh

    def _begin(self, claims: dict[int, Claim], chosen: Sequence[int]) -> list[Member]:
        """Prepare runs, given by their places in the recipe; a run that cannot be prepared has failed."""
        runs = {i: run for i in chosen if isinstance(run := self.claimer.plan.run(i), TrainingRun)}
        self.claims |= {str(runs[i]): claim for i, claim in claims.items()}
        members = []
        for run in runs.values():
            try:
                ready = self._prepared(run)
            except (LostClaim, RunFailed, *RUN_ERRORS) as error:  # other CpeftErrors stop the command
                self._fail(run, error)
                self._release(str(run))
                continue
            self.ready[ready.member] = ready
            members.append(ready.member)
            for note in ready.notes if self.workers.first else ():
                self.console.print(f"[yellow]{escape(f'{run.name}: {note}')}")
        return members

    def _prepared(self, run: TrainingRun) -> Prepared:
        folder, guard = self.claimer.plan.references.folder(run), self._guard(run)
        callbacks = self._callbacks(run, folder) if self.workers.first else []
        ready = prepare(run, self.claimer.plan, folder, guard, callbacks, self.workers)
        self._still_ours(guard)
        if self.workers.first:
            write_config(run, folder)
        return ready

    def _guard(self, run: TrainingRun) -> Callable[[], None]:
        """A function that raises LostClaim if the claim is lost; only the first process has claims."""
        claim = self.claims.get(str(run))
        return claim.guard if claim else lambda: None

    def _still_ours(self, guard: Callable[[], None]) -> None:
        """Raise LostClaim in every process if the first one has lost its claim."""
        lost = ""
        try:
            guard()
        except LostClaim as error:
            lost = str(error)
        if lost := self.workers.broadcast(lost):
            raise LostClaim(lost)

    def _callbacks(self, run: TrainingRun, folder: RunFolder) -> list[Callback]:
        """The callbacks of a run, in the order in which they are called; bars and meter are the gang's."""

        def warn(text: str) -> None:
            self.console.print(f"[yellow]{escape(text)}")

        options = run.settings.track
        callbacks: list[Callback] = [MetricsFile(), self.bars, self.meter]
        if options.use:
            settings = run.settings.model_dump(mode="json", exclude={"track"})
            callbacks += make_trackers(
                options, Tracked.of(str(run), run.stage, options.project, folder, settings), warn
            )
        return callbacks

    def _conclude(self, ended: Prepared) -> None:
        """Score a trained run; an error is written to its folder and stops no other run."""
        error, run = ended.member.failure, ended.run
        result: RunResult | SearchResult | None = None
        try:
            if isinstance(run, SearchRun) and (error is None or isinstance(error, Diverged)):
                error, result = None, conclude_search(ended, run, self.workers, self.meter)
            elif not error:
                result = conclude(ended, self.workers, self.meter)
            if result:
                for callback in ended.member.callbacks:
                    callback.on_result(ended.member, result)
        except (CpeftError, *RUN_ERRORS) as problem:
            error, result = problem, None
        if error:
            self._fail(run, error)
        elif result:
            self.console.print(f"done {ended.member.name}: {_in_short(result)}", markup=False)

    def _fail(self, run: TrainingRun, error: Exception) -> None:
        if self.workers.first:
            folder = self.claimer.plan.references.folder(run)
            write_failure(folder, str(run), error, self.console, self._guard(run))

    def _leave(self, member: Member) -> None:
        """Let a run go: it has its result, failed, or was stopped."""
        del self.ready[member]
        for callback in member.callbacks:
            callback.on_close(member)
        self._release(member.name)

    def _release(self, name: str) -> None:
        if claim := self.claims.pop(name, None):
            claim.release()


def _in_short(result: RunResult | SearchResult) -> str:
    """The test scores of a run, or the validation score of a search run."""
    if isinstance(result, SearchResult):
        return result.stopped if result.validation is None else f"validation {result.validation:.1f}"
    headlines = [(task, info.headline, result.scores[task][info.headline]) for task, info in result.data.items()]
    return ", ".join(
        f"{task} {name} {score.value:.1f} [{score.low:.1f}, {score.high:.1f}]" for task, name, score in headlines
    )
