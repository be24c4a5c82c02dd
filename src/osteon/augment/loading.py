"""A preset by its name and strength."""

from __future__ import annotations

from osteon.augment.base import Augmentation
from osteon.errors import UsageError
from osteon.tables.augmentations import AUGMENTATIONS


def load_augmentation(name: str, strength: float = 1.0) -> Augmentation:
    """Return an augmentation of the table.

    Args:
        name: Its name.
        strength: Scales the probabilities and sizes of its changes, where the row says that it
            has a strength; 1 is as documented.

    Raises:
        UsageError: If there is no such augmentation, or it has no strength and one is given.
        TypeError: If a third party's row is not callable.
    """
    loaded = AUGMENTATIONS.load(name)
    if not callable(loaded):
        raise TypeError(f"the row '{name}' of augmentations cannot be called")
    if AUGMENTATIONS.row(name).capabilities.get("strength"):
        made: Augmentation = loaded(strength=strength)
        return made
    if strength != 1:
        raise UsageError(
            f"the augmentation '{name}' has no strength",
            where=f"augmentation.strength={strength:g}",
            mend="leave the strength at 1, or choose a preset that has one (strong)",
        )
    return loaded
