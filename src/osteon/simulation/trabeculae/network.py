"""Draws the network: which rods and plates there are, and how thick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from osteon.simulation.grids import CoarseGrid
from osteon.simulation.trabeculae.canvas import Canvas, capsule, plate
from osteon.simulation.trabeculae.mosaic import Mosaic
from osteon.simulation.trabeculae.spec import TrabecularSpec
from osteon.simulation.trabeculae.warp import SCALES, Warp

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

#: Share of rods that is missing, as in bone that has been remodelled.
MISSING_RODS = 0.06
#: Radius of a rod at mid-length and at its nodes, relative to its mean radius.
ROD_MIDDLE, ROD_NODE = 0.86, 1.25
#: Width of the fillets, relative to the thickness.
FILLET = 0.35
#: How far boxes reach beyond a body, in lattice constants, for what the warp adds within them.
SLACK = 0.08
#: Share of the plates with a hole in the middle, and the hole's radius over the plate's.
HOLES, HOLE_RADIUS = 0.6, 0.45
#: Thickness gained by a gradient of density, at least and at most, over the thickness.
DENSITY_LIMITS = (-0.25, 0.6)


def draw_trabeculae(
    spec: TrabecularSpec,
    grid: CoarseGrid,
    rng: np.random.Generator,
    *,
    wanted: Callable[[Floats], npt.NDArray[np.bool_]],
) -> Float32:
    """Draw a network in a field of view.

    Args:
        spec: The trabeculae.
        grid: The coarse grid of the field of view.
        rng: The generator.
        wanted: Tells of points (n, 3) in µm whether trabeculae are needed around them.

    Returns:
        Signed distance in µm, float32 (z, y, x), positive in bone; right near the surface.
        Holds 16 bytes a voxel.
    """
    warp = Warp.draw(spec, rng)
    canvas = Canvas(grid, background=-spec.lattice_um, warp=warp)
    mosaic = Mosaic.draw(spec, grid, rng)

    def needed(points: Floats) -> npt.NDArray[np.bool_]:
        return wanted(warp.inverse(points))

    _draw_rods(canvas, mosaic, spec, rng, needed)
    _draw_plates(canvas, mosaic, spec, rng, needed)
    z, y, x = grid.mesh
    if warp.scaled:
        # Distances were measured in the mosaic.
        canvas.distance /= grid.to_voxels(warp.scale(z, y, x))
    gz, gy, gx = spec.density_per_um
    if gz or gy or gx:
        most = DENSITY_LIMITS[1] * spec.thickness_um
        gain = np.clip(gz * z + gy * y + gx * x, DENSITY_LIMITS[0] * spec.thickness_um, most)
        canvas.distance += grid.to_voxels(gain / 2)
    return canvas.distance


def _thickness(spec: TrabecularSpec, n: int, rng: np.random.Generator) -> Floats:
    """Draw thicknesses of n trabeculae in µm: log-normal with the mean that was asked for."""
    spread = np.sqrt(np.log1p(spec.variation**2))
    return np.asarray(spec.drawn_um * np.exp(spread * rng.standard_normal(n) - spread**2 / 2))


def _widening(spec: TrabecularSpec) -> float:
    """How much wider boxes must be where the mosaic is larger than its image in space."""
    return 1 / SCALES[0] if any(spec.gradient_per_um) or spec.arcade_per_um else 1.0


def _draw_rods(
    canvas: Canvas,
    mosaic: Mosaic,
    spec: TrabecularSpec,
    rng: np.random.Generator,
    wanted: Callable[[Floats], npt.NDArray[np.bool_]],
) -> None:
    ends = mosaic.rods()
    radii = _thickness(spec, len(ends), rng) / 2
    keep = (rng.random(len(ends)) >= MISSING_RODS) & wanted(ends.mean(1))
    ends, radii = ends[keep], radii[keep]
    fillet = FILLET * spec.drawn_um
    margins = (ROD_NODE * radii + fillet + SLACK * spec.lattice_um) * _widening(spec)
    points = np.stack([ends[:, 0], ends.mean(1), ends[:, 1]], axis=1).reshape(-1, 3)
    boxes = canvas.boxes(points, 3 * np.arange(len(ends)), margins=margins)
    for (a, b), radius, box in zip(ends, radii.tolist(), boxes, strict=True):
        if box is not None:
            at = canvas.positions(box)
            body = capsule(at, a, b, middle=ROD_MIDDLE * radius, node=ROD_NODE * radius)
            canvas.draw(box, body, fillet=fillet)


def _draw_plates(
    canvas: Canvas,
    mosaic: Mosaic,
    spec: TrabecularSpec,
    rng: np.random.Generator,
    wanted: Callable[[Floats], npt.NDArray[np.bool_]],
) -> None:
    count = len(mosaic.first)
    chosen = rng.random(count) < spec.plates
    holes = np.where(rng.random(count) < HOLES, HOLE_RADIUS, 0.0)
    half = _thickness(spec, count, rng) / 2
    chosen &= wanted(mosaic.centres())
    faces, holes, half = mosaic.plates(chosen), holes[chosen], half[chosen]
    if not faces:
        return
    fillet = FILLET * spec.drawn_um
    counts = np.array([len(f) for f in faces], dtype=np.intp)
    margins = (2 * half + fillet + SLACK * spec.lattice_um) * _widening(spec)
    boxes = canvas.boxes(np.concatenate(faces), np.cumsum(counts) - counts, margins=margins)
    for corners, hole, h, box in zip(faces, holes.tolist(), half.tolist(), boxes, strict=True):
        if box is not None:
            size = float(np.linalg.norm(corners - corners.mean(0), axis=1).mean())
            radius = hole * size if size > spec.thickness_um else 0.0
            body = plate(canvas.positions(box), corners, half=h, hole=radius)
            canvas.draw(box, body, fillet=fillet)
