"""What random patches of slices and of blocks share: places, normalisation, augmentation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from osteon.augment import Image, Labels, load_augmentation
from osteon.datasets.masks import Pair
from osteon.datasets.randomness import Purpose, generator
from osteon.datasets.sampling import (
    Held,
    VoxelDraw,
    check_mode,
    isotropic,
    labels_of,
    matching_statistics,
    used_pairs,
    without_empty,
)
from osteon.datasets.slice_cache import SliceCache, read_direct
from osteon.datasets.splits import Part
from osteon.errors import UsageError
from osteon.intensity import Statistics, load_recipe, normalise
from osteon.labels import LabelScheme
from osteon.patches import Place, random_boxes
from osteon.settings import FitSettings, Mode
from osteon.volume import Array, Volume

Source = Literal["image", "labels"]

#: By name of the scan, slices that are all background: none are known.
NONE_EMPTY: Mapping[str, Collection[int]] = MappingProxyType({})
#: Slices or runs whose places are kept, so that they are drawn once an epoch.
MOST_PLACES = 4096


@dataclass(frozen=True)
class Stretch:
    """Slices that patches are drawn from together: one slice, or a run of them.

    Attributes:
        scan: Number of the scan.
        slices: The slices that are learned from.
        room: The slices that a patch may lie in.
        count: Patches in an epoch.
    """

    scan: int
    slices: range
    room: range
    count: int


class RandomPatches(ABC):
    """Random patches of labelled slices, the same number in every epoch.

    Item ``index`` belongs to the stretches (slices or runs) in order; the order in which items
    are used is the sampler's. Holds decoded slices up to ``cache_bytes`` in each process, beside
    what is being read: a patch, or the labels of one slice where patches must hold a class.

    Args:
        pairs: The opened scans.
        parts: The slices to be learned from.
        settings: Mode, patches, normalisation, augmentation, validation and seed of the fit.
        statistics: Of each scan, by name; they carry the recipe.
        labels: The classes.
        cache_bytes: Memory for decoded slices, in bytes; 0 reads just the patch each time.
        empty: By name of the scan, slices whose labels are all background; left out where the
            settings say so.

    Raises:
        UsageError: If a part's scan is missing or has no labels, statistics do not match, the
            class that patches must hold is unknown, or the mode is not of this kind of patch.
        InputError: If every slice is empty, or a scan's slices are no neighbours (2.5D, 3D).
    """

    #: The modes that this kind of patch is for.
    modes: ClassVar[tuple[Mode, ...]]

    def __init__(
        self,
        pairs: Sequence[Pair],
        parts: Sequence[Part],
        *,
        settings: FitSettings,
        statistics: Mapping[str, Statistics],
        labels: LabelScheme,
        cache_bytes: int = 0,
        empty: Mapping[str, Collection[int]] = NONE_EMPTY,
    ):
        if settings.mode not in self.modes:
            raise UsageError(f"{type(self).__name__} are not for mode={settings.mode}")
        self._settings, self._patches = settings, settings.patches
        if self._patches.skip_empty:
            parts = without_empty(parts, empty)
        self._pairs = used_pairs(pairs, parts)
        check_mode(self._pairs, settings.mode)
        recipe = settings.normalisation.recipe
        self._statistics = matching_statistics(self._pairs, statistics, recipe)
        self._clip = load_recipe(recipe).clip
        augmentation = settings.augmentation
        self._augment = load_augmentation(augmentation.preset, augmentation.strength)
        self._held = Held.from_settings(self._patches, labels)
        self._cache = SliceCache(cache_bytes)
        self._forget()
        self._stretches = self._divide(parts)
        self._ends = list(accumulate(stretch.count for stretch in self._stretches))
        self._held.warn_of_none(stretch.count for stretch in self._stretches)

    def _forget(self) -> None:
        self._places: dict[tuple[int, int], list[Place]] = {}
        self._lacking: set[tuple[int, int]] = set()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_places": {}, "_lacking": set()}

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def item(self, epoch: int, index: int) -> tuple[Image, Labels]:
        """Return one patch; see :meth:`osteon.datasets.PatchSource.item`.

        Raises:
            IndexError: If there is no such item.
            InputError: If a scan is damaged, or a mask has values that are no class.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"there is no item {index}: an epoch has {len(self)}")
        number = bisect_right(self._ends, index)
        stretch = self._stretches[number]
        place = self._places_of(epoch, number)[index - self._ends[number]]  # from the end
        raw, labels = self._cut(stretch, place)
        image = normalise(raw, self._statistics[stretch.scan])
        image, labels = self._shaped(image, labels)
        flat = labels.ndim == 2
        more = {} if flat else {"isotropic": isotropic(self._pairs[stretch.scan])}
        rng = generator(self._settings.seed, purpose=Purpose.AUGMENTATION, epoch=epoch, index=index)
        return self._augment(image, labels, rng, clip=self._clip, **more)

    @abstractmethod
    def _divide(self, parts: Sequence[Part]) -> list[Stretch]:
        """Divide parts into stretches."""

    @property
    @abstractmethod
    def _size(self) -> tuple[int, ...]:
        """Extent of a patch along the axes that it is placed along."""

    @abstractmethod
    def _cut(self, stretch: Stretch, place: Place) -> tuple[Array, Labels]:
        """Read a patch: grey values (z, y, x), and new labels of the axes of :attr:`_size`."""

    @abstractmethod
    def _shaped(self, image: Image, labels: Labels) -> tuple[Image, Labels]:
        """Pad a patch to its size and give the image its channels."""

    def _room(self, stretch: Stretch) -> tuple[int, ...]:
        """Extent that the patches of a stretch are placed in, along the axes of :attr:`_size`."""
        shape = (len(stretch.room), *self._pairs[stretch.scan].image.shape[1:])
        return shape[-len(self._size) :]

    def _places_of(self, epoch: int, number: int) -> list[Place]:
        key = epoch, number
        found = self._places.get(key)
        if found is None:
            if len(self._places) >= MOST_PLACES:
                self._places.clear()
            found = self._places[key] = self._draw(epoch, number)
        return found

    def _draw(self, epoch: int, number: int) -> list[Place]:
        stretch, seed = self._stretches[number], self._settings.seed
        draw = partial(
            random_boxes,
            self._room(stretch),
            size=self._size,
            max_overlap=self._patches.max_overlap,
        )
        holding: list[Place] = []
        count = self._held.count(stretch.count)
        if count:
            rng = generator(seed, purpose=Purpose.HOLDING_BOXES, epoch=epoch, index=number)
            around = self._around(stretch, rng)
            if around is not None:
                holding = draw(count=count, rng=rng, around=around)
        rng = generator(seed, purpose=Purpose.BOXES, epoch=epoch, index=number)
        return holding + draw(count=stretch.count - len(holding), rng=rng, earlier=holding)

    def _around(self, stretch: Stretch, rng: np.random.Generator) -> Callable[[int], Place] | None:
        """Draws voxels that patches must hold; None where the stretch has none."""
        voxels = VoxelDraw(stretch.slices, wanted=partial(self._wanted, stretch.scan), rng=rng)
        if not voxels.turn():
            return None

        def around(attempt: int) -> Place:
            # Another slice for every patch, but not for every try: each is a slice to be read.
            if attempt == 0:
                voxels.turn()
            z, y, x = voxels.voxel()
            return (z - stretch.room.start, y, x)[-len(self._size) :]

        return around

    def _wanted(self, scan: int, z: int) -> npt.NDArray[np.bool_] | None:
        if (scan, z) in self._lacking:
            return None
        labels = self._read(scan, "labels", [z], (slice(None), slice(None)))[0]
        mask = self._held.voxels(labels)
        if mask.any():
            return mask
        self._lacking.add((scan, z))
        return None

    def _read(self, scan: int, what: Source, z: Sequence[int], box: tuple[slice, slice]) -> Array:
        """Read image or labels (z, y, x), to be read alone."""
        pair = self._pairs[scan]
        volume = pair.image if what == "image" else labels_of(pair)
        if self._keeps(volume) and self._cache.fits(
            pair.image, labels_of(pair), slices=len(set(z))
        ):
            return self._cache.read(volume, (scan, what), z, box)
        return read_direct(volume, z, box)

    def _keeps(self, volume: Volume) -> bool:
        """Whether to keep the whole slices that patches are cut from, where they fit in."""
        return True
