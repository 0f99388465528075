"""Runs trained together on one model. Where one ends it is scored, and the next of its kind that is ready takes its place.

A claim is held for what is being trained or scored and for nothing else, so that other processes find the rest.
"""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape

from cpeft.errors import CpeftError, LostClaim, RunFailed
from cpeft.store.claims import Claim
from cpeft.store.run_folder import RunFolder
from cpeft.study.recipe.runs import TrainingRun
from cpeft.study.runner.prepare import Prepared, prepare
from cpeft.study.runner.queue import Queue, gang_size
from cpeft.study.runner.unfinished import BROKEN, write_config, write_failure
from cpeft.study.runner.write_result import conclude
from cpeft.training.callbacks import Callback
from cpeft.training.callbacks.energy import EnergyMeter
from cpeft.training.callbacks.metrics_file import MetricsFile
from cpeft.training.callbacks.progress import ProgressBars
from cpeft.training.callbacks.tracker import Tracked, make_trackers
from cpeft.training.engine import train_gang
from cpeft.training.member import Member
from cpeft.training.memory import trim
from cpeft.training.workers import Workers


class GangAtWork:
    """The runs of one gang between claim and result. Several processes under accelerate do the same here in step; the first
    alone claims and writes."""

    def __init__(self, queue: Queue, first: TrainingRun, workers: Workers, console: Console) -> None:
        self.queue, self.kind, self.workers, self.console = queue, first.gang, workers, console
        self.options = first.settings.gang
        self.bars, self.meter = ProgressBars(console), EnergyMeter(first.settings.energy, workers)
        self.claims: dict[str, Claim] = {}
        self.ready: dict[Member, Prepared] = {}

    def work(self, claims: dict[int, Claim], chosen: Sequence[int]) -> None:
        """Train and conclude these runs and those that take their places. Raises Stopped with all progress saved."""
        try:
            members = self._begin(claims, chosen)
            if members and self.workers.first:
                self.queue.leave_manifest(self.queue.plan.entries())
            train_gang(members, self.options, self.workers, self._refill)
        finally:
            self.bars.progress.stop()
            for member in list(self.ready):
                self._leave(member)
            for name in list(self.claims):
                self._release(name)

    def _refill(self, ended: list[Member]) -> list[Member]:
        """Conclude what has ended and begin what may take its place."""
        self.meter.pause()
        for member in ended:
            self._conclude(self.ready[member])
            self._leave(member)
        trim()
        fresh = self._next()
        self.meter.resume()
        return fresh

    def _next(self) -> list[Member]:
        """The next runs of the gang's kind, as many as it has room for; none beside a baseline, which changes its model."""
        fresh: list[Member] = []
        while self.kind and (places := gang_size(self.options) - len(self.ready)) > 0:
            entries = self.queue.look() if self.workers.first else []
            claims = self.queue.claim(entries, self.kind, places)
            if not (chosen := self.workers.tell(list(claims))):
                break
            fresh += self._begin(claims, chosen)
        return fresh

    def _begin(self, claims: dict[int, Claim], chosen: Sequence[int]) -> list[Member]:
        """Prepare runs by their places in the recipe; one that cannot be prepared has failed."""
        runs = {i: run for i in chosen if isinstance(run := self.queue.plan.recipe.runs[i], TrainingRun)}
        self.claims |= {str(runs[i]): claim for i, claim in claims.items()}
        members = []
        for run in runs.values():
            try:
                ready = self._prepared(run)
            except LostClaim as error:
                self.console.print(f"[yellow]{escape(str(error))}")
                self._release(str(run))
                continue
            except (RunFailed, *BROKEN) as error:  # other CpeftErrors stop the command
                self._fail(run, error)
                self._release(str(run))
                continue
            self.ready[ready.member] = ready
            members.append(ready.member)
            for note in ready.notes if self.workers.first else ():
                self.console.print(f"[yellow]{escape(f'{run.name}: {note}')}")
        return members

    def _prepared(self, run: TrainingRun) -> Prepared:
        folder, guard = self._folder(run), self._guard(run)
        callbacks = self._callbacks(run, folder) if self.workers.first else []
        ready = prepare(run, self.queue.plan, folder, guard, callbacks, self.workers)
        self._still_ours(guard)
        if self.workers.first:
            write_config(run, folder.config_path)
        return ready

    def _guard(self, run: TrainingRun) -> Callable[[], None]:
        """What raises LostClaim before a write; only the first process has claims."""
        claim = self.claims.get(str(run))
        return claim.guard if claim else lambda: None

    def _still_ours(self, guard: Callable[[], None]) -> None:
        """Raise LostClaim in every process where the first one has lost its claim."""
        lost = ""
        try:
            guard()
        except LostClaim as error:
            lost = str(error)
        if lost := self.workers.tell(lost):
            raise LostClaim(lost)

    def _folder(self, run: TrainingRun) -> RunFolder:
        return self.queue.plan.references.folder(run)

    def _callbacks(self, run: TrainingRun, folder: RunFolder) -> list[Callback]:
        """What watches a run, in the order in which it is told; bars and meter are the gang's."""

        def say(text: str) -> None:
            self.console.print(f"[yellow]{escape(text)}")

        options = run.settings.track
        watchers: list[Callback] = [MetricsFile(), self.bars, self.meter]
        if options.use:
            told = run.settings.model_dump(mode="json", exclude={"track"})
            watchers += make_trackers(options, Tracked.of(str(run), run.stage, options.project, folder, told), say)
        return watchers

    def _conclude(self, each: Prepared) -> None:
        """Score a trained run; whatever goes wrong is kept with this run and stops no other."""
        error = each.member.failure
        try:
            if result := None if error else conclude(each, self.workers, self.meter):
                for callback in each.member.callbacks:
                    callback.on_result(each.member, result)
        except (CpeftError, *BROKEN) as problem:
            error, result = problem, None
        if isinstance(error, LostClaim):
            self.console.print(f"[yellow]{escape(str(error))}")
        elif error:
            self._fail(each.run, error)
        elif result:
            parts = []
            for task, about in result.data.items():
                score = result.scores[task][about.headline]
                parts.append(f"{task} {about.headline} {score.value:.1f} [{score.low:.1f}, {score.high:.1f}]")
            self.console.print(f"done {each.member.name}: {', '.join(parts)}", markup=False)

    def _fail(self, run: TrainingRun, error: Exception) -> None:
        if self.workers.first:
            write_failure(self._folder(run), str(run), error, self.console, self._guard(run))

    def _leave(self, member: Member) -> None:
        """Nothing more is done for a run: it has its result, failed, or was stopped."""
        del self.ready[member]
        for callback in member.callbacks:
            callback.on_close(member)
        self._release(member.name)

    def _release(self, name: str) -> None:
        if claim := self.claims.pop(name, None):
            claim.release()
