"""From specifications to labels: envelopes, one after the other filled, then put together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.errors import UsageError
from osteon.labels import IGNORE
from osteon.simulation.anatomy.features import Hole, hole
from osteon.simulation.anatomy.filling import fill
from osteon.simulation.anatomy.part import Box, Part, Solid
from osteon.simulation.anatomy.specs import (
    BACKGROUND,
    MIN_CORTEX_VOXELS,
    MIN_TRABECULA_VOXELS,
    Anatomy,
    BoneSpec,
    SceneSpec,
    share,
)
from osteon.simulation.envelope import EnvelopeSpec, inside_function, signed_distance
from osteon.simulation.envelope.shapes import local_frame
from osteon.simulation.grids import COARSE_STEP, FINE_STEP, CoarseGrid, Shape, voxel_positions
from osteon.simulation.randomness import SmoothField, generator

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

#: A bone is made in a box that reaches this many voxels beyond it.
PAD_VOXELS = 8.0
#: Bones with parts thinner than this many voxels are made on a finer grid: linear interpolation
#: over 4 voxels cuts 2 voxels²/radius off a round surface.
FINE_BELOW_VOXELS = 20.0
#: Envelopes are at most this much steeper than distances where they are flattened.
STEEPEST = 2.0
#: Roughness reaches this many of its standard deviations, in practice.
ROUGHEST = 4.0


def build_anatomy(
    spec: BoneSpec, *, shape: Shape, voxel_um: float, rng: np.random.Generator
) -> Anatomy:
    """Make a bone in a field of view; a bone that is larger is cut flat by its edges.

    Args:
        spec: The bone.
        shape: (z, y, x) of the field of view in voxels.
        voxel_um: Voxel size in µm.
        rng: The generator; the same state gives the same labels.

    Returns:
        The bone. About 40 bytes a voxel are held while it is made, 10 to 18 by the result.

    Raises:
        UsageError: If the voxels are too large for the cortex or the trabeculae, or the bone is
            not in the field of view.
    """
    return build_scene(SceneSpec((spec,)), shape=shape, voxel_um=voxel_um, rng=rng)


def build_scene(
    scene: SceneSpec, *, shape: Shape, voxel_um: float, rng: np.random.Generator
) -> Anatomy:
    """Make the bones of a field of view. Each is its own: background lies between them.

    Args:
        scene: The bones.
        shape: (z, y, x) of the field of view in voxels.
        voxel_um: Voxel size in µm.
        rng: The generator; the same state gives the same labels.

    Returns:
        The bones. About 40 bytes a voxel are held while they are made, 10 to 18 by the result.

    Raises:
        UsageError: As :func:`build_anatomy`, for any of the bones.
    """
    for spec in scene.bones:
        _check_resolution(spec, shape, voxel_um)
    keys = rng.integers(2**62, size=len(scene.bones)).tolist()
    pad = PAD_VOXELS * voxel_um + scene.gap_um
    parts = [
        _part(spec, shape=shape, voxel_um=voxel_um, pad_um=pad, rng=generator(key))
        for spec, key in zip(scene.bones, keys, strict=True)
    ]
    _keep_apart(parts, scene.gap_um)
    return _assembled(scene, parts, shape=shape, voxel_um=voxel_um)


def _check_resolution(spec: BoneSpec, shape: Shape, voxel_um: float) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise UsageError(f"a simulated scan has a shape (z, y, x) of at least 1, not {shape}")
    if not voxel_um > 0:
        raise UsageError(f"the voxel size must be positive, not {voxel_um} µm")
    mend = "use a smaller voxel size or a bone with thicker parts"
    if spec.cortex_um < MIN_CORTEX_VOXELS * voxel_um:
        raise UsageError(
            f"a cortex of {spec.cortex_um:.0f} µm is too thin for voxels of {voxel_um:.1f} µm",
            mend=mend,
        )
    t = spec.trabeculae
    if t is not None and t.thickness_um < MIN_TRABECULA_VOXELS * voxel_um:
        raise UsageError(
            f"trabeculae of {t.thickness_um:.0f} µm are too thin for voxels of {voxel_um:.1f} µm",
            mend=mend,
        )


def _box(envelope: EnvelopeSpec, *, shape: Shape, voxel_um: float, pad_um: float) -> Box:
    """The voxels that a bone and ``pad_um`` around it lie in; all of them if it is not in view."""
    grid = CoarseGrid.around(shape, voxel_um=voxel_um, margin_um=0.0)
    value = inside_function(envelope, *grid.mesh)
    reach = STEEPEST * pad_um + ROUGHEST * envelope.roughness_um
    near = np.broadcast_to(value > -reach, [len(a) for a in grid.axes])
    box = []
    for axis, (line, n) in enumerate(zip(grid.axes, shape, strict=True)):
        found = np.flatnonzero(near.any(axis=tuple(a for a in range(3) if a != axis)))
        if len(found) == 0:
            return (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
        first, last = line[found[0]] - grid.step_um, line[found[-1]] + grid.step_um
        start = int(np.floor(first / voxel_um + (n - 1) / 2))
        stop = int(np.ceil(last / voxel_um + (n - 1) / 2)) + 1
        box.append(slice(max(start, 0), min(stop, n)))
    return box[0], box[1], box[2]


def _thinnest(envelope: EnvelopeSpec) -> float:
    """The thinnest part, or the radius of the strongest curve, in µm, about."""
    out = envelope.radius_um * min(envelope.aspect, 1.0)
    if envelope.wall_um > 0:
        out = min(out, envelope.wall_um)
    if envelope.arch is not None:
        out = min(out, envelope.arch.wall_um)
    return out


def _part(
    spec: BoneSpec, *, shape: Shape, voxel_um: float, pad_um: float, rng: np.random.Generator
) -> Part:
    """Make the envelope of a bone in its box."""
    box = _box(spec.envelope, shape=shape, voxel_um=voxel_um, pad_um=pad_um)
    size = (box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start)
    middle = [
        ((s.start + s.stop - 1) / 2 - (n - 1) / 2) * voxel_um
        for s, n in zip(box, shape, strict=True)
    ]
    z, y, x = (c - m for c, m in zip(spec.envelope.centre_um, middle, strict=True))
    spec = replace(spec, envelope=replace(spec.envelope, centre_um=(z, y, x)))
    margin = spec.cortex_um * (1 + 3 * spec.cortex_variation) + 2 * voxel_um
    thinnest = _thinnest(spec.envelope)
    step = COARSE_STEP if thinnest >= FINE_BELOW_VOXELS * voxel_um else FINE_STEP
    grid = CoarseGrid.around(size, voxel_um=voxel_um, margin_um=margin, step_voxels=step)
    radius = spec.envelope.radius_um
    rough = SmoothField.draw(rng, wavelength_um=0.8 * radius)
    depth = signed_distance(spec.envelope, grid, rough=rough)
    wave = SmoothField.draw(rng, wavelength_um=0.7 * radius)
    relative = np.clip(1 + spec.cortex_variation * wave(*grid.mesh), 0.4, 2.0)
    cortex = np.maximum(spec.cortex_um * relative, MIN_CORTEX_VOXELS * voxel_um)
    return Part(spec, box, grid, depth, cortex, grid.to_voxels(depth), rng)


def _keep_apart(parts: list[Part], gap_um: float) -> None:
    """Cut bones that come closer than the gap back to half of it from where they would meet."""
    whole = [part.depth_um.copy() for part in parts] if len(parts) > 1 else []
    for i, part in enumerate(parts[: len(whole)]):
        for j, other in enumerate(parts):
            shared = [
                slice(max(a.start, b.start), min(a.stop, b.stop))
                for a, b in zip(part.box, other.box, strict=True)
            ]
            if i == j or any(s.start >= s.stop for s in shared):
                continue
            own, their = _within(shared, part.box), _within(shared, other.box)
            half_way = (whole[i][own] - whole[j][their] - np.float32(gap_um)) / 2
            np.minimum(part.depth_um[own], half_way, out=part.depth_um[own])


def _within(view: list[slice], box: Box) -> tuple[slice, ...]:
    return tuple(slice(v.start - b.start, v.stop - b.start) for v, b in zip(view, box, strict=True))


def _assembled(scene: SceneSpec, parts: list[Part], *, shape: Shape, voxel_um: float) -> Anatomy:
    """Fill the bones and put them into the field of view."""
    labels = np.full(shape, BACKGROUND, dtype=np.uint8)
    objects = np.zeros(shape, dtype=np.uint8)
    mineral = np.zeros(shape, dtype=np.float32)
    depth = np.full(shape, -np.inf, dtype=np.float32)
    cartilage: Float32 | None = None
    for number, part in enumerate(parts, start=1):
        solid: Solid = fill(part, voxel_um=voxel_um)
        box = part.box
        own = (solid.labels != BACKGROUND) & (solid.depth_um >= depth[box])
        labels[box][own] = solid.labels[own]
        objects[box][own] = number
        mineral[box] += solid.mineral
        np.maximum(depth[box], solid.depth_um, out=depth[box])
        if solid.cartilage is not None:
            cartilage = np.zeros(shape, dtype=np.float32) if cartilage is None else cartilage
            cartilage[box] += solid.cartilage
    np.minimum(mineral, 1, out=mineral)
    _fill_far(depth, voxel_um)
    metal = _metal(scene, shape=shape, voxel_um=voxel_um)
    if metal is not None:
        labels[(metal >= 0.5) & (labels != IGNORE)] = BACKGROUND
    return Anatomy(
        labels,
        mineral,
        depth,
        voxel_um,
        scene.bones[0].envelope,
        objects,
        cartilage=cartilage,
        metal=metal,
    )


def _fill_far(depth: Float32, voxel_um: float) -> None:
    """Where no bone's box is, set the depth to the distance from the bones, right to 2 voxels."""
    far = np.isneginf(depth)
    if not far.any():
        return
    shape = (depth.shape[0], depth.shape[1], depth.shape[2])
    grid = CoarseGrid.around(shape, voxel_um=voxel_um, margin_um=0.0)
    at = [
        np.clip(np.rint(line / voxel_um + (n - 1) / 2).astype(np.intp), 0, n - 1)
        for line, n in zip(grid.axes, shape, strict=True)
    ]
    outside = depth[np.ix_(*at)] < 0
    # Points are a step apart: the surface lies half a step before the first one inside.
    distance = ndimage.distance_transform_edt(outside) - 0.5
    depth[far] = grid.to_voxels(-grid.step_um * np.maximum(distance, 1.0))[far]


def _metal(scene: SceneSpec, *, shape: Shape, voxel_um: float) -> Float32 | None:
    """Share of metal pins in each voxel, in bones and beyond; None without any."""
    out: Float32 | None = None
    lines = voxel_positions(shape, voxel_um=voxel_um)
    z, y, x = lines[0][:, None, None], lines[1][None, :, None], lines[2][None, None, :]
    for bone in scene.bones:
        for feature in bone.features:
            if isinstance(feature, Hole) and feature.pin:
                at = [p.astype(np.float32) for p in local_frame(bone.envelope, z, y, x)]
                found = share(hole(feature, at), voxel_um=voxel_um)
                out = found if out is None else np.maximum(out, found)
    return out
