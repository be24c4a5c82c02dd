"""Slices with bones in them: what is there, before any scanner sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.labels import BONE_PORES, IGNORE
from osteon.simulation.randomness import log_uniform
from osteon.simulation.stream.fields import Float32, Frame, share
from osteon.simulation.stream.interiors import Bone, Sizes, draw_bone
from osteon.simulation.stream.outlines import draw_outline

BACKGROUND, BONE, PORES = (BONE_PORES.value(n) for n in ("background", "bone", "pores"))

#: What a view shows: whole bones, a part of one or a few large ones, or none, and how often.
VIEWS = {"whole": 0.42, "part": 0.39, "few": 0.13, "none": 0.06}
#: Radius of the bones over the size of the square, in each view.
WHOLE, PART, FEW, INTERIOR = (0.16, 0.5), (0.5, 7.0), (0.25, 1.2), (1.2, 7.0)
#: How far from the middle of the bone an interior is: up to the radius less this share of the view.
INTERIOR_MARGIN = 0.6
#: Bones of which less than this share of the square is bone are mostly drawn again, up to so many
#: times: squares of marrow alone teach little.
LEAST_BONE, DRAWN_AGAIN, MOST_DRAWS = 0.01, 0.85, 4
#: The most bones in a view of whole ones.
MOST_BONES = 6
#: Share of several bones that stand beside each other around a gap, and the space between them
#: in pixels.
PACKED, PACKED_GAP = 0.5, (0.5, 20.0)
#: Sizes in pixels, in views of parts.
THICKNESS, SPACING_TO_THICKNESS, CORTEX = (1.2, 15.0), (1.3, 9.0), (1.5, 70.0)
#: Where no bone is, in pixels; cortex where a bone is pushed back by another one.
FAR, PUSHED_CORTEX = -1e3, 2.0
#: How often a slice is shown as larger voxels would show it, and by how much, in pixels.
COARSER = {"whole": 0.45, "few": 0.25, "part": 0.1, "interior": 0.3}
COARSER_SIGMA = (0.4, 2.2)


@dataclass(frozen=True)
class Scene:
    """What is in a slice.

    Attributes:
        view: A key of :data:`VIEWS`.
        mineral: Share of bone in each pixel as it is imaged, float32 (y, x), 0..1.
        inside: Share of each pixel within an envelope.
        depth: Distance in pixels from the nearest envelope, positive inside; right near it.
        labels: uint8 (y, x) by the labelling protocol; 255 where nothing is to be learned.
        cartilage: Where growth plates are, bool.
    """

    view: str
    mineral: Float32
    inside: Float32
    depth: Float32
    labels: npt.NDArray[np.uint8]
    cartilage: npt.NDArray[np.bool_]


def draw_scene(frame: Frame, rng: np.random.Generator, *, view: str | None = None) -> Scene:
    """Draw bones.

    Args:
        frame: The square.
        rng: The generator.
        view: A key of :data:`VIEWS`; drawn by default.

    Returns:
        The scene.
    """
    if view is None:
        view = str(rng.choice(list(VIEWS), p=list(VIEWS.values())))
    for _ in range(MOST_DRAWS):
        scene = _draw_once(frame, rng, view)
        if view == "none" or (scene.labels == BONE).mean() >= LEAST_BONE:
            break
        if rng.random() >= DRAWN_AGAIN:
            break
    return scene


def _draw_once(frame: Frame, rng: np.random.Generator, view: str) -> Scene:
    gap = 0.0 if rng.random() < 0.3 else log_uniform(rng, (0.5, 12.0))
    drawn = _united(frame, _draw_bones(frame, rng, view), gap=gap)
    labelled, inside, mineral = share(drawn.bone), share(drawn.depth), share(drawn.faint)
    if view != "none" and rng.random() < COARSER[view]:
        sigma = log_uniform(rng, COARSER_SIGMA)
        labelled, inside, mineral = (
            ndimage.gaussian_filter(v, sigma, truncate=2.5) for v in (labelled, inside, mineral)
        )
    np.minimum(mineral, inside, out=mineral)
    # Of what is inside: at the outer surface of a thin cortex a voxel is bone or nothing.
    labels = np.where(labelled >= 0.5 * inside, BONE, PORES)
    labels = np.where(inside >= 0.5, labels, BACKGROUND)
    labels = np.where(drawn.ignore, IGNORE, labels).astype(np.uint8)
    return Scene(view, mineral, inside, drawn.depth, labels, drawn.cartilage)


def _united(frame: Frame, bones: Sequence[Bone], *, gap: float) -> Bone:
    """Put bones together: what is there first keeps its place, the next keeps a gap to it."""
    far = np.full((frame.size, frame.size), FAR, dtype=np.float32)
    nowhere = np.zeros(far.shape, dtype=bool)
    whole = Bone(far, far, far, nowhere, nowhere)
    for one in bones:
        own = np.minimum(one.depth, -(whole.depth + gap))
        # A bone that is pushed back keeps a cortex there.
        rim = np.where(own < one.depth, np.minimum(own, PUSHED_CORTEX - own), FAR)
        bone, faint = (
            np.maximum(before, np.minimum(np.maximum(new, rim), own))
            for before, new in ((whole.bone, one.bone), (whole.faint, one.faint))
        )
        mine, within = own > whole.depth, own > 0
        ignore, cartilage = (
            np.where(mine, new & within, before)
            for before, new in ((whole.ignore, one.ignore), (whole.cartilage, one.cartilage))
        )
        whole = Bone(np.maximum(whole.depth, own), bone, faint, ignore, cartilage)
    return whole


def _draw_bones(frame: Frame, rng: np.random.Generator, view: str) -> list[Bone]:
    if view == "none":
        return []
    if view == "whole":
        count = 1 if rng.random() < 0.5 else int(rng.integers(2, MOST_BONES + 1))
        limits = (WHOLE[0] / np.sqrt(count), min(WHOLE[1], 0.9 / np.sqrt(count)))
    elif view == "few":
        count, limits = int(rng.integers(2, 4)), FEW
    elif view == "interior":
        count, limits = 1, INTERIOR
    else:
        count, limits = 1, PART
    alike = count > 1 and rng.random() < 0.6
    radius = log_uniform(rng, limits) * frame.size
    sizes = _draw_sizes(rng, radius, view)
    middles = _around_a_gap(frame, rng, count, radius, view)
    bones = []
    for number in range(count):
        if number and not alike:
            radius = log_uniform(rng, limits) * frame.size
            sizes = _draw_sizes(rng, radius, view)
        centre = middles[number] if middles else _place(frame, rng, radius, view)
        outline = draw_outline(frame, rng, radius=radius, centre=centre)
        if (outline.depth > 0).any():
            bones.append(draw_bone(frame, rng, outline, sizes))
    return bones


def _around_a_gap(
    frame: Frame, rng: np.random.Generator, count: int, radius: float, view: str
) -> list[tuple[float, float]]:
    """Where bones are that stand around a gap, as in a tube; nowhere if they do not."""
    if count < 2 or rng.random() >= PACKED:
        return []
    between = 2 * radius * float(rng.uniform(0.75, 1.0)) + log_uniform(rng, PACKED_GAP)
    away = between / 2 / np.sin(np.pi / count)
    start = float(rng.uniform(0, 2 * np.pi))
    y, x = rng.uniform(-0.3, 0.3, 2) * frame.size * (view == "few")
    turns = start + 2 * np.pi * np.arange(count) / count
    return [(float(y + away * np.sin(t)), float(x + away * np.cos(t))) for t in turns]


def _draw_sizes(rng: np.random.Generator, radius: float, view: str) -> Sizes:
    """Sizes in pixels: any, but nothing thicker than the bone has room for."""
    thinnest = 1.0 if view == "whole" else THICKNESS[0]
    thickness = log_uniform(rng, (thinnest, max(min(THICKNESS[1], 0.25 * radius), thinnest + 0.1)))
    spacing = thickness * log_uniform(rng, SPACING_TO_THICKNESS)
    thickest = max(min(CORTEX[1], 0.6 * radius), 1.2)
    cortex = log_uniform(rng, (min(CORTEX[0], 0.8 * thickest), thickest))
    if rng.random() < 0.4:  # a shell about as thick as the trabeculae
        cortex = thickness * float(rng.uniform(0.7, 2.5))
    return Sizes(cortex, thickness, max(spacing, 2.5))


def _place(frame: Frame, rng: np.random.Generator, radius: float, view: str) -> tuple[float, float]:
    """Where the middle of a bone is: whole ones in view, of large ones mostly a border."""
    angle = float(rng.uniform(0, 2 * np.pi))
    if view == "whole":
        room = max(0.5 * frame.size - 0.8 * radius, 0.05 * frame.size)
        y, x = rng.uniform(-room, room, 2)
        return float(y), float(x)
    if view == "interior":
        away = float(rng.uniform(0, 1)) * max(radius - INTERIOR_MARGIN * frame.size, 0.0)
    elif rng.random() < 0.8:
        away = max(radius + float(rng.uniform(-0.55, 0.35)) * frame.size, 0.0)
    else:
        away = float(rng.uniform(0, 1)) * radius
    return away * float(np.sin(angle)), away * float(np.cos(angle))
