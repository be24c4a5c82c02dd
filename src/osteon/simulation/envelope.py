"""The periosteal envelope: the outer shape of a bone, and the signed distance from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from osteon.errors import UsageError
from osteon.simulation.grids import CoarseGrid
from osteon.simulation.randomness import SmoothField

Floats = npt.NDArray[np.float64]
Shape = Literal["shaft", "end", "vertebra", "ball"]

#: From this exponent on a superellipse is drawn as the rectangle it tends to.
RECTANGLE_EXPONENT = 50.0
#: Coarse points this near (in steps) are moved onto the surface; from the other distance on, the
#: distance is that to the nearest of them instead of the first-order one.
NEAR_STEPS, FAR_STEPS = 1.2, 0.8
#: Relative error allowed in the search of the nearest point: the points are a step apart.
QUERY_TOLERANCE = 0.02


@dataclass(frozen=True)
class EnvelopeSpec:
    """The outer shape of a bone around an axis near z; all lengths in µm, angles in radians.

    Attributes:
        shape: ``shaft`` goes on beyond the field of view at both ends; ``end`` is closed by a
            rounded cap at high z and flares towards it; ``vertebra`` is closed at both ends, with
            a waist; ``ball`` is a sphere of ``radius_um``, for tests and phantoms.
        radius_um: Half the width along x (of the widest cross-section, before lobes).
        length_um: Length along the axis; of a shaft without meaning.
        aspect: Width along y over that along x.
        exponent: Of the superellipse of the cross-section: 2 an ellipse, 4 a rounded box, from 50
            on a rectangle.
        lobes: (order, relative amplitude, phase) of each wave of the outline around the axis.
        waist: How much narrower a vertebra is at mid-height, 0..1.
        flare: How much narrower an end is at its shaft than at its head, 0..1.
        rounding_um: Over what distance side and end faces run into each other.
        bend_um: By how much the axis leaves a straight line, over ``length_um``.
        tilt: Tilt of the axis towards y and x.
        roughness_um: Standard deviation of a smooth displacement of the surface.
        centre_um: The middle of the bone in the field of view (z, y, x); 0 is its middle.
    """

    shape: Shape
    radius_um: float
    length_um: float
    aspect: float = 1.0
    exponent: float = 2.0
    lobes: tuple[tuple[int, float, float], ...] = ()
    waist: float = 0.0
    flare: float = 0.0
    rounding_um: float = 0.0
    bend_um: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)
    roughness_um: float = 0.0
    centre_um: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if min(self.radius_um, self.length_um, self.aspect) <= 0:
            raise UsageError("radius, length and aspect of a bone must be positive")
        if not (0 <= self.waist < 1 and 0 <= self.flare < 1):
            raise UsageError("waist and flare of a bone must be at least 0 and less than 1")


def inside_function(
    spec: EnvelopeSpec, z: Floats, y: Floats, x: Floats, *, rough: SmoothField | None = None
) -> Floats:
    """Evaluate a function that is positive inside the envelope and about linear near it.

    Args:
        spec: The shape.
        z: Positions in µm in the field of view; the three arrays broadcast.
        y: See ``z``.
        x: See ``z``.
        rough: The displacement of the surface in units of ``roughness_um``.

    Returns:
        Values in µm, exact as a distance for a ball only.
    """
    z, y, x = (p - c for p, c in zip((z, y, x), spec.centre_um, strict=True))
    if spec.shape == "ball":
        return np.asarray(spec.radius_um - np.sqrt(z**2 + y**2 + x**2))
    bump = 0.0 if rough is None else spec.roughness_um * rough(z, y, x)
    u = 2 * z / spec.length_um
    y = y - np.tan(spec.tilt[0]) * z
    x = x - np.tan(spec.tilt[1]) * z - spec.bend_um * u**2
    side = _side(spec, u, y, x)
    if spec.shape == "shaft":
        return side + bump
    half = spec.length_um / 2
    cap = half - z if spec.shape == "end" else half - np.abs(z)
    return _smooth_minimum(side, cap, width=spec.rounding_um) + bump


def _side(spec: EnvelopeSpec, u: Floats, y: Floats, x: Floats) -> Floats:
    """Radius of the outline minus that of the point, at a height u of -1..1 along the bone."""
    across = np.abs(y / spec.aspect), np.abs(x)
    if spec.exponent >= RECTANGLE_EXPONENT:
        rho = np.maximum(*across)
    else:
        n = spec.exponent
        rho = (across[0] ** n + across[1] ** n) ** (1 / n)
    theta = np.arctan2(y, x)
    outline: Floats = np.ones(np.broadcast_shapes(u.shape, theta.shape))
    for order, amplitude, phase in spec.lobes:
        outline = outline + amplitude * np.cos(order * theta + phase)
    v = np.clip(u, -1, 1)
    if spec.shape == "vertebra":
        outline = outline * (1 - spec.waist * (1 - v**2))
    if spec.shape == "end":
        rise = (v + 1) / 2
        outline = outline * (1 - spec.flare * (1 - rise**2 * (3 - 2 * rise)))
    return np.asarray(spec.radius_um * outline - rho)


def _smooth_minimum(a: Floats, b: Floats, *, width: float) -> Floats:
    """Minimum whose crease is rounded over ``width`` (polynomial of degree 2)."""
    if width == 0:
        return np.minimum(a, b)
    h = np.maximum(width - np.abs(a - b), 0.0) / width
    return np.asarray(np.minimum(a, b) - h * h * width / 4)


def signed_distance(
    spec: EnvelopeSpec, grid: CoarseGrid, *, rough: SmoothField | None = None
) -> Floats:
    """Return the distance from the envelope on a coarse grid.

    Points near the surface are moved onto it along the gradient; elsewhere the distance is that
    to the nearest of these. It is right to about a tenth of the step of the grid.

    Args:
        spec: The shape.
        grid: The points.
        rough: See :func:`inside_function`.

    Returns:
        Distances in µm at the coarse points (z, y, x), positive inside; to first order only where
        the point is no neighbour of the field of view.

    Raises:
        UsageError: If no part of the surface is near the field of view.
    """
    z, y, x = grid.mesh
    value = inside_function(spec, z, y, x, rough=rough)
    slopes: list[Floats] = list(np.gradient(value, grid.step_um))
    steepness = np.full(value.shape, 1e-18)
    for slope in slopes:
        steepness += slope**2
    steepness = np.sqrt(steepness)
    first_order = value / steepness
    near = np.abs(first_order) < NEAR_STEPS * grid.step_um
    if not near.any():
        raise UsageError(
            "the surface of the simulated bone is outside the field of view",
            mend="use a larger voxel size, more voxels or a smaller bone",
        )
    points = np.stack(np.broadcast_arrays(z, y, x), axis=-1)
    normal = np.stack([s[near] / steepness[near] for s in slopes], axis=-1)
    surface = points[near] - normal * first_order[near][:, None]
    # One more step: near edges and waists the first one falls a little short.
    left = inside_function(spec, *surface.T, rough=rough) / steepness[near]
    surface -= normal * left[:, None]
    # The margin only holds surface that is near the field of view: its own distances are not used.
    far = (np.abs(first_order) > FAR_STEPS * grid.step_um) & grid.in_view
    distance, _ = KDTree(surface).query(points[far], eps=QUERY_TOLERANCE)
    out = first_order.copy()
    out[far] = np.sign(value[far]) * distance
    return np.asarray(out, dtype=np.float64)
