"""What TIFF files say beside the pixels: resolution tags, ImageJ's and OME's metadata."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import tifffile

from osteon.errors import InputError
from osteon.formats import document
from osteon.formats.base import Meta, WriteRequest
from osteon.formats.frames import micrometres, size_or_none
from osteon.volume import Geometry

_NAMESPACE = "osteon/volume"
_OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_CENTIMETRE, _INCH = 3, 2
_UNIT_UM = {_CENTIMETRE: 1e4, _INCH: 25400.0}
#: What software writes when it knows no resolution, per inch.
_DEFAULT_DPI = (1.0, 72.0, 96.0)
_DPI_TOLERANCE = 0.02
_OME_TYPES = {
    "int8": "int8", "uint8": "uint8", "int16": "int16", "uint16": "uint16", "int32": "int32",
    "uint32": "uint32", "float32": "float", "float64": "double",
}  # fmt: skip

Sizes = tuple[float | None, float | None]


def sample_shape(page: Any) -> tuple[int, int, int]:
    """Return rows, columns and samples per pixel of a page.

    Args:
        page: A page of tifffile.
    """
    return int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel)


def _per_unit(page: Any, tag: str) -> float | None:
    if tag not in page.tags:
        return None
    value = page.tags[tag].value
    if isinstance(value, tuple):
        return None if not value[1] or not value[0] else value[0] / value[1]
    return size_or_none(float(value))


def page_pixel_size(page: Any) -> Sizes:
    """Return the pixel size that the resolution tags state.

    Args:
        page: A page of tifffile.

    Returns:
        µm along (y, x). None where there is no unit, or the resolution is the default that
        software writes when it knows none (1, 72 or 96 dots per inch, or 1 per cm).
    """
    unit = page.tags["ResolutionUnit"].value if "ResolutionUnit" in page.tags else None
    factor = None if unit is None else _UNIT_UM.get(int(unit))
    if factor is None:
        return None, None
    sizes = []
    for tag in ("YResolution", "XResolution"):
        per_unit = _per_unit(page, tag)
        dpi = None if per_unit is None else per_unit * 25400.0 / factor
        default = dpi is not None and (
            any(abs(dpi - d) <= _DPI_TOLERANCE * d for d in _DEFAULT_DPI) or per_unit == 1
        )
        sizes.append(None if per_unit is None or default else _tidy(factor / per_unit))
    return sizes[0], sizes[1]


def _tidy(size: float) -> float:
    # A resolution is a fraction of 32-bit integers: what is beyond nine digits is its rounding.
    return float(f"{size:.9g}")


def imagej_size(tif: Any) -> tuple[float | None, float | None, float | None]:
    """Return the voxel size of an ImageJ TIFF.

    Args:
        tif: An open TiffFile.

    Returns:
        µm along (z, y, x); None where the unit is missing or ``pixel``.
    """
    info = tif.imagej_metadata or {}
    factor = micrometres(str(info["unit"])) if info.get("unit") else None
    if factor is None:
        return (None, *page_pixel_size(tif.pages.first))
    page = tif.pages.first
    y, x = (
        None if n is None else _tidy(factor / n)
        for n in (_per_unit(page, "YResolution"), _per_unit(page, "XResolution"))
    )
    spacing = info.get("spacing")
    z = size_or_none(abs(float(spacing)) * factor) if spacing is not None else None
    return z, y, x


def ome_meta(xml: str, path: Path) -> Meta:
    """Read voxel size and osteon's own annotation from OME-XML.

    Args:
        xml: The OME-XML.
        path: The file, for messages.

    Returns:
        What it says.

    Raises:
        InputError: If the annotation is damaged.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise InputError("the OME-XML declares entities, which are never read", where=path)
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314  (no entities: checked above)
    except ElementTree.ParseError as error:
        raise InputError(f"the OME-XML is damaged ({error})", where=path) from error
    sizes: list[float | None] = [None, None, None]
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        if tag == "Pixels" and sizes == [None, None, None]:
            sizes = [_physical(element, axis) for axis in "ZYX"]
        if tag.endswith("Annotation") and element.get("Namespace") == _NAMESPACE:
            text = "".join(element.itertext()).strip()
            try:
                return document.parse(json.loads(text), path)
            except ValueError as error:
                raise InputError(f"osteon's annotation is damaged ({error})", where=path) from error
    z, y, x = sizes
    return Meta(Geometry((z, y, x)))


def _physical(element: Any, axis: str) -> float | None:
    value = element.get(f"PhysicalSize{axis}")
    factor = micrometres(element.get(f"PhysicalSize{axis}Unit", "µm"))
    if value is None or factor is None:
        return None
    number = float(value)
    return size_or_none(number * factor) if math.isfinite(number) else None


def ome_xml(request: WriteRequest) -> str:
    """Describe a volume as OME-XML, with osteon's own document as an annotation.

    Args:
        request: What is being written.

    Returns:
        The XML, ASCII.

    Raises:
        InputError: If OME has no name for the type.
    """
    depth, rows, columns = request.shape
    sizes = "".join(
        f' PhysicalSize{axis}="{size!r}" PhysicalSize{axis}Unit="&#181;m"'
        for axis, size in zip("ZYX", request.meta.geometry.voxel_size, strict=True)
        if size is not None
    )
    text = json.dumps(document.describe(request))
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="{_OME}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{_OME} {_OME}/ome.xsd" Creator="osteon">'
        f'<Image ID="Image:0" Name={quoteattr(request.path.name)}>'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="{_OME_TYPES[request.dtype.name]}" '
        f'SizeX="{columns}" SizeY="{rows}" SizeZ="{depth}" SizeC="1" SizeT="1"{sizes}>'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        f'<TiffData IFD="0" PlaneCount="{depth}"/></Pixels>'
        '<AnnotationRef ID="Annotation:0"/></Image>'
        f'<StructuredAnnotations><CommentAnnotation ID="Annotation:0" Namespace="{_NAMESPACE}">'
        f"<Value>{escape(text)}</Value></CommentAnnotation></StructuredAnnotations></OME>"
    )
    return xml.encode("ascii", "xmlcharrefreplace").decode("ascii")


def resolution(request: WriteRequest) -> dict[str, Any]:
    """Return the resolution arguments of tifffile for a page.

    Args:
        request: What is being written.

    Returns:
        ``resolution`` (x, y) per centimetre and ``resolutionunit``; unit none where unknown.
    """
    _, y, x = request.meta.geometry.voxel_size
    if y is None or x is None:
        return {"resolution": (1, 1), "resolutionunit": tifffile.RESUNIT.NONE}
    per_cm = (1e4 / np.float64(x), 1e4 / np.float64(y))
    return {"resolution": per_cm, "resolutionunit": tifffile.RESUNIT.CENTIMETER}
