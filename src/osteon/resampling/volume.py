"""A volume seen on the grid of another voxel size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from osteon.errors import InputError, UsageError
from osteon.labels import IGNORE
from osteon.resampling.axes import AxisMap, axis_map, combine, windows
from osteon.volume import Array, Geometry, Volume

#: Largest factor between the voxel sizes, either way.
MOST = 16.0
#: Voxel sizes that differ by less than this share are the same: nothing is resampled.
SAME = 1e-3
#: Source slices that are read at once may take so many bytes, if they are more than one.
READ_BYTES = 32 * 2**20
#: Above the rounding of sums of weights, and below any difference that is meant.
_TIE = 1e-5
#: Share of a target voxel that may be ignored until the voxel is.
_HALF = 0.5


def resampled_axes(mode: str) -> tuple[int, ...]:
    """Return the axes that are resampled in a mode.

    Args:
        mode: ``2D``, ``2.5D`` or ``3D``.

    Returns:
        (1, 2), which is (y, x), in 2D; else all: (0, 1, 2).
    """
    return (1, 2) if mode == "2D" else (0, 1, 2)


def factors(volume: Volume, voxel_size: float, *, axes: Sequence[int]) -> tuple[float, ...]:
    """Return target voxel size / source voxel size along (z, y, x).

    Args:
        volume: The source.
        voxel_size: Target voxel size in µm.
        axes: The axes to be resampled; along the others it is 1.

    Returns:
        The factors; exactly 1 where the sizes are as good as equal.

    Raises:
        InputError: If the voxel size of the source is not known along an axis.
        UsageError: If a factor lies outside 1/16..16, or the target is not a positive size.
    """
    if not (math.isfinite(voxel_size) and voxel_size > 0):
        raise UsageError(f"a voxel size must be positive, not {voxel_size} µm")
    found = [1.0, 1.0, 1.0]
    for axis in axes:
        own = volume.geometry.voxel_size[axis]
        if own is None:
            raise InputError(
                f"the scan's voxel size along {'zyx'[axis]} is not known, so it cannot be "
                f"resampled to {voxel_size:g} µm",
                where=volume.path,
                mend="state it: voxel_size_um in the dataset's manifest, or --voxel-size "
                "when predicting",
            )
        factor = voxel_size / own
        if not 1 / MOST <= factor <= MOST:
            raise UsageError(
                f"voxels of {own:g} µm along {'zyx'[axis]} cannot be resampled to "
                f"{voxel_size:g} µm: the sizes differ more than {MOST:g} times",
                where=volume.path,
                mend="check the voxel size of the scan, or choose another target",
            )
        found[axis] = 1.0 if abs(factor - 1) < SAME else factor
    return tuple(found)


class ResampledVolume(Volume):
    """A volume seen on the grid of another voxel size; for the convention, see the package.

    Grey values become float32 (float64 where float32 could not tell 32-bit integers apart), as
    rounding them would undo what the averages gain. Labels stay uint8: each voxel gets the class
    with the largest weight (linear or by area, like grey values), of equal ones that of the
    nearest source voxel, else the lowest; it is 255 where more than half of it is. No class is
    made that is not there.

    Memory of a read: one source slice within the block's extent for each slice in flight along z
    (2 when refining, up to factor + 1 when coarsening), and up to 32 MiB being read.

    Args:
        volume: The source.
        voxel_size: Target voxel size in µm.
        axes: The axes that are resampled; see :func:`resampled_axes`.
        labels: Whether it holds labels (uint8), not grey values.
        fill: Value outside the field of view and what it is read as: so that resampling mixes
            no fill into the scan, give the statistics' ``fill`` and ``minimum``. NaN is possible.

    Raises:
        InputError: If the source's voxel size is not known.
        UsageError: If the voxel sizes differ more than 16 times; if labels are not uint8.
    """

    def __init__(
        self,
        volume: Volume,
        voxel_size: float,
        *,
        axes: Sequence[int],
        labels: bool = False,
        fill: tuple[float, float] | None = None,
    ):
        if labels and volume.dtype != np.uint8:
            raise UsageError(f"labels are uint8, not {volume.dtype}", where=volume.path)
        self.factors = factors(volume, voxel_size, axes=axes)
        self.source, self._is_labels, self._fill = volume, labels, fill
        shape = [
            n if f == 1 else max(1, math.floor(n / f + 0.5))
            for n, f in zip(volume.shape, self.factors, strict=True)
        ]
        self.shape = (shape[0], shape[1], shape[2])
        self._maps = tuple(
            axis_map(n, size=size, factor=f)
            for n, size, f in zip(volume.shape, self.shape, self.factors, strict=True)
        )
        self.dtype = volume.dtype if labels else np.result_type(volume.dtype, np.float32)
        self.geometry = resampled_geometry(volume.geometry, self.factors)
        self.path, self.access, self.provenance = volume.path, volume.access, volume.provenance
        self.chunks = (1, self.shape[1], self.shape[2])
        self.intensity_scale = volume.intensity_scale
        self.intensity_offset = volume.intensity_offset
        self.intensity_unit = volume.intensity_unit
        self.labels = volume.labels
        self.slice_numbers = volume.slice_numbers if self.factors[0] == 1 else None

    @property
    def identical(self) -> bool:
        """Whether the grid is the source's own."""
        return all(f == 1 for f in self.factors)

    @property
    def maps(self) -> tuple[AxisMap, ...]:
        """The maps along (z, y, x)."""
        return self._maps

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read a block; see :meth:`osteon.volume.Volume.read`."""
        z, y, x = self.bounds(z, y, x)
        shape = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
        result = np.empty(shape, dtype=self.dtype)
        if not result.size:
            return result
        make = self._label_slices if self._is_labels else self._grey_slices
        for i, plane in make(z, y, x):
            result[i - z.start] = plane
        return result

    def _read_source(self, z: slice, y: slice, x: slice) -> Iterator[tuple[int, Array]]:
        """Source slices (n, y, x), the first one's index with them, each read once."""
        wanted, rows, columns = (
            m.source(part) for m, part in zip(self._maps, (z, y, x), strict=True)
        )
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        step = max(1, READ_BYTES // (area * self.source.dtype.itemsize))
        for start in range(wanted.start, wanted.stop, step):
            stop = min(start + step, wanted.stop)
            yield start, self.source.read(slice(start, stop), rows, columns)

    def _grey_slices(self, z: slice, y: slice, x: slice) -> Iterator[tuple[int, Array]]:
        def planes() -> Iterator[tuple[int, Array]]:
            for start, block in self._read_source(z, y, x):
                for i, raw in enumerate(block):
                    yield start + i, self._within(self._filled(raw), y, x)

        for i, window in windows(planes(), self._maps[0], z):
            yield i, combine(window, self._maps[0].weights[i])

    def _filled(self, raw: Array) -> Array:
        values = raw.astype(self.dtype)
        if self._fill is not None:
            value, by = self._fill
            where = np.isnan(raw) if math.isnan(value) else raw == value
            values[where] = by
        return values

    def _within(self, plane: Array, y: slice, x: slice) -> Array:
        for axis, part in ((0, y), (1, x)):
            if self.factors[axis + 1] != 1:
                plane = self._maps[axis + 1].apply(plane, axis=axis, part=part)
        return plane

    def _label_slices(self, z: slice, y: slice, x: slice) -> Iterator[tuple[int, Array]]:
        def planes() -> Iterator[tuple[int, Array]]:
            for start, block in self._read_source(z, y, x):
                for i, raw in enumerate(block):
                    yield start + i, raw

        for i, window in windows(planes(), self._maps[0], z):
            yield i, self._majority(i, window, y, x)

    def _majority(self, z: int, window: Sequence[Array], y: slice, x: slice) -> Array:
        axis = self._maps[0]
        present = np.flatnonzero(
            np.sum([np.bincount(p.ravel(), minlength=IGNORE + 1) for p in window], axis=0)
        )
        shape = (y.stop - y.start, x.stop - x.start)
        if present.size == 1:
            return np.full(shape, present[0], dtype=np.uint8)
        near = window[min(int(axis.nearest[z] - axis.first[z]), axis.taps - 1)]
        rows, columns = (
            self._maps[k].nearest[part] - self._maps[k].source(part).start
            for k, part in ((1, y), (2, x))
        )
        nearest = near[np.ix_(rows, columns)]
        result = np.full(shape, IGNORE, dtype=np.uint8)
        best = np.zeros(shape, dtype=np.float32)
        for value in present:
            share = np.zeros(shape, dtype=np.float32)
            for plane, weight in zip(window, axis.weights[z], strict=True):
                if weight:
                    share += weight * self._within((plane == value).astype(np.float32), y, x)
            if value == IGNORE:
                result[share > _HALF + _TIE] = IGNORE
                continue
            share += _TIE * (nearest == value)
            better = share > best
            result[better], best[better] = value, share[better]
        return result


def resampled_geometry(geometry: Geometry, factors: Sequence[float]) -> Geometry:
    """Return the geometry of a grid with the same outer corner and other voxel sizes.

    Args:
        geometry: Of the source.
        factors: Target / source voxel size along (z, y, x); 1 where the size is not known.

    Returns:
        The geometry: the origin moves by half the difference of the sizes along each axis.
    """
    sizes = geometry.voxel_size
    new = [None if s is None else s * f for s, f in zip(sizes, factors, strict=True)]
    shift = [0.0 if s is None else s * (f - 1) / 2 for s, f in zip(sizes, factors, strict=True)]
    origin: Any = np.array(geometry.origin) + np.array(geometry.direction) @ np.array(shift)
    return replace(
        geometry,
        voxel_size=(new[0], new[1], new[2]),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
    )
