"""The pictures in the report of a fit: validation slices with truth and prediction."""

from __future__ import annotations

from collections.abc import Sequence

from osteon.backends import open_backend
from osteon.datasets import Pair, Part
from osteon.events import Reporter
from osteon.files import parse_memory
from osteon.intensity import Statistics
from osteon.model_file import Model
from osteon.prediction.preview import Preview
from osteon.reports import SlicePicture
from osteon.settings import PredictSettings
from osteon.workflows.fit_data import Prepared
from osteon.workflows.predict_report import LARGEST_PICTURE, middle_part

#: Validation slices that the report shows, spread over the scans.
MOST_PICTURES = 6
#: Height and width of what is shown of a slice that a 3D network has labelled.
LARGEST_3D = 256


def _chosen(parts: Sequence[Part]) -> list[tuple[str, int]]:
    """Slices at even distances of each part, by rule, so that nobody picks the beautiful ones."""
    if not parts:
        return []
    each = max(1, MOST_PICTURES // len(parts))
    chosen = []
    for part in parts[:MOST_PICTURES]:
        n = len(part.slices)
        count = min(each, n)
        chosen += [(part.scan, part.slices[(2 * i + 1) * n // (2 * count)]) for i in range(count)]
    return chosen


def pictures(model: Model, prepared: Prepared, reporter: Reporter) -> list[SlicePicture]:
    """Draw validation slices with their labels, as the network sees them.

    Args:
        model: The fitted model.
        prepared: The data.
        reporter: Told of the progress.

    Returns:
        The pictures; none without validation.
    """
    chosen = _chosen(prepared.division.validation)
    if not chosen:
        return []
    asked = PredictSettings()
    backend = open_backend(model.spec.network, model.weights, asked)
    preview = Preview(model.spec, backend, parse_memory(asked.memory))
    pairs = {pair.name: pair for pair in prepared.seen}
    made = []
    with reporter.stage("report", total=len(chosen), unit="slice") as progress:
        for name, z in chosen:
            made.append(_picture(preview, pairs[name], z, prepared.statistics[name]))
            progress.advance()
    return made


def _picture(preview: Preview, pair: Pair, z: int, statistics: Statistics) -> SlicePicture:
    _, height, width = pair.image.shape
    # A 3D network labels many slices for one picture: whole ones would take longer than the fit.
    largest = LARGEST_3D if preview.spec.mode == "3D" else LARGEST_PICTURE
    box = middle_part(height, largest=largest), middle_part(width, largest=largest)
    here = slice(z, z + 1)
    return SlicePicture(
        pair.name,
        z,
        pair.image.read(here, *box)[0],
        preview.labels(pair.image, z, box=box, statistics=statistics),
        pair.labels.read(here, *box)[0] if pair.labels else None,
        pair.image.geometry.voxel_size[2],
        "The middle of the slice." if max(height, width) > largest else "",
    )
