"""Cut two label volumes into tiles with a margin, a slab of slices at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteon.evaluation.values import LabelReader
from osteon.labels import IGNORE

Labels = npt.NDArray[np.uint8]
Readers = tuple[LabelReader, LabelReader]

#: Voxels along each side of a tile, without its margin.
TILE = 128
#: Memory for the slab that the tiles are cut from, unless a single slice needs more.
SLAB_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Tile:
    """A part of both volumes and what surrounds it.

    Attributes:
        truth: uint8 (z, y, x) with margin; 255 where nothing is labelled.
        labels: uint8, the same shape; 255 where the truth has no label, which is not judged.
        core: Where the tile itself lies within these arrays.
        start: Voxel of the whole volume at which the arrays begin.
        whole: Whether the arrays hold the whole volume.
    """

    truth: Labels
    labels: Labels
    core: tuple[slice, slice, slice]
    start: tuple[int, int, int]
    whole: bool


def tiles(
    readers: Readers,
    *,
    margin: tuple[int, int, int],
    side: int = TILE,
    slab_bytes: int = SLAB_BYTES,
) -> Iterator[Tile]:
    """Cut both volumes into tiles that cover every voxel once.

    Memory: 2 bytes a voxel for a slab of whole slices, as thick as fits into ``slab_bytes`` and
    at most ``side``, but at least one slice, with the margin on both sides.

    Args:
        readers: The volumes, of the same shape: truth, labels.
        margin: Voxels around a tile along (z, y, x), cut off by the edge of the volume.
        side: Largest side of a tile.
        slab_bytes: Memory for the slab, in bytes.

    Yields:
        The tiles.
    """
    shape = readers[0].volume.shape
    fits = slab_bytes // max(1, 2 * shape[1] * shape[2]) - 2 * margin[0]
    depth = max(1, min(side, fits))
    for z in range(0, shape[0], depth):
        z_core, z_all = _range(z, depth, margin[0], shape[0])
        truth, labels = (reader.read(z_all) for reader in readers)
        if (truth == IGNORE).any():
            labels = np.where(truth == IGNORE, np.uint8(IGNORE), labels)
        for y in range(0, shape[1], side):
            y_core, y_all = _range(y, side, margin[1], shape[1])
            for x in range(0, shape[2], side):
                x_core, x_all = _range(x, side, margin[2], shape[2])
                part = truth[:, y_all, x_all]
                yield Tile(
                    part,
                    labels[:, y_all, x_all],
                    (z_core, y_core, x_core),
                    (z_all.start, y_all.start, x_all.start),
                    part.shape == shape,
                )


def _range(start: int, size: int, margin: int, length: int) -> tuple[slice, slice]:
    stop = min(length, start + size)
    first, last = max(0, start - margin), min(length, stop + margin)
    return slice(start - first, stop - first), slice(first, last)
