"""Training items: a slice as a scanner shows it, normalised, with its context and labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.datasets.context import seen_coarsely, unknown
from osteon.errors import UsageError
from osteon.intensity.anchoring import anchors, edges_of
from osteon.simulation.physics.fast import (
    FastScannerRanges,
    draw_fast_scanner,
    image_slice,
)
from osteon.simulation.physics.window import compress_jpeg
from osteon.simulation.randomness import generator, log_uniform
from osteon.simulation.stream.fields import Float32, Frame
from osteon.simulation.stream.materials import attenuation
from osteon.simulation.stream.scene import VIEWS, Scene, draw_scene

Labels = npt.NDArray[np.uint8]

#: Streams of random numbers of one item: what is seen does not change what is there.
SCENE, MATERIALS, SCANNER, VIEW = range(4)
#: How often nothing is known of the context: in views of whole bones, and in others.
UNKNOWN = {"whole": 0.75, "none": 0.6, "few": 0.5, "part": 0.5, "interior": 0.6}
#: Reduced slices have less noise and blur than those at full resolution.
REDUCED = FastScannerRanges(blur=(0.3, 1.3), noise=(0.005, 0.14), motion_share=0.03)
FULL = FastScannerRanges(blur=(0.4, 2.2))
#: Range of normalised values: that of the recipe ``edges``.
CLIP = (-5.0, 5.0)
#: Share of items whose anchors are looked for in the item itself, as in a scan's slices.
FOUND = 0.5
#: Anchors of a whole scan miss those of a slice by so much (SD, relative to their difference).
ANCHOR_ERROR, WIDTH_ERROR = 0.07, 0.12
#: Items to be measured are those of an epoch that no fit reaches.
VALIDATION_EPOCH = 2**31
#: What they are told apart by.
KINDS = tuple(f"{view}, context {known}" for view in VIEWS for known in ("seen", "unseen"))
#: JPEG, circular fields of view: how often.
JPEG, CIRCLE, CLIPPED = 0.1, 0.12, 0.7


@dataclass(frozen=True)
class Item:
    """A training item.

    Attributes:
        image: float32 (2, y, x): normalised grey values, and the context (-1..1).
        labels: uint8 (y, x), 255 where nothing is to be learned.
        view: What it shows, a key of :data:`osteon.simulation.stream.scene.VIEWS`.
    """

    image: Float32
    labels: Labels
    view: str


def draw_item(size: int, *key: int, view: str | None = None) -> Item:
    """Draw an item.

    Args:
        size: Height and width in pixels, at least 64.
        *key: What it depends on alone: seed, epoch and index.
        view: A key of :data:`osteon.simulation.stream.scene.VIEWS`; drawn by default.

    Returns:
        The item: the same for the same key, but for the last bits of computations on another
        machine.

    Raises:
        UsageError: If the size is too small.
    """
    if size < 64:
        raise UsageError(f"items of the stream are at least 64 pixels wide, not {size}")
    frame = Frame(size)
    scene = draw_scene(frame, generator(*key, SCENE), view=view)
    dense = attenuation(frame, generator(*key, MATERIALS), scene)
    rng = generator(*key, SCANNER)
    ranges = REDUCED if scene.view == "whole" else FULL
    levels = _levels(dense, scene)
    spec = draw_fast_scanner(rng, contrast=max(levels[1] - levels[0], 0.1), ranges=ranges)
    image = image_slice(dense, spec, rng)
    rng = generator(*key, VIEW)
    stored = _stored(image, rng, levels)
    labels = scene.labels
    if rng.random() < CIRCLE:
        stored, labels = _circle(stored, labels, rng)
    grey = _normalised(stored, scene, rng)
    known = rng.random() >= UNKNOWN[scene.view]
    context = seen_coarsely(scene.inside, rng) if known else unknown((size, size))
    return Item(np.stack([grey, context]), labels, scene.view)


def _levels(dense: Float32, scene: Scene) -> tuple[float, float]:
    """Attenuation on both sides of the bone's surface, before the scanner."""
    bone = scene.mineral > 0.9
    if bone.sum() < 16:
        return float(dense.min()), max(float(dense.max()), float(dense.min()) + 0.2)
    near = (scene.mineral < 0.1) & ndimage.maximum_filter(bone, 7)
    dark = float(np.median(dense[near])) if near.sum() >= 16 else 0.15
    bright = float(np.median(dense[bone]))
    return min(dark, bright - 0.1), bright


