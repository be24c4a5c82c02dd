"""Classical segmentations of slices into background, bone and pores: the rows to compare with.

    python benchmarks/classical.py --data DIR [--series S6_LES_AP …] [--json FILE]

DIR holds ``<series>/scan`` and ``<series>/mask``, folders of 8-bit TIFF slices with the labels
0 background, 1 bone, 2 pores. Slices are independent 2D images; a threshold is that of a series.
One series is held in memory at a time.

Both methods: (Gaussian, then) bone above a threshold; the envelope is the closed bone with its
holes filled, slice by slice; pores are the envelope without the bone. They differ in the
threshold: (a) Otsu's, or (b) the upper of the two thresholds of three-class Otsu.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage
from skimage.filters import threshold_multiotsu, threshold_otsu

sys.path.insert(0, str(Path(__file__).parent))

from degrade import DEGRADATIONS, Degradation, slice_seed

Slices = Sequence[npt.NDArray[Any]]
Labels = npt.NDArray[np.uint8]

CLASSES = ("background", "bone", "pores")
CHOICE_SERIES = tuple(
    f"S{n}_{kind}_{plane}"
    for n, kind in enumerate(("INT", "LES", "INT", "LES", "INT"), start=1)
    for plane in ("AP", "ML")
)
HELD_OUT_SERIES = ("S6_LES_AP", "S6_LES_ML")


@dataclass(frozen=True)
class Method:
    """A classical method with its parameters.

    Attributes:
        title: The name in the table.
        classes: Classes of Otsu's method: 2, or 3 for the upper of two thresholds.
        sigma: Standard deviation in pixels of the Gaussian before the threshold; 0 is none.
        closing_radius: Radius in pixels of the disk of the closing.
    """

    title: str
    classes: int
    sigma: float
    closing_radius: int


#: The grid of `--choose`.
SIGMAS = (0.0, 0.8)
RADII = (0, 2, 3, 5, 7, 10, 20, 30, 45, 60)

# Chosen by `--choose` on S1 to S5 alone (every fourth slice; mean IoU 0.830 and 0.961 there).
# Plain Otsu takes the dense marrow for bone: it is best unsmoothed and hardly closed.
PLAIN_OTSU = Method("Otsu + closing + filling", classes=2, sigma=0.0, closing_radius=3)
UPPER_OTSU = Method(
    "three-class Otsu, upper threshold + closing + filling", classes=3, sigma=0.8, closing_radius=10
)
METHODS = (PLAIN_OTSU, UPPER_OTSU)


def bone_threshold(slices: Iterable[npt.NDArray[Any]], *, classes: int) -> float:
    """Find the grey value above which is bone, from all slices of a series together.

    Args:
        slices: (y, x) images of one type.
        classes: 2 for Otsu's threshold, 3 for the upper threshold of three classes.

    Returns:
        The threshold in grey values.
    """
    values = np.concatenate([s.ravel() for s in slices])
    if classes == 2:
        return float(threshold_otsu(values))
    return float(threshold_multiotsu(values, classes=classes)[-1])


def closed(mask: npt.NDArray[np.bool_], *, radius: int) -> npt.NDArray[np.bool_]:
    """Close a mask by a Euclidean disk, by two distance transforms: the radius costs no time.

    Args:
        mask: (y, x); background beyond its edges.
        radius: Radius in pixels.

    Returns:
        The closed mask.
    """
    if radius == 0 or not mask.any():
        return mask.copy()
    padded = np.pad(mask, radius + 1)
    # Half a unit in squared distance keeps "at most radius" exact in floating point.
    limit = np.sqrt(radius**2 + 0.5)
    dilated = ndimage.distance_transform_edt(~padded) <= limit
    back = ndimage.distance_transform_edt(dilated) > limit
    inner = slice(radius + 1, -radius - 1)
    return back[inner, inner] | mask


def segment(slices: Slices, method: Method) -> list[Labels]:
    """Label the slices of one series.

    Args:
        slices: (y, x) images of one type.
        method: The method.

    Returns:
        For each slice its labels, uint8: 0 background, 1 bone, 2 pores.
    """
    smooth = [smoothed(s, sigma=method.sigma) for s in slices]
    threshold = bone_threshold(smooth, classes=method.classes)
    return [label(s > threshold, closing_radius=method.closing_radius) for s in smooth]


def smoothed(image: npt.NDArray[Any], *, sigma: float) -> npt.NDArray[np.float32]:
    """Smooth a slice by a Gaussian; float32."""
    values = image.astype(np.float32)
    return values if sigma == 0 else np.asarray(ndimage.gaussian_filter(values, sigma))


def label(bone: npt.NDArray[np.bool_], *, closing_radius: int) -> Labels:
    """Turn a bone mask (y, x) into labels by closing and filling."""
    envelope = ndimage.binary_fill_holes(closed(bone, radius=closing_radius))
    return np.where(bone, 1, np.where(envelope, 2, 0)).astype(np.uint8)


def confusion(truth: Labels, labels: Labels) -> npt.NDArray[np.int64]:
    """Count pixels by (true class, predicted class)."""
    n = len(CLASSES)
    pairs = truth.astype(np.intp).ravel() * n + labels.ravel()
    return np.bincount(pairs, minlength=n * n).reshape(n, n)


def iou(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Intersection over union of each class; NaN where it is absent in truth and labels."""
    hit = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hit
    return np.where(union > 0, hit / np.maximum(union, 1), np.nan)


