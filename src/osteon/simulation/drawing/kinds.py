"""Kinds of scenes, how often each comes, and how large its bones are in the field of view."""

from __future__ import annotations

from dataclasses import dataclass

from osteon.errors import UsageError
from osteon.simulation.grids import Shape
from osteon.simulation.randomness import generator

Range = tuple[float, float]

#: Stream of random numbers that the order of the kinds comes from.
ORDER = 3


@dataclass(frozen=True)
class Kind:
    """One kind of scene.

    Attributes:
        help: What it shows.
        width: Width of a bone over that of the field of view.
        least: Slices and width in voxels of the smallest field of view that shows it.
        smaller: Width and cortex of its bones over those of the species' long bones.
    """

    help: str
    width: Range
    least: tuple[int, int] = (1, 1)
    smaller: float = 1.0


KINDS = {
    "shaft": Kind("shaft of a long bone", (0.4, 1.5)),
    "end": Kind("end of a long bone", (0.4, 1.5)),
    "vertebra": Kind("body of a vertebra", (0.4, 1.5)),
    "arch": Kind("vertebra with its canal and processes", (0.28, 0.5), (24, 96), 0.6),
    "flat": Kind("flat bone, such as scapula, ilium or skull cap", (0.6, 1.6), (16, 96)),
    "skull": Kind("small skull", (0.45, 0.9), (32, 96)),
    "rib": Kind("rib", (0.16, 0.4), (16, 96), 0.35),
    "several": Kind("two to seven long bones side by side", (0.16, 0.28), (16, 120), 0.4),
    "joint": Kind("two bones at a joint", (0.4, 1.0), (32, 96)),
    "interior": Kind("inside of a bone, no outside in view", (2.0, 4.0), (16, 96)),
}

#: One pack of kinds; each is dealt out whole before the next is shuffled.
DECK = (
    "shaft", "shaft", "end", "end", "vertebra", "arch", "flat", "skull", "rib", "several",
    "several", "joint", "interior",
)  # fmt: skip


def kind_of(*, seed: int, index: int) -> str:
    """Return the kind of a scan: each pack of :data:`DECK` in another order.

    Args:
        seed: Seed of the cohort.
        index: Number of the scan under the seed.

    Returns:
        A key of :data:`KINDS`.
    """
    pack, place = divmod(index, len(DECK))
    order = generator(seed, pack, ORDER).permutation(len(DECK))
    return DECK[int(order[place])]


def fits(kind: str, shape: Shape) -> bool:
    """Tell whether a field of view is large enough for a kind.

    Args:
        kind: A key of :data:`KINDS`.
        shape: (z, y, x) in voxels.

    Raises:
        UsageError: If there is no such kind.
    """
    if kind not in KINDS:
        raise UsageError(
            f"there is no kind of simulated scan '{kind}'",
            mend=f"choose one of: {', '.join(KINDS)}",
        )
    slices, width = KINDS[kind].least
    return shape[0] >= slices and min(shape[1:]) >= width
