"""Models of a voxel size: the scan as they see it, and their results back on the scan's grid."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from osteon.datasets.masks import ResizedVolume
from osteon.datasets.resampled import fill_of
from osteon.errors import UsageError, warn
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
from osteon.resampling.volume import MOST, SAME
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


#: Voxel sizes of a 2.5D or 3D model that differ no more than so are taken for cubes of one kind.
ONE_SIZE = 1.25


def resampled_to(volume: Volume, spec: ModelSpec) -> ModelSpec:
    """Return a model that asks for voxels of the nearest size that it was fitted to.

    In 2D the size within the slice counts (its geometric mean along y and x), in 2.5D and 3D that
    along all axes.

    Args:
        volume: The scan.
        spec: The model.

    Returns:
        The model with ``voxel_size_um``; the same one if it has a size or a thickness of bone of
        its own, or if the scan's voxels lie inside what it was fitted to.

    Raises:
        InputError: If the scan's voxel size is not known.
        UsageError: If the model does not say to which size.
    """
    if spec.voxel_size_um is not None or spec.feature_px is not None:
        return spec
    axes = resampled_axes(spec.mode)
    fitted = spec.ranges.voxel_size_um
    if fitted is None:
        raise UsageError(
            f"the model '{spec.name}' does not say what voxel sizes it was fitted to, so there is "
            "none to resample to",
            where="--resample",
            mend="leave out --resample, or fit with voxel_size to scans whose size is known",
        )
    low, high = fitted
    if len(axes) == 3 and high > low * ONE_SIZE:
        raise UsageError(
            f"the {spec.mode} model '{spec.name}' was fitted to voxels of {low:g} to {high:g} µm "
            "along its axes, so there is no one size to resample to",
            where="--resample",
            mend="leave out --resample, or fit with voxel_size",
        )
    factors(volume, low, axes=axes)  # refuses what is not known, or too far away
    sizes = [float(s) for axis in axes if (s := volume.geometry.voxel_size[axis]) is not None]
    if all(low * (1 - SAME) <= size <= high * (1 + SAME) for size in sizes):
        return spec
    target = min(max(math.prod(sizes) ** (1 / len(sizes)), low), high)
    return replace(spec, voxel_size_um=target)


@dataclass(frozen=True)
class ScaleChoice:
    """The scale that a scan is seen at, chosen by the thickness of its bone.

    Attributes:
        factor: Size of a pixel as the network sees it, in pixels of the scan; below 1 only where
            resampling was asked for.
        thickness_px: Mean thickness of bone in pixels of the scan; None where none was seen.
        why: The reason, in words.
    """

    factor: float
    thickness_px: float | None
    why: str


def choose_scale(
    volume: Volume, spec: ModelSpec, features: Features, *, enlarge: bool = False
) -> ScaleChoice | None:
    """Choose the scale that a scan is seen at by a model of a thickness in pixels.

    Bone thicker than the model was fitted to is reduced to the thickest of its range, and no more:
    canals would be lost. Bone that is thinner is warned of, and enlarged to the thinnest only if
    that is asked for: there is no more to be seen in it.

    Args:
        volume: The scan.
        spec: The model.
        features: What the scan shows.
        enlarge: Whether thinner bone is enlarged.

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
        factor = min(MOST, thickness / high)
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
        if enlarge:
            factor = max(1 / MOST, thickness / low)
            return ScaleChoice(
                factor, thickness, f"{seen}, so the slices are enlarged {1 / factor:.2f} times"
            )
    return ScaleChoice(1.0, thickness, f"{seen}, so the scan stays as it is")


def as_seen(
    volume: Volume,
    spec: ModelSpec,
    statistics: Statistics,
    *,
    factor: float = 1.0,
    along_all: bool = False,
) -> Volume:
    """Return a scan as a model sees it.

    Args:
        volume: The scan.
        spec: The model.
        statistics: Of the scan.
        factor: Size of a pixel within the slices, in pixels of the scan (:func:`choose_scale`).
        along_all: Whether it is seen along all three axes, and so resampled along all of them.

    Returns:
        The scan itself, or a :class:`ResampledVolume` where the model has another voxel size or
        scale.

    Raises:
        InputError: See :func:`check_scale`.
        UsageError: See :func:`check_scale`.
    """
    if factor != 1:
        return _reduced(volume, factor, statistics, axes=(0, 1, 2) if along_all else (1, 2))
    if spec.voxel_size_um is None:
        return volume
    axes = (0, 1, 2) if along_all else resampled_axes(spec.mode)
    seen = ResampledVolume(volume, spec.voxel_size_um, axes=axes, fill=fill_of(statistics))
    return volume if seen.identical else seen


def _reduced(
    volume: Volume, factor: float, statistics: Statistics, *, axes: tuple[int, ...]
) -> Volume:
    # In pixels instead of µm: the voxel size may be unknown, and its ratios alone matter.
    along, _, across = volume.geometry.voxel_size
    deep = along / across if along and across else 1.0
    in_pixels = ResizedVolume(volume, (deep, 1.0, 1.0))
    return ResampledVolume(in_pixels, factor, axes=axes, fill=fill_of(statistics))


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
