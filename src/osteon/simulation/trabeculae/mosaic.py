"""The mosaic that trabeculae are the edges and faces of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import Voronoi

from osteon.simulation.grids import CoarseGrid
from osteon.simulation.trabeculae.spec import TrabecularSpec

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: Jitter of the seeds, in lattice constants.
JITTER = 0.22
#: By how much a change of scale, and arcs, make the mosaic larger than the field of view.
MAX_REACH, ARCADE_REACH = 1.6, 1.35


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
        size = np.array(grid.shape) * grid.voxel_um * _reach(spec, grid)
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


def _reach(spec: TrabecularSpec, grid: CoarseGrid) -> float:
    """How much larger than the field of view its image in the mosaic is, at most about."""
    half = np.array(grid.shape) * grid.voxel_um / 2
    finer = float(np.linalg.norm(spec.gradient_per_um) * np.linalg.norm(half))
    return min(1 + finer, MAX_REACH) * (ARCADE_REACH if spec.arcade_per_um else 1.0)
