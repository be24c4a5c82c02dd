"""What slices are made of: attenuation in and around the bones, relative to air 0 and bone 1.

The ranges are those of docs/simulation.md. What surrounds a bone matters more for real scans
than anything else: as dark as air, as grey as marrow, or bright.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from osteon.simulation.randomness import log_uniform
from osteon.simulation.stream.fields import Float32, Frame, gaussian_field, share, smooth_field
from osteon.simulation.stream.scene import Scene

MARROW, ETHANOL, WATER, PLASTIC = (0.04, 0.45), (0.10, 0.16), (0.13, 0.22), (0.12, 0.35)
BONE_LEVEL = (0.6, 1.15)
#: What fills the space around the bones, and how often.
AROUND = {"air": 0.3, "liquid": 0.17, "like marrow": 0.38, "plastic": 0.15}
#: Things beside bones, how often each is there, and the attenuation of the round ones.
THINGS = {"threads": 0.25, "foam": 0.2, "vessels": 0.3, "rods": 0.17, "metal": 0.08}
LEVELS = {"vessels": (0.02, 0.4), "rods": (0.4, 1.1), "metal": (2.0, 6.0)}
#: How often trabeculae hold less mineral than the cortex, the share that they lack, and the depth
#: in pixels from which on they do.
FAINTER, LACKING, FROM_DEPTH = 0.45, (0.03, 0.4), (1.5, 30.0)
#: How often a container and things are there: beside bones, and where no bone is.
CONTAINER, WITH_THINGS = {"bones": 0.3, "none": 0.6}, {"bones": 0.2, "none": 0.6}
#: Share of specimens that are dry: pores as dark as what is around them.
DRY = 0.25


def attenuation(frame: Frame, rng: np.random.Generator, scene: Scene) -> Float32:
    """Draw the attenuation of a scene.

    Args:
        frame: The square.
        rng: The generator.
        scene: What is there.

    Returns:
        Attenuation, float32 (y, x): 0 air, 1 dense cortical bone.
    """
    dry = bool(rng.random() < DRY)
    around = str(rng.choice(list(AROUND), p=list(AROUND.values())))
    marrow = 0.0 if dry else float(rng.uniform(*MARROW))
    outside = {
        "air": 0.0,
        "liquid": float(rng.uniform(ETHANOL[0], WATER[1])),
        "like marrow": max(marrow + float(rng.normal(0, 0.03)), 0.0),
        "plastic": float(rng.uniform(*PLASTIC)),
    }[around]
    if dry and rng.random() < 0.75:
        outside = 0.0
    bone = _vary(frame, rng, float(rng.uniform(*BONE_LEVEL)), 0.1)
    if rng.random() < 0.35:  # young bone: the outer or the deeper part holds less mineral
        depth = log_uniform(rng, (4.0, 80.0))
        change = rng.uniform(-0.35, 0.3) * np.exp(-np.maximum(scene.depth, 0) / depth)
        bone *= 1 + change
    if rng.random() < FAINTER:
        start, width = log_uniform(rng, FROM_DEPTH), log_uniform(rng, (0.5, 10.0))
        deep = np.clip((scene.depth - start) / width, 0, 1)
        bone *= 1 - float(rng.uniform(*LACKING)) * deep
    if rng.random() < 0.3:  # osteons, lamellae: the bone itself has a texture
        bone = bone + rng.uniform(0.01, 0.06) * gaussian_field(
            frame, rng, wavelength=log_uniform(rng, (4.0, 60.0))
        )
    within = _marrow(frame, rng, scene, marrow, dry=dry)
    out = _around(frame, rng, scene, outside)
    space = np.maximum(scene.inside - scene.mineral, 0)
    image = out * (1 - scene.inside) + space * within + scene.mineral * np.maximum(bone, 0.35)
    return np.asarray(image, dtype=np.float32)


def _vary(frame: Frame, rng: np.random.Generator, mean: float, most: float) -> Float32:
    """A level that varies smoothly, relative standard deviation 0 to ``most``."""
    spread = mean * float(rng.uniform(0, most))
    wave = smooth_field(frame, rng, wavelength=float(rng.uniform(0.3, 2)) * frame.size)
    return np.asarray(mean + spread * wave, dtype=np.float32)


def _marrow(
    frame: Frame, rng: np.random.Generator, scene: Scene, level: float, *, dry: bool
) -> Float32:
    """What fills the pores: fat and red marrow, cartilage, gas; air or dust in dry bones."""
    within = _vary(frame, rng, level, 0.12)
    if not dry and rng.random() < 0.35:  # yellow beside red marrow
        field = gaussian_field(frame, rng, wavelength=log_uniform(rng, (6.0, 120.0)))
        within += rng.uniform(0.01, 0.08) * np.tanh(field * 2)
    chance = rng.random()
    if not dry and chance < 0.2:  # gas bubbles, or marrow that has run out
        field = gaussian_field(frame, rng, wavelength=log_uniform(rng, (10.0, 150.0)))
        air = share((field - rng.uniform(0.0, 2.2)) * 8)
        within = within * (1 - air)
    elif dry and chance < 0.25:  # remains of tissue, sediment
        field = gaussian_field(frame, rng, wavelength=log_uniform(rng, (8.0, 100.0)))
        rest = share((field - rng.uniform(0.3, 2.0)) * 8)
        within = within + rest * rng.uniform(0.08, 0.35)
    level_of_plate = max(level, 0.12) * rng.uniform(0.9, 1.6) + 0.02
    return np.where(scene.cartilage, level_of_plate, np.maximum(within, 0))


def _around(frame: Frame, rng: np.random.Generator, scene: Scene, level: float) -> Float32:
    """What is around the bones: a medium with structure, holders and things in it, air beyond."""
    out = _vary(frame, rng, level, 0.08)
    if level > 0.03 and rng.random() < 0.35:  # muscle and fat, or plastic with fillers
        field = gaussian_field(
            frame,
            rng,
            wavelength=log_uniform(rng, (8.0, 150.0)),
            stretch=log_uniform(rng, (1.0, 6.0)),
            angle=float(rng.uniform(0, np.pi)),
        )
        out += rng.uniform(0.01, 0.07) * np.tanh(2 * field)
    if level > 0.03 and rng.random() < 0.2:  # bubbles
        field = gaussian_field(frame, rng, wavelength=log_uniform(rng, (8.0, 90.0)))
        out = out * (1 - share((field - rng.uniform(1.2, 2.5)) * 8))
    if level > 0.03 and rng.random() < 0.35:  # a layer around the bones, air beyond
        wide = log_uniform(rng, (2.0, 0.6 * frame.size))
        wave = smooth_field(frame, rng, wavelength=float(rng.uniform(0.2, 1.0)) * frame.size)
        out = out * share(_reach(scene.depth) + wide * (1 + 0.3 * wave))
    out = np.maximum(out, 0)
    what = "none" if scene.view == "none" else "bones"
    if rng.random() < CONTAINER[what]:
        out = _container(frame, rng, out)
    if rng.random() < WITH_THINGS[what]:
        out = _things(frame, rng, out)
    return np.asarray(out, dtype=np.float32)


def _reach(depth: Float32) -> Float32:
    """Distance from the bones outside of them, right far away too (every fourth pixel)."""
    coarse = depth[::4, ::4] > 0
    if not coarse.any():
        return depth
    far = ndimage.distance_transform_edt(~coarse).astype(np.float32) * 4
    far = np.repeat(np.repeat(far, 4, 0), 4, 1)[: depth.shape[0], : depth.shape[1]]
    return np.asarray(-ndimage.uniform_filter(far, 5), dtype=np.float32)


def _container(frame: Frame, rng: np.random.Generator, out: Float32) -> Float32:
    """A tube, bag or foam: a wall that the view may cut, air beyond it."""
    y, x = frame.grid
    radius = log_uniform(rng, (0.4, 3.0)) * frame.size
    angle = float(rng.uniform(0, 2 * np.pi))
    away = (
        0.0 if radius < 0.55 * frame.size else radius - float(rng.uniform(0.2, 0.48)) * frame.size
    )
    rho = np.hypot(y - away * math.sin(angle), x - away * math.cos(angle))
    if rng.random() < 0.3:
        rho = rho + 0.04 * radius * smooth_field(frame, rng, wavelength=0.6 * radius)
    within = radius - rho
    wall = log_uniform(rng, (1.0, 0.08 * frame.size))
    beyond = 0.0 if rng.random() < 0.8 else rng.uniform(0, 0.2)
    level = rng.uniform(*PLASTIC)
    if rng.random() < 0.1:  # aluminium or glass
        level = rng.uniform(0.5, 1.2)
    inner, outer = share(within - wall), share(within)
    kept = out * inner + level * (outer - inner) + beyond * (1 - outer)
    return np.asarray(kept, dtype=np.float32)


def _things(frame: Frame, rng: np.random.Generator, out: Float32) -> Float32:
    """Threads, foam, vessels, rods of hydroxyapatite, metal: none of them bone."""
    kind = str(rng.choice(list(THINGS), p=list(THINGS.values())))
    if kind == "foam":
        field = gaussian_field(frame, rng, wavelength=log_uniform(rng, (5.0, 40.0)))
        strut = np.asarray(0.6 - np.abs(field) * 4, dtype=np.float32)
        foam = share(strut) * rng.uniform(0.03, 0.2)
        return np.asarray(np.maximum(out, foam), dtype=np.float32)
    for _ in range(int(rng.integers(1, 5))):
        y, x = (p - rng.uniform(-0.5, 0.5) * frame.size for p in frame.grid)
        if kind == "threads":
            turn = float(rng.uniform(0, np.pi))
            line = y * math.cos(turn) - x * math.sin(turn)
            line = line + 5 * smooth_field(frame, rng, wavelength=0.6 * frame.size)
            thread = share(rng.uniform(0.5, 3) - np.abs(line)) * rng.uniform(0.15, 0.45)
            out = np.maximum(out, thread)
            continue
        widths = {"vessels": (1.5, 12.0), "rods": (5.0, 0.2 * frame.size), "metal": (2.0, 12.0)}
        disk = share(log_uniform(rng, widths[kind]) - np.hypot(y, x))
        out = out * (1 - disk) + rng.uniform(*LEVELS[kind]) * disk
    return out
