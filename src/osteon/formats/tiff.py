"""Multi-page TIFF: plain, BigTIFF, OME-TIFF and ImageJ stacks.

Pages that lie uncompressed one after the other are mapped; others are decoded page by page,
and of a page only the strips or tiles that are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import tifffile

from osteon.errors import InputError, warn
from osteon.files import writing
from osteon.formats.base import (
    Meta,
    WriteRequest,
    magic,
    readable_dtype,
    reading,
    refuse_dtype,
    volume_shape,
)
from osteon.formats.images import to_grey
from osteon.formats.raw import RawLayout, RawVolume, read_raw
from osteon.formats.targets import PartWriter
from osteon.formats.tiff_chain import count_pages
from osteon.formats.tiff_meta import (
    imagej_size,
    ome_meta,
    ome_xml,
    page_pixel_size,
    resolution,
    sample_shape,
)
from osteon.volume import Access, Array, Geometry, Volume, VolumeWriter

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
#: A classic TIFF ends at 4 GB; room is left for tags and for pages that grow in compression.
_CLASSIC_BYTES = (1 << 32) - (1 << 28)
_TAG_BYTES = 512  # what one page takes beside its pixels, generously
_FINE_AXES = set("ZYXIQS")
_AXES = {"C": "channels", "T": "time points", "R": "positions"}


class _Tiff:
    def matches(self, path: Path) -> bool:
        return magic(path).startswith(_MAGIC)

    def open(self, path: Path) -> Volume:
        with reading(path, what="the TIFF"):
            count_pages(path)
            with tifffile.TiffFile(path, _multifile=False) as tif:
                return _volume(path, tif)

    def create(self, request: WriteRequest) -> VolumeWriter:
        refuse_dtype(request, _DTYPES, name="TIFF")
        return TiffWriter(request)


def _volume(path: Path, tif: Any) -> Volume:
    series = _one_series(path, tif)
    _check_axes(path, series)
    _check_count(path, tif, series=series)
    meta = _meta(path, tif)
    first = tif.pages.first
    if first.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        warn("white-is-zero", "0 is white in this TIFF; stored values are kept", where=path)
    dtype = np.dtype(series.dtype)
    samples = sample_shape(first)[2]
    if series.dataoffset is not None and samples == 1 and dtype.kind != "b":
        shape = volume_shape(tuple(n for n in series.shape), path)
        layout = RawLayout(path, series.dataoffset, dtype.newbyteorder(tif.byteorder), shape)
        return RawVolume(path, layout, meta=meta)
    return PagedTiff(path, series, meta=meta)


def _one_series(path: Path, tif: Any) -> Any:
    series = [s for s in tif.series if not getattr(s.keyframe, "is_reduced", False)]
    if len(series) != 1:
        sizes = ", ".join(f"{s.shape} {s.dtype}" for s in series[:5])
        raise InputError(
            f"the TIFF holds {len(series)} images of different sizes or types: {sizes}",
            where=path,
            mend="save the one that is meant into a file of its own",
        )
    return series[0]


def _check_axes(path: Path, series: Any) -> None:
    for axis, length in zip(series.axes, series.shape, strict=True):
        if axis not in _FINE_AXES and length > 1 and axis in _AXES:
            raise InputError(
                f"the TIFF has {length} {_AXES[axis]} (axes {series.axes}, shape {series.shape})",
                where=path,
                mend="save one channel and time point; if these are slices, re-order them as z "
                "(ImageJ: Image > Hyperstacks > Re-order Hyperstack, or Image > Properties)",
            )


def _check_count(path: Path, tif: Any, *, series: Any) -> None:
    """Compare with the number of slices that ImageJ and OME state."""
    found = 1
    for axis, length in zip(series.axes, series.shape, strict=True):
        found *= 1 if axis in "YXS" else length
    stated = found
    if tif.is_imagej and tif.imagej_metadata:
        stated = int(tif.imagej_metadata.get("images", found))
    if found < stated or any(page is None for page in series.pages):
        raise InputError(
            f"the TIFF is truncated: of {stated} slices {found} are there",
            where=path,
            mend="copy or export it again",
        )


def _meta(path: Path, tif: Any) -> Meta:
    page = tif.pages.first
    said = {}
    for tag in ("ImageDescription", "Software", "DateTime", "Make", "Model"):
        if tag in page.tags:
            said[tag] = str(page.tags[tag].value)
    if tif.is_ome:
        meta = ome_meta(str(tif.ome_metadata), path)
        said.pop("ImageDescription", None)
        return Meta(meta.geometry, meta.intensity, {**said, **meta.provenance}, meta.labels)
    if tif.is_imagej:
        return Meta(Geometry(imagej_size(tif)), provenance=said)
    return Meta(Geometry((None, *page_pixel_size(page))), provenance=said)


@dataclass(frozen=True)
class _Segments:
    """Where the strips or tiles of one page lie."""

    offsets: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def joined(self) -> bool:
        """Whether each strip begins where the one before it ends."""
        ends = [o + n for o, n in zip(self.offsets, self.counts, strict=True)]
        return tuple(ends[:-1]) == self.offsets[1:]


class PagedTiff(Volume):
    """A TIFF whose pages must be decoded; a read holds one decoded page beside its result.

    Args:
        path: The file.
        series: The series of tifffile, of an open file.
        meta: What else the file says.
    """

    def __init__(self, path: Path, series: Any, *, meta: Meta):
        first = series.keyframe
        rows, columns, self._samples = sample_shape(first)
        self.path = path
        self.shape = volume_shape((len(series.pages), rows, columns), path)
        self.dtype = readable_dtype(np.dtype(series.dtype), path)
        self.chunks = (1, rows, columns)
        size = path.stat().st_size
        self._pages = [_segments(page, size) for page in series.pages]
        dtype = np.dtype(series.dtype)
        plain = first.is_final and self._samples == 1 and dtype.kind != "b"
        plain = plain and not first.is_tiled and all(p.joined for p in self._pages)
        self._plain = dtype.newbyteorder(first.parent.byteorder) if plain else None
        self.access = Access.RANDOM if plain else Access.SLICE
        self._key: Any = None
        meta.apply(self)

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_key": None}

    def _keyframe(self) -> Any:
        """Return the first page: it knows how all pages are decoded, and needs no open file."""
        if self._key is None:
            with tifffile.TiffFile(self.path, _multifile=False) as tif:
                key = tif.series[0].keyframe
                _ = key.decode, key.jpegtables  # made on first use; it may not touch the file
                self._key = key
        return self._key

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read a block; see :meth:`osteon.volume.Volume.read`."""
        z, y, x = self.bounds(z, y, x)
        out = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), self.dtype)
        if self._plain is not None:
            for index in range(z.start, z.stop):
                start = self._pages[index].offsets[0]
                layout = RawLayout(self.path, start, self._plain, (1, *self.shape[1:]))
                out[index - z.start] = read_raw(layout, slice(0, 1), y, x)[0]
            return out
        with reading(self.path, what="the TIFF"), self.path.open("rb") as file:
            key = self._keyframe()
            for index in range(z.start, z.stop):
                out[index - z.start] = self._page(file, key, self._pages[index], y, x)
        return out

    def _page(self, file: IO[bytes], key: Any, segments: _Segments, y: slice, x: slice) -> Array:
        columns = self.shape[2]
        page = np.zeros((y.stop - y.start, columns, self._samples), np.dtype(key.dtype))
        planes = self._samples if key.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
        per_plane = len(segments.offsets) // planes
        across = -(-columns // key.tilewidth) if key.is_tiled else 1
        height = key.tilelength if key.is_tiled else key.rowsperstrip
        for index, (offset, count) in enumerate(
            zip(segments.offsets, segments.counts, strict=True)
        ):
            top = (index % per_plane) // across * height
            if count == 0 or top >= y.stop or top + height <= y.start:
                continue
            file.seek(offset)
            data = file.read(count)
            if len(data) < count:
                raise EOFError(f"the strip at byte {offset} ends early")
            part, place, shape = key.decode(data, index, jpegtables=key.jpegtables)
            if part is None:
                continue
            _paste(page, part[0], place, shape, y)
        grey = page[:, x]
        return to_grey(grey if self._samples > 1 else grey[..., 0], self.path)


def _paste(page: Array, part: Array, place: Any, shape: Any, y: slice) -> None:
    """Put a decoded strip or tile (rows, columns, samples) into the rows that are wanted."""
    sample, _, top, left, _ = place
    height, width = int(shape[1]), min(int(shape[2]), page.shape[1] - left)
    start, stop = max(top, y.start), min(top + height, y.stop)
    if start >= stop or width <= 0:
        return
    if part.shape[0] < stop - top or part.shape[1] < width:
        raise ValueError("a strip or tile holds too few pixels")
    channels = slice(sample, sample + part.shape[2])
    page[start - y.start : stop - y.start, left : left + width, channels] = part[
        start - top : stop - top, :width
    ]


def _segments(page: Any, size: int) -> _Segments:
    offsets, counts = tuple(page.dataoffsets), tuple(page.databytecounts)
    if len(offsets) != len(counts) or not offsets:
        raise ValueError("a page has no pixels")
    end = max(o + n for o, n in zip(offsets, counts, strict=True))
    if end > size:
        raise ValueError(f"its pixels end at byte {end}, the file at {size}")
    return _Segments(offsets, counts)


class TiffWriter(PartWriter):
    """Writes an OME-TIFF page by page; BigTIFF above 4 GB. Labels are deflated, scans are not.

    Args:
        request: What is to be written.
    """

    def __init__(self, request: WriteRequest):
        super().__init__(request)
        part = self.part(request.path)
        expected = request.dtype.itemsize * int(np.prod(request.shape, dtype=np.int64))
        expected += _TAG_BYTES * request.shape[0]
        with writing(self.path):
            self._tiff = tifffile.TiffWriter(part, bigtiff=expected > _CLASSIC_BYTES)
        self._compress = request.meta.labels is not None
        self._options = resolution(request)

    def _write(self, z0: int, block: Array) -> None:
        for index, plane in enumerate(block, start=z0):
            self._tiff.write(
                plane,
                photometric="minisblack",
                compression="zlib" if self._compress else None,
                description=ome_xml(self.request) if index == 0 else None,
                metadata=None,
                software="osteon" if index == 0 else False,
                **self._options,
            )

    def _finish(self) -> None:
        self._tiff.close()

    def _release(self) -> None:
        self._tiff.close()


FORMAT = _Tiff()
