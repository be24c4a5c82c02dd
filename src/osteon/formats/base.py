"""What every format module shares: the protocol, a write request, and how errors are told."""

from __future__ import annotations

import contextlib
import struct
import tokenize
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from osteon.errors import InputError, UsageError
from osteon.labels import LabelScheme
from osteon.volume import Array, Geometry, Volume, VolumeWriter

Shape = tuple[int, int, int]

#: What decoders raise on damaged files. Errors of osteon itself are not among them.
DECODING_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    SyntaxError,  # Pillow, of a PNG; and of the header of a NumPy array
    tokenize.TokenError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Intensity:
    """Physical intensity = stored value * scale + offset, in ``unit`` where stated."""

    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None


@dataclass(frozen=True)
class Meta:
    """What a file says of a volume beside its voxels."""

    geometry: Geometry = field(default_factory=Geometry)
    intensity: Intensity = field(default_factory=Intensity)
    provenance: Mapping[str, str] = field(default_factory=dict)
    labels: LabelScheme | None = None

    def apply(self, volume: Volume) -> None:
        """Set the attributes of a volume.

        Args:
            volume: The volume that was just opened.
        """
        volume.geometry = self.geometry
        volume.intensity_scale = self.intensity.scale
        volume.intensity_offset = self.intensity.offset
        volume.intensity_unit = self.intensity.unit
        volume.provenance = dict(self.provenance)
        volume.labels = self.labels


@dataclass(frozen=True)
class WriteRequest:
    """What is to be written.

    Attributes:
        path: The target, absolute.
        shape: (z, y, x) in voxels.
        dtype: Type of the stored values, native byte order.
        meta: Geometry, intensity scale, provenance and labels, as far as the format carries them.
        overwrite: Whether an existing target is replaced.
        slice_suffix: Suffix of the files in a folder of slices.
        slice_numbers: Numbers for the names of slices; None counts from 0.
    """

    path: Path
    shape: Shape
    dtype: np.dtype[Any]
    meta: Meta = field(default_factory=Meta)
    overwrite: bool = False
    slice_suffix: str = ".tif"
    slice_numbers: tuple[int, ...] | None = None


class Format(Protocol):
    """One file format; each format module has one as ``FORMAT``."""

    def matches(self, path: Path) -> bool:
        """Whether the content (not the name) of an existing file or folder is this format's."""

    def open(self, path: Path) -> Volume:
        """Open a volume without reading its voxels.

        Raises:
            InputError: If it is damaged or of a kind osteon does not read.
        """

    def create(self, request: WriteRequest) -> VolumeWriter:
        """Start writing a volume.

        Raises:
            OutputError: If the format cannot hold it, or the place is not writable.
        """


def magic(path: Path, *, offset: int = 0, size: int = 16) -> bytes:
    """Return the first bytes of a file; empty for a folder or an unreadable file.

    Args:
        path: A file or folder.
        offset: Where to start, in bytes.
        size: How many bytes.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError:
        return b""


@contextlib.contextmanager
def reading(
    path: Path, *, what: str = "the file", also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn a decoder's complaints into an InputError that names the file.

    Args:
        path: What is being read.
        what: What it should be, for the message.
        also: Exceptions of the library that reads it.

    Raises:
        InputError: Instead of any of :data:`DECODING_ERRORS` and ``also``.
    """
    errors = DECODING_ERRORS + also
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(
            f"{what} is not there (any more)", where=path, mend="check the path"
        ) from error
    except PermissionError as error:
        raise InputError(
            f"{what} may not be read", where=path, mend="change its permissions"
        ) from error
    except errors as error:
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{what} cannot be read: it is truncated, damaged or of an unknown kind ({reason})",
            where=path,
            mend="copy or export it again; compare its size with the original's",
        ) from error


def readable_dtype(dtype: np.dtype[Any], path: Path) -> np.dtype[Any]:
    """Return the type under which stored values are read: native byte order, bool as uint8.

    Args:
        dtype: Type in the file.
        path: The file, for the message.

    Raises:
        InputError: If the values are complex, structured or text.
    """
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind not in "iuf" or dtype.itemsize > np.dtype(np.float64).itemsize:
        raise InputError(
            f"voxels of type '{dtype}' are not read: a scan holds one real number per voxel",
            where=path,
            mend="convert it to 8- or 16-bit integers or 32-bit floats",
        )
    return dtype.newbyteorder("=")


def volume_shape(shape: tuple[int, ...], path: Path) -> Shape:
    """Turn (z, y, x), (y, x) or a shape with leading axes of one into (z, y, x).

    Args:
        shape: Shape in the file, slowest axis first.
        path: The file, for the message.

    Raises:
        InputError: If there are more axes, or an axis is empty.
    """
    trimmed = tuple(int(n) for n in shape)
    while len(trimmed) > 3 and trimmed[0] == 1:
        trimmed = trimmed[1:]
    if len(trimmed) == 2:
        trimmed = (1, *trimmed)
    if len(trimmed) != 3:
        raise InputError(
            f"a volume has 3 axes (z, y, x); this has {len(shape)}: {tuple(shape)}",
            where=path,
            mend="export one channel and one time point as a 3D image",
        )
    if 0 in trimmed:
        raise InputError(f"the volume is empty: its shape is {trimmed}", where=path)
    return trimmed


def refuse_dtype(request: WriteRequest, allowed: tuple[str, ...], *, name: str) -> None:
    """Raise unless a format can hold the requested type.

    Args:
        request: What is to be written.
        allowed: Names of the types the format holds.
        name: Name of the format, for the message.

    Raises:
        UsageError: If the type is another.
    """
    if request.dtype.name not in allowed:
        raise UsageError(
            f"{name} cannot hold voxels of type {request.dtype.name}",
            where=request.path,
            mend=f"it holds {', '.join(allowed)}; NRRD, TIFF, Zarr and NPY hold every type",
        )


def check_block(block: Array, *, writer: VolumeWriter, z0: int) -> Array:
    """Check a block against the volume being written.

    Args:
        block: (z, y, x) array of the writer's type.
        writer: The writer that got it.
        z0: Index of its first slice.

    Returns:
        The block, C-contiguous.

    Raises:
        UsageError: If its type, rows, columns or place are not the volume's.
    """
    depth, *plane = writer.shape
    fits = block.ndim == 3 and list(block.shape[1:]) == plane
    if not fits or z0 < 0 or z0 + block.shape[0] > depth or block.dtype != writer.dtype:
        raise UsageError(
            f"a block {block.shape} of {block.dtype} at z = {z0} does not fit into a volume "
            f"{writer.shape} of {writer.dtype}",
            where=writer.path,
        )
    return np.ascontiguousarray(block)
