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
from osteon.simulation.grids import CoarseGrid, voxel_positions
from osteon.simulation.randomness import SmoothField

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]
Positions = tuple[Float32, Float32, Float32]
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
#: How far boxes reach beyond a body, in lattice constants, for what the warp adds within them.
SLACK = 0.08
#: Share of the plates with a hole in the middle, and the hole's radius over the plate's.
HOLES, HOLE_RADIUS = 0.6, 0.45
# Fitted to maximal spheres in this network (measured back in tests/simulation/test_trabeculae.py):
# Tb.Sp + Tb.Th = L (REACH_RODS - REACH_PLATES plates) anisotropy^REACH_ANISOTROPY and
# Tb.Th = d (GAIN_RODS + GAIN_PLATES sqrt(plates) + GAIN_NODES d / L), with the lattice constant L
# and the diameter d that is drawn; nodes and fillets are thicker than what they join.
REACH_RODS, REACH_PLATES, REACH_ANISOTROPY = 0.895, 0.155, -0.17
GAIN_RODS, GAIN_PLATES, GAIN_NODES = 0.90, 0.25, 2.0


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
        reach = (REACH_RODS - REACH_PLATES * self.plates) * self.anisotropy**REACH_ANISOTROPY
        return float((self.spacing_um + self.thickness_um) / reach)

    @property
    def drawn_um(self) -> float:
        """Thickness in µm that rods and plates are drawn with to get the mean asked for."""
        lattice = self.lattice_um
        gain = GAIN_RODS + GAIN_PLATES * np.sqrt(self.plates)
        root = np.sqrt(gain**2 + 4 * GAIN_NODES * self.thickness_um / lattice)
        return float((root - gain) * lattice / (2 * GAIN_NODES))


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
            points = points - np.stack(self._warp(*points.T), axis=-1)
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
    mosaic = Mosaic.draw(spec, grid, rng)
    _draw_rods(canvas, mosaic, spec, rng, wanted)
    _draw_plates(canvas, mosaic, spec, rng, wanted)
    return canvas.distance


@dataclass(frozen=True)
class Mosaic:
    """The bounded faces of a Voronoi mosaic.

    Attributes:
        vertices: Positions in µm, (n, 3).
        corners: Indices of the vertices of all faces, in order, one face after the other.
        first: Index in ``corners`` of the first corner of each face.
    """

    vertices: Floats
    corners: Ints
    first: Ints

    @classmethod
    def draw(cls, spec: TrabecularSpec, grid: CoarseGrid, rng: np.random.Generator) -> Mosaic:
        """Make the mosaic over the field of view and two cells around it."""
        stretch = spec.anisotropy ** np.array([2 / 3, -1 / 3, -1 / 3])
        pitch = spec.lattice_um * stretch
        size = np.array(grid.shape) * grid.voxel_um
        half = np.ceil(size / 2 / pitch).astype(int) + 2
        lines = [np.arange(-h, h + 1) for h in half]
        lattice = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
        seeds = np.concatenate([lattice, lattice + 0.5])
        seeds = seeds + rng.uniform(-JITTER, JITTER, seeds.shape) + rng.uniform(0, 0.5, 3)
        # Made of the seeds unstretched and stretched afterwards: faces stay flat and convex, and
        # no cell is so flat that its edges bundle.
        mosaic = Voronoi(seeds)
        vertices = mosaic.vertices * pitch
        near = (np.abs(vertices) < size / 2 + pitch).all(1)
        faces = [f for f in mosaic.ridge_vertices if -1 not in f]
        faces = [f for f in faces if near[f[0]]]
        counts = np.array([len(f) for f in faces], dtype=np.intp)
        corners = np.concatenate([np.array(f, dtype=np.intp) for f in faces])
        return cls(vertices, corners, np.cumsum(counts) - counts)

    def rods(self) -> Floats:
        """The two ends of each edge, in µm, (n, 2, 3)."""
        following = np.append(self.corners[1:], self.corners[0])
        following[self.last] = self.corners[self.first]
        pairs = np.sort(np.stack([self.corners, following], axis=1), axis=1)
        return np.asarray(self.vertices[np.unique(pairs, axis=0)])

    @property
    def last(self) -> Ints:
        """Index in ``corners`` of the last corner of each face."""
        return np.append(self.first[1:], len(self.corners)) - 1

    def plates(self, chosen: npt.NDArray[np.bool_]) -> list[Floats]:
        """The corners of the chosen faces in µm, each (n, 3)."""
        ends = self.last + 1
        return [
            self.vertices[self.corners[self.first[k] : ends[k]]] for k in np.flatnonzero(chosen)
        ]

    def centres(self) -> Floats:
        """The mean of the corners of each face, in µm, (n, 3)."""
        counts = (self.last + 1 - self.first)[:, None]
        return np.asarray(np.add.reduceat(self.vertices[self.corners], self.first) / counts)


def _thickness(spec: TrabecularSpec, n: int, rng: np.random.Generator) -> Floats:
    """Draw thicknesses of n trabeculae in µm: log-normal with the mean that was asked for."""
    spread = np.sqrt(np.log1p(spec.variation**2))
    return np.asarray(spec.drawn_um * np.exp(spread * rng.standard_normal(n) - spread**2 / 2))


def _draw_rods(
    canvas: Canvas,
    mosaic: Voronoi,
    spec: TrabecularSpec,
    rng: np.random.Generator,
    wanted: Callable[[Floats], npt.NDArray[np.bool_]],
) -> None:
    ends = mosaic.rods()
    radii = _thickness(spec, len(ends), rng) / 2
    keep = (rng.random(len(ends)) >= MISSING_RODS) & wanted(ends.mean(1))
    ends, radii = ends[keep], radii[keep]
    fillet = FILLET * spec.drawn_um
    margins = ROD_NODE * radii + fillet + SLACK * spec.lattice_um
    points = np.stack([ends[:, 0], ends.mean(1), ends[:, 1]], axis=1).reshape(-1, 3)
    boxes = canvas.boxes(points, 3 * np.arange(len(ends)), margins=margins)
    for (a, b), radius, box in zip(ends, radii.tolist(), boxes, strict=True):
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
    margins = 2 * half + fillet + SLACK * spec.lattice_um
    boxes = canvas.boxes(np.concatenate(faces), np.cumsum(counts) - counts, margins=margins)
    for corners, hole, h, box in zip(faces, holes.tolist(), half.tolist(), boxes, strict=True):
        if box is not None:
            size = float(np.linalg.norm(corners - corners.mean(0), axis=1).mean())
            radius = hole * size if size > spec.thickness_um else 0.0
            body = plate(canvas.positions(box), corners, half=h, hole=radius)
            canvas.draw(box, body, fillet=fillet)
