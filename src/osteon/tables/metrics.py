"""The metrics, as rows; implementations are in ``osteon.metrics``.

Capabilities of a row:
    source: What it is computed from: ``confusion`` (a confusion matrix).
    per: What it gives one value for: ``class`` or ``scan``.
    unit: Unit of the value; ``1`` for a ratio.
    best: The value of a perfect prediction.
    label: The name in tables and reports.
"""

from __future__ import annotations

from osteon.registry import Row, Table


def _overlap(name: str, label: str, help: str, aliases: tuple[str, ...] = ()) -> Row:
    capabilities: dict[str, object] = {
        "source": "confusion",
        "per": "class",
        "unit": "1",
        "best": 1.0,
        "label": label,
    }
    return Row(name, help, f"osteon.metrics:{name}", capabilities, aliases)


METRICS = Table(
    "metrics",
    (
        _overlap("iou", "IoU", "shared voxels / voxels of either: tp/(tp+fp+fn)", ("jaccard",)),
        _overlap("dice", "Dice", "overlap as 2tp/(2tp+fp+fn)", ("f1",)),
        _overlap(
            "precision", "precision", "part of the predicted voxels that is right: tp/(tp+fp)"
        ),
        _overlap(
            "recall",
            "recall",
            "part of the true voxels that was found: tp/(tp+fn)",
            ("sensitivity",),
        ),
        Row(
            "fw_iou",
            "IoU of the classes, each by its share of the true voxels",
            "osteon.metrics:frequency_weighted_iou",
            {
                "source": "confusion",
                "per": "scan",
                "unit": "1",
                "best": 1.0,
                "label": "frequency-weighted IoU",
            },
        ),
    ),
)
