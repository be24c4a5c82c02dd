"""A folder of TIFF, BMP, PNG or JPEG slices, with or without a SkyScan log."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from natsort import natsorted

from osteon.errors import InputError, UsageError, warn
from osteon.files import writing
from osteon.formats import document
from osteon.formats.base import Meta, Shape, WriteRequest, refuse_dtype
from osteon.formats.images import FAMILIES, ImageHeader, decode, encode, family_of, read_header
from osteon.formats.raw import RawLayout, read_raw
from osteon.formats.skyscan import SkyScanLog, find_log
from osteon.formats.targets import PartWriter
from osteon.formats.tiff_meta import resolution
from osteon.volume import Access, Array, Geometry, Volume, VolumeWriter

#: Suffixes of slices that are written, and the types each can hold.
WRITABLE = {
    ".tif": ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"),
    ".png": ("uint8", "uint16"),
    ".bmp": ("uint8",),
}
_LOSSY = (".jpg", ".jpeg", ".jpe")
_PREVIEW = "_spr"  # SkyScan's preview beside the slices ends so
_DIGITS = re.compile(r"\d+")
_NAMED_FILES = 5  # how many files a message names
_LEAST_DIGITS = 4
_HEADER_THREADS = 4  # opening a folder on a network drive waits mostly


class _Slices:
    def matches(self, path: Path) -> bool:
        if path.is_file():
            return family_of(path) in ("BMP", "PNG", "JPEG")
        return path.is_dir() and bool(image_files(path))

    def open(self, path: Path) -> Volume:
        return _open_single(path) if path.is_file() else _open_folder(path)

    def create(self, request: WriteRequest) -> VolumeWriter:
        return SliceWriter(request)


def image_files(folder: Path) -> list[Path]:
    """Return the slices of a folder: previews, hidden files and everything else left out.

    Args:
        folder: The folder.

    Returns:
        Files with the suffix of an image, unsorted.
    """
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and e.is_file()]
    return [
        folder / name
        for name in names
        if os.path.splitext(name)[1].lower() in FAMILIES
        and not os.path.splitext(name)[0].lower().endswith(_PREVIEW)
    ]


def number_slices(paths: Sequence[Path], folder: Path) -> tuple[int, ...] | None:
    """Find the slice number in every file name: the last run of digits that differs.

    Args:
        paths: The slices.
        folder: Their folder, for messages.

    Returns:
        A number for each; None if no file has one.

    Raises:
        InputError: If only some have one, or two have the same.
    """
    runs = [[int(d) for d in _DIGITS.findall(p.stem)] for p in paths]
    if not any(runs):
        return None
    bare = [p.name for p, r in zip(paths, runs, strict=True) if not r]
    if bare:
        raise InputError(
            f"among numbered slices are images without a number: {_some(bare)}",
            where=folder,
            mend="move them out of the folder",
        )
    # From the end: a prefix may hold numbers of its own ("scan2_0001"), as may a suffix.
    width = min(len(r) for r in runs)
    varying = [k for k in range(1, width + 1) if len({r[-k] for r in runs}) > 1]
    place = varying[0] if varying else 1
    numbers = tuple(r[-place] for r in runs)
    twice = [n for n, count in Counter(numbers).items() if count > 1]
    if twice:
        same = [p.name for p, n in zip(paths, numbers, strict=True) if n == twice[0]]
        raise InputError(
            f"several slices have the same number: {_some(same)}",
            where=folder,
            mend="put each scan into a folder of its own, and remove copies",
        )
    return numbers


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_FILES
    return ", ".join(names[:_NAMED_FILES]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class _Plain:
    """Where the numbers of uncompressed slices begin, so that parts of them can be read."""

    offsets: tuple[int, ...]
    dtypes: tuple[np.dtype[Any], ...]


class SliceFolder(Volume):
    """A folder of slices; a read of compressed ones holds one decoded slice beside its result.

    The files are listed and their headers read when it is opened, and never again.

    Args:
        path: The folder.
        files: The slices in order.
        headers: The header of each.
        meta: Geometry and provenance.
        numbers: The number in each file name.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[Path],
        headers: Sequence[ImageHeader],
        *,
        meta: Meta,
        numbers: tuple[int, ...] | None,
    ):
        first = headers[0]
        self.path = path
        self.shape = (len(files), *first.shape)
        self.dtype = first.dtype
        self.chunks = (1, *first.shape)
        self.slice_numbers = numbers
        self._files = tuple(os.fspath(f) for f in files)
        self._plain = None
        if all(h.offset is not None for h in headers):
            self._plain = _Plain(
                tuple(h.offset for h in headers if h.offset is not None),
                tuple(h.disk_dtype for h in headers if h.disk_dtype is not None),
            )
        self.access = Access.SLICE if self._plain is None else Access.RANDOM
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
            out[index - z.start] = self._slice(index, y, x)
        return out

    def _slice(self, index: int, y: slice, x: slice) -> Array:
        file = Path(self._files[index])
        if self._plain is not None:
            shape: Shape = (1, *self.shape[1:])
            layout = RawLayout(file, self._plain.offsets[index], self._plain.dtypes[index], shape)
            return np.asarray(read_raw(layout, slice(0, 1), y, x)[0])
        plane = decode(file, where=self.path)
        if plane.shape != self.shape[1:] or plane.dtype != self.dtype:
            raise InputError(
                f"the slice is {plane.shape} {plane.dtype}, but was {self.shape[1:]} {self.dtype} "
                "when the folder was opened",
                where=file,
                mend="do not change the folder while it is read",
            )
        return np.asarray(plane[y, x])


