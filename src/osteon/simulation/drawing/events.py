"""Draws what is special about a bone: growth plates, lesions, holes, cracks, sutures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from osteon.simulation.anatomy import BoneSpec, Feature, GrowthPlate, Hole, Lesion, Sheet
from osteon.simulation.drawing.sizes import Sizes
from osteon.simulation.envelope import EnvelopeSpec
from osteon.simulation.grids import Shape

Triple = tuple[float, float, float]

#: Smaller fields of view show bones without them: (slices, width) in voxels.
LEAST_VIEW = (24, 96)
#: Shares of bones that have them, where they can.
GROWTH_PLATES, LESIONS, DRILLED, FORAMINA, CRACKS, SUTURES = 0.35, 0.10, 0.08, 0.25, 0.08, 0.6
#: Share of drill holes with a metal pin.
PINNED = 0.25
#: Thickness of a growth plate over the width of the bone, and its least in voxels.
CARTILAGE, CARTILAGE_VOXELS = (0.03, 0.09), 3.0
#: Openings narrower than this share of a bone's width are closed flat; so many voxels at least.
CLOSED_BELOW, CLOSED_VOXELS = 0.06, 7.0


def draw_features(
    bone: BoneSpec, sizes: Sizes, rng: np.random.Generator, *, shape: Shape, interior: bool = False
) -> BoneSpec:
    """Draw the features of a bone.

    Args:
        bone: The bone.
        sizes: Its sizes.
        rng: The generator.
        shape: (z, y, x) of the field of view in voxels.
        interior: Whether the bone's surface is out of view: then nothing is drawn that is known
            as such by where it opens, or by the whole bone.

    Returns:
        The bone with them; without any in a small field of view.
    """
    chances = rng.random(8)
    if shape[0] < LEAST_VIEW[0] or min(shape[1:]) < LEAST_VIEW[1]:
        return bone
    envelope = bone.envelope
    found: list[Feature] = []
    if envelope.shape in ("end", "vertebra") and not interior and chances[0] < GROWTH_PLATES:
        found += _growth_plates(envelope, sizes, rng)
    closed = max(CLOSED_BELOW * sizes.width, CLOSED_VOXELS * sizes.voxel)
    if envelope.shape in ("shaft", "end", "vertebra", "rib") and not interior:
        if chances[1] < LESIONS:
            found.append(_lesion(envelope, sizes, rng))
        if chances[2] < DRILLED:
            pin = bool(chances[6] < PINNED)
            wide = float(rng.uniform(1.3, 2.5)) * closed
            found.append(_hole(envelope, sizes, rng, diameter=wide, through=True, pin=pin))
        if chances[3] < FORAMINA:
            narrow = max(float(rng.uniform(0.4, 0.9)) * closed, 3 * sizes.voxel)
            found.append(_hole(envelope, sizes, rng, diameter=narrow, through=False, pin=False))
    if chances[4] < CRACKS:
        found.append(_crack(envelope, sizes, rng))
    if envelope.shape in ("skull", "plate") and chances[5] < SUTURES:
        found.append(_suture(envelope, sizes, rng))
    return replace(bone, features=tuple(found), closed_below_um=closed)


def _in_view(envelope: EnvelopeSpec, sizes: Sizes, rng: np.random.Generator) -> float:
    """A height along the bone's axis that is in the field of view, if the bone is upright."""
    at = float(rng.uniform(-0.35, 0.35)) * sizes.view[0] - envelope.centre_um[0]
    return float(at * np.cos(envelope.lean))


def _growth_plates(envelope: EnvelopeSpec, sizes: Sizes, rng: np.random.Generator) -> list[Feature]:
    """One below the cap of an end, or one at either face of a vertebra."""
    width, half = sizes.width, envelope.length_um / 2
    thickness = max(float(rng.uniform(*CARTILAGE)) * width, CARTILAGE_VOXELS * sizes.voxel)
    calcified = float(rng.uniform(0.1, 0.4)) if rng.random() < 0.4 else 0.0
    one = GrowthPlate(
        height_um=half - float(rng.uniform(0.22, 0.4)) * width,
        thickness_um=thickness,
        bow_um=float(rng.uniform(-0.08, 0.15)) * width,
        rim_um=width / 2,
        wave_um=float(rng.uniform(0.0, 0.02)) * width,
        lamella_um=float(rng.uniform(1.5, 3.0)) * sizes.voxel,
        calcified=calcified,
    )
    if envelope.shape == "end":
        return [one]
    near = half - max(float(rng.uniform(0.1, 0.2)) * envelope.length_um, 2 * thickness)
    flat = replace(one, height_um=near, bow_um=0.3 * one.bow_um)
    return [flat, replace(flat, height_um=-near, bow_um=-flat.bow_um, calcified=0.0)]


