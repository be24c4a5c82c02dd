"""The losses, as rows; implementations are in ``osteon.losses``, settings in ``osteon.settings``.

A row's target is called with its settings and the weights of the classes (numbers, or None).
"""

from __future__ import annotations

from osteon.registry import Row, Table

LOSSES = Table(
    "losses",
    (
        Row("jaccard", "soft Jaccard (IoU): the paper's choice", "osteon.losses:JaccardLoss"),
        Row("dice", "soft Dice", "osteon.losses:DiceLoss"),
        Row("lovasz", "Lovász-Softmax: a surrogate of the IoU", "osteon.losses:LovaszLoss"),
        Row("focal", "focal: cross-entropy with a focus on hard voxels", "osteon.losses:FocalLoss"),
        Row(
            "tversky", "Tversky: weighs false positives and negatives", "osteon.losses:TverskyLoss"
        ),
        Row("focal-tversky", "focal + Tversky", "osteon.losses:FocalTverskyLoss"),
        Row("dice-ce", "soft Dice + cross-entropy", "osteon.losses:DiceCrossEntropyLoss"),
        Row(
            "jaccard-ce",
            "soft Jaccard + cross-entropy: learns faster from few patches",
            "osteon.losses:JaccardCrossEntropyLoss",
        ),
    ),
)
