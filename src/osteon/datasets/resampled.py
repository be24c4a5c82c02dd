"""Pairs on the grid of another voxel size: what a fit with ``voxel_size`` learns from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from osteon.datasets.masks import MaskVolume, Pair
from osteon.errors import UsageError, warn
from osteon.intensity import Statistics
from osteon.resampling import AxisMap, ResampledVolume, resampled_axes
from osteon.volume import Array

#: A slice is labelled if at least this share of it comes from labelled slices; the rounding of
#: the weights does not count.
_LABELLED = 0.5 - 1e-5


class ResampledMask(MaskVolume):
    """The labels of a scan on the grid of another voxel size; see :class:`ResampledVolume`.

    ``source`` is, for each slice, the mask's slice that counts most in it, -1 where less than
    half of it comes from labelled slices.

    Args:
        inner: The labels on the scan's own grid.
        seen: The same on the other grid.
    """

    def __init__(self, inner: MaskVolume, seen: ResampledVolume):
        source = _sources(inner.source, seen.maps[0])
        super().__init__(
            inner.mask, seen.shape, seen.geometry, inner.scheme, inner.row, source, inner.corner
        )
        self._seen = seen

    @property
    def axis(self) -> AxisMap:
        """How the slices are made of the scan's."""
        return self._seen.maps[0]

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read labels; see :meth:`osteon.datasets.MaskVolume.read`."""
        return self._seen.read(z, y, x)


def resample_pair(pair: Pair, voxel_size: float, *, mode: str, statistics: Statistics) -> Pair:
    """Put a scan and its labels on the grid of another voxel size; nothing is read yet.

    Statistics are taken of the scan as it is and stay valid for it as resampled: its fill is read
    as the smallest grey value that counts, which is how it is normalised anyway, so that it does
    not mix with its neighbours into grey values that the scan does not have.

    Args:
        pair: Scan and labels.
        voxel_size: Target voxel size in µm.
        mode: ``2D``: within the slices alone; ``2.5D`` and ``3D``: along all axes.
        statistics: Of the scan as it is.

    Returns:
        The pair on the other grid; the same object where the voxel size is the target already.
        A slice counts as labelled where at least half of it comes from labelled slices.

    Raises:
        InputError: If the scan's voxel size is not known.
        UsageError: If the voxel sizes differ more than 16 times, or no labelled slice is left.
    """
    axes = resampled_axes(mode)
    image = ResampledVolume(pair.image, voxel_size, axes=axes, fill=fill_of(statistics))
    if image.identical:
        return pair
    if pair.labels is None:
        return replace(pair, image=image)
    seen = ResampledVolume(pair.labels, voxel_size, axes=axes, labels=True)
    labels = ResampledMask(pair.labels, seen)
    _tell_of_lost(pair, labels, voxel_size=voxel_size)
    return replace(pair, image=image, labels=labels)


def fill_of(statistics: Statistics) -> tuple[float, float] | None:
    """Return the fill of a scan and what it is normalised like, for :class:`ResampledVolume`.

    Args:
        statistics: Of the scan.

    Returns:
        Both, in stored values; None where there is no fill.
    """
    if statistics.fill is None:
        return None
    read_as = statistics.minimum if statistics.fill_as is None else statistics.fill_as
    return statistics.fill, read_as


def _sources(source: tuple[int, ...], axis: AxisMap) -> tuple[int, ...]:
    own = np.array(source)
    made = []
    for first, weights in zip(axis.first, axis.weights, strict=True):
        slices = own[np.minimum(first + np.arange(axis.taps), axis.length - 1)]
        counted = np.where(slices >= 0, weights, 0)
        enough = counted.sum() >= _LABELLED
        made.append(int(slices[counted.argmax()]) if enough else -1)
    return tuple(made)


def _tell_of_lost(pair: Pair, labels: ResampledMask, *, voxel_size: float) -> None:
    before, after = pair.labelled, labels.labelled
    if before and not after:
        raise UsageError(
            f"no labelled slice of scan '{pair.name}' is left at {voxel_size:g} µm: each makes up "
            "less than half of a slice there",
            where=labels.path,
            mend="choose mode=2D (slices stay as they are), a smaller voxel_size, or label "
            "neighbouring slices",
        )
    axis = labels.axis
    used = {
        int(z)
        for i in after
        for z, weight in zip(axis.first[i] + np.arange(axis.taps), axis.weights[i], strict=True)
        if weight > 0
    }
    lost = [z for z in before if z not in used]
    if lost:
        warn(
            "labelled-slices-lost",
            f"{len(lost)} of {len(before)} labelled slices of scan '{pair.name}' are not used at "
            f"{voxel_size:g} µm: each makes up less than half of a slice there. mode=2D would use "
            "them all",
            where=labels.path,
        )
