"""What is kept of a prediction while it runs: a journal, and the labels that are finished.

A work area is a folder beside the target. ``journal.json`` says what is predicted from what (so
that nothing else goes on with it) and what was decided; each file of labels holds a range of slices
and counts as finished once it is on the disk and has its name.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from osteon.errors import OutputError, UsageError
from osteon.files import remove, replacing, write_json
from osteon.locks import lock
from osteon.volume import Array

#: Schema of the journal and of the files of labels.
SCHEMA = 1
_JOURNAL, _LOCK = "journal.json", "lock"
#: A name may have 255 bytes in all; the lock and temporary names need some of them.
_LONGEST = 200


def work_area(target: Path) -> Path:
    """Return the folder that a prediction is kept in until its labels are whole.

    Args:
        target: The label volume.
    """
    name = target.name
    if len(name.encode("utf-8", errors="replace")) > _LONGEST:
        name = hashlib.sha256(name.encode("utf-8", errors="replace")).hexdigest()
    return target.absolute().with_name(f".{name}.osteon-part")


def slices_in(parts: Iterable[slice]) -> int:
    """Count the slices in ranges of them.

    Args:
        parts: Ranges with a start and a stop.
    """
    return sum(part.stop - part.start for part in parts)


class Store:
    """A work area, locked while it is open.

    Args:
        folder: The work area; it is made.
        shape: (z, y, x) of the scan.
        identity: What the labels depend on, section by section, JSON-compatible.
        restart: Whether to begin anew where something else was kept; else that is refused.
        join: Whether another process has it locked, and a part of it is to be labelled here.
        layers: Values of a voxel: its label, and what is kept beside it.

    Raises:
        OutputError: If it cannot be written, or another command is at it.
        UsageError: If what is kept was made of something else.
    """

    def __init__(
        self,
        folder: Path,
        *,
        shape: tuple[int, int, int],
        identity: Mapping[str, Any],
        restart: bool = False,
        join: bool = False,
        layers: int = 1,
    ):
        self.folder, self.shape, self.layers = folder, shape, layers
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._lock: FileLock | None = None
        if join:
            self._journal = self._read()
            self._check_joined()
            return
        self._lock = lock(
            folder / _LOCK,
            taken="another command is predicting this at the moment",
            mend="wait for it, or choose another name for --out",
        )
        try:
            self._open(restart=restart)
        except BaseException:
            self._leave()
            raise

    @classmethod
    def joined(
        cls,
        folder: Path,
        *,
        shape: tuple[int, int, int],
        identity: Mapping[str, Any],
        layers: int = 1,
    ) -> Store:
        """Open a work area that another process has locked, to label a part of it.

        Args:
            folder: The work area.
            shape: (z, y, x) of the scan.
            identity: What the labels depend on.
            layers: Values of a voxel.

        Returns:
            The store: it takes labels as long as the work area is of the same.

        Raises:
            UsageError: If it is of something else by now.
        """
        return cls(folder, shape=shape, identity=identity, join=True, layers=layers)

    def _check_joined(self) -> None:
        """A command that was given since may have begun anew, with something else."""
        found = self._read()
        if not found or _changed(found, self._identity):
            raise UsageError(
                "the prediction that this part belongs to has ended", where=self.folder
            )

    @property
    def identity(self) -> dict[str, Any]:
        """What the labels depend on, as the journal has it."""
        found: dict[str, Any] = self._journal["identity"]
        return found

    def _open(self, *, restart: bool) -> None:
        identity = self._identity
        self._journal = self._read()
        if self._journal:
            changed = _changed(self._journal, identity)
            if changed and not restart:
                raise UsageError(
                    f"a prediction that was begun here had another {' and another '.join(changed)}",
                    where=self.folder,
                    mend="give the same to go on with it, or --overwrite to begin anew",
                )
            if not changed:
                return
        self._clear()
        self._journal = {"schema": SCHEMA, "identity": identity, "kept": {}}
        write_json(self.folder / _JOURNAL, self._journal)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / _JOURNAL).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # killed before there was one: nothing can have been finished
        return found if isinstance(found, dict) else {}

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                remove(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it free; remove it if nothing in it is worth going on with."""
        self._leave()

    def _leave(self) -> None:
        if self._lock is None:
            return
        if not self.finished() and not any(self.folder.glob("side-*")):
            self._clear()
            self._lock.release()
            remove(self.folder)
        else:
            self._lock.release()

    def discard(self) -> None:
        """Remove all that is kept, when the labels are in place."""
        self._clear()

    def kept(self, name: str) -> Any:
        """Return a decision of an earlier start; None if there is none.

        Args:
            name: Its name.
        """
        return self._journal["kept"].get(name)

    def keep(self, **decisions: Any) -> None:
        """Put decisions on the disk.

        Args:
            decisions: JSON-compatible, by name.

        Raises:
            OutputError: If that fails.
        """
        self._journal["kept"] = {**self._journal["kept"], **decisions}
        write_json(self.folder / _JOURNAL, self._journal)

    def kept_array(self, name: str) -> npt.NDArray[np.float32] | None:
        """Return an array of an earlier start; None if there is none.

        Args:
            name: Its name.
        """
        path = self.folder / f"{name}.npy"
        if not path.exists():
            return None
        found: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
        return found

    def keep_array(self, name: str, array: Array) -> None:
        """Put an array on the disk.

        Args:
            name: Its name.
            array: Float32.

        Raises:
            OutputError: If that fails.
        """
        with replacing(self.folder / f"{name}.npy") as part, part.open("wb") as file:
            np.save(file, array, allow_pickle=False)

    def finished(self) -> list[slice]:
        """Return the ranges of slices that are on the disk, ascending."""
        return [span for span, _ in self._files()]

    def missing(self) -> list[slice]:
        """Return the ranges of slices that are not, ascending."""
        gaps, start = [], 0
        for span in [*self.finished(), slice(self.shape[0], self.shape[0])]:
            if span.start > start:
                gaps.append(slice(start, span.start))
            start = max(start, span.stop)
        return gaps

    def _files(self) -> list[tuple[slice, Path]]:
        found = []
        for path in self.folder.glob("labels-*-*.z"):
            _, start, stop = path.stem.split("-")
            found.append((slice(int(start), int(stop)), path))
        return sorted(found, key=lambda entry: entry[0].start)

    def put(self, z0: int, slices: Sequence[bytes], *, note: Mapping[str, Any]) -> None:
        """Put slices on the disk; when it returns they are finished. Thread-safe.

        Args:
            z0: Index of the first.
            slices: Layers (layer, y, x) of each, compressed by zlib.
            note: Counts that belong to them, JSON-compatible.

        Raises:
            OutputError: If that fails.
        """
        head = {
            "schema": SCHEMA,
            "plane": [self.layers, *self.shape[1:]],
            "sizes": [len(data) for data in slices],
            "crc32": [zlib.crc32(data) for data in slices],
            "note": note,
        }
        if self._lock is None:
            self._check_joined()
        path = self.folder / f"labels-{z0:08d}-{z0 + len(slices):08d}.z"
        mend = "run the same command again to go on: what is finished is kept"
        full = f"make room if the disk is full; {mend}"
        with replacing(path, mend=full) as part, part.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.writelines(slices)

    def notes(self) -> Iterator[Mapping[str, Any]]:
        """Give the counts that belong to what is finished."""
        for _, path in self._files():
            with path.open("rb") as file:
                yield json.loads(file.readline())["note"]

    def slices(self) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """Give the finished labels, slice by slice; see :meth:`stacks`.

        Yields:
            Index and labels (1, y, x).
        """
        for z, stack in self.stacks():
            yield z, stack[:1]

    def stacks(self) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """Give what is finished, slice by slice, ascending; holds one slice.

        What two workers have finished, one taken for dead, is given once: it is the same.

        Yields:
            Index and layers (layer, y, x), the label first.

        Raises:
            OutputError: If a file was damaged; it is removed, so that the next start makes it anew.
        """
        given = 0
        for span, path in self._files():
            for z, stack in _stacks(path):
                if stack is None:
                    remove(path)
                    raise OutputError(
                        f"finished labels (slices {span.start} to {span.stop - 1}) are damaged on "
                        "the disk",
                        where=path,
                        mend="run the same command again: they are made anew",
                    )
                if z >= given:
                    given = z + 1
                    yield z, stack


