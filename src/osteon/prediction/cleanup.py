"""Clean-up of labels by class: the largest object, specks, and holes, in space.

Objects hold together by faces, edges or corners (26 neighbours), holes by faces (6): a hole cannot
leak through a corner of what encloses it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import cc3d
import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.labels import LabelScheme
from osteon.settings.cleaning import CleanUpSettings, parse_size
from osteon.volume import Volume

Labels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[Any]
#: Labels, the mask of a class, and the numbers of its objects (four bytes).
BYTES_PER_VOXEL = 6
_OBJECTS: Final = 26
_HOLES: Final = 6


@dataclass(frozen=True)
class Rule:
    """What is tidied in one class; sizes in voxels.

    Attributes:
        name: The class.
        value: Its value.
        largest: Whether only its largest object stays.
        smallest: Smallest object that stays; 0: all stay.
        hole: Largest hole that is filled; 0: none is.
    """

    name: str
    value: int
    largest: bool = False
    smallest: int = 0
    hole: int = 0


@dataclass
class Tidied:
    """What a clean-up did to a class.

    Attributes:
        objects: Objects that were taken away.
        object_voxels: Their voxels.
        holes: Holes that were filled.
        hole_voxels: Their voxels.
    """

    objects: int = 0
    object_voxels: int = 0
    holes: int = 0
    hole_voxels: int = 0


@dataclass
class CleanUp:
    """A clean-up that can be done.

    Attributes:
        rules: One a class, in order of the classes.
        tidied: What was done, by name of the class.
    """

    rules: tuple[Rule, ...]
    tidied: dict[str, Tidied] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description."""
        return {
            rule.name: asdict(rule) | asdict(self.tidied.get(rule.name, Tidied()))
            for rule in self.rules
        }

    def in_words(self) -> str:
        """Say what was done."""
        said = [
            f"{name}: {t.objects} objects ({t.object_voxels} voxels) taken away, "
            f"{t.holes} holes ({t.hole_voxels} voxels) filled"
            for name, t in self.tidied.items()
        ]
        return "clean-up: " + "; ".join(said)

    def run(self, labels: Labels) -> None:
        """Tidy labels in place: first objects, class by class, then holes.

        Holds 5 bytes a voxel beside the labels.

        Args:
            labels: (z, y, x) of the whole scan.
        """
        for rule in self.rules:
            self.tidied[rule.name] = Tidied()
        for rule in self.rules:
            if rule.largest or rule.smallest > 1:
                _objects(labels, rule, self.tidied[rule.name])
        for rule in self.rules:
            if rule.hole:
                _fill(labels, rule, self.tidied[rule.name])


def plan_cleanup(
    volume: Volume, labels: LabelScheme, settings: CleanUpSettings, *, memory: int
) -> CleanUp | None:
    """Check that a clean-up can be done, before the network runs.

    Args:
        volume: The scan.
        labels: Its classes.
        settings: What is asked for.
        memory: Bytes that may be held; a clean-up holds the whole label volume and the numbers of
            the objects, 6 bytes a voxel.

    Returns:
        The clean-up; None if nothing is asked for.

    Raises:
        UsageError: If there is no such class, sizes are in µm³ and the voxel size is not known, or
            the memory does not suffice.
    """
    if not settings.asked:
        return None
    needed = math.prod(volume.shape) * BYTES_PER_VOXEL
    if needed > memory:
        raise UsageError(
            f"the clean-up holds the labels of the whole scan, {needed / 2**20:.0f} MiB, and "
            f"{memory / 2**20:.0f} MiB are allowed",
            where=volume.path,
            mend=f"--memory {math.ceil(needed / 2**20)}MiB, or predict without cleanup",
        )
    largest, smallest, holes = settings.largest or (), settings.smallest or {}, settings.holes or {}
    asked = {*largest, *smallest, *holes}
    for name in sorted(asked - set(labels.names)):
        raise UsageError(
            f"there is no class '{name}' to clean up",
            where="cleanup",
            mend=f"use one of: {', '.join(labels.names)}",
        )
    return CleanUp(
        tuple(
            Rule(
                c.name,
                c.value,
                largest=c.name in largest,
                smallest=math.ceil(_voxels(volume, smallest, c.name)),
                hole=math.floor(_voxels(volume, holes, c.name)),
            )
            for c in labels.classes
            if c.name in asked
        )
    )


