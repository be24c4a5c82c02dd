"""Geometry of patches and tiles alone: random patches, tile grids with a halo, padding.

Shapes and places are (y, x). Fitting and prediction cut slices by the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from osteon.errors import UsageError
from osteon.volume import Array

#: Places that are tried for a patch before any place is taken.
TRIES = 100


@dataclass(frozen=True)
class Tile:
    """A part of a slice that goes through the network at once.

    Attributes:
        read: Rows and columns to be read, within the slice.
        core: Rows and columns, in the slice, that the result is kept of. The cores of a grid
            cover every pixel exactly once.
    """

    read: tuple[slice, slice]
    core: tuple[slice, slice]

    @property
    def inner(self) -> tuple[slice, slice]:
        """The core in coordinates of what was read."""
        (ry, rx), (cy, cx) = self.read, self.core
        return (
            slice(cy.start - ry.start, cy.stop - ry.start),
            slice(cx.start - rx.start, cx.stop - rx.start),
        )


def tile_grid(shape: tuple[int, int], *, size: int, halo: int, divisor: int = 1) -> list[Tile]:
    """Cut a slice into tiles with context around each.

    Tiles start at multiples of ``divisor``, so that a network with strides sees the same grid
    as on the whole slice; a tile at the lower or right edge can be shorter than ``size`` and is
    padded by :func:`pad_to_multiple`.

    Args:
        shape: (y, x) of the slice.
        size: Height and width that are read at once, with the halo; a multiple of ``divisor``.
        halo: Context around the core, in pixels, except at the edges of the slice.
        divisor: What the network needs its input to be a multiple of.

    Returns:
        The tiles, row by row.

    Raises:
        UsageError: If the numbers do not go together; the message says what would.
    """
    step = (size - 2 * halo) // divisor * divisor
    if divisor < 1 or halo < 0 or size % divisor or step < 1 or min(shape) < 1:
        raise UsageError(
            f"tiles of {size} px with a halo of {halo} px cannot cover a slice of {shape} px",
            mend=f"the size must be a multiple of {divisor} and at least {2 * halo + divisor}",
        )
    rows, columns = (_ranges(n, size=size, halo=halo, step=step, divisor=divisor) for n in shape)
    return [Tile((r[0], c[0]), (r[1], c[1])) for r, c in product(rows, columns)]


def _ranges(n: int, *, size: int, halo: int, step: int, divisor: int) -> list[tuple[slice, slice]]:
    last = max(0, -(-(n - size) // divisor) * divisor)
    starts = [*range(0, last, step), last]
    edges = [0, *(start + size - halo for start in starts[:-1]), n]
    return [
        (slice(start, min(start + size, n)), slice(edges[i], edges[i + 1]))
        for i, start in enumerate(starts)
    ]


def random_boxes(
    shape: tuple[int, int],
    *,
    size: int,
    count: int,
    max_overlap: float,
    rng: np.random.Generator,
) -> list[tuple[int, int]]:
    """Draw the places of a slice's patches, which overlap little.

    A place is drawn anew while it overlaps an earlier patch by more than ``max_overlap``, up to
    100 times; then the last one drawn is taken.

    Args:
        shape: (y, x) of the slice.
        size: Height and width of a patch.
        count: Number of patches.
        max_overlap: Largest shared area of two patches, as a share of a patch's area.
        rng: The random generator.

    Returns:
        ``count`` upper left corners (y, x); 0 along an axis in which the slice is no larger
        than the patch (it is padded there, by :func:`pad_to`).
    """
    high = np.maximum(np.array(shape) - size, 0) + 1
    boxes: list[tuple[int, int]] = []
    for _ in range(count):
        for _ in range(TRIES):
            y, x = (int(v) for v in rng.integers(0, high))
            if all(overlap((y, x), other, size=size) <= max_overlap for other in boxes):
                break
        boxes.append((y, x))
    return boxes


def overlap(a: tuple[int, int], b: tuple[int, int], *, size: int) -> float:
    """Return the area that two patches share, as a share of one.

    Args:
        a: Upper left corner (y, x) of one.
        b: Upper left corner (y, x) of the other.
        size: Height and width of both.
    """
    height, width = (max(0, size - abs(p - q)) for p, q in zip(a, b, strict=True))
    return height * width / size**2


def pad_to(array: Array, shape: Sequence[int], *, value: float | None = None) -> Array:
    """Pad the last two axes at their ends (below and on the right).

    Args:
        array: (…, y, x), any type.
        shape: (y, x) that is wanted at least; larger axes stay as they are.
        value: The padding's value; None repeats the edge.

    Returns:
        The padded array; the same object where nothing is missing.
    """
    missing = [max(0, want - have) for want, have in zip(shape, array.shape[-2:], strict=True)]
    if not any(missing):
        return array
    widths = [(0, 0)] * (array.ndim - 2) + [(0, m) for m in missing]
    if value is None:
        return np.pad(array, widths, mode="edge")
    return np.pad(array, widths, constant_values=value)


def pad_to_multiple(array: Array, divisor: int, *, value: float | None = None) -> Array:
    """Pad the last two axes at their ends to multiples of a number.

    Args:
        array: (…, y, x), any type.
        divisor: What both axes become multiples of.
        value: The padding's value; None repeats the edge.

    Returns:
        The padded array; the same object where nothing is missing.
    """
    return pad_to(array, [-(-n // divisor) * divisor for n in array.shape[-2:]], value=value)
