"""Coarse grids: smooth functions are evaluated on few points and interpolated to the voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Shape = tuple[int, int, int]

#: Coarse points are this many voxels apart: envelopes and warps are smooth over that.
COARSE_STEP = 4
#: Where parts of a bone are thin or strongly curved.
FINE_STEP = 2


def voxel_positions(shape: Shape, *, voxel_um: float) -> tuple[Floats, Floats, Floats]:
    """Return the positions of the voxel centres along each axis.

    Args:
        shape: (z, y, x) in voxels.
        voxel_um: Voxel size in µm.

    Returns:
        Three 1D arrays (z, y, x) in µm; 0 is the middle of the field of view.
    """
    lines = [(np.arange(n, dtype=np.float64) - (n - 1) / 2) * voxel_um for n in shape]
    return lines[0], lines[1], lines[2]


@dataclass(frozen=True)
class CoarseGrid:
    """A regular grid of points that covers a field of view and a margin around it.

    Attributes:
        shape: (z, y, x) of the field of view in voxels.
        voxel_um: Voxel size in µm.
        step_um: Distance of the points in µm.
        axes: Positions of the points along (z, y, x) in µm, 0 in the middle of the field of view.
    """

    shape: Shape
    voxel_um: float
    step_um: float
    axes: tuple[Floats, Floats, Floats]

    @classmethod
    def around(
        cls, shape: Shape, *, voxel_um: float, margin_um: float, step_voxels: int = COARSE_STEP
    ) -> CoarseGrid:
        """Make the grid.

        Args:
            shape: (z, y, x) of the field of view in voxels.
            voxel_um: Voxel size in µm.
            margin_um: How far at least the grid reaches beyond the field of view, in µm.
            step_voxels: Distance of the points in voxels.

        Returns:
            The grid.
        """
        step = step_voxels * voxel_um
        axes = []
        for n in shape:
            half = int(np.ceil(((n - 1) / 2 * voxel_um + margin_um) / step)) + 1
            axes.append(np.arange(-half, half + 1, dtype=np.float64) * step)
        return cls(shape, voxel_um, step, (axes[0], axes[1], axes[2]))

    @property
    def mesh(self) -> tuple[Floats, Floats, Floats]:
        """The positions in µm as arrays that broadcast to the grid: z, y, x."""
        z, y, x = self.axes
        return z[:, None, None], y[None, :, None], x[None, None, :]

    @property
    def in_view(self) -> npt.NDArray[np.bool_]:
        """Which points the voxels are interpolated from: those in view and their neighbours."""
        near = [
            np.abs(line) <= n * self.voxel_um / 2 + self.step_um
            for line, n in zip(self.axes, self.shape, strict=True)
        ]
        return np.asarray(near[0][:, None, None] & near[1][None, :, None] & near[2][None, None, :])

    def to_voxels(self, values: Floats) -> Float32:
        """Interpolate linearly to the voxels.

        Args:
            values: One value a coarse point (z, y, x).

        Returns:
            float32 array (z, y, x) of the field of view; holds 8 bytes a voxel.
        """
        out = values.astype(np.float64)
        positions = voxel_positions(self.shape, voxel_um=self.voxel_um)
        for axis, (line, at) in enumerate(zip(self.axes, positions, strict=True)):
            index = (at - line[0]) / self.step_um
            low = np.minimum(index.astype(np.intp), len(line) - 2)
            weight = (index - low).reshape([-1 if a == axis else 1 for a in range(3)])
            if axis == 2:  # only the last axis makes the array large: halve its memory there
                out, weight = out.astype(np.float32), weight.astype(np.float32)
            below, above = out.take(low, axis), out.take(low + 1, axis)
            above -= below
            above *= weight
            above += below
            out = above
        return out.astype(np.float32, copy=False)

    def at(self, values: Floats, points: Floats) -> Floats:
        """Interpolate linearly to scattered points.

        Args:
            values: One value a coarse point (z, y, x).
            points: Positions in µm, shape (n, 3), order (z, y, x).

        Returns:
            The values, shape (n,); beyond the grid those of its edge.
        """
        first = np.array([line[0] for line in self.axes])
        index = (points - first) / self.step_um
        found = ndimage.map_coordinates(values, index.T, order=1, mode="nearest")
        return np.asarray(found, dtype=np.float64)
