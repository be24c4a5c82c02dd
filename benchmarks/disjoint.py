"""A model on simulated scans of a species that none of its training slices can resemble.

    python benchmarks/disjoint.py --model FILE|NAME [--scans 10] [--seed 1]

Three parameters of the scans are drawn from ranges that lie outside of those of the training stream
and of the 3D simulator, whose sections the shipped model learned from too (printed first, and
checked): blur, correlation of the noise, and rings. Trabeculae are thicker, in voxels, than any of
the stream, and than most of the sections. Growth plates and cracks have no class and are left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).resolve().parent))
import classical
from osteon import workflows
from osteon.formats import open_volume
from osteon.labels import IGNORE
from osteon.simulation import KINDS
from osteon.simulation.cohort import draw_scan, make_scan
from osteon.simulation.imaging import BLUR_VOXELS, NOISE_CORRELATION_VOXELS
from osteon.simulation.randomness import generator, log_uniform
from osteon.simulation.species import SPECIES, Species
from osteon.simulation.stream.items import FULL, REDUCED

VOXEL = 10.0
SHAPE = (48, 320, 320)
NAME = "outlier"
THICKNESS = (16.0, 24.0)


def span(*ranges: tuple[float, float]) -> tuple[float, float]:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


#: Ranges of the test scans, and those of training.
RANGES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "blur, SD in voxels": ((0.1, 0.25), span(FULL.blur, REDUCED.blur, BLUR_VOXELS)),
    "correlation of the noise, voxels": (
        (1.3, 1.8),
        span(FULL.noise_correlation, NOISE_CORRELATION_VOXELS),
    ),
    "rings, relative": ((0.055, 0.08), FULL.rings),
}


def species() -> Species:
    low, high = (VOXEL * n for n in THICKNESS)
    return Species(
        voxel_um=(VOXEL, VOXEL),
        width_um=(1_800, 3_600),
        cortex_um=(60, 400),
        thickness_um=(low, high),
        spacing_um=(330, 700),
        canal_um=(20, 120),
        canals_per_mm2=(2, 10),
    )


def simulated(index: int, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the scan and labels (z, y, x) of a number, and what it shows."""
    # Kinds that are drawn at full size: in others trabeculae are as thin as in training.
    whole = [k for k, kind in KINDS.items() if kind.smaller == 1 and k not in ("flat", "skull")]
    spec = draw_scan(
        seed=seed, index=index, species=NAME, kind=whole[index % len(whole)], shape=SHAPE
    )
    rng = generator(seed, index, 77)
    blur, correlation, rings = (log_uniform(rng, RANGES[name][0]) for name in RANGES)
    imaging = replace(spec.imaging, blur=blur, noise_correlation=correlation, rings=rings)
    image, anatomy = make_scan(replace(spec, imaging=imaging))
    return image, anatomy.labels, f"{spec.kind}, in {imaging.around.medium}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--scans", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    SPECIES[NAME] = species()
    print("| parameter | these scans | training |\n| --- | --- | --- |")
    for name, (test, trained) in RANGES.items():
        if not (test[1] < trained[0] or trained[1] < test[0]):
            raise SystemExit(f"{name}: {test} is not apart from {trained}")
        print(f"| {name} | {test[0]:g}–{test[1]:g} | {trained[0]:g}–{trained[1]:g} |")
    print("\n| scan | mean IoU | background | bone | pores |\n| --- | --- | --- | --- | --- |")
    rows = []
    with tempfile.TemporaryDirectory() as text:
        for index in range(args.scans):
            image, truth, shown = simulated(index, args.seed)
            scan, out = Path(text) / f"scan{index}.tif", Path(text) / f"labels{index}.npy"
            tifffile.imwrite(scan, image)
            workflows.predict([scan], model=args.model, out=out)
            labels = open_volume(out).read(slice(None))
            judged = truth != IGNORE
            found = classical.iou(classical.confusion(truth[judged], labels[judged]))
            rows.append([float(np.nanmean(found)), *map(float, found)])
            print(
                f"| {index}: {shown} | " + " | ".join(f"{v:.3f}" for v in rows[-1]) + " |",
                flush=True,
            )
    print("| **mean** | " + " | ".join(f"{v:.3f}" for v in np.nanmean(rows, axis=0)) + " |")
    print("| worst | " + " | ".join(f"{v:.3f}" for v in np.nanmin(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
