"""The metrics, as rows; implementations are in ``osteon.metrics``.

Capabilities of a row:
    source: What it is computed from: ``confusion`` (a confusion matrix), ``surface`` (distances
        between surfaces) or ``topology`` (objects, connections, centre-lines).
    per: What it gives one value for: ``class`` or ``scan``.
    unit: Unit of the value; ``1`` for a ratio or a number; ``um`` is ``voxels`` where the voxel
        size is unknown.
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


def _shape(
    source: str,
    name: str,
    label: str,
    help: str,
    target: str,
    *,
    unit: str = "1",
    best: float = 1.0,
) -> Row:
    capabilities: dict[str, object] = {
        "source": source,
        "per": "class",
        "unit": unit,
        "best": best,
        "label": label,
    }
    return Row(name, help, f"osteon.evaluation.{target}", capabilities)


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
        _shape(
            "surface",
            "assd",
            "surface distance",
            "mean distance of the two surfaces",
            "surface:average_distance",
            unit="um",
            best=0.0,
        ),
        _shape(
            "surface",
            "hd95",
            "Hausdorff 95 %",
            "95 % of each surface are at most so far from the other",
            "surface:hausdorff_95",
            unit="um",
            best=0.0,
        ),
        _shape(
            "surface",
            "nsd",
            "surface Dice",
            "part of both surfaces that lies within the tolerance of the other",
            "surface:surface_dice",
        ),
        _shape(
            "topology",
            "cldice",
            "clDice",
            "harmonic mean of the parts of both centre-lines that lie in the other's bone",
            "topology:Centrelines",
        ),
        _shape(
            "topology",
            "centreline_found",
            "centre-line found",
            "part of the truth's centre-line that was labelled: the rest is lost",
            "topology:Centrelines",
        ),
        _shape(
            "topology",
            "centreline_right",
            "centre-line right",
            "part of the labels' centre-line that is true: the rest is invented or joins",
            "topology:Centrelines",
        ),
        _shape(
            "topology",
            "objects_error",
            "objects, error",
            "labelled minus true objects",
            "topology:topology",
            best=0.0,
        ),
        _shape(
            "topology",
            "euler_error",
            "Euler number, error",
            "Euler number of the labels minus that of the truth",
            "topology:topology",
            best=0.0,
        ),
        _shape(
            "topology",
            "conn_d_error",
            "Conn.D, error",
            "connections of the largest object, cavities filled: labels ÷ truth − 1",
            "topology:topology",
            best=0.0,
        ),
    ),
)
