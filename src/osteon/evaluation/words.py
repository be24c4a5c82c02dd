"""What an evaluation says in plain words and as a printed table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from osteon.evaluation import measured
from osteon.evaluation.intervals import caution
from osteon.evaluation.rows import aligned
from osteon.metrics import MEAN_SCANS, POOLED_SCANS, mean_defined, scores

if TYPE_CHECKING:
    from osteon.evaluation.result import Evaluation
    from osteon.evaluation.scan import ScanEvaluation


def notes(scans: Sequence[ScanEvaluation]) -> list[str]:
    """Return, in plain words, what a reader of the scores should know.

    Args:
        scans: The scans.

    Returns:
        Sentences: absent classes, voxels without a label, unknown voxel sizes, remarks.
    """
    out = []
    for scan in scans:
        out += _absent(scan)
        if scan.ignored:
            share = scan.ignored / math.prod(scan.shape)
            out.append(
                f"{scan.name}: {scan.ignored:,} voxels ({share:.1%}) have no true label and "
                "are not counted."
            )
        out += [f"{scan.name}: {remark}" for remark in scan.remarks]
    unknown = [scan.name for scan in scans if scan.voxel_mm3 is None]
    if unknown:
        of = "all scans" if len(unknown) == len(scans) > 1 else ", ".join(unknown)
        lengths = " and distances" if any(scan.more for scan in scans) else ""
        out.append(f"{of}: the voxel size is unknown; volumes{lengths} are in voxels.")
    return out


def _absent(scan: ScanEvaluation) -> list[str]:
    out = []
    true, predicted = scan.confusion.sum(1), scan.confusion.sum(0)
    for c in scan.scheme.classes:
        where = f"{scan.name}: {c.name} is"
        if true[c.value] == 0 and predicted[c.value] == 0:
            out.append(f"{where} in neither truth nor labels; it is left out of the means.")
        elif true[c.value] == 0:
            volume = int(predicted[c.value])
            size = scan.voxel_mm3
            mm3 = "" if size is None else f" ({volume * size:.4g} mm³)"
            out.append(
                f"{where} not in the truth but was labelled in {volume:,} voxels{mm3}: it scores 0."
            )
        elif predicted[c.value] == 0:
            out.append(f"{where} in the truth but was never labelled: it scores 0.")
    return out


def sentences(result: Evaluation) -> list[str]:
    """Return the headline in words.

    Args:
        result: The evaluation.

    Returns:
        Sentences: what was compared, bone IoU, surface, topology.
    """
    n = len(result.scans)
    specimens = len(set(result.specimens))
    of = f" of {specimens} specimen{'s' if specimens > 1 else ''}" if specimens != n else ""
    out = [
        f"The labels of {n} scan{'s' if n > 1 else ''}{of} were compared with the truth, "
        f"voxel by voxel ({int(result.pooled.sum()):,} voxels)."
    ]
    if "bone" not in result.scheme.names:
        return out
    values = [v for v in result.per_scan("iou", "bone") if not math.isnan(v)]
    if not values:
        return [*out, "There is no bone in truth or labels."]
    text = f"Bone IoU is {np.mean(values):.3f}"
    if len(values) > 1:
        text += f" (lowest {min(values):.3f}, highest {max(values):.3f})"
    out.append(f"{text}; the mean over classes is {result.mean('iou')[0]:.3f}.")
    if specimens > 1:
        found = result.interval("iou", "bone")
        if not math.isnan(found.low):
            out.append(
                f"Bone IoU over specimens: {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]. "
                + caution(found.specimens)
            )
    return out + _bone_in_words(result)


def _bone_in_words(result: Evaluation) -> list[str]:
    out = []
    distance, n = result.mean_more("assd", "bone")
    if n:
        unit = {"um": "µm"}.get(str(result.unit_of("assd")), "voxels")
        within = result.mean_more("nsd", "bone")[0]
        out.append(
            f"On average the surface of the bone is off by {distance:.3g} {unit}; {within:.1%} of "
            "it lies within the tolerance of the truth's."
        )
    found, n = result.mean_more("centreline_found", "bone")
    if n:
        joined = 1 - result.mean_more("centreline_right", "bone")[0]
        out.append(
            f"{1 - found:.1%} of the truth's centre-lines of bone are lost; {joined:.1%} of those "
            "of the labels run where the truth has no bone."
        )
    return out + measured.sentences(result)


def format_table(result: Evaluation) -> str:
    """Return a plain-text table to print: a line a scan, then mean and pooled.

    Args:
        result: The evaluation.

    Returns:
        Lines, the notes below them.
    """
    names = result.scheme.names
    head = ["scan", "mean IoU", *(f"IoU {n}" for n in names), "mean Dice", "Dice bone"]
    if "bone" not in names:
        head.pop()
    lines = [(scan.name, scan.scores) for scan in result.scans]
    if len(lines) > 1:
        means = {m: np.array([result.mean(m, n)[0] for n in names]) for m in result.scans[0].scores}
        lines += [(MEAN_SCANS, means), (POOLED_SCANS, scores(result.pooled))]
    cells = [head]
    for name, values in lines:
        mean_iou, mean_dice = (mean_defined(values[m])[0] for m in ("iou", "dice"))
        if name == MEAN_SCANS:
            mean_iou, mean_dice = result.mean("iou")[0], result.mean("dice")[0]
        figures = [mean_iou, *values["iou"], mean_dice]
        if "bone" in names:
            figures.append(values["dice"][result.scheme.value("bone")])
        cells.append([name, *("–" if math.isnan(v) else f"{v:.4f}" for v in figures)])
    return "\n".join([*aligned(cells), *_bone_in_words(result), *result.notes()])
