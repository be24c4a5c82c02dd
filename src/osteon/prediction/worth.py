"""Whether an int8 network saves more time than it takes to make and to check, by measured pace."""

from __future__ import annotations

import math
from dataclasses import dataclass

from osteon.prediction.forecast import extent_at_once, in_time, seconds_per_voxel
from osteon.prediction.running import Job

#: How many times faster int8 is taken to be before it was run: what was seen of a U-Net/ResNet-18
#: on a CPU with AVX2 alone. What it is found to be decides whether it is used.
EXPECTED = 1.9
#: Quantising takes as long as so many full-precision runs over the samples, and so many seconds
#: beside: a third more than what was seen (docs/backends.md).
PASSES, BESIDE = 4.0, 12.0


@dataclass(frozen=True)
class Worth:
    """What int8 may save, and what it takes to know, in seconds.

    Attributes:
        needed: The rest of the scan in full precision.
        saved: What of that int8 may save.
        cost: To make and to check the network.
    """

    needed: float
    saved: float
    cost: float

    @property
    def pays(self) -> bool:
        """Whether it saves more than it costs."""
        return self.saved > self.cost

    def in_words(self) -> str:
        """Describe it to a person."""
        return (
            f"full precision takes about {in_time(self.needed)}, of which int8 may save "
            f"{in_time(self.saved)}, and making and checking it about {in_time(self.cost)}"
        )


def worth(job: Job, needed: float, *, samples: int, places: int, inputs: int) -> Worth:
    """Estimate whether int8 pays, by the pace of the network in full precision.

    Runs the network twice on a small input.

    Args:
        job: The prediction.
        needed: Seconds that full precision takes for what is left of the scan.
        samples: Voxels (one channel) that the network is quantised from.
        places: Slices that are held back for the comparison.
        inputs: The most inputs that are compared in each.

    Returns:
        The estimate.
    """
    pace, plan = seconds_per_voxel(job), job.plan
    one = pace * math.prod(extent_at_once(job))
    # The first input is run once more by each, as the first call of a shape takes longer.
    compared = (places * min(inputs, plan.tiles) + 1) * one * (1 + 1 / EXPECTED)
    cost = BESIDE + PASSES * pace * samples + compared
    return Worth(needed, needed * (1 - 1 / EXPECTED), cost)
