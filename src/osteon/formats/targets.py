"""Writing beside the target and renaming when whole, for files and folders."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from osteon.errors import OsteonError, OutputError, UsageError
from osteon.files import flush, output_error, remove, temporary, writing
from osteon.formats.base import WriteRequest, check_block
from osteon.formats.document import FOLDER_DOCUMENT
from osteon.volume import Array, VolumeWriter

_ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")
_OUR_SUFFIXES = {".tif", ".tiff", ".png", ".bmp", ".dcm"}


def check_free(path: Path, *, overwrite: bool, folder: bool) -> None:
    """Raise unless a target may be written.

    Args:
        path: The target.
        overwrite: Whether what is there may be replaced.
        folder: Whether a folder is to be written.

    Raises:
        OutputError: If something is there and may not be replaced.
    """
    if not os.path.lexists(path):
        return
    if path.is_dir():
        if folder and not any(path.iterdir()):
            return
        if not overwrite:
            raise OutputError("this folder exists already", where=path, mend=_FREE)
        if not folder or not _is_ours(path):
            raise OutputError(
                "this folder holds things that osteon did not write, and is not replaced",
                where=path,
                mend="choose another name, or remove the folder yourself",
            )
    elif not overwrite:
        raise OutputError("this file exists already", where=path, mend=_FREE)


_FREE = "choose another name, or ask for it to be replaced (--overwrite)"


def _is_ours(path: Path) -> bool:
    if any((path / mark).is_file() for mark in _ZARR_MARKS):
        return True
    if not (path / FOLDER_DOCUMENT).is_file():
        return False
    return all(
        entry.is_file() and (entry.suffix.lower() in _OUR_SUFFIXES or entry.name == FOLDER_DOCUMENT)
        for entry in path.iterdir()
    )


def put_in_place(part: Path, path: Path) -> None:
    """Rename what was written over its target.

    A folder cannot be renamed over another: the old one is moved aside, and back on failure.

    Args:
        part: What was written.
        path: The target.

    Raises:
        OSError: If the system refuses.
    """
    if not (os.path.lexists(path) and (path.is_dir() or part.is_dir())):
        part.replace(path)
        return
    old = temporary(path)
    path.rename(old)
    try:
        part.rename(path)
    except OSError:
        old.rename(path)
        raise
    remove(old)


class PartWriter(VolumeWriter):
    """A writer that writes beside the target and renames at the end.

    Subclasses call :meth:`part` for each file or folder they make, and implement
    :meth:`_write` and :meth:`_finish`.

    Args:
        request: What is to be written.
        any_order: Whether blocks may come in any order.
        folder: Whether the target is a folder.
    """

    def __init__(self, request: WriteRequest, *, any_order: bool = False, folder: bool = False):
        self.request = request
        self.path, self.shape, self.dtype = request.path, request.shape, request.dtype
        self._any_order = any_order
        self._written: npt.NDArray[np.bool_] = np.zeros(self.shape[0], dtype=bool)
        self._parts: list[tuple[Path, Path]] = []
        self._stale: list[Path] = []
        self._done = False
        check_free(self.path, overwrite=request.overwrite, folder=folder)
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def part(self, path: Path) -> Path:
        """Return where to write what will be put at ``path`` (in the order of these calls)."""
        temporary_path = temporary(path)
        self._parts.append((temporary_path, path))
        return temporary_path

    def write(self, z0: int, block: Array) -> None:
        """Write whole slices; see :meth:`osteon.volume.VolumeWriter.write`."""
        block = check_block(block, writer=self, z0=z0)
        if self._done:
            raise UsageError("the volume is closed", where=self.path)
        expected = int(self._written.sum())
        if not self._any_order and z0 != expected:
            raise UsageError(
                f"slices must come in ascending order: {expected} is next, not {z0}",
                where=self.path,
            )
        self._guarded(lambda: self._write(z0, block))
        self._written[z0 : z0 + block.shape[0]] = True

    def close(self) -> None:
        """Finish and rename; see :meth:`osteon.volume.VolumeWriter.close`."""
        if self._done:
            return
        missing = int((~self._written).sum())
        if missing:
            self.abort()
            raise OutputError(
                f"{missing} of {self.shape[0]} slices were not written; nothing was kept",
                where=self.path,
            )
        self._guarded(self._complete)
        self._done = True

    def abort(self) -> None:
        """Remove what was written; see :meth:`osteon.volume.VolumeWriter.abort`."""
        self._done = True
        with contextlib.suppress(OSError, ValueError, OsteonError):
            self._release()
        for part, _ in self._parts:
            remove(part)

    def _complete(self) -> None:
        self._finish()
        for part, _ in self._parts:
            if part.is_file():
                flush(part)
        for part, path in self._parts:
            put_in_place(part, path)
        for path in self._stale:
            remove(path)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            self.abort()
            raise output_error(error, self.path) from error

    def _write(self, z0: int, block: Array) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        raise NotImplementedError

    def _release(self) -> None:
        """Close open files after a failure."""
