"""Draws one bone of a kind, in the middle of the field of view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from osteon.simulation.anatomy import MIN_CORTEX_VOXELS, BoneSpec, CanalSpec
from osteon.simulation.drawing.sizes import CORTEX_SLACK, Sizes
from osteon.simulation.envelope import ArchSpec, EnvelopeSpec
from osteon.simulation.randomness import log_uniform
from osteon.simulation.species import (
    MAX_THICKNESS_TO_SPACING,
    MIN_SPACING_VOXELS,
    MIN_THICKNESS_VOXELS,
    Species,
)
from osteon.simulation.trabeculae import TrabecularSpec

#: Walls of flat bones and skulls are at least this thick, in voxels: coarse points are 4 apart.
MIN_WALL_VOXELS = 9.0
#: Cells of diploe between two tables, at least about.
CELLS_BETWEEN = 1.5
#: Cortex of a vertebra over that of a shaft.
THIN_CORTEX = 0.6
#: Share of cortices with resorption spaces.
RESORPTION = 0.3
#: A resorption space is this many diameters long.
RESORPTION_LENGTH = 6.0


def draw_bone(species: Species, site: str, sizes: Sizes, rng: np.random.Generator) -> BoneSpec:
    """Draw a bone.

    Args:
        species: The ranges.
        site: ``shaft``, ``end``, ``vertebra``, ``arch``, ``flat``, ``skull`` or ``rib``.
        sizes: Its sizes.
        rng: The generator.

    Returns:
        The bone, centred, with no features.
    """
    envelope = {
        "shaft": _long,
        "end": _long,
        "vertebra": _long,
        "arch": _arched,
        "flat": _flat,
        "skull": _skull,
        "rib": _rib,
    }[site](site, sizes, rng)
    least = (MIN_CORTEX_VOXELS + CORTEX_SLACK) * sizes.voxel
    cortex = sizes.cortex
    if site in ("vertebra", "arch"):
        cortex = max(THIN_CORTEX * cortex, least)
    room = envelope.wall_um or 2 * envelope.radius_um
    if site in ("flat", "skull"):
        cortex = max(min(cortex, room / 4), least)
    cavity = {"shaft": rng.uniform(0.5, 1.0), "end": rng.uniform(0.0, 0.4)}.get(site, 0.0)
    # Between the tables of a thin plate there is no room for diploe: it is solid.
    solid = room < 2 * cortex + MIN_SPACING_VOXELS * sizes.voxel
    cortex = room if solid else cortex
    network = sizes.network
    if envelope.wall_um > 0 and not solid:
        # Struts between the two tables, whatever the spacing in the species' long bones.
        network = _diploe(network, room - 2 * cortex, sizes.voxel)
    canals = CanalSpec(
        log_uniform(rng, species.canal_um), per_mm2=log_uniform(rng, species.canals_per_mm2)
    )
    return BoneSpec(
        envelope,
        cortex_um=cortex,
        cortex_variation=float(rng.uniform(0.1, 0.3)),
        trabeculae=None if solid else network,
        cavity=float(cavity),
        canals=canals,
        resorption=_resorption(canals, sizes, rng),
    )


def _diploe(network: TrabecularSpec, room_um: float, voxel_um: float) -> TrabecularSpec:
    """The network with cells that are no wider than the room between two tables."""
    spacing = min(network.spacing_um, room_um / CELLS_BETWEEN)
    spacing = max(spacing, MIN_SPACING_VOXELS * voxel_um)
    thickness = min(network.thickness_um, MAX_THICKNESS_TO_SPACING * spacing)
    return replace(
        network, spacing_um=spacing, thickness_um=max(thickness, MIN_THICKNESS_VOXELS * voxel_um)
    )


def _resorption(canals: CanalSpec, sizes: Sizes, rng: np.random.Generator) -> CanalSpec | None:
    """Resorption spaces wide enough to be labelled, in cortices thick enough for them."""
    chance, times = rng.random(), float(rng.uniform(2, 6))
    diameter = max(times * canals.diameter_um, 4 * sizes.voxel)
    if chance >= RESORPTION or diameter > 0.6 * sizes.cortex:
        return None
    return CanalSpec(
        diameter,
        per_mm2=0.1 * canals.per_mm2,
        variation=0.3,
        length_diameters=RESORPTION_LENGTH,
    )


def _lobes(rng: np.random.Generator, *, amplitude: float) -> tuple[tuple[int, float, float], ...]:
    return tuple(
        (k, float(rng.normal(0, amplitude / k)), float(rng.uniform(0, 2 * np.pi)))
        for k in (1, 2, 3, 4)
    )


def _long(site: str, sizes: Sizes, rng: np.random.Generator) -> EnvelopeSpec:
    width, view = sizes.width, sizes.view
    flatness = float(rng.uniform(0.65, 1.0))
    length = {
        "shaft": max(3 * width, view[0]),
        "end": float(rng.uniform(1.5, 2.5)) * width,
        "vertebra": min(float(rng.uniform(0.6, 1.1)) * width, 0.85 * view[0])
        if rng.random() < 0.7
        else float(rng.uniform(0.8, 1.2)) * width,
    }
    return EnvelopeSpec(
        "shaft" if site == "shaft" else "end" if site == "end" else "vertebra",
        radius_um=width / 2,
        length_um=length["vertebra" if site == "arch" else site],
        aspect=flatness,
        exponent=float(rng.uniform(2.0, 2.6 if site in ("shaft", "end") else 4.5)),
        lobes=_lobes(rng, amplitude=0.10),
        waist=float(rng.uniform(0.05, 0.3)),
        flare=float(rng.uniform(0.1, 0.45)),
        rounding_um=float(rng.uniform(0.1, 0.5)) * width,
        bend_um=float(rng.uniform(0, 0.06)) * width,
        tilt=(float(rng.normal(0, 0.08)), float(rng.normal(0, 0.08))),
        roughness_um=float(rng.uniform(0.003, 0.012)) * width,
        turn=float(rng.uniform(0, 2 * np.pi)),
    )


def _arched(site: str, sizes: Sizes, rng: np.random.Generator) -> EnvelopeSpec:
    body = _long(site, sizes, rng)
    width = sizes.width
    arch = ArchSpec(
        canal_um=float(rng.uniform(0.2, 0.38)) * width,
        wall_um=max(float(rng.uniform(0.1, 0.2)) * width, MIN_WALL_VOXELS * sizes.voxel),
        height=float(rng.uniform(0.4, 0.9)),
        spinous_um=float(rng.uniform(0.2, 0.7)) * width,
        transverse_um=float(rng.uniform(0.15, 0.5)) * width,
    )
    return replace(body, lobes=_lobes(rng, amplitude=0.05), bend_um=0.0, arch=arch)


def _wall(sizes: Sizes, rng: np.random.Generator, *, most: float) -> float:
    """Thickness of a wall of two tables with diploe between them, or without."""
    wanted = 2 * sizes.cortex + float(rng.uniform(0.0, 2.0)) * sizes.network.spacing_um
    return max(min(wanted, most), MIN_WALL_VOXELS * sizes.voxel)


def _flat(site: str, sizes: Sizes, rng: np.random.Generator) -> EnvelopeSpec:
    width = sizes.width
    wall = _wall(sizes, rng, most=0.3 * width)
    ridged, leaning = rng.random(2)
    return EnvelopeSpec(
        "plate",
        radius_um=width / 2,
        length_um=float(rng.uniform(0.7, 2.0)) * width,
        exponent=float(rng.uniform(2.0, 4.0)),
        lobes=_lobes(rng, amplitude=0.15),
        bend_um=float(rng.uniform(-0.3, 0.3)) * width,
        roughness_um=float(rng.uniform(0.02, 0.08)) * wall,
        turn=float(rng.uniform(0, 2 * np.pi)),
        lean=float(rng.uniform(0, np.pi / 2)) if leaning < 0.4 else float(rng.normal(0, 0.2)),
        wall_um=wall,
        ridge_um=float(rng.uniform(0.1, 0.3)) * width if ridged < 0.3 else 0.0,
    )


def _skull(site: str, sizes: Sizes, rng: np.random.Generator) -> EnvelopeSpec:
    width = sizes.width
    opening = float(rng.uniform(0.3, 0.5)) * width if rng.random() < 0.5 else 0.0
    return EnvelopeSpec(
        "skull",
        radius_um=width / 2,
        length_um=float(rng.uniform(1.5, 2.4)) * width,
        aspect=float(rng.uniform(0.7, 1.0)),
        roughness_um=float(rng.uniform(0.003, 0.008)) * width,
        turn=float(rng.uniform(0, 2 * np.pi)),
        lean=float(rng.normal(0, 0.15)) if rng.random() < 0.6 else float(rng.uniform(0, np.pi)),
        wall_um=_wall(sizes, rng, most=0.12 * width),
        opening_um=opening,
    )


def _rib(site: str, sizes: Sizes, rng: np.random.Generator) -> EnvelopeSpec:
    width = sizes.width
    length = float(rng.uniform(5, 14)) * width
    return EnvelopeSpec(
        "rib",
        radius_um=width / 2,
        length_um=length,
        aspect=float(rng.uniform(0.5, 1.0)),
        exponent=float(rng.uniform(2.0, 3.0)),
        lobes=_lobes(rng, amplitude=0.06),
        rounding_um=0.5 * width,
        bend_um=float(rng.uniform(0.05, 0.3)) * length,
        roughness_um=float(rng.uniform(0.005, 0.015)) * width,
        turn=float(rng.uniform(0, 2 * np.pi)),
        # From upright, cut across, to lying in the slices.
        lean=float(rng.uniform(0, np.pi / 2)),
    )
