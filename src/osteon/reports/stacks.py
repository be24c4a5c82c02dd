"""Slices to leaf through: scan, truth, labels and disagreement side by side, with a slider."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import imagecodecs
import numpy as np

from osteon.labels import IGNORE, LabelScheme
from osteon.reports import pictures
from osteon.reports.blocks import Panel, Panels, Stack
from osteon.reports.pictures import Picture, SlicePicture

#: Longest side of one picture of a frame, in pixels.
SIDE = 330
#: Bytes that the frames of one stack take in the page; beyond that there are fewer frames.
STACK_BYTES = 1_300_000

_GAP = 4
_QUALITY = 72
_PAPER = 255


def frame(item: SlicePicture, *, scheme: LabelScheme, window: tuple[float, float]) -> Picture:
    """Draw scan, truth, labels and disagreement of a plane in one row.

    Args:
        item: The plane, with a truth.
        scheme: The classes.
        window: Intensities that become black and white.

    Returns:
        uint8 (height, width, 3).
    """
    truth = item.prediction if item.truth is None else item.truth
    drawn = [
        pictures.slice_picture(item.image, window=window),
        pictures.slice_overlay(item.image, truth, scheme=scheme, window=window),
        pictures.slice_overlay(item.image, item.prediction, scheme=scheme, window=window),
        pictures.slice_disagreement(
            item.image,
            truth,
            item.prediction,
            focus=pictures.focus_class(scheme),
            window=window,
        ),
    ]
    small = [reduced(picture, SIDE) for picture in drawn]
    gap = np.full((small[0].shape[0], _GAP, 3), _PAPER, np.uint8)
    parts = [part for picture in small for part in (picture, gap)][:-1]
    return np.concatenate(parts, axis=1)


def reduced(picture: Picture, side: int) -> Picture:
    """Reduce a picture by a whole number until it is no larger than a side.

    Args:
        picture: uint8 (height, width, 3).
        side: Largest side in pixels.

    Returns:
        Averages over squares of pixels; what does not fill one is cut off.
    """
    factor = -(-max(picture.shape[:2]) // side)
    if factor == 1:
        return picture
    height, width = (max(1, n // factor) for n in picture.shape[:2])
    cut = picture[: height * factor, : width * factor]
    factors = (min(factor, cut.shape[0]), min(factor, cut.shape[1]))
    squares = cut.reshape(height, factors[0], width, factors[1], 3)
    out: Picture = np.rint(squares.mean(axis=(1, 3))).astype(np.uint8)
    return out


def stack(
    title: str, items: Sequence[SlicePicture], *, scheme: LabelScheme, axis: str
) -> Stack | None:
    """Draw planes to leaf through. Without JavaScript, and in print, the middle one is seen.

    Args:
        title: Heading.
        items: The planes, in order; their ``z`` is the place along the axis.
        scheme: The classes.
        axis: Name of the axis that is leafed along.

    Returns:
        The block, of at most STACK_BYTES (or one frame); None without planes.
    """
    if not items:
        return None
    window = pictures.contrast_window(np.stack([items[i].image for i in _few(len(items))]))
    drawn = [frame(item, scheme=scheme, window=window) for item in items]
    uris = [_uri(picture) for picture in drawn]
    chosen = list(range(len(items)))
    while sum(len(uris[i]) for i in chosen) > STACK_BYTES and len(chosen) > 1:
        chosen = chosen[::2]
    height, width = drawn[0].shape[:2]
    focus = pictures.focus_class(scheme)
    legend = [(c.name, c.colour) for c in scheme.classes[1:]]
    if any(item.truth is not None and (item.truth == IGNORE).any() for item in items):
        legend.append(("not labelled", pictures.UNLABELLED))
    return Stack(
        title,
        [(uris[i], f"{axis} = {items[i].z}") for i in chosen],
        width=width,
        height=height,
        labels=("Scan", "Truth", "Labels", "Disagreement"),
        legend=[*legend, *pictures.disagreement_legend(scheme, focus)],
    )


def sheet(items: Sequence[tuple[str, SlicePicture]], *, scheme: LabelScheme) -> Panels:
    """Draw one small picture a scan: labels over the scan, for quality control.

    Args:
        items: Caption and slice of each scan, in the order they are to be looked at.
        scheme: The classes.

    Returns:
        The block.
    """
    panels = []
    for caption, item in items:
        drawn = pictures.slice_overlay(item.image, item.prediction, scheme=scheme)
        picture = reduced(drawn, SIDE)
        height, width = picture.shape[:2]
        panels.append(Panel(caption, _uri(picture), width, height))
    return Panels("", panels, "", None, small=True)


def _few(n: int) -> list[int]:
    return sorted({0, n // 2, n - 1})


def _uri(picture: Picture) -> str:
    data = imagecodecs.webp_encode(picture, level=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}"
