"""Sections through simulated 3D scans, along all three axes, as a dataset to fit 2D models to.

    python tools/simulated_sections.py --out sections [--scans 210] [--seed 77000]
        [--kinds arch end] [--take 3 2 2] [--with s1-s4.toml --times 25] [--name dataset.toml]

The stream of simulated slices draws bones in the plane. What only space shows (a canal that is
closed in one slice and open in the next, a braincase, bones in a tube) it has not, so the shipped
model learns from such sections too (docs/bone-pores.md). Scans that are there already are kept:
run again, it goes on. ``--take`` says how many sections across z, y and x of a scan are put into
the manifest, from the middle of those that were made; ``--with`` adds the scans of another
manifest, ``--times`` over, so that a few real slices weigh as much as many simulated ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from osteon.datasets import Manifest, ScanRow
from osteon.errors import OsteonError
from osteon.files import replacing
from osteon.labels import BONE_PORES, IGNORE
from osteon.simulation import SPECIES
from osteon.simulation.cohort import draw_scan, make_scan

#: What scans show, and how often.
KINDS = (
    *("shaft", "end", "vertebra", "arch", "flat", "skull", "rib", "several", "joint", "interior"),
    *("shaft", "end", "arch", "skull", "several"),
)
#: Shapes of the scans (z, y, x), the sections made across each axis; and how often it is the first.
SLAB, CUBE = (96, 256, 256), (192, 192, 192)
MADE = {SLAB: (6, 2, 2), CUBE: (4, 3, 3)}
SLABS = 0.55
AXES = "zyx"


@dataclass(frozen=True)
class Sections:
    """The sections of a scan across one axis: a series of slices and its masks."""

    scan: str
    axis: str
    folder: Path

    @property
    def image(self) -> Path:
        """Where the slices are."""
        return self.folder / "scan.tif"

    @property
    def mask(self) -> Path:
        """Where their masks are."""
        return self.folder / "mask.tif"

    @property
    def count(self) -> int:
        """How many were made."""
        with tifffile.TiffFile(self.image) as file:
            return len(file.pages)


def cut(out: Path, *, seed: int, index: int, kinds: Sequence[str] = KINDS) -> list[Sections]:
    """Simulate a scan and cut it, unless that was done.

    Args:
        out: Folder of the sections, of one seed.
        seed: Seed of all scans.
        index: Number of the scan.
        kinds: What it may show.

    Returns:
        Its sections; none if no bone fits the field of view.
    """
    name = f"v{index:04d}"
    made = [Sections(name, axis, out / f"{name}_{axis}") for axis in AXES]
    if all(one.image.exists() and one.mask.exists() for one in made):
        return made
    rng = np.random.default_rng([seed, index])
    shape = SLAB if rng.random() < SLABS else CUBE
    kind = kinds[int(rng.integers(len(kinds)))]
    species = list(SPECIES)[int(rng.integers(len(SPECIES)))]
    try:
        image, anatomy = make_scan(
            draw_scan(seed=seed, index=index, species=species, kind=kind, shape=shape)
        )
    except OsteonError as error:
        print(f"{name}: left out: {error}", flush=True)
        return []
    for number, (one, count) in enumerate(zip(made, MADE[shape], strict=True)):
        length = shape[number]
        places = (np.arange(count) + rng.uniform(0.1, 0.9, count)) * length / count
        one.folder.mkdir(parents=True, exist_ok=True)
        for path, volume in ((one.image, image), (one.mask, anatomy.labels)):
            slices = np.moveaxis(volume.take(places.astype(int), number), number, 0)
            with replacing(path) as partial:
                tifffile.imwrite(partial, slices, photometric="minisblack", compression="zlib")
    print(f"{name}: {kind}, {species}", flush=True)
    return made


def row(one: Sections, take: int) -> ScanRow:
    """The row of the manifest, with so many sections from the middle."""
    count = one.count
    first = (count - take) // 2
    return ScanRow(
        name=f"{one.scan}_{one.axis}",
        image=str(one.image.resolve()),
        mask=str(one.mask.resolve()),
        specimen=one.scan,
        contiguous=False,
        remap={str(IGNORE): "ignore"},
        slices=(first, first + take),
    )


def repeated(other: ScanRow, folder: Path, time: int) -> ScanRow:
    """A row of another manifest under a name of its own, with paths from anywhere."""
    paths = {
        key: str((folder / value).resolve())
        for key, value in (("image", other.image), ("mask", other.mask))
        if value is not None
    }
    return other.model_copy(update={"name": f"{other.name}_{time}", **paths})


def main() -> None:
    """Read the arguments, cut the scans, write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scans", type=int, default=210)
    parser.add_argument("--seed", type=int, default=77000)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--take", type=int, nargs=3, default=[3, 2, 2])
    parser.add_argument("--with", dest="other", type=Path)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--name", default="dataset.toml")
    args = parser.parse_args()
    others = None if args.other is None else Manifest.load(args.other)
    rows: list[ScanRow] = []
    for index in range(args.scans):
        made = cut(args.out, seed=args.seed, index=index, kinds=args.kinds)
        for one, take in zip(made, args.take, strict=False):
            rows += [row(one, min(take, one.count))] if take else []
    if others is not None:
        for time in range(args.times):
            rows += [repeated(other, args.other.parent, time) for other in others.scans]
    target = args.out / args.name
    Manifest(BONE_PORES, tuple(rows)).save(target, overwrite=True)
    print(f"{target}: {len(rows)} series")


if __name__ == "__main__":
    main()
