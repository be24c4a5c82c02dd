"""Slices as pictures: contrast, overlays of labels, maps of disagreement, scale bars.

Pictures are made at display size. Labels are scaled by the share of each class in a pixel, so
that trabeculae thinner than a pixel fade instead of breaking up.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from scipy import sparse

from osteon.errors import UsageError
from osteon.labels import IGNORE, LabelScheme

Plane = npt.NDArray[Any]
Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

#: Longest side of a picture in pixels: fine enough for print at half a page's width.
MAX_SIDE = 700
#: Smaller slices are enlarged, voxel by voxel, to about this.
MIN_SIDE = 360

#: Percentiles of the intensities that become black and white.
WINDOW_PERCENTILES = (0.5, 99.7)

#: Magenta and green stay apart for the colour-blind, and from the colours of the classes.
MISSED: Colour = (232, 40, 150)
FALSE: Colour = (0, 205, 120)
CONFUSED: Colour = (240, 228, 66)
UNLABELLED: Colour = (70, 70, 95)

_DIMMED = 0.45  # brightness of the scan under a map of disagreement
#: Errors a fraction of a pixel wide are drawn stronger than their share, or they would not be seen.
_ERROR_GAIN = 1.8
_JPEG_QUALITY = 88
_STRIP = 512  # rows of a large slice that are scaled at a time
_BAR_SHARE = 0.3  # a scale bar takes at most this part of the width


@dataclass(frozen=True)
class SlicePicture:
    """A slice to show.

    Attributes:
        scan: Name of the scan.
        z: Index of the slice.
        image: Intensities (y, x), any real type; NaN is drawn black.
        prediction: Predicted labels (y, x), uint8.
        truth: True labels (y, x), uint8, 255 where there is none; None if there is no truth.
        pixel_um: Size of a pixel along x in µm, None where unknown.
        note: Why this slice is shown.
    """

    scan: str
    z: int
    image: Plane
    prediction: Plane
    truth: Plane | None = None
    pixel_um: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for labels in (self.prediction, self.truth):
            if labels is not None and labels.shape != self.image.shape:
                raise UsageError(
                    f"labels and image of a picture differ in shape: {labels.shape} and "
                    f"{self.image.shape}",
                    where=f"{self.scan}, slice {self.z}",
                )


def contrast_window(image: Plane) -> tuple[float, float]:
    """Choose the intensities that become black and white.

    Args:
        image: Intensities, any shape.

    Returns:
        Two percentiles of the finite values; they differ even for a constant image.
    """
    step = max(1, math.isqrt(image.size // 1_000_000))  # a million values tell a percentile
    values = image[..., ::step, ::step] if image.ndim >= 2 else image
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, WINDOW_PERCENTILES))
    return (low, high) if high > low else (low - 1.0, low + 1.0)


def slice_picture(image: Plane, *, window: tuple[float, float] | None = None) -> Picture:
    """Draw a slice in grey.

    Args:
        image: Intensities (y, x).
        window: Intensities that become black and white; by default from percentiles.

    Returns:
        uint8 (height, width, 3) at display size.
    """
    return _as_picture(_grey(image, window))


def slice_overlay(
    image: Plane,
    labels: Plane,
    *,
    scheme: LabelScheme,
    alpha: float = 0.5,
    window: tuple[float, float] | None = None,
) -> Picture:
    """Draw a slice under translucent labels; the first class is left clear.

    Args:
        image: Intensities (y, x).
        labels: Labels (y, x), uint8; 255 is drawn as not labelled.
        scheme: The classes and their colours.
        alpha: Opacity of the labels, 0..1.
        window: Intensities that become black and white; by default from percentiles.

    Returns:
        uint8 (height, width, 3) at display size.
    """
    out = _grey(image, window)
    for c in scheme.classes[1:]:
        _paint(out, labels == c.value, c.colour, alpha)
    _paint(out, labels == IGNORE, UNLABELLED, 0.7)
    return _as_picture(out)


def slice_disagreement(
    image: Plane,
    truth: Plane,
    prediction: Plane,
    *,
    focus: int,
    window: tuple[float, float] | None = None,
) -> Picture:
    """Draw where a prediction differs from the truth, seen from one class.

    Args:
        image: Intensities (y, x).
        truth: True labels (y, x), uint8, 255 where there is none.
        prediction: Predicted labels (y, x), uint8.
        focus: The class whose missed and false pixels are told apart (bone); pixels where other
            classes are mixed up get a third colour. See :func:`disagreement_legend`.
        window: Intensities that become black and white; by default from percentiles.

    Returns:
        uint8 (height, width, 3) at display size.
    """
    out = _grey(image, window) * _DIMMED
    wrong = (truth != prediction) & (truth != IGNORE)
    missed, false = wrong & (truth == focus), wrong & (prediction == focus)
    _paint(out, wrong & ~missed & ~false, CONFUSED, _ERROR_GAIN)
    _paint(out, missed, MISSED, _ERROR_GAIN)
    _paint(out, false, FALSE, _ERROR_GAIN)
    _paint(out, truth == IGNORE, UNLABELLED, 0.7)
    return _as_picture(out)


def disagreement_legend(scheme: LabelScheme, focus: int) -> list[tuple[str, Colour]]:
    """Return what the colours of :func:`slice_disagreement` mean.

    Args:
        scheme: The classes.
        focus: The class whose missed and false pixels are told apart.

    Returns:
        Texts and colours, 0..255.
    """
    name = scheme.names[focus]
    legend = [(f"missed {name}", MISSED), (f"false {name}", FALSE)]
    others = [n for n in scheme.names if n != name]
    if len(others) > 1:
        legend.append((" / ".join(others) + " mixed up", CONFUSED))
    return legend


def focus_class(scheme: LabelScheme) -> int:
    """Return the value of the class that maps of disagreement are about: bone, or the first."""
    return scheme.value("bone") if "bone" in scheme.names else 1


def scale_bar(width: int, pixel_um: float | None) -> tuple[float, str] | None:
    """Choose a round length for a scale bar.

    Args:
        width: Width of the slice in its own pixels.
        pixel_um: Size of a pixel in µm, None where unknown.

    Returns:
        The part of the width that the bar takes, and its length as text; None without a size.
    """
    if pixel_um is None or not width:
        return None
    longest = width * pixel_um * _BAR_SHARE
    decade = 10.0 ** math.floor(math.log10(longest))
    length = max(f * decade for f in (1, 2, 5) if f * decade <= longest)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    return length / (width * pixel_um), text


def data_uri(picture: Picture) -> str:
    """Encode a picture for an ``<img>`` inside the page.

    Args:
        picture: uint8 (height, width, 3).

    Returns:
        A ``data:`` URI: JPEG without colour subsampling, PNG for small ones that were enlarged.
    """
    if max(picture.shape) <= MIN_SIDE:
        kind, data = "png", imagecodecs.png_encode(picture, level=6)
    else:
        kind = "jpeg"
        data = imagecodecs.jpeg8_encode(picture, level=_JPEG_QUALITY, subsampling="444")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def to_display_size(plane: Plane) -> npt.NDArray[np.float32]:
    """Scale a plane to display size: area averages if it is large, repeated pixels if small.

    Args:
        plane: (y, x), any real type or bool.

    Returns:
        float32 (height, width), at most MAX_SIDE on its longest side. A constant stays constant.
    """
    longest = max(plane.shape)
    if longest <= MAX_SIDE:
        factor = max(1, MIN_SIDE // max(1, longest))
        small = plane.astype(np.float32)
        return small.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = (max(1, round(n * MAX_SIDE / longest)) for n in plane.shape)
    rows, columns = _weights(plane.shape[0], height), _weights(plane.shape[1], width)
    reduced = np.zeros((height, plane.shape[1]), np.float32)
    # In strips, so that a huge slice is never held as floats.
    for start in range(0, plane.shape[0], _STRIP):
        strip = plane[start : start + _STRIP].astype(np.float32)
        reduced += rows[:, start : start + _STRIP] @ strip
    out: npt.NDArray[np.float32] = np.asarray((columns @ reduced.T).T, np.float32)
    return out


def _weights(size: int, target: int) -> Any:
    """Return the sparse (target, size) matrix that averages ``size`` pixels into ``target``."""
    edges = np.linspace(0.0, size, target + 1)
    cuts = np.union1d(edges, np.arange(size + 1))
    lengths, middles = np.diff(cuts), (cuts[1:] + cuts[:-1]) / 2
    into = np.clip(np.searchsorted(edges, middles) - 1, 0, target - 1)
    matrix = sparse.csr_array((lengths, (into, middles.astype(int))), shape=(target, size))
    return (matrix * (target / size)).astype(np.float32)


def _grey(image: Plane, window: tuple[float, float] | None) -> npt.NDArray[np.float32]:
    low, high = contrast_window(image) if window is None else window
    if not np.issubdtype(image.dtype, np.integer):
        image = np.nan_to_num(image, nan=low, posinf=high, neginf=low)
    grey = np.clip((to_display_size(image) - low) / (high - low), 0.0, 1.0)
    return np.repeat(grey[:, :, np.newaxis] * np.float32(255), 3, axis=2).astype(np.float32)


def _paint(
    picture: npt.NDArray[np.float32], where: npt.NDArray[np.bool_], colour: Colour, alpha: float
) -> None:
    if not where.any():
        return
    share = np.minimum(to_display_size(where) * np.float32(alpha), 1)[:, :, np.newaxis]
    picture += share * (np.array(colour, np.float32) - picture)


def _as_picture(values: npt.NDArray[np.float32]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
