"""What a slice costs by projection and in the image domain, and what both look like.

    python benchmarks/physics.py time
    python benchmarks/physics.py picture docs/images/physics.png

Times are of the processor, one thread, the least of several slices (what else runs only adds); the
table of docs/physics.md comes from the first, its picture from the second.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from osteon.simulation.physics import fast, matching, window
from osteon.simulation.physics.phantom import bone_phantom
from osteon.simulation.physics.projection import ScannerSpec, scan_slice
from osteon.simulation.randomness import generator

SIZES = (256, 512)
SCANNER = ScannerSpec(angles=360, photons=30_000.0, blur=0.6)
#: All artefacts at once.
FULL = fast.FastScannerSpec(
    cupping=0.2,
    streaks=0.2,
    rings=0.02,
    edges=0.5,
    shading=(0.1, 0.1),
    motion=(2.0, 1.5),
    motion_share=0.3,
    rim=0.2,
    gamma=0.8,
    resolution=1.6,
)


def slice_of(size: int, finer: int = 1) -> np.ndarray:
    """Return the phantom's attenuation, averaged over finer voxels."""
    whole = sum(bone_phantom(size, supersample=finer).values())
    return whole.reshape(size, finer, size, finer).mean((1, 3)).astype(np.float32)


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    call()
    took = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        took.append(time.process_time() - start)
    return min(took) * 1e3


