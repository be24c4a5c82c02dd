"""Volumes: scans and label volumes that are read lazily, and the writers that make them.

Axis order is (z, y, x) everywhere. Physical positions are in µm in the LPS
frame of DICOM and ITK (x to the patient's left, y to the back, z to the head);
vectors are given in the order (z, y, x) like everything else. The physical
position of voxel ``index`` is ``origin + direction @ (index * voxel_size)``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from osteon.errors import InputError, UsageError
from osteon.labels import LabelScheme

#: Voxel size in µm along (z, y, x); None where the file does not state it (never guessed).
VoxelSize = tuple[float | None, float | None, float | None]
Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]
Array = npt.NDArray[Any]

IDENTITY: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
UNKNOWN_SIZE: VoxelSize = (None, None, None)


class Access(Enum):
    """What it costs to read a small block somewhere in the volume."""

    RANDOM = "random"  # about as much as the block itself (memory map, small chunks)
    SLICE = "slice"  # whole slices are decoded to get at a part of one
    SEQUENTIAL = "sequential"  # everything before the block is decoded (gzip): use the cache


@dataclass(frozen=True)
class Geometry:
    """Where a volume lies in space.

    Attributes:
        voxel_size: µm along (z, y, x), None where unknown.
        origin: Position of the centre of voxel (0, 0, 0) in µm, order (z, y, x), LPS.
        direction: Columns are the directions of the z, y and x axes, in order
            (z, y, x), LPS; the identity for most micro-CT.
    """

    voxel_size: VoxelSize = UNKNOWN_SIZE
    origin: Vector = (0.0, 0.0, 0.0)
    direction: Matrix = IDENTITY

    def __post_init__(self) -> None:
        for size in self.voxel_size:
            if size is not None and not (math.isfinite(size) and size > 0):
                raise UsageError(f"a voxel size must be positive, not {size} µm")

    @property
    def known(self) -> bool:
        """Whether the voxel size is known along all three axes."""
        return all(size is not None for size in self.voxel_size)

    def shifted(self, start: tuple[int, int, int]) -> Geometry:
        """Return the geometry of a part that starts at a voxel.

        Args:
            start: First voxel of the part, (z, y, x).

        Returns:
            The geometry with its origin moved; an unknown voxel size counts as 1 µm.
        """
        step = np.array([s if s is not None else 1.0 for s in self.voxel_size]) * np.array(start)
        origin = np.array(self.origin) + np.array(self.direction) @ step
        return replace(self, origin=(float(origin[0]), float(origin[1]), float(origin[2])))


class Volume(ABC):
    """A three-dimensional image that is read block by block.

    Subclasses set the attributes and implement :meth:`read`. A volume pickles by its path
    and options and reopens in the other process; open file handles never travel.

    Attributes:
        path: The file or folder it was opened from.
        shape: (z, y, x) in voxels; a single 2D image has z = 1.
        dtype: Type of the stored values; kept until normalisation.
        geometry: Voxel size, origin and direction.
        access: The cost of random access.
        chunks: The block (z, y, x) that is cheapest to read at once.
        intensity_scale: Physical intensity = stored value * scale + offset (DICOM's rescale slope).
        intensity_offset: See ``intensity_scale``.
        intensity_unit: ``HU``, ``mgHA/cm3``, … or None where not stated.
        provenance: What the file says of its making (SkyScan log, DICOM tags), as text.
        labels: Class names and colours, where the file carries them.
        slice_numbers: The number in the file name of every slice (a folder of slices with
            numbered names), by which a mask of some slices is matched; else None.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    geometry: Geometry
    access: Access
    chunks: tuple[int, int, int]
    intensity_scale: float = 1.0
    intensity_offset: float = 0.0
    intensity_unit: str | None = None
    provenance: Mapping[str, str]
    labels: LabelScheme | None = None
    slice_numbers: tuple[int, ...] | None = None

    @abstractmethod
    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read a block. Thread-safe.

        Args:
            z: Slices (step 1; within the volume after the rules of :meth:`bounds`).
            y: Rows.
            x: Columns.

        Returns:
            A new array (z, y, x) of :attr:`dtype` in native byte order.

        Raises:
            InputError: If the file is truncated or damaged there.
        """

    def bounds(self, z: slice, y: slice, x: slice) -> tuple[slice, slice, slice]:
        """Turn slices into explicit ranges within the volume.

        Args:
            z: Slices; None means from the start or to the end.
            y: Rows.
            x: Columns.

        Returns:
            Three slices with start and stop filled in.

        Raises:
            UsageError: If a step is not 1 or a range lies outside the volume.
        """
        out = []
        for name, s, n in zip("zyx", (z, y, x), self.shape, strict=True):
            start, stop = s.start or 0, n if s.stop is None else s.stop
            if s.step not in (None, 1) or not 0 <= start <= stop <= n:
                raise UsageError(
                    f"cannot read {name} = {start}..{stop}: the volume has 0..{n}", where=self.path
                )
            out.append(slice(start, stop))
        return out[0], out[1], out[2]

    @property
    def nbytes(self) -> int:
        """Size of the voxels in memory, in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass
class ArrayVolume(Volume):
    """A volume that is an array in memory: for tests, simulations and small results."""

    array: Array
    geometry: Geometry = field(default_factory=Geometry)
    path: Path = Path("<memory>")
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.ndim == 2:
            self.array = self.array[np.newaxis]
        if self.array.ndim != 3:
            raise InputError(f"a volume has 3 axes (z, y, x), not {self.array.ndim}")
        self.shape = (self.array.shape[0], self.array.shape[1], self.array.shape[2])
        self.dtype = self.array.dtype
        self.access = Access.RANDOM
        self.chunks = (1, self.shape[1], self.shape[2])

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Return a copy of a block; see :meth:`Volume.read`."""
        return np.array(self.array[self.bounds(z, y, x)])


class Slab(Volume):
    """Some neighbouring slices of a volume, as a volume; holds nothing itself.

    Args:
        whole: The volume.
        z: The slices (step 1).

    Raises:
        UsageError: If the slices do not lie within the volume, or there are none.
    """

    def __init__(self, whole: Volume, z: slice):
        part, _, _ = whole.bounds(z, slice(None), slice(None))
        if part.start == part.stop:
            raise UsageError("the range of slices is empty", where=whole.path)
        self._whole, self._start = whole, int(part.start)
        self.path, self.dtype = whole.path, whole.dtype
        self.shape = (part.stop - part.start, whole.shape[1], whole.shape[2])
        self.geometry = whole.geometry.shifted((self._start, 0, 0))
        self.access, self.chunks = whole.access, whole.chunks
        self.intensity_scale = whole.intensity_scale
        self.intensity_offset = whole.intensity_offset
        self.intensity_unit = whole.intensity_unit
        self.provenance = whole.provenance
        if whole.slice_numbers is not None:
            self.slice_numbers = whole.slice_numbers[part]

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read a block of the slab; see :meth:`Volume.read`."""
        z, y, x = self.bounds(z, y, x)
        return self._whole.read(slice(z.start + self._start, z.stop + self._start), y, x)


class VolumeWriter(ABC):
    """Takes a volume block by block and puts it in place when whole.

    It writes beside the target and renames at :meth:`close`. Used as a context manager it
    closes on success and aborts on an exception, which leaves an existing target untouched.

    Attributes:
        path: The target.
        shape: (z, y, x) of the volume to be written.
        dtype: Type of the stored values.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    @abstractmethod
    def write(self, z0: int, block: Array) -> None:
        """Write whole slices.

        Args:
            z0: Index of the first slice. Blocks come in ascending order without gaps
                unless the format's row says ``any_order``.
            block: (z, y, x) array of :attr:`dtype`; y and x are the volume's.

        Raises:
            OutputError: If the disk is full or the target not writable.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish the file and rename it into place.

        Raises:
            OutputError: If slices are missing or the disk is full.
        """

    @abstractmethod
    def abort(self) -> None:
        """Remove what was written; the target stays as it was."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
