"""Resampling to a target voxel size, lazily: a scan or its labels seen on another grid.

Convention: the grids share their outer corner (the outside of voxel (0, 0, 0)), not the centre of
the first voxel. With ``factor`` = target voxel size / source voxel size, the centre of target voxel
``i`` lies at the source index ``(i + 0.5) * factor - 0.5``, and the target has
``round(n / factor)`` voxels (at least 1): the far ends differ by half a target voxel at most.

Each axis is treated by itself. Where the target is finer, or coarser by less than
1.3 times, grey values are interpolated linearly; where it is coarser by more, they are
averaged over the target voxel's extent, so that nothing finer than the new grid folds into it.
"""

from __future__ import annotations

from osteon.resampling.axes import AxisMap, axis_map, combine, windows
from osteon.resampling.volume import (
    ResampledVolume,
    factors,
    resampled_axes,
    resampled_geometry,
)

__all__ = [
    "AxisMap",
    "ResampledVolume",
    "axis_map",
    "combine",
    "factors",
    "resampled_axes",
    "resampled_geometry",
    "windows",
]