def _voxels(volume: Volume, sizes: Mapping[str, str], name: str) -> float:
    """A size in voxels; 0 where none is given."""
    if name not in sizes:
        return 0.0
    number, in_um3 = parse_size(sizes[name])
    if not in_um3:
        return number
    edges = [edge for edge in volume.geometry.voxel_size if edge is not None]
    if len(edges) != len(volume.geometry.voxel_size):
        raise UsageError(
            f"the size {sizes[name]} of '{name}' needs the voxel size, which is not known",
            where=volume.path,
            mend="give --voxel-size, or the size in voxels",
        )
    return number / math.prod(edges)


def _objects(labels: Labels, rule: Rule, tidied: Tidied) -> None:
    """Give objects that are not to stay to the class that has most of the faces around them."""
    numbers = cc3d.connected_components(labels == rule.value, connectivity=_OBJECTS)
    sizes = _sizes(numbers)
    goes = sizes < rule.smallest
    if rule.largest and sizes.size > 1:
        goes |= np.arange(sizes.size) != 1 + sizes[1:].argmax()
    goes[0] = False
    if not goes.any():
        return
    faces = _faces(labels, numbers, goes, rule.value)
    goes &= faces.any(1)  # what fills the scan has nothing around it, and stays
    becomes = faces.argmax(1).astype(np.uint8)
    for plane, objects in zip(labels, numbers, strict=True):
        gone = goes[objects]
        plane[gone] = becomes[objects[gone]]
    tidied.objects, tidied.object_voxels = int(goes.sum()), int(sizes[goes].sum())


def _faces(
    labels: Labels, numbers: Numbers, goes: npt.NDArray[np.bool_], value: int
) -> npt.NDArray[np.int64]:
    """Count the faces between objects that go and each other class: (object, class)."""
    classes = int(labels.max()) + 1
    found = np.zeros((goes.size, classes), np.int64)

    def count(objects: Numbers, around: Labels) -> None:
        faces = goes[objects] & (around != value)
        np.add.at(found, (objects[faces], around[faces]), 1)

    for z in range(labels.shape[0]):
        plane, objects = labels[z], numbers[z]
        for a, b in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            count(objects[a], plane[b])
            count(objects[:, a], plane[:, b])
        for other in (z - 1, z + 1):
            if 0 <= other < labels.shape[0]:
                count(objects, labels[other])
    return found


def _fill(labels: Labels, rule: Rule, tidied: Tidied) -> None:
    """Fill what a class encloses; what touches an end of the scan is open."""
    numbers = cc3d.connected_components(labels != rule.value, connectivity=_HOLES)
    sizes = _sizes(numbers)
    goes = sizes <= rule.hole
    goes[0] = False
    for axis in range(numbers.ndim):
        for end in (0, -1):
            goes[np.unique(numbers.take(end, axis))] = False
    for plane, holes in zip(labels, numbers, strict=True):
        plane[goes[holes]] = rule.value
    tidied.holes, tidied.hole_voxels = int(goes.sum()), int(sizes[goes].sum())


def _sizes(numbers: Numbers) -> npt.NDArray[np.int64]:
    """Voxels of each object by its number; 0 is what is no object. Counted slice by slice."""
    most = int(numbers.max())
    found = np.zeros(most + 1, np.int64)
    for plane in numbers:
        values, counts = np.unique(plane, return_counts=True)
        found[values] += counts
    return found
