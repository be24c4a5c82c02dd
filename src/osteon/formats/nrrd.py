"""NRRD (.nrrd, .nhdr), the format of 3D Slicer: raw ones are mapped, compressed ones cached."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from nrrd import read_header

from osteon.errors import InputError, OsteonError
from osteon.formats.base import Meta, WriteRequest, magic, reading, refuse_dtype, volume_shape
from osteon.formats.cache import CachedVolume, Stream
from osteon.formats.frames import MM, from_columns, from_itk, itk_or_none, micrometres
from osteon.formats.raw import RawLayout, RawVolume, RawWriter
from osteon.labels import LabelScheme
from osteon.volume import Geometry, Volume, VolumeWriter

_LABELS_KEY = "osteon_labels"
_UNITS_LINE = re.compile(rb"^(?:space )?units: *([^\r\n]+)", re.MULTILINE)
_QUOTED = re.compile(r'"([^"]*)"')
_TYPES = {
    "int8": "i1 signedchar int8 int8_t",
    "uint8": "u1 uchar unsignedchar uint8 uint8_t",
    "int16": "short shortint signedshort signedshortint int16 int16_t",
    "uint16": "ushort unsignedshort unsignedshortint uint16 uint16_t",
    "int32": "int signedint int32 int32_t",
    "uint32": "uint unsignedint uint32 uint32_t",
    "int64": "longlong longlongint signedlonglong signedlonglongint int64 int64_t",
    "uint64": "ulonglong unsignedlonglong unsignedlonglongint uint64 uint64_t",
    "float32": "float",
    "float64": "double",
}
_BY_NAME = {name: kind for kind, names in _TYPES.items() for name in names.split()}
_CODECS = {"gzip": "zlib", "gz": "zlib", "bzip2": "bzip2", "bz2": "bzip2"}
#: Signs that turn a named space into LPS, (x, y, z).
_TO_LPS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip


class _Nrrd:
    def matches(self, path: Path) -> bool:
        return magic(path).startswith(b"NRRD000")

    def open(self, path: Path) -> Volume:
        try:
            with path.open("rb") as file:
                header: dict[str, Any] = dict(read_header(file))
                start = file.tell()
                file.seek(0)
                units = _units(file.read(start))
        except Exception as error:  # pynrrd raises NRRDError, a plain Exception
            raise InputError(
                f"the NRRD header cannot be read ({error})",
                where=path,
                mend="copy or export it again",
            ) from error
        with reading(path, what="the NRRD header"):
            header["space units"] = units
            return _volume(path, header, start=start)

    def create(self, request: WriteRequest) -> VolumeWriter:
        refuse_dtype(request, tuple(_TYPES), name="NRRD")
        detached = request.path.suffix.lower() == ".nhdr"
        data = request.path.with_suffix(".raw") if detached else None
        return RawWriter(request, _header(request, data), data_path=data)


def _volume(path: Path, header: dict[str, Any], *, start: int) -> Volume:
    kind = _BY_NAME.get(str(header["type"]).replace(" ", "").lower())
    if kind is None:
        raise InputError(f"NRRD voxels of type '{header['type']}' are not read", where=path)
    big = str(header.get("endian", "little")).lower() == "big"
    dtype = np.dtype(kind).newbyteorder(">" if big else "<")
    shape = volume_shape(tuple(int(n) for n in header["sizes"])[::-1], path)
    meta = _meta(path, header)
    file, start = _data_file(path, header, start=start)
    encoding = str(header.get("encoding", "raw")).lower()
    skip = int(header.get("byte skip", 0))
    if int(header.get("line skip", 0)):
        raise InputError("NRRD files with a line skip are not read", where=path, mend=_RESAVE)
    if encoding == "raw":
        layout = RawLayout(file, start + max(skip, 0), dtype, shape)
        if skip == -1:  # the voxels are at the end of the file
            layout = RawLayout(file, file.stat().st_size - layout.nbytes, dtype, shape)
        return RawVolume(path, layout, meta=meta)
    if encoding in _CODECS:
        stream = Stream(file, start, max(skip, 0), _CODECS[encoding], dtype, shape)
        return CachedVolume.of_stream(path, stream, meta=meta)
    raise InputError(f"NRRD encoding '{encoding}' is not read", where=path, mend=_RESAVE)


_RESAVE = "save it again with 3D Slicer as one .nrrd file"


def _data_file(path: Path, header: dict[str, Any], *, start: int) -> tuple[Path, int]:
    name = header.get("data file", header.get("datafile"))
    if name is None:
        return path, start
    text = str(name)
    if text.startswith("LIST") or "%" in text or isinstance(name, list):
        raise InputError("NRRD with several data files is not read", where=path, mend=_RESAVE)
    file = path.parent / text
    if not file.is_file():
        raise InputError(
            f"the header names a data file that is not there: {text}",
            where=path,
            mend="copy the data file beside the header",
        )
    return file, 0


def _meta(path: Path, header: dict[str, Any]) -> Meta:
    known = {
        key: str(value)
        for key, value in header.items()
        if key not in ("sizes", "space directions", _LABELS_KEY)
    }
    return Meta(_geometry(header), provenance=known, labels=_labels(path, header))


def _units(header: bytes) -> list[str]:
    """Return the units as written: pynrrd drops what is not ASCII, and makes "m" of "µm"."""
    found = _UNITS_LINE.search(header)
    if found is None:
        return []
    try:
        text = found.group(1).decode("utf-8")
    except UnicodeDecodeError:
        text = found.group(1).decode("latin-1")
    return _QUOTED.findall(text) or text.split()


def _unit(header: dict[str, Any]) -> float:
    """Return µm per unit; NRRD files of this field are in mm unless they say otherwise."""
    sizes = [micrometres(unit) for unit in header["space units"]]
    known = [size for size in sizes if size is not None]
    return known[-1] if known else MM


def _geometry(header: dict[str, Any]) -> Geometry:
    unit = _unit(header)
    signs = np.array(_TO_LPS.get(str(header.get("space", "")).lower(), (1, 1, 1)), dtype=float)
    origin = np.nan_to_num(np.asarray(header.get("space origin", (0, 0, 0)), dtype=float))
    directions = header.get("space directions")
    if directions is not None:
        rows = np.array(
            [np.full(3, np.nan) if r is None else np.asarray(r, dtype=float) for r in directions]
        )
        rows = rows[np.all(np.isfinite(rows), axis=1)]
        if rows.shape == (3, 3) and origin.shape == (3,):
            return from_columns(signs[:, np.newaxis] * rows.T, origin=signs * origin, unit=unit)
        return Geometry()
    spacings = header.get("spacings")
    if spacings is None:
        return Geometry()
    last = np.asarray(spacings, dtype=float)[-3:]
    padded = np.concatenate([last, np.full(3 - len(last), np.nan)])
    return from_itk(padded, unit=unit)


def _labels(path: Path, header: dict[str, Any]) -> LabelScheme | None:
    text = header.get(_LABELS_KEY)
    if text is None:
        return None
    try:
        return LabelScheme.from_dict(json.loads(str(text)))
    except (ValueError, AttributeError, OsteonError) as error:
        raise InputError(
            f"the class names in the header are damaged ({error})",
            where=path,
            mend=f"remove the line '{_LABELS_KEY}' from the header",
        ) from error


def _header(request: WriteRequest, data: Path | None) -> bytes:
    lines = [
        "NRRD0005",
        "# made by osteon",
        f"type: {_nrrd_type(request.dtype)}",
        "dimension: 3",
        "sizes: " + " ".join(str(n) for n in request.shape[::-1]),
        "endian: little",
        "encoding: raw",
    ]
    frame = itk_or_none(request, "NRRD")
    if frame is None:
        lines.append("kinds: domain domain domain")
    else:
        rows = [f"({','.join(repr(float(v)) for v in row)})" for row in frame.columns.T]
        lines[4:4] = ["space: left-posterior-superior"]
        lines += [
            "kinds: domain domain domain",
            f"space directions: {' '.join(rows)}",
            'space units: "mm" "mm" "mm"',
            f"space origin: ({','.join(repr(float(v)) for v in frame.origin)})",
        ]
    if data is not None:
        lines.append(f"data file: {data.name}")
    return ("\n".join(lines + _segments(request.meta.labels)) + "\n\n").encode()


def _segments(labels: LabelScheme | None) -> list[str]:
    """Return the classes as 3D Slicer names segments; the background is none."""
    if labels is None:
        return []
    lines = [f"{_LABELS_KEY}:={json.dumps(labels.as_dict())}"]
    for index, label in enumerate(c for c in labels.classes if c.value > 0):
        colour = " ".join(f"{v / 255:.6g}" for v in label.colour)
        lines += [
            f"Segment{index}_ID:=Segment_{label.value}",
            f"Segment{index}_Name:={label.name}",
            f"Segment{index}_Color:={colour}",
            f"Segment{index}_LabelValue:={label.value}",
            f"Segment{index}_Layer:=0",
        ]
    return lines


def _nrrd_type(dtype: np.dtype[Any]) -> str:
    names = {"float32": "float", "float64": "double"}
    return names.get(dtype.name, dtype.name)


FORMAT = _Nrrd()
