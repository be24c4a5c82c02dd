"""What lies within an envelope: cortex, trabeculae, canals, and the features of a bone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.labels import IGNORE
from osteon.simulation.anatomy import features as bodies
from osteon.simulation.anatomy.canals import draw_canals
from osteon.simulation.anatomy.features import GrowthPlate, Hole, Lesion, Sheet, Triple
from osteon.simulation.anatomy.fragments import drop_fragments
from osteon.simulation.anatomy.part import Box, Part, Solid
from osteon.simulation.anatomy.specs import (
    BACKGROUND,
    BONE,
    MIN_CANAL_VOXELS,
    MIN_CORTEX_VOXELS,
    PORES,
    share,
)
from osteon.simulation.envelope.shapes import local_frame, view_frame
from osteon.simulation.grids import voxel_positions
from osteon.simulation.randomness import SmoothField
from osteon.simulation.trabeculae import draw_trabeculae

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

#: Trabeculae end over this many µm of thickness lost per µm of depth beyond the marrow cavity.
CAVITY_SLOPE = 0.15
#: A lesion is open to the outside if it reaches this many voxels beyond the envelope.
BREAKTHROUGH_VOXELS = 1.0
#: Voxels this near the middle of a thin gap are not judged, in voxels.
GAP_VOXELS = 0.5
#: Wavelength of the waves of a growth plate and of a lesion's wall, over their radius.
PLATE_WAVE, LESION_WAVE = 0.5, 0.9
#: Bodies are drawn in boxes this many voxels wider than they are.
BODY_MARGIN = 3.0


def fill(part: Part, *, voxel_um: float) -> Solid:
    """Make what lies within an envelope.

    Args:
        part: The envelope; its ``depth_um`` is used up.
        voxel_um: Voxel size in µm.

    Returns:
        The bone; about 24 bytes a voxel of its box are held meanwhile.
    """
    spec, grid, depth = part.spec, part.grid, part.depth_um
    bone = grid.to_voxels(part.cortex)
    np.subtract(bone, depth, out=bone)
    if spec.trabeculae is not None:
        np.maximum(bone, _trabeculae(part), out=bone)
    cartilage = _growth_plates(part, bone)
    faint = _canals(part, bone, voxel_um)
    np.minimum(bone, depth, out=bone)
    _carve_bodies(part, bone, cartilage, voxel_um)
    if spec.trabeculae is not None or spec.features:
        thickness = 2 * voxel_um if spec.trabeculae is None else spec.trabeculae.thickness_um
        drop_fragments(bone, depth, thickness_um=thickness, voxel_um=voxel_um)
    labels = np.where(bone >= 0, BONE, np.where(depth >= 0, PORES, BACKGROUND)).astype(np.uint8)
    soft: Float32 | None = None
    if cartilage is not None:
        np.minimum(cartilage, depth, out=cartilage)
        np.minimum(cartilage, -bone, out=cartilage)
        labels[cartilage >= 0] = IGNORE
        soft = share(cartilage, voxel_um=voxel_um)
    _thin_gaps(part, bone, labels, voxel_um)
    for canals in faint:
        _carve(bone, canals, depth, voxel_um)
    return Solid(labels, share(bone, voxel_um=voxel_um), depth, soft)


def _trabeculae(part: Part) -> Float32:
    """Signed distance of the trabeculae, thinned out towards the marrow cavity."""
    spec, grid = part.spec, part.grid
    network = spec.trabeculae
    if network is None:
        raise UsageError("this bone has no trabeculae")
    below = part.depth - part.cortex
    # The depth of the middle of a long bone is about its radius: the share is of that.
    end = (1 - spec.cavity) * max(spec.envelope.radius_um - spec.cortex_um, 0.0)
    vanishing = np.where(spec.cavity > 0, np.maximum(below - end, 0.0) * CAVITY_SLOPE, 0.0)
    reach = network.lattice_um / 2

    def wanted(points: Floats) -> npt.NDArray[np.bool_]:
        d = grid.at(below, points)
        return (d > -reach) & (grid.at(vanishing, points) < 2 * network.thickness_um)

    distance = draw_trabeculae(network, grid, part.rng, wanted=wanted)
    if spec.cavity > 0:
        distance -= grid.to_voxels(vanishing)
    return distance


def _canals(part: Part, bone: Float32, voxel_um: float) -> list[Float32]:
    """Carve canals and resorption spaces out; return the canals too thin to be labelled."""
    faint = []
    for canals in (part.spec.canals, part.spec.resorption):
        if canals is not None:
            wide, thin = draw_canals(canals, part.grid, part.depth, part.cortex, part.rng)
            _carve(bone, wide, part.depth_um, voxel_um)
            faint.append(thin)
    return faint


def _carve(bone: Float32, hole: Float32, depth_um: Float32, voxel_um: float) -> None:
    """Take a closed body out of the bone in place; a wall towards the outside stays."""
    open_ = np.minimum(hole, depth_um - np.float32(MIN_CORTEX_VOXELS * voxel_um))
    np.minimum(bone, -open_, out=bone)


def _positions(part: Part, box: Box) -> list[Float32]:
    """Positions of the voxels of a part of the box, in the frame of the bone, in µm."""
    lines = voxel_positions(part.grid.shape, voxel_um=part.grid.voxel_um)
    z, y, x = (line[s] for line, s in zip(lines, box, strict=True))
    frame = local_frame(part.spec.envelope, z[:, None, None], y[None, :, None], x[None, None, :])
    return [p.astype(np.float32) for p in frame]


def _around(part: Part, points: list[Triple], reach_um: float) -> Box | None:
    """The voxels around points of the bone's frame, None if there are none in view."""
    seen = np.array([view_frame(part.spec.envelope, p) for p in points])
    box = []
    for axis, n in enumerate(part.grid.shape):
        at = seen[:, axis] / part.grid.voxel_um + (n - 1) / 2
        reach = reach_um / part.grid.voxel_um + BODY_MARGIN
        start, stop = int(np.floor(at.min() - reach)), int(np.ceil(at.max() + reach)) + 1
        box.append(slice(max(start, 0), max(min(stop, n), 0)))
    if any(s.start >= s.stop for s in box):
        return None
    return box[0], box[1], box[2]


