"""Weighted sums of losses; a sum's class weights go to both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch

from osteon.losses.base import SegmentationLoss, Voxels
from osteon.losses.region import DiceLoss, JaccardLoss, TverskyLoss
from osteon.losses.voxel import CrossEntropyLoss, FocalLoss
from osteon.settings import (
    DiceCrossEntropySettings,
    FocalSettings,
    FocalTverskySettings,
    JaccardCrossEntropySettings,
    TverskySettings,
)


class _Sum(SegmentationLoss):
    """Σ weight·loss over the terms, of a batch that is checked once."""

    def __init__(
        self, terms: Sequence[tuple[float, SegmentationLoss]], weights: Sequence[float] | None
    ):
        super().__init__(weights)
        self.factors = tuple(factor for factor, _ in terms)
        self.terms = torch.nn.ModuleList(term for _, term in terms)

    def compute(self, voxels: Voxels) -> torch.Tensor:
        """Compute the loss of a checked batch; see :meth:`SegmentationLoss.compute`."""
        parts = [
            factor * cast(SegmentationLoss, term).compute(voxels)
            for factor, term in zip(self.factors, self.terms, strict=True)
        ]
        return torch.stack(parts).sum()


class FocalTverskyLoss(_Sum):
    """Focal loss plus Tversky loss, each with a weight (0.5 and 0.5), as in the paper's program.

    Not the "focal Tversky loss" of Abraham & Khan 2019, which raises the Tversky loss to a power.

    Args:
        settings: The weights of the two, and their parameters.
        weights: Weights of the classes; None: equal.
    """

    def __init__(
        self, settings: FocalTverskySettings | None = None, weights: Sequence[float] | None = None
    ):
        settings = settings or FocalTverskySettings()
        tversky = TverskySettings(alpha=settings.alpha, beta=settings.beta)
        super().__init__(
            (
                (settings.focal_weight, FocalLoss(FocalSettings(gamma=settings.gamma), weights)),
                (settings.tversky_weight, TverskyLoss(tversky, weights)),
            ),
            weights,
        )


class DiceCrossEntropyLoss(_Sum):
    """Dice loss plus weighted cross-entropy (mean over the labelled voxels).

    Isensee et al. 2021, "nnU-Net", with equal weights of the two by default.

    Args:
        settings: The weight of the cross-entropy.
        weights: Weights of the classes; None: equal.
    """

    def __init__(
        self,
        settings: DiceCrossEntropySettings | None = None,
        weights: Sequence[float] | None = None,
    ):
        settings = settings or DiceCrossEntropySettings()
        super().__init__(
            (
                (1.0, DiceLoss(weights=weights)),
                (settings.cross_entropy_weight, CrossEntropyLoss(weights)),
            ),
            weights,
        )


class JaccardCrossEntropyLoss(_Sum):
    """Jaccard loss plus weighted cross-entropy (mean over the labelled voxels).

    Args:
        settings: The weight of the cross-entropy.
        weights: Weights of the classes; None: equal.
    """

    def __init__(
        self,
        settings: JaccardCrossEntropySettings | None = None,
        weights: Sequence[float] | None = None,
    ):
        settings = settings or JaccardCrossEntropySettings()
        super().__init__(
            (
                (1.0, JaccardLoss(weights=weights)),
                (settings.cross_entropy_weight, CrossEntropyLoss(weights)),
            ),
            weights,
        )
