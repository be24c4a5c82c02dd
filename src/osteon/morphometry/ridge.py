"""The distance ridge: centres of spheres that no neighbour's sphere contains.

Local thickness is the largest sphere that covers a voxel. A sphere that lies within the sphere of
a neighbouring voxel adds nothing, so its centre can be left out before spheres are painted. Which
spheres contain which is counted on the voxels themselves, so the result is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]

#: Squared distances that differ by less than this part are equal (they are float32).
ROUNDING = 1e-5


@dataclass(frozen=True)
class Spheres:
    """Spheres on the grid of a volume, in classes of the same radius.

    Attributes:
        shape: (z, y, x) of the volume.
        spacing: Voxel size along (z, y, x).
        squared: Squared radius of each class, ascending.
        centres: Three arrays z, y, x: the centres.
        classes: The class of each centre.
    """

    shape: tuple[int, int, int]
    spacing: Spacing
    squared: npt.NDArray[np.float64]
    centres: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]
    classes: npt.NDArray[np.int64]


def distance_ridge(
    squared: npt.NDArray[np.float32], spacing: Spacing, *, threads: int = 1
) -> Spheres:
    """Find the centres of spheres that are not within a neighbour's sphere.

    Neighbours are those across a face or an edge. Memory: about 4 bytes a voxel and 40 a voxel of
    the structure.

    Args:
        squared: (z, y, x) squared distance to the background, 0 in the background.
        spacing: Voxel size along (z, y, x), in the unit of the distance.
        threads: Threads among which the voxels are divided; the result is the same.

    Returns:
        The spheres; none if everything is background.
    """
    shape = (squared.shape[0], squared.shape[1], squared.shape[2])
    padded = np.pad(squared, 1)  # so that no neighbour lies outside
    flat = padded.reshape(-1)
    points = np.flatnonzero(flat)
    if points.size == 0:
        nothing = np.zeros(0, np.int64)
        return Spheres(shape, spacing, np.zeros(0), (nothing,) * 3, nothing)
    radii, classes = _classes(flat.take(points), spacing)
    strides = (padded.shape[1] * padded.shape[2], padded.shape[2], 1)
    larger = [
        (sum(a * b for a, b in zip(signs, strides, strict=True)), least)
        for step, least in _containing(radii, spacing)
        for signs in product(*((s, -s) if s else (0,) for s in step))
    ]
    points, classes = _uncontained(flat, points, classes, larger=larger, threads=threads)
    z, rest = np.divmod(points, strides[0])
    y, x = np.divmod(rest, strides[1])
    return Spheres(shape, spacing, radii, (z - 1, y - 1, x - 1), classes)


def _uncontained(
    flat: npt.NDArray[np.float32],
    points: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64],
    *,
    larger: list[tuple[int, npt.NDArray[np.float32]]],
    threads: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Drop points that have a neighbour, at an offset, of at least the squared radius needed."""

    def part(
        chosen: slice,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        left, kinds = points[chosen], classes[chosen]
        for offset, least in larger:
            kept = np.flatnonzero(flat.take(left + offset) < least.take(kinds))
            left, kinds = left.take(kept), kinds.take(kept)
        return left, kinds

    ends = [points.size * k // threads for k in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(part, map(slice, ends[:-1], ends[1:])))
    return np.concatenate([p for p, _ in parts]), np.concatenate([k for _, k in parts])


def _classes(
    values: npt.NDArray[np.float32], spacing: Spacing
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Sort squared distances into classes of the same value."""
    if spacing == (1.0, 1.0, 1.0) and float(values.max()) < 2**22:
        # Whole numbers, and counted faster than sorted.
        whole = values.astype(np.int64)
        present = np.bincount(whole) > 0
        return np.flatnonzero(present).astype(np.float64), (np.cumsum(present) - 1).take(whole)
    radii, classes = np.unique(values, return_inverse=True)
    return radii.astype(np.float64), classes.astype(np.int64)


def _containing(
    squared: npt.NDArray[np.float64], spacing: Spacing
) -> Iterator[tuple[tuple[int, int, int], npt.NDArray[np.float32]]]:
    """Say how large a neighbour's sphere must be to contain that of a voxel.

    Yields:
        A step to a neighbour (of one kind; signs do not matter), and for each class the least
        squared radius there: the largest squared distance of the sphere's voxels from it.
    """
    reach = [int(np.sqrt(squared[-1] * (1 + ROUNDING)) / s) for s in spacing]
    axes = np.meshgrid(
        *(np.arange(n + 1) * s for n, s in zip(reach, spacing, strict=True)), indexing="ij"
    )
    z, y, x = (a.ravel() for a in axes)
    distance = z**2 + y**2 + x**2
    order = np.argsort(distance, kind="stable")
    order = order[distance[order] <= squared[-1] * (1 + ROUNDING)]
    z, y, x, distance = z[order], y[order], x[order], distance[order]
    last = np.searchsorted(distance, squared * (1 + ROUNDING), side="right") - 1
    # Neighbours across a corner contain hardly a sphere that the others do not: they cost more than
    # they save.
    steps = sorted((s for s in product((0, 1), repeat=3) if 0 < sum(s) < 3), key=sum)
    for step in steps:
        dz, dy, dx = (a * b for a, b in zip(step, spacing, strict=True))
        far = np.maximum.accumulate((z + dz) ** 2 + (y + dy) ** 2 + (x + dx) ** 2)
        yield (step[0], step[1], step[2]), (far[last] * (1 - ROUNDING)).astype(np.float32)
