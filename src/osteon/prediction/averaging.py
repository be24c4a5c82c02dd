"""Better labels for more time: the mean of several models, and of mirrored and turned views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from osteon.backends import Backend
from osteon.errors import UsageError
from osteon.model_file import Model, ModelSpec
from osteon.prediction.plan import input_rules

Images = npt.NDArray[np.float32]
#: Arrays of class probabilities beside a network's activations: summed, added, their exponentials.
_COPIES = 4
_FLOAT = 4
#: Smallest probability whose logarithm is taken.
_LEAST = np.float32(1e-12)


class AveragedBackend:
    """The mean of the class probabilities of several networks and views, behind one interface.

    Views are seen within the slice (y, x): 4 are the input mirrored along y, x and both; 8 are
    those, turned by 90° as well.

    Args:
        members: The networks, ready to run.
        views: 1, 4 or 8.
        classes: Number of classes.
    """

    def __init__(self, members: Sequence[Backend], *, views: int, classes: int):
        self._members, self._views = tuple(members), views
        self.bytes_per_pixel = (
            max(member.bytes_per_pixel for member in members) + _COPIES * _FLOAT * classes
        )
        several = f"mean of {len(members)} models" if len(members) > 1 else "one model"
        self.description = f"{several}, {views} view(s): {members[0].description}"

    def run(self, batch: Images) -> Images:
        """Return logarithms of mean probabilities; see :meth:`osteon.backends.Backend.run`."""
        logits: Images = np.log(np.maximum(self._mean(batch), _LEAST))
        return logits

    def labels(self, batch: Images) -> npt.NDArray[np.uint8]:
        """Return the classes of highest mean probability; see :class:`osteon.backends.Backend`."""
        found: npt.NDArray[np.uint8] = self._mean(batch).argmax(1).astype(np.uint8)
        return found

    def _mean(self, batch: Images) -> Images:
        total: Images | None = None
        count = len(self._members) * self._views
        for turns, mirrored in _views(self._views):
            seen = np.ascontiguousarray(_turned(batch, turns, mirrored=mirrored))
            for member in self._members:
                odds = member.run(seen).astype(np.float32)
                odds -= odds.max(1, keepdims=True)
                np.exp(odds, out=odds)
                odds /= odds.sum(1, keepdims=True) * np.float32(count)
                back = _back(odds, turns, mirrored=mirrored)
                if total is None:
                    total = np.ascontiguousarray(back)
                else:
                    total += back
        if total is None:
            raise UsageError("a mean needs at least one model and one view")
        return total


def _views(number: int) -> Iterator[tuple[int, bool]]:
    """Turns by 90° and mirrorings: 180° with a mirroring is a mirroring along the other axis."""
    turns = {1: (0,), 4: (0, 2), 8: (0, 1, 2, 3)}[number]
    for turn in turns:
        for mirrored in (False, True) if number > 1 else (False,):
            yield turn, mirrored


def _turned(array: Images, turns: int, *, mirrored: bool) -> Images:
    seen = np.rot90(array, turns, axes=(-2, -1))
    return seen[..., ::-1] if mirrored else seen


def _back(array: Images, turns: int, *, mirrored: bool) -> Images:
    return np.rot90(array[..., ::-1] if mirrored else array, -turns, axes=(-2, -1))


def check_together(models: Sequence[Model]) -> None:
    """Refuse models whose class probabilities cannot be averaged.

    Args:
        models: The models.

    Raises:
        UsageError: If they do not label the same classes of the same input.
    """
    first = models[0]
    for other in models[1:]:
        ours, theirs = _needs(first.spec), _needs(other.spec)
        differ = [name for name in ours if ours[name] != theirs[name]]
        if differ:
            raise UsageError(
                f"the models cannot be averaged: they differ in {', '.join(differ)}",
                where=other.path,
                mend="average models that were fitted with the same settings, such as folds",
            )


def _needs(spec: ModelSpec) -> dict[str, object]:
    rules = input_rules(spec.network)
    return {
        "mode": spec.mode,
        "channels": (spec.network.in_channels, spec.network.dimensions),
        "classes": [(c.value, c.name) for c in spec.labels.classes],
        "normalisation": (spec.recipe, spec.recipe_version),
        "voxel size": spec.voxel_size_um,
        "context": spec.context,
        "thickness of bone (feature_px)": spec.feature_px,
        "surface of bone": spec.surface,
        "sizes of input": rules,
        "need of the whole input": spec.network.global_context,
    }
