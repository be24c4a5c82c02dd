"""Writes docs/images/simulation.png: a slice of each kind of simulated scan above its labels.

python tools/simulation_sheet.py [--seed 6] [--out docs/images/simulation.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from osteon.labels import BONE_PORES, IGNORE
from osteon.simulation import KINDS, SPECIES, draw_scan, make_scan

#: Size of the scans in voxels (z, y, x), scans in a row, and height of a caption in pixels.
SHAPE = (48, 144, 144)
COLUMNS = 5
CAPTION = 13
#: Between tiles, in pixels.
GAP = 4
#: Colour of voxels that are not judged.
UNJUDGED = (204, 121, 167)
#: Colours of the written picture: enough for 8-bit noise to look like noise.
COLOURS = 64


def best_slice(labels: npt.NDArray[np.uint8]) -> int:
    """The slice with the most evenly mixed labels."""
    shares = np.array([np.bincount(s.ravel(), minlength=256) for s in labels]) / labels[0].size
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return int((-shares * logs).sum(1).argmax())


def coloured(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Labels in the colours of their classes, (y, x, 3)."""
    table = np.zeros((256, 3), dtype=np.uint8)
    for c in BONE_PORES.classes:
        table[c.value] = c.colour
    table[IGNORE] = UNJUDGED
    return table[labels]


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("docs/images/simulation.png"))
    given = parser.parse_args()
    height, width = SHAPE[1:]
    rows = -(-len(KINDS) // COLUMNS)
    size = (COLUMNS * (width + GAP) - GAP, rows * (2 * height + CAPTION + 2 * GAP) - GAP)
    sheet = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for k, kind in enumerate(KINDS):
        species = list(SPECIES)[k % len(SPECIES)]
        spec = draw_scan(seed=given.seed, index=k, species=species, shape=SHAPE, kind=kind)
        image, anatomy = make_scan(spec)
        z = best_slice(anatomy.labels)
        row, column = divmod(k, COLUMNS)
        x, y = column * (width + GAP), row * (2 * height + CAPTION + 2 * GAP)
        draw.text((x + 2, y), f"{spec.kind}, {spec.imaging.around.medium}", fill=(0, 0, 0))
        sheet.paste(Image.fromarray(image[z]), (x, y + CAPTION))
        sheet.paste(Image.fromarray(coloured(anatomy.labels[z])), (x, y + CAPTION + height))
        print(kind, spec.kind, species, z)
    sheet.quantize(COLOURS).save(given.out, optimize=True)
    print(given.out, given.out.stat().st_size // 1000, "kB")


if __name__ == "__main__":
    main()
