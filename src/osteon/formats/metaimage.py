"""MetaImage (.mha, .mhd), the format of ITK: raw ones are mapped, compressed ones cached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from osteon.errors import InputError
from osteon.formats import document
from osteon.formats.base import (
    Intensity,
    Meta,
    WriteRequest,
    magic,
    reading,
    refuse_dtype,
    volume_shape,
)
from osteon.formats.cache import CachedVolume, Stream
from osteon.formats.frames import MM, from_itk, itk_or_none, micrometres
from osteon.formats.raw import RawLayout, RawVolume, RawWriter
from osteon.volume import Geometry, Volume, VolumeWriter

_TYPES = {
    "MET_CHAR": "int8", "MET_UCHAR": "uint8", "MET_SHORT": "int16", "MET_USHORT": "uint16",
    "MET_INT": "int32", "MET_UINT": "uint32", "MET_LONG_LONG": "int64",
    "MET_ULONG_LONG": "uint64", "MET_FLOAT": "float32", "MET_DOUBLE": "float64",
}  # fmt: skip
_MOST_HEADER_LINES = 1000
_RESAVE = "save it again as one uncompressed .mha file (ITK, 3D Slicer, Fiji)"


class _MetaImage:
    def matches(self, path: Path) -> bool:
        start = magic(path, size=4096)
        return b"NDims" in start and b"=" in start and b"\0" not in start[:16]

    def open(self, path: Path) -> Volume:
        with reading(path, what="the MetaImage header"):
            header, start = _read_header(path)
            return _volume(path, header, start=start)

    def create(self, request: WriteRequest) -> VolumeWriter:
        path, labels = request.path, request.meta.labels
        data = path.with_suffix(".raw") if path.suffix.lower() == ".mhd" else None
        classes = None if labels is None else document.encode(document.describe_labels(labels))
        return RawWriter(
            request,
            _header(request, data),
            data_path=data,
            beside={document.labels_beside(path): classes},
        )


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    header: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(_MOST_HEADER_LINES):
            line = file.readline(1 << 16)
            key, mark, value = line.decode("latin-1").partition("=")
            if not mark:
                break
            header[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                return header, file.tell()
    raise ValueError("the header does not end with ElementDataFile")


def _first(header: dict[str, str], *names: str) -> str | None:
    return next((header[name] for name in names if name in header), None)


def _numbers(text: str | None) -> list[float] | None:
    return None if text is None else [float(v) for v in text.split()]


def _true(header: dict[str, str], *names: str) -> bool:
    return (_first(header, *names) or "False").lower() in ("true", "1")


def _volume(path: Path, header: dict[str, str], *, start: int) -> Volume:
    kind = _TYPES.get(header["ElementType"])
    channels = int(header.get("ElementNumberOfChannels", "1"))
    binary = (header.get("BinaryData", "True")).lower() in ("true", "1")
    if kind is None or channels != 1 or not binary:
        raise InputError(
            f"MetaImage of type {header['ElementType']} with {channels} channel(s), "
            f"{'binary' if binary else 'as text'}, is not read",
            where=path,
            mend="export one grey channel in binary form",
        )
    big = _true(header, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    dtype = np.dtype(kind).newbyteorder(">" if big else "<")
    shape = volume_shape(tuple(int(n) for n in header["DimSize"].split())[::-1], path)
    name = header["ElementDataFile"]
    file, offset = (path, start) if name.upper() == "LOCAL" else (path.parent / name, 0)
    if not file.is_file() or name.upper().startswith("LIST"):
        raise InputError(
            f"the header names a data file that is not there: {name}"
            if not name.upper().startswith("LIST") and "%" not in name
            else "MetaImage with a list of data files is not read",
            where=path,
            mend="copy the data file beside the header, or " + _RESAVE,
        )
    meta = _meta(path, header)
    if _true(header, "CompressedData"):
        return CachedVolume.of_stream(
            path, Stream(file, offset, 0, "zlib", dtype, shape), meta=meta
        )
    skip = int(header.get("HeaderSize", "0"))
    layout = RawLayout(file, offset + max(skip, 0), dtype, shape)
    if skip == -1:  # the voxels are at the end of the file
        layout = RawLayout(file, file.stat().st_size - layout.nbytes, dtype, shape)
    return RawVolume(path, layout, meta=meta)


def _meta(path: Path, header: dict[str, str]) -> Meta:
    found = document.load(document.labels_beside(path))
    return Meta(
        _geometry(header),
        Intensity(
            float(header.get("ElementToIntensityFunctionSlope", "1")),
            float(header.get("ElementToIntensityFunctionOffset", "0")),
        ),
        {k: v for k, v in header.items() if k not in ("ElementDataFile", "DimSize")},
        None if found is None else found[0].labels,
    )


def _geometry(header: dict[str, str]) -> Geometry:
    n = len(header["DimSize"].split())
    spacing = _numbers(_first(header, "ElementSpacing", "ElementSize"))
    if spacing is None or n not in (2, 3):
        return Geometry()
    unit = micrometres(header.get("DistanceUnits"))
    origin = _numbers(_first(header, "Offset", "Position", "Origin")) or [0.0] * n
    turn = _numbers(_first(header, "TransformMatrix", "Rotation", "Orientation"))
    # ITK stores the direction of one axis after the other: the columns of its matrix as rows.
    rows = np.eye(n) if turn is None else np.array(turn).reshape(n, n)
    direction: Any = np.eye(3)
    direction[:n, :n] = rows.T
    padding = [0.0] * (3 - n)
    return from_itk(
        [*spacing, *padding],
        origin=[*origin, *padding],
        direction=direction,
        unit=MM if unit is None else unit,
    )


def _header(request: WriteRequest, data: Path | None) -> bytes:
    kinds = {kind: name for name, kind in _TYPES.items()}
    refuse_dtype(request, tuple(kinds), name="MetaImage")
    frame = itk_or_none(request, "MetaImage")
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
    ]
    lines.append("CompressedData = False")
    if frame is not None:
        lines += [
            f"TransformMatrix = {_text(frame.direction.T.ravel())}",
            f"Offset = {_text(frame.origin)}",
            "CenterOfRotation = 0 0 0",
            f"ElementSpacing = {_text(frame.spacing)}",
        ]
    intensity = request.meta.intensity
    if intensity != Intensity():
        lines += [
            f"ElementToIntensityFunctionSlope = {intensity.scale!r}",
            f"ElementToIntensityFunctionOffset = {intensity.offset!r}",
        ]
    lines += [
        f"DimSize = {' '.join(str(n) for n in request.shape[::-1])}",
        f"ElementType = {kinds[request.dtype.name]}",
        f"ElementDataFile = {'LOCAL' if data is None else data.name}",
    ]
    return ("\n".join(lines) + "\n").encode()


def _text(values: Any) -> str:
    return " ".join(repr(float(v)) for v in values)


FORMAT = _MetaImage()
