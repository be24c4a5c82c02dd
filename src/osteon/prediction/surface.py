"""The surface of bone is put where grey values are half-way between bone and what lies beside it.

A network knows what is bone; where exactly bone ends, it learned from other scans, with other blur
and by other thresholds. The scan itself says it better: blurred by the scanner, the edge of a thick
body lies where its grey value is the mean of both sides ("half-maximum height", Spoor, Zonneveld &
Macho 1993, 10.1002/ajpa.1330910405). The threshold follows shading within a slice, above all that
of bone; what is far from a surface that the network drew stays as it is.

Everything is done within the slice, and each slice by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.errors import UsageError
from osteon.labels import LabelScheme
from osteon.model_file import HALF_MAXIMUM, ModelSpec
from osteon.prediction.scale import Slabs
from osteon.resampling import ResampledVolume
from osteon.volume import Array, Volume

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

#: Name of the class whose surface is sought.
BONE = "bone"
#: How far the surface may move in a pass, in pixels of the network.
BAND = 2
#: Grey values of both sides are taken from the network's labels first, then from what came of it:
#: where a network draws thin, the medium's mean is too bright at first, by the bone left out.
PASSES = 3
#: Pixels beside bone that count for the grey value beside it, up to this distance.
BESIDE = 12
#: Standard deviation of the Gaussian over which bone is averaged: how bright it shows goes with
#: how thick it is, and with shading.
WINDOW = 24.0
#: Of the one over which what lies beside bone is averaged. It is alike everywhere, but in narrow
#: gaps is brightened by blur: a narrow window would take that for what lies beside bone.
WINDOW_BESIDE = 96.0
#: Of the Gaussian against noise, that the grey value is compared after.
SMOOTHING = 0.65
#: Sides are averaged on a grid so many times coarser.
CELL = 8
#: Gaussians are cut off at so many standard deviations.
_CUT = 3.0
#: Rows that are worked on at once: whole cells.
_ROWS = 512
#: The least share of the window that each side must fill.
_LEAST = 1e-3
#: Float32 planes of a strip, and of the grid, that are held at once.
_PLANES, _GRIDS = 8, 12


@dataclass(frozen=True)
class Surface:
    """Moves the surface of bone.

    Attributes:
        bone: Label of bone.
        others: Labels of the other classes.
        factor: Size of a pixel that the network sees, in pixels of the scan; all lengths are
            multiplied by it, where it is above 1.
    """

    bone: int
    others: tuple[int, ...]
    factor: float = 1.0

    def moved(self, image: Array, labels: Labels) -> Labels:
        """Move the surface of bone in a slice.

        Args:
            image: Grey values (y, x), of any type and unit.
            labels: Its labels (y, x).

        Returns:
            New labels. Changed in a pass is what lies within two (network's) pixels of a surface
            of bone alone: to bone, or from bone to the class that is nearest.
        """
        for _ in range(PASSES):
            if not (labels == self.bone).any():
                break
            labels = self._pass(image, labels)
        return labels

    def _pass(self, image: Array, labels: Labels) -> Labels:
        """Move the surface once."""
        half = self._half(image, labels)
        found = np.empty_like(labels)
        for rows, around, inner in self._strips(len(labels)):
            strip = self._strip(image[around], labels[around], half, first=around.start)
            found[rows] = strip[inner]
        return found

    def moved_in(self, volume: Volume, z: int, labels: Labels) -> Labels:
        """Move the surface of bone in a slice of a scan, which is read for it.

        Args:
            volume: The scan, on the grid of the labels.
            z: The slice.
            labels: Its labels (y, x).

        Returns:
            New labels; see :meth:`moved`.
        """
        return self.moved(volume.read(slice(z, z + 1))[0], labels)

    def memory(self, shape: tuple[int, ...]) -> int:
        """Return the bytes that a slice takes while its surface is moved.

        Args:
            shape: (..., y, x) of the slice.
        """
        height, width = shape[-2:]
        strip = min(height, _ROWS + 2 * self._halo) * width * _PLANES
        return 4 * (strip + math.ceil(height / CELL) * math.ceil(width / CELL) * _GRIDS)

    @property
    def _scale(self) -> float:
        return max(1.0, self.factor)

    @property
    def _halo(self) -> int:
        """Rows around a strip that it depends on, whole cells."""
        rows = self._scale * max(BESIDE, BAND + _CUT * SMOOTHING) + 1
        return math.ceil(rows / CELL) * CELL

    def _strips(self, height: int) -> Iterator[tuple[slice, slice, slice]]:
        """Rows that are worked on at once, the same with those around, and where they are there."""
        for first in range(0, height, _ROWS):
            last = min(first + _ROWS, height)
            start = max(0, first - self._halo)
            around = slice(start, min(height, last + self._halo))
            yield slice(first, last), around, slice(first - start, last - start)

    def _half(self, image: Array, labels: Labels) -> dict[int, Image]:
        """By class beside bone, the middle between its grey value and bone's, around each cell.

        NaN, which moves nothing, where either side is missing or bone is the darker one.
        """
        sums: dict[int, list[tuple[Image, Image]]] = {v: [] for v in (self.bone, *self.others)}
        for rows, around, inner in self._strips(len(labels)):
            near = _box(labels[around] == self.bone, round(BESIDE * self._scale))[inner]
            grey = image[rows].astype(np.float32)
            for value, strips in sums.items():
                side = near & (labels[rows] == value)
                strips.append((_cells(np.where(side, grey, 0)), _cells(side.astype(np.float32))))
        of_bone = self._mean(sums.pop(self.bone), WINDOW)
        half = {}
        for value, strips in sums.items():
            beside = self._mean(strips, WINDOW_BESIDE)
            brighter = (of_bone > beside) & ~np.isclose(of_bone, beside)  # not by rounding alone
            half[value] = np.where(brighter, (of_bone + beside) / 2, np.float32(np.nan))
        return half

    def _mean(self, strips: Sequence[tuple[Image, Image]], window: float) -> Image:
        """Mean grey value around each cell, of sums and counts; NaN where hardly any counts."""
        sigma = window * self._scale / CELL
        total, count = (
            ndimage.gaussian_filter(np.concatenate(one), sigma, mode="constant", truncate=_CUT)
            for one in zip(*strips, strict=True)
        )
        least = np.float32(_LEAST * CELL**2)
        mean: Image = np.where(count > least, total / np.maximum(count, least), np.float32(np.nan))
        return mean

    def _strip(
        self, image: Array, labels: Labels, half: Mapping[int, Image], *, first: int
    ) -> Labels:
        """Labels of a strip of rows from ``first`` on, by the thresholds of the whole slice."""
        band = round(BAND * self._scale)
        bone = labels == self.bone
        rows, columns = np.nonzero(_grown(bone, band) & _grown(~bone, band))
        if not len(rows):
            return labels
        at = (rows, columns)
        blur = SMOOTHING * self._scale
        plain = image.astype(np.float32)
        grey = ndimage.gaussian_filter(plain, blur, mode="nearest", truncate=_CUT)[at]
        medium = self._medium(labels, band)[at]
        seen, to = bone[at], labels[at]
        for value, middle in half.items():
            mine = np.flatnonzero(medium == value)
            threshold = _sampled(middle, (first + rows[mine], columns[mine]))
            to[mine[grey[mine] > threshold]] = self.bone
            darker = mine[grey[mine] <= threshold]
            to[darker[seen[darker]]] = value
        found = labels.copy()
        found[at] = to
        return found

    def _medium(self, labels: Labels, band: int) -> Labels:
        """The class beside each pixel: its own, or of bone that of the nearest which is not."""
        found = labels.copy()
        grown = [labels == value for value in self.others]
        for _ in range(band):
            grown = [_grown(mask, 1) for mask in grown]
            for value, mask in zip(self.others, grown, strict=True):
                found[mask & (found == self.bone)] = value
        return found


def surface_of(spec: ModelSpec, seen: Volume, *, asked: str = "auto") -> Surface | None:
    """Return how the surface of bone is moved, if it is.

    Args:
        spec: The model.
        seen: The scan as the network sees it.
        asked: ``network``: not at all; ``half-maximum``; ``auto``: as the model asks for.

    Returns:
        What moves it, or None.

    Raises:
        UsageError: If it is asked for and the model has no class of that name.
    """
    chosen = spec.surface if asked == "auto" else asked
    if chosen != HALF_MAXIMUM:
        return None
    bone = bone_of(spec.labels)
    others = tuple(c.value for c in spec.labels.classes if c.value != bone)
    factors = seen.factors[1:] if isinstance(seen, ResampledVolume) else (1.0,)
    return Surface(bone, others, math.prod(factors) ** (1 / len(factors)))


def bone_of(labels: LabelScheme) -> int:
    """Return the label whose surface is moved.

    Args:
        labels: The classes.

    Raises:
        UsageError: If there is no bone.
    """
    if BONE not in labels.names:
        raise UsageError(
            f"there is no class '{BONE}' whose surface could be moved, but "
            + ", ".join(labels.names),
            where=f"surface={HALF_MAXIMUM}",
            mend="leave it out, or set surface=network",
        )
    return labels.value(BONE)


def with_surface(slabs: Slabs, volume: Volume, surface: Surface) -> Slabs:
    """Move the surface of bone in labels as they come, those of one slab while the next is made.

    Args:
        slabs: Labels (n, y, x), or what is wanted beside them too, (n, layer, y, x), with the
            labels in the first layer.
        volume: The scan, on the grid of the labels; each slice is read once more.
        surface: What moves it.

    Yields:
        The same with other labels.
    """

    def moved(z: int, slab: Array) -> tuple[int, Array]:
        for i, plane in enumerate(slab):
            labels = plane if slab.ndim == 3 else plane[0]
            labels[...] = surface.moved_in(volume, z + i, labels)
        return z, slab

    with (
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="osteon-surface") as pool,
        closing(slabs),
    ):
        before: Future[tuple[int, Array]] | None = None
        for z, slab in slabs:
            coming = pool.submit(moved, z, slab)
            if before is not None:
                yield before.result()
            before = coming
        if before is not None:
            yield before.result()


def _grown(mask: Mask, steps: int) -> Mask:
    """Grow a mask by so many pixels along y and x (city-block distance)."""
    for _ in range(steps):
        grown = mask.copy()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown
    return mask


def _box(mask: Mask, reach: int) -> Mask:
    """Grow a mask to all pixels within a square around each."""
    grown: Mask = ndimage.maximum_filter(mask.view(np.uint8), 2 * reach + 1, mode="constant").view(
        np.bool_
    )
    return grown


def _cells(image: Image) -> Image:
    """Sums over cells."""
    height, width = (-(-n // CELL) * CELL for n in image.shape)
    whole = np.pad(image, [(0, height - image.shape[0]), (0, width - image.shape[1])])
    rows = whole.reshape(height // CELL, CELL, width).sum(1)
    sums: Image = rows.reshape(height // CELL, width // CELL, CELL).sum(2)
    return sums


def _sampled(cells: Image, at: Sequence[Array]) -> Image:
    """Values of a grid of cells at pixels, interpolated linearly."""
    places = [(index + np.float32(0.5)) / CELL - np.float32(0.5) for index in at]
    values: Image = ndimage.map_coordinates(cells, places, order=1, mode="nearest")
    return values
