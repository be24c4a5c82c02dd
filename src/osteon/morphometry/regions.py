"""Volumes of interest: slabs, boxes, cylinders. The region is turned, never the image."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.morphometry.ridge import Mask, Spacing
from osteon.settings.measuring import (
    BoxRegion,
    CylinderRegion,
    RegionSettings,
    SlabRegion,
    WholeRegion,
)

Shape = tuple[int, int, int]
Box = tuple[slice, slice, slice]
_PERCENT = 100.0


def rotation(turn: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Return the matrix that turns vectors (z, y, x).

    Args:
        turn: Degrees about z, y and x, one after the other about the axes as they are by then.

    Returns:
        (3, 3); its columns are the turned axes z, y, x.
    """
    about_z, about_y, about_x = (math.radians(angle) for angle in turn)
    c, s = math.cos(about_z), math.sin(about_z)
    first = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])  # x goes to y
    c, s = math.cos(about_y), math.sin(about_y)
    second = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])  # z goes to x
    c, s = math.cos(about_x), math.sin(about_x)
    third = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])  # y goes to z
    turned: npt.NDArray[np.float64] = first @ second @ third
    return turned


def bounding_box(region: RegionSettings, shape: Shape, spacing: Spacing) -> Box:
    """Say which part of a volume a region lies in, so that no more is read.

    Args:
        region: The region. Of a slab in percent nothing is known before the bone is: everything.
        shape: (z, y, x) of the volume.
        spacing: Voxel size.

    Returns:
        Ranges of voxels.

    Raises:
        UsageError: If it lies outside of the volume.
    """
    everything = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    if isinstance(region, WholeRegion):
        return everything
    if isinstance(region, SlabRegion):
        if region.unit == "percent":
            return everything
        zero = region.landmark_um or 0.0
        ends = np.array([[zero + region.start, 0, 0], [zero + region.stop, 0, 0]])
        z, _, _ = _voxels(ends, shape, spacing)
        return z, everything[1], everything[2]
    half = np.array(_half_sides(region))
    corners = np.array(list(itertools.product((-1, 1), repeat=3))) * half
    return _voxels(corners @ rotation(region.turn).T + np.array(region.centre_um), shape, spacing)


def _half_sides(region: BoxRegion | CylinderRegion) -> tuple[float, float, float]:
    if isinstance(region, CylinderRegion):
        return region.height_um / 2, region.radius_um, region.radius_um
    z, y, x = region.size_um
    return z / 2, y / 2, x / 2


def _voxels(points: npt.NDArray[np.float64], shape: Shape, spacing: Spacing) -> Box:
    ranges = []
    for low, high, n, size in zip(
        points.min(axis=0), points.max(axis=0), shape, spacing, strict=True
    ):
        start = max(0, math.floor(low / size + 0.5))
        stop = min(n, math.ceil(high / size + 0.5))
        if high <= low:  # an axis that the points say nothing of
            start, stop = 0, n
        if start >= stop:
            spans = " × ".join(f"{m * s:.6g}" for m, s in zip(shape, spacing, strict=True))
            raise UsageError(
                "the region lies outside of the volume",
                where="region",
                mend=f"the volume spans {spans} (z, y, x), in µm or, where the voxel size is "
                "unknown, in voxels",
            )
        ranges.append(slice(start, stop))
    return ranges[0], ranges[1], ranges[2]


def region_mask(
    region: RegionSettings, outline: Mask, *, start: tuple[int, int, int], spacing: Spacing
) -> Mask | None:
    """Say which voxels of a block are within a region: those whose centre is.

    Args:
        region: The region.
        outline: (z, y, x) the bone in the block: a slab in percent is of its length.
        start: Voxel of the volume at which the block starts.
        spacing: Voxel size.

    Returns:
        bool (z, y, x); None: all.
    """
    if isinstance(region, WholeRegion):
        return None
    axes = [
        (np.arange(n) + first) * size
        for n, first, size in zip(outline.shape, start, spacing, strict=True)
    ]
    if isinstance(region, SlabRegion):
        inside = _within_slab(region, outline, axes[0], spacing[0])
        return np.broadcast_to(inside[:, np.newaxis, np.newaxis], outline.shape)
    turned = rotation(region.turn)
    z, y, x = (
        axis.reshape([-1 if a == k else 1 for a in range(3)]) - centre
        for k, (axis, centre) in enumerate(zip(axes, region.centre_um, strict=True))
    )
    # Coordinates along the region's own axes.
    own = [turned[0, k] * z + turned[1, k] * y + turned[2, k] * x for k in range(3)]
    half = _half_sides(region)
    if isinstance(region, CylinderRegion):
        mask: Mask = (np.abs(own[0]) <= half[0]) & (own[1] ** 2 + own[2] ** 2 <= half[1] ** 2)
        return mask
    box: Mask = (
        (np.abs(own[0]) <= half[0]) & (np.abs(own[1]) <= half[1]) & (np.abs(own[2]) <= half[2])
    )
    return box


def _within_slab(
    region: SlabRegion, outline: Mask, heights: npt.NDArray[np.float64], size: float
) -> Mask:
    if region.unit == "um":
        zero, one = region.landmark_um or 0.0, 1.0
    else:
        slices = np.flatnonzero(outline.any(axis=(1, 2)))
        if slices.size == 0:
            return np.zeros(len(heights), np.bool_)
        first = float(heights[slices[0]]) - size / 2
        one = (slices[-1] - slices[0] + 1) * size / _PERCENT
        zero = first if region.landmark_um is None else region.landmark_um
    inside: Mask = (heights >= zero + region.start * one) & (heights < zero + region.stop * one)
    return inside


def describe(region: RegionSettings) -> str:
    """Say in a few words what a region is."""
    if isinstance(region, WholeRegion):
        return "whole"
    if isinstance(region, SlabRegion):
        unit = "%" if region.unit == "percent" else "µm"
        mark = "" if region.landmark_um is None else f" from z = {region.landmark_um:g} µm"
        return f"slab {region.start:g} to {region.stop:g} {unit}{mark}"
    turn = (
        "" if not any(region.turn) else " turned by {:g}, {:g}, {:g} degrees".format(*region.turn)
    )
    place = "at {:g}, {:g}, {:g}".format(*region.centre_um)
    if isinstance(region, CylinderRegion):
        return f"cylinder {place}, radius {region.radius_um:g}, height {region.height_um:g}{turn}"
    return f"box {place}, " + "{:g} × {:g} × {:g}".format(*region.size_um) + turn
