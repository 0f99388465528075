"""`cpeft verify`: check an archive on another machine than it was written on, and say what could not be checked."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from cpeft.archive.checks import check_archive
from cpeft.archive.layout import STORE
from cpeft.archive.read import unpacked
from cpeft.archive.rescore import Rescorer
from cpeft.errors import ConfigError
from cpeft.report.study import Study
from cpeft.store.run_folder import Store
from cpeft.study.runner.data_check import Finding


def verify(
    path: Path, rescore: bool = True, only: Sequence[str] = (), model: str | None = None, tasks: Sequence[Path] = ()
) -> Iterator[Finding]:
    """Findings about an archive, as they are made. With `rescore` the runs (those that a pattern of `only` fits) are scored
    again by their models, as far as models and rows are here; `model` takes the place of the models that they name, `tasks`
    are TOML files of users' own tasks. Raises DataError for a file that is no archive, ConfigError for a pattern that fits
    no run."""
    rescorer = Rescorer(model, tasks)
    with unpacked(path) as archive:
        yield Finding("note", path.name, f"SHA-256 {archive.sha256}")
        found = []
        for finding in check_archive(archive):
            found.append(finding)
            yield finding
        if not rescore:
            yield Finding("unchecked", "runs", "not scored again by their models (--no-rescore)")
        elif any(finding.level == "error" for finding in found):
            yield Finding("unchecked", "runs", "not scored again by their models, because of the errors above")
        else:
            study = Study.of(Store(archive.folder / STORE))
            runs = {f"{run.result.stage}/{run.result.name}": run for run in study.runs}
            chosen = [name for name in runs if not only or any(fnmatchcase(name, pattern) for pattern in only)]
            if not chosen:
                raise ConfigError(
                    f"--only {' '.join(only)}: no run of this name; runs are {', '.join(list(runs)[:5])}, ..."
                )
            for name in chosen:
                yield from rescorer.of(runs[name])
            if len(chosen) < len(runs):
                yield Finding("unchecked", "runs", f"{len(runs) - len(chosen)} runs were not scored again (--only)")
