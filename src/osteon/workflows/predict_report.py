"""The report of a prediction: its pictures, its words, and the warnings there were."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osteon.errors import OsteonWarning
from osteon.formats import open_volume
from osteon.model_file import Model
from osteon.prediction import HALO, Predicted
from osteon.reports import SlicePicture
from osteon.reports.prediction import PredictionReport, write_prediction_report
from osteon.settings import PredictSettings
from osteon.volume import Volume
from osteon.workflows.record import machine, versions

#: Slices that are shown, at even distances.
MOST_PICTURES = 6
#: A larger slice is shown by its middle part: a report is no place for a gigapixel.
LARGEST_PICTURE = 2048


@contextmanager
def noted() -> Iterator[list[str]]:
    """Note the warnings of osteon that are issued inside, in words; they are shown as ever.

    Yields:
        The list that they are added to.
    """
    found: list[str] = []
    shown = warnings.showwarning

    def note(message: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(message, OsteonWarning):
            found.append(message.text)
        shown(message, *args, **kwargs)

    warnings.showwarning = note
    try:
        yield found
    finally:
        warnings.showwarning = shown


def report_path(labels: Path) -> Path:
    """Return where the report of a label volume is: beside it.

    Args:
        labels: The label volume.
    """
    return labels.with_name(f"{labels.name}.report.html")


def write_report(
    labels: Path,
    scan: Volume,
    models: Sequence[Model],
    predicted: Predicted,
    *,
    settings: PredictSettings,
    told: list[str],
) -> Path:
    """Write the report of a prediction beside its labels; an earlier one is replaced.

    Holds a slice of scan and labels, of at most 2048 × 2048 pixels, for each of six pictures.

    Args:
        labels: The label volume.
        scan: The scan.
        models: The model, or those whose mean it is.
        predicted: What was found and how.
        settings: The settings of the prediction.
        told: Warnings that were issued on the way.

    Returns:
        The report.

    Raises:
        InputError: If scan or labels cannot be read any more.
        OutputError: If it cannot be written.
    """
    path = report_path(labels)
    sizes = scan.geometry.voxel_size
    voxel = None if None in sizes else math.prod(float(s) for s in sizes if s is not None)
    names = ", ".join(model.spec.name for model in models)
    data = PredictionReport(
        title=f"Prediction: {labels.name}",
        summary=[
            f"{scan.path} of {_by(scan.shape)} voxels was labelled by the model "
            f"{names} in {predicted.seconds:.0f} s ({predicted.backend}). The labels are "
            f"in {labels}."
        ],
        warnings=list(dict.fromkeys(told)),
        scheme=models[0].spec.labels,
        voxels=predicted.voxels,
        voxel_um3=voxel,
        pictures=_pictures(labels, scan),
        how=predicted.as_dict(),
        settings=settings.model_dump(mode="json"),
        versions={**versions(), **machine()},
        files={
            "scan": str(scan.path),
            "labels": str(labels),
            "model": [f"{m.path} (weights SHA-256 {m.spec.weights_sha256})" for m in models],
        },
    )
    write_prediction_report(path, data, overwrite=True)
    return path


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{n:,}" for n in shape)


def _pictures(labels: Path, scan: Volume) -> list[SlicePicture]:
    found = open_volume(labels)
    depth, height, width = scan.shape
    count = min(MOST_PICTURES, depth)
    box = middle_part(height), middle_part(width)
    cut = max(height, width) > LARGEST_PICTURE
    made = []
    for z in sorted({(2 * i + 1) * depth // (2 * count) for i in range(count)}):
        here = slice(z, z + 1)
        made.append(
            SlicePicture(
                labels.name,
                z,
                scan.read(here, *box)[0],
                found.read(here, *box)[0],
                pixel_um=scan.geometry.voxel_size[2],
                note="The middle of the slice." if cut else "",
            )
        )
    return made


def middle_part(n: int, *, largest: int = LARGEST_PICTURE) -> slice:
    """Return what a picture shows of an axis: all of it, or its middle, at a multiple of the halo.

    Args:
        n: Length of the axis in pixels.
        largest: The most of it that is shown.
    """
    if n <= largest:
        return slice(0, n)
    start = (n - largest) // 2 // HALO * HALO
    return slice(start, start + largest)
