"""From attenuation to the grey values of a file: windows, types, compression, field of view.

Attenuation is relative: 0 is air, 1 cortical bone. Everything is pure; what is random is in the
specification that :func:`draw_output` draws.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from osteon.errors import UsageError

Image = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]

DTYPES = ("uint8", "uint16", "int16", "float32")
FILLS = ("zero", "minimum", "mean", "value")
#: Hounsfield units are 0 for water and this for air (with the sign turned: air is -1000).
HU_SPAN = 1000.0
#: Attenuation of water relative to cortical bone at 50 to 90 kVp (between 0.13 and 0.20).
WATER = 0.17


def to_grey(image: Float32, *, black: float, white: float, dtype: str = "uint8") -> Image:
    """Map a window of attenuation onto all grey values of an unsigned type, and clip beyond it.

    Args:
        image: float32, any shape.
        black: Attenuation that becomes 0.
        white: Attenuation that becomes the type's highest value.
        dtype: ``uint8`` or ``uint16``.

    Returns:
        Array of ``dtype``, rounded to the nearest grey value.

    Raises:
        UsageError: If the window does not ascend or the type is another.
    """
    _check_window(black, white)
    if dtype not in ("uint8", "uint16"):
        raise UsageError(f"a grey window maps to uint8 or uint16, not {dtype}")
    top = np.iinfo(dtype).max
    grey = (image - np.float32(black)) * np.float32(top / (white - black))
    np.clip(np.rint(grey, out=grey), 0, top, out=grey)
    return grey.astype(dtype)


def to_hounsfield(image: Float32, *, water: float = WATER) -> npt.NDArray[np.int16]:
    """Map attenuation to signed Hounsfield-like units: air -1000, water 0.

    Args:
        image: float32, any shape.
        water: Attenuation of water.

    Returns:
        int16, rounded, clipped to the range of the type.

    Raises:
        UsageError: If ``water`` is not positive.
    """
    if water <= 0:
        raise UsageError(f"the attenuation of water must be positive, not {water}")
    limits = np.iinfo(np.int16)
    hu = np.rint(image * np.float32(HU_SPAN / water) - np.float32(HU_SPAN))
    return np.asarray(np.clip(hu, limits.min, limits.max), dtype=np.int16)


def compress_jpeg(image: Image, *, quality: int) -> npt.NDArray[np.uint8]:
    """Compress slices as JPEG and unpack them again.

    Args:
        image: uint8 (y, x) or (z, y, x); slices are compressed one by one.
        quality: Pillow's quality, 1 (worst) to 95.

    Returns:
        uint8 of the same shape, with the blocks and ripples of JPEG.

    Raises:
        UsageError: If the type, the shape or the quality is unfit.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise UsageError(
            f"JPEG holds uint8 slices (y, x) or (z, y, x), not {image.dtype} {image.shape}"
        )
    if not 1 <= quality <= 95:
        raise UsageError(f"the quality of JPEG must be 1 to 95, not {quality}")
    if image.ndim == 3:
        return np.stack([compress_jpeg(s, quality=quality) for s in image])
    file = io.BytesIO()
    PillowImage.fromarray(image).save(file, format="jpeg", quality=quality)
    with PillowImage.open(file) as unpacked:
        return np.asarray(unpacked, dtype=np.uint8)


def circular_field_of_view(
    image: Image,
    *,
    radius: float = 1.0,
    centre: tuple[float, float] | None = None,
    fill: str = "zero",
    value: float = 0.0,
) -> Image:
    """Fill what is outside a circle, as reconstructions of a round field of view are.

    Args:
        image: (y, x) or (z, y, x) of any real type.
        radius: Radius relative to half the shorter side.
        centre: (y, x) in voxels; the middle by default.
        fill: ``zero``; ``minimum`` or ``mean`` of what is inside the circle (over all slices); or
            ``value``.
        value: The value for ``fill="value"``; in integer types it is rounded and clipped.

    Returns:
        A new array of the same shape and type.

    Raises:
        UsageError: If the fill is another, the radius not positive or no voxel is inside.
    """
    if fill not in FILLS:
        raise UsageError(f"'{fill}' fills no field of view", mend=f"use one of: {', '.join(FILLS)}")
    if radius <= 0:
        raise UsageError(f"a field of view has a positive radius, not {radius}")
    if image.ndim not in (2, 3):
        raise UsageError(f"an image is (y, x) or (z, y, x), not {image.shape}")
    ny, nx = image.shape[-2:]
    cy, cx = ((ny - 1) / 2, (nx - 1) / 2) if centre is None else centre
    squared = (np.arange(ny) - cy)[:, None] ** 2 + (np.arange(nx) - cx)[None, :] ** 2
    inside = squared <= (radius * min(ny, nx) / 2) ** 2
    if not inside.any():
        raise UsageError("no voxel of the slice is inside the field of view")
    if fill == "minimum":
        level = float(image[..., inside].min())
    elif fill == "mean":
        level = float(image[..., inside].mean(dtype=np.float64))
    else:
        level = value if fill == "value" else 0.0
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        level = float(np.clip(np.rint(level), limits.min, limits.max))
    return np.where(inside, image, np.asarray(level, dtype=image.dtype))


