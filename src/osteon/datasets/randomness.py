"""Random generators that depend on nothing but what they are for."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a generator is for; the numbers never change, or fits could not be repeated."""

    BOXES = 1
    AUGMENTATION = 2
    SPLIT = 3
    FOLDS = 4
    HOLDING_BOXES = 5
    CONTEXT = 6
    REDUCED = 7


def generator(
    seed: int, *, purpose: Purpose, epoch: int = 0, index: int = 0
) -> np.random.Generator:
    """Return the generator of one purpose, epoch and index.

    Args:
        seed: Seed of the fit, 0..2**32 - 1.
        purpose: What it is for.
        epoch: Epoch, from 0.
        index: Item of the epoch, from 0.

    Returns:
        A Philox generator; different arguments give independent streams.
    """
    entropy = np.random.SeedSequence([seed, epoch, index, int(purpose)])
    return np.random.Generator(np.random.Philox(entropy))
