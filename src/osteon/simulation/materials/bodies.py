"""Balls and rods of a material, drawn as shares of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteon.simulation.anatomy import share
from osteon.simulation.grids import CoarseGrid
from osteon.simulation.trabeculae import Canvas, capsule

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

#: Draws of a place before a body is left out, for want of room.
TRIES = 40


@dataclass(frozen=True)
class Rod:
    """A rod with round ends, or a ball: from ``a`` to ``b``, (z, y, x) in µm."""

    a: Floats
    b: Floats
    radius_um: float


def drawn(grid: CoarseGrid, rods: Sequence[Rod]) -> Float32:
    """Return the share of each voxel within rods, float32 (z, y, x), 0..1.

    Args:
        grid: The grid of the field of view.
        rods: The bodies; parts out of view are left out.
    """
    canvas = Canvas(grid, background=-2 * grid.voxel_um)
    points = np.array([p for rod in rods for p in (rod.a, rod.b)]).reshape(-1, 3)
    margins = np.array([rod.radius_um + 2 * grid.voxel_um for rod in rods])
    boxes = canvas.boxes(points, 2 * np.arange(len(rods)), margins=margins)
    for rod, box in zip(rods, boxes, strict=True):
        if box is not None:
            r = rod.radius_um
            body = capsule(canvas.positions(box), rod.a, rod.b, middle=r, node=r)
            canvas.draw(box, body, fillet=0.0)
    return share(canvas.distance, voxel_um=grid.voxel_um)


def place(
    rng: np.random.Generator, depth: Floats, grid: CoarseGrid, *, radius_um: float
) -> Floats | None:
    """Draw a place for a rod along z that keeps clear of the bones at all heights.

    Args:
        rng: The generator.
        depth: Greatest depth of the bones over z on the coarse grid, (y, x), in µm.
        grid: The coarse grid.
        radius_um: The rod's radius.

    Returns:
        (y, x) in µm, or None if there is no room.
    """
    half = np.array(grid.shape[1:]) * grid.voxel_um / 2
    for _ in range(TRIES):
        at = rng.uniform(-half, half)
        y, x = (int(np.abs(line - v).argmin()) for line, v in zip(grid.axes[1:], at, strict=True))
        if depth[y, x] < -1.1 * radius_um - grid.voxel_um:
            return at
    return None
