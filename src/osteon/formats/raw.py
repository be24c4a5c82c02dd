"""Volumes that lie as plain numbers in a file: NRRD, MetaImage, NIfTI, NPY, plain TIFF."""

from __future__ import annotations

import gzip
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from osteon.errors import InputError
from osteon.files import writing
from osteon.formats.base import Meta, Shape, WriteRequest, readable_dtype, reading
from osteon.formats.targets import PartWriter, check_free
from osteon.volume import Access, Array, Volume

_GZIP_LEVEL = 4  # labels: 2 % larger than level 9 and several times faster


@dataclass(frozen=True)
class RawLayout:
    """Where the numbers lie.

    Attributes:
        file: The file that holds them.
        offset: Bytes before the first.
        dtype: Their type, with byte order.
        shape: (z, y, x).
        fortran: True where z varies fastest (a NumPy array in Fortran order).
    """

    file: Path
    offset: int
    dtype: np.dtype[Any]
    shape: Shape
    fortran: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes the numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self) -> None:
        """Raise an InputError if the file is too short."""
        with reading(self.file):
            size = self.file.stat().st_size
        if size < self.offset + self.nbytes:
            raise InputError(
                f"the file is truncated: {self.shape} voxels of {self.dtype.name} need "
                f"{self.offset + self.nbytes} bytes, there are {size}",
                where=self.file,
                mend="copy or export it again",
            )


def read_raw(layout: RawLayout, z: slice, y: slice, x: slice) -> Array:
    """Read a block; holds the block alone.

    The file is mapped for this one read: a mapping kept open would make every page that was
    ever touched count as memory of the process, and could not travel to another one.

    Args:
        layout: Where the numbers lie.
        z: Slices, start and stop given.
        y: Rows.
        x: Columns.

    Returns:
        A new array (z, y, x) in native byte order.

    Raises:
        InputError: If the file is truncated.
    """
    native = readable_dtype(layout.dtype, layout.file)
    depth, rows, columns = layout.shape
    if 0 in (z.stop - z.start, y.stop - y.start, x.stop - x.start):
        return np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), native)
    with reading(layout.file):
        if layout.fortran:
            whole = np.memmap(layout.file, layout.dtype, "r", layout.offset, (columns, rows, depth))
            block: Array = whole.T[z, y, x]
        else:
            skip = z.start * rows * columns * layout.dtype.itemsize
            part = (z.stop - z.start, rows, columns)
            slab = np.memmap(layout.file, layout.dtype, "r", layout.offset + skip, part)
            block = slab[:, y, x]
        return np.array(block, dtype=native, order="C", subok=False)


class RawVolume(Volume):
    """A volume of plain numbers; a read costs about what it returns, and holds no more.

    Args:
        path: What the user opened.
        layout: Where the numbers lie.
        meta: What else the file says.
    """

    def __init__(self, path: Path, layout: RawLayout, *, meta: Meta):
        layout.check()
        self.path, self.shape = path, layout.shape
        self.dtype = readable_dtype(layout.dtype, path)
        self.access = Access.RANDOM
        self.chunks = (1, layout.shape[1], layout.shape[2])
        self._layout = layout
        meta.apply(self)

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read a block; see :meth:`osteon.volume.Volume.read`."""
        return read_raw(self._layout, *self.bounds(z, y, x))


class RawWriter(PartWriter):
    """Writes a header and then plain (or gzipped) numbers, little-endian; holds one block.

    Args:
        request: What is to be written.
        header: Bytes before the numbers; with ``data_path`` the content of the header file.
        data_path: Where the numbers go, if not into the same file.
        gzipped: Whether the whole file is gzipped.
        beside: Small files that go with it; one that is None is removed if it is there.
    """

    def __init__(
        self,
        request: WriteRequest,
        header: bytes,
        *,
        data_path: Path | None = None,
        gzipped: bool = False,
        beside: dict[Path, bytes | None] | None = None,
    ):
        super().__init__(request)
        files = dict(beside or {})
        for path in (*files, *([data_path] if data_path else [])):
            if files.get(path, b"") is not None:
                check_free(path, overwrite=request.overwrite, folder=False)
        if data_path is not None:
            files[request.path] = header
        self._stale = [path for path, content in files.items() if content is None]
        self._small = [(path, content) for path, content in files.items() if content is not None]
        part = self.part(data_path or request.path)
        with writing(self.path):
            self._file: IO[bytes] = _open(part, gzipped=gzipped)
            if data_path is None:
                self._guarded(lambda: _put(self._file, header))
        self._disk_dtype = self.dtype.newbyteorder("<")

    def _write(self, z0: int, block: Array) -> None:
        self._file.write(np.ascontiguousarray(block, self._disk_dtype).data)

    def _finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        for path, content in self._small:
            self.part(path).write_bytes(content)

    def _release(self) -> None:
        self._file.close()


def _open(path: Path, *, gzipped: bool) -> IO[bytes]:
    if not gzipped:
        return path.open("wb")
    # No time stamp: the same volume gives the same file.
    return gzip.GzipFile(path, "wb", compresslevel=_GZIP_LEVEL, mtime=0)  # type: ignore[return-value]


def _put(file: IO[bytes], data: bytes) -> None:
    file.write(data)
