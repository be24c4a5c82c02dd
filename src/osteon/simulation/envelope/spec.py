"""What the outer shape of a bone is described by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from osteon.errors import UsageError

Shape = Literal["shaft", "end", "vertebra", "ball", "plate", "rib", "skull"]

#: Shapes that are a wall of ``wall_um`` and need one.
WALLED = ("plate", "skull")


@dataclass(frozen=True)
class ArchSpec:
    """The arch of a vertebra, behind its body (towards +y); lengths in µm.

    The vertebral canal goes through it along z, open at both ends: it is background, as
    docs/labelling.md asks.

    Attributes:
        canal_um: Half the width of the vertebral canal along x; along y it is 0.85 of that.
        wall_um: Thickness of the arch.
        height: Height of the arch over that of the body.
        spinous_um: Length of the spinous process, 0 for none.
        transverse_um: Length of the transverse processes, 0 for none.
    """

    canal_um: float
    wall_um: float
    height: float = 0.6
    spinous_um: float = 0.0
    transverse_um: float = 0.0

    def __post_init__(self) -> None:
        if min(self.canal_um, self.wall_um, self.height) <= 0:
            raise UsageError("canal, wall and height of a vertebral arch must be positive")
        if min(self.spinous_um, self.transverse_um) < 0:
            raise UsageError("the length of a process cannot be negative")


@dataclass(frozen=True)
class EnvelopeSpec:
    """The outer shape of a bone around an axis near z; all lengths in µm, angles in radians.

    Attributes:
        shape: ``shaft`` goes on beyond the field of view at both ends; ``end`` is closed by a
            rounded cap at high z and flares towards it; ``vertebra`` is closed at both ends, with
            a waist and perhaps an arch; ``plate`` is a flat or curved bone, thin along x; ``rib``
            is a rod along an arc of a circle; ``skull`` is a braincase and a snout whose walls
            enclose background: braincase, nasal cavity and orbits; ``ball`` is a sphere of
            ``radius_um``, for tests and phantoms.
        radius_um: Half the width along x (of the widest cross-section, before lobes); of a plate
            along y; of a rib half its thickness in the plane of the arc.
        length_um: Length along the axis; of a shaft without meaning.
        aspect: Width along y over that along x; of a plate without meaning.
        exponent: Of the superellipse of the cross-section (of a plate's outline): 2 an ellipse, 4
            a rounded box, from 50 on a rectangle.
        lobes: (order, relative amplitude, phase) of each wave of the outline around the axis.
        waist: How much narrower a vertebra is at mid-height, 0..1.
        flare: How much narrower an end is at its shaft than at its head, 0..1.
        rounding_um: Over what distance side and end faces run into each other.
        bend_um: By how much the axis leaves a straight line, over ``length_um``; of a plate how
            deep it is curved.
        tilt: Tilt of the axis towards y and x.
        roughness_um: Standard deviation of a smooth displacement of the surface.
        centre_um: The middle of the bone in the field of view (z, y, x); 0 is its middle.
        turn: Rotation of the whole bone about z, from x towards y.
        lean: By how much its axis leans from z towards x, before it is turned.
        wall_um: Thickness of a plate, or of the walls of a skull.
        ridge_um: Height of a ridge on a plate, such as the spine of a scapula; 0 for none.
        opening_um: Width of the foramen magnum of a skull; 0 for none: the braincase is
            background all the same.
        arch: The arch of a vertebra, None for a body alone.
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
    turn: float = 0.0
    lean: float = 0.0
    wall_um: float = 0.0
    ridge_um: float = 0.0
    opening_um: float = 0.0
    arch: ArchSpec | None = None

    def __post_init__(self) -> None:
        if min(self.radius_um, self.length_um, self.aspect) <= 0:
            raise UsageError("radius, length and aspect of a bone must be positive")
        if not (0 <= self.waist < 1 and 0 <= self.flare < 1):
            raise UsageError("waist and flare of a bone must be at least 0 and less than 1")
        if min(self.wall_um, self.ridge_um, self.opening_um) < 0:
            raise UsageError("wall, ridge and opening of a bone cannot be negative")
        if self.shape in WALLED and not 0 < self.wall_um < self.radius_um:
            raise UsageError(
                f"a {self.shape} has a wall thinner than its radius, not {self.wall_um:g} µm"
            )
