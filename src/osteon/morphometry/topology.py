"""Connectivity: Euler number, purification, Conn.D (Odgaard and Gundersen 1993).

Bone is connected by faces, edges and corners (26 neighbours), what is not bone by faces alone (6):
the two go together. Then the Euler number χ of the bone is that of its closed voxels, corners −
edges + faces − voxels, and it is counted exactly in slabs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import cc3d
import numpy as np

from osteon.morphometry.ridge import Mask

#: Slices that are counted at a time.
SLAB = 32


@dataclass(frozen=True)
class Euler:
    """The Euler number of a structure in a box.

    Attributes:
        number: χ of the structure within the box.
        corrected: χ + Δχ: corners, edges and faces on the faces of the box count half, on its
            edges a quarter, on its corners an eighth, so that the numbers of boxes that fill a
            space add up to its own (Odgaard and Gundersen 1993, 10.1016/8756-3282(93)90245-6).
    """

    number: int
    corrected: float

    @property
    def connectivity(self) -> float:
        """1 − (χ + Δχ): how many connections may be cut before the structure falls apart."""
        return 1 - self.corrected


@dataclass(frozen=True)
class Purified:
    """A structure that is one piece without closed cavities.

    Attributes:
        mask: (z, y, x) the structure.
        removed: Voxels of other pieces that were taken away.
        pieces: Number of those pieces.
        filled: Voxels of cavities that were filled.
    """

    mask: Mask
    removed: int
    pieces: int
    filled: int


def purify(mask: Mask) -> Purified:
    """Keep the largest piece of a structure and fill cavities that nothing leads into.

    Memory: about 12 bytes a voxel.

    Args:
        mask: (z, y, x) the structure.

    Returns:
        The structure, and what was done to it. What touches the edge of the image is no cavity.
    """
    labels, count = cc3d.connected_components(mask, connectivity=26, return_N=True)
    if count == 0:
        return Purified(mask.copy(), 0, 0, 0)
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)
    sizes[0] = 0
    one: Mask = labels == int(sizes.argmax())
    removed = int(sizes.sum() - sizes.max())
    outside = np.pad(~one, 1, constant_values=True)  # one space around, which leads out
    spaces = cc3d.connected_components(outside, connectivity=6)
    solid: Mask = (spaces != spaces[0, 0, 0])[1:-1, 1:-1, 1:-1]
    filled = int(np.count_nonzero(solid)) - int(np.count_nonzero(one))
    return Purified(solid, removed, count - 1, filled)


def euler_number(mask: Mask) -> Euler:
    """Count the Euler number of a structure; see :func:`euler_of_slabs`.

    Args:
        mask: (z, y, x) the structure.
    """
    slabs = (mask[z : z + SLAB] for z in range(0, mask.shape[0], SLAB))
    return euler_of_slabs(slabs)


def euler_of_slabs(slabs: Iterable[Mask]) -> Euler:
    """Count the Euler number of a structure that comes slab by slab, exactly.

    Memory: about 12 bytes a voxel of a slab.

    Args:
        slabs: Slabs (z, y, x) of the structure, in order, without gaps, of at least one slice.

    Returns:
        The Euler number, and that with half the weight for what lies on the faces of the box.
    """
    number, corrected = 0, 0.0
    for layer in _layers(slabs):
        for plane_y, plane_x in product((True, False), repeat=2):
            cells = layer.cells
            cells = _corners(cells, 1) if plane_y else cells
            cells = _corners(cells, 2) if plane_x else cells
            intervals = (not layer.planes) + (not plane_y) + (not plane_x)
            sign = -1 if intervals % 2 else 1
            number += sign * int(np.count_nonzero(cells))
            weight = _weighted(cells, ends_y=plane_y, ends_x=plane_x)
            corrected += sign * layer.weight * weight
    return Euler(number, corrected)


@dataclass(frozen=True)
class _Layer:
    """Slices of voxels, or the planes between them."""

    cells: Mask
    planes: bool
    weight: float


def _layers(slabs: Iterable[Mask]) -> Iterator[_Layer]:
    last: Mask | None = None
    for slab in slabs:
        yield _Layer(slab, planes=False, weight=1.0)
        if last is None:
            yield _Layer(slab[:1], planes=True, weight=0.5)  # a face of the box
            between = slab
        else:
            between = np.concatenate([last, slab])
        if between.shape[0] > 1:
            yield _Layer(between[:-1] | between[1:], planes=True, weight=1.0)
        last = slab[-1:].copy()
    if last is not None:
        yield _Layer(last, planes=True, weight=0.5)


def _corners(cells: Mask, axis: int) -> Mask:
    """Turn intervals along an axis into the planes at their ends."""
    widths = [(1, 1) if a == axis else (0, 0) for a in range(3)]
    padded = np.pad(cells, widths)
    low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
    high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
    joined: Mask = padded[low] | padded[high]
    return joined


def _weighted(cells: Mask, *, ends_y: bool, ends_x: bool) -> float:
    """Count cells; those on the first and last plane of an axis by half."""
    count = np.count_nonzero
    total = float(count(cells))
    if ends_y:
        total -= 0.5 * (count(cells[:, 0]) + count(cells[:, -1]))
    if ends_x:
        total -= 0.5 * (count(cells[:, :, 0]) + count(cells[:, :, -1]))
    if ends_y and ends_x:
        total += 0.25 * sum(count(cells[:, y, x]) for y in (0, -1) for x in (0, -1))
    return total
