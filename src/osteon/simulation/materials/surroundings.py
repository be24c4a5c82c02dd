"""The attenuation around bones: medium, container and what else is in the field of view."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from osteon.simulation.anatomy import Anatomy, share
from osteon.simulation.grids import CoarseGrid
from osteon.simulation.materials.bodies import Rod, drawn, place
from osteon.simulation.materials.spec import METAL, SurroundingsSpec
from osteon.simulation.randomness import SmoothField

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

#: Attenuation of fat over that of the muscle around it.
FAT_TO_MEDIUM = 0.6
#: How much longer streaks of fat are than wide.
STREAK_LENGTH = 5.0
#: Half the part of a foam's smooth field that is wall.
FOAM_WALL = 0.16
#: Radius of pins over that of the rods of a phantom.
PIN = 0.6
#: Spread of the radii of bubbles and vessels.
SPREAD = 0.4
#: Bends of a thread over the field of view.
THREAD_PIECES = 8
#: A tube's wall is this share of its radius thick, and so many voxels at least.
WALL_SHARE, WALL_VOXELS = 0.05, 2.0


def around_bones(
    anatomy: Anatomy,
    spec: SurroundingsSpec,
    *,
    outside: float,
    tissue_um: float | None,
    tube: tuple[float, float] | None,
    rng: np.random.Generator,
) -> Float32:
    """Return the attenuation around the bones, as if there were none.

    Args:
        anatomy: The bones.
        spec: What is around them.
        outside: Attenuation of the medium.
        tissue_um: Thickness in µm of the layer of it around the bones, air beyond; None for all
            of the field of view.
        tube: Outer radius in µm and attenuation of a tube around the field of view's axis, air
            outside it; None for none.
        rng: The generator.

    Returns:
        Attenuation, float32 (z, y, x); holds 12 bytes a voxel.
    """
    shape, voxel = anatomy.labels.shape, anatomy.voxel_um
    grid = CoarseGrid.around((shape[0], shape[1], shape[2]), voxel_um=voxel, margin_um=0.0)
    out = _medium(grid, spec, outside, rng)
    rods = _in_medium(anatomy, grid, spec, rng)
    if rods["vessels"]:
        out += np.float32(spec.vessel) * drawn(grid, rods["vessels"])
    if rods["bubbles"]:
        out *= 1 - drawn(grid, rods["bubbles"])
    if tissue_um is not None:
        out *= share(anatomy.depth_um + np.float32(tissue_um), voxel_um=voxel)
    if spec.bag_um is not None:
        _put_in_bag(out, anatomy, grid, spec, rng)
    if spec.foam > 0:
        out += np.float32(spec.foam) * _foam(grid, spec, rng)
    if tube is not None:
        _put_in_tube(out, spec, voxel_um=voxel, radius_um=tube[0], level=tube[1])
    if rods["threads"]:
        _put(out, drawn(grid, rods["threads"]), spec.plastic)
    for rod, level in zip(rods["rods"], spec.rods, strict=False):
        _put(out, drawn(grid, [rod]), level)
    if rods["pins"]:
        _put(out, drawn(grid, rods["pins"]), METAL)
    return out


def _put(out: Float32, part: Float32, level: float) -> None:
    """Put a material in the place of what is there."""
    out *= 1 - part
    part *= np.float32(level)
    out += part


def _medium(
    grid: CoarseGrid, spec: SurroundingsSpec, outside: float, rng: np.random.Generator
) -> Float32:
    """The medium, with streaks of fat."""
    if spec.fat == 0:
        return np.full(grid.shape, outside, dtype=np.float32)
    # Streaks are long along z: the field is evaluated in a flattened space.
    wave = SmoothField.draw(rng, wavelength_um=spec.streak_um, waves=24)
    z, y, x = grid.mesh
    streaks = wave(z / STREAK_LENGTH, y, x)
    border = np.quantile(streaks, 1 - spec.fat)
    fat = 1 / (1 + np.exp(-8 * (streaks - border)))
    return grid.to_voxels(outside * (1 - (1 - FAT_TO_MEDIUM) * fat))


def _in_medium(
    anatomy: Anatomy, grid: CoarseGrid, spec: SurroundingsSpec, rng: np.random.Generator
) -> dict[str, list[Rod]]:
    """Draw where the vessels, bubbles, threads, rods and pins are: beside the bones."""
    counts = (spec.vessels, spec.bubbles, spec.threads, len(spec.rods), spec.pins)
    out: dict[str, list[Rod]] = {k: [] for k in ("vessels", "bubbles", "threads", "rods", "pins")}
    if not any(counts):
        return out
    at = [
        np.clip(np.rint(line / grid.voxel_um + (n - 1) / 2).astype(np.intp), 0, n - 1)
        for line, n in zip(grid.axes, grid.shape, strict=True)
    ]
    deepest = anatomy.depth_um[np.ix_(*at)].max(axis=0).astype(np.float64)
    half = np.array(grid.shape) * grid.voxel_um / 2
    for name, number in (("rods", len(spec.rods)), ("pins", spec.pins), ("vessels", spec.vessels)):
        for _ in range(number):
            radius = {"rods": spec.rod_um, "pins": PIN * spec.rod_um}.get(
                name, spec.bubble_um / 2 * float(np.exp(SPREAD * rng.standard_normal()))
            )
            yx = place(rng, deepest, grid, radius_um=radius)
            lean = rng.normal(0, 0.04, 2) if name == "vessels" else np.zeros(2)
            if yx is not None:
                ends = [np.array([s * 1.2 * half[0], *(yx + s * half[0] * lean)]) for s in (-1, 1)]
                out[name].append(Rod(ends[0], ends[1], radius))
    for _ in range(spec.bubbles):
        p = rng.uniform(-half, half)
        radius = spec.bubble_um * float(np.exp(SPREAD * rng.standard_normal()))
        out["bubbles"].append(Rod(p, p, radius))
    for _ in range(spec.threads):
        out["threads"] += _thread(half, spec.thread_um, rng)
    return out


def _thread(half: Floats, radius_um: float, rng: np.random.Generator) -> list[Rod]:
    """A bent line across the field of view, in pieces."""
    a, b = rng.uniform(-half, half), rng.uniform(-half, half)
    across = int(rng.integers(1, 3))
    a[across], b[across] = -1.1 * half[across], 1.1 * half[across]
    t = np.linspace(0, 1, THREAD_PIECES + 1)[:, None]
    sag = rng.normal(0, 0.12, (2, 3)) * half.max()
    path = a + (b - a) * t + np.sin(np.pi * t) * sag[0] + np.sin(2 * np.pi * t) * sag[1]
    return [Rod(p, q, radius_um) for p, q in pairwise(path)]


def _put_in_bag(
    out: Float32,
    anatomy: Anatomy,
    grid: CoarseGrid,
    spec: SurroundingsSpec,
    rng: np.random.Generator,
) -> None:
    """Close a wrinkled film around the bones, with air beyond it, in place."""
    away = float(spec.bag_um or 0.0)
    wave = SmoothField.draw(rng, wavelength_um=max(1.5 * away, 12 * grid.voxel_um))
    wrinkles = grid.to_voxels(away * (1 + 0.3 * wave(*grid.mesh)))
    wrinkles += anatomy.depth_um
    out *= share(wrinkles, voxel_um=grid.voxel_um)
    film = share(np.float32(spec.film_um / 2) - np.abs(wrinkles), voxel_um=grid.voxel_um)
    _put(out, film, spec.plastic)


def _foam(grid: CoarseGrid, spec: SurroundingsSpec, rng: np.random.Generator) -> Float32:
    """Share of foam: the neighbourhood of the zeros of a smooth field, as cell walls are."""
    field = SmoothField.draw(rng, wavelength_um=spec.cell_um, waves=24)
    return np.clip(1.5 - np.abs(grid.to_voxels(field(*grid.mesh))) / np.float32(FOAM_WALL), 0, 1)


def _put_in_tube(
    out: Float32, spec: SurroundingsSpec, *, voxel_um: float, radius_um: float, level: float
) -> None:
    """Put a tube around the axis of the field of view, with air outside it, in place."""
    ny, nx = out.shape[1:]
    y, x = (np.arange(ny) - (ny - 1) / 2) * voxel_um, (np.arange(nx) - (nx - 1) / 2) * voxel_um
    depth = (radius_um - np.hypot(y[:, None], x[None, :])) / voxel_um
    wall_um = WALL_SHARE * radius_um if spec.wall_um is None else spec.wall_um
    wall = max(wall_um / voxel_um, WALL_VOXELS)
    within = np.clip(depth - wall + 0.5, 0, 1).astype(np.float32)
    plastic = np.clip(depth + 0.5, 0, 1).astype(np.float32) - within
    out *= within
    out += plastic * np.float32(level)