def read_series(folder: Path) -> tuple[list[npt.NDArray[Any]], list[Labels]]:
    """Read the slices and masks of a series, in the order of their names."""
    pairs = []
    for part in ("scan", "mask"):
        files = sorted((folder / part).glob("*.tif"))
        if not files:
            raise SystemExit(f"there are no TIFF slices in {folder / part}")
        pairs.append([tifffile.imread(f) for f in files])
    return pairs[0], pairs[1]


def score(
    data: Path, series: Sequence[str], method: Method, degradation: Degradation
) -> npt.NDArray[np.float64]:
    """Score a method: IoU per class of each series (voxels summed), then the mean over series."""
    rows = []
    for name in series:
        slices, truth = read_series(data / name)
        degraded = [degradation(s, slice_seed(name, k)) for k, s in enumerate(slices)]
        labels = segment(degraded, method)
        rows.append(iou(sum(confusion(t, p) for t, p in zip(truth, labels, strict=True))))
    return np.mean(rows, axis=0)


def choose(data: Path, *, classes: int, every: int = 4) -> list[dict[str, float]]:
    """Score the grid of parameters on every few slices of the series for choosing."""
    out = []
    loaded = [read_series(data / name) for name in CHOICE_SERIES]
    for sigma in SIGMAS:
        parts = []
        for slices, truth in loaded:
            smooth = [smoothed(s, sigma=sigma) for s in slices]
            threshold = bone_threshold(smooth, classes=classes)
            parts.append([(s > threshold, t) for s, t in zip(smooth, truth, strict=True)][::every])
        for radius in RADII:
            scores = [
                iou(sum(confusion(t, label(b, closing_radius=radius)) for b, t in part))
                for part in parts
            ]
            out.append(
                {
                    "classes": classes,
                    "sigma": sigma,
                    "radius": radius,
                    "iou": float(np.mean(scores)),
                }
            )
            print(out[-1], file=sys.stderr)
    return out


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows as Markdown."""
    lines = ["| method | slices | mean IoU | background | bone | pores |", "| --- " * 6 + "|"]
    for row in rows:
        figures = " | ".join(f"{row[k]:.3f}" for k in ("mean_iou", *CLASSES))
        lines.append(f"| {row['method']} | {row['slices']} | {figures} |")
    return "\n".join(lines)


def rows_of(data: Path, series: Sequence[str], methods: Sequence[Method]) -> list[dict[str, Any]]:
    """Score each method on each kind of slices; one row each, JSON-compatible."""
    out: list[dict[str, Any]] = []
    for method in methods:
        for name, degradation in DEGRADATIONS.items():
            scores = score(data, series, method, degradation)
            row = {"method": method.title, "slices": name, "mean_iou": float(np.mean(scores))}
            row |= dict(zip(CLASSES, scores.tolist(), strict=True))
            row |= {"sigma": method.sigma, "closing_radius": method.closing_radius}
            out.append(row | {"series": list(series)})
    return out


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the series")
    parser.add_argument("--series", nargs="+", default=HELD_OUT_SERIES, help="series to score")
    parser.add_argument("--json", type=Path, help="also write the rows there")
    parser.add_argument("--choose", action="store_true", help="score the grid on S1-S5 instead")
    args = parser.parse_args()
    if args.choose:
        found = [r for classes in (2, 3) for r in choose(args.data, classes=classes)]
        print(json.dumps(found, indent=1))
        return
    rows = rows_of(args.data, args.series, METHODS)
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
