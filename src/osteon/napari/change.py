"""What a model labels differently after it has learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from osteon.events import Reporter
from osteon.labels import IGNORE
from osteon.napari.predictors import Predictors, Request
from osteon.napari.session import Session
from osteon.napari.work import Give

if TYPE_CHECKING:
    from osteon.workflows.correcting import Corrections

Labels = npt.NDArray[np.uint8]


def compare_models(
    session: Session, before: Request, after: Request, *, shown: int, reviewed: Corrections
) -> Any:
    """Make the task that labels the slice that is shown and the reviewed ones by two models.

    Args:
        session: The session.
        before: The scan with the model that was fitted further.
        after: The scan with the new model.
        shown: The slice that is shown.
        reviewed: The reviewed slices.

    Returns:
        The task: gives the classes and the new labels of the slice, and returns what changed, in
        words.
    """
    own = reviewed.reviewed(after.scan)
    looked = sorted({shown, *own})

    def task(reporter: Reporter, give: Give) -> str:
        silent = Reporter(stop=reporter.stop)
        found: dict[str, dict[int, Labels]] = {}
        with reporter.stage("compare", total=2 * len(looked), unit="slice") as progress:
            for when, request in (("before", before), ("after", after)):
                predictor = Predictors.of(session).get(request, alone=True, reporter=silent)
                found[when] = {}
                for z in looked:
                    [one] = predictor.run(slice(z, z + 1), reporter=silent)
                    found[when][z] = one.labels
                    if when == "after" and z == shown:
                        give(predictor.scheme)
                        give(one)
                    progress.advance()
        truths = {z: reviewed.labels(after.scan, z) for z in own}
        return in_words(found["before"], found["after"], shown=shown, truths=truths)

    return task


def in_words(
    before: Mapping[int, Labels],
    after: Mapping[int, Labels],
    *,
    shown: int,
    truths: Mapping[int, Labels],
) -> str:
    """Say what changed.

    Args:
        before: Labels (y, x) by slice, of the model before.
        after: The same of the new model.
        shown: The slice that is shown.
        truths: Corrected labels by slice; 255 does not count.
    """
    changed = float(np.mean(before[shown] != after[shown]))
    text = f"The new model labels {changed:.1%} of the voxels of slice {shown} differently."
    if truths:
        then, now = (_agreement(found, truths) for found in (before, after))
        text += (
            f" Of the voxels of the reviewed slices, {then:.1%} were labelled as you did before, "
            f"{now:.1%} are now. It has learned from these slices: judge it by others."
        )
    return text


def _agreement(found: Mapping[int, Labels], truths: Mapping[int, Labels]) -> float:
    counts: Sequence[tuple[int, int]] = [
        (int(((found[z] == truth) & (truth != IGNORE)).sum()), int((truth != IGNORE).sum()))
        for z, truth in truths.items()
    ]
    voxels = sum(count for _, count in counts)
    return sum(right for right, _ in counts) / voxels if voxels else float("nan")
