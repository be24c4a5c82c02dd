"""How a scan compares with those that a model was fitted to, for whoever reads its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from osteon.errors import warn
from osteon.events import Reporter
from osteon.intensity import Statistics, grey_quantiles
from osteon.model_file import Model, ModelSpec
from osteon.prediction.checks import FINE_TUNE, sizes_outside
from osteon.resampling import resampled_axes
from osteon.volume import Volume

#: What a comparison comes to.
INSIDE, OUTSIDE, UNKNOWN = "inside", "outside", "unknown"


@dataclass(frozen=True)
class Likeness:
    """How a scan compares with those that a model was fitted to.

    Attributes:
        voxel_size: ``inside``, ``outside``, or ``unknown`` where the model or the scan's file does
            not say it.
        scan_um: The scan's voxel size along (z, y, x).
        fitted_um: Smallest and largest of the fit.
        resampled_um: The size that the scan was resampled to for being outside; None if not.
        grey: ``inside``, ``outside``, or ``unknown`` where the model does not say it.
        why: The comparison of grey values in words.
        percent: Quantiles that were compared.
        quantiles: Their values in the scan, in normalised grey values; empty if unknown.
    """

    voxel_size: str
    scan_um: tuple[float | None, ...]
    fitted_um: tuple[float, float] | None
    resampled_um: float | None
    grey: str
    why: str
    percent: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description; :meth:`from_dict` reads it back exactly."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Likeness:
        """Build it from :meth:`as_dict`.

        Args:
            data: The description.
        """
        made: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**made)


def compare(
    volume: Volume, statistics: Statistics, spec: ModelSpec, *, resampled_um: float | None = None
) -> Likeness:
    """Compare a scan with those that a model was fitted to.

    Reads up to 8 slices, one at a time, if the model says what grey values it was fitted to.

    Args:
        volume: The scan.
        statistics: Of the scan.
        spec: The model.
        resampled_um: The size that the scan is resampled to for being outside.

    Returns:
        The comparison.

    Raises:
        InputError: If the scan is damaged.
    """
    ranges, axes = spec.ranges, resampled_axes(spec.mode)
    sizes = volume.geometry.voxel_size
    outside = sizes_outside(volume, ranges, axes=axes)
    found = UNKNOWN if outside is None else OUTSIDE if outside else INSIDE
    fitted = ranges.intensities
    taken = None if fitted is None else grey_quantiles(volume, statistics, levels=fitted.levels)
    if fitted is None or taken is None:
        why = (
            "the model does not say what grey values it was fitted to"
            if fitted is None
            else "nothing but fill was seen in the slices that were looked at"
        )
        return Likeness(found, sizes, ranges.voxel_size_um, resampled_um, UNKNOWN, why)
    worst = fitted.farthest(taken)
    of = f"{fitted.scans} scan{'s' if fitted.scans > 1 else ''} of the fit"
    why = f"all quantiles are near those of the {of}"
    if worst is not None:
        why = (
            f"the {worst.level:g} % quantile of its normalised grey values is {worst.value:.2f}, "
            f"and {worst.low:.2f} to {worst.high:.2f} in the {of}"
        )
    grey = INSIDE if worst is None else OUTSIDE
    return Likeness(
        found, sizes, ranges.voxel_size_um, resampled_um, grey, why, fitted.levels, taken
    )


def tell(volume: Volume, likeness: Likeness, *, reporter: Reporter) -> None:
    """Warn where a scan lies outside of the grey values of the fit; say so where that is unknown.

    Args:
        volume: The scan.
        likeness: The comparison.
        reporter: Told of what is unknown, and of resampling.
    """
    if likeness.resampled_um is not None:
        told = " × ".join("?" if s is None else f"{s:g}" for s in likeness.scan_um)
        reporter.message(
            "predict",
            f"the scan's voxels of {told} µm are resampled to {likeness.resampled_um:g} µm, the "
            "nearest size that the model was fitted to; labels come back on the scan's grid",
        )
    if likeness.grey == OUTSIDE:
        warn(
            "grey-values-outside-training",
            f"the scan's grey values lie outside what the model was fitted to: {likeness.why} (the "
            "grey window, the contrast or much more of something in view). "
            f"{FINE_TUNE.capitalize()}",
            where=volume.path,
        )
    elif likeness.grey == UNKNOWN:
        reporter.message("predict", f"grey values were not compared: {likeness.why}")


def with_grey_values_of_all(models: Sequence[Model]) -> Model:
    """Return the first of several models with the grey values that any of them was fitted to.

    Args:
        models: Models that are averaged.

    Returns:
        The first; what it was fitted to is not known if that of one is not.
    """
    first, *others = models
    joined = first.spec.ranges.intensities
    for other in others:
        more = other.spec.ranges.intensities
        joined = None if joined is None or more is None else joined.joined(more)
    if not others:
        return first
    spec = replace(first.spec, ranges=replace(first.spec.ranges, intensities=joined))
    return replace(first, spec=spec)
