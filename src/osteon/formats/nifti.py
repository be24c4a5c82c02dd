"""NIfTI (.nii lazily, .nii.gz through the cache); versions 1 and 2."""

from __future__ import annotations

import contextlib
import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

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
from osteon.formats.frames import MM, from_columns, itk_or_none, size_or_none
from osteon.formats.raw import RawLayout, RawVolume, RawWriter
from osteon.volume import UNKNOWN_SIZE, Geometry, Volume, VolumeWriter

_ERRORS = (
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
    nibabel.spatialimages.HeaderTypeError,
    nibabel.wrapstruct.WrapStructError,
)
_GZIP = b"\x1f\x8b"
_MAGIC_AT = {348: 344, 540: 4}  # header size → where "n+1" or "n+2" is
_MOST = 32767  # voxels along an axis in NIfTI-1
_DTYPES = (
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64",
)  # fmt: skip
_UNIT = {"meter": 1e6, "mm": MM, "micron": 1.0}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_CLOSE = 1e-4  # relative difference of two spellings of one voxel size (float32)


class _Nifti:
    def matches(self, path: Path) -> bool:
        start = magic(path, size=540)
        if start.startswith(_GZIP):
            with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path) as file:
                start = file.read(540)
        size = {int.from_bytes(start[:4], order) for order in ("little", "big")}
        return any(known in size and start[at : at + 2] == b"n+" for known, at in _MAGIC_AT.items())

    def open(self, path: Path) -> Volume:
        with reading(path, what="the NIfTI header", also=_ERRORS):
            image: Any = nibabel.load(path)
            header, proxy = image.header, image.dataobj
            dtype = header.get_data_dtype()
            shape: tuple[int, ...] = tuple(int(n) for n in header.get_data_shape())
            while len(shape) > 3 and shape[-1] == 1:
                shape = shape[:-1]
            shape = volume_shape(shape[::-1], path)
            slope, inter = float(proxy.slope), float(proxy.inter)
            meta = Meta(
                _geometry(header),
                Intensity(slope, inter) if math.isfinite(slope) and slope != 0 else Intensity(),
                _provenance(header),
                _labels(path),
            )
            if magic(path).startswith(_GZIP):
                stream = Stream(path, 0, int(proxy.offset), "zlib", dtype, shape)
                return CachedVolume.of_stream(path, stream, meta=meta)
            return RawVolume(path, RawLayout(path, int(proxy.offset), dtype, shape), meta=meta)

    def create(self, request: WriteRequest) -> VolumeWriter:
        refuse_dtype(request, _DTYPES, name="NIfTI")
        labels = request.meta.labels
        classes = None if labels is None else document.encode(document.describe_labels(labels))
        return RawWriter(
            request,
            _header(request),
            gzipped=request.path.name.lower().endswith(".gz"),
            beside={document.labels_beside(request.path): classes},
        )


def _labels(path: Path) -> Any:
    found = document.load(document.labels_beside(path))
    return None if found is None else found[0].labels


def _geometry(header: Any) -> Geometry:
    code = header.get_xyzt_units()[0]
    zooms = [float(str(v)) for v in header.get_zooms()[:3]]  # the shortest decimal of a float32
    zooms += [1.0] * (3 - len(zooms))
    unit = _UNIT.get(code, MM)
    if code not in _UNIT and zooms == [1.0, 1.0, 1.0]:
        return Geometry(UNKNOWN_SIZE)  # no unit and no size: the header was never filled in
    placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    affine = np.asarray(header.get_best_affine(), dtype=np.float64) if placed else np.eye(4)
    columns = affine[:3, :3] if placed else np.diag(zooms)
    turn = _RAS_TO_LPS if placed else np.eye(3)
    geometry = from_columns(turn @ columns, origin=turn @ affine[:3, 3], unit=unit)
    if geometry.known:
        # The affine is made of rounded float32: where the plain voxel size agrees, it is exact.
        sizes = [
            float(f"{zoom * unit:.9g}") if abs(zoom * unit / size - 1) < _CLOSE else size
            for zoom, size in zip(zooms[::-1], geometry.voxel_size, strict=True)
            if size is not None
        ]
        z, y, x = (size_or_none(s) for s in sizes)
        geometry = Geometry((z, y, x), geometry.origin, geometry.direction)
    return geometry


def _provenance(header: Any) -> dict[str, str]:
    texts = {}
    for name in ("descrip", "aux_file", "intent_name"):
        text = bytes(header[name]).split(b"\0")[0].decode("latin-1").strip()
        if text:
            texts[name] = text
    return texts


def _header(request: WriteRequest) -> bytes:
    large = max(request.shape) > _MOST
    kind: Any = nibabel.Nifti2Header if large else nibabel.Nifti1Header
    header = kind(endianness="<")
    header.set_data_dtype(request.dtype)
    header.set_data_shape(request.shape[::-1])
    frame = itk_or_none(request, "NIfTI")
    if frame is not None:
        affine = np.eye(4)
        affine[:3, :3] = _RAS_TO_LPS @ frame.columns
        affine[:3, 3] = _RAS_TO_LPS @ frame.origin
        header.set_qform(affine, code="scanner")
        header.set_sform(affine, code="scanner")
        header.set_xyzt_units("mm")
    intensity = request.meta.intensity
    header.set_slope_inter(intensity.scale, intensity.offset)
    header["descrip"] = b"osteon"
    if request.meta.labels is not None:
        header.set_intent("label")
    block: bytes = header.binaryblock
    header["vox_offset"] = 16 * math.ceil((len(block) + 4) / 16)
    block = header.binaryblock
    start = int(header["vox_offset"])
    return block + bytes(start - len(block))


FORMAT = _Nifti()
