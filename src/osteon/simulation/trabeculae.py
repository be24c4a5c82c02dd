"""Trabeculae: rods along the edges and plates across the faces of a Voronoi mosaic.

The seeds of the mosaic are a body-centred lattice with jitter, stretched along the axis of the
bone; space is warped smoothly, so that rods and plates are curved. Rods are thin in the middle
and thick at the nodes, joints are filleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import Voronoi

from osteon.errors import UsageError
from osteon.simulation.grids import CoarseGrid, Shape, voxel_positions
from osteon.simulation.randomness import SmoothField

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]

#: Jitter of the seeds, in lattice constants.
JITTER = 0.22
#: The warp: its shortest wavelength in lattice constants and its largest stretch, about.
WARP_WAVELENGTH = 2.5
WARP_STRETCH = 0.16
#: Share of rods that is missing, as in bone that has been remodelled.
MISSING_RODS = 0.06
#: Radius of a rod at mid-length and at its nodes, relative to its mean radius.
ROD_MIDDLE, ROD_NODE = 0.86, 1.25
#: Width of the fillets, relative to the thickness.
FILLET = 0.35
#: Share of the plates with a hole in the middle, and the hole's radius over the plate's.
HOLES, HOLE_RADIUS = 0.6, 0.45
#: Tb.Sp = lattice constant × (rods - plates × (share of plates)) - Tb.Th, fitted to this network
#: (tests/simulation/test_trabeculae.py measures it back).
SPACING_RODS, SPACING_PLATES = 1.06, 0.25
#: Mean of the maximal spheres over the diameter of the rods, from the same fit.
THICKNESS_GAIN = 1.0


@dataclass(frozen=True)
class TrabecularSpec:
    """Trabeculae.

    Attributes:
        thickness_um: Mean thickness (Tb.Th, maximal spheres) in µm.
        spacing_um: Mean width of the marrow space (Tb.Sp, maximal spheres) in µm.
        plates: Share of the faces of the mosaic that are plates: 0 rods only, 1 closed cells.
        anisotropy: Height of a cell along z over its width.
        variation: Relative standard deviation of the thickness between trabeculae.
    """

    thickness_um: float
    spacing_um: float
    plates: float = 0.3
    anisotropy: float = 1.3
    variation: float = 0.15

    def __post_init__(self) -> None:
        if min(self.thickness_um, self.spacing_um, self.anisotropy) <= 0:
            raise UsageError("thickness, spacing and anisotropy of trabeculae must be positive")
        if not 0 <= self.plates <= 1 or self.variation < 0:
            raise UsageError("plates must be 0 to 1, and the variation not negative")

    @property
    def lattice_um(self) -> float:
        """Lattice constant of the seeds before stretching, in µm."""
        reach = SPACING_RODS - SPACING_PLATES * self.plates
        return (self.spacing_um + self.thickness_um) / reach


class Canvas:
    """A field of view whose positions are warped, and the distance field drawn on it.

    Args:
        grid: The coarse grid of the field of view.
        warp: Displacements along (z, y, x) in µm, or None.
        background: Distance in µm where nothing was drawn (negative).
    """

    def __init__(
        self,
        grid: CoarseGrid,
        *,
        background: float,
        warp: Callable[[Floats, Floats, Floats], tuple[Floats, Floats, Floats]] | None = None,
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

    def box(self, points: Floats, *, margin: float) -> Box | None:
        """Return the voxels around points of warped space; None if there are none.

        Args:
            points: Positions in µm, (n, 3).
            margin: How far the box reaches beyond them, in µm.

        Returns:
            Slices (z, y, x), or None outside the field of view.
        """
        if self._warp is not None:
            points = points - np.stack(self._warp(*points.T), axis=-1)
        low, high = points.min(0) - margin, points.max(0) + margin
        out = []
        for line, a, b in zip(self._lines, low, high, strict=True):
            start = max(int(np.ceil((a - line[0]) / self._voxel)), 0)
            stop = min(int(np.floor((b - line[0]) / self._voxel)) + 1, len(line))
            if start >= stop:
                return None
            out.append(slice(start, stop))
        return out[0], out[1], out[2]

    def positions(self, box: Box) -> tuple[Floats, Floats, Floats]:
        """Return the warped positions of the voxels of a box in µm: z, y, x, broadcasting."""
        shapes = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))
        lines = zip(self._lines, box, shapes, strict=True)
        plain = [line[s].reshape(shape) for line, s, shape in lines]
        if self._moved is not None:
            plain = [p + d[box] for p, d in zip(plain, self._moved, strict=True)]
        return plain[0], plain[1], plain[2]

    def draw(self, box: Box, distance: Floats, *, fillet: float) -> None:
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


def capsule(
    at: tuple[Floats, Floats, Floats], a: Floats, b: Floats, *, middle: float, node: float
) -> Floats:
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
    d = [p - q for p, q in zip(at, a, strict=True)]
    length2 = float(axis @ axis)
    along = d[0] * axis[0] + d[1] * axis[1] + d[2] * axis[2]
    t = np.clip(along / max(length2, 1e-12), 0.0, 1.0)
    away = (d[0] - t * axis[0]) ** 2 + (d[1] - t * axis[1]) ** 2 + (d[2] - t * axis[2]) ** 2
    return np.asarray(middle + (node - middle) * (2 * t - 1) ** 2 - np.sqrt(away))


def plate(
    at: tuple[Floats, Floats, Floats], corners: Floats, *, half: float, hole: float
) -> Floats:
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
    d = [p - c for p, c in zip(at, centre, strict=True)]
    height = d[0] * normal[0] + d[1] * normal[1] + d[2] * normal[2]
    out = half - np.abs(height)
    for corner, edge in zip(corners, edges, strict=True):
        inward = np.cross(normal, edge)
        size = float(np.linalg.norm(inward))
        if size > 1e-9:
            n = inward / size
            out = np.minimum(
                out, d[0] * n[0] + d[1] * n[1] + d[2] * n[2] + float(n @ (centre - corner)) + half
            )
    if hole > 0:
        radial = np.sqrt(np.maximum(sum(p * p for p in d) - height**2, 0.0))
        out = np.minimum(out, radial - hole)
    return np.asarray(out)


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
    lattice = spec.lattice_um
    fields = [
        SmoothField.draw(rng, wavelength_um=WARP_WAVELENGTH * lattice, waves=8) for _ in range(3)
    ]
    # The mean wavelength is about 1.5 times the shortest.
    reach = WARP_STRETCH * 1.5 * WARP_WAVELENGTH * lattice / (2 * np.pi)

    def warp(z: Floats, y: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
        a, b, c = (reach * f(z, y, x) for f in fields)
        return a, b, c

    canvas = Canvas(grid, background=-lattice, warp=warp)
    mosaic = _mosaic(spec, grid.shape, grid.voxel_um, rng)
    _draw_rods(canvas, mosaic, spec, rng, wanted)
    _draw_plates(canvas, mosaic, spec, rng, wanted)
    return canvas.distance


def _mosaic(
    spec: TrabecularSpec, shape: Shape, voxel_um: float, rng: np.random.Generator
) -> Voronoi:
    """Make the mosaic over the field of view and two cells around it."""
    stretch = spec.anisotropy ** np.array([2 / 3, -1 / 3, -1 / 3])
    pitch = spec.lattice_um * stretch
    half = [int(np.ceil(n * voxel_um / 2 / p)) + 2 for n, p in zip(shape, pitch, strict=True)]
    corner = np.stack(
        np.meshgrid(*[np.arange(-h, h + 1) for h in half], indexing="ij"), axis=-1
    ).reshape(-1, 3)
    seeds = np.concatenate([corner, corner + 0.5]) + 0.0
    seeds += rng.uniform(-JITTER, JITTER, seeds.shape) + rng.uniform(0, 0.5, 3)
    # The mosaic of stretched seeds would squash flat cells' edges: stretch its vertices instead.
    mosaic = Voronoi(seeds)
    mosaic.vertices *= pitch
    return mosaic


def _thickness(spec: TrabecularSpec, n: int, rng: np.random.Generator) -> Floats:
    """Draw thicknesses of n trabeculae in µm: log-normal with the mean that was asked for."""
    spread = np.sqrt(np.log1p(spec.variation**2))
    mean = spec.thickness_um / THICKNESS_GAIN
    return mean * np.exp(spread * rng.standard_normal(n) - spread**2 / 2)


def _draw_rods(
    canvas: Canvas,
    mosaic: Voronoi,
    spec: TrabecularSpec,
    rng: np.random.Generator,
    wanted: Callable[[Floats], npt.NDArray[np.bool_]],
) -> None:
    faces = [f for f in mosaic.ridge_vertices if -1 not in f]
    pairs = np.concatenate([np.stack([f, np.roll(f, -1)], axis=1) for f in faces])
    edges = np.unique(np.sort(pairs, axis=1), axis=0)
    ends = mosaic.vertices[edges]
    radii = _thickness(spec, len(edges), rng) / 2
    keep = (rng.random(len(edges)) >= MISSING_RODS) & wanted(ends.mean(1))
    fillet = FILLET * spec.thickness_um
    slack = fillet + 0.08 * spec.lattice_um
    for (a, b), radius in zip(ends[keep], radii[keep], strict=True):
        box = canvas.box(np.stack([a, (a + b) / 2, b]), margin=ROD_NODE * radius + slack)
        if box is not None:
            at = canvas.positions(box)
            body = capsule(at, a, b, middle=ROD_MIDDLE * radius, node=ROD_NODE * radius)
            canvas.draw(box, body, fillet=fillet)


def _draw_plates(
    canvas: Canvas,
    mosaic: Voronoi,
    spec: TrabecularSpec,
    rng: np.random.Generator,
    wanted: Callable[[Floats], npt.NDArray[np.bool_]],
) -> None:
    faces = [f for f in mosaic.ridge_vertices if -1 not in f]
    chosen = rng.random(len(faces)) < spec.plates
    holes = np.where(rng.random(len(faces)) < HOLES, HOLE_RADIUS, 0.0)
    half = _thickness(spec, len(faces), rng) / 2
    keep = chosen & wanted(np.array([mosaic.vertices[f].mean(0) for f in faces]))
    fillet = FILLET * spec.thickness_um
    slack = fillet + 0.08 * spec.lattice_um
    for k in np.flatnonzero(keep):
        corners = mosaic.vertices[faces[k]]
        box = canvas.box(corners, margin=2 * half[k] + slack)
        if box is not None:
            size = np.linalg.norm(corners - corners.mean(0), axis=1).mean()
            hole = float(holes[k] * size) if size > spec.thickness_um else 0.0
            body = plate(canvas.positions(box), corners, half=float(half[k]), hole=hole)
            canvas.draw(box, body, fillet=fillet)