def _stored(image: Float32, rng: np.random.Generator, levels: tuple[float, float]) -> Float32:
    """Grey values of a file: an 8-bit window that clips, perhaps compressed, on a 0..255 scale."""
    dark, bright = levels
    width = bright - dark
    if rng.random() < CLIPPED:
        low = min(dark, 0.0) - width * float(rng.uniform(-0.3, 0.5))
        high = bright + width * log_uniform(rng, (0.03, 2.5))
    else:
        low, high = float(image.min()), float(image.max()) + 1e-3
    grey = np.clip((image - low) * (255 / (high - low)), 0, 255)
    if rng.random() < 0.8:
        grey = np.rint(grey)
    if rng.random() < JPEG:
        grey = compress_jpeg(grey.astype(np.uint8), quality=int(rng.integers(25, 95)))
    return np.asarray(grey, dtype=np.float32)


def _circle(grey: Float32, labels: Labels, rng: np.random.Generator) -> tuple[Float32, Labels]:
    """A round field of view, which the square may cut, filled with one value beyond it."""
    size = grey.shape[0]
    y, x = Frame(size).grid
    radius = log_uniform(rng, (0.4, 3.0)) * size
    angle = float(rng.uniform(0, 2 * np.pi))
    away = max(radius - float(rng.uniform(0.1, 0.5)) * size, 0.0)
    beyond = np.hypot(y - away * math.sin(angle), x - away * math.cos(angle)) > radius
    fill = float(rng.choice([0.0, grey.min(), grey.mean(), rng.uniform(0, 255)]))
    return np.where(beyond, fill, grey), np.where(beyond, np.uint8(0), labels)


def _normalised(grey: Float32, scene: Scene, rng: np.random.Generator) -> Float32:
    """By the recipe ``edges``, with anchors as those of a whole scan miss the slice's own."""
    low = high = None
    if rng.random() < FOUND:
        found = anchors([edges_of(grey)])
        if found is not None:
            low, high = found.low, found.high
    if low is None or high is None:
        low, high = _levels(grey, scene)
    width = high - low
    centre = (low + high) / 2 + width * float(rng.normal(0, ANCHOR_ERROR))
    half = max(width / 2 * float(np.exp(rng.normal(0, WIDTH_ERROR))), 0.5)
    return np.asarray(np.clip((grey - centre) / half, *CLIP), dtype=np.float32)


@dataclass(frozen=True)
class SimulatedPatches:
    """An endless source of simulated items: no two of all epochs are alike.

    Attributes:
        size: Height and width of an item in pixels.
        items: Items of an epoch.
        seed: Seed of the source.
        context: Whether images have the channel of a two-scale network.
    """

    size: int
    items: int
    seed: int
    context: bool = True

    def __len__(self) -> int:
        return self.items

    def item(self, epoch: int, index: int) -> tuple[Float32, Labels]:
        """Return one item, a function of (seed, epoch, index) alone.

        Args:
            epoch: Epoch, from 0.
            index: 0 to ``len(source) - 1``.

        Returns:
            Image (channel, y, x), float32; labels (y, x), uint8, 255 = ignored.
        """
        made = draw_item(self.size, self.seed, epoch, index)
        return made.image[: 2 if self.context else 1], made.labels


@dataclass(frozen=True)
class SimulatedTiles:
    """Simulated items to measure by, the same in every epoch and none that is learned from.

    Attributes:
        size: Height and width of an item in pixels.
        items: Items.
        seed: Seed of the fit.
        context: Whether images have the channel of a two-scale network.
    """

    size: int
    items: int
    seed: int
    context: bool = True

    @property
    def scans(self) -> tuple[str, ...]:
        """The kinds of views, which figures are taken over."""
        return KINDS

    def __len__(self) -> int:
        return self.items

    def item(self, index: int) -> tuple[Float32, Labels, int]:
        """Return one item.

        Args:
            index: 0 to ``len(tiles) - 1``.

        Returns:
            Image (channel, y, x), labels (y, x), and the number of its kind in :attr:`scans`.
        """
        made = draw_item(self.size, self.seed, VALIDATION_EPOCH, index)
        known = "seen" if made.image[1].any() else "unseen"
        kind = KINDS.index(f"{made.view}, context {known}")
        return made.image[: 2 if self.context else 1], made.labels, kind
