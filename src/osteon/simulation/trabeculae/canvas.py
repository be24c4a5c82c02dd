"""Rods and plates as signed distances, drawn on the voxels of a field of view."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from osteon.simulation.grids import CoarseGrid, voxel_positions
from osteon.simulation.trabeculae.warp import Warp

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]
Positions = tuple[Float32, Float32, Float32]
Box = tuple[slice, slice, slice]


class Canvas:
    """A field of view whose positions are warped, and the distance field drawn on it.

    Args:
        grid: The coarse grid of the field of view.
        warp: From space to where bodies are drawn, or None.
        background: Distance in µm where nothing was drawn (negative).
    """

    def __init__(
        self,
        grid: CoarseGrid,
        *,
        background: float,
        warp: Warp | None = None,
    ):
        self._voxel = grid.voxel_um
        self._lines = voxel_positions(grid.shape, voxel_um=grid.voxel_um)
        self._warp = warp
        self._moved = (
            None
            if warp is None
            else [
                grid.to_voxels(np.broadcast_to(d, [len(a) for a in grid.axes]))
                for d in warp(*grid.mesh)
            ]
        )
        #: Signed distance in µm, positive in bone, float32 (z, y, x).
        self.distance: Float32 = np.full(grid.shape, background, dtype=np.float32)

    def boxes(self, points: Floats, first: Ints, *, margins: Floats) -> list[Box | None]:
        """Return the voxels around bodies that are given by points of warped space.

        Args:
            points: Positions in µm of the points of all bodies, one body after the other, (n, 3).
            first: Index of the first point of each body, (m,).
            margins: How far the boxes reach beyond the points, in µm, (m,).

        Returns:
            For each body slices (z, y, x), or None outside the field of view.
        """
        if len(first) == 0:
            return []
        if self._warp is not None:
            points = self._warp.inverse(points)
        origin = np.array([line[0] for line in self._lines])
        counts = np.array([len(line) for line in self._lines])
        low = np.minimum.reduceat(points, first) - margins[:, None] - origin
        high = np.maximum.reduceat(points, first) + margins[:, None] - origin
        start = np.maximum(np.ceil(low / self._voxel), 0).astype(np.intp)
        stop = np.minimum(np.floor(high / self._voxel) + 1, counts).astype(np.intp)
        found = (start < stop).all(1)
        return [
            (slice(a[0], b[0]), slice(a[1], b[1]), slice(a[2], b[2])) if ok else None
            for a, b, ok in zip(start.tolist(), stop.tolist(), found.tolist(), strict=True)
        ]

    def positions(self, box: Box) -> Positions:
        """Return the warped positions of the voxels of a box in µm: z, y, x, broadcasting.

        They are float32, twice as fast: relative to a field of view right to 1e-7.
        """
        shapes = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))
        lines = zip(self._lines, box, shapes, strict=True)
        plain = [line[s].reshape(shape).astype(np.float32) for line, s, shape in lines]
        if self._moved is not None:
            plain = [p + d[box] for p, d in zip(plain, self._moved, strict=True)]
        return plain[0], plain[1], plain[2]

    def draw(self, box: Box, distance: Float32, *, fillet: float) -> None:
        """Unite a body with what is drawn, with a fillet.

        Args:
            box: Where.
            distance: Signed distance from the body in µm, of the box's shape.
            fillet: Width of the fillet in µm; 0 for none.
        """
        old = self.distance[box]
        new = np.maximum(old, distance)
        if fillet > 0:
            h = np.maximum(fillet - np.abs(old - distance), 0.0) / fillet
            new += h * h * fillet / 4
        self.distance[box] = new


def capsule(at: Positions, a: Floats, b: Floats, *, middle: float, node: float) -> Float32:
    """Signed distance from a rod whose radius is ``middle`` half-way and ``node`` at its ends.

    Args:
        at: Positions in µm (z, y, x), broadcasting.
        a: One end, (3,).
        b: The other end, (3,).
        middle: Radius half-way in µm.
        node: Radius at the ends in µm.

    Returns:
        Distances in µm, positive inside.
    """
    axis = b - a
    length2 = max(float(axis @ axis), 1e-12)
    # Python floats keep float32 arrays float32.
    az, ay, ax = axis.tolist()
    d = [p - q for p, q in zip(at, a.tolist(), strict=True)]
    t = np.clip((d[0] * az + d[1] * ay + d[2] * ax) / length2, 0.0, 1.0)
    away = (d[0] - t * az) ** 2 + (d[1] - t * ay) ** 2 + (d[2] - t * ax) ** 2
    return np.asarray(middle + (node - middle) * (2 * t - 1) ** 2 - np.sqrt(away))


def plate(at: Positions, corners: Floats, *, half: float, hole: float) -> Float32:
    """Signed distance from a flat convex plate.

    Args:
        at: Positions in µm (z, y, x), broadcasting.
        corners: The corners in order, (n, 3).
        half: Half the thickness in µm.
        hole: Radius in µm of a hole in the middle, 0 for none.

    Returns:
        About the distance in µm, positive inside.
    """
    centre = corners.mean(0)
    edges = np.roll(corners, -1, axis=0) - corners
    normal = np.cross(corners - centre, edges).sum(0)
    normal /= np.linalg.norm(normal) + 1e-12
    nz, ny, nx = normal.tolist()
    d = [p - c for p, c in zip(at, centre.tolist(), strict=True)]
    height = d[0] * nz + d[1] * ny + d[2] * nx
    out = half - np.abs(height)
    inward = np.cross(normal, edges)
    lengths = np.linalg.norm(inward, axis=1)
    inward = inward[lengths > 1e-9] / lengths[lengths > 1e-9, None]
    reach = ((centre - corners)[lengths > 1e-9] * inward).sum(1) + half
    for n, r in zip(inward.tolist(), reach.tolist(), strict=True):
        out = np.minimum(out, d[0] * n[0] + d[1] * n[1] + d[2] * n[2] + r)
    if hole > 0:
        radial = np.sqrt(np.maximum(sum(p * p for p in d) - height**2, 0.0))
        out = np.minimum(out, radial - hole)
    return np.asarray(out)
