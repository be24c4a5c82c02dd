"""The settings of the clean-up of labels, class by class."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from osteon.settings.base import Settings

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(voxels?|um3|um\^3|µm3|µm³)\s*")


class CleanUpSettings(Settings):
    """What is tidied in the labels of each class; nothing unless it is asked for."""

    largest: tuple[str, ...] | None = Field(
        None,
        description="Classes of which only the largest object stays, such as [bone]. Objects are "
        "what holds together by faces, edges or corners.",
    )
    smallest: dict[str, str] | None = Field(
        None,
        description="Smallest object that stays, by class, in voxels or µm³: "
        "cleanup.smallest.bone=500voxels or =20000um3. What goes becomes the class around it.",
    )
    holes: dict[str, str] | None = Field(
        None,
        description="Largest hole that is filled, by class, in voxels or µm³. A hole is whatever "
        "other class the class encloses on all sides: with bone, pores go as well.",
    )

    @field_validator("smallest", "holes", mode="before")
    @classmethod
    def _sizes(cls, value: object) -> object:
        for text in value.values() if isinstance(value, dict) else ():
            if not isinstance(text, str) or not _SIZE.fullmatch(text):
                raise ValueError(
                    f"'{text}' is no size: give voxels or µm³, such as 500voxels or 20000um3"
                )
        return value

    @property
    def asked(self) -> bool:
        """Whether anything is to be tidied."""
        return bool(self.largest or self.smallest or self.holes)


def parse_size(text: str) -> tuple[float, bool]:
    """Read the size of an object.

    Args:
        text: A number with its unit, such as ``500voxels`` or ``20000um3``.

    Returns:
        The number, and whether it is in µm³ (else voxels).

    Raises:
        ValueError: If it is not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is no size")
    return float(match[1]), not match[2].startswith("voxel")
