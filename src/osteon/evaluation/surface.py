"""How far the surfaces of labels and truth are apart, in blocks.

A surface voxel is a voxel of the class with a face neighbour that is not of it (Taha & Hanbury
2015, 10.1186/s12880-015-0068-x). Where a bone is cut by the edge of the volume or borders on
voxels without a label there is no surface: both would have the same by construction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from osteon.errors import Stopped
from osteon.evaluation.tiles import TILE, Readers, Tile, tiles
from osteon.events import Reporter
from osteon.labels import IGNORE

#: Voxels around a tile in which the other surface is looked for first.
HALO = 16
#: The part of the distances that the robust Hausdorff distance covers.
HAUSDORFF_SHARE = 0.95

#: Distances are told apart by this part of a voxel: the same distance, reached by different
#: sums of floating point numbers, is then counted once.
_STEP = 1e-9

Spacing = tuple[float, float, float]
_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]


@dataclass
class Distances:
    """Distances from the voxels of one surface to the other surface, as counts.

    On a grid few distances are different, so that this takes little memory and loses nothing.

    Attributes:
        counts: Distance → number of surface voxels.
        unmatched: Surface voxels that have no other surface to be near to.
    """

    counts: dict[float, int] = field(default_factory=dict)
    unmatched: int = 0

    def add(self, values: npt.ArrayLike, unit: float) -> None:
        """Count distances.

        Args:
            values: The distances, in the unit of the spacing.
            unit: Smallest side of a voxel.
        """
        step = unit * _STEP
        found, n = np.unique(np.rint(np.asarray(values) / step), return_counts=True)
        for value, count in zip(found.tolist(), n.tolist(), strict=True):
            key = value * step
            self.counts[key] = self.counts.get(key, 0) + count

    def sorted(self) -> tuple[_Floats, npt.NDArray[np.int64]]:
        """Return the distances in ascending order and their counts."""
        keys = sorted(self.counts)
        return np.array(keys, np.float64), np.array([self.counts[k] for k in keys], np.int64)

    @property
    def matched(self) -> int:
        """Number of surface voxels that have a distance."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float:
        """Return a quantile, interpolated linearly as NumPy's default; NaN without distances."""
        values, counts = self.sorted()
        if not len(values):
            return math.nan
        ends = np.cumsum(counts)
        place = share * (int(ends[-1]) - 1)
        low, high = (
            values[np.searchsorted(ends, index, side="right")]
            for index in (math.floor(place), math.ceil(place))
        )
        return float(low + (high - low) * (place - math.floor(place)))


@dataclass
class SurfaceDistances:
    """Distances between the surfaces of a class, in both directions.

    Attributes:
        from_truth: From each surface voxel of the truth to the surface of the labels.
        from_labels: From each surface voxel of the labels to the surface of the truth.
    """

    from_truth: Distances = field(default_factory=Distances)
    from_labels: Distances = field(default_factory=Distances)

    @property
    def voxels(self) -> int:
        """Surface voxels of both."""
        return sum(d.matched + d.unmatched for d in (self.from_truth, self.from_labels))


def average_distance(distances: SurfaceDistances) -> float:
    """Average symmetric surface distance: the mean over the surface voxels of both.

    Heimann et al. 2009 (10.1109/TMI.2009.2013851), section III-A.

    Args:
        distances: The distances.

    Returns:
        The mean, in the unit of the spacing; NaN if either has no surface.
    """
    both = (distances.from_truth, distances.from_labels)
    n = sum(d.matched for d in both)
    if not n:
        return math.nan
    return math.fsum(value * count for d in both for value, count in d.counts.items()) / n


def hausdorff_95(distances: SurfaceDistances) -> float:
    """Robust Hausdorff distance: the larger of the 95th percentiles of both directions.

    Args:
        distances: The distances.

    Returns:
        The distance, in the unit of the spacing; NaN if either has no surface.
    """
    values = [
        d.quantile(HAUSDORFF_SHARE)
        for d in (distances.from_truth, distances.from_labels)
        if d.matched
    ]
    return max(values, default=math.nan)


