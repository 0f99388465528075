"""One exception per kind of user mistake.

Every message says where, what and the likely fix. The command line prints the message alone and leaves with
`exit_code`: 1 a run failed, 2 bad input, 3 data or model missing offline, 4 stopped and resumable.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike


class CpeftError(Exception):
    """The base class of all errors that a user can fix."""

    exit_code = 1


class ConfigError(CpeftError):
    """A recipe, an override or an option is wrong; `others` has the further mistakes in the same table."""

    exit_code = 2

    def __init__(self, what: str, others: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.others = tuple(others)


class UnknownName(ConfigError):
    """A task, method, metric or recipe of this name is not registered."""


class PromptError(CpeftError):
    """A file or folder is not a usable soft prompt."""

    exit_code = 2


class PromptMismatch(PromptError):
    """Prompts of different models, widths or lengths cannot be mixed."""


class CannotWrite(CpeftError):
    """A file or folder cannot be written."""

    exit_code = 2


class DataError(CpeftError):
    """Rows do not fit the task: columns, labels, empty files."""

    exit_code = 2


class NotComparable(DataError):
    """Results that cannot be compared: units without a partner, too few of them, no deviation."""


class TooLong(DataError):
    """Prompt and input together exceed the positions of the model."""


class Missing(CpeftError):
    """Something is neither on this machine nor reachable; `what` and why, and the `remedy`."""

    exit_code = 3

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.what = what


class MissingData(Missing):
    """A dataset is neither in the local folder nor reachable."""


class MissingModel(Missing):
    """A model is neither in a local folder nor reachable."""


class RunFailed(CpeftError):
    """A run failed, with the reason; other runs continue."""


class Diverged(RunFailed):
    """The loss, a gradient or a parameter is not finite any more."""


class NothingChosen(CpeftError):
    """No values of a search have a validation score, so later runs cannot use the best."""


class LostClaim(CpeftError):
    """Another process has claimed this run; nothing more may be written."""


class Stopped(CpeftError):
    """A signal stopped the command; progress is saved, and the same command resumes."""

    exit_code = 4


@contextmanager
def writing(path: str | PathLike[str]) -> Iterator[None]:
    """Context manager around writes to `path`: raises CannotWrite, naming it, for any OSError."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {reason(error)}; name another place") from None


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or the name of its class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def reason(error: OSError) -> str:
    """The operating system's reason, reworded where it would mislead."""
    path = error.filename or ""
    if os.path.islink(path) and not os.path.exists(path):
        return f"it is a link to {os.readlink(path)}, which does not exist"
    if isinstance(error, FileExistsError):
        return "a file is in its way"
    return (error.strerror or str(error)).lower()
