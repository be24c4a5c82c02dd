"""Which format a path is, and how it is opened or written: by suffix and by content."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from osteon.errors import InputError, OutputError, UsageError
from osteon.formats.base import Format, Intensity, Meta, WriteRequest
from osteon.labels import LabelScheme
from osteon.registry import Row
from osteon.tables.formats import FORMATS
from osteon.volume import Volume, VolumeWriter

#: Folders are asked in this order: a Zarr store is a folder of files, too.
_FOLDER_ORDER = ("zarr", "slices", "dicom")
#: 2D images: read as a volume of one slice, written only as folders of slices.
_SLICE_SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg", ".jpe")
_LOSSY = (".jpg", ".jpeg", ".jpe")


def _format(name: str) -> Format:
    return cast(Format, FORMATS.load(name))


def _suffixes(row: Row) -> tuple[str, ...]:
    return cast(tuple[str, ...], row.capabilities["suffixes"])


def _row_of_suffix(path: Path) -> Row | None:
    """Return the row with the longest suffix that the name ends in."""
    name = path.name.lower()
    found = [(len(s), row) for row in FORMATS for s in _suffixes(row) if name.endswith(s)]
    return max(found, key=lambda item: item[0])[1] if found else None


def detect_format(path: str | Path) -> str:
    """Find out which format a file or folder is.

    The suffix says where to look first; the content decides.

    Args:
        path: A file or folder.

    Returns:
        The name of a row of ``osteon.tables.formats``.

    Raises:
        InputError: If there is no such path, it is empty, or it is of no known format.
    """
    path = Path(path)
    if not path.exists():
        raise _missing(path)
    return _detect_folder(path) if path.is_dir() else _detect_file(path)


def _missing(path: Path) -> InputError:
    near: list[str] = []
    if path.parent.is_dir():
        names = [p.name for p in path.parent.iterdir()]
        near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "check the path"
    return InputError("there is no such file or folder", where=path, mend=hint)


def _detect_folder(path: Path) -> str:
    try:
        names = [p.name for p in path.iterdir()]
    except OSError as error:
        raise InputError("the folder cannot be read", where=path, mend=str(error)) from error
    if not names:
        raise InputError("the folder is empty", where=path, mend="check the path")
    others = [r.name for r in FORMATS if r.capabilities["folder"] and r.name not in _FOLDER_ORDER]
    for name in (*_FOLDER_ORDER, *others):
        if _format(name).matches(path):
            return name
    return "slices"  # its own message says what the folder holds instead


def _detect_file(path: Path) -> str:
    if path.stat().st_size == 0:
        raise InputError("the file is empty", where=path, mend="copy or export it again")
    row = _row_of_suffix(path)
    if row is not None and _format(row.name).matches(path):
        return row.name
    for other in FORMATS:
        if other is not row and _format(other.name).matches(path):
            return other.name
    known = sorted({s for r in FORMATS for s in _suffixes(r)} | set(_SLICE_SUFFIXES))
    if row is not None or path.suffix.lower() in _SLICE_SUFFIXES:
        what = row.help if row is not None else "an image"
        raise InputError(
            f"the name says {what}, but the content is not: it is damaged or of another format",
            where=path,
            mend="copy or export it again",
        )
    raise InputError(
        f"a file of unknown format ('{path.suffix or path.name}')",
        where=path,
        mend=f"known are folders of slices, and files ending in {', '.join(known)}",
    )


def open_volume(path: str | Path, *, format: str | None = None) -> Volume:
    """Open a scan or label volume; its voxels are read when asked for.

    Args:
        path: A folder of slices, or a file or folder in any format of ``osteon.tables.formats``.
        format: Name of the format, where it is not to be found out.

    Returns:
        The volume, (z, y, x), stored type, voxel size in µm where the file states one.

    Raises:
        InputError: If it is missing, empty, truncated, damaged or of an unknown format.
        UsageError: If there is no format of that name.
    """
    path = Path(path).absolute()
    if format is not None and not path.exists():
        raise _missing(path)
    return _format(format or detect_format(path)).open(path)


def open_pyramid(path: str | Path) -> list[Volume]:
    """Open a scan or label volume with the smaller copies of it that its file holds.

    Args:
        path: As for :func:`open_volume`.

    Returns:
        The volume and its copies, finest first; the volume alone where the format has none.

    Raises:
        InputError: As :func:`open_volume`.
    """
    path = Path(path).absolute()
    if detect_format(path) != "zarr":
        return [open_volume(path)]
    from osteon.formats.zarr_store import open_levels

    return open_levels(path)


def open_writer(
    path: str | Path,
    *,
    like: Volume,
    dtype: npt.DTypeLike = np.uint8,
    labels: LabelScheme | None = None,
    overwrite: bool = False,
    format: str | None = None,
    slice_suffix: str = ".tif",
) -> VolumeWriter:
    """Start writing a volume that lies where another one lies.

    Args:
        path: The target; its suffix says the format, none means a folder of slices.
        like: Gives shape, voxel size, origin and direction, and the numbers of slices. Without
            ``labels`` also the intensity scale and provenance.
        dtype: Type of the voxels to be written.
        labels: Names and colours of the classes, for a label volume.
        overwrite: Whether an existing target is replaced.
        format: Name of the format, where the suffix does not say it.
        slice_suffix: Suffix of the files in a folder of slices: ``.tif``, ``.png`` or ``.bmp``.

    Returns:
        The writer; use it in a ``with`` statement.

    Raises:
        OutputError: If the target exists or the place is not writable.
        UsageError: If the suffix is unknown, or the format cannot hold the type.
    """
    path = Path(path).absolute()
    row = FORMATS.row(format) if format is not None else _row_for_writing(path)
    if path.exists() and path.resolve() == like.path.resolve():
        raise OutputError(
            "the result would replace the scan it is made from",
            where=path,
            mend="choose another name",
        )
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind.kind == "b":
        kind = np.dtype(np.uint8)
    if kind.kind not in "iuf":
        raise UsageError(f"voxels of type {kind} are not written", where=path)
    request = WriteRequest(
        path,
        like.shape,
        kind.newbyteorder("="),
        _meta(like, labels),
        overwrite,
        slice_suffix,
        _numbers(like),
    )
    return _format(row.name).create(request)


def _meta(like: Volume, labels: LabelScheme | None) -> Meta:
    if labels is not None:
        return Meta(like.geometry, labels=labels, provenance={"labels of": like.path.name})
    scale = Intensity(like.intensity_scale, like.intensity_offset, like.intensity_unit)
    return Meta(like.geometry, scale, like.provenance, None)


def _numbers(like: Volume) -> tuple[int, ...] | None:
    numbers = like.slice_numbers
    return numbers if numbers is not None and len(numbers) == like.shape[0] else None


def _row_for_writing(path: Path) -> Row:
    suffix = path.suffix.lower()
    row = _row_of_suffix(path)
    if row is not None and row.capabilities["write"]:
        return row
    if suffix in _LOSSY:
        raise UsageError(
            "volumes are not written as JPEG: it changes the values",
            where=path,
            mend="choose .tif, .nrrd, .zarr …, or a folder (no suffix)",
        )
    if suffix in _SLICE_SUFFIXES:
        raise UsageError(
            f"a volume does not fit into one {suffix} file",
            where=path,
            mend=f"name a folder (no suffix) and set the suffix of its slices to '{suffix}'",
        )
    if not suffix:
        return FORMATS.row("slices")
    known = sorted({s for r in FORMATS if r.capabilities["write"] for s in _suffixes(r)})
    raise UsageError(
        f"no format is written with the suffix '{path.suffix}'",
        where=path,
        mend=f"use one of {', '.join(known)}; or, for a folder of slices, a name without a dot "
        "or the format 'slices'",
    )