def _open_single(path: Path) -> Volume:
    return SliceFolder(path, [path], [_true_header(path, where=path)], meta=Meta(), numbers=None)


def _true_header(path: Path, *, where: Path) -> ImageHeader:
    """Read a header; where it leaves the type open (palettes), the pixels decide."""
    header = read_header(path)
    if header.offset is not None:
        return header
    return replace(header, dtype=decode(path, where=where).dtype)


def _open_folder(folder: Path) -> Volume:
    files = image_files(folder)
    if not files:
        raise _no_slices(folder)
    _check_families(folder, files)
    files = natsorted(files, key=lambda p: p.name)
    numbers = number_slices(files, folder)
    if numbers is not None:
        order = sorted(range(len(files)), key=numbers.__getitem__)
        files, numbers = [files[i] for i in order], tuple(numbers[i] for i in order)
    with ThreadPoolExecutor(_HEADER_THREADS) as pool:
        headers = list(pool.map(read_header, files))
    _check_alike(folder, files, headers)
    # The first slice is decoded: only the pixels tell whether colours are greys.
    dtype = _true_header(files[0], where=folder).dtype
    headers = [replace(h, dtype=dtype) for h in headers]
    meta, step = _meta(folder, files, headers[0])
    if numbers is not None:
        _check_gaps(folder, numbers, step)
    return SliceFolder(folder, files, headers, meta=meta, numbers=numbers)


def _no_slices(folder: Path) -> InputError:
    try:
        inside = sorted(p for p in folder.iterdir() if p.is_dir())
        holding = [p.name for p in inside if image_files(p)]
    except OSError:
        holding = []
    return InputError(
        "the folder holds no slices (TIFF, BMP, PNG or JPEG)",
        where=folder,
        mend=f"give one of the folders in it: {_some(holding)}" if holding else "check the path",
    )


def _check_families(folder: Path, files: Sequence[Path]) -> None:
    by_family: dict[str, list[str]] = {}
    for file in files:
        by_family.setdefault(FAMILIES[file.suffix.lower()], []).append(file.name)
    if len(by_family) > 1:
        kinds = sorted(by_family.items(), key=lambda item: -len(item[1]))
        few = "; ".join(f"{name}: {_some(sorted(names))}" for name, names in kinds[1:])
        raise InputError(
            f"slices of several formats: {len(kinds[0][1])} {kinds[0][0]}, and {few}",
            where=folder,
            mend="move what does not belong to the scan out of the folder",
        )


def _check_alike(folder: Path, files: Sequence[Path], headers: Sequence[ImageHeader]) -> None:
    kinds = Counter(h.kind for h in headers)
    if len(kinds) == 1:
        return
    usual = kinds.most_common(1)[0][0]
    others = [
        f"{f.name} ({h.kind})" for f, h in zip(files, headers, strict=True) if h.kind != usual
    ]
    raise InputError(
        f"slices of different size or type: most are {usual}, but not {_some(others)}",
        where=folder,
        mend="move what does not belong to the scan out of the folder, or export it again",
    )


