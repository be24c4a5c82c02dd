"""Models on real scans they never saw, beside thresholds: clean, degraded, cropped, padded.

    python benchmarks/zero_shot.py develop --data DIR --model FILE [FILE ...]
    python benchmarks/zero_shot.py score --data DIR --model FILE [FILE ...] --log FILE.csv
    python benchmarks/zero_shot.py robust --data DIR --model FILE
    python benchmarks/zero_shot.py picture --data DIR --model FILE --out FILE.png

DIR holds ``vertebra`` and ``bone-qim3d``. ``develop`` looks at S1 to S4 of the vertebrae alone,
which may be looked at; ``score`` at S5, S6 and bone-qim3d, which nothing may be chosen by: it
writes a line for every figure into the log, so that it can be counted how often they were looked
at. ``robust`` crops, pads and re-windows S1: how many labels stay equal. ``picture`` draws a slice
of S1 and of S4: scan, reference, labels, and where they differ. IoU is over a series, then the
mean over series.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

sys.path.insert(0, str(Path(__file__).resolve().parent))
import classical
import degrade
from osteon import workflows
from osteon.formats import open_volume
from osteon.labels import IGNORE
from osteon.settings import PredictSettings, load_settings
from osteon.simulation.degrade import lower_contrast
from panels import save_panels

Array = npt.NDArray[Any]
KINDS: dict[str, Callable[[Array, int], Array]] = {
    **degrade.DEGRADATIONS,
    "low contrast": lambda image, seed: lower_contrast(image, factor=0.35),
}
#: Pixels cut off and added on each side.
MARGIN = 96
#: Series of which a slice is drawn.
PICTURED = ("S1_INT_AP", "S4_LES_AP")


@dataclass(frozen=True)
class Scan:
    """A real scan: its slices (z, y, x), labels, and whether slices are neighbours in space."""

    name: str
    image: Array
    labels: Array
    contiguous: bool


def scans(data: Path, part: str) -> Iterator[Scan]:
    """Read the scans of a part one by one."""
    wanted = {"develop": ("S1", "S2", "S3", "S4"), "score": ("S5", "S6"), "robust": ("S1",)}[part]
    for folder in sorted((data / "vertebra").iterdir()):
        if folder.name[:2] in wanted:
            slices, truth = classical.read_series(folder)
            # The planes of a series differ in size from another's, not within it.
            yield Scan(folder.name, np.stack(slices), np.stack(truth), contiguous=False)
    if part == "score":
        place = data / "bone-qim3d"
        image, labels = (tifffile.imread(place / f"{n}.tif") for n in ("scan", "mask"))
        yield Scan("bone-qim3d", image, labels, contiguous=True)


def predicted(scan: Array, model: str, *, contiguous: bool) -> Array:
    """Label a scan by a model."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        tifffile.imwrite(folder / "scan.tif", scan)
        settings = load_settings(
            PredictSettings, overrides=[f"contiguous={'yes' if contiguous else 'no'}"]
        )
        workflows.predict(
            [folder / "scan.tif"], model=model, out=folder / "labels.npy", settings=settings
        )
        return open_volume(folder / "labels.npy").read(slice(None))


def figures(truth: Array, labels: Array) -> list[float]:
    """IoU of the classes over a scan."""
    matrix = classical.confusion(truth, labels)
    return [float(v) for v in classical.iou(matrix)]


def methods(models: Sequence[str]) -> dict[str, Callable[[Scan], Array]]:
    """What is compared, by name."""
    found: dict[str, Callable[[Scan], Array]] = {
        m.title: lambda s, m=m: np.stack(classical.segment(list(s.image), m))  # type: ignore[misc]
        for m in classical.METHODS
    }
    for model in models:
        name = Path(model).parent.name if model.endswith("model.safetensors") else Path(model).stem
        found[name] = lambda s, m=model: predicted(s.image, m, contiguous=s.contiguous)  # type: ignore[misc]
    return found


