"""Objects, Euler number and connections of a mask, slab by slab; and what happens to centre-lines.

Bone is 26-connected and what is not bone 6-connected (Odgaard & Gundersen 1993,
10.1016/8756-3282(93)90245-6): voxels are closed cubes, and two that share a corner are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import cc3d
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Bools = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]

#: Reads the slices start..stop of a mask.
ReadMask = Callable[[int, int], Bools]

#: Memory for the labels of a slab's components, unless a single slice needs more.
SLAB_BYTES = 256 * 2**20
_BYTES_PER_VOXEL = 16  # ids as int64, labels as uint32, masks

#: Centre-lines are found in the whole mask at once; larger scans do without them.
MAX_CENTRELINE_VOXELS = 2**28

#: Neighbours by corners, and by faces alone.
_CORNERS: Literal[26] = 26
_FACES: Literal[6] = 6
_PIXEL_CORNERS: Literal[8] = 8


@dataclass(frozen=True)
class Topology:
    """How a mask hangs together.

    Attributes:
        objects: Connected components (in single slices: summed over the slices).
        euler: Euler number of the whole mask: objects − tunnels + cavities.
        largest: Voxels of the largest object (of the fullest in any slice).
        connectivity: Tunnels through the largest object, its cavities filled: 1 − χ after
            purification (what Conn.D divides by the volume); None in single slices.
    """

    objects: int
    euler: int
    largest: int
    connectivity: int | None = None


class Components:
    """Numbers the connected components of a mask that is given slab by slab.

    Memory: the labels of a slab, the ids of its last slice, and 16 bytes an object.

    Args:
        connectivity: 26 or 6.
    """

    def __init__(self, connectivity: Literal[26, 6]):
        self._connectivity = connectivity
        self._starts: list[int] = []
        self._edges: list[Ids] = []
        self._sizes: list[Ids] = []
        self._open: list[Ids] = []
        self._last: Ids | None = None
        self._count = 0

    def add(self, mask: Bools, *, last: bool) -> None:
        """Take the next slab.

        Args:
            mask: bool (z, y, x).
            last: Whether it is the last one.
        """
        ids = self._ids(mask, self._count)
        n = int(ids.max(initial=self._count)) - self._count
        self._starts.append(self._count)
        self._sizes.append(np.bincount((ids[ids > 0] - self._count - 1), minlength=n))
        if self._last is not None:
            self._join(self._last, ids[0])
        rims = [ids[:, 0], ids[:, -1], ids[:, :, 0], ids[:, :, -1]]
        if self._last is None:
            rims.append(ids[0])
        if last:
            rims.append(ids[-1])
        self._open.append(np.unique(np.concatenate([rim.ravel() for rim in rims])))
        self._last = ids[-1].copy()
        self._count += n

    def _ids(self, mask: Bools, start: int) -> Ids:
        # Its own array: cc3d numbers the components of the same mask the same way every time.
        labels = cc3d.connected_components(
            np.ascontiguousarray(mask).view(np.uint8), connectivity=self._connectivity
        )
        ids: Ids = labels.astype(np.int64)
        ids[ids > 0] += start
        return ids

    def _join(self, above: Ids, below: Ids) -> None:
        shifts = range(-1, 2) if self._connectivity == _CORNERS else (0,)
        for dy in shifts:
            for dx in shifts:
                a = above[_part(dy), _part(dx)].ravel()
                b = below[_part(-dy), _part(-dx)].ravel()
                both = (a > 0) & (b > 0)
                if both.any():
                    self._edges.append(np.unique(np.stack([a[both], b[both]], axis=1), axis=0))

    number = 0
    touching = 0

    def finish(self) -> None:
        """Join what the borders of slabs have cut apart; to be called after the last slab."""
        edges = np.concatenate(self._edges) - 1 if self._edges else np.zeros((0, 2), np.int64)
        graph = coo_array(
            (np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), (self._count, self._count)
        )
        if self._count:
            number, self._group = connected_components(graph, directed=False)
        else:
            number, self._group = 0, np.zeros(0, np.int32)
        self.number = int(number)
        sizes = np.concatenate([*self._sizes, np.zeros(0, np.int64)])
        self.sizes: Ids = np.bincount(self._group, sizes, minlength=self.number).astype(np.int64)
        rim = np.unique(np.concatenate([*self._open, np.zeros(1, np.int64)]))
        self.touching = len(np.unique(self._group[rim[rim > 0] - 1]))

    @property
    def enclosed(self) -> int:
        """Components that do not touch the edge of the volume."""
        return self.number - self.touching

    def largest_in(self, mask: Bools, index: int) -> Bools:
        """Keep of a slab what belongs to the largest component.

        Args:
            mask: The slab, as it was added.
            index: Which slab it was.

        Returns:
            bool, the same shape.
        """
        ids = self._ids(mask, self._starts[index])
        keep = np.concatenate([[False], self._group == int(np.argmax(self.sizes))])
        kept: Bools = keep[ids]
        return kept


class Euler:
    """Adds up the Euler number of a mask that is given slice after slice. Holds one slice.

    A mask of closed voxels is the sum of its slices, which are glued together at the planes
    between them: χ = Σ over planes of χ₂(above ∪ below) − Σ over slices of χ₂(slice), where χ₂ is
    vertices − edges + faces of closed pixels.
    """

    def __init__(self) -> None:
        self._last: Bools | None = None
        self._sum: int = 0

    def add(self, mask: Bools) -> None:
        """Take the next slices.

        Args:
            mask: bool (z, y, x).
        """
        for plane in mask:
            between = plane if self._last is None else plane | self._last
            self._sum += euler_2d(between) - euler_2d(plane)
            self._last = plane

    @property
    def number(self) -> int:
        """The Euler number of what was added."""
        last = 0 if self._last is None else euler_2d(self._last)
        return self._sum + last


def euler_2d(mask: Bools) -> int:
    """Euler number of closed pixels (8-connected): vertices − edges + faces.

    Args:
        mask: bool (y, x).

    Returns:
        Objects minus holes.
    """
    rows = np.zeros((mask.shape[0] + 1, mask.shape[1]), np.bool_)
    rows[:-1] |= mask
    rows[1:] |= mask  # horizontal edges
    columns = np.zeros((mask.shape[0], mask.shape[1] + 1), np.bool_)
    columns[:, :-1] |= mask
    columns[:, 1:] |= mask  # vertical edges
    corners = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.bool_)
    corners[:-1] |= columns
    corners[1:] |= columns
    return sum(
        sign * int(np.count_nonzero(cells))
        for sign, cells in ((1, corners), (-1, rows), (-1, columns), (1, mask))
    )


def topology(
    read: ReadMask, shape: tuple[int, int, int], *, purify: bool, slab_bytes: int = SLAB_BYTES
) -> Topology:
    """Count objects, Euler number and, if asked, connections. Exact, slab by slab.

    Memory: 16 bytes a voxel of a slab, which is as thick as fits into ``slab_bytes`` but at least
    one slice, and 16 bytes an object.

    Args:
        read: Reads slices of the mask.
        shape: (z, y, x).
        purify: Whether to count the connections of the largest object; reads the mask again.
        slab_bytes: Memory for a slab, in bytes.

    Returns:
        The counts.
    """
    objects, euler = Components(_CORNERS), Euler()
    slabs = list(_slabs(shape, slab_bytes))
    for start, stop in slabs:
        mask = read(start, stop)
        objects.add(mask, last=stop == shape[0])
        euler.add(mask)
    objects.finish()
    largest = int(objects.sizes.max(initial=0))
    connections = None
    if purify:
        connections = _connections(read, shape, objects, slabs) if objects.number else 0
    return Topology(objects.number, euler.number, largest, connections)


def _connections(
    read: ReadMask, shape: tuple[int, int, int], objects: Components, slabs: list[tuple[int, int]]
) -> int:
    outside, euler = Components(_FACES), Euler()
    for index, (start, stop) in enumerate(slabs):
        kept = objects.largest_in(read(start, stop), index)
        euler.add(kept)
        outside.add(~kept, last=stop == shape[0])
    outside.finish()
    # χ = objects − tunnels + cavities; filling the cavities of the one object takes them away.
    return 1 + outside.enclosed - euler.number


def topology_of_slices(read: ReadMask, depth: int) -> Topology:
    """Count objects and Euler number of each slice by itself, summed. Holds one slice.

    Args:
        read: Reads slices of the mask.
        depth: Number of slices.

    Returns:
        The sums; 8-connected.
    """
    objects = euler = largest = 0
    for z in range(depth):
        mask = np.ascontiguousarray(read(z, z + 1)[0])
        labels = cc3d.connected_components(mask.view(np.uint8), connectivity=_PIXEL_CORNERS)
        n = int(labels.max(initial=0))
        objects += n
        euler += euler_2d(mask)
        if n:
            largest = max(largest, int(np.bincount(labels.ravel())[1:].max()))
    return Topology(objects, euler, largest)


@dataclass
class Centrelines:
    """How much of the centre-lines of truth and labels runs where the other has the class.

    Attributes:
        truth: Voxels of the truth's centre-line.
        found: Those of them that the labels have.
        labels: Voxels of the labels' centre-line.
        right: Those of them that the truth has.
    """

    truth: int = 0
    found: int = 0
    labels: int = 0
    right: int = 0

    def add(self, truth: Bools, labels: Bools) -> None:
        """Find and compare the centre-lines of a volume or slice.

        Memory: about 8 bytes a voxel of the box around both masks (scikit-image).

        Args:
            truth: bool (z, y, x) or (y, x).
            labels: bool, the same shape.
        """
        # Imported here: it takes a while, and overlap alone does without.
        import skimage.morphology

        skeletonize: Any = skimage.morphology.skeletonize
        box = _box(truth | labels)
        if box is None:
            return
        truth, labels = truth[box], labels[box]
        # A mask of nothing has no centre-line, and scikit-image need not be asked.
        for own, other, names in (
            (truth, labels, ("truth", "found")),
            (labels, truth, ("labels", "right")),
        ):
            line = skeletonize(own, method="lee").astype(bool) if own.any() else own
            total, hits = int(np.count_nonzero(line)), int(np.count_nonzero(line & other))
            setattr(self, names[0], getattr(self, names[0]) + total)
            setattr(self, names[1], getattr(self, names[1]) + hits)

    def scores(self) -> tuple[float, float, float]:
        """Return the part found, the part that is right, and their harmonic mean (clDice).

        Shit et al. 2021 (10.1109/CVPR46437.2021.01629): topology sensitivity, topology
        precision, clDice.

        Returns:
            Three values 0..1; NaN where neither has a line; 0 where one only has none.
        """
        if not self.truth and not self.labels:
            nan = float("nan")
            return nan, nan, nan
        found = self.found / self.truth if self.truth else 0.0
        right = self.right / self.labels if self.labels else 0.0
        both = 2 * found * right / (found + right) if found + right else 0.0
        return found, right, both


def _slabs(shape: tuple[int, int, int], slab_bytes: int) -> Iterator[tuple[int, int]]:
    depth = max(1, slab_bytes // (_BYTES_PER_VOXEL * max(1, shape[1] * shape[2])))
    for start in range(0, shape[0], depth):
        yield start, min(shape[0], start + depth)


def _part(shift: int) -> slice:
    return slice(max(0, shift), None if shift >= 0 else shift)


def _box(mask: Bools) -> tuple[slice, ...] | None:
    spans = []
    for axis in range(mask.ndim):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        if not len(found):
            return None
        spans.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(spans)
