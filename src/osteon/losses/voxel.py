"""Losses of voxels: cross-entropy and focal loss, each voxel weighted by its class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from osteon.labels import IGNORE
from osteon.losses.base import SegmentationLoss, Voxels
from osteon.settings import FocalSettings


class CrossEntropyLoss(SegmentationLoss):
    """Cross-entropy, averaged over the labelled voxels.

    Σ w_c(i)·(-log p_i) / Σ w_c(i), with p_i the probability of the true class c(i) of voxel i: as
    torch's ``CrossEntropyLoss``, but 0 instead of NaN where no voxel (or none with a weight) is
    labelled.

    Args:
        weights: Weights of the classes; None: equal.
    """

    def compute(self, voxels: Voxels) -> torch.Tensor:
        """Compute the loss of a checked batch; see :meth:`SegmentationLoss.compute`."""
        total = functional.cross_entropy(
            voxels.logits,
            voxels.labels.long(),
            weight=None if self.weights is None else self.weights.to(voxels.logits),
            ignore_index=IGNORE,
            reduction="sum",
        )
        return _over(total, self.weight_of(voxels).sum())

    def weight_of(self, voxels: Voxels) -> torch.Tensor:
        """Return the weight of each voxel.

        Args:
            voxels: The batch.

        Returns:
            (n, [z,] y, x): the weight of its class, 0 where ignored; bool without weights.
        """
        if self.weights is None:
            return voxels.valid
        index = torch.where(voxels.valid, voxels.labels, 0).long()
        return torch.where(voxels.valid, self.weights.to(voxels.logits)[index], 0)


class FocalLoss(CrossEntropyLoss):
    """Focal loss of the softmax, averaged over the labelled voxels.

    Σ w_c(i)·(1 - p_i)^γ·(-log p_i) / Σ w_c(i), with p_i the probability of the true class c(i) of
    voxel i: Lin et al. 2017, "Focal loss for dense object detection", eq. 5, with the class
    weights in the place of α. γ = 0 is the cross-entropy.

    The focal loss of segmentation-models-pytorch sums K two-class losses of sigmoids instead,
    which does not fit a network whose classes exclude each other; its softmax form knows neither
    an ignored label nor weights, and its gradient is NaN for γ < 1 at p = 1. MONAI's is 1/K of
    this one, or the same where an ignored label is set, and spoilt by a NaN under the mask.

    Args:
        settings: γ, the focus.
        weights: Weights of the classes; None: equal.
    """

    def __init__(
        self, settings: FocalSettings | None = None, weights: Sequence[float] | None = None
    ):
        super().__init__(weights)
        self.gamma = (settings or FocalSettings()).gamma

    def compute(self, voxels: Voxels) -> torch.Tensor:
        """Compute the loss of a checked batch; see :meth:`SegmentationLoss.compute`."""
        surprise = functional.cross_entropy(
            voxels.logits, voxels.labels.long(), ignore_index=IGNORE, reduction="none"
        )
        # 1 - p without cancellation; above 0, where a power below 1 has no slope.
        miss = (-torch.expm1(-surprise)).clamp_min(torch.finfo(surprise.dtype).tiny)
        loss = miss.pow(self.gamma) * surprise
        weight = self.weight_of(voxels)
        if self.weights is not None:
            loss = loss * weight
        return _over(loss.sum(), weight.sum())


def _over(total: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Divide, where there is nothing to divide by 1: 0 with a gradient of 0."""
    return total / torch.where(weight > 0, weight, 1)
