"""Paint spheres so that each voxel gets the largest that covers it.

A sphere is painted row by row (a row: one z, one y). A row from a to b gets its value by two
overlapping pieces of 2^k voxels, noted at their first voxel in a table of level k. In the end each
level is handed down to the next lower: a piece of 2^k is two of 2^(k-1). Maxima may overlap, so
the result is exact, and a sphere of radius r costs r² notes instead of r³ voxels.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.morphometry.ridge import ROUNDING, Spheres

#: Notes that are written at a time: small enough to stay in the processor's cache.
NOTES_AT_A_TIME = 1 << 17

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Rows:
    """The rows of a sphere: where they lie from its centre, half their length, their level."""

    dz: Index
    dy: Index
    half: Index
    level: npt.NDArray[Any]

    def at(self, level: int) -> _Rows:
        chosen = self.level == level
        return _Rows(self.dz[chosen], self.dy[chosen], self.half[chosen], self.level[chosen])


def paint(spheres: Spheres, *, threads: int = 1) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Paint spheres, larger over smaller.

    A voxel is within a sphere if its centre is not farther from the sphere's than the radius.
    Memory: 4 bytes a voxel (8 with more than 65,534 radii), twice the largest radius added to x.
    Each thread paints a slab, with all spheres that reach into it, so the result is the same.

    Args:
        spheres: The spheres; at least one.
        threads: At most so many slabs; none is thinner than the largest radius.

    Returns:
        (z, y, x): number of the class of the largest sphere that covers a voxel, from 1; 0: none.
    """
    depth = spheres.shape[0]
    thickest = max(1, math.ceil(math.sqrt(spheres.squared[-1]) / spheres.spacing[0]))
    slabs = max(1, min(threads, depth // thickest))
    edges = [depth * k // slabs for k in range(slabs + 1)]
    if slabs == 1:
        return _paint_slab(spheres, 0, depth)
    with ThreadPoolExecutor(slabs) as pool:
        parts = pool.map(lambda k: _paint_slab(spheres, edges[k], edges[k + 1]), range(slabs))
        return np.concatenate(list(parts))


def _paint_slab(spheres: Spheres, z0: int, z1: int) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Paint the slices from z0 to z1."""
    _, ny, nx = spheres.shape
    pad = int(np.sqrt(spheres.squared[-1] * (1 + ROUNDING)) / spheres.spacing[2])
    shape = (z1 - z0, ny, nx + 2 * pad)
    kind = np.uint16 if len(spheres.squared) < np.iinfo(np.uint16).max else np.uint32
    reach = (np.sqrt(spheres.squared * (1 + ROUNDING)) / spheres.spacing[0]).astype(np.int64)
    far = reach.take(spheres.classes)
    near = np.flatnonzero((spheres.centres[0] + far >= z0) & (spheres.centres[0] - far < z1))
    classes = spheres.classes[near]
    if near.size == 0:
        return np.zeros((z1 - z0, ny, nx), kind)
    order = np.argsort(classes, kind="stable")
    z, y, x = (axis[near[order]] for axis in spheres.centres)
    canvas = _Canvas(shape, (z - z0, y, x + pad))
    starts = np.searchsorted(classes[order], np.arange(len(spheres.squared) + 1))
    used = np.flatnonzero(np.diff(starts))
    rows = {int(k): _rows(float(spheres.squared[k]), spheres) for k in used}
    top = max(int(r.level.max()) for r in rows.values())
    above: npt.NDArray[np.unsignedinteger[Any]] | None = None
    for level in range(top, -1, -1):
        table = np.zeros(shape, kind)
        for k, all_rows in rows.items():  # ascending: of two notes at one place the larger stays
            part = all_rows.at(level)
            if part.dz.size:
                canvas.note(table.reshape(-1), part, slice(starts[k], starts[k + 1]), value=k + 1)
        if above is not None:
            half = 1 << level
            np.maximum(table, above, out=table)
            np.maximum(table[..., half:], above[..., :-half], out=table[..., half:])
        above = table
    if above is None:
        raise ValueError("there are no spheres to paint")
    return above[..., pad : pad + nx]


def _rows(squared: float, spheres: Spheres) -> _Rows:
    sz, sy, sx = spheres.spacing
    within = squared * (1 + ROUNDING)
    nz, ny = int(np.sqrt(within) / sz), int(np.sqrt(within) / sy)
    dz, dy = np.meshgrid(np.arange(-nz, nz + 1), np.arange(-ny, ny + 1), indexing="ij")
    rest = within - (dz * sz) ** 2 - (dy * sy) ** 2
    inside = rest >= 0
    half = (np.sqrt(rest[inside]) / sx).astype(np.int64)
    level = np.frexp(2 * half + 1)[1] - 1  # the largest 2^level that fits into the row
    return _Rows(dz[inside].astype(np.int64), dy[inside].astype(np.int64), half, level)


class _Canvas:
    """The grid with its centres, sorted by class."""

    def __init__(self, shape: tuple[int, int, int], centres: tuple[Index, Index, Index]):
        self._shape, self._centres = shape, centres
        z, y, x = centres
        self._flat = (z * shape[1] + y) * shape[2] + x

    def note(self, table: npt.NDArray[Any], rows: _Rows, chosen: slice, *, value: int) -> None:
        """Note some rows of the spheres around some centres in the table of their level."""
        depth, height, width = self._shape
        z, y, x = (axis[chosen] for axis in self._centres)
        reach_z, reach_y = int(np.abs(rows.dz).max()), int(np.abs(rows.dy).max())
        inside = (z >= reach_z) & (z < depth - reach_z) & (y >= reach_y) & (y < height - reach_y)
        second = 2 * rows.half + 1 - (1 << int(rows.level[0]))
        first = (rows.dz * height + rows.dy) * width - rows.half
        offsets = np.unique(np.concatenate([first, first + second]))[:, np.newaxis]
        centres = self._flat[chosen][inside]
        step = max(1, NOTES_AT_A_TIME // len(offsets))
        for i in range(0, len(centres), step):
            table[(centres[i : i + step] + offsets).ravel()] = value
        step = max(1, NOTES_AT_A_TIME // len(rows.dz))
        rim = np.flatnonzero(~inside)
        for i in range(0, len(rim), step):
            part = rim[i : i + step]
            row_z = z[part] + rows.dz[:, np.newaxis]
            row_y = y[part] + rows.dy[:, np.newaxis]
            kept = (row_z >= 0) & (row_z < depth) & (row_y >= 0) & (row_y < height)
            at = (row_z * height + row_y) * width + x[part] - rows.half[:, np.newaxis]
            table[at[kept]] = value
            table[(at + second[:, np.newaxis])[kept]] = value
