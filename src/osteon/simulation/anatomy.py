"""Procedural bones: from a specification in µm to labels, and what an image is made of.

Everything is a signed distance in µm (positive inside): the envelope on a coarse grid, the
cortex as the part of it near the surface, trabeculae, and canals that are carved out. Bone is
where the distance is at least 0, which is where a voxel is at least half mineral.

The labels depend on the specification, the key of the generator and the shape alone. Distances
are computed in one thread in a fixed order, in double precision, and stored as float32; another
machine's mathematical library may differ in the last bit, which moves a label only where a
distance is 0 to within 1e-7: less than a voxel in a scan of this kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.errors import UsageError
from osteon.labels import BONE_PORES
from osteon.simulation.envelope import EnvelopeSpec, signed_distance
from osteon.simulation.grids import CoarseGrid, Shape
from osteon.simulation.randomness import SmoothField
from osteon.simulation.trabeculae import Canvas, TrabecularSpec, capsule, draw_trabeculae

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

BACKGROUND, BONE, PORES = (BONE_PORES.value(n) for n in ("background", "bone", "pores"))

#: Trabeculae thinner than this many voxels cannot be labelled and are refused.
MIN_TRABECULA_VOXELS = 1.5
#: A cortex is at least this thick, in voxels, so that pores never touch the outside.
MIN_CORTEX_VOXELS = 2.0
#: Canals under this many voxels wide are labelled bone (docs/labelling.md).
MIN_CANAL_VOXELS = 3.0
#: A bone fragment with fewer voxels than a ball of this many thicknesses in diameter is dropped.
FRAGMENT_DIAMETERS = 2.5
#: Trabeculae end over this many µm of thickness lost per µm of depth beyond the marrow cavity.
CAVITY_SLOPE = 0.15
#: Part of the cortex's thickness that the middles of canals lie in, from the outside.
CANAL_BAND = (0.25, 0.85)
#: A canal is this many diameters long, at most so much of the height of the field of view.
CANAL_LENGTH_DIAMETERS, CANAL_LENGTH_IN_VIEW = 40.0, 1.2
#: Canals in one field of view: more than this are no longer told apart.
MAX_CANALS = 400


@dataclass(frozen=True)
class CanalSpec:
    """Canals of the cortex, about along the axis of the bone.

    Attributes:
        diameter_um: Mean diameter in µm.
        per_mm2: Canals per mm² of a cross-section of the cortex.
        variation: Relative standard deviation of the diameter.
    """

    diameter_um: float
    per_mm2: float
    variation: float = 0.4

    def __post_init__(self) -> None:
        if self.diameter_um <= 0 or self.per_mm2 < 0 or self.variation < 0:
            raise UsageError("diameter, density and variation of canals cannot be negative")


@dataclass(frozen=True)
class BoneSpec:
    """One bone and its place in the field of view; lengths in µm.

    Attributes:
        envelope: The outer shape.
        cortex_um: Mean thickness of the cortex (Ct.Th).
        cortex_variation: Relative standard deviation of a smooth variation of it.
        trabeculae: What fills the marrow space, None for an empty cavity.
        cavity: Share of the depth below the cortex, from the middle, without trabeculae, 0..1.
        canals: Canals of the cortex, None for a solid one.
    """

    envelope: EnvelopeSpec
    cortex_um: float
    cortex_variation: float = 0.15
    trabeculae: TrabecularSpec | None = None
    cavity: float = 0.0
    canals: CanalSpec | None = None

    def __post_init__(self) -> None:
        if self.cortex_um <= 0 or self.cortex_variation < 0:
            raise UsageError("a cortex has a positive thickness and no negative variation")
        if not 0 <= self.cavity <= 1:
            raise UsageError(f"the share of the cavity must be 0 to 1, not {self.cavity}")


@dataclass(frozen=True)
class Anatomy:
    """A bone on the voxels of a field of view.

    Attributes:
        labels: uint8 (z, y, x): 0 background, 1 bone, 2 pores.
        mineral: Share of bone in each voxel, float32 (z, y, x), 0..1.
        depth_um: Distance from the envelope, float32 (z, y, x), positive inside, right where it is
            less than half the field of view.
        voxel_um: Voxel size in µm.
        envelope: The outer shape it was made from.
    """

    labels: Labels
    mineral: Float32
    depth_um: Float32
    voxel_um: float
    envelope: EnvelopeSpec = field(repr=False)

    @property
    def inside(self) -> Float32:
        """Share of each voxel inside the envelope, float32 (z, y, x), 0..1."""
        return share(self.depth_um, voxel_um=self.voxel_um)


def share(distance: Float32, *, voxel_um: float) -> Float32:
    """Return the share of each voxel that lies inside a surface, to first order.

    Args:
        distance: Signed distance of the voxel centres in µm, positive inside.
        voxel_um: Voxel size in µm.

    Returns:
        float32 array of 0..1: 0.5 at distance 0, linear over one voxel.
    """
    out: Float32 = distance / np.float32(voxel_um)
    out += np.float32(0.5)
    return np.clip(out, 0, 1, out=out)


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
        The bone. About 40 bytes a voxel are held while it is made, 9 by the result.

    Raises:
        UsageError: If the voxels are too large for the cortex or the trabeculae, or the bone's
            surface is not in the field of view.
    """
    _check_resolution(spec, shape, voxel_um)
    margin = spec.cortex_um * (1 + 3 * spec.cortex_variation) + 2 * voxel_um
    grid = CoarseGrid.around(shape, voxel_um=voxel_um, margin_um=margin)
    radius = spec.envelope.radius_um
    rough = SmoothField.draw(rng, wavelength_um=0.8 * radius)
    depth = signed_distance(spec.envelope, grid, rough=rough)
    wave = SmoothField.draw(rng, wavelength_um=0.7 * radius)
    relative = np.clip(1 + spec.cortex_variation * wave(*grid.mesh), 0.4, 2.0)
    cortex = np.maximum(spec.cortex_um * relative, MIN_CORTEX_VOXELS * voxel_um)

    depth_um = grid.to_voxels(depth)
    bone = grid.to_voxels(cortex)
    np.subtract(bone, depth_um, out=bone)
    if spec.trabeculae is not None:
        np.maximum(bone, _trabeculae(spec, grid, depth, cortex, rng), out=bone)
    if spec.canals is not None:
        labelled, faint = _canals(spec, grid, depth, cortex, rng)
        _carve(bone, labelled, depth_um, voxel_um)
    np.minimum(bone, depth_um, out=bone)
    if spec.trabeculae is not None:
        _drop_fragments(bone, depth_um, spec, voxel_um)
    labels = np.where(bone >= 0, BONE, np.where(depth_um >= 0, PORES, BACKGROUND)).astype(np.uint8)
    if spec.canals is not None:
        _carve(bone, faint, depth_um, voxel_um)
    return Anatomy(labels, share(bone, voxel_um=voxel_um), depth_um, voxel_um, spec.envelope)


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


