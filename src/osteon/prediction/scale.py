"""Models of a voxel size: the scan as they see it, and their results back on the scan's grid."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from osteon.datasets.masks import ResizedVolume
from osteon.datasets.resampled import fill_of
from osteon.errors import warn
from osteon.intensity import Statistics
from osteon.model_file import ModelSpec
from osteon.prediction.features import Features
from osteon.resampling import (
    AxisMap,
    ResampledVolume,
    axis_map,
    combine,
    factors,
    resampled_axes,
    windows,
)
from osteon.resampling.volume import MOST
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


@dataclass(frozen=True)
class ScaleChoice:
    """The scale that a scan is seen at, chosen by the thickness of its bone.

    Attributes:
        factor: Size of a pixel as the network sees it, in pixels of the scan, from 1.
        thickness_px: Mean thickness of bone in pixels of the scan; None where none was seen.
        why: The reason, in words.
    """

    factor: float
    thickness_px: float | None
    why: str


def choose_scale(volume: Volume, spec: ModelSpec, features: Features) -> ScaleChoice | None:
    """Choose the scale that a scan is seen at by a model of a thickness in pixels.

    Bone thicker than the model was fitted to is reduced to the geometric middle of its range. Bone
    that is thinner is warned of, not enlarged: there is no more to be seen in it.

    Args:
        volume: The scan.
        spec: The model.
        features: What the scan shows.

    Returns:
        The choice; None for models without such a range.
    """
    if spec.feature_px is None:
        return None
    low, high = spec.feature_px
    thickness = features.thickness_px
    if thickness is None:
        return ScaleChoice(1.0, None, "hardly any bone was seen, so the scan stays as it is")
    seen = f"bone is {thickness:.1f} pixels thick on average"
    if thickness > high:
        factor = min(MOST, thickness / math.sqrt(low * high))
        return ScaleChoice(
            factor, thickness, f"{seen}, so the slices are reduced {factor:.2f} times"
        )
    if thickness < low:
        warn(
            "bone-too-thin",
            f"{seen}, and the model was fitted to {low:g} to {high:g}: what is thinner than a "
            "pixel or two is lost. Scan with smaller voxels, or fine-tune the model to a few "
            "labelled slices of such scans (network.weights)",
            where=volume.path,
        )
    return ScaleChoice(1.0, thickness, f"{seen}, so the scan stays as it is")


def as_seen(
    volume: Volume, spec: ModelSpec, statistics: Statistics, *, factor: float = 1.0
) -> Volume:
    """Return a scan as a model sees it.

    Args:
        volume: The scan.
        spec: The model.
        statistics: Of the scan.
        factor: Size of a pixel within the slices, in pixels of the scan (:func:`choose_scale`).

    Returns:
        The scan itself, or a :class:`ResampledVolume` where the model has another voxel size or
        scale.

    Raises:
        InputError: See :func:`check_scale`.
        UsageError: See :func:`check_scale`.
    """
    if factor != 1:
        return _reduced(volume, factor, statistics)
    if spec.voxel_size_um is None:
        return volume
    axes = resampled_axes(spec.mode)
    seen = ResampledVolume(volume, spec.voxel_size_um, axes=axes, fill=fill_of(statistics))
    return volume if seen.identical else seen


def _reduced(volume: Volume, factor: float, statistics: Statistics) -> Volume:
    # In pixels instead of µm: the voxel size may be unknown, and its ratios alone matter.
    along, _, across = volume.geometry.voxel_size
    deep = along / across if along and across else 1.0
    in_pixels = ResizedVolume(volume, (deep, 1.0, 1.0))
    return ResampledVolume(in_pixels, factor, axes=(1, 2), fill=fill_of(statistics))


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


def labels_back(seen: ResampledVolume, logits: Slabs, part: slice | None = None) -> Slabs:
    """Bring logits back to the scan's own grid and take the class of the highest.

    Args:
        seen: The resampled scan.
        logits: As for :func:`logits_back`, which says what is held.
        part: Slices of the scan that are wanted; None: all.

    Yields:
        Index and labels (1, y, x), uint8, of each slice of the scan.
    """
    with closing(logits_back(seen, logits, part)) as planes:
        for z, plane in planes:
            yield z, plane.argmax(1).astype(np.uint8)


def logits_back(seen: ResampledVolume, logits: Slabs, part: slice | None = None) -> Slabs:
    """Bring logits back to the scan's own grid.

    Logits, not labels, are interpolated (linearly where the scan is finer, by area where it is
    more than 1.3 times coarser), so that borders run between the voxels of the coarser grid.

    Memory: the logits of one slice on the scan's grid for each slice of the model's grid that a
    slice of the scan is made of (2, or up to factor + 1 where the scan is coarser).

    Args:
        seen: The resampled scan.
        logits: Slabs (n, class, y, x) on its grid, at least those that the part is made of.
        part: Slices of the scan that are wanted; None: all.

    Yields:
        Index and logits (1, class, y, x), float32, of each slice of the scan.
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
        for z, window in windows(planes(), maps[0], part or slice(0, seen.source.shape[0])):
            yield z, combine(window, maps[0].weights[z])[np.newaxis]
