"""The plain presets: nothing, flips and right-angle turns, and the paper's scheme."""

from __future__ import annotations

import numpy as np

from osteon.augment.base import ZSCORE_CLIP, Image, Labels, check_square, note

#: Numbers of the paper's scheme (Lee et al. 2026, 10.3389/fbinf.2025.1677527, and its program).
GEOMETRIC = 6  # one of: flip along x, flip along y, rotation by 90, 180, 270 degrees, nothing
SHIFT, SHIFT_PROBABILITY = 0.15, 0.4
SCALE, SCALE_PROBABILITY = (0.75, 1.25), 0.4

#: In 3D a flip along z joins them.
GEOMETRIC_3D = GEOMETRIC + 1
#: The planes of a turn, as axes counted from the last: about z, about y, about x.
PLANES = ((-2, -1), (-3, -1), (-3, -2))
AXIS_NAMES = {-1: "x", -2: "y", -3: "z"}


def identity(
    image: Image,
    labels: Labels,
    rng: np.random.Generator,
    *,
    clip: tuple[float, float] = ZSCORE_CLIP,
    isotropic: bool = True,
) -> tuple[Image, Labels]:
    """Change nothing; see :class:`osteon.augment.Augmentation`."""
    return image, labels


def geometric(
    image: Image,
    labels: Labels,
    rng: np.random.Generator,
    *,
    clip: tuple[float, float] = ZSCORE_CLIP,
    isotropic: bool = True,
) -> tuple[Image, Labels]:
    """Flip or turn a patch as the paper's scheme does, and leave its grey values alone.

    In 2D one of: flip along x, flip along y, rotation by 90, 180 or 270 degrees, nothing, with
    equal chances. In 3D a flip along z joins them (seven equal chances), and the axis of a turn
    is drawn: always z where voxels are not isotropic, else any axis about which the patch keeps
    its shape. For labels that follow from the grey value itself, such as those of a threshold.

    Args:
        image: (channel, [z,] y, x), float32, normalised; y and x of one length.
        labels: ([z,] y, x), uint8.
        rng: The random generator.
        clip: Not used; the grey values stay.
        isotropic: Whether z may change places with y and x.

    Returns:
        New image and labels.

    Raises:
        UsageError: If the patch is not square in (y, x).
    """
    check_square(image, labels)
    if labels.ndim == 2:
        image, labels = _geometric_2d(image, labels, int(rng.integers(GEOMETRIC)))
    else:
        image, labels = _geometric_3d(image, labels, rng, isotropic=isotropic)
    return np.ascontiguousarray(image, dtype=np.float32), np.ascontiguousarray(labels)


def _geometric_2d(image: Image, labels: Labels, choice: int) -> tuple[Image, Labels]:
    if choice < 2:
        return _flipped(image, labels, -1 - choice)
    if choice < GEOMETRIC - 1:
        return _turned(image, labels, choice - 1, PLANES[0])
    return image, labels


def _geometric_3d(
    image: Image, labels: Labels, rng: np.random.Generator, *, isotropic: bool
) -> tuple[Image, Labels]:
    choice = int(rng.integers(GEOMETRIC_3D))
    if choice < 3:
        return _flipped(image, labels, -1 - choice)
    if choice == GEOMETRIC_3D - 1:
        return image, labels
    turns, planes = choice - 2, list(PLANES[:1])
    if isotropic:
        # Half a turn keeps every shape; a quarter needs two sides of one length.
        planes += [p for p in PLANES[1:] if turns == 2 or len({labels.shape[a] for a in p}) == 1]
    return _turned(image, labels, turns, planes[int(rng.integers(len(planes)))])


def _flipped(image: Image, labels: Labels, axis: int) -> tuple[Image, Labels]:
    note(f"flipped along {AXIS_NAMES[axis]}")
    return np.flip(image, axis), np.flip(labels, axis)


def _turned(
    image: Image, labels: Labels, turns: int, plane: tuple[int, int]
) -> tuple[Image, Labels]:
    about = "" if labels.ndim == 2 else f" about {AXIS_NAMES[({-1, -2, -3} - {*plane}).pop()]}"
    note(f"turned by {90 * turns}°{about}")
    return np.rot90(image, turns, axes=plane), np.rot90(labels, turns, axes=plane)


def reference(
    image: Image,
    labels: Labels,
    rng: np.random.Generator,
    *,
    clip: tuple[float, float] = ZSCORE_CLIP,
    isotropic: bool = True,
) -> tuple[Image, Labels]:
    """Change a patch by the paper's scheme; see :class:`osteon.augment.Augmentation`.

    The geometry of :func:`geometric`. Then, each with probability 0.4, a shift in ±0.15 and a
    scale in 0.75..1.25 of the normalised values, which are clipped in the end.

    Args:
        image: (channel, [z,] y, x), float32, normalised; y and x of one length.
        labels: ([z,] y, x), uint8.
        rng: The random generator.
        clip: Range of normalised values.
        isotropic: Whether z may change places with y and x.

    Returns:
        New image and labels.

    Raises:
        UsageError: If the patch is not square in (y, x).
    """
    image, labels = geometric(image, labels, rng, isotropic=isotropic)
    image = np.array(image)
    if rng.random() < SHIFT_PROBABILITY:
        shift = np.float32(rng.uniform(-SHIFT, SHIFT))
        image += shift
        note(f"brightness {shift:+.2f}")
    if rng.random() < SCALE_PROBABILITY:
        scale = np.float32(rng.uniform(*SCALE))
        image *= scale
        note(f"contrast × {scale:.2f}")
    np.clip(image, *clip, out=image)
    return image, labels
