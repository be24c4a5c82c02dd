"""Scores of a segmentation, from confusion matrices.

The rules (docs/evaluation.md): true positives, false positives and false negatives are summed
over a whole scan and class before anything is divided, never averaged over slices or patches.
A class that is absent in both truth and prediction has no score (NaN) and is left out of means,
with a count; a class in only one of the two scores 0.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from osteon.errors import InputError, UsageError
from osteon.labels import IGNORE
from osteon.registry import Row
from osteon.tables.metrics import METRICS

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

#: Voxels handled at a time: the temporary masks stay in the processor's cache.
CHUNK = 1 << 17

#: Up to this many classes, one vectorised comparison a pair of classes beats a histogram
#: (benchmarks/evaluation.py).
FEW_CLASSES = 3

#: In the column ``class`` of a table of scores: the mean over the classes that have a score.
MEAN_CLASS = "mean"
#: In the column ``scan``: the mean over the scans that have a score.
MEAN_SCANS = "mean over scans"
#: In the column ``scan``: voxels of all scans counted together, then scored.
POOLED_SCANS = "pooled over scans"

_VALUES = 256  # of uint8
_MAX_NAMED = 8  # values named in a message before it says "…"


def confusion_matrix(
    truth: npt.NDArray[Any],
    prediction: npt.NDArray[Any],
    *,
    classes: int,
    ignore: int = IGNORE,
) -> Counts:
    """Count how the voxels of each true class were labelled.

    Args:
        truth: True labels, uint8, any shape; ``ignore`` where there is no label.
        prediction: Predicted labels, uint8, the same shape; checked where ignored, too.
        classes: Number of classes K, 2..255.
        ignore: Value in ``truth`` that is left out of the counts.

    Returns:
        int64 (K, K): rows are true classes, columns predicted ones. Temporary arrays are of
        fixed size; inputs that are not contiguous are copied in parts.

    Raises:
        InputError: If the shapes differ, or a value is outside the classes.
        UsageError: If an array is not uint8 or ``classes`` is out of range.
    """
    _check(truth, prediction, classes=classes, ignore=ignore)
    count = _count_by_masks if classes <= FEW_CLASSES else _count_by_histogram
    out = np.zeros((classes, classes), np.int64)
    if truth.flags.c_contiguous and prediction.flags.c_contiguous:
        flat_t, flat_p = truth.reshape(-1), prediction.reshape(-1)
        for start in range(0, flat_t.size, CHUNK):
            stop = start + CHUNK
            count(flat_t[start:stop], flat_p[start:stop], out, ignore)
    elif truth.ndim > 1:
        for part_t, part_p in zip(truth, prediction, strict=True):
            out += confusion_matrix(part_t, part_p, classes=classes, ignore=ignore)
    else:
        count(np.ascontiguousarray(truth), np.ascontiguousarray(prediction), out, ignore)
    return out


def _check(
    truth: npt.NDArray[Any], prediction: npt.NDArray[Any], *, classes: int, ignore: int
) -> None:
    if truth.dtype != np.uint8 or prediction.dtype != np.uint8:
        raise UsageError(
            f"labels must be uint8, not {truth.dtype} (truth) and {prediction.dtype} (prediction)"
        )
    if not 2 <= classes < _VALUES:
        raise UsageError(f"a confusion matrix needs 2 to 255 classes, not {classes}")
    if not classes <= ignore < _VALUES:
        raise UsageError(f"the value to ignore, {ignore}, must be {classes}..255")
    if truth.shape != prediction.shape:
        raise InputError(
            f"truth and prediction differ in shape: {truth.shape} and {prediction.shape}"
        )


def _count_by_masks(
    truth: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8], out: Counts, ignore: int
) -> None:
    classes = len(out)
    if prediction.size and int(prediction.max()) >= classes:
        raise _foreign("prediction", prediction, np.arange(classes))
    in_prediction = [prediction == k for k in range(classes - 1)]
    both = np.empty(truth.shape, np.bool_)
    total = 0
    for row in range(classes):
        in_truth = truth == row
        n = rest = int(np.count_nonzero(in_truth))
        for column in range(classes - 1):
            np.logical_and(in_truth, in_prediction[column], out=both)
            hits = int(np.count_nonzero(both))
            out[row, column] += hits
            rest -= hits
        # Every prediction is known to be one of the classes: what is left is the last one.
        out[row, classes - 1] += rest
        total += n
    if total != truth.size and total + int(np.count_nonzero(truth == ignore)) != truth.size:
        raise _foreign("truth", truth, np.append(np.arange(classes), ignore))


def _count_by_histogram(
    truth: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8], out: Counts, ignore: int
) -> None:
    classes = len(out)
    pairs = truth.astype(np.uint16)
    pairs *= _VALUES
    pairs += prediction
    table = np.bincount(pairs, minlength=_VALUES * _VALUES).reshape(_VALUES, _VALUES)
    counted = table[:classes, :classes]
    if int(counted.sum()) + int(table[ignore, :classes].sum()) != truth.size:
        if table[:, classes:].any():
            raise _foreign("prediction", prediction, np.arange(classes))
        raise _foreign("truth", truth, np.append(np.arange(classes), ignore))
    out += counted


def _foreign(what: str, values: npt.NDArray[np.uint8], known: npt.NDArray[Any]) -> InputError:
    found = np.setdiff1d(values, known)
    named = ", ".join(str(v) for v in found[:_MAX_NAMED])
    if len(found) > _MAX_NAMED:
        named += ", …"
    return InputError(
        f"the {what} holds the value{'s' if len(found) > 1 else ''} {named}, which "
        f"{'are' if len(found) > 1 else 'is'} not among the classes "
        f"0..{int(known[known != IGNORE].max())}",
        mend="say which class each value stands for (remap), or evaluate with the right classes",
    )


def _ratio(numerator: Counts, denominator: Counts, confusion: Counts) -> Scores:
    """Divide; 0/0 is 0 for a class that is in truth or prediction, NaN for one in neither."""
    present = (confusion.sum(-1) + confusion.sum(-2)) > 0
    safe = np.maximum(denominator, 1)
    return np.where(present, numerator / safe, np.nan)


def _parts(confusion: Counts) -> tuple[Counts, Counts, Counts]:
    """Return true positives, true voxels and predicted voxels, each (..., K)."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return hits, confusion.sum(-1), confusion.sum(-2)


