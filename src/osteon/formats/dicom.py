"""A DICOM series: a folder of single-frame files, in order of their position in space."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from osteon.errors import InputError, UsageError, warn
from osteon.files import writing
from osteon.formats import document
from osteon.formats.base import (
    Intensity,
    Meta,
    WriteRequest,
    magic,
    readable_dtype,
    reading,
    refuse_dtype,
)
from osteon.formats.frames import from_itk, itk_or_none
from osteon.formats.targets import PartWriter
from osteon.volume import Access, Array, Geometry, Volume, VolumeWriter

_ERRORS = (InvalidDicomError, BytesLengthException)
_PREAMBLE = 128
_SUFFIXES = (".dcm", ".ima")
_DTYPES = ("uint8", "int16", "uint16")
#: Technical tags that are kept as provenance; nothing of the patient is.
_KEPT = (
    "Modality", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "SeriesDescription",
    "KVP", "XRayTubeCurrent", "ExposureTime", "FilterType", "ConvolutionKernel", "RescaleType",
)  # fmt: skip
_UNEVEN = 0.01  # spacing may vary by this part before a warning
_SAME = 1e-4  # direction cosines of one series agree to this


class _Dicom:
    def matches(self, path: Path) -> bool:
        if path.is_dir():
            return bool(_files(path))
        return magic(path, offset=_PREAMBLE, size=4) == b"DICM"

    def open(self, path: Path) -> Volume:
        files = [path] if path.is_file() else _files(path)
        if not files:
            raise InputError("the folder holds no DICOM files", where=path, mend="check the path")
        return _open(path, [_slice(file) for file in files])

    def create(self, request: WriteRequest) -> VolumeWriter:
        refuse_dtype(request, _DTYPES, name="DICOM")
        return DicomWriter(request)


def _files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        paths = [
            Path(e.path)
            for e in entries
            if e.is_file() and not e.name.startswith((".", "DICOMDIR"))
        ]
    found = [p for p in paths if magic(p, offset=_PREAMBLE, size=4) == b"DICM"]
    # A file that is called DICOM and is not one is damaged; without it the scan has a hole.
    named = [p for p in paths if p.suffix.lower() in _SUFFIXES] if found else []
    return sorted({*found, *named})


@dataclass(frozen=True)
class _Slice:
    """The header of one file."""

    file: Path
    series: str
    name: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    number: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    between: float | None
    intensity: Intensity
    said: dict[str, str]
    inverted: bool


def _slice(file: Path) -> _Slice:
    with reading(file, what="the DICOM header", also=_ERRORS):
        data = pydicom.dcmread(file, stop_before_pixels=True)
        if int(data.get("NumberOfFrames", 1) or 1) > 1 or int(data.get("SamplesPerPixel", 1)) > 1:
            raise InputError(
                "DICOM with several frames or colours in one file is not read",
                where=file,
                mend="export it as a series of grey single-frame files, or as NRRD",
            )
        bits, signed = int(data.BitsAllocated), int(data.get("PixelRepresentation", 0))
        return _Slice(
            file,
            str(data.get("SeriesInstanceUID", "")),
            str(data.get("SeriesDescription", "") or data.get("Modality", "")),
            (int(data.Rows), int(data.Columns)),
            readable_dtype(np.dtype(f"{'i' if signed else 'u'}{bits // 8}"), file),
            int(data.get("InstanceNumber", 0) or 0),
            _floats(data, "ImagePositionPatient", count=3),
            _floats(data, "ImageOrientationPatient", count=6),
            _floats(data, "PixelSpacing", count=2) or _floats(data, "ImagerPixelSpacing", count=2),
            (_floats(data, "SpacingBetweenSlices", count=1) or (None,))[0],
            Intensity(
                float(data.get("RescaleSlope", 1) or 1),
                float(data.get("RescaleIntercept", 0) or 0),
                _unit(data),
            ),
            {k: str(data.get(k)) for k in _KEPT if data.get(k) not in (None, "")},
            str(data.get("PhotometricInterpretation", "")) == "MONOCHROME1",
        )


def _floats(data: Any, tag: str, *, count: int) -> tuple[float, ...] | None:
    value = data.get(tag)
    if value is None or value == "":
        return None
    numbers = tuple(float(v) for v in (value if count > 1 else [value]))
    return numbers if len(numbers) == count else None


def _unit(data: Any) -> str | None:
    unit = str(data.get("RescaleType", "") or "")
    return None if unit in ("", "US") else unit


def _open(path: Path, slices: list[_Slice]) -> Volume:
    _check_one_series(path, slices)
    _check_alike(path, slices)
    ordered, columns = _order(path, slices)
    first = ordered[0]
    if first.inverted:
        warn("white-is-zero", "0 is white in these files; stored values are kept", where=path)
    meta = Meta(_geometry(first, columns), first.intensity, first.said)
    found = document.load(path / document.FOLDER_DOCUMENT) if path.is_dir() else None
    if found is not None:
        meta = Meta(meta.geometry, meta.intensity, {**found[0].provenance, **meta.provenance},
                    found[0].labels)  # fmt: skip
    return DicomSeries(path, ordered, meta=meta)


def _check_one_series(path: Path, slices: list[_Slice]) -> None:
    series: dict[str, list[_Slice]] = {}
    for s in slices:
        series.setdefault(s.series, []).append(s)
    if len(series) > 1:
        found = "; ".join(
            f"'{group[0].name}' ({len(group)} files, from {group[0].file.name})"
            for group in series.values()
        )
        raise InputError(
            f"the folder holds {len(series)} DICOM series: {found}",
            where=path,
            mend="put each series into a folder of its own",
        )


def _check_alike(path: Path, slices: list[_Slice]) -> None:
    first = slices[0]
    for s in slices:
        same_turn = (s.orientation is None) == (first.orientation is None) and np.allclose(
            s.orientation or 0, first.orientation or 0, atol=_SAME
        )
        if s.shape != first.shape or s.dtype != first.dtype or not same_turn:
            raise InputError(
                f"slices of different size, type or orientation: {first.file.name} is "
                f"{first.shape} {first.dtype}, {s.file.name} is {s.shape} {s.dtype}",
                where=path,
                mend="move what does not belong to the scan out of the folder",
            )
        if s.intensity != first.intensity:
            raise InputError(
                f"the intensity scale differs between {first.file.name} and {s.file.name}",
                where=path,
                mend="export the series with one rescale slope and intercept",
            )


Columns = npt.NDArray[np.float64]


def _order(path: Path, slices: list[_Slice]) -> tuple[list[_Slice], Columns | None]:
    """Sort by position along the normal; return the step to the next slice, mm, if known."""
    first = slices[0]
    positions = [s.position for s in slices if s.position is not None]
    if first.orientation is None or len(positions) < len(slices):
        return sorted(slices, key=lambda s: (s.number, s.file.name)), None
    turn = np.array(first.orientation)
    normal = np.cross(turn[:3], turn[3:])
    places = np.array(positions) @ normal
    order = np.argsort(places, kind="stable")
    ordered = [slices[i] for i in order]
    if len(slices) == 1:
        return ordered, None if first.between is None else normal * abs(first.between)
    steps = np.diff(places[order])
    if np.any(steps <= 0):
        i = int(np.argmin(steps))
        raise InputError(
            f"two slices lie at the same place: {ordered[i].file.name}, {ordered[i + 1].file.name}",
            where=path,
            mend="remove copies; put each time point into a folder of its own",
        )
    if steps.max() - steps.min() > _UNEVEN * steps.mean():
        warn(
            "uneven-slices",
            f"the slices are {steps.min():.6g} to {steps.max():.6g} mm apart; the mean is used",
            where=path,
        )
    ends = np.array([ordered[0].position, ordered[-1].position])
    return ordered, np.asarray((ends[1] - ends[0]) / (len(slices) - 1), dtype=np.float64)


def _geometry(first: _Slice, step: Columns | None) -> Geometry:
    if first.spacing is None:
        return Geometry()
    rows, columns = first.spacing  # DICOM: distance between rows (y), between columns (x)
    depth = 0.0 if step is None else float(np.linalg.norm(step))
    if step is None and first.between is not None:
        depth = abs(first.between)
    if first.orientation is None or first.position is None:
        return from_itk((columns, rows, depth))
    turn = np.array(first.orientation)
    across = np.cross(turn[:3], turn[3:]) if step is None else step / depth
    direction = np.stack([turn[:3], turn[3:], across], axis=1)
    return from_itk((columns, rows, depth), origin=first.position, direction=direction)


class DicomSeries(Volume):
    """A series; a read decodes one whole slice at a time.

    Args:
        path: The folder (or a single file).
        slices: The files in order.
        meta: What the headers say.
    """

    def __init__(self, path: Path, slices: Sequence[_Slice], *, meta: Meta):
        self.path = path
        self.shape = (len(slices), *slices[0].shape)
        self.dtype = slices[0].dtype
        self.access = Access.SLICE
        self.chunks = (1, *slices[0].shape)
        self._files = tuple(os.fspath(s.file) for s in slices)
        meta.apply(self)

    @property
    def files(self) -> tuple[Path, ...]:
        """The slices in order."""
        return tuple(Path(f) for f in self._files)

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read a block; see :meth:`osteon.volume.Volume.read`."""
        z, y, x = self.bounds(z, y, x)
        out = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), self.dtype)
        for index in range(z.start, z.stop):
            file = Path(self._files[index])
            with reading(file, what="the DICOM file", also=_ERRORS):
                plane = pydicom.dcmread(file).pixel_array
                if plane.shape != self.shape[1:] or plane.dtype.itemsize != self.dtype.itemsize:
                    raise ValueError(f"it holds {plane.shape} {plane.dtype}")
                out[index - z.start] = plane[y, x]
        return out