def _around(envelope: EnvelopeSpec, rng: np.random.Generator) -> tuple[float, float]:
    """A direction (y, x) across the bone's axis."""
    angle = float(rng.uniform(0, 2 * np.pi))
    return float(np.sin(angle)), float(np.cos(angle))


def _lesion(envelope: EnvelopeSpec, sizes: Sizes, rng: np.random.Generator) -> Lesion:
    """A cavity anywhere between the axis and just outside the surface."""
    y, x = _around(envelope, rng)
    out = envelope.radius_um * float(rng.uniform(0.3, 1.0))
    at = (_in_view(envelope, sizes, rng), y * out * envelope.aspect, x * out)
    radius = max(float(rng.uniform(0.08, 0.22)) * sizes.width, 4 * sizes.voxel)
    return Lesion(at, radius, roughness=float(rng.uniform(0.05, 0.2)))


def _hole(
    envelope: EnvelopeSpec,
    sizes: Sizes,
    rng: np.random.Generator,
    *,
    diameter: float,
    through: bool,
    pin: bool,
) -> Hole:
    """A hole towards the axis: far into or through the bone, or into the marrow space alone."""
    y, x = _around(envelope, rng)
    start = 1.6 * envelope.radius_um
    slope = float(rng.normal(0, 0.25))
    deep = float(rng.uniform(0.5, 2.2)) if through else 0.5
    length = (0.6 + deep) * envelope.radius_um
    at = (_in_view(envelope, sizes, rng) - slope * start, y * start, x * start)
    return Hole(at, (slope, -y, -x), length_um=length, diameter_um=diameter, pin=pin)


def _crack(envelope: EnvelopeSpec, sizes: Sizes, rng: np.random.Generator) -> Sheet:
    y, x = _around(envelope, rng)
    radius = envelope.radius_um * 0.8
    z = _in_view(envelope, sizes, rng)
    a, b, c = (float(v) for v in rng.standard_normal(3))
    return Sheet(
        "crack",
        (z, y * radius * envelope.aspect, x * radius),
        (a, b, c),
        width_um=float(rng.uniform(0.8, 3.0)) * sizes.voxel,
        extent_um=float(rng.uniform(0.3, 1.0)) * envelope.radius_um,
        wave_um=float(rng.uniform(0.5, 2.0)) * sizes.voxel,
        wavelength_um=float(rng.uniform(15, 40)) * sizes.voxel,
    )


def _suture(envelope: EnvelopeSpec, sizes: Sizes, rng: np.random.Generator) -> Sheet:
    """The middle suture of a skull, or one across a plate."""
    width, reach = float(rng.uniform(1.0, 5.0)) * sizes.voxel, 3 * envelope.length_um
    wave, length = float(rng.uniform(1, 5)) * sizes.voxel, float(rng.uniform(15, 40)) * sizes.voxel
    if envelope.shape == "skull":
        # The roof alone: the sagittal suture runs along the middle, from the braincase's top.
        top = (-0.17 * envelope.length_um, -envelope.aspect * envelope.radius_um, 0.0)
        reach = 0.8 * envelope.radius_um
        return Sheet("suture", top, (0.0, 0.0, 1.0), width, reach, wave, length)
    along = (1.0, 0.0, 0.0) if rng.random() < 0.5 else (0.0, 1.0, 0.0)
    a, b = (float(v) for v in rng.uniform(-0.15, 0.15, 2))
    at = (a * envelope.length_um, b * envelope.radius_um, 0.0)
    return Sheet("suture", at, along, width, reach, wave, length)