def surface_dice(distances: SurfaceDistances, tolerance: float) -> float:
    """Normalised surface Dice: the part of both surfaces within a tolerance of the other.

    Nikolov et al. 2021 (10.2196/26151), with voxels of the surface for its area. A surface
    without a counterpart is outside of any tolerance.

    Args:
        distances: The distances.
        tolerance: The tolerance, in the unit of the spacing.

    Returns:
        0..1; NaN if neither has a surface.
    """
    if not distances.voxels:
        return math.nan
    limit = tolerance * (1 + _STEP)
    both = (distances.from_truth, distances.from_labels)
    near = sum(n for d in both for value, n in d.counts.items() if value <= limit)
    return near / distances.voxels


def surface_distances(
    readers: Readers,
    *,
    classes: Sequence[int],
    spacing: Spacing,
    contiguous: bool = True,
    reporter: Reporter | None = None,
    side: int = TILE,
    halo: int = HALO,
) -> dict[int, SurfaceDistances]:
    """Measure the distances between the surfaces of truth and labels. Exact, in blocks.

    The other surface is looked for in a tile with a halo; what is farther away than the halo is
    sure to see is looked for again in the whole volume, tile by tile. So the result does not
    depend on tile or halo; only the time does.

    Memory: that of :func:`~osteon.evaluation.tiles.tiles`, some 100 bytes a surface voxel of one
    tile, and 32 bytes for every surface voxel that is farther from its counterpart than the halo.

    Args:
        readers: Truth and labels.
        classes: Values of the classes to measure.
        spacing: Distance of voxels along (z, y, x), in any unit.
        contiguous: Whether neighbouring slices are neighbours in space; if not, distances are
            taken within each slice, and those of all slices are counted together.
        reporter: Told of the progress; asked whether to stop.
        side: Side of a tile in voxels.
        halo: Voxels around it.

    Returns:
        Value of the class → distances, in the unit of the spacing.

    Raises:
        Stopped: If the reporter was asked to stop.
    """
    work = _Work(readers, classes, spacing, contiguous, side, halo)
    reporter = reporter or Reporter()
    total = readers[0].volume.shape[0]
    with reporter.stage("surface", total=total, unit="slice") as progress:
        done = 0
        for tile in work.tiles():
            if reporter.stopping:
                raise Stopped("stopped while surfaces were measured")
            work.measure(tile)
            end = tile.start[0] + tile.core[0].stop
            if end > done:
                progress.advance(end - done)
                done = end
    work.search_far(reporter)
    return work.result


