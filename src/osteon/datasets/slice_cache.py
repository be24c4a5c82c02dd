"""The decoded slices that were used last, within a bound of memory."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from osteon.volume import Array, Volume

#: Names a volume within a cache: the number of the scan, and whether it is its image or labels.
VolumeKey = tuple[int, str]


class SliceCache:
    """Keeps whole decoded slices of several volumes; each process has its own.

    Pickles empty. Thread-safe.

    Args:
        nbytes: Memory for slices, in bytes; 0 keeps nothing.
    """

    def __init__(self, nbytes: int):
        self._limit = nbytes
        self._forget()

    def _forget(self) -> None:
        self._held = 0
        self._slices: OrderedDict[tuple[VolumeKey, int], Array] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_limit": self._limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def fits(self, *volumes: Volume, slices: int = 1) -> bool:
        """Tell whether so many whole slices of each of some volumes fit in together.

        Args:
            volumes: The volumes.
            slices: Number of slices.
        """
        needed = sum(math.prod(v.shape[1:]) * v.dtype.itemsize for v in volumes)
        return needed * slices <= self._limit

    def read(
        self, volume: Volume, key: VolumeKey, z: Sequence[int], box: tuple[slice, slice]
    ) -> Array:
        """Read a part of some slices by way of the cache, which takes up the whole slices.

        Args:
            volume: The volume.
            key: Its name in the cache.
            z: Indexes of the slices, ascending; repeated ones are allowed.
            box: Rows and columns wanted.

        Returns:
            (slice, y, x); to be read alone, for it can be a view into the cache.

        Raises:
            InputError: If the file is damaged there.
        """
        found = [self._slice(volume, (key, index))[(np.newaxis, *box)] for index in z]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _slice(self, volume: Volume, key: tuple[VolumeKey, int]) -> Array:
        """One slice (y, x)."""
        with self._lock:
            found = self._slices.get(key)
            if found is not None:
                self._slices.move_to_end(key)
                return found
        # One by one, each an array of its own: a part of a larger array would keep it all alive.
        read: Array = volume.read(slice(key[1], key[1] + 1))[0]
        self._keep(key, read)
        return read

    def _keep(self, key: tuple[VolumeKey, int], array: Array) -> None:
        with self._lock:
            if key in self._slices:
                return
            self._slices[key] = array
            self._held += array.nbytes
            while self._held > self._limit:
                _, dropped = self._slices.popitem(last=False)
                self._held -= dropped.nbytes


def read_direct(volume: Volume, z: Sequence[int], box: tuple[slice, slice]) -> Array:
    """Read just a part of some slices.

    Args:
        volume: The volume.
        z: Indexes of the slices, ascending; all between the first and the last are read.
        box: Rows and columns wanted.

    Returns:
        A new array (slice, y, x).

    Raises:
        InputError: If the file is damaged there.
    """
    block = volume.read(slice(z[0], z[-1] + 1), *box)
    return block if len(block) == len(z) else np.take(block, np.array(z) - z[0], axis=0)
