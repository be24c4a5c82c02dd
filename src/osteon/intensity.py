"""Normalisation of grey values: named, versioned recipes and the statistics they need.

The statistics are taken from a stated, deterministic sample of the scan and kept with it, so
that a preview, a slab and the whole scan are normalised alike. A recipe's name and version
never change their meaning; what is learned later becomes a new version.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from osteon.errors import InputError
from osteon.events import Reporter
from osteon.tables.choices import RECIPES
from osteon.volume import Array, Volume

#: Whole slices that statistics are taken from, evenly spaced; a scan with fewer is taken whole.
SAMPLE_SLICES = 64
#: A signed or float scan's minimum (or NaN) is its fill if so large a share of the sample has it.
FILL_SHARE = 0.01
#: Percentiles that the recipe ``percentile`` puts at -2 and 2.
PERCENTILES = (1.0, 99.0)
#: Voxels of a slice that percentiles are taken from, at even distances in memory order.
PERCENTILE_VOXELS = 2**18


@dataclass(frozen=True)
class Recipe:
    """How grey values are normalised.

    Attributes:
        name: Name in :data:`osteon.tables.choices.RECIPES`.
        version: Raised when the definition changes; old versions stay readable.
        voxels: Which voxels the statistics are of: ``not-fill`` or ``positive``.
        scale: ``zscore``: (v - mean) / SD. ``minmax``: (v - minimum) / (maximum - minimum).
            ``percentile``: -2 at the 1st percentile, 2 at the 99th, linear between and beyond.
        clip: Range that augmented values are kept in.
    """

    name: str
    version: int
    voxels: Literal["not-fill", "positive"]
    scale: Literal["zscore", "minmax", "percentile"]
    clip: tuple[float, float]


zscore = Recipe("zscore", 1, "not-fill", "zscore", (-5.0, 5.0))
percentile = Recipe("percentile", 1, "not-fill", "percentile", (-5.0, 5.0))
zscore_positive = Recipe("reference-zscore-positive", 1, "positive", "zscore", (-5.0, 5.0))
minmax_positive = Recipe("reference-minmax-positive", 1, "positive", "minmax", (0.0, 1.0))


def load_recipe(name: str) -> Recipe:
    """Return a recipe of the table.

    Args:
        name: Its name.

    Raises:
        UsageError: If there is no such recipe.
        TypeError: If a third party's row is not a :class:`Recipe`.
    """
    loaded = RECIPES.load(name)
    if not isinstance(loaded, Recipe):
        raise TypeError(f"the row '{name}' of recipes is not an osteon.intensity.Recipe")
    return loaded


@dataclass(frozen=True)
class Statistics:
    """What a recipe needs to know of a scan, in stored values (not HU or mgHA).

    Attributes:
        recipe: Name of the recipe.
        version: Version of the recipe.
        mean: Mean of the voxels that count.
        std: Their standard deviation, of the population (divided by n).
        minimum: Smallest of them.
        maximum: Largest of them.
        fill: The value outside the field of view, which does not count; NaN is possible; None
            where the recipe or the scan has none. Fill voxels are normalised like ``minimum``.
        n: Number of voxels that count.
        sample: What was looked at, for a person.
        low: 1st percentile of the voxels that count; None where the recipe does not need it.
        high: 99th percentile of them.
    """

    recipe: str
    version: int
    mean: float
    std: float
    minimum: float
    maximum: float
    fill: float | None
    n: int
    sample: str
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-compatible dictionary; :meth:`from_dict` reads it back exactly."""
        data = asdict(self)
        if self.fill is not None and math.isnan(self.fill):
            data["fill"] = "nan"  # JSON has no NaN
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Statistics:
        """Build statistics from :meth:`as_dict`.

        Args:
            data: The dictionary.

        Returns:
            The statistics.

        Raises:
            InputError: If an entry is missing or wrong, or the recipe or its version is unknown.
        """
        try:
            fill = data["fill"]
            made = cls(
                str(data["recipe"]),
                int(data["version"]),
                mean=float(data["mean"]),
                std=float(data["std"]),
                minimum=float(data["minimum"]),
                maximum=float(data["maximum"]),
                fill=None if fill is None else float(fill),
                n=int(data["n"]),
                sample=str(data["sample"]),
                low=None if data.get("low") is None else float(data["low"]),
                high=None if data.get("high") is None else float(data["high"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the statistics of the grey values cannot be read: {error}") from None
        if made.recipe not in RECIPES or made.version != load_recipe(made.recipe).version:
            raise InputError(
                f"this osteon does not know version {made.version} of the recipe '{made.recipe}'",
                mend="update osteon",
            )
        if not all(map(math.isfinite, made._numbers)) or made._width <= 0:
            raise InputError("the statistics of the grey values are not those of a scan")
        return made

    @property
    def _numbers(self) -> tuple[float, ...]:
        return self.mean, self.std, self.minimum, self.maximum, self._centre, self._width

    @property
    def _percentiles(self) -> tuple[float, float]:
        # Not finite where they are missing, so that reading such statistics fails.
        return (
            (math.nan, math.nan) if self.low is None or self.high is None else (self.low, self.high)
        )

    @property
    def _centre(self) -> float:
        scale = load_recipe(self.recipe).scale
        if scale == "percentile":
            return sum(self._percentiles) / 2
        return self.mean if scale == "zscore" else self.minimum

    @property
    def _width(self) -> float:
        scale = load_recipe(self.recipe).scale
        if scale == "percentile":
            low, high = self._percentiles
            return (high - low) / 4
        return self.std if scale == "zscore" else self.maximum - self.minimum


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
    (``percentile`` keeps up to half a million voxels of each); the same scan always gives the
    same figures. The recipe ``zscore`` leaves out the fill: 0 in
    unsigned scans; in signed and float scans the minimum, or NaN, where at least 1 % of the
    sample has it. The recipes of the original count voxels > 0 (the original takes them from the
    whole scan, osteon from the sample).

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
                sampled.append(counted[:: max(1, values.size // PERCENTILE_VOXELS)])
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
        sample=f"{len(slices)} of {volume.shape[0]} slices, whole and evenly spaced",
        low=low,
        high=high,
    )


def normalise(array: Array, statistics: Statistics) -> npt.NDArray[np.float32]:
    """Normalise grey values by a scan's statistics.

    Args:
        array: Stored grey values, any shape and type.
        statistics: Of the scan that they come from.

    Returns:
        A new float32 array of the same shape; fill voxels get the value of the minimum.

    Raises:
        InputError: If there are NaN (unless NaN is the fill) or infinite values.
    """
    if array.dtype.kind == "f":
        _refuse_unfinite(array, statistics.fill, "the block being normalised")
    if statistics.fill is not None:
        keep = _not_fill(array, statistics.fill)
        if not keep.all():
            smallest = np.asarray(statistics.minimum).astype(array.dtype)
            array = np.where(keep, array, smallest)
    # In float64 where float32 could not tell neighbouring values apart, such as large integers.
    precise = array.dtype.itemsize > np.dtype(np.int16).itemsize
    kind = np.float64 if precise else np.float32
    values = np.subtract(array, statistics._centre, dtype=kind)
    np.divide(values, statistics._width, out=values)
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
