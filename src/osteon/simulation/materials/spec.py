"""What is in and around bones, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from osteon.errors import UsageError

Range = tuple[float, float]

#: Relative attenuation, lowest and highest.
ETHANOL: Range = (0.10, 0.15)
WATER: Range = (0.13, 0.20)
PMMA: Range = (0.13, 0.20)
PLASTIC: Range = (0.13, 0.30)
FAT: Range = (0.09, 0.13)
CARTILAGE: Range = (0.16, 0.25)
#: Hydroxyapatite at 200 to 1,200 mg/cm³.
PHANTOM: Range = (0.33, 1.07)
#: Of titanium; steel is higher, and clipped by every grey window all the same.
METAL = 6.0
#: Shares of scans by what is around the bones; in a dry bone the pores hold air too.
MEDIA = {
    "air": 0.20,
    "ethanol": 0.12,
    "saline": 0.12,
    "muscle": 0.32,
    "pmma": 0.09,
    "dry": 0.15,
}


@dataclass(frozen=True)
class InteriorSpec:
    """What is unusual within bones; lengths in µm.

    Attributes:
        bubbles: Gas bubbles in the marrow of the field of view.
        bubble_um: Their mean radius.
        drained: Share of the field of view's height, from the top (low y), in which air has
            taken the marrow's place.
        outer_loss: Share of mineral that is missing at the outer surface (young bone).
        outer_um: Depth over which that falls to 1/e.
        inner_loss: Share of mineral that is missing deep in the bone (young trabeculae).
        inner_um: Depth at which 63 % of that is reached.
        cartilage: Attenuation of growth-plate cartilage.
    """

    bubbles: int = 0
    bubble_um: float = 100.0
    drained: float = 0.0
    outer_loss: float = 0.0
    outer_um: float = 100.0
    inner_loss: float = 0.0
    inner_um: float = 100.0
    cartilage: float = 0.2

    def __post_init__(self) -> None:
        if self.bubbles < 0 or min(self.bubble_um, self.outer_um, self.inner_um) <= 0:
            raise UsageError("bubbles and layers in a bone have positive sizes")
        if not (0 <= self.outer_loss < 1 and 0 <= self.inner_loss < 1 and 0 <= self.drained <= 1):
            raise UsageError("shares of mineral and air in a bone are 0 to 1")


@dataclass(frozen=True)
class SurroundingsSpec:
    """Things around bones: all of them background; lengths in µm.

    Attributes:
        medium: What is around, a key of :data:`MEDIA`: for the record, and for what of these goes
            with it.
        fat: Share of the medium that is streaks of fat, along z.
        streak_um: Distance of the streaks.
        vessels: Vessels through the medium, along z.
        vessel: How much more they attenuate than the medium.
        bubbles: Gas bubbles in the medium.
        bubble_um: Mean radius of bubbles; vessels are half as wide.
        bag_um: Distance of a thin bag from the bones, with air beyond it; None for no bag.
        film_um: Thickness of the bag.
        wall_um: Thickness of a tube's wall, None for a twentieth of its radius.
        foam: Attenuation of the walls of a foam holder, 0 for none.
        cell_um: Width of the foam's cells.
        threads: Threads across the field of view.
        thread_um: Their radius.
        rods: Attenuation of each rod of a phantom beside the bones, along z.
        rod_um: Radius of the rods.
        pins: Metal pins beside the bones.
        plastic: Attenuation of bag, threads and rods' holder.
    """

    medium: str = "air"
    fat: float = 0.0
    streak_um: float = 500.0
    vessels: int = 0
    vessel: float = 0.05
    bubbles: int = 0
    bubble_um: float = 100.0
    bag_um: float | None = None
    film_um: float = 50.0
    wall_um: float | None = None
    foam: float = 0.0
    cell_um: float = 500.0
    threads: int = 0
    thread_um: float = 50.0
    rods: tuple[float, ...] = ()
    rod_um: float = 500.0
    pins: int = 0
    plastic: float = 0.2

    def __post_init__(self) -> None:
        if self.medium not in MEDIA:
            raise UsageError(
                f"bones cannot be simulated in '{self.medium}'",
                mend=f"use one of: {', '.join(MEDIA)}",
            )
        if min(self.vessels, self.bubbles, self.threads, self.pins) < 0 or not 0 <= self.fat < 1:
            raise UsageError("numbers of things around a bone cannot be negative")
        sizes = (self.streak_um, self.bubble_um, self.film_um, self.cell_um, self.thread_um)
        if min(*sizes, self.rod_um) <= 0:
            raise UsageError("things around a bone have positive sizes")
