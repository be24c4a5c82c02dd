"""Single 2D images: what their headers say, and their pixels as grey values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from osteon.errors import InputError, warn
from osteon.formats.base import magic, readable_dtype, reading
from osteon.formats.tiff_chain import count_pages
from osteon.formats.tiff_meta import page_pixel_size, sample_shape
from osteon.volume import Array

#: Suffix → family; the files of a folder are of one family.
FAMILIES = {
    ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".png": "PNG",
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG",
}  # fmt: skip
_MAGIC = {"TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "BMP": (b"BM",),
          "PNG": (b"\x89PNG",), "JPEG": (b"\xff\xd8\xff",)}  # fmt: skip
#: Rec. 601: equal channels give the same grey value.
_LUMA = np.array([0.299, 0.587, 0.114])
_PNG_DEPTH_AT = 24  # byte of IHDR that holds the bits per sample; the colour type follows
_PNG_PALETTE = 3
_ERRORS = (Image.DecompressionBombError,)
#: Slices of more pixels than Pillow's guard against bombs are ordinary in micro-CT.
_MOST_PIXELS = 1 << 32


@dataclass(frozen=True)
class ImageHeader:
    """What the header of a 2D image says.

    Attributes:
        shape: (y, x).
        dtype: Type of its grey values, native byte order.
        coloured: Whether it has three or four channels.
        offset: Byte where plain uncompressed numbers begin; None if they must be decoded.
        disk_dtype: Their type with byte order, where ``offset`` is given.
        pixel_size: µm along (y, x), None where unknown.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    coloured: bool = False
    offset: int | None = None
    disk_dtype: np.dtype[Any] | None = None
    pixel_size: tuple[float | None, float | None] = (None, None)

    @property
    def kind(self) -> str:
        """Size and type in words."""
        return f"{self.shape[0]} × {self.shape[1]} {self.dtype.name}" + (
            " colour" if self.coloured else ""
        )


def family_of(path: Path) -> str | None:
    """Return TIFF, BMP, PNG or JPEG by the content of a file; None for anything else.

    Args:
        path: A file.
    """
    start = magic(path)
    return next((name for name, marks in _MAGIC.items() if start.startswith(marks)), None)


def read_header(path: Path) -> ImageHeader:
    """Read the header of a 2D image.

    Args:
        path: A TIFF, BMP, PNG or JPEG file.

    Raises:
        InputError: If it is damaged, or a TIFF of several pages.
    """
    with reading(path, what="the image", also=_ERRORS):
        family = family_of(path)
        if family is None:
            raise ValueError("its content is not TIFF, BMP, PNG or JPEG")
        return _tiff_header(path) if family == "TIFF" else _pillow_header(path, family)


def _tiff_header(path: Path) -> ImageHeader:
    count_pages(path)
    with tifffile.TiffFile(path, _multifile=False) as tif:
        page = tif.pages.first
        if len(tif.pages) > 1 and not getattr(tif.pages[1], "is_reduced", False):
            raise InputError(
                f"a slice must be one page; this TIFF has {len(tif.pages)}",
                where=path,
                mend="open the multi-page file itself, not the folder",
            )
        size = path.stat().st_size
        ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not ends or max(ends) > size:
            raise ValueError(f"its pixels end at byte {max(ends, default=0)} of {size}")
        rows, columns, samples = sample_shape(page)
        dtype = np.dtype(page.dtype or "V1")
        plain = page.is_final and page.is_contiguous and samples == 1 and dtype.kind != "b"
        return ImageHeader(
            (rows, columns),
            readable_dtype(dtype, path),
            samples in (3, 4),
            page.dataoffsets[0] if plain and not _is_palette(page) else None,
            dtype.newbyteorder(tif.byteorder) if plain else None,
            page_pixel_size(page),
        )


def _pillow_header(path: Path, family: str) -> ImageHeader:
    with _pillow(path) as image:
        columns, rows = image.size
        mode = image.mode
    bits = 8
    if family == "PNG":
        bits = 16 if magic(path, offset=_PNG_DEPTH_AT, size=1)[:1] == b"\x10" else 8
    elif mode in ("I", "F", "I;16", "I;16B"):
        bits = 32 if mode in ("I", "F") else 16
    dtype = np.dtype({8: np.uint8, 16: np.uint16, 32: np.int32}[bits])
    return ImageHeader((rows, columns), dtype, mode in ("RGB", "RGBA", "CMYK", "YCbCr"))


