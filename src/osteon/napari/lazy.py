"""Volumes as arrays that napari reads where it looks: nothing is read beforehand."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.volume import Access, Volume

#: Decoded slabs that an array keeps, in bytes: leafing to and fro decodes nothing twice.
KEPT_BYTES = 256 * 2**20
Array = npt.NDArray[Any]


class LazyArray:
    """An array (z, y, x) whose voxels are read when it is indexed. Thread-safe.

    Slices are read by whole rows of chunks, and the last of them are kept, up to
    :data:`KEPT_BYTES`; a row of chunks larger than half of that is read slice by slice. Whatever
    is asked for across slices is read as asked, and not kept.

    Args:
        volume: What is read.
    """

    def __init__(self, volume: Volume):
        self.volume = volume
        self.shape, self.dtype, self.ndim = volume.shape, volume.dtype, 3
        deep = min(volume.chunks[0], volume.shape[0])
        plane = math.prod(volume.shape[1:]) * volume.dtype.itemsize
        self._deep = deep if deep * plane <= KEPT_BYTES // 2 else 1
        self._most = max(1, KEPT_BYTES // (self._deep * plane))
        self._slabs: OrderedDict[int, Array] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Voxels."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Read everything, which may be more than the memory holds."""
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any) -> Array:
        """Read a part.

        Args:
            key: Whole numbers, slices or an ellipsis, as for NumPy arrays.
        """
        parts, rest = _parts(key, self.shape)
        z, y, x = parts
        if z.stop - z.start == 1 and self.volume.access is not Access.SEQUENTIAL:
            block = self._slice(z.start)[:, y, x]
        else:
            block = self.volume.read(z, y, x)
        found: Array = block[rest]
        return found

    def _slice(self, z: int) -> Array:
        first = z // self._deep * self._deep
        with self._lock:
            slab = self._slabs.get(first)
            if slab is None:
                last = min(first + self._deep, self.shape[0])
                slab = self._slabs[first] = self.volume.read(slice(first, last))
                while len(self._slabs) > self._most:
                    self._slabs.popitem(last=False)
            self._slabs.move_to_end(first)
            return slab[z - first : z - first + 1]


def _parts(
    key: Any, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice, slice], tuple[int | slice, ...]]:
    """Split an index into blocks without steps to read, and what is left to do with the block."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (len(shape) - len(keys) + 1)
    keys += [slice(None)] * (len(shape) - len(keys))
    read: list[slice] = []
    rest: list[int | slice] = []
    for one, length in zip(keys, shape, strict=True):
        if isinstance(one, slice):
            indexes = range(*one.indices(length))
            low, high = (min(indexes), max(indexes) + 1) if indexes else (0, 0)
            read.append(slice(low, high))
            rest.append(slice(None) if indexes.step > 0 else slice(None, None, -1))
            if abs(indexes.step) != 1:
                rest[-1] = slice(None, None, indexes.step)
        else:
            at = int(one) + (length if one < 0 else 0)
            if not 0 <= at < length:
                raise IndexError(f"index {one} is outside of an axis of length {length}")
            read.append(slice(at, at + 1))
            rest.append(0)
    return (read[0], read[1], read[2]), tuple(rest)


class Disagreement:
    """Where two label arrays differ, worked out where it is looked at.

    0 where both say the same, or where the truth says 255 (not labelled); else one more than the
    value of the truth.

    Args:
        truth: The truth (z, y, x).
        labels: Labels of the same shape.
    """

    def __init__(self, truth: Any, labels: Any):
        self._truth, self._labels = truth, labels
        self.shape, self.dtype, self.ndim = tuple(truth.shape), np.dtype(np.uint8), 3

    @property
    def size(self) -> int:
        """Voxels."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Work out everything."""
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any) -> Array:
        """Work out a part.

        Args:
            key: As for NumPy arrays.
        """
        truth, labels = np.asarray(self._truth[key]), np.asarray(self._labels[key])
        differs = (truth != labels) & (truth != np.iinfo(np.uint8).max)
        return np.where(differs, truth.astype(np.int64) + 1, 0).astype(np.uint8)