class DicomWriter(PartWriter):
    """Writes a folder of CT images, one file a slice, and ``osteon-volume.json`` beside them.

    Args:
        request: What is to be written.
    """

    def __init__(self, request: WriteRequest):
        direction = np.array(request.meta.geometry.direction)
        if np.linalg.det(direction) <= 0:
            raise UsageError(
                "DICOM sorts slices along the normal of their plane, and these axes are "
                "left-handed: the slices would come back in reverse order",
                where=request.path,
                mend="write NRRD, MetaImage or NIfTI",
            )
        super().__init__(request, folder=True)
        self._frame = itk_or_none(request, "DICOM")
        self._study, self._series, self._space = (str(generate_uid()) for _ in range(3))
        self._folder = self.part(request.path)
        self._digits = max(4, len(str(request.shape[0])))
        with writing(self.path):
            self._folder.mkdir()

    def _write(self, z0: int, block: Array) -> None:
        for index, plane in enumerate(block, start=z0):
            name = f"{index:0{self._digits}d}.dcm"
            with (self._folder / name).open("wb") as file:
                self._dataset(index, plane).save_as(file, enforce_file_format=True)

    def _dataset(self, index: int, plane: Array) -> FileDataset:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * _PREAMBLE)
        data.SOPClassUID = meta.MediaStorageSOPClassUID
        data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID = self._study, self._series
        data.FrameOfReferenceUID = self._space
        data.Modality = "CT"
        data.Manufacturer = "osteon"
        data.PatientName = data.PatientID = data.StudyID = ""
        data.PatientBirthDate = data.PatientSex = data.StudyDate = data.StudyTime = ""
        data.AccessionNumber = data.ReferringPhysicianName = ""
        data.ImageType = ["DERIVED", "SECONDARY"]
        data.SeriesNumber, data.InstanceNumber = 1, index + 1
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = plane.dtype.itemsize * 8
        data.HighBit = data.BitsStored - 1
        data.PixelRepresentation = 1 if plane.dtype.kind == "i" else 0
        intensity = self.request.meta.intensity
        data.RescaleSlope, data.RescaleIntercept = _ds([intensity.scale, intensity.offset])
        if intensity.unit:
            data.RescaleType = intensity.unit[:16]
        if self._frame is not None:
            self._place(data, index)
        data.PixelData = plane.astype(plane.dtype.newbyteorder("<"), copy=False).tobytes()
        return data

    def _place(self, data: FileDataset, index: int) -> None:
        frame = self._frame
        if frame is None:
            return
        data.ImagePositionPatient = _ds(frame.origin + index * frame.columns[:, 2])
        data.ImageOrientationPatient = _ds(frame.direction[:, :2].T.ravel())
        data.PixelSpacing = _ds([frame.spacing[1], frame.spacing[0]])
        data.SliceThickness = data.SpacingBetweenSlices = _ds([frame.spacing[2]])[0]

    def _finish(self) -> None:
        text = document.encode(document.describe(self.request))
        (self._folder / document.FOLDER_DOCUMENT).write_bytes(text)


def _ds(values: Any) -> list[str]:
    """Write numbers in the 16 characters that DICOM allows."""
    return [format_number_as_ds(float(v)) for v in values]


FORMAT = _Dicom()
