"""Draws what is in and around bones."""

from __future__ import annotations

import numpy as np

from osteon.simulation.materials.spec import (
    CARTILAGE,
    ETHANOL,
    MEDIA,
    PHANTOM,
    PLASTIC,
    PMMA,
    WATER,
    InteriorSpec,
    Range,
    SurroundingsSpec,
)
from osteon.simulation.randomness import log_uniform

#: Shares of scans with what may be there (given a medium it goes with).
BAGS, THREADS, FOAMS, PHANTOMS, PINS = 0.12, 0.08, 0.15, 0.08, 0.04
FAT_STREAKS, VESSELS, BUBBLES = 0.6, 0.5, 0.6
MARROW_BUBBLES, DRAINED, YOUNG = 0.12, 0.10, 0.25


def medium_of(medium: str, marrow: float, *, contrast: float, rng: np.random.Generator) -> float:
    """Draw the attenuation of a medium.

    Args:
        medium: A key of :data:`MEDIA`.
        marrow: Attenuation of the marrow: soft tissue is about as grey.
        contrast: Largest difference of soft tissue and marrow.
        rng: The generator.

    Returns:
        The attenuation.
    """
    ranges: dict[str, Range] = {"ethanol": ETHANOL, "saline": WATER, "pmma": PMMA}
    if medium in ranges:
        return float(rng.uniform(*ranges[medium]))
    if medium == "muscle":
        return max(marrow + float(rng.uniform(-1, 1)) * contrast, 0.05)
    return 0.0


def draw_surroundings(
    rng: np.random.Generator, *, medium: str, voxel_um: float, view_um: float
) -> SurroundingsSpec:
    """Draw what is around bones.

    Args:
        rng: The generator.
        medium: A key of :data:`MEDIA`.
        voxel_um: Voxel size in µm.
        view_um: Width of the field of view in µm.

    Returns:
        The specification.
    """
    liquid = medium in ("ethanol", "saline", "pmma")
    dark = medium in ("air", "dry")
    has = {
        name: bool(rng.random() < share)
        for name, share in (
            ("fat", FAT_STREAKS if medium == "muscle" else 0.0),
            ("vessels", VESSELS if medium == "muscle" else 0.0),
            ("bubbles", BUBBLES if medium == "pmma" else 0.15 if liquid else 0.0),
            ("bag", 0.0 if medium == "pmma" else BAGS),
            ("foam", FOAMS if dark else 0.0),
            ("threads", THREADS),
            ("rods", PHANTOMS),
            ("pins", PINS),
        )
    }
    count = rng.integers((2, 3, 1, 1), (9, 25, 4, 5)).tolist()
    return SurroundingsSpec(
        medium=medium,
        fat=float(rng.uniform(0.05, 0.4)) if has["fat"] else 0.0,
        streak_um=float(rng.uniform(0.08, 0.3)) * view_um,
        vessels=count[0] if has["vessels"] else 0,
        vessel=float(rng.uniform(-0.04, 0.08)),
        bubbles=count[1] if has["bubbles"] else 0,
        bubble_um=max(log_uniform(rng, (0.012, 0.06)) * view_um, 1.5 * voxel_um),
        bag_um=float(rng.uniform(0.03, 0.15)) * view_um if has["bag"] else None,
        film_um=log_uniform(rng, (0.8, 3.0)) * voxel_um,
        wall_um=log_uniform(rng, (0.008, 0.08)) * view_um,
        foam=float(rng.uniform(0.03, 0.12)) if has["foam"] else 0.0,
        cell_um=float(rng.uniform(0.1, 0.25)) * view_um,
        threads=count[2] if has["threads"] else 0,
        thread_um=log_uniform(rng, (0.7, 3.0)) * voxel_um,
        rods=tuple(float(v) for v in rng.uniform(*PHANTOM, count[3])) if has["rods"] else (),
        rod_um=float(rng.uniform(0.02, 0.06)) * view_um,
        pins=int(has["pins"]),
        plastic=float(rng.uniform(*PLASTIC)),
    )


def draw_interior(
    rng: np.random.Generator, *, dry: bool, voxel_um: float, view_um: float
) -> InteriorSpec:
    """Draw what is unusual within bones.

    Args:
        rng: The generator.
        dry: Whether the pores hold air anyway.
        voxel_um: Voxel size in µm.
        view_um: Width of the field of view in µm.

    Returns:
        The specification.
    """
    bubbles, drained, young = rng.random(3)
    return InteriorSpec(
        bubbles=int(rng.integers(3, 40)) if bubbles < MARROW_BUBBLES and not dry else 0,
        bubble_um=max(log_uniform(rng, (0.01, 0.05)) * view_um, 2 * voxel_um),
        drained=float(rng.uniform(0.25, 0.75)) if drained < DRAINED and not dry else 0.0,
        outer_loss=float(rng.uniform(0.05, 0.3)) if young < YOUNG else 0.0,
        outer_um=log_uniform(rng, (3, 15)) * voxel_um,
        inner_loss=float(rng.uniform(0.05, 0.3)) if young < YOUNG else 0.0,
        inner_um=log_uniform(rng, (8, 40)) * voxel_um,
        cartilage=float(rng.uniform(*CARTILAGE)),
    )


def draw_medium(rng: np.random.Generator) -> str:
    """Draw what bones are in: a key of :data:`MEDIA`."""
    return str(rng.choice(list(MEDIA), p=list(MEDIA.values())))
