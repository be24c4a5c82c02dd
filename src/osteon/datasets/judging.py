"""What the data doctor makes of one scan and its mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from osteon.datasets.findings import Finding, numbers
from osteon.datasets.look import Look
from osteon.datasets.manifest import ScanRow
from osteon.datasets.masks import Pair
from osteon.datasets.orientation import LEAST, orientation
from osteon.datasets.remaps import MOST_VALUES, as_toml, propose_remap
from osteon.errors import InputError, OsteonError
from osteon.intensity import SAMPLE_SLICES, load_recipe, statistics
from osteon.labels import LabelScheme
from osteon.settings import FitSettings


def of_error(name: str, scan: str, error: OsteonError) -> Finding:
    """Turn an error into a finding.

    Args:
        name: Name of the finding.
        scan: Name of the scan.
        error: The error.
    """
    where = scan if error.where is None else f"{scan}: {error.where}"
    return Finding("error", name, where, error.what, error.mend or "")


def of_image(seen: Look, settings: FitSettings) -> Iterator[Finding]:
    """Judge a scan.

    Args:
        seen: What was seen of it.
        settings: Settings of the fit that is planned.

    Yields:
        Findings.
    """
    pair, name = seen.pair, seen.pair.name
    depth, *plane = pair.image.shape
    if len(seen.constant) == depth:
        pass  # the statistics below say so
    elif seen.constant:
        yield Finding(
            "warning",
            "constant-slices",
            name,
            f"{len(seen.constant)} of {depth} slices are constant: {numbers(seen.constant)}",
            "leave them out by slices = [first, last + 1]",
        )
    recipe = settings.normalisation.recipe
    try:
        found = statistics(pair.image, recipe)
    except InputError as error:
        yield of_error("cannot-normalise", name, error)
    else:
        yield from _beyond_sample(seen, nan_is_fill=found.fill is not None and np.isnan(found.fill))
        if load_recipe(recipe).voxels == "positive" and found.n < 0.5 * _sampled(pair):
            yield Finding(
                "warning",
                "few-positive-voxels",
                name,
                f"only {100 * found.n / _sampled(pair):.0f} % of the voxels are above 0, and "
                f"'{recipe}' counts those alone",
                "choose normalisation.recipe=zscore for signed scans",
            )
    if min(plane) < settings.patches.size:
        yield Finding(
            "note",
            "slice-smaller-than-patch",
            name,
            f"slices of {plane[0]} × {plane[1]} px are padded to the patch of "
            f"{settings.patches.size} px; the padding is ignored",
            "a smaller patches.size would waste less",
        )


def _sampled(pair: Pair) -> int:
    depth, height, width = pair.image.shape
    return min(depth, SAMPLE_SLICES) * height * width


def _beyond_sample(seen: Look, *, nan_is_fill: bool) -> Iterator[Finding]:
    if not seen.unfinite:
        return
    text = f"{seen.bad_voxels} NaN or infinite values in slices {numbers(seen.unfinite)}"
    if nan_is_fill:
        yield Finding("note", "nan-is-fill", seen.pair.name, f"{text}; NaN is taken for fill")
    else:
        yield Finding(
            "error",
            "nan",
            seen.pair.name,
            text,
            "replace them by the grey value around them, or export the scan as integers",
        )


def of_labels(seen: Look, scheme: LabelScheme) -> Iterator[Finding]:
    """Judge the mask of a scan.

    Args:
        seen: What was seen of it.
        scheme: The classes.

    Yields:
        Findings.
    """
    pair, name = seen.pair, seen.pair.name
    if seen.failure is not None:
        yield of_error("cannot-read-mask", name, seen.failure)
        return
    if seen.unknown:
        yield _unknown(pair.row, seen.unknown, scheme)
        return
    if not pair.labelled:
        return
    if seen.counts.sum() == 0:
        yield Finding(
            "error", "nothing-labelled", name, "all voxels of the mask are ignored", "see remap"
        )
        return
    if seen.counts[1:].sum() == 0:
        yield Finding(
            "warning",
            "empty-mask",
            name,
            "the mask is empty: background alone",
            "look whether it is the right file; leave the scan out if it was not labelled",
        )
        return
    if seen.empty:
        yield Finding(
            "note",
            "empty-slices",
            name,
            f"{len(seen.empty)} of {len(pair.labelled)} labelled slices have background alone: "
            f"{numbers(seen.empty)}",
            "if they were not labelled, leave them out by slices or mask_slices",
        )
    yield from _dark_bone(seen, scheme)
    yield from _misplaced(pair)


def _unknown(row: ScanRow, values: set[float], scheme: LabelScheme) -> Finding:
    listed = ", ".join(f"{v:g}" for v in sorted(values)[:MOST_VALUES])
    if len(values) > MOST_VALUES:
        return Finding(
            "error",
            "mask-is-grey",
            row.name,
            f"the mask has more than {MOST_VALUES} different values: it seems to be a grey image, "
            "or saved as JPEG, which changes values",
            "export the labels as TIFF, PNG or another lossless format",
        )
    remap = propose_remap(values, scheme)
    classes = f"the classes are {', '.join(scheme.names)}, or ignore"
    return Finding(
        "error",
        "labels-need-remap",
        row.name,
        f"the mask has the values {listed}, and not all of them are class numbers",
        f"if it is meant so, add {as_toml(row.remap | remap)}; {classes}"
        if remap
        else f'add to the manifest what they are: remap = {{ "value" = "class" }}; {classes}',
    )


def _dark_bone(seen: Look, scheme: LabelScheme) -> Iterator[Finding]:
    if "bone" not in scheme.names:
        return
    means = seen.brightness / np.maximum(seen.counts, 1)
    bone = scheme.value("bone")
    for other in ("background", "pores"):
        value = scheme.value(other) if other in scheme.names else bone
        if (
            value != bone
            and seen.counts[value]
            and seen.counts[bone]
            and means[value] > means[bone]
        ):
            yield Finding(
                "warning",
                "bone-is-dark",
                seen.pair.name,
                f"bone is darker in the scan ({means[bone]:.4g}) than {other} ({means[value]:.4g})",
                "look whether the classes are swapped in the remap, or the scan is inverted",
            )


def _misplaced(pair: Pair) -> Iterator[Finding]:
    found = orientation(pair)
    if found is None:
        return
    if found.flip:
        yield Finding(
            "warning",
            "mask-flipped",
            pair.name,
            f"the mask fits the scan better {found.flip}: it explains {100 * found.best:.0f} % of "
            f"the variance of grey values then, and {100 * found.as_is:.0f} % as it is",
            "look at the overlay; export the mask again with the axes of the scan",
        )
    elif found.as_is < LEAST:
        yield Finding(
            "warning",
            "mask-unrelated",
            pair.name,
            f"the mask explains {100 * found.as_is:.1f} % of the variance of grey values",
            "look at the overlay: is it the mask of this scan?",
        )