def new_slices(folder: Path, seen: set[str]) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Give the labels that a prediction has finished since the last look; locks nothing.

    Args:
        folder: The work area; it may not be there yet, or be gone already.
        seen: Names of the files that were given before; those given now are added.

    Yields:
        Index and labels (1, y, x); a damaged file is passed over, for the prediction to mend.
    """
    for path in sorted(folder.glob("labels-*-*.z")):
        if path.name in seen:
            continue
        try:
            for z, stack in _stacks(path):
                if stack is not None:
                    yield z, stack[:1]
        except FileNotFoundError:  # the labels are whole by now, and in their place
            return
        seen.add(path.name)


def _stacks(path: Path) -> Iterator[tuple[int, npt.NDArray[np.uint8] | None]]:
    """Read a file: index and layers (layer, y, x) of each slice; None ends a damaged one."""
    first = int(path.stem.split("-")[1])
    with path.open("rb") as file:
        head = json.loads(file.readline())
        for i, (size, crc) in enumerate(zip(head["sizes"], head["crc32"], strict=True)):
            data = file.read(size)
            if len(data) != size or zlib.crc32(data) != crc:
                yield first + i, None
                return
            layers = np.frombuffer(zlib.decompress(data), np.uint8)
            yield first + i, layers.reshape(head["plane"])


def _changed(journal: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    """Name the sections that differ."""
    if journal.get("schema") != SCHEMA:
        return ["version of osteon"]
    kept = journal.get("identity", {})
    return [name for name in identity if kept.get(name) != identity[name]]
