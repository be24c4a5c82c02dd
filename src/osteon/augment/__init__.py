"""Random changes of patches, so that a network generalises.

An augmentation takes a normalised patch and its labels and a generator, and returns new ones;
the same generator state gives the same result.
"""

from __future__ import annotations

from osteon.augment.base import ZSCORE_CLIP, Augmentation, Image, Labels, recording
from osteon.augment.loading import load_augmentation
from osteon.augment.presets import geometric, identity, reference
from osteon.augment.strong import Strong

__all__ = [
    "ZSCORE_CLIP",
    "Augmentation",
    "Image",
    "Labels",
    "Strong",
    "geometric",
    "identity",
    "load_augmentation",
    "recording",
    "reference",
]
