"""Growth plates, lesions, holes, cracks and sutures: bodies that change a bone.

Each gives a signed distance in µm, positive inside the body, and says in its docstring how what
it holds is labelled (docs/labelling.md). Positions are in the bone's own frame (z, y, x): its
middle at 0, its axis along z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.simulation.randomness import SmoothField

Float32 = npt.NDArray[np.float32]
Triple = tuple[float, float, float]


#: A growth plate ends at this many times its rim: bones are lobed, and have processes.
BEYOND_RIM = 1.35


@dataclass(frozen=True)
class GrowthPlate:
    """A curved, wavy sheet of cartilage across the axis of a bone, between two lamellae of bone.

    Cartilage is not judged (255), as "cartilage of a growth plate: ignore" says; its calcified
    part is bone, as "calcified cartilage: bone" says, and so are the lamellae.

    Attributes:
        height_um: Where it crosses the axis.
        thickness_um: Thickness of the sheet.
        bow_um: By how much its middle is higher than its rim.
        rim_um: Distance from the axis at which the bow is gone.
        wave_um: Standard deviation of its waves.
        lamella_um: Thickness of the bone on either side.
        calcified: Share of its thickness that is calcified, on the shaft's side, 0..0.9.
    """

    height_um: float
    thickness_um: float
    bow_um: float = 0.0
    rim_um: float = 1.0
    wave_um: float = 0.0
    lamella_um: float = 0.0
    calcified: float = 0.0

    def __post_init__(self) -> None:
        if self.thickness_um <= 0 or self.rim_um <= 0 or min(self.lamella_um, self.wave_um) < 0:
            raise UsageError("a growth plate has a positive thickness and rim")
        if not 0 <= self.calcified <= 0.9:
            raise UsageError(f"0 to 0.9 of a growth plate is calcified, not {self.calcified}")


@dataclass(frozen=True)
class Lesion:
    """A cavity with a rough wall, or an opened one.

    One that breaks through the envelope is open to the outside and so background ("a lesion or
    drill hole that is open to the outside: background"); one that does not is pores.

    Attributes:
        at_um: Its middle.
        radius_um: Its mean radius.
        roughness: Standard deviation of its surface over its radius.
    """

    at_um: Triple
    radius_um: float
    roughness: float = 0.15

    def __post_init__(self) -> None:
        if self.radius_um <= 0 or self.roughness < 0:
            raise UsageError("a lesion has a positive radius and no negative roughness")


@dataclass(frozen=True)
class Hole:
    """A straight round hole from outside: a drill hole, a nutrient foramen, the seat of a pin.

    What a drill hole holds is background ("open to the outside"). A hole narrower than the bone's
    ``closed_below_um`` is a foramen: the envelope is closed flat across it, what it holds is
    pores. Metal in a hole is background.

    Attributes:
        at_um: Where its axis begins, outside the bone.
        direction: Its direction.
        length_um: Its length.
        diameter_um: Its diameter.
        pin: Whether a metal pin fills it.
    """

    at_um: Triple
    direction: Triple
    length_um: float
    diameter_um: float
    pin: bool = False

    def __post_init__(self) -> None:
        if min(self.length_um, self.diameter_um) <= 0 or not any(self.direction):
            raise UsageError("a hole has a positive length and diameter, and a direction")


@dataclass(frozen=True)
class Sheet:
    """A thin gap through mineralised bone: a crack, or a suture between two flat bones.

    A crack is not judged (255): "a crack: ignore". Across a suture the envelope is closed flat,
    as across a foramen: it is pores if at least 3 voxels wide; a narrower one is not judged, as
    it can neither be drawn reliably nor is it bone.

    Attributes:
        kind: ``crack`` or ``suture``.
        at_um: A point of it.
        normal: Its normal.
        width_um: Its width.
        extent_um: How far it reaches from that point.
        wave_um: Standard deviation of its waves.
        wavelength_um: Shortest length of its waves.
    """

    kind: Literal["crack", "suture"]
    at_um: Triple
    normal: Triple
    width_um: float
    extent_um: float
    wave_um: float = 0.0
    wavelength_um: float = 100.0

    def __post_init__(self) -> None:
        if min(self.width_um, self.extent_um, self.wavelength_um) <= 0 or not any(self.normal):
            raise UsageError("a crack has a positive width and extent, and a normal")


Feature = GrowthPlate | Lesion | Hole | Sheet
Positions = Sequence[Float32]


def growth_plate(
    spec: GrowthPlate, at: Positions, wave: SmoothField
) -> tuple[Float32, Float32, Float32]:
    """Return the distances from a growth plate's cartilage, its calcified part and its lamellae.

    Args:
        spec: The growth plate.
        at: Positions (z, y, x) in µm in the bone's frame, broadcasting.
        wave: Its waves.

    Returns:
        Three arrays in µm, positive inside; the lamellae include what lies between them.
    """
    z, y, x = at
    rim2 = np.float32(spec.rim_um**2)
    middle = np.float32(spec.bow_um) * (1 - (y**2 + x**2) / rim2)
    # Waves depend on the place across the axis alone, so that the sheet keeps its thickness.
    flat = np.zeros((1, 1, 1))
    if spec.wave_um > 0:
        wavy = wave(flat, y.astype(np.float64), x.astype(np.float64))
        middle = middle + np.asarray(spec.wave_um * wavy, dtype=np.float32)
    height = z - np.float32(spec.height_um) - middle
    half = np.float32(spec.thickness_um / 2)
    # It crosses the bone that it is drawn for, not the processes beside it.
    away = np.float32(BEYOND_RIM * spec.rim_um) - np.sqrt(y**2 + x**2)
    both = np.minimum(half - np.abs(height), away)
    border = np.float32(-spec.thickness_um / 2 + spec.calcified * spec.thickness_um)
    soft = np.minimum(both, height - border) if spec.calcified > 0 else both
    hard = np.minimum(both, border - height)
    return soft, hard, np.minimum(both + np.float32(spec.lamella_um), away)


def lesion(spec: Lesion, at: Positions, rough: SmoothField) -> Float32:
    """Return the distance from a lesion in µm, positive inside.

    Args:
        spec: The lesion.
        at: Positions (z, y, x) in µm in the bone's frame, broadcasting.
        rough: Its roughness.
    """
    z, y, x = (p - np.float32(c) for p, c in zip(at, spec.at_um, strict=True))
    out = np.float32(spec.radius_um) - np.sqrt(z**2 + y**2 + x**2)
    if spec.roughness > 0:
        bump = rough(*(p.astype(np.float64) for p in at))
        out += np.asarray(spec.roughness * spec.radius_um * bump, dtype=np.float32)
    return np.asarray(out, dtype=np.float32)


def hole(spec: Hole, at: Positions) -> Float32:
    """Return the distance from a hole in µm, positive inside.

    Args:
        spec: The hole.
        at: Positions (z, y, x) in µm in the bone's frame, broadcasting.
    """
    d = [p - np.float32(c) for p, c in zip(at, spec.at_um, strict=True)]
    axis = _unit(spec.direction)
    along = sum(p * np.float32(v) for p, v in zip(d, axis, strict=True))
    away = np.sqrt(np.maximum(sum(p**2 for p in d) - along**2, 0))
    ends = np.minimum(along, np.float32(spec.length_um) - along)
    return np.asarray(np.minimum(np.float32(spec.diameter_um / 2) - away, ends), dtype=np.float32)


def sheet(spec: Sheet, at: Positions, wave: SmoothField) -> Float32:
    """Return the distance from a crack or suture in µm, positive inside.

    Args:
        spec: The sheet.
        at: Positions (z, y, x) in µm in the bone's frame, broadcasting.
        wave: Its waves.
    """
    d = [p - np.float32(c) for p, c in zip(at, spec.at_um, strict=True)]
    height = sum(p * np.float32(v) for p, v in zip(d, _unit(spec.normal), strict=True))
    away = np.sqrt(sum(p**2 for p in d))
    if spec.wave_um > 0:
        wavy = wave(*(p.astype(np.float64) for p in at))
        height = height + np.asarray(spec.wave_um * wavy, dtype=np.float32)
    out = np.minimum(np.float32(spec.width_um / 2) - np.abs(height), spec.extent_um - away)
    return np.asarray(out, dtype=np.float32)


def _unit(direction: Triple) -> Triple:
    z, y, x = direction
    length = float(np.sqrt(z * z + y * y + x * x))
    return z / length, y / length, x / length
