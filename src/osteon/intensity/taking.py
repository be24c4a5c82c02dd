"""Taking the statistics of a scan, slice by slice, and normalising by them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from osteon.errors import InputError
from osteon.events import Reporter
from osteon.intensity.anchoring import (
    WIDTH_WITHOUT_EDGES,
    Anchors,
    Edges,
    anchors,
    edges_of,
    padding_of,
)
from osteon.intensity.kept import Statistics
from osteon.intensity.recipes import Recipe, load_recipe
from osteon.volume import Array, Volume

#: Whole slices that statistics are taken from, evenly spaced; a scan with fewer is taken whole.
SAMPLE_SLICES = 64
#: A signed or float scan's minimum (or NaN) is its fill if so large a share of the sample has it.
FILL_SHARE = 0.01
#: Percentiles that the recipe ``percentile`` puts at -2 and 2.
PERCENTILES = (1.0, 99.0)
#: Voxels of a slice that percentiles are taken from, at even distances in memory order.
PERCENTILE_VOXELS = 2**18


def sample_slices(depth: int, *, most: int = SAMPLE_SLICES) -> list[int]:
    """Return the slices that statistics are taken from: the middles of equal parts.

    Args:
        depth: Number of slices of the scan.
        most: Largest number of slices to take.

    Returns:
        Ascending slice indexes; all of them where there are no more than ``most``.
    """
    n = min(depth, most)
    return [(2 * i + 1) * depth // (2 * n) for i in range(n)]


def statistics(volume: Volume, recipe: str, *, reporter: Reporter | None = None) -> Statistics:
    """Take the statistics of a scan that a recipe needs.

    From up to 64 whole, evenly spaced slices (:func:`sample_slices`), one in memory at a time
    (``percentile`` keeps up to half a million voxels of each, ``edges`` as many and 8192 edges);
    the same scan always gives the same figures. The recipe ``zscore`` leaves out the fill: 0 in
    unsigned scans; in signed and float scans the minimum, or NaN, where at least 1 % of the
    sample has it. ``edges`` leaves out padding; without edges that could be bone's, its anchors are
    the median and 20 SD above, and ``strength`` is 0. The recipes of the original count voxels
    > 0 (the original takes them from the whole scan, osteon from the sample).

    Args:
        volume: The scan.
        recipe: Name of the recipe.
        reporter: Told of the progress.

    Returns:
        The statistics.

    Raises:
        InputError: If the scan holds infinite values or scattered NaN, is constant, or has no
            voxel that counts.
        UsageError: If there is no such recipe.
    """
    chosen = load_recipe(recipe)
    slices = sample_slices(volume.shape[0])
    reporter = reporter or Reporter()
    if chosen.scale == "edges":
        return _of_edges(volume, chosen, slices=slices, reporter=reporter)
    fill = _find_fill(volume, slices) if chosen.voxels == "not-fill" else None
    moments = _Moments()
    sampled: list[Array] = []
    with reporter.stage("statistics", total=len(slices), unit="slice") as progress:
        for z in slices:
            values = _checked(volume, z, fill)
            keep = values > 0 if chosen.voxels == "positive" else _not_fill(values, fill)
            counted = values[keep]
            moments.add(counted)
            if chosen.scale == "percentile":
                # One step for all slices: a slice with much fill must not weigh more than it has.
                sampled.append(_thinned(counted, of=values.size))
            progress.advance()
    _check_moments(moments, chosen, volume)
    low, high = _percentiles(sampled, volume) if sampled else (None, None)
    return Statistics(
        recipe=chosen.name,
        version=chosen.version,
        mean=moments.mean,
        std=math.sqrt(moments.squares / moments.n),
        minimum=moments.minimum,
        maximum=moments.maximum,
        fill=fill,
        n=moments.n,
        sample=_stated(slices, volume),
        low=low,
        high=high,
    )


def _stated(slices: list[int], volume: Volume) -> str:
    return f"{len(slices)} of {volume.shape[0]} slices, whole and evenly spaced"


def _of_edges(
    volume: Volume, chosen: Recipe, *, slices: list[int], reporter: Reporter
) -> Statistics:
    moments = _Moments()
    found: list[Edges] = []
    sampled: list[Array] = []
    padded: dict[float, int] = {}
    with reporter.stage("statistics", total=len(slices), unit="slice") as progress:
        for z in slices:
            image = volume.read(slice(z, z + 1))[0]
            padding = padding_of(image)
            if image.dtype.kind == "f":
                # NaN that are padding are fine in so far as they are many.
                _refuse_unfinite(image, _nan_fill(padding), f"{volume.path}, slice {z}")
            for value, area in padding.items():
                padded[value] = padded.get(value, 0) + int(area.sum())
            away = np.zeros(image.shape, bool)
            for area in padding.values():
                away |= area
            counted = image[~away]
            moments.add(counted)
            sampled.append(_thinned(counted, of=image.size))
            if counted.size:
                found.append(edges_of(image, away))
            progress.advance()
    _check_moments(moments, chosen, volume)
    std = math.sqrt(moments.squares / moments.n)
    made = anchors(found) or _without_edges(sampled, std)
    fill = _darkest_padding(padded, moments)
    return Statistics(
        recipe=chosen.name,
        version=chosen.version,
        mean=moments.mean,
        std=std,
        minimum=moments.minimum,
        maximum=moments.maximum,
        fill=fill,
        n=moments.n,
        sample=_stated(slices, volume),
        low=made.low,
        high=made.high,
        fill_as=None if fill is None else _percentile(sampled, PERCENTILES[0]),
        strength=made.strength,
    )


def _without_edges(sampled: list[Array], std: float) -> Anchors:
    middle = float(np.median(np.concatenate(sampled), overwrite_input=True))
    return Anchors(middle, middle + WIDTH_WITHOUT_EDGES * std, 0.0)


def _percentile(sampled: list[Array], share: float) -> float:
    return float(np.percentile(np.concatenate(sampled), share, overwrite_input=True))


def _thinned(counted: Array, *, of: int) -> Array:
    """Take voxels of a slice of so many; a copy, as a view would keep all of them in memory."""
    return counted[:: max(1, of // PERCENTILE_VOXELS)].copy()


def _nan_fill(padding: Mapping[float, Array]) -> float | None:
    enough = any(math.isnan(v) and a.mean() >= FILL_SHARE for v, a in padding.items())
    return math.nan if enough else None


def _darkest_padding(padded: dict[float, int], moments: _Moments) -> float | None:
    """The one value of padding that no other voxel can have, as it is below all of them."""
    for value in padded:
        if math.isnan(value):
            return value
    below = [value for value in padded if value <= moments.minimum]
    return min(below) if below else None


def normalise(array: Array, statistics: Statistics) -> npt.NDArray[np.float32]:
    """Normalise grey values by a scan's statistics.

    Args:
        array: Stored grey values, any shape and type.
        statistics: Of the scan that they come from.

    Returns:
        A new float32 array of the same shape; fill voxels get the value of the minimum (``edges``:
        of the 1st percentile), and the recipe ``edges`` is clipped to its range.

    Raises:
        InputError: If there are NaN (unless NaN is the fill) or infinite values.
    """
    if array.dtype.kind == "f":
        _refuse_unfinite(array, statistics.fill, "the block being normalised")
    if statistics.fill is not None:
        keep = _not_fill(array, statistics.fill)
        if not keep.all():
            given = statistics.minimum if statistics.fill_as is None else statistics.fill_as
            array = np.where(keep, array, np.asarray(given).astype(array.dtype))
    # In float64 where float32 could not tell neighbouring values apart, such as large integers.
    precise = array.dtype.itemsize > np.dtype(np.int16).itemsize
    kind = np.float64 if precise else np.float32
    values = np.subtract(array, statistics.centre, dtype=kind)
    np.divide(values, statistics.width, out=values)
    recipe = load_recipe(statistics.recipe)
    if recipe.clipped:
        np.clip(values, *recipe.clip, out=values)
    return np.asarray(values, dtype=np.float32)


def _percentiles(sampled: list[Array], volume: Volume) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(np.concatenate(sampled), PERCENTILES))
    if high <= low:
        raise InputError(
            f"the scan is nearly constant: the 1st and 99th percentile are both {low:g}",
            where=volume.path,
            mend="choose normalisation.recipe=zscore, or export the scan with a wider grey window",
        )
    return low, high


class _Moments:
    """Count, mean, sum of squared deviations and range, merged part by part.

    Chan, Golub & LeVeque 1983 (10.1080/00031305.1983.10483115), equation 2.1: no cancellation,
    as sums of squares would have.
    """

    def __init__(self) -> None:
        self.n = 0
        self.mean = 0.0
        self.squares = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf

    def add(self, values: Array) -> None:
        n = int(values.size)
        if n == 0:
            return
        values = values.astype(np.float64)
        mean = float(values.mean())
        squares = float(np.square(values - mean).sum())
        difference, total = mean - self.mean, self.n + n
        self.squares += squares + difference**2 * self.n * n / total
        self.mean += difference * n / total
        self.n = total
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))


def _slices(volume: Volume, indexes: list[int]) -> Iterator[Array]:
    for z in indexes:
        yield volume.read(slice(z, z + 1))


def _find_fill(volume: Volume, slices: list[int]) -> float | None:
    if volume.dtype.kind in "ub":
        return 0.0
    nans = seen = at_minimum = 0
    minimum = math.inf
    for values in _slices(volume, slices):
        seen += values.size
        missing = np.isnan(values)
        nans += int(missing.sum())
        values = values[~missing]
        smallest = float(values.min()) if values.size else math.inf
        if smallest < minimum:
            minimum, at_minimum = smallest, 0
        at_minimum += int((values == minimum).sum())
    if nans >= FILL_SHARE * seen:
        return math.nan
    return minimum if at_minimum >= FILL_SHARE * seen and math.isfinite(minimum) else None


def _not_fill(values: Array, fill: float | None) -> npt.NDArray[np.bool_]:
    if fill is None:
        return np.ones(values.shape, dtype=bool)
    kept: npt.NDArray[np.bool_] = ~np.isnan(values) if math.isnan(fill) else values != fill
    return kept


def _checked(volume: Volume, z: int, fill: float | None) -> Array:
    values = volume.read(slice(z, z + 1))
    if values.dtype.kind == "f":
        _refuse_unfinite(values, fill, f"{volume.path}, slice {z}")
    return values


def _refuse_unfinite(values: Array, fill: float | None, where: str) -> None:
    finite = np.isfinite(values)
    if fill is not None and math.isnan(fill):
        finite |= np.isnan(values)
    bad = int(values.size - finite.sum())
    if bad:
        raise InputError(
            f"{bad} of {values.size} grey values are NaN or infinite",
            where=where,
            mend="replace them by the grey value around them, or export the scan as integers",
        )


def _check_moments(moments: _Moments, recipe: Recipe, volume: Volume) -> None:
    if moments.n == 0:
        kind = "above 0" if recipe.voxels == "positive" else "beside the fill"
        raise InputError(
            f"the scan has no voxel {kind}, so the recipe '{recipe.name}' cannot be used",
            where=volume.path,
            mend="choose normalisation.recipe=zscore"
            if recipe.voxels == "positive"
            else "look at the scan: it seems to be empty",
        )
    if moments.maximum <= moments.minimum:
        raise InputError(
            f"the scan is constant: every voxel that counts is {moments.minimum:g}",
            where=volume.path,
            mend="look at the scan: it seems to be empty or exported with a wrong grey window",
        )
