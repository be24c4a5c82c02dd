"""Canals and resorption spaces of the cortex."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from osteon.simulation.anatomy.specs import MIN_CANAL_VOXELS, CanalSpec
from osteon.simulation.grids import CoarseGrid
from osteon.simulation.trabeculae import Canvas, capsule

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

#: Part of the cortex's thickness that the middles of canals lie in, from the outside.
CANAL_BAND = (0.25, 0.85)
#: A canal is at most so much of the height of the field of view long.
CANAL_LENGTH_IN_VIEW = 1.2
#: Canals in one field of view: more than this are no longer told apart.
MAX_CANALS = 400
#: From this length, in diameters, on the ends of a canal are as wide as its middle.
LONG = 15.0
#: A canal winds in so many straight pieces.
PIECES = 6


def draw_canals(
    canals: CanalSpec, grid: CoarseGrid, depth: Floats, cortex: Floats, rng: np.random.Generator
) -> tuple[Float32, Float32]:
    """Draw canals.

    Args:
        canals: How many and how wide.
        grid: The coarse grid.
        depth: Depth below the envelope in µm on it.
        cortex: Thickness of the cortex in µm on it.
        rng: The generator.

    Returns:
        Signed distances in µm, float32 (z, y, x), positive inside: of the canals wide enough to
        be labelled, and of the others.
    """
    mean = canals.diameter_um
    height = grid.shape[0] * grid.voxel_um
    length = min(CANAL_LENGTH_IN_VIEW * height, canals.length_diameters * mean)
    # Of canals whose middle is in view a length of l - l²/4h is in view on average (l < 2h).
    per_slice = (length - length**2 / (4 * height)) / height
    starts = _middles(canals.per_mm2 / per_slice, grid, depth, cortex, rng)
    spread = np.sqrt(np.log1p(canals.variation**2))
    diameters = mean * np.exp(spread * rng.standard_normal(len(starts)) - spread**2 / 2)
    drawn = [Canvas(grid, background=-mean) for _ in range(2)]
    taper = 1.0 if canals.length_diameters >= LONG else 0.5
    radii = np.interp(np.linspace(-1, 1, PIECES), [-1, 0, 1], [taper, 1.0, taper])
    for start, diameter in zip(starts, diameters, strict=True):
        canvas = drawn[0 if diameter >= MIN_CANAL_VOXELS * grid.voxel_um else 1]
        turn = np.array([1.0, 0.0, 0.0]) + rng.normal(0, 0.12, (PIECES, 3)) + rng.normal(0, 0.1, 3)
        path = start + np.cumsum(turn * length / PIECES, axis=0)
        path -= turn.sum(0) * length / PIECES / 2
        pieces = np.stack([path[:-1], path[1:]], axis=1)
        margins = np.full(len(pieces), diameter / 2 + 2 * grid.voxel_um)
        boxes = canvas.boxes(pieces.reshape(-1, 3), 2 * np.arange(len(pieces)), margins=margins)
        for k, ((a, b), box) in enumerate(zip(pieces, boxes, strict=True)):
            if box is not None:
                radius = float(diameter / 4 * (radii[k] + radii[k + 1]))
                body = capsule(canvas.positions(box), a, b, middle=radius, node=radius)
                canvas.draw(box, body, fillet=0.0)
    return drawn[0].distance, drawn[1].distance


def _middles(
    per_mm2: float, grid: CoarseGrid, depth: Floats, cortex: Floats, rng: np.random.Generator
) -> Floats:
    """Draw points within the cortex, so many a mm² of its cross-section, in µm, (n, 3)."""
    shallow, deep = CANAL_BAND
    within = (depth > shallow * cortex) & (depth < deep * cortex)
    inner = tuple(
        slice(*np.searchsorted(line, [-n * grid.voxel_um / 2, n * grid.voxel_um / 2]))
        for line, n in zip(grid.axes, grid.shape, strict=True)
    )
    cells = np.argwhere(within[inner])
    if len(cells) == 0:
        return np.zeros((0, 3))
    slices = within[inner].shape[0]
    area_mm2 = len(cells) / (deep - shallow) / slices * (grid.step_um / 1000) ** 2
    n = min(int(rng.poisson(per_mm2 * area_mm2)), MAX_CANALS)
    first = np.array([line[s.start] for line, s in zip(grid.axes, inner, strict=True)])
    at = cells[rng.integers(len(cells), size=n)] + rng.uniform(-0.5, 0.5, (n, 3))
    return np.asarray(first + at * grid.step_um)
