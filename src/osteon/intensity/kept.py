"""The statistics of a scan's grey values, as they are kept with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from osteon.errors import InputError
from osteon.intensity.recipes import load_recipe
from osteon.tables.choices import RECIPES


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
            where the recipe or the scan has none.
        n: Number of voxels that count.
        sample: What was looked at, for a person.
        low: 1st percentile of the voxels that count, or (``edges``) the grey value on the dark
            side of the edges of bone; None where the recipe does not need it.
        high: 99th percentile of them, or the grey value on the bright side.
        fill_as: The grey value that fill voxels are normalised as; None: ``minimum``.
        strength: ``edges`` alone: how far the edges stand out of the noise (their gradient over
            the noise's); 0 where there are none that could be bone's.
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
    fill_as: float | None = None
    strength: float | None = None

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

        def optional(name: str) -> float | None:
            return None if data.get(name) is None else float(data[name])

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
                low=optional("low"),
                high=optional("high"),
                fill_as=optional("fill_as"),
                strength=optional("strength"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the statistics of the grey values cannot be read: {error}") from None
        if made.recipe not in RECIPES or made.version != load_recipe(made.recipe).version:
            raise InputError(
                f"this osteon does not know version {made.version} of the recipe '{made.recipe}'",
                mend="update osteon",
            )
        if not all(map(math.isfinite, made._numbers)) or made.width <= 0:
            raise InputError("the statistics of the grey values are not those of a scan")
        return made

    @property
    def centre(self) -> float:
        """The grey value that becomes 0."""
        scale = load_recipe(self.recipe).scale
        if scale in ("percentile", "edges"):
            return sum(self._pair) / 2
        return self.mean if scale == "zscore" else self.minimum

    @property
    def width(self) -> float:
        """The difference of grey values that becomes 1."""
        scale = load_recipe(self.recipe).scale
        if scale in ("percentile", "edges"):
            low, high = self._pair
            return (high - low) / (4 if scale == "percentile" else 2)
        return self.std if scale == "zscore" else self.maximum - self.minimum

    @property
    def _numbers(self) -> tuple[float, ...]:
        more = [v for v in (self.fill_as, self.strength) if v is not None]
        return self.mean, self.std, self.minimum, self.maximum, self.centre, self.width, *more

    @property
    def _pair(self) -> tuple[float, float]:
        # Not finite where they are missing, so that reading such statistics fails.
        return (
            (math.nan, math.nan) if self.low is None or self.high is None else (self.low, self.high)
        )