def compare(
    data: Path, part: str, models: Sequence[str], kinds: Sequence[str]
) -> list[dict[str, Any]]:
    """Label every scan, clean and degraded, by every method; one row each."""
    rows: list[dict[str, Any]] = []
    for scan in scans(data, part):
        for kind in kinds:
            worse = np.stack(
                [
                    KINDS[kind](image, degrade.slice_seed(scan.name, z))
                    for z, image in enumerate(scan.image)
                ]
            )
            for name, label in methods(models).items():
                found = figures(
                    scan.labels, label(Scan(scan.name, worse, scan.labels, scan.contiguous))
                )
                row = {"scan": scan.name, "slices": kind, "method": name}
                row |= dict(zip(classical.CLASSES, found, strict=True))
                rows.append(row | {"mean": float(np.nanmean(found))})
                print(
                    row["scan"], kind, name, f"{rows[-1]['mean']:.3f}", file=sys.stderr, flush=True
                )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over the series of a kind of scan, as Markdown."""
    out = ["| method | scans | slices | mean IoU | background | bone | pores |"]
    out.append("| --- | --- | --- | --- | --- | --- | --- |")
    keys = dict.fromkeys((r["method"], _group(r["scan"]), r["slices"]) for r in rows)
    for method, group, kind in keys:
        mine = [
            r for r in rows
            if (r["method"], _group(r["scan"]), r["slices"]) == (method, group, kind)
        ]  # fmt: skip
        values = [np.nanmean([r[c] for r in mine]) for c in ("mean", *classical.CLASSES)]
        out.append(
            f"| {method} | {group} | {kind} | " + " | ".join(f"{v:.3f}" for v in values) + " |"
        )
    return "\n".join(out)


def _group(scan: str) -> str:
    return "vertebrae" if scan.startswith("S") else scan


def log(rows: Sequence[dict[str, Any]], path: Path, models: Sequence[str]) -> None:
    """Add every figure to the log of the scans that nothing may be chosen by."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        fields = ["when", "method", "scan", "slices", "mean", *classical.CLASSES]
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        if new:
            writer.writeheader()
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        for row in rows:
            rounded = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()}
            writer.writerow({"when": now, **rounded})


def robust(data: Path, model: str) -> str:
    """Change what must not matter, and count the labels that stay equal."""
    out = ["| change | equal labels |", "| --- | --- |"]
    totals: dict[str, list[float]] = {}
    for scan in scans(data, "robust"):
        plain = predicted(scan.image, model, contiguous=False)
        inner = (slice(None), *[slice(MARGIN, -MARGIN)] * 2)
        pad = [(0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)]
        image = scan.image

        def padded(value: float, image: Array = image, pad: Any = pad) -> Array:
            return np.pad(image, pad, constant_values=np.uint8(value))

        def window(gain: float, image: Array = image) -> Array:
            middle = 110.0
            return np.clip(np.rint((image - middle) * gain + middle), 0, 255).astype(np.uint8)

        changed: dict[str, tuple[Array, Any, Any]] = {
            "cropped by 96 px": (image[inner], inner, slice(None)),
            "padded by 96 px of 0": (padded(0), slice(None), inner),
            "padded by 96 px of the minimum": (padded(image.min()), slice(None), inner),
            "padded by 96 px of the mean": (padded(round(image.mean())), slice(None), inner),
            "16 bit": (image.astype(np.uint16) * 181 + 5000, slice(None), slice(None)),
            "window 30 % narrower": (window(1.3), slice(None), slice(None)),
            "window 30 % wider": (window(0.7), slice(None), slice(None)),
        }
        for name, (other, of_plain, of_other) in changed.items():
            found = predicted(other, model, contiguous=False)
            equal = float((plain[of_plain] == found[of_other]).mean())
            totals.setdefault(name, []).append(equal)
            print(scan.name, name, f"{equal:.4f}", file=sys.stderr, flush=True)
    out += [f"| {name} | {np.mean(values):.2%} |" for name, values in totals.items()]
    return "\n".join(out)


def picture(data: Path, model: str, target: Path) -> None:
    """Draw the fourth slice of two series: scan, reference, labels, where they differ."""
    from PIL import Image

    from osteon.labels import BONE_PORES
    from osteon.reports import slice_overlay, slice_picture

    rows, width = [], 420
    for scan in (s for s in scans(data, "develop") if s.name in PICTURED):
        image, truth = scan.image[3], scan.labels[3]
        found = predicted(scan.image, model, contiguous=False)[3]
        panels = [slice_picture(image)]
        panels += [slice_overlay(image, labels, scheme=BONE_PORES) for labels in (truth, found)]
        height = round(image.shape[0] * width / image.shape[1])
        small = [np.array(Image.fromarray(p).resize((width, height))) for p in (*panels, panels[0])]
        differ = ((found != truth) & (truth != IGNORE)).astype(np.float32)
        share = np.asarray(Image.fromarray(differ).resize((width, height), Image.Resampling.BOX))
        small[-1][share > 0.3] = (230, 51, 153)
        rows.append(small)
    save_panels(rows, ("scan", "reference", "bone-pores", "where they differ"), target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["develop", "score", "robust", "picture"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--log", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.task == "score" and args.log is None:
        parser.error("score needs --log FILE.csv")
    if args.task == "picture":
        if args.out is None:
            parser.error("picture needs --out FILE.png")
        picture(args.data, args.model[0], args.out)
        return
    if args.task == "robust":
        print(robust(args.data, args.model[0]))
        return
    rows = compare(args.data, args.task, args.model, args.kinds)
    if args.task == "score":
        log(rows, args.log, args.model)
    print(table(rows))


if __name__ == "__main__":
    main()