def _check_gaps(folder: Path, numbers: tuple[int, ...], step: int) -> None:
    gaps = [(a, b) for a, b in pairwise(numbers) if b - a not in (1, step)]
    if gaps:
        a, b = gaps[0]
        warn(
            "gap-in-numbering",
            f"the numbering of the slices has {len(gaps)} gap(s), the first between {a} and {b}; "
            "slices are taken as they are, and neighbours may not touch in space",
            where=folder,
        )


def _meta(folder: Path, files: Sequence[Path], header: ImageHeader) -> tuple[Meta, int]:
    """Return what the document, the log and the slices say, and the log's slice step."""
    found = document.load(folder / document.FOLDER_DOCUMENT)
    if found is not None:
        meta, stated = found
        shape = [len(files), *header.shape]
        if stated.get("shape", shape) != shape:
            warn(
                "document-mismatch",
                f"{document.FOLDER_DOCUMENT} describes {stated['shape']} voxels, there are "
                f"{shape}; its voxel size and origin are used",
                where=folder,
            )
        return meta, 1
    logs = [p for p in folder.iterdir() if p.suffix.lower() == ".log" and p.is_file()]
    log = find_log(folder, logs, stem=files[0].stem)
    if log is None:
        return Meta(Geometry((None, *header.pixel_size))), 1
    return _meta_of_log(log, header), log.step


def _meta_of_log(log: SkyScanLog, header: ImageHeader) -> Meta:
    if log.width is not None and log.width != header.shape[1]:
        warn(
            "skyscan-log-size-mismatch",
            f"the log describes slices {log.width} pixels wide, they are {header.shape[1]}; the "
            "voxel size of the log is used, which is right for cropped slices, not for scaled ones",
            where=log.path,
        )
    size = log.pixel_size
    geometry = Geometry((size * log.step, size, size) if size is not None else (None, None, None))
    return Meta(geometry, provenance={"log": log.path.name, **log.entries})


class SliceWriter(PartWriter):
    """Writes a folder of TIFF, PNG or BMP slices, and ``osteon-volume.json`` beside them.

    Slices are numbered as those of the scan they are like, or from 0. TIFF slices of labels
    are deflated; those of scans are not, so that parts of them can be read.

    Args:
        request: What is to be written.
    """

    def __init__(self, request: WriteRequest):
        suffix = request.slice_suffix.lower()
        suffix = ".tif" if suffix == ".tiff" else suffix
        if suffix in _LOSSY:
            raise UsageError(
                "slices are not written as JPEG: it changes the values",
                where=request.path,
                mend="use .tif, .png or .bmp",
            )
        if suffix not in WRITABLE:
            raise UsageError(
                f"slices are not written as '{suffix}'",
                where=request.path,
                mend=f"use one of: {', '.join(WRITABLE)}",
            )
        refuse_dtype(request, WRITABLE[suffix], name=f"a {suffix} slice")
        super().__init__(request, any_order=True, folder=True)
        self._suffix = suffix
        numbers = request.slice_numbers or tuple(range(request.shape[0]))
        digits = max(_LEAST_DIGITS, len(str(max(numbers))))
        self._names = [f"{n:0{digits}d}{suffix}" for n in numbers]
        self._folder = self.part(request.path)
        self._options = resolution(request)
        with writing(self.path):
            self._folder.mkdir()

    def _write(self, z0: int, block: Array) -> None:
        compress = self.request.meta.labels is not None
        for index, plane in enumerate(block, start=z0):
            file = self._folder / self._names[index]
            data = encode(plane, self._suffix, compress=compress)
            if data is not None:
                file.write_bytes(data)
                continue
            tifffile.imwrite(
                file,
                plane,
                photometric="minisblack",
                compression="zlib" if compress else None,
                metadata=None,
                software="osteon",
                **self._options,
            )

    def _finish(self) -> None:
        text = document.encode(document.describe(self.request))
        (self._folder / document.FOLDER_DOCUMENT).write_bytes(text)


FORMAT = _Slices()
