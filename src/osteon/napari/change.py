"""What a model labels differently after it has learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from osteon.events import Reporter
from osteon.labels import IGNORE, LabelClass, LabelScheme
from osteon.napari.layers import KEY, geometry_of, labels_keywords
from osteon.napari.predictors import Predictors, Request
from osteon.napari.result import finest
from osteon.napari.session import Session
from osteon.napari.work import Give

if TYPE_CHECKING:
    from osteon.workflows.correcting import Corrections

#: Told from bone, pores and grey alike.
_COLOUR = (230, 51, 153)
_OPACITY = 0.9
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Changed:
    """Labels (y, x) of a slice by the model before and by the new one."""

    z: int
    before: Labels
    after: Labels


def show_change(viewer: Any, scan: Any, change: Changed, *, model: str, scheme: LabelScheme) -> Any:
    """Show the voxels of a slice that the new model labels differently.

    Args:
        viewer: The viewer.
        scan: The scan's layer.
        change: The slice.
        model: What the new model is called.
        scheme: The classes.

    Returns:
        The layer, of all slices that were compared: under the pointer it says what a voxel was and
        what it is now.
    """
    name = f"{scan.name}: changed by {model}"
    if name not in viewer.layers:
        keywords = labels_keywords(name, geometry_of(scan), changes_of(scheme))
        keywords["opacity"] = _OPACITY
        keywords["metadata"][KEY]["derived"] = True
        # Zeros take no memory until something is written over them.
        viewer.add_labels(np.zeros(finest(scan).data.shape, np.uint8), **keywords)
    layer = viewer.layers[name]
    layer.data[change.z] = encoded(change, len(scheme))
    layer.refresh()
    return layer


def changes_of(scheme: LabelScheme) -> LabelScheme:
    """Return a class for each change from one class to another, as :func:`encoded` numbers them.

    Args:
        scheme: The classes.
    """
    found = [LabelClass("the same", 0, (0, 0, 0))]
    n = len(scheme)
    for was in scheme.classes:
        for now in scheme.classes:
            value = 1 + was.value * n + now.value
            if value < IGNORE:
                found.append(LabelClass(f"was {was.name}, now {now.name}", value, _COLOUR))
    return LabelScheme(tuple(found))


def encoded(change: Changed, classes: int) -> Labels:
    """Number the changes of a slice: 0 none, else 1 + before x classes + after.

    Args:
        change: The slice.
        classes: Number of classes; more than 15 do not have a number for each change, and 254
            stands for the others.
    """
    number = 1 + change.before.astype(np.int64) * classes + change.after
    number[change.before == change.after] = 0
    return np.minimum(number, IGNORE - 1).astype(np.uint8)


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
        The task: gives the classes, the new labels of the slice and what changed in each, and
        returns what changed, in words.
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
        for z in looked:
            give(Changed(z, found["before"][z], found["after"][z]))
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