def effects(image: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return a call for every artefact and output."""
    rng, n = generator(1), len(image)
    grey = window.to_grey(image, black=-0.2, white=1.2)
    return {
        "blur": lambda: fast.blur(image, sigma=1.2),
        "loss of resolution": lambda: fast.lose_resolution(image, factor=1.6),
        "edge enhancement": lambda: fast.enhance_edges(image, amount=0.5, sigma=1.5),
        "noise": lambda: fast.add_noise(image, rng, sd=0.06, correlation=0.6),
        "cupping": lambda: fast.add_cupping(image, fraction=0.2),
        "streaks": lambda: fast.add_streaks(image, strength=0.2, threshold=0.7),
        "rings": lambda: fast.add_rings(image, rng, sd=0.02, width=0.7, centre=(n / 2, -9.0)),
        "motion": lambda: fast.double(image, shift=(2.0, 1.5), share=0.3),
        "bright rim": lambda: fast.brighten_rim(
            image, amount=0.2, centre=(n / 2, n / 2), radius=n / 2
        ),
        "shading": lambda: fast.shade(image, slope=(0.1, 0.1)),
        "gamma": lambda: fast.gamma(image, exponent=0.8, black=-0.2, white=1.2),
        "8-bit window": lambda: window.to_grey(image, black=-0.2, white=1.2),
        "field of view": lambda: window.circular_field_of_view(grey, fill="mean"),
        "JPEG": lambda: window.compress_jpeg(grey, quality=75),
    }


def print_times() -> None:
    rows: dict[str, list[float]] = {}
    for size in SIZES:
        image = slice_of(size)
        for name, call in effects(image).items():
            rows.setdefault(name, []).append(milliseconds(call, 50))
        rng = generator(2)
        rows.setdefault("**all artefacts at once**", []).append(
            milliseconds(lambda image=image, rng=rng: fast.image_slice(image, FULL, rng), 50)
        )
        drawn = [fast.draw_fast_scanner(generator(i)) for i in range(100)]
        rows.setdefault("**as drawn, mean of 100 scanners**", []).append(
            milliseconds(
                lambda image=image, rng=rng, drawn=drawn: [
                    fast.image_slice(image, s, rng) for s in drawn
                ],
                3,
            )
            / len(drawn)
        )
        maps = bone_phantom(size)
        for name, spec in {
            "**projection, parallel, 360 angles**": SCANNER,
            "**projection, fan, 360 angles**": replace(SCANNER, arc_deg=360.0, fan_deg=15.0),
        }.items():
            rows.setdefault(name, []).append(
                milliseconds(lambda maps=maps, spec=spec: scan_slice(maps, spec, generator(3)), 1)
            )
    print(f"| ms a slice | {' | '.join(f'{s} × {s}' for s in SIZES)} |")
    print("| --- |" + " --- |" * len(SIZES))
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:,.1f}" for v in values) + " |")


def radial_power(image: np.ndarray, bins: int = 24) -> np.ndarray:
    power = np.abs(np.fft.fft2(image - image.mean())) ** 2 / image.size
    f = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1])[None, :])
    which = np.minimum((f / 0.5 * bins).astype(int), bins)
    return np.array([power[which == b].mean() for b in range(bins)])


def pairs(size: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return what both make of a slice, artefact by artefact."""
    maps, image = bone_phantom(size), slice_of(size)
    spec = replace(SCANNER, energies=1, photons=1e6)
    base = replace(matching.match_fast_scanner(image, spec), noise=0.003)
    middle = ((size - 1) / 2, (size - 1) / 2)
    y, x = np.mgrid[:size, :size] - middle[0]
    metal = np.zeros_like(image)
    for cx in (-0.2, 0.2):
        metal[np.hypot(y, x - cx * size) < 0.03 * size] = 5.0
    with_metal = {m: np.where(metal > 0, 0, v).astype(np.float32) for m, v in maps.items()}
    thick = replace(SCANNER, voxel_um=40.0, photons=1e6)
    streaked = {**with_metal, "metal": metal}
    dense = np.where(metal > 0, metal, image)
    gain = replace(spec, gain_sd=0.002)
    moved = replace(spec, motion=(2.0, 1.5), moved_at=0.6)
    cut = replace(spec, detector=0.7)
    seen = np.hypot(y, x) <= 0.35 * size

    def direct(picture: np.ndarray = image, **change: object) -> np.ndarray:
        return fast.image_slice(picture, replace(base, **change), generator(5))

    hard = matching.match_fast_scanner(image, thick).cupping
    rim = fast.brighten_rim(direct(), amount=0.2, centre=middle, radius=0.35 * size)
    return [
        ("hardening", scan_slice(maps, thick, generator(4)), direct(cupping=hard)),
        (
            "metal",
            scan_slice(streaked, replace(thick, voxel_um=20.0), generator(4)),
            direct(dense, cupping=hard / 2, streaks=2.0, dense=2.0),
        ),
        (
            "rings",
            scan_slice(maps, gain, generator(4)),
            direct(rings=0.04, ring_width=0.5, half_rings=True),
        ),
        (
            "motion",
            scan_slice(maps, moved, generator(4)),
            direct(motion=(2.0, 1.5), motion_share=0.4),
        ),
        ("truncation", scan_slice(maps, cut, generator(4)), np.where(seen, rim, 0)),
    ]


def draw_picture(path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    size, finer = 192, 2
    spec = replace(SCANNER, supersample=finer)
    maps, image = bone_phantom(size, supersample=finer), slice_of(size, finer)
    matched = matching.match_fast_scanner(image, spec)
    projected = [scan_slice(maps, spec, generator(s)) for s in (1, 2)]
    direct = [fast.image_slice(image, matched, generator(s)) for s in (3, 4)]
    figure, axes = plt.subplots(3, 5, figsize=(12, 7.4), layout="constrained", dpi=90)

    def show(axis: object, picture: np.ndarray, title: str) -> None:
        axis.imshow(picture, cmap="gray", vmin=-0.15, vmax=1.15)  # type: ignore[attr-defined]
        axis.set_title(title, fontsize=10)  # type: ignore[attr-defined]
        axis.set_axis_off()  # type: ignore[attr-defined]

    show(axes[0, 0], image, "attenuation")
    show(axes[0, 1], projected[0], "projected and reconstructed")
    show(axes[0, 2], direct[0], "image domain")
    levels = np.linspace(-0.15, 1.15, 66)
    for pictures, name, style in ((projected, "projected", "k-"), (direct, "image domain", "C1--")):
        counts, _ = np.histogram(pictures[0], levels, density=True)
        axes[0, 3].semilogy((levels[1:] + levels[:-1]) / 2, counts, style, label=name)
        power = radial_power((pictures[0] - pictures[1]) / np.sqrt(2))
        axes[0, 4].plot((np.arange(24) + 0.5) / 48, power * 1e4, style, label=name)
    axes[0, 3].set_title("grey values", fontsize=10)
    axes[0, 4].set_title("noise power, 10⁻⁴", fontsize=10)
    axes[0, 4].set_xlabel("frequency, 1/voxel", fontsize=8)
    axes[0, 4].legend(fontsize=8)
    for column, (name, ours, theirs) in enumerate(pairs(size)):
        show(axes[1, column], ours, f"{name}: projected")
        show(axes[2, column], theirs, f"{name}: image domain")
    shown = io.BytesIO()
    figure.savefig(shown, format="png")
    # Few colours: noise does not compress.
    PillowImage.open(shown).convert("L").quantize(48).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("time", help="print the table")
    commands.add_parser("picture", help="draw the picture").add_argument("path", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "time":
        print_times()
    else:
        draw_picture(arguments.path)


if __name__ == "__main__":
    main()