def _pillow(path: Path) -> Image.Image:
    # Pillow's limit is global; it guards servers against bombs, and large slices are no bombs.
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    return Image.open(path)


def decode(path: Path, *, where: Path | None = None) -> Array:
    """Read the pixels of a 2D image as grey values.

    A palette of greys is applied; of a palette of colours the indices are kept, with the
    warning ``palette-indices`` (it is a label map). Colours become their luma (Rec. 601,
    rounded); if the channels differ, with the warning ``colour-slices``.

    Args:
        path: A TIFF, BMP, PNG or JPEG file.
        where: What warnings name, such as the folder (so that each is shown once); the file.

    Returns:
        A new array (y, x).

    Raises:
        InputError: If it is truncated or damaged.
    """
    where = where or path
    with reading(path, what="the image", also=_ERRORS):
        family = family_of(path)
        if family == "TIFF":
            return _decode_tiff(path, where)
        if family == "PNG" and magic(path, offset=_PNG_DEPTH_AT, size=1) == b"\x10":
            return to_grey(imagecodecs.png_decode(path.read_bytes()), where)
        with _pillow(path) as image:
            if image.mode == "P":
                return _from_palette(
                    np.asarray(image), np.array(image.getpalette() or []).reshape(-1, 3), where
                )
            if image.mode in ("CMYK", "YCbCr"):
                return to_grey(np.asarray(image.convert("RGB")), where)
            return to_grey(np.asarray(image), where)


def _decode_tiff(path: Path, where: Path) -> Array:
    with tifffile.TiffFile(path, _multifile=False) as tif:
        page = tif.pages.first
        array = page.asarray()
        rows, columns, samples = sample_shape(page)
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and samples > 1:
            array = np.moveaxis(array.reshape(samples, rows, columns), 0, -1)
        array = array.reshape(rows, columns, samples) if samples > 1 else array
        if _is_palette(page):
            # 16-bit colours, the channels one after the other
            colours = np.asarray(page.colormap).T // 256
            return _from_palette(array, colours, where)
    return to_grey(array, where)


def _is_palette(page: Any) -> bool:
    return bool(page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None)


def _from_palette(indices: Array, palette: Array, path: Path) -> Array:
    colours = palette[: int(indices.max(initial=0)) + 1]
    if len(colours) == 0 or np.any(colours != colours[:, :1]):
        warn(
            "palette-indices",
            "a palette of colours: its indices are read, as of a label map",
            where=path,
        )
        return np.array(indices)
    return np.asarray(colours[:, 0].astype(np.uint8)[indices])


def to_grey(array: Array, path: Path) -> Array:
    """Turn what a decoder gave into grey values.

    Args:
        array: (y, x) or (y, x, channels).
        path: The file, for the warning.

    Returns:
        (y, x), bool as uint8; two channels are grey and alpha, four are colour and alpha.
    """
    native = readable_dtype(array.dtype, path)
    if array.ndim == 2:
        return np.array(array, dtype=native)
    channels = array.shape[-1]
    if channels < 3:
        return np.array(array[..., 0], dtype=native)
    rgb = array[..., :3]
    if np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 0], rgb[..., 2]):
        return np.array(rgb[..., 0], dtype=native)
    warn("colour-slices", "coloured pixels were converted to grey (Rec. 601 luma)", where=path)
    grey = rgb.astype(np.float64) @ _LUMA
    return np.asarray(np.rint(grey) if native.kind in "iu" else grey).astype(native)


def encode(array: Array, suffix: str, *, compress: bool, pixel_size: Any = None) -> bytes | None:
    """Encode a slice as PNG or BMP.

    Args:
        array: (y, x), uint8 (or uint16 for PNG).
        suffix: ``.png`` or ``.bmp``.
        compress: Whether to try hard (labels); a scan's noise does not compress.
        pixel_size: Not carried by these formats.

    Returns:
        The file; None for another suffix.
    """
    if suffix == ".png":
        return bytes(imagecodecs.png_encode(array, level=6 if compress else 1))
    if suffix == ".bmp":
        return bytes(imagecodecs.bmp_encode(array))
    return None