def _trabeculae(
    spec: BoneSpec, grid: CoarseGrid, depth: Floats, cortex: Floats, rng: np.random.Generator
) -> Float32:
    """Signed distance of the trabeculae, thinned out towards the marrow cavity."""
    network = spec.trabeculae
    if network is None:
        raise UsageError("this bone has no trabeculae")
    below = depth - cortex
    # The depth of the middle of a long bone is about its radius: the share is of that.
    end = (1 - spec.cavity) * max(spec.envelope.radius_um - spec.cortex_um, 0.0)
    vanishing = np.where(spec.cavity > 0, np.maximum(below - end, 0.0) * CAVITY_SLOPE, 0.0)
    reach = network.lattice_um / 2

    def wanted(points: Floats) -> npt.NDArray[np.bool_]:
        d = grid.at(below, points)
        return (d > -reach) & (grid.at(vanishing, points) < 2 * network.thickness_um)

    distance = draw_trabeculae(network, grid, rng, wanted=wanted)
    if spec.cavity > 0:
        distance -= grid.to_voxels(vanishing)
    return distance


def _canals(
    spec: BoneSpec, grid: CoarseGrid, depth: Floats, cortex: Floats, rng: np.random.Generator
) -> tuple[Float32, Float32]:
    """Signed distances of the canals wide enough to be labelled, and of the others."""
    canals = spec.canals
    if canals is None:
        raise UsageError("this bone has no canals")
    mean = canals.diameter_um
    height = grid.shape[0] * grid.voxel_um
    length = min(CANAL_LENGTH_IN_VIEW * height, CANAL_LENGTH_DIAMETERS * mean)
    # Of canals whose middle is in view a length of l - l²/4h is in view on average (l < 2h).
    per_slice = (length - length**2 / (4 * height)) / height
    starts = _canal_middles(canals.per_mm2 / per_slice, grid, depth, cortex, rng)
    spread = np.sqrt(np.log1p(canals.variation**2))
    diameters = mean * np.exp(spread * rng.standard_normal(len(starts)) - spread**2 / 2)
    drawn = [Canvas(grid, background=-mean) for _ in range(2)]
    for start, diameter in zip(starts, diameters, strict=True):
        canvas = drawn[0 if diameter >= MIN_CANAL_VOXELS * grid.voxel_um else 1]
        steps = 6
        turn = np.array([1.0, 0.0, 0.0]) + rng.normal(0, 0.12, (steps, 3)) + rng.normal(0, 0.1, 3)
        path = start + np.cumsum(turn * length / steps, axis=0) - turn.sum(0) * length / steps / 2
        pieces = np.stack([path[:-1], path[1:]], axis=1)
        margins = np.full(len(pieces), diameter / 2 + 2 * grid.voxel_um)
        boxes = canvas.boxes(pieces.reshape(-1, 3), 2 * np.arange(len(pieces)), margins=margins)
        for (a, b), box in zip(pieces, boxes, strict=True):
            if box is not None:
                body = capsule(canvas.positions(box), a, b, middle=diameter / 2, node=diameter / 2)
                canvas.draw(box, body, fillet=0.0)
    return drawn[0].distance, drawn[1].distance


