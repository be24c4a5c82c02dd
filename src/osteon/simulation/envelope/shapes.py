"""Shapes as functions that are positive inside, composed by unions, differences and fillets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from osteon.simulation.envelope.spec import EnvelopeSpec
from osteon.simulation.randomness import SmoothField

Floats = npt.NDArray[np.float64]
Triple = tuple[float, float, float]

#: From this exponent on a superellipse is drawn as the rectangle it tends to.
RECTANGLE_EXPONENT = 50.0
#: Width of the vertebral canal along y over that along x.
CANAL_ASPECT = 0.85
#: Fillet between the parts of a vertebra, over the wall of its arch.
ARCH_FILLET = 0.8
#: Middles of braincase and snout along the axis, and their half lengths, over the skull's length.
BRAIN, SNOUT = (-0.17, 0.33), (0.2, 0.3)
#: Width of the snout over that of the braincase.
SNOUT_WIDTH = 0.55
#: Orbits: place along the axis (of the length), sideways and radius (of the braincase's radius).
ORBIT_Z, ORBIT_X, ORBIT_RADIUS = 0.07, 0.85, 0.42


def local_frame(
    spec: EnvelopeSpec, z: Floats, y: Floats, x: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return positions in the frame of a bone: its middle at 0, its axis along z.

    Args:
        spec: The shape.
        z: Positions in µm in the field of view; the three arrays broadcast.
        y: See ``z``.
        x: See ``z``.

    Returns:
        Positions (z, y, x) in µm; tilt is not taken out, it shears a bone.
    """
    z, y, x = (p - c for p, c in zip((z, y, x), spec.centre_um, strict=True))
    if spec.turn != 0:
        c, s = np.cos(spec.turn), np.sin(spec.turn)
        y, x = c * y - s * x, s * y + c * x
    if spec.lean != 0:
        c, s = np.cos(spec.lean), np.sin(spec.lean)
        z, x = c * z + s * x, c * x - s * z
    return z, y, x


def view_frame(spec: EnvelopeSpec, point: Triple) -> Triple:
    """Return where a point of a bone's own frame lies in the field of view.

    Args:
        spec: The shape.
        point: Position (z, y, x) in µm in the frame of :func:`local_frame`.

    Returns:
        Position (z, y, x) in µm.
    """
    return add(direction_in_view(spec, point), spec.centre_um)


def direction_in_view(spec: EnvelopeSpec, direction: Triple) -> Triple:
    """Turn a direction of a bone's own frame into one of the field of view, (z, y, x)."""
    z, y, x = direction
    c, s = float(np.cos(spec.lean)), float(np.sin(spec.lean))
    z, x = c * z - s * x, s * z + c * x
    c, s = float(np.cos(spec.turn)), float(np.sin(spec.turn))
    return z, c * y + s * x, c * x - s * y


