"""How long augmentation takes, beside MONAI's transforms.

    OMP_NUM_THREADS=1 python benchmarks/augmentation.py [--size 256] [--patches 200] [--json FILE]

Time of this process on the processor in ms for a patch, on one thread, so that other work on the
machine counts little: the mean over random patches of each preset, and of each single change of
``strong``, made to happen every time. MONAI is given the equivalent dictionary transforms with
the same probabilities and ranges, composed; it has no rings, and its smooth bias field stands for
cupping. Target: ``strong`` below 15 ms for 256 × 256.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai import transforms as m

from osteon.augment import grey, load_augmentation
from osteon.augment import strong as osteon_strong
from osteon.augment.geometry import draw_affine, draw_displacement, places, resample

TARGET_MS = 15
KEYS = ("image", "label")
MODES = ("bilinear", "nearest")
Z = grey.Scale.of((-5.0, 5.0), strength=1, isotropic=True)


def phantom(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (channel, [z,] y, x) of noise about labels ([z,] y, x)."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(shape[1:], np.float32) * 3).astype(np.uint8)
    image = rng.standard_normal(shape, dtype=np.float32) / 2 + labels
    return image, labels


def milliseconds(work: Callable[[int], object], patches: int) -> float:
    """Return the mean time on the processor of ``work(seed)``."""
    work(0)
    start = time.process_time()
    for seed in range(patches):
        work(seed)
    return 1000 * (time.process_time() - start) / patches


def monai_parts(size: int, *, always: bool = False) -> dict[str, Any]:
    """MONAI's transforms with the probabilities of ``strong``, or 1."""
    p = {f.__name__: 1.0 if always else q for q, f in osteon_strong.GREY}
    affine, elastic = (1.0, 1.0) if always else (osteon_strong.AFFINE, osteon_strong.ELASTIC)
    spacing = size / 4
    return {
        "affine": m.RandAffined(
            KEYS,
            prob=affine,
            rotate_range=math.pi,
            shear_range=0.1,
            scale_range=((-0.3, 0.4), (-0.3, 0.4)),
            mode=MODES,
            padding_mode="reflection",
        ),
        "elastic": m.Rand2DElasticd(
            KEYS,
            prob=elastic,
            spacing=(spacing, spacing),
            magnitude_range=(0.05 * spacing, 0.25 * spacing),
            mode=MODES,
            padding_mode="reflection",
        ),
        "gamma": m.RandAdjustContrastd("image", prob=p["gamma"], gamma=grey.GAMMA),
        "cupping": m.RandBiasFieldd("image", prob=p["cupping"], degree=2),
        "blur": m.RandGaussianSmoothd(
            "image", prob=p["blur"], sigma_x=grey.BLUR, sigma_y=grey.BLUR
        ),
        "coarser": m.RandSimulateLowResolutiond(
            "image",
            prob=p["coarser"],
            zoom_range=(1 / grey.COARSER[1], 1 / grey.COARSER[0]),
            upsample_mode="bilinear",
        ),
        "noise": m.RandGaussianNoised("image", prob=p["noise"], std=grey.NOISE[1]),
        "sharpen": m.RandGaussianSharpend("image", prob=p["sharpen"]),
        "contrast": m.RandScaleIntensityd("image", prob=p["contrast"], factors=(-0.35, 0.5)),
        "brightness": m.RandShiftIntensityd("image", prob=p["brightness"], offsets=0.4),
    }


def osteon_parts(shape: tuple[int, ...]) -> dict[str, Callable[[Any, Any, Any], object]]:
    """The single changes of ``strong``, each made to happen."""
    spatial = shape[1:]
    how: dict[str, Any] = {"strength": 1, "isotropic": True}

    def affine(image: Any, labels: Any, rng: Any) -> object:
        return resample(image, labels, places(spatial, draw_affine(rng, spatial, **how), None))

    def elastic(image: Any, labels: Any, rng: Any) -> object:
        field = draw_displacement(rng, spatial, **how)
        return resample(image, labels, places(spatial, None, field))

    def both(image: Any, labels: Any, rng: Any) -> object:
        matrix, field = draw_affine(rng, spatial, **how), draw_displacement(rng, spatial, **how)
        return resample(image, labels, places(spatial, matrix, field))

    parts: dict[str, Callable[[Any, Any, Any], object]] = {
        "affine": affine,
        "elastic": elastic,
        "affine + elastic": both,
    }
    for _, change in osteon_strong.GREY:
        parts[change.__name__] = lambda image, labels, rng, change=change: change(
            image.copy(), rng, Z
        )
    return parts


def presets(shapes: dict[str, tuple[int, ...]], patches: int) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {}
    for kind, shape in shapes.items():
        image, labels = phantom(shape)
        n = patches if len(shape) == 3 else max(5, patches // 10)
        for name in ("none", "geometric", "reference", "strong"):
            augment = load_augmentation(name)

            def work(seed: int, augment: Any = augment, i: Any = image, y: Any = labels) -> object:
                return augment(i, y, np.random.default_rng(seed))

            rows.setdefault(name, {})[kind] = round(milliseconds(work, n), 2)
    return rows


def monai_strong(size: int, patches: int) -> float:
    image, labels = phantom((1, size, size))
    compose = m.Compose(
        [
            m.RandFlipd(KEYS, prob=1 / 3, spatial_axis=0),
            m.RandRotate90d(KEYS, prob=0.5),
            *monai_parts(size).values(),
        ]
    )
    compose.set_random_state(0)
    given = {"image": torch.from_numpy(image), "label": torch.from_numpy(labels)[None]}
    return round(milliseconds(lambda seed: compose(dict(given)), patches), 2)


def single(size: int, patches: int) -> dict[str, dict[str, float | None]]:
    image, labels = phantom((1, size, size))
    given = {"image": torch.from_numpy(image), "label": torch.from_numpy(labels)[None]}
    theirs = monai_parts(size, always=True)
    rows: dict[str, dict[str, float | None]] = {}
    for name, work in osteon_parts(image.shape).items():
        ours = milliseconds(
            lambda seed, work=work: work(image, labels, np.random.default_rng(seed)), patches
        )
        peer = theirs.get(name)
        rows[name] = {
            "osteon": round(ours, 2),
            "monai": None
            if peer is None
            else round(milliseconds(lambda seed, peer=peer: peer(dict(given)), patches), 2),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--patches", type=int, default=200)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    size = options.size
    shapes: dict[str, tuple[int, ...]] = {
        f"2D {size}²": (1, size, size),
        f"2.5D 3 × {size}²": (3, size, size),
        f"3D 32 × {size // 2}²": (1, 32, size // 2, size // 2),
    }
    result = {
        "presets_ms": presets(shapes, options.patches),
        "monai_strong_ms": monai_strong(size, options.patches),
        "single_ms": single(size, max(10, options.patches // 4)),
        "target_ms": TARGET_MS,
    }
    print(json.dumps(result, indent=1, ensure_ascii=False))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
