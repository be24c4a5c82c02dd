"""The spread of normalised grey values: of a scan, and of all scans that a model was fitted to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from osteon.intensity.kept import Statistics
from osteon.intensity.recipes import load_recipe
from osteon.intensity.taking import normalise, sample_slices
from osteon.volume import Volume

#: Quantiles that are compared, in percent.
LEVELS = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)
#: Slices that they are taken from, evenly spaced, and voxels of each, at even distances.
QUANTILE_SLICES, QUANTILE_VOXELS = 8, 2**16
#: Quantiles from here outwards say what air and dense bone are normalised to; those between them
#: move with the share of air and bone in view as well.
ENDS = (5.0, 95.0)
#: How far a quantile may lie beyond those of the fit, as a share of the distance between the
#: lowest and the highest of them: at the ends, and between them. Measured on real vertebrae by
#: three recipes: no one of four specimens is outside of the other three, nor are noise, rings,
#: cupping or a crop; inverted grey values and a window that cuts bone off are.
END_TOLERANCE, MIDDLE_TOLERANCE = 1 / 8, 1 / 4
#: Of scans that are all but constant.
_LEAST_WIDTH = 1e-6


def grey_quantiles(
    volume: Volume, statistics: Statistics, *, levels: Sequence[float] = LEVELS
) -> tuple[float, ...] | None:
    """Take quantiles of the normalised grey values of a scan, without its fill.

    Reads up to 8 slices, one at a time; the same scan always gives the same figures.

    Args:
        volume: The scan.
        statistics: Of the scan, by the recipe of the model.
        levels: In percent, ascending.

    Returns:
        A value a level; None if the slices hold nothing but fill.

    Raises:
        InputError: If the scan is damaged.
    """
    positive = load_recipe(statistics.recipe).voxels == "positive"
    taken = []
    for z in sample_slices(volume.shape[0], most=QUANTILE_SLICES):
        raw = volume.read(slice(z, z + 1)).reshape(-1)
        raw = raw[:: max(1, raw.size // QUANTILE_VOXELS)]
        if positive:
            raw = raw[raw > 0]
        elif statistics.fill is not None:
            fill = statistics.fill
            raw = raw[~np.isnan(raw) if math.isnan(fill) else raw != fill]
        taken.append(normalise(raw, statistics))
    values = np.concatenate(taken)
    if not values.size:
        return None
    return tuple(float(value) for value in np.percentile(values, levels))


@dataclass(frozen=True)
class Deviation:
    """A quantile of a scan that lies beyond those of the fit.

    Attributes:
        level: The quantile, in percent.
        value: Its value, in normalised grey values.
        low: The smallest among the scans of the fit.
        high: The largest.
    """

    level: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class GreyRange:
    """Quantiles of the normalised grey values of the scans that a model was fitted to.

    Attributes:
        levels: In percent, ascending.
        low: The smallest value of each quantile among the scans.
        high: The largest.
        scans: Number of scans.
    """

    levels: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    scans: int

    @classmethod
    def of(cls, scans: Sequence[Sequence[float]]) -> GreyRange:
        """Gather the quantiles (:func:`grey_quantiles`) of at least one scan.

        Args:
            scans: The quantiles of each at :data:`LEVELS`.
        """
        table = np.array(scans, np.float64)
        low, high = (tuple(float(v) for v in found) for found in (table.min(0), table.max(0)))
        return cls(LEVELS, low, high, len(scans))

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description; :meth:`from_dict` reads it back exactly."""
        return {
            "percent": list(self.levels),
            "low": list(self.low),
            "high": list(self.high),
            "scans": self.scans,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GreyRange:
        """Build it from :meth:`as_dict`.

        Args:
            data: The description.

        Raises:
            KeyError: If an entry is missing.
            TypeError: If one is of the wrong kind.
            ValueError: If one is not what it should be.
        """
        levels, low, high = (
            tuple(float(v) for v in data[name]) for name in ("percent", "low", "high")
        )
        scans = int(data["scans"])
        sound = (
            len(levels) == len(low) == len(high) > 1
            and scans > 0
            and all(map(math.isfinite, (*levels, *low, *high)))
            and all(a < b for a, b in zip((-1e-9, *levels), (*levels, 100 + 1e-9), strict=True))
            and all(a <= b for a, b in zip(low, high, strict=True))
        )
        if not sound:
            raise ValueError("'intensities'")
        return cls(levels, low, high, scans)

    def joined(self, other: GreyRange) -> GreyRange | None:
        """Return what the scans of both span; None if they were measured at other levels.

        Args:
            other: Of another model.
        """
        if self.levels != other.levels:
            return None
        return GreyRange(
            self.levels,
            tuple(map(min, zip(self.low, other.low, strict=True))),
            tuple(map(max, zip(self.high, other.high, strict=True))),
            self.scans + other.scans,
        )

    def farthest(self, quantiles: Sequence[float]) -> Deviation | None:
        """Return the quantile of a scan that lies farthest outside; None if all are inside.

        Outside is what is beyond the range by more than :data:`END_TOLERANCE` (at the ends) or
        :data:`MIDDLE_TOLERANCE` of the distance between the lowest and the highest quantile of the
        fit; farthest is counted in these tolerances.

        Args:
            quantiles: Of the scan, at the same levels.
        """
        width = max(self.high[-1] - self.low[0], _LEAST_WIDTH)
        found: list[tuple[float, Deviation]] = []
        for level, value, low, high in zip(
            self.levels, quantiles, self.low, self.high, strict=True
        ):
            middle = ENDS[0] < level < ENDS[1]
            tolerance = width * (MIDDLE_TOLERANCE if middle else END_TOLERANCE)
            beyond = max(low - value, value - high) / tolerance
            if beyond > 1:
                found.append((beyond, Deviation(level, value, low, high)))
        return max(found, key=lambda entry: entry[0])[1] if found else None
