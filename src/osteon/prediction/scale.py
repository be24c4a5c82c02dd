"""Models of a voxel size: the scan as they see it, and their results back on the scan's grid."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import numpy as np

from osteon.datasets.resampled import fill_of
from osteon.intensity import Statistics
from osteon.model_file import ModelSpec
from osteon.resampling import (
    AxisMap,
    ResampledVolume,
    axis_map,
    combine,
    factors,
    resampled_axes,
    windows,
)
from osteon.volume import Array, Volume

#: Slabs (first slice, array (n, [class,] y, x)) in ascending order without gaps.
Slabs = Generator[tuple[int, Array], None, None]


def check_scale(volume: Volume, spec: ModelSpec) -> None:
    """Refuse a scan that cannot be brought to the model's voxel size, before any work.

    Args:
        volume: The scan.
        spec: The model.

    Raises:
        InputError: If the scan's voxel size is needed and not known.
        UsageError: If it is too far from the model's.
    """
    if spec.voxel_size_um is not None:
        factors(volume, spec.voxel_size_um, axes=resampled_axes(spec.mode))


def as_seen(volume: Volume, spec: ModelSpec, statistics: Statistics) -> Volume:
    """Return a scan as a model sees it.

    Args:
        volume: The scan.
        spec: The model.
        statistics: Of the scan.

    Returns:
        The scan itself, or a :class:`ResampledVolume` where the model has another voxel size.

    Raises:
        InputError: See :func:`check_scale`.
        UsageError: See :func:`check_scale`.
    """
    if spec.voxel_size_um is None:
        return volume
    axes = resampled_axes(spec.mode)
    seen = ResampledVolume(volume, spec.voxel_size_um, axes=axes, fill=fill_of(statistics))
    return volume if seen.identical else seen


def axes_back(seen: ResampledVolume) -> tuple[AxisMap, ...]:
    """Return how the voxels of the scan are made of those of its resampled grid.

    Args:
        seen: The resampled scan.

    Returns:
        Maps along (z, y, x).
    """
    return tuple(
        axis_map(n, size=size, factor=1 / factor)
        for n, size, factor in zip(seen.shape, seen.source.shape, seen.factors, strict=True)
    )


def labels_back(seen: ResampledVolume, logits: Slabs) -> Slabs:
    """Bring logits back to the scan's own grid and take the class of the highest.

    Logits, not labels, are interpolated (linearly where the scan is finer, by area where it is
    more than 1.3 times coarser), so that borders run between the voxels of the coarser grid.

    Memory: the logits of one slice on the scan's grid for each slice of the model's grid that a
    slice of the scan is made of (2, or up to factor + 1 where the scan is coarser).

    Args:
        seen: The resampled scan.
        logits: Slabs (n, class, y, x) on its grid.

    Yields:
        Index and labels (1, y, x), uint8, of each slice of the scan.
    """
    maps = axes_back(seen)
    height, width = seen.source.shape[1:]

    def planes() -> Slabs:
        for z0, slab in coming:
            for i, plane in enumerate(slab):
                for axis, length in ((1, height), (2, width)):
                    if seen.factors[axis] != 1:
                        plane = maps[axis].apply(plane, axis=axis, part=slice(0, length))
                yield z0 + i, plane

    with closing(logits) as coming:
        for z, window in windows(planes(), maps[0], slice(0, seen.source.shape[0])):
            labels = combine(window, maps[0].weights[z]).argmax(0).astype(np.uint8)
            yield z, labels[np.newaxis]
