"""The exceptions and exit codes of osteon, and its named warnings.

Every message says what is wrong, where, and how to mend it. The command line
prints the message alone, without a traceback, and exits with the code of the
exception's class; the codes are listed once, in :class:`ExitCode`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """The exit codes of the ``osteon`` command, as scripts may rely on them."""

    OK = 0
    UNEXPECTED = 1  # a bug in osteon: the only case that shows a traceback
    USAGE = 2  # a wrong option, setting or combination of them
    INPUT = 3  # something that was read is missing, damaged or unfit
    OUTPUT = 4  # something could not be written
    MODEL = 5  # a model file is damaged, foreign or of another schema
    DEPENDENCY = 6  # an optional library is needed and not installed
    PARTIAL = 7  # of several inputs some failed; the rest is done
    MEMORY = 8  # the system refused memory
    INTERRUPTED = 130  # Ctrl-C (the shell's convention); what is done is kept


class OsteonError(Exception):
    """A problem that the user can mend.

    Args:
        what: What is wrong, in one sentence.
        where: The file, folder, option or setting it is about.
        mend: What to do about it.
    """

    exit_code: ExitCode = ExitCode.UNEXPECTED

    def __init__(self, what: str, *, where: str | Path | None = None, mend: str | None = None):
        self.what = what
        self.where = None if where is None else str(where)
        self.mend = mend
        super().__init__(str(self))

    def __str__(self) -> str:
        text = self.what
        if self.where:
            text += f"\n  where: {self.where}"
        if self.mend:
            text += f"\n  mend:  {self.mend}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword arguments do not survive the way back from a worker otherwise.
        return _rebuild, (type(self), self.what, self.where, self.mend)


def _rebuild(
    kind: type[OsteonError], what: str, where: str | None, mend: str | None
) -> OsteonError:
    return kind(what, where=where, mend=mend)


class UsageError(OsteonError):
    """A wrong option, setting, name or combination of them."""

    exit_code = ExitCode.USAGE


class InputError(OsteonError):
    """Something that was read is missing, damaged or unfit for the purpose."""

    exit_code = ExitCode.INPUT


class OutputError(OsteonError):
    """Something could not be written: it exists, is not writable, or the disk is full."""

    exit_code = ExitCode.OUTPUT


class ModelFileError(OsteonError):
    """A file is not an osteon model, is damaged, or is of a schema this version cannot read."""

    exit_code = ExitCode.MODEL


class DependencyError(OsteonError):
    """An optional library is needed for what was asked, and is not installed."""

    exit_code = ExitCode.DEPENDENCY


class OutOfMemory(OsteonError):
    """The system, or a graphics card, refused memory."""

    exit_code = ExitCode.MEMORY


#: What PyTorch, OpenVINO and ONNX Runtime say when memory is refused; their errors have no class
#: of their own for it on every device.
_REFUSED = (
    "out of memory",
    "can't allocate memory",
    "bad_alloc",
    "bad allocation",
    "failed to allocate",
)


def out_of_memory(error: BaseException, *, where: str | Path | None = None) -> OutOfMemory | None:
    """Say that memory was refused, if that is what an error of some library means.

    Args:
        error: What was raised.
        where: The file it is about.

    Returns:
        The error in words that help; None if it means something else.
    """
    said = str(error)
    refused = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in said.lower() for words in _REFUSED)
    )
    if not refused:
        return None
    first = next(iter(said.strip().splitlines()), "")
    return OutOfMemory(
        f"there is not enough memory{f': {first}' if first else ''}",
        where=where,
        mend="close other programs, or let it take less: a smaller --memory for predictions, a "
        "smaller batch or patch for fits, a region for measures; then give the command again",
    )


@contextmanager
def refused_memory_is_told(where: str | Path) -> Iterator[None]:
    """Make an error that means that memory was refused one that says so.

    Args:
        where: The file that is being worked on.

    Raises:
        OutOfMemory: If memory is refused.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        refused = out_of_memory(error, where=where)
        if refused is None:
            raise
        raise refused from error


class Stopped(OsteonError):
    """The work was asked to stop before it had a result."""

    exit_code = ExitCode.INTERRUPTED


class OsteonWarning(UserWarning):
    """A named warning: ``name`` is stable, so that scripts and tests can rely on it.

    Args:
        name: A short kebab-case name, such as ``gap-in-numbering``.
        text: What was found and what was done about it.
        where: The file, folder or setting it is about.
    """

    def __init__(self, name: str, text: str, where: str | Path | None = None):
        self.name = name
        self.text = text
        self.where = None if where is None else str(where)
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.text}{place} [{self.name}]"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.text, self.where)


def warn(name: str, text: str, *, where: str | Path | None = None) -> None:
    """Issue an :class:`OsteonWarning` by the standard ``warnings`` machinery.

    Args:
        name: The stable name of the warning.
        text: What was found and what was done about it.
        where: The file, folder or setting it is about.
    """
    warnings.warn(OsteonWarning(name, text, where), stacklevel=3)
