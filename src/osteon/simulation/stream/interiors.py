"""What is inside an outline: cortex, canals, trabeculae, growth plates, lesions, cracks.

Everything is about a signed distance in pixels, positive in bone; labels follow
docs/labelling.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from osteon.simulation.randomness import log_uniform
from osteon.simulation.stream.fields import (
    Float32,
    Frame,
    as_distance,
    draw_mosaic,
    gaussian_field,
    smooth_field,
)
from osteon.simulation.stream.outlines import Outline

#: Kinds of interiors and how often each is drawn.
INTERIORS = {
    "trabecular": 0.42,
    "gradient": 0.22,
    "cavity": 0.16,
    "compact": 0.08,
    "septa": 0.07,
    "hollow": 0.05,
}
#: Textures of trabeculae and how often each is drawn.
TEXTURES = {"mosaic": 0.62, "labyrinth": 0.13, "sponge": 0.15, "rods": 0.1}
#: Canals under this many pixels wide are labelled bone (docs/labelling.md).
MIN_CANAL = 3.0
#: At most so many canals of a kind are drawn in a slice.
MAX_CANALS = 60
#: A mosaic's mean wall-to-wall distance over that of its seeds.
CELL_REACH = 0.9
#: Waves shorter than this many pixels are none.
SHORTEST_WAVE = 2.5
#: Cells smaller than this many pixels are drawn as a level set, which is faster.
LEAST_CELL = 5.0


@dataclass(frozen=True)
class Sizes:
    """Sizes in pixels.

    Attributes:
        cortex: Mean thickness of the cortex.
        thickness: Mean thickness of trabeculae.
        spacing: Mean width of the space between them.
    """

    cortex: float
    thickness: float
    spacing: float


@dataclass(frozen=True)
class Bone:
    """A bone of a slice.

    Attributes:
        depth: Signed distance from the envelope, positive inside, float32 (y, x).
        bone: Signed distance from bone, positive in it, as it is labelled.
        faint: The same with canals too narrow to be labelled, as it is imaged.
        ignore: Where nothing is to be learned: growth plates and cracks; bool (y, x).
        cartilage: Where a growth plate is, bool (y, x).
    """

    depth: Float32
    bone: Float32
    faint: Float32
    ignore: npt.NDArray[np.bool_]
    cartilage: npt.NDArray[np.bool_]


def draw_bone(frame: Frame, rng: np.random.Generator, outline: Outline, sizes: Sizes) -> Bone:
    """Fill an outline.

    Args:
        frame: The square.
        rng: The generator.
        outline: The outer shape.
        sizes: Of cortex and trabeculae.

    Returns:
        The bone.
    """
    depth = outline.depth
    kind = str(rng.choice(list(INTERIORS), p=list(INTERIORS.values())))
    cortex = _cortex(frame, rng, outline, sizes.cortex)
    bone: Float32 = cortex - depth
    if kind not in ("hollow", "compact"):
        np.maximum(
            bone, _trabeculae(frame, rng, outline, sizes, cortex=cortex, kind=kind), out=bone
        )
    if kind == "compact":
        bone = np.full_like(depth, 1e3)
    if kind == "compact" or rng.random() < 0.3:
        large = _holes(frame, rng, reach=depth - 2, diameter=(MIN_CANAL, 14.0), cortex=cortex)
        np.minimum(bone, large, out=bone)
    faint = bone
    if kind == "compact" or rng.random() < 0.5:
        small = _holes(frame, rng, reach=depth - 1, diameter=(0.7, MIN_CANAL), cortex=cortex)
        faint = np.minimum(bone, small)
    ignore = np.zeros(depth.shape, dtype=bool)
    made = Bone(depth, np.minimum(bone, depth), np.minimum(faint, depth), ignore, ignore)
    if rng.random() < 0.12:
        made = _growth_plate(frame, rng, made, outline)
    if rng.random() < 0.12:
        made = _lesion(frame, rng, made, outline)
    if rng.random() < 0.05:
        made = _crack(frame, rng, made)
    return made


def _cortex(frame: Frame, rng: np.random.Generator, outline: Outline, mean: float) -> Float32:
    """Thickness of the cortex, which varies along the outline."""
    wave = smooth_field(frame, rng, wavelength=float(rng.uniform(0.5, 2.0)) * outline.radius)
    factor = np.exp(float(rng.uniform(0.05, 0.5)) * wave)
    return np.asarray(np.maximum(mean * factor, 0.8), dtype=np.float32)


def _trabeculae(
    frame: Frame,
    rng: np.random.Generator,
    outline: Outline,
    sizes: Sizes,
    *,
    cortex: Float32,
    kind: str,
) -> Float32:
    """Signed distance of the trabeculae, denser here and sparser there."""
    if kind == "septa":  # few thin walls in a large space, as in birds and skulls
        wide = float(rng.uniform(2.0, 5.0))
        sizes = replace(
            sizes, spacing=sizes.spacing * wide, thickness=max(sizes.thickness * 0.7, 1)
        )
    angle = outline.axis + float(rng.normal(0, 0.4))
    distance = draw_texture(frame, rng, sizes, angle=angle)
    below = outline.depth - cortex
    factor = np.ones_like(distance)
    if kind == "gradient":
        slope, turn = float(rng.uniform(0.5, 3.0)) / frame.size, float(rng.uniform(0, 2 * np.pi))
        y, x = frame.grid
        factor += slope * (y * math.sin(turn) + x * math.cos(turn))
    if kind == "cavity":
        end = log_uniform(rng, (0.5, 6.0)) * (sizes.thickness + sizes.spacing)
        factor = np.minimum(factor, (end - below) / (0.5 * end + sizes.spacing))
    if rng.random() < 0.5:
        factor += rng.uniform(0.1, 0.4) * smooth_field(
            frame, rng, wavelength=float(rng.uniform(0.2, 1.0)) * frame.size
        )
    np.clip(factor, -4, 1.8, out=factor)
    return np.asarray(distance + sizes.thickness / 2 * (factor - 1), dtype=np.float32)


def draw_texture(
    frame: Frame,
    rng: np.random.Generator,
    sizes: Sizes,
    *,
    angle: float = 0.0,
    texture: str | None = None,
) -> Float32:
    """Draw trabeculae that fill the square.

    Args:
        frame: The square.
        rng: The generator.
        sizes: Their thickness and spacing in pixels.
        angle: The direction they tend to run in, in radians.
        texture: A key of :data:`TEXTURES`; drawn by default.

    Returns:
        Signed distance in pixels, positive in bone, float32 (y, x).
    """
    if texture is None:
        texture = str(rng.choice(list(TEXTURES), p=list(TEXTURES.values())))
    stretch = log_uniform(rng, (1.0, 2.2))
    pitch, half = sizes.thickness + sizes.spacing, sizes.thickness / 2
    if texture == "mosaic" and pitch >= LEAST_CELL * CELL_REACH:
        mosaic = draw_mosaic(
            frame,
            rng,
            cell=pitch / CELL_REACH,
            stretch=stretch,
            angle=angle,
            warp=float(rng.uniform(0.02, 0.2)),
        )
        plates = float(rng.uniform(0.0, 1.0))
        rods = half * rng.uniform(1.0, 1.4) - mosaic.edge
        walls = np.where(mosaic.kept < plates, half - mosaic.wall, -pitch)
        return np.asarray(np.maximum(rods, walls), dtype=np.float32)
    if texture == "labyrinth":
        field = _waves(frame, rng, 2 * pitch, stretch=stretch, angle=angle)
        return np.asarray(half - np.abs(as_distance(field, least=1 / pitch)), dtype=np.float32)
    if texture == "rods":
        fields = [_waves(frame, rng, 1.3 * pitch, stretch=stretch, angle=angle) for _ in range(2)]
        near = np.hypot(*(as_distance(field, least=1.5 / pitch) for field in fields))
        return np.asarray(half * 1.3 - near, dtype=np.float32)
    return _sponge(frame, rng, sizes, stretch=stretch, angle=angle)


def _waves(
    frame: Frame, rng: np.random.Generator, wavelength: float, *, stretch: float, angle: float
) -> Float32:
    band = float(rng.uniform(0.15, 0.5))
    return gaussian_field(
        frame, rng, wavelength=wavelength, band=band, stretch=stretch, angle=angle
    )


def _sponge(
    frame: Frame, rng: np.random.Generator, sizes: Sizes, *, stretch: float, angle: float
) -> Float32:
    """What lies above a level of a Gaussian field.

    Along a line, a field of wavelength L crosses the level u upwards exp(-u²/2) / (√2 L) times a
    pixel (Rice 1944), so that chords above it are as long as the share above u over that rate.
    """
    share = min(max(sizes.thickness / (sizes.thickness + sizes.spacing), 0.03), 0.7)
    level = float(special.ndtri(1 - share))
    wavelength = sizes.thickness / (share * math.sqrt(2)) * math.exp(-(level**2) / 2)
    wavelength = max(wavelength, SHORTEST_WAVE)
    field = _waves(frame, rng, wavelength, stretch=stretch, angle=angle)
    return as_distance(field - level, least=2 / wavelength)


def _holes(
    frame: Frame,
    rng: np.random.Generator,
    *,
    reach: Float32,
    diameter: tuple[float, float],
    cortex: Float32,
) -> Float32:
    """Signed distance from canals of the cortex, positive outside of them."""
    away = np.full(reach.shape, 1e3, dtype=np.float32)
    places = np.argwhere((reach > 0) & (reach < cortex))
    if len(places) == 0:
        return away
    per_pixel = log_uniform(rng, (3e-4, 1e-2))
    count = min(int(rng.poisson(per_pixel * len(places))), MAX_CANALS)
    mean = log_uniform(rng, diameter)
    long, turn = log_uniform(rng, (1.0, 6.0)), float(rng.uniform(0, np.pi))
    for y, x in places[rng.integers(len(places), size=count)]:
        wide = min(max(mean * math.exp(rng.normal(0, 0.35)), diameter[0]), diameter[1]) / 2
        length = wide * max(1.0, long * float(rng.uniform(0.6, 1.2)))
        margin = int(length) + 3
        box = (slice(max(y - margin, 0), y + margin), slice(max(x - margin, 0), x + margin))
        v = np.arange(box[0].start, min(box[0].stop, frame.size), dtype=np.float32)[:, None] - y
        u = np.arange(box[1].start, min(box[1].stop, frame.size), dtype=np.float32)[None, :] - x
        a = turn + rng.normal(0, 0.15)
        c, s = math.cos(a), math.sin(a)
        along, across = u * c + v * s, v * c - u * s
        beyond = np.maximum(np.abs(along) - (length - wide), 0)
        np.minimum(away[box], np.hypot(across, beyond) - wide, out=away[box])
    # A wall towards the outside stays closed.
    return np.maximum(away, -reach)


def _line(
    frame: Frame, rng: np.random.Generator, *, angle: float, at: tuple[float, float]
) -> Float32:
    """Signed distance from a wavy line through a point."""
    y, x = frame.grid
    across = (y - at[0]) * math.cos(angle) - (x - at[1]) * math.sin(angle)
    length = float(rng.uniform(0.15, 0.8)) * frame.size
    return as_distance(across + 0.06 * length * smooth_field(frame, rng, wavelength=length))


def _inner_point(
    rng: np.random.Generator, depth: Float32, least: float
) -> tuple[float, float] | None:
    places = np.argwhere(depth[::4, ::4] > least) * 4
    if len(places) == 0:
        return None
    y, x = places[int(rng.integers(len(places)))]
    half = (depth.shape[0] - 1) / 2
    return float(y - half), float(x - half)


def _growth_plate(frame: Frame, rng: np.random.Generator, bone: Bone, outline: Outline) -> Bone:
    """A sheet of cartilage across the bone, with denser bone beside it."""
    at = _inner_point(rng, bone.depth, 0.15 * outline.radius)
    if at is None:
        return bone
    angle = outline.axis + np.pi / 2 + float(rng.normal(0, 0.2))
    line = _line(frame, rng, angle=angle, at=at)
    thick = log_uniform(rng, (1.5, 14.0))
    sheet = thick / 2 - np.abs(line)
    wall = sheet + rng.uniform(0, 5)
    inner = np.minimum(wall, bone.depth)
    made, faint = (np.minimum(np.maximum(b, inner), -sheet) for b in (bone.bone, bone.faint))
    cartilage = (sheet > -0.5) & (bone.depth > 0)
    return replace(
        bone, bone=made, faint=faint, ignore=bone.ignore | cartilage, cartilage=cartilage
    )


def _lesion(frame: Frame, rng: np.random.Generator, bone: Bone, outline: Outline) -> Bone:
    """A hole: background where it is open to the outside, else pores."""
    opened = bool(rng.random() < 0.5)
    near: Float32 = 3 - np.abs(bone.depth) if opened else bone.depth
    at = _inner_point(rng, near, 0.0)
    if at is None:
        return bone
    y, x = frame.grid
    wide = log_uniform(rng, (4.0, max(5.0, 0.4 * min(outline.radius, frame.size))))
    flat, turn = float(rng.uniform(0.4, 1.0)), float(rng.uniform(0, np.pi))
    v, u = y - at[0], x - at[1]
    c, s = math.cos(turn), math.sin(turn)
    a, b = v * c - u * s, v * s + u * c
    hole = (wide - np.sqrt((a / flat) ** 2 + b**2)) * flat
    hole = np.asarray(hole + 0.08 * wide * smooth_field(frame, rng, wavelength=wide), np.float32)
    if not opened:  # a wall towards the outside stays closed
        hole = np.minimum(hole, bone.depth - 2)
    rim = rng.uniform(0, 6) if rng.random() < 0.4 else -1e3
    shell = np.minimum(hole + rim, bone.depth)
    made, faint = (np.minimum(np.maximum(d, shell), -hole) for d in (bone.bone, bone.faint))
    depth = np.minimum(bone.depth, -hole) if opened else bone.depth
    return replace(bone, depth=depth, bone=np.minimum(made, depth), faint=np.minimum(faint, depth))


def _crack(frame: Frame, rng: np.random.Generator, bone: Bone) -> Bone:
    """A thin dark line that is not to be learned."""
    at = _inner_point(rng, bone.depth, 0.0)
    if at is None:
        return bone
    line = np.abs(_line(frame, rng, angle=float(rng.uniform(0, np.pi)), at=at))
    sheet = log_uniform(rng, (0.3, 1.5)) - line
    faint = np.minimum(bone.faint, -sheet)
    ignored = (sheet > -1) & (bone.bone > 0)
    return replace(bone, faint=faint, ignore=bone.ignore | ignored)