def _canal_middles(
    per_mm2: float, grid: CoarseGrid, depth: Floats, cortex: Floats, rng: np.random.Generator
) -> Floats:
    """Draw points within the cortex, so many a mm² of its cross-section, in µm, (n, 3)."""
    shallow, deep = CANAL_BAND
    within = (depth > shallow * cortex) & (depth < deep * cortex)
    inner = tuple(
        slice(*np.searchsorted(line, [-n * grid.voxel_um / 2, n * grid.voxel_um / 2]))
        for line, n in zip(grid.axes, grid.shape, strict=True)
    )
    cells = np.argwhere(within[inner])
    if len(cells) == 0:
        return np.zeros((0, 3))
    slices = within[inner].shape[0]
    area_mm2 = len(cells) / (deep - shallow) / slices * (grid.step_um / 1000) ** 2
    n = min(int(rng.poisson(per_mm2 * area_mm2)), MAX_CANALS)
    first = np.array([line[s.start] for line, s in zip(grid.axes, inner, strict=True)])
    at = cells[rng.integers(len(cells), size=n)] + rng.uniform(-0.5, 0.5, (n, 3))
    return np.asarray(first + at * grid.step_um)


def _carve(bone: Float32, hole: Float32, depth_um: Float32, voxel_um: float) -> None:
    """Take canals out of the bone in place; a wall towards the outside stays closed."""
    open_ = np.minimum(hole, depth_um - np.float32(MIN_CORTEX_VOXELS * voxel_um))
    np.minimum(bone, -open_, out=bone)


def _drop_fragments(bone: Float32, depth_um: Float32, spec: BoneSpec, voxel_um: float) -> None:
    """Remove bone that touches neither the cortex nor the edge of the field of view."""
    if spec.trabeculae is None:
        return
    found, n = ndimage.label(bone >= 0)
    if n < 2:
        return
    faces = [found[s] for a in range(3) for s in (_face(a, 0), _face(a, -1))]
    kept = np.unique(np.concatenate([f.ravel() for f in faces]))
    sizes = np.bincount(found.ravel(), minlength=n + 1)
    cortical = np.unique(found[(depth_um >= 0) & (depth_um < voxel_um)])
    lost = np.ones(n + 1, dtype=bool)
    lost[kept] = lost[cortical] = lost[0] = False
    limit = FRAGMENT_DIAMETERS * spec.trabeculae.thickness_um / voxel_um
    lost &= sizes < max(np.pi / 6 * limit**3, 27)
    for k, box in enumerate(ndimage.find_objects(found), start=1):
        if box is not None and lost[k]:
            _erase(bone, found, k, box)


def _face(axis: int, index: int) -> tuple[slice | int, ...]:
    return tuple(index if a == axis else slice(None) for a in range(3))


def _erase(
    bone: Float32, found: npt.NDArray[np.int32], k: int, box: tuple[slice, slice, slice]
) -> None:
    """Make one fragment and its soft edge vanish."""
    wide = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    fragment = ndimage.binary_dilation(found[wide] == k, np.ones((3, 3, 3)))
    part = bone[wide]
    # Neighbours that are bone belong to another fragment and stay.
    part[fragment & ((found[wide] == k) | (found[wide] == 0))] = -1e3