def _everywhere(part: Part) -> Box:
    return slice(0, part.grid.shape[0]), slice(0, part.grid.shape[1]), slice(0, part.grid.shape[2])


def _growth_plates(part: Part, bone: Float32) -> Float32 | None:
    """Put growth plates in; return the signed distance from their soft cartilage, if any."""
    found: Float32 | None = None
    for feature in part.spec.features:
        if isinstance(feature, GrowthPlate):
            wave = SmoothField.draw(part.rng, wavelength_um=PLATE_WAVE * feature.rim_um)
            at = _positions(part, _everywhere(part))
            soft, hard, lamellae = bodies.growth_plate(feature, at, wave)
            if feature.lamella_um > 0:
                np.maximum(bone, lamellae, out=bone)
            np.minimum(bone, -soft, out=bone)
            if feature.calcified > 0:
                np.maximum(bone, hard, out=bone)
            found = soft if found is None else np.maximum(found, soft)
    if found is None:
        return None
    return np.array(np.broadcast_to(found, bone.shape), dtype=np.float32)


def _carve_bodies(part: Part, bone: Float32, cartilage: Float32 | None, voxel_um: float) -> None:
    """Take lesions, holes and wide sutures out; what is open is taken out of the envelope too."""
    spec, depth = part.spec, part.depth_um
    for feature in spec.features:
        body: Float32
        if isinstance(feature, Lesion):
            rough = SmoothField.draw(part.rng, wavelength_um=LESION_WAVE * feature.radius_um)
            reach = feature.radius_um * (1 + 3 * feature.roughness)
            box = _around(part, [feature.at_um], reach)
            if box is None:
                continue
            body = bodies.lesion(feature, _positions(part, box), rough)
            opened = (body >= 0) & (depth[box] < -BREAKTHROUGH_VOXELS * voxel_um)
            if not opened.any():
                _carve(bone[box], body, depth[box], voxel_um)
                continue
        elif isinstance(feature, Hole):
            z, y, x = (
                a + b * feature.length_um / _length(feature.direction)
                for a, b in zip(feature.at_um, feature.direction, strict=True)
            )
            box = _around(part, [feature.at_um, (z, y, x)], feature.diameter_um / 2)
            if box is None:
                continue
            body = bodies.hole(feature, _positions(part, box))
            if feature.diameter_um < spec.closed_below_um:
                np.minimum(bone[box], -body, out=bone[box])
                continue
        else:
            continue
        for open_ in (bone, depth, cartilage):
            if open_ is not None:
                np.minimum(open_[box], -body, out=open_[box])


def _length(direction: Triple) -> float:
    return float(np.sqrt(sum(v * v for v in direction)))


def _thin_gaps(part: Part, bone: Float32, labels: npt.NDArray[np.uint8], voxel_um: float) -> None:
    """Take cracks and sutures out of the bone and label them, in place."""
    for feature in part.spec.features:
        if not isinstance(feature, Sheet):
            continue
        box = _around(part, [feature.at_um], feature.extent_um)
        wave = SmoothField.draw(part.rng, wavelength_um=feature.wavelength_um)
        if box is None:
            continue
        gap = bodies.sheet(feature, _positions(part, box), wave)
        solid = bone[box] >= 0
        if feature.kind == "suture" and feature.width_um >= MIN_CANAL_VOXELS * voxel_um:
            labels[box][solid & (gap >= 0)] = PORES
        else:
            labels[box][solid & (gap >= -GAP_VOXELS * voxel_um)] = IGNORE
        np.minimum(bone[box], -gap, out=bone[box])