@dataclass(frozen=True)
class OutputSpec:
    """How a reconstruction is written.

    Attributes:
        black: Attenuation that becomes 0 (of unsigned types).
        white: Attenuation that becomes the highest value.
        dtype: ``uint8``, ``uint16``, ``int16`` (Hounsfield-like) or ``float32`` (as it is).
        water: Attenuation of water, for ``int16``.
        jpeg: Quality of a JPEG compression, 1 to 95, for ``uint8``; None for none.
        radius: Radius of a circular field of view relative to half the shorter side; None for the
            whole slice.
        fill: What is outside it: ``zero``, ``minimum``, ``mean`` or ``value``.
        level: For ``value``: its place between ``black`` and ``white``, 0..1.
    """

    black: float = -0.3
    white: float = 1.4
    dtype: str = "uint8"
    water: float = WATER
    jpeg: int | None = None
    radius: float | None = None
    fill: str = "zero"
    level: float = 0.0

    def __post_init__(self) -> None:
        _check_window(self.black, self.white)
        for what, value, known in (("type", self.dtype, DTYPES), ("fill", self.fill, FILLS)):
            if value not in known:
                raise UsageError(
                    f"the {what} of an output cannot be '{value}'",
                    mend=f"use one of: {', '.join(known)}",
                )
        if self.jpeg is not None and self.dtype != "uint8":
            raise UsageError(
                f"JPEG holds 8 bits, not {self.dtype}", mend="use dtype uint8, or no JPEG"
            )
        if not 0 <= self.level <= 1:
            raise UsageError(f"the level of a fill must be 0 to 1, not {self.level}")


def draw_output(
    rng: np.random.Generator, *, noise: float = 0.06, dtype: str = "uint8"
) -> OutputSpec:
    """Draw how a reconstruction is written.

    Args:
        rng: The generator.
        noise: Standard deviation of the noise in attenuation: black lies one to four of it below
            air, or at air, or above it, where windows that suit bone cut soft tissue.
        dtype: See :class:`OutputSpec`.

    Returns:
        The output; JPEG for 15 % of ``uint8``, a circular field of view for 30 %.
    """
    margin = max(noise, 0.03)
    below, above = float(rng.uniform(1.0, 4.0)) * margin, float(rng.uniform(0.0, 0.1))
    black = -below if rng.random() < 0.8 else above
    white = 1 + float(rng.uniform(-0.15, 0.9))
    quality, compressed = int(rng.integers(30, 95)), rng.random() < 0.15
    radius, round_view = float(rng.uniform(0.9, 1.05)), rng.random() < 0.3
    fill, level = FILLS[int(rng.integers(len(FILLS)))], float(rng.random())
    return OutputSpec(
        black=black,
        white=white,
        dtype=dtype,
        jpeg=quality if compressed and dtype == "uint8" else None,
        radius=radius if round_view else None,
        fill=fill,
        level=level,
    )


def write_grey(image: Float32, spec: OutputSpec) -> Image:
    """Turn attenuation into the grey values of a file.

    Args:
        image: float32 (y, x) or (z, y, x).
        spec: How it is written.

    Returns:
        The grey values, of ``spec.dtype`` and the same shape; JPEG comes last, over the fill.
    """
    if spec.dtype == "int16":
        grey: Image = to_hounsfield(image, water=spec.water)
    elif spec.dtype == "float32":
        grey = image.astype(np.float32)
    else:
        grey = to_grey(image, black=spec.black, white=spec.white, dtype=spec.dtype)
    if spec.radius is not None:
        level = np.float32(spec.black + spec.level * (spec.white - spec.black))
        plain = OutputSpec(spec.black, spec.white, spec.dtype, spec.water)
        value = float(write_grey(level.reshape(1, 1), plain)[0, 0])
        grey = circular_field_of_view(grey, radius=spec.radius, fill=spec.fill, value=value)
    return grey if spec.jpeg is None else compress_jpeg(grey, quality=spec.jpeg)


def _check_window(black: float, white: float) -> None:
    if black >= white:
        raise UsageError(f"the grey window must ascend, not {black} to {white}")