class _Work:
    """One measurement: tiles first, then what is too far apart for a tile to see."""

    def __init__(
        self,
        readers: Readers,
        classes: Sequence[int],
        spacing: Spacing,
        contiguous: bool,
        side: int,
        halo: int,
    ):
        self.readers, self.classes, self.side = readers, classes, side
        self.contiguous = contiguous
        self.axes = (0, 1, 2) if contiguous else (1, 2)
        self.scale = np.array(spacing, np.float64)
        self.unit = float(min(self.scale[a] for a in self.axes))
        # A ring more than the halo: whether its voxels are surface is not known.
        self.margin = tuple(halo + 1 if a in self.axes else 0 for a in range(3))
        #: Voxels beyond the tile are at least so far from its core.
        self.sure = min(self.margin[a] * self.scale[a] for a in self.axes)
        self.result = {c: SurfaceDistances() for c in classes}
        self.far: dict[tuple[int, int], list[tuple[npt.NDArray[np.int64], _Floats]]] = {}

    def tiles(self) -> Iterable[Tile]:
        z, y, x = self.margin
        if self.contiguous:
            yield from tiles(self.readers, margin=(z, y, x), side=self.side)
            return
        # Single slices, cut out of thicker slabs, so that they are read at once.
        for tile in tiles(self.readers, margin=(0, y, x), side=self.side):
            for k in range(tile.truth.shape[0]):
                yield Tile(
                    tile.truth[k : k + 1],
                    tile.labels[k : k + 1],
                    (slice(0, 1), *tile.core[1:]),
                    (tile.start[0] + k, *tile.start[1:]),
                    tile.truth.shape[1:] == self.readers[0].volume.shape[1:],
                )

    def measure(self, tile: Tile) -> None:
        for c in self.classes:
            edges = [_surface(part, c, self.axes) for part in (tile.truth, tile.labels)]
            for direction, out in enumerate(
                (self.result[c].from_truth, self.result[c].from_labels)
            ):
                self._one_way(tile, c, direction, edges, out)

    def _one_way(
        self, tile: Tile, c: int, direction: int, edges: list[_Bools], out: Distances
    ) -> None:
        own, other = edges[direction], edges[1 - direction]
        inside = own[tile.core]
        if not inside.any():
            return
        shared = int(np.count_nonzero(inside & other[tile.core]))
        if shared:  # most voxels, where labels are good: no search is needed
            out.counts[0.0] = out.counts.get(0.0, 0) + shared
        points = np.argwhere(inside & ~other[tile.core]) + [s.start for s in tile.core]
        if not len(points):
            return
        nearest = np.full(len(points), np.inf)
        there = np.argwhere(other)
        if len(there):
            nearest = KDTree(there * self.scale).query(points * self.scale)[0]
        known = (nearest <= self.sure) | (tile.whole & np.isfinite(nearest))
        out.add(nearest[known], self.unit)
        if not known.all():
            places = points[~known] + np.array(tile.start)
            self.far.setdefault((c, direction), []).append((places, nearest[~known]))

    def search_far(self, reporter: Reporter) -> None:
        """Look in the whole volume for what no tile could see."""
        pending = {
            key: (np.concatenate([p for p, _ in parts]), np.concatenate([d for _, d in parts]))
            for key, parts in self.far.items()
        }
        if not pending:
            return
        for tile in self.tiles():
            if reporter.stopping:
                raise Stopped("stopped while surfaces were measured")
            for (c, direction), (points, best) in pending.items():
                other = tile.labels if direction == 0 else tile.truth
                self._improve(tile, _surface(other, c, self.axes), points, best)
        for (c, direction), (_, best) in pending.items():
            both = self.result[c]
            out = both.from_truth if direction == 0 else both.from_labels
            found = np.isfinite(best)
            out.add(best[found], self.unit)
            out.unmatched += int(np.count_nonzero(~found))

    def _improve(
        self, tile: Tile, edge: _Bools, points: npt.NDArray[np.int64], best: _Floats
    ) -> None:
        there = np.argwhere(edge[tile.core])
        if not len(there):
            return
        first = np.array([s.start for s in tile.core]) + np.array(tile.start)
        there += first
        low, high = there.min(axis=0) * self.scale, there.max(axis=0) * self.scale
        places = points * self.scale
        gap = np.maximum(np.maximum(low - places, places - high), 0)
        near = np.sqrt((gap**2).sum(axis=1)) < best
        if not self.contiguous:
            near &= points[:, 0] == tile.start[0]
        if near.any():
            tree = KDTree(there * self.scale)
            best[near] = np.minimum(best[near], tree.query(places[near])[0])


def _surface(labels: npt.NDArray[np.uint8], c: int, axes: Sequence[int]) -> _Bools:
    """Mark the voxels of a class that have a face neighbour of another."""
    own: _Bools = labels == c
    if not own.any():
        return own
    inside = own | (labels == IGNORE)
    core = inside.copy()
    for axis in axes:
        a, b = ([slice(None)] * 3 for _ in range(2))
        a[axis], b[axis] = slice(1, None), slice(None, -1)
        core[tuple(a)] &= inside[tuple(b)]
        core[tuple(b)] &= inside[tuple(a)]
    edge: _Bools = own & ~core
    return edge
