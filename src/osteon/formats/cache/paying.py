"""Whether a copy in the disk cache pays: measured on patches of a few slices."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from osteon.files import writing
from osteon.formats.cache.array import Shards, chunk_shape
from osteon.volume import Array, Volume

#: Side of the patch, in pixels, by which direct reads are compared with reads of the cache.
PROBE_SIZE = 256
#: Slices it is read from.
PROBE_SLICES = 3
_TRIES = 2


def gain(volume: Volume) -> float:
    """Measure how many times faster a patch is read from the cache than from the volume.

    Args:
        volume: The volume.

    Returns:
        The ratio of the times, each the best of two (so that both are in the system's memory).

    Raises:
        InputError: If the volume is damaged.
        OutputError: If the system's folder of temporary files cannot be written.
    """
    depth, *plane = volume.shape
    y, x = (slice((n - min(n, PROBE_SIZE)) // 2, (n + min(n, PROBE_SIZE)) // 2) for n in plane)
    places = spread(depth)
    direct = sum(_best(_reader(volume.read, z, y, x)) for z in places)
    thick = chunk_shape(volume.shape, volume.dtype.itemsize)[0]
    copied = 0.0
    for z in places:
        start = min(z, depth - thick)
        slab = volume.read(slice(start, start + thick))
        with tempfile.TemporaryDirectory(prefix="osteon-") as folder:
            shards = Shards(Path(folder), (thick, plane[0], plane[1]), volume.dtype)
            with writing(Path(folder)):
                shards.create()[:] = slab
            copied += _best(_reader(shards.read, z - start, y, x))
    return direct / copied


def _reader(
    read: Callable[[slice, slice, slice], Array], z: int, y: slice, x: slice
) -> Callable[[], Array]:
    return lambda: read(slice(z, z + 1), y, x)


def _best(work: Callable[[], Array]) -> float:
    seconds = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def spread(depth: int) -> list[int]:
    """Return the slices that stand for all of a volume.

    Args:
        depth: Number of its slices.
    """
    return sorted({depth * (2 * k + 1) // (2 * PROBE_SLICES) for k in range(PROBE_SLICES)})