def add(a: Triple, b: Triple) -> Triple:
    """Add two positions."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


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
    bump: Floats | float = 0.0
    if rough is not None and spec.roughness_um > 0:
        away = (p - c for p, c in zip((z, y, x), spec.centre_um, strict=True))
        bump = spec.roughness_um * rough(*away)
    z, y, x = local_frame(spec, z, y, x)
    if spec.shape == "ball":
        return np.asarray(spec.radius_um - np.sqrt(z**2 + y**2 + x**2) + bump)
    if spec.shape == "skull":
        return _skull(spec, z, y, x) + bump
    y = y - np.tan(spec.tilt[0]) * z
    x = x - np.tan(spec.tilt[1]) * z
    if spec.shape == "plate":
        return _plate(spec, z, y, x) + bump
    if spec.shape == "rib":
        return _rib(spec, z, y, x) + bump
    u = 2 * z / spec.length_um
    x = x - spec.bend_um * u**2
    side = _side(spec, u, y, x)
    if spec.shape == "shaft":
        return side + bump
    half = spec.length_um / 2
    cap = half - z if spec.shape == "end" else half - np.abs(z)
    body = smooth_minimum(side, cap, width=spec.rounding_um)
    if spec.arch is not None:
        body = _with_arch(spec, body, z, y, x)
    return body + bump


def smooth_minimum(a: Floats, b: Floats, *, width: float) -> Floats:
    """Minimum whose crease is rounded over ``width`` (polynomial of degree 2)."""
    if width == 0:
        return np.minimum(a, b)
    h = np.maximum(width - np.abs(a - b), 0.0) / width
    return np.asarray(np.minimum(a, b) - h * h * width / 4)


def _smooth_maximum(a: Floats, b: Floats, *, width: float) -> Floats:
    return -smooth_minimum(-a, -b, width=width)


def _outline(spec: EnvelopeSpec, theta: Floats) -> Floats:
    """Relative radius of the lobed outline at an angle."""
    out: Floats = np.ones(theta.shape)
    for order, amplitude, phase in spec.lobes:
        out = out + amplitude * np.cos(order * theta + phase)
    return out


def _superellipse(a: Floats, b: Floats, *, exponent: float) -> Floats:
    if exponent >= RECTANGLE_EXPONENT:
        return np.maximum(np.abs(a), np.abs(b))
    return np.asarray((np.abs(a) ** exponent + np.abs(b) ** exponent) ** (1 / exponent))


def _side(spec: EnvelopeSpec, u: Floats, y: Floats, x: Floats) -> Floats:
    """Radius of the outline minus that of the point, at a height u of -1..1 along the bone."""
    rho = _superellipse(y / spec.aspect, x, exponent=spec.exponent)
    outline = _outline(spec, np.arctan2(y, x))
    v = np.clip(u, -1, 1)
    if spec.shape == "vertebra":
        outline = outline * (1 - spec.waist * (1 - v**2))
    if spec.shape == "end":
        rise = (v + 1) / 2
        outline = outline * (1 - spec.flare * (1 - rise**2 * (3 - 2 * rise)))
    return np.asarray(spec.radius_um * outline - rho)


def _ellipsoid(
    z: Floats, y: Floats, x: Floats, *, centre: Triple, half_axes: tuple[float, float, float]
) -> Floats:
    """About the distance from an ellipsoid, positive inside."""
    scaled = [(p - c) / max(a, 1e-6) for p, c, a in zip((z, y, x), centre, half_axes, strict=True)]
    value = np.sqrt(sum(p**2 for p in scaled))
    slope = np.sqrt(sum((p / a) ** 2 for p, a in zip(scaled, half_axes, strict=True)))
    return np.asarray((1 - value) * value / np.maximum(slope, 1e-12))


def _rod(z: Floats, y: Floats, x: Floats, *, a: Triple, b: Triple, radii: Triple) -> Floats:
    """Distance from a rod whose radius goes from the first to the second of ``radii``."""
    axis = tuple(q - p for p, q in zip(a, b, strict=True))
    length2 = max(sum(v * v for v in axis), 1e-12)
    d = [p - q for p, q in zip((z, y, x), a, strict=True)]
    t = np.clip(sum(p * v for p, v in zip(d, axis, strict=True)) / length2, 0.0, 1.0)
    away = sum((p - t * v) ** 2 for p, v in zip(d, axis, strict=True))
    return np.asarray(radii[0] + (radii[1] - radii[0]) * t - np.sqrt(away))


def _with_arch(spec: EnvelopeSpec, body: Floats, z: Floats, y: Floats, x: Floats) -> Floats:
    """Add arch and processes to a vertebral body, and take the vertebral canal out."""
    arch = spec.arch
    if arch is None:
        return body
    wide, wall = arch.canal_um, arch.wall_um
    deep = CANAL_ASPECT * wide
    # The canal begins a little behind the body, whose back it hollows.
    middle = 0.95 * spec.radius_um * spec.aspect + deep
    half = arch.height * spec.length_um / 2
    fillet = ARCH_FILLET * wall
    canal = wide - np.hypot((y - middle) / CANAL_ASPECT, x)
    ring = smooth_minimum(canal + wall, half - np.abs(z), width=0.5 * wall)
    out = _smooth_maximum(body, ring, width=fillet)
    if arch.spinous_um > 0:
        start = middle + deep + 0.3 * wall
        a, b = (0.0, start, 0.0), (-0.35 * half, start + arch.spinous_um, 0.0)
        rod = _rod(z, y, x, a=a, b=b, radii=(0.75 * wall, 0.6 * wall, 0.0))
        out = _smooth_maximum(out, rod, width=fillet)
    if arch.transverse_um > 0:
        start, end = wide + 0.3 * wall, wide + 0.5 * wall + arch.transverse_um
        # Both at once: the arch is the same on both sides.
        a, b = (0.0, middle, start), (0.2 * half, middle + 0.3 * arch.transverse_um, end)
        rod = _rod(z, y, np.abs(x), a=a, b=b, radii=(0.8 * wall, 0.55 * wall, 0.0))
        out = _smooth_maximum(out, rod, width=fillet)
    return smooth_minimum(out, -canal, width=0.2 * wall)


def _plate(spec: EnvelopeSpec, z: Floats, y: Floats, x: Floats) -> Floats:
    """A slab across x with a lobed outline, curved like a shallow bowl."""
    half = spec.length_um / 2
    u, v = z / half, y / spec.radius_um
    across = x - spec.bend_um * (u**2 + v**2 - 0.5)
    size = min(half, spec.radius_um)
    edge = size * (_outline(spec, np.arctan2(u, v)) - _superellipse(u, v, exponent=spec.exponent))
    slab = spec.wall_um / 2 - np.abs(across)
    out = smooth_minimum(slab, edge, width=0.7 * spec.wall_um)
    if spec.ridge_um > 0:
        # A ridge along z, at a third of the width, that falls off towards both ends.
        top = spec.wall_um / 2 + spec.ridge_um * (1 - u**2)
        ridge = np.minimum(0.4 * spec.wall_um - np.abs(y - spec.radius_um / 3), top - across)
        ridge = np.minimum(ridge, across + spec.wall_um / 4)
        ridge = np.minimum(ridge, edge)
        out = _smooth_maximum(out, ridge, width=0.4 * spec.wall_um)
    return out


def _rib(spec: EnvelopeSpec, z: Floats, y: Floats, x: Floats) -> Floats:
    """A rod along an arc in the plane of z and x; ``bend_um`` is the sagitta of the arc."""
    curvature = max(spec.length_um**2 / (8 * max(spec.bend_um, 1e-3 * spec.length_um)), 1e-6)
    radial = np.hypot(z, x + curvature) - curvature
    along = curvature * np.arctan2(z, x + curvature)
    rho = _superellipse(y / spec.aspect, radial, exponent=spec.exponent)
    side = spec.radius_um * _outline(spec, np.arctan2(y, radial)) - rho
    return smooth_minimum(side, spec.length_um / 2 - np.abs(along), width=spec.rounding_um)


def _skull(spec: EnvelopeSpec, z: Floats, y: Floats, x: Floats) -> Floats:
    """Braincase and snout; what their walls enclose is taken out."""
    wall, radius, length = spec.wall_um, spec.radius_um, spec.length_um
    high = radius * spec.aspect
    brain_axes = (BRAIN[1] * length, high, radius)
    at = (BRAIN[0] * length, 0.0, 0.0)
    brain = _ellipsoid(z, y, x, centre=at, half_axes=brain_axes)
    snout_axes = (SNOUT[1] * length, SNOUT_WIDTH * high, SNOUT_WIDTH * radius)
    snout_at = (SNOUT[0] * length, 0.25 * high, 0.0)
    snout = _ellipsoid(z, y, x, centre=snout_at, half_axes=snout_axes)
    orbit_radius = ORBIT_RADIUS * radius
    side = np.abs(x) - ORBIT_X * radius
    orbit = orbit_radius - np.sqrt((z - ORBIT_Z * length) ** 2 + (y + 0.1 * high) ** 2 + side**2)
    # A wall is left between each two of the cavities.
    orbit = np.minimum(orbit, -brain)
    nasal = _ellipsoid(z, y, x, centre=snout_at, half_axes=_shrunk(snout_axes, wall))
    nasal = np.minimum(np.minimum(nasal, -brain), -orbit - wall)
    braincase = _ellipsoid(z, y, x, centre=at, half_axes=_shrunk(brain_axes, wall))
    out = _smooth_maximum(brain, snout, width=0.4 * radius)
    for cavity in (orbit, nasal, braincase):
        out = smooth_minimum(out, -cavity, width=0.2 * wall)
    if spec.opening_um > 0:
        passage = np.minimum(spec.opening_um / 2 - np.hypot(y - 0.3 * high, x), at[0] - z)
        out = smooth_minimum(out, -passage, width=0.3 * wall)
    return out


def _shrunk(half_axes: Triple, by: float) -> Triple:
    z, y, x = half_axes
    return max(z - by, 0.1 * z), max(y - by, 0.1 * y), max(x - by, 0.1 * x)