def iou(confusion: Counts) -> Scores:
    """Intersection over union (Jaccard index) of each class, tp / (tp + fp + fn).

    Args:
        confusion: int64 (..., K, K), rows true classes, columns predicted ones.

    Returns:
        float64 (..., K); NaN for a class that is in neither truth nor prediction.
    """
    hits, true, predicted = _parts(confusion)
    return _ratio(hits, true + predicted - hits, confusion)


def dice(confusion: Counts) -> Scores:
    """Dice coefficient of each class, 2 tp / (2 tp + fp + fn).

    Args:
        confusion: int64 (..., K, K), rows true classes, columns predicted ones.

    Returns:
        float64 (..., K); NaN for a class that is in neither truth nor prediction.
    """
    hits, true, predicted = _parts(confusion)
    return _ratio(2 * hits, true + predicted, confusion)


def precision(confusion: Counts) -> Scores:
    """Precision of each class, tp / (tp + fp); 0 where the class was never predicted.

    Args:
        confusion: int64 (..., K, K), rows true classes, columns predicted ones.

    Returns:
        float64 (..., K); NaN for a class that is in neither truth nor prediction.
    """
    hits, _, predicted = _parts(confusion)
    return _ratio(hits, predicted, confusion)


def recall(confusion: Counts) -> Scores:
    """Recall of each class, tp / (tp + fn); 0 where the class is not in the truth.

    Args:
        confusion: int64 (..., K, K), rows true classes, columns predicted ones.

    Returns:
        float64 (..., K); NaN for a class that is in neither truth nor prediction.
    """
    hits, true, _ = _parts(confusion)
    return _ratio(hits, true, confusion)


def frequency_weighted_iou(confusion: Counts) -> float:
    """Frequency-weighted IoU: each class counts by its share of the true voxels.

    Long, Shelhamer & Darrell 2015 (10.1109/CVPR.2015.7298965), section 5: sum over classes of
    t_k IoU_k / sum of t_k, with t_k the true voxels of class k. A class that is not in the truth
    has no weight.

    Args:
        confusion: int64 (K, K), rows true classes, columns predicted ones.

    Returns:
        The score, NaN without a true voxel.
    """
    true = confusion.sum(-1)
    total = int(true.sum())
    return float(np.nansum(true * iou(confusion)) / total) if total else float("nan")


def scores(confusion: Counts) -> dict[str, Scores]:
    """Compute every metric of the table that is made from a confusion matrix, per class.

    Args:
        confusion: int64 (..., K, K), rows true classes, columns predicted ones.

    Returns:
        Name of the metric → float64 (..., K), in the order of the table.
    """
    return {row.name: score(row, confusion) for row in METRICS if _from_confusion(row)}


def score(row: Row, confusion: Counts) -> Scores:
    """Compute one metric of the table from a confusion matrix.

    Args:
        row: A row of METRICS whose source is ``confusion``.
        confusion: int64 (..., K, K), rows true classes, columns predicted ones.

    Returns:
        float64 (..., K).

    Raises:
        UsageError: If the metric is not made from a confusion matrix.
    """
    if not _from_confusion(row):
        raise UsageError(f"the metric '{row.name}' is not made from a confusion matrix")
    function = METRICS.load(row.name)
    if not callable(function):
        raise UsageError(f"the metric '{row.name}' is not a function", where=row.target)
    return cast("Scores", function(confusion))


def _from_confusion(row: Row) -> bool:
    return row.capabilities.get("source") == "confusion" and row.capabilities.get("per") == "class"


def mean_defined(values: npt.ArrayLike) -> tuple[float, int]:
    """Average what is defined.

    Args:
        values: Scores; NaN where there is none.

    Returns:
        The mean without the NaNs, and how many values it is made from; (NaN, 0) for none.
    """
    array = np.asarray(values, np.float64).reshape(-1)
    defined = array[~np.isnan(array)]
    return (float(defined.mean()), len(defined)) if len(defined) else (float("nan"), 0)
