"""Losses: modules called with logits (n, K, [z,] y, x) and labels (n, [z,] y, x): a scalar.

Voxels labelled 255 (:data:`osteon.labels.IGNORE`) have no part in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from torch import nn

from osteon.errors import UsageError
from osteon.losses.base import SegmentationLoss, Voxels, check_weights, labelled_voxels
from osteon.losses.combined import (
    DiceCrossEntropyLoss,
    FocalTverskyLoss,
    JaccardCrossEntropyLoss,
)
from osteon.losses.lovasz import LovaszLoss
from osteon.losses.region import DiceLoss, JaccardLoss, RegionLoss, TverskyLoss, soft_counts
from osteon.losses.voxel import CrossEntropyLoss, FocalLoss
from osteon.settings import LossSettings
from osteon.tables.losses import LOSSES

__all__ = [
    "CrossEntropyLoss",
    "DiceCrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "JaccardCrossEntropyLoss",
    "JaccardLoss",
    "LovaszLoss",
    "RegionLoss",
    "SegmentationLoss",
    "TverskyLoss",
    "Voxels",
    "build_loss",
    "labelled_voxels",
    "soft_counts",
]

#: The setting that class weights come from.
_SETTING = "loss.class_weights"

#: What the rows of the table are: settings and weights of the classes → the loss.
Builder = Callable[[LossSettings, Sequence[float] | None], nn.Module]


def build_loss(
    settings: LossSettings,
    *,
    classes: int | None = None,
    class_weights: Sequence[float] | None = None,
) -> nn.Module:
    """Build the loss that settings ask for.

    Args:
        settings: One row of the loss settings.
        classes: Number of classes; None: weights are checked against the logits later.
        class_weights: Weights from the data (:func:`osteon.datasets.class_weights`), where
            ``settings.class_weights`` is ``data``; not to be given otherwise.

    Returns:
        The loss module.

    Raises:
        UsageError: If weights from the data are asked for and not given, or given and not
            asked for; or if they are not one a class, finite, not negative and not all 0.
    """
    weights = settings.class_weights
    if weights == "data":
        if class_weights is None:
            raise UsageError(
                "the settings ask for class weights from the data, but none were computed",
                where=_SETTING,
                mend="compute them by osteon.datasets.class_weights, or give numbers",
            )
        weights = tuple(class_weights)
    elif class_weights is not None:
        raise UsageError(
            "class weights from the data are given, but the settings do not ask for them",
            where=_SETTING,
            mend=f"set {_SETTING}=data, or leave them out",
        )
    if weights is not None:
        check_weights(weights, classes, where=_SETTING)
    builder = cast(Builder, LOSSES.load(settings.name))
    return builder(settings, weights)
