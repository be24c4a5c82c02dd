"""The presets of augmentation, as rows; implementations are in ``osteon.augment``.

Capabilities of a row:
    strength: True where the target is a class made with ``strength=`` (see
        :func:`osteon.augment.load_augmentation`); without it the target is the augmentation.
"""

from __future__ import annotations

from osteon.registry import Row, Table

AUGMENTATIONS = Table(
    "augmentations",
    (
        Row("none", "no augmentation", "osteon.augment:identity"),
        Row(
            "geometric",
            "one flip or right-angle rotation; grey values stay as they are",
            "osteon.augment:geometric",
        ),
        Row(
            "reference",
            "the paper's: one flip or right-angle rotation, a shift and a scale of intensities",
            "osteon.augment:reference",
        ),
        Row(
            "strong",
            "for CT: rotation, scale, elastic, noise, blur, gamma, contrast, cupping, rings, "
            "resolution; see augmentation.strength",
            "osteon.augment:Strong",
            {"strength": True},
        ),
    ),
)
