"""Outer shapes of bones in a slice: signed distances in pixels, positive inside.

They are distances to first order near the outline and of the right order deep inside, which is
all that a cortex of given thickness needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.simulation.stream.fields import Float32, Frame, as_distance, smooth_field

#: Kinds of outlines and how often each is drawn.
KINDS = {
    "star": 0.27,
    "box": 0.12,
    "hourglass": 0.12,
    "blobs": 0.18,
    "band": 0.13,
    "islands": 0.05,
    "vertebra": 0.13,
}
#: Share of bones of other kinds that a wide opening passes through: foramina, sockets, sinuses.
OPENED = 0.08


@dataclass(frozen=True)
class Outline:
    """An outer shape on a frame.

    Attributes:
        kind: Its kind, a key of :data:`KINDS`, or ``ring``: a closed band, hollow outside.
        depth: Signed distance in pixels, positive inside, float32 (y, x).
        radius: About half its width in pixels.
        axis: Direction of its long axis in radians.
    """

    kind: str
    depth: Float32
    radius: float
    axis: float


def draw_outline(
    frame: Frame,
    rng: np.random.Generator,
    *,
    radius: float,
    centre: tuple[float, float],
    kind: str | None = None,
) -> Outline:
    """Draw an outline.

    Args:
        frame: The square.
        rng: The generator.
        radius: About half its width in pixels.
        centre: Where its middle is, (y, x) in pixels from the middle of the square.
        kind: Its kind; drawn by default.

    Returns:
        The outline, rough and bent.
    """
    if kind is None:
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    axis = float(rng.uniform(0, 2 * np.pi))
    y, x = frame.grid
    bend = float(rng.uniform(0, 0.12)) * radius
    if bend > 1:
        wavelength = float(rng.uniform(1.5, 4.0)) * radius
        y = y + bend * smooth_field(frame, rng, wavelength=wavelength)
        x = x + bend * smooth_field(frame, rng, wavelength=wavelength)
    y, x = y - centre[0], x - centre[1]
    c, s = math.cos(axis), math.sin(axis)
    v, u = y * c - x * s, y * s + x * c  # across and along the axis
    depth = _SHAPES[kind](v, u, radius, rng)
    if kind == "band" and rng.random() < 0.5:
        kind, depth = "ring", _ring(v, u, radius, rng)
    elif kind in ("star", "box", "blobs") and rng.random() < OPENED:
        depth = np.minimum(depth, _opening(v, u, radius, rng))
    depth = depth + _roughness(frame, rng, radius)
    slope_limited = as_distance(depth, least=0.25)
    return Outline(kind, slope_limited, radius, axis)


def _roughness(frame: Frame, rng: np.random.Generator, radius: float) -> Float32 | float:
    """A coarse and a fine unevenness of the surface, in pixels."""
    total: Float32 | float = 0.0
    if rng.random() < 0.7:
        height = radius * float(np.exp(rng.uniform(np.log(0.005), np.log(0.05))))
        total = total + height * smooth_field(
            frame, rng, wavelength=float(rng.uniform(0.3, 1)) * radius
        )
    if rng.random() < 0.5:
        length = float(np.exp(rng.uniform(np.log(6), np.log(40))))
        height = min(float(rng.uniform(0.1, 1.5)), 0.1 * length)
        total = total + height * smooth_field(frame, rng, wavelength=length)
    return total


def _star(v: Float32, u: Float32, radius: float, rng: np.random.Generator) -> Float32:
    """An oval with lobes: shafts, joint ends, vertebral bodies from above."""
    aspect = float(rng.uniform(0.5, 1.0))
    rho = np.sqrt((v / aspect) ** 2 + u**2) + 1e-3
    theta = np.arctan2(v / aspect, u)
    outline = np.ones_like(rho)
    strength = float(rng.uniform(0, 0.25))
    for order in range(2, 8):
        height = strength * rng.normal() / order
        if abs(height) > 0.004:
            outline += height * np.cos(order * theta + rng.uniform(0, 6.3))
    return np.asarray((radius * outline - rho) * aspect)


def _box(v: Float32, u: Float32, radius: float, rng: np.random.Generator) -> Float32:
    """A box with rounded corners: cubes and cores, vertebral bodies, tarsals."""
    aspect = float(rng.uniform(0.3, 1.0))
    corner = float(rng.uniform(0.0, 0.5)) * aspect * radius
    qv = np.abs(v) - (aspect * radius - corner)
    qu = np.abs(u) - (radius - corner)
    outside = np.sqrt(np.maximum(qv, 0) ** 2 + np.maximum(qu, 0) ** 2)
    return np.asarray(corner - outside - np.minimum(np.maximum(qv, qu), 0))


def _hourglass(v: Float32, u: Float32, radius: float, rng: np.random.Generator) -> Float32:
    """Wide at both ends: a vertebral body from the side, a phalanx, a long bone cut lengthwise."""
    long = float(np.exp(rng.uniform(np.log(0.7), np.log(3.0))))
    half = radius * long
    t = np.clip(u / half, -1, 1)
    waist, skew = float(rng.uniform(0.1, 0.55)), float(rng.uniform(-0.4, 0.4))
    power = float(rng.choice([2, 4]))
    width = radius * (1 - waist * (1 - np.abs(t) ** power) + skew * t * waist)
    side = width - np.abs(v)
    dome = float(rng.uniform(-0.12, 0.3)) * radius
    end = half + dome * (1 - (v / radius) ** 2).clip(-1, 1) - np.abs(u)
    return _blend(
        np.asarray(side, np.float32),
        np.asarray(end, np.float32),
        0.3 * radius * float(rng.random()),
    )


def _blobs(v: Float32, u: Float32, radius: float, rng: np.random.Generator) -> Float32:
    """Several rounded parts grown together: irregular bones, processes, small skeletons."""
    depth = np.full(np.broadcast_shapes(v.shape, u.shape), -1e3, dtype=np.float32)
    width = float(rng.uniform(0.1, 0.6)) * radius
    for number in range(int(rng.integers(2, 7))):
        part = radius * float(rng.uniform(0.25, 0.75))
        angle, away = (
            rng.uniform(0, 2 * np.pi),
            radius * float(rng.uniform(0.1, 0.8)) * (number > 0),
        )
        turn, flat = float(rng.uniform(0, np.pi)), float(rng.uniform(0.3, 1.0))
        pv, pu = v - away * math.sin(angle), u - away * math.cos(angle)
        a = pv * math.cos(turn) - pu * math.sin(turn)
        b = pv * math.sin(turn) + pu * math.cos(turn)
        one = flat * (part - np.sqrt((a / flat) ** 2 + b**2))
        depth = _united(depth, one, width)
    return depth


def _band(v: Float32, u: Float32, radius: float, rng: np.random.Generator) -> Float32:
    """A straight or curved strip: ribs, skull vaults, blades, shafts cut lengthwise."""
    half = radius * float(np.exp(rng.uniform(np.log(0.05), np.log(0.4))))
    curve = float(rng.uniform(0.8, 4.0)) * radius * (1 if rng.random() < 0.5 else -1)
    rho = np.sqrt((v - curve) ** 2 + u**2)
    across = np.abs(rho - abs(curve))
    taper = 1 + rng.uniform(-0.4, 0.4) * np.clip(u / radius, -1, 1)
    side = half * taper - across
    end = radius - np.abs(np.arctan2(u, np.abs(v - curve))) * abs(curve)
    return _blend(np.asarray(side, np.float32), np.asarray(end, np.float32), half)


def _ring(v: Float32, u: Float32, radius: float, rng: np.random.Generator) -> Float32:
    """A closed thin band with outside within: a braincase, an orbit, a vertebral arch."""
    aspect = float(rng.uniform(0.6, 1.0))
    half = radius * float(np.exp(rng.uniform(np.log(0.03), np.log(0.1))))
    rho = np.sqrt((v / aspect) ** 2 + u**2)
    theta = np.arctan2(v, u)
    thick = half * (1 + 0.4 * np.cos(int(rng.integers(1, 4)) * theta + rng.uniform(0, 6.3)))
    side = np.asarray(thick - np.abs(rho - radius) * aspect, np.float32)
    for _ in range(int(rng.integers(0, 4))):  # sutures and foramina
        gap = np.abs(np.angle(np.exp(1j * (theta - rng.uniform(0, 6.3))))) * radius
        width = float(rng.uniform(0.5, 4.0)) + radius * 0.06 * float(rng.random() < 0.3)
        side = np.minimum(side, np.asarray(gap - width, np.float32))
    return side


def _vertebra(v: Float32, u: Float32, radius: float, rng: np.random.Generator) -> Float32:
    """A body, an arch around a canal that is outside, and processes: a vertebra from above."""
    wide, high = (radius * float(rng.uniform(*limits)) for limits in ((0.4, 0.65), (0.3, 0.5)))
    middle = -radius + high
    body = high * (1 - np.sqrt(((v - middle) / high) ** 2 + (u / wide) ** 2))
    canal = radius * float(rng.uniform(0.12, 0.35))
    flat = float(rng.uniform(0.6, 1.2))
    at = middle + high + canal * flat * float(rng.uniform(0.7, 1.0))
    rho = np.sqrt(((v - at) / flat) ** 2 + u**2)
    wall = radius * float(np.exp(rng.uniform(np.log(0.05), np.log(0.3))))
    depth = _united(body, canal + wall - rho, 0.3 * wall)
    spine, thick = float(rng.uniform(0, 0.6)) * radius, radius * float(rng.uniform(0.04, 0.15))
    length = np.maximum(np.abs(v - at - canal * flat - spine / 2) - spine / 2, 0)
    depth = _united(depth, thick - np.hypot(length, u), 0.5 * thick)
    reach, turn = float(rng.uniform(0.3, 0.9)) * radius, float(rng.uniform(-0.5, 0.6))
    side = np.abs(u)  # processes on both sides
    along = (side - canal) * math.cos(turn) + (v - at) * math.sin(turn)
    across = (v - at) * math.cos(turn) - (side - canal) * math.sin(turn)
    beyond = np.maximum(np.abs(along - reach / 2) - reach / 2, 0)
    depth = _united(depth, 1.3 * thick - np.hypot(beyond, across), 0.5 * thick)
    if rng.random() < 0.15:  # the arch is open: not grown together, or cut beside its middle
        gap = np.abs(u) - float(rng.uniform(0.02, 0.1)) * radius
        depth = np.where(v > at, np.minimum(depth, gap), depth)
    return np.asarray(np.minimum(depth, (rho - canal) * min(flat, 1.0)), dtype=np.float32)


def _opening(v: Float32, u: Float32, radius: float, rng: np.random.Generator) -> Float32:
    """Signed distance from one or two round openings, positive outside of them."""
    away = np.full(np.broadcast_shapes(v.shape, u.shape), 1e3, dtype=np.float32)
    for _ in range(int(rng.integers(1, 3))):
        hole, flat = radius * float(rng.uniform(0.08, 0.35)), float(rng.uniform(0.5, 1.0))
        angle, far = float(rng.uniform(0, 2 * np.pi)), radius * float(rng.uniform(0, 0.5))
        pv, pu = v - far * math.sin(angle), u - far * math.cos(angle)
        np.minimum(away, (np.sqrt((pv / flat) ** 2 + pu**2) - hole) * flat, out=away)
    return away


def _united(a: npt.NDArray[Any], b: npt.NDArray[Any], width: float) -> Float32:
    """Maximum whose crease is rounded over ``width``."""
    return -_blend(np.asarray(-a, np.float32), np.asarray(-b, np.float32), width)


def _islands(v: Float32, u: Float32, radius: float, rng: np.random.Generator) -> Float32:
    """What a random threshold leaves within an oval: fragments, nasal bones, mesh."""
    oval = radius - np.sqrt(v**2 + u**2)
    level = np.zeros_like(oval)
    for _ in range(8):
        a = rng.uniform(0, 2 * np.pi)
        k = 2 * np.pi / (radius * rng.uniform(0.35, 0.9))
        level += np.cos(k * (v * math.sin(a) + u * math.cos(a)) + rng.uniform(0, 6.3))
    inside = (level * 0.5 + rng.uniform(-0.3, 0.6)) * (0.1 * radius)
    return _blend(oval, inside, 0.1 * radius)


def _blend(a: Float32, b: Float32, width: float) -> Float32:
    """Minimum whose crease is rounded over ``width`` (polynomial of degree 2)."""
    if width < 1e-3:
        return np.minimum(a, b)
    h = np.maximum(width - np.abs(a - b), 0) / width
    return np.asarray(np.minimum(a, b) - h * h * (width / 4), dtype=np.float32)


_SHAPES = {
    "star": _star,
    "box": _box,
    "hourglass": _hourglass,
    "blobs": _blobs,
    "band": _band,
    "islands": _islands,
    "vertebra": _vertebra,
}
