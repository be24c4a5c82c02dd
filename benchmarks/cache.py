"""Random 256² patches a second, read directly and from the disk cache, and sizes on disk.

    python benchmarks/cache.py [--size 1536] [--slices 24] [--patches 40]

A simulated scan (smooth struts with noise, 16 bits; 8 bits for JPEG) is written in each format.
The files are in the system's memory, so that decoding is measured and not the disk. Before:
osteon's direct read; for .nii.gz, which osteon reads through the cache alone, nibabel's. After:
the copy in the cache; beside it the same copy read by zarr-python.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import tifffile
import zarr
from PIL import Image
from scipy.ndimage import gaussian_filter

from osteon.formats import open_volume
from osteon.formats.cache import CachedVolume, cached_copy
from osteon.volume import Array

PATCH = 256
Read = Callable[[int, slice, slice], Array]


def scan(slices: int, size: int) -> Array:
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(slices, size, size)).astype(np.float32), 4)
    struts = np.where(smooth > 0.3 * smooth.std(), 24000, 9000)
    return (struts + rng.normal(0, 400, smooth.shape)).clip(0, 65535).astype(np.uint16)


def write_scans(folder: Path, array: Array) -> dict[str, Path]:
    eight = (array >> 8).astype(np.uint8)
    for name in ("lzw", "png", "jpg"):
        (folder / name).mkdir()
    for z, plane in enumerate(array):
        tifffile.imwrite(folder / "lzw" / f"{z:04d}.tif", plane, compression="lzw", predictor=True)
        Image.fromarray(plane).save(folder / "png" / f"{z:04d}.png")
        Image.fromarray(eight[z]).save(folder / "jpg" / f"{z:04d}.jpg", quality=95)
    tifffile.imwrite(folder / "deflate.tif", array, compression="zlib", photometric="minisblack")
    image = nibabel.Nifti1Image(array.T, np.eye(4), dtype=np.uint16)
    nibabel.save(image, folder / "scan.nii.gz")
    return {
        "folder of TIFF slices, LZW": folder / "lzw",
        "TIFF stack, deflate": folder / "deflate.tif",
        "folder of PNG slices": folder / "png",
        "folder of JPEG slices, 8 bits": folder / "jpg",
        "NIfTI, .nii.gz": folder / "scan.nii.gz",
    }


def rate(read: Read, shape: tuple[int, ...], patches: int) -> float:
    """Patches a second; the first is not counted."""
    rng = np.random.default_rng(1)
    seconds = []
    for _ in range(patches + 1):
        z = int(rng.integers(shape[0]))
        y, x = (int(rng.integers(n - PATCH + 1)) for n in shape[1:])
        start = time.perf_counter()
        read(z, slice(y, y + PATCH), slice(x, x + PATCH))
        seconds.append(time.perf_counter() - start)
    return patches / sum(seconds[1:])


def disk(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files)


def row(name: str, path: Path, patches: int) -> str:
    volume = open_volume(path)
    if isinstance(volume, CachedVolume):
        proxy = nibabel.load(path).dataobj  # (x, y, z)
        direct = rate(lambda z, y, x: proxy[x, y, z], volume.shape, max(3, patches // 10))
    else:
        direct = rate(lambda z, y, x: volume.read(slice(z, z + 1), y, x), volume.shape, patches)
    start = time.perf_counter()
    copy = cached_copy(volume)
    made = time.perf_counter() - start
    if not isinstance(copy, CachedVolume) or copy.entry is None:
        raise SystemExit(f"{name}: no copy was made")
    cached = rate(lambda z, y, x: copy.read(slice(z, z + 1), y, x), copy.shape, 10 * patches)
    array = zarr.open_array(copy.entry / "voxels.zarr", mode="r")
    own = rate(lambda z, y, x: np.asarray(array[z : z + 1, y, x]), copy.shape, patches)
    figures = [
        f"{direct:.1f}",
        f"{cached:.0f}",
        f"{cached / direct:.0f}",
        f"{own:.0f}",
        f"{volume.nbytes / made / 1e6:.0f}",
        f"{disk(path) / volume.nbytes:.2f}",
        f"{disk(copy.entry) / volume.nbytes:.2f}",
    ]
    return f"| {name} | {' | '.join(figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1536, help="height and width, in pixels")
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--patches", type=int, default=40)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["OSTEON_CACHE_DIR"] = str(folder / "cache")
        os.environ["OSTEON_CACHE_SIZE"] = "100GB"
        (folder / "scans").mkdir()
        print(f"{args.slices} slices of {args.size}²; sizes as shares of the decoded voxels\n")
        print(
            "| format | before, patches/s | after, patches/s | × | by zarr, patches/s "
            "| making it, MB/s | file | copy |"
        )
        print("| --- " * 8 + "|")
        for title, path in write_scans(folder / "scans", scan(args.slices, args.size)).items():
            print(row(title, path, args.patches), flush=True)


if __name__ == "__main__":
    main()
