"""Draws the bones of a scene and puts them into the field of view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from osteon.errors import UsageError
from osteon.simulation.anatomy import BoneSpec, SceneSpec
from osteon.simulation.drawing.bones import draw_bone
from osteon.simulation.drawing.events import draw_features
from osteon.simulation.drawing.kinds import fits
from osteon.simulation.drawing.sizes import Sizes, draw_sizes
from osteon.simulation.grids import Shape
from osteon.simulation.species import Species

Triple = tuple[float, float, float]

#: Share of the field of view that is left outside a bone that is cut, at one side.
LEFT_OUTSIDE = (0.06, 0.25)
#: Bones side by side: how many, and their distance over their width, apart and touching.
COUNTS, APART, TOUCHING, TOUCH = (2, 8), (1.1, 1.4), (0.85, 0.97), 0.35
#: The least gap between bones that are apart, and the width of a joint space, in voxels.
GAP_VOXELS, JOINT_VOXELS = (2.5, 6.0), (3.0, 12.0)
#: The kind that is drawn where another does not fit the field of view.
PLAIN = "shaft"


def draw_scene(
    species: Species,
    kind: str,
    rng: np.random.Generator,
    *,
    shape: Shape,
    voxel_um: float | None = None,
) -> tuple[SceneSpec, float, str]:
    """Draw the bones of a scene and a voxel size.

    Args:
        species: The ranges.
        kind: The kind of scene. One that such a field of view is too small or too large for gives
            way to a shaft.
        rng: The generator.
        shape: (z, y, x) of the field of view in voxels.
        voxel_um: The voxel size in µm; drawn from the species' range by default.

    Returns:
        The scene, the voxel size in µm and the kind that was drawn.

    Raises:
        UsageError: If there is no such kind, or no bone of the species fits such a field of view:
            its trabeculae would be thinner than 2 voxels, or the bone far larger or smaller than
            the view.
    """
    kind = kind if fits(kind, shape) else PLAIN
    sizes = draw_sizes(species, kind, rng, shape=shape, voxel_um=voxel_um)
    if sizes is None and kind != PLAIN:
        kind = PLAIN
        sizes = draw_sizes(species, kind, rng, shape=shape, voxel_um=voxel_um)
    if sizes is None:
        given = "" if voxel_um is None else f" with voxels of {voxel_um:g} µm"
        raise UsageError(
            f"no bone of this species fits {' × '.join(map(str, shape))} voxels (z, y, x){given}",
            mend=f"use more voxels, or a voxel size of {species.voxel_um[0]:g} to "
            f"{species.voxel_um[1]:g} µm",
        )
    if kind == "several":
        scene = _side_by_side(species, sizes, rng)
    elif kind == "joint":
        scene = _joint(species, sizes, rng)
    else:
        scene = SceneSpec((_single(species, kind, sizes, rng),))
    inner = kind == "interior"
    bones = tuple(draw_features(b, sizes, rng, shape=shape, interior=inner) for b in scene.bones)
    return replace(scene, bones=bones), sizes.voxel, kind


def _at(bone: BoneSpec, centre: Triple) -> BoneSpec:
    return replace(bone, envelope=replace(bone.envelope, centre_um=centre))


def _single(species: Species, kind: str, sizes: Sizes, rng: np.random.Generator) -> BoneSpec:
    """One bone, whole or cut by the edges of the field of view."""
    if kind == "interior":
        bone = draw_bone(species, "vertebra", sizes, rng)
        # So tall and near the middle that no surface of it is in view.
        tall = replace(
            bone.envelope, length_um=3 * max(sizes.view[0], sizes.width), waist=0.0, rounding_um=0.0
        )
        shift = rng.uniform(-0.1, 0.1, 3) * sizes.side
        bone = replace(bone, envelope=replace(tall, tilt=(0.0, 0.0), bend_um=0.0, aspect=1.0))
        return _at(bone, (float(shift[0]), float(shift[1]), float(shift[2])))
    bone = draw_bone(species, kind, sizes, rng)
    envelope = bone.envelope
    if kind in ("shaft", "end", "vertebra"):
        return _at(bone, _place(rng, kind, sizes, length=envelope.length_um))
    if kind == "arch" and envelope.arch is not None:
        # The middle of body and arch together, behind the body, is put near that of the view.
        back = envelope.radius_um * envelope.aspect + envelope.arch.canal_um
        y, x = rng.normal(0, 0.06, 2) * sizes.side
        y, x = y - 0.6 * back * np.cos(envelope.turn), x + 0.6 * back * np.sin(envelope.turn)
        z = float(rng.normal(0, 0.15)) * sizes.view[0]
        return _at(bone, (z, float(y), float(x)))
    if kind == "skull":
        z, y, x = rng.normal(0, (0.25, 0.05, 0.05)) * sizes.view
        return _at(bone, (float(z), float(y), float(x)))
    z, y, x = rng.uniform(-0.2, 0.2, 3) * sizes.view
    return _at(bone, (float(z), float(y), float(x)))


def _side_by_side(species: Species, sizes: Sizes, rng: np.random.Generator) -> SceneSpec:
    """Long bones of one animal or of several, as in a tube: apart, or touching."""
    count = int(rng.integers(*COUNTS))
    touching = bool(rng.random() < TOUCH)
    pitch = float(rng.uniform(*(TOUCHING if touching else APART))) * sizes.width
    angles = np.arange(6) * np.pi / 3 + float(rng.uniform(0, np.pi / 3))
    spots = np.concatenate([[[0.0, 0.0]], np.stack([np.sin(angles), np.cos(angles)], axis=1)])
    if count <= 3:
        spots = spots[[0, 1, 2]] - spots[[0, 1, 2]][:count].mean(0)
    # Six leave the middle free, or one of the ring.
    chosen = spots[1:7] if count == 6 and rng.random() < 0.5 else spots[:count]
    bones = []
    for y, x in chosen * pitch:
        site = "shaft" if rng.random() < 0.7 else "end"
        own = replace(sizes, width=sizes.width * float(rng.uniform(0.88, 1.0)))
        bone = draw_bone(species, site, own, rng)
        straight = replace(bone.envelope, tilt=(0.0, 0.0), flare=0.0)
        z = 0.0 if site == "shaft" else float(rng.uniform(0.3, 0.5)) * sizes.view[0]
        z -= 0.0 if site == "shaft" else straight.length_um / 2
        bones.append(_at(replace(bone, envelope=straight), (z, float(y), float(x))))
    gap = 0.0 if touching else float(rng.uniform(*GAP_VOXELS)) * sizes.voxel
    return SceneSpec(tuple(bones), gap_um=gap)


def _joint(species: Species, sizes: Sizes, rng: np.random.Generator) -> SceneSpec:
    """Two ends of long bones, or two vertebrae, that face each other along z."""
    site = "end" if rng.random() < 0.6 else "vertebra"
    gap = max(float(rng.uniform(*JOINT_VOXELS)) * sizes.voxel, 0.01 * sizes.width)
    middle = float(rng.uniform(-0.15, 0.15)) * sizes.view[0]
    y, x = (float(v) for v in rng.normal(0, 0.05, 2) * sizes.side)
    bones = []
    for side in (-1, 1):
        bone = draw_bone(species, site, sizes, rng)
        length = bone.envelope.length_um
        lean = np.pi if side > 0 else 0.0
        envelope = replace(bone.envelope, lean=lean, bend_um=0.0, tilt=(0.0, 0.0))
        bones.append(
            _at(replace(bone, envelope=envelope), (middle + side * (length + gap) / 2, y, x))
        )
    return SceneSpec(tuple(bones), gap_um=gap)


def _place(rng: np.random.Generator, site: str, sizes: Sizes, *, length: float) -> Triple:
    """Put a long bone so that some of its outside is in view: the middle of the bone in µm."""
    side, width, view = sizes.side, sizes.width, sizes.view
    free = (side - width) / 2
    if free > 0.06 * side:
        y, x = rng.uniform(-0.7, 0.7, 2) * free
    else:
        # Cut by the edges of the field of view on one side, some air left on the other.
        shift = (width - side) / 2 + float(rng.uniform(*LEFT_OUTSIDE)) * side
        angle = rng.integers(4) * np.pi / 2
        along = rng.uniform(-0.3, 0.3) * side
        y = shift * np.sin(angle) + along * abs(np.cos(angle))
        x = shift * np.cos(angle) + along * abs(np.sin(angle))
    if site == "vertebra":
        z = rng.uniform(-0.5, 0.5) * abs(view[0] - length)
    elif site == "end":
        # The cap lies between just above the field of view and its upper half.
        z = rng.uniform(0.15, 0.55) * view[0] - length / 2
    else:
        z = rng.uniform(-0.5, 0.5) * length / 2
    return float(z), float(y), float(x)
