"""From a bone to the image a scanner makes of it, in the image domain.

Attenuation is relative: 0 is air, 1 cortical bone. Partial volume comes from the share of bone
in each voxel, then blur, cupping, rings and correlated noise are applied and the grey window.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.errors import UsageError
from osteon.simulation import degrade
from osteon.simulation.anatomy import Anatomy
from osteon.simulation.grids import CoarseGrid
from osteon.simulation.materials import (
    METAL,
    PLASTIC,
    InteriorSpec,
    SurroundingsSpec,
    around_bones,
    bone_level,
    draw_medium,
    medium_of,
    pore_level,
)
from osteon.simulation.randomness import SmoothField

Float32 = npt.NDArray[np.float32]

#: Relative attenuation of marrow at 50 to 90 kVp (docs/simulation.md).
MARROW = (0.08, 0.40)
#: Soft tissue around a bone is as grey as its marrow to within this.
TISSUE_CONTRAST = 0.04
BLUR_VOXELS = (0.5, 1.5)
NOISE = (0.02, 0.16)
NOISE_CORRELATION_VOXELS = (0.4, 1.2)
#: The least contrast of bone to marrow over the noise's standard deviation.
MIN_CONTRAST_TO_NOISE = 2.5
#: Wavelength of the smooth variation of bone and marrow, relative to the field of view.
VARIATION_WAVELENGTH = 0.35
#: Share of scans in soft tissue in which it fills the field of view.
TISSUE_EVERYWHERE = 0.6
DTYPES = ("uint8", "uint16")


@dataclass(frozen=True)
class ImagingSpec:
    """How a bone is imaged. Attenuation: 0 air, 1 cortical bone.

    Attributes:
        marrow: Attenuation of what fills the pores.
        outside: Attenuation of what is around the bone.
        tissue_um: Thickness in µm of the layer of ``outside`` around the bone, air beyond it; None
            for all of the field of view.
        bone_variation: Standard deviation of a smooth variation of the mineral.
        marrow_variation: Standard deviation of a smooth variation of the marrow.
        holder_um: Outer radius in µm of a plastic tube around the field of view's axis, None for
            no tube; outside it is air.
        holder: Attenuation of the tube.
        blur: Standard deviation in voxels of the Gaussian blur.
        noise: Standard deviation of the noise (0.1 is a tenth of the step from air to bone).
        noise_correlation: Standard deviation in voxels of the Gaussian the noise is smoothed by.
        cupping: How much darker the centre is than the rim, 0..0.95.
        rings: Standard deviation of the rings.
        window: Attenuations that become black and white.
        dtype: ``uint8`` or ``uint16``.
        interior: What is unusual within the bones.
        around: What else is around them.
    """

    marrow: float = 0.25
    outside: float = 0.0
    tissue_um: float | None = None
    bone_variation: float = 0.03
    marrow_variation: float = 0.02
    holder_um: float | None = None
    holder: float = 0.2
    blur: float = 1.0
    noise: float = 0.06
    noise_correlation: float = 0.6
    cupping: float = 0.0
    rings: float = 0.0
    window: tuple[float, float] = (-0.3, 1.4)
    dtype: str = "uint8"
    interior: InteriorSpec = field(default_factory=InteriorSpec)
    around: SurroundingsSpec = field(default_factory=SurroundingsSpec)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(
                f"a simulated scan cannot be of type '{self.dtype}'",
                mend=f"use one of: {', '.join(DTYPES)}",
            )
        if self.window[0] >= self.window[1]:
            raise UsageError(f"the grey window must ascend, not {self.window}")
        if min(self.blur, self.noise, self.noise_correlation, self.rings) < 0:
            raise UsageError("blur, noise and rings cannot be negative")


def draw_imaging(rng: np.random.Generator, *, dtype: str = "uint8") -> ImagingSpec:
    """Draw how a scan is made.

    Args:
        rng: The generator.
        dtype: ``uint8`` or ``uint16``.

    Returns:
        The specification, without what depends on the bone and the field of view: holder, things
        around and within.
    """
    medium = draw_medium(rng)
    marrow = 0.0 if medium == "dry" else float(rng.uniform(*MARROW))
    outside = medium_of(medium, marrow, contrast=TISSUE_CONTRAST, rng=rng)
    everywhere = bool(rng.random() < TISSUE_EVERYWHERE)
    layer = float(rng.uniform(0.1, 0.6))
    noise = float(np.exp(rng.uniform(*np.log(NOISE))))
    noise = min(noise, (1 - marrow) / MIN_CONTRAST_TO_NOISE)
    black = -float(rng.uniform(1.0, 3.0)) * noise
    return ImagingSpec(
        marrow=marrow,
        outside=outside,
        tissue_um=layer if medium == "muscle" and not everywhere else None,
        bone_variation=float(rng.uniform(0.01, 0.06)),
        marrow_variation=0.0 if medium == "dry" else float(rng.uniform(0, 0.03)),
        holder=float(rng.uniform(*PLASTIC)),
        blur=float(rng.uniform(*BLUR_VOXELS)),
        noise=noise,
        noise_correlation=float(rng.uniform(*NOISE_CORRELATION_VOXELS)),
        cupping=float(rng.uniform(0, 0.15)) if rng.random() < 0.5 else 0.0,
        rings=float(rng.uniform(0, 0.03)) if rng.random() < 0.3 else 0.0,
        window=(black, 1 + float(rng.uniform(0.5, 3.0)) * max(noise, 0.05)),
        dtype=dtype,
        around=SurroundingsSpec(medium=medium),
    )


def attenuation(anatomy: Anatomy, spec: ImagingSpec, rng: np.random.Generator) -> Float32:
    """Return what a perfect scanner would see, voxel by voxel.

    Args:
        anatomy: The bone.
        spec: How it is imaged.
        rng: The generator of the smooth variations.

    Returns:
        Attenuation, float32 (z, y, x); holds 20 bytes a voxel.
    """
    shape = anatomy.labels.shape
    voxel = anatomy.voxel_um
    grid = CoarseGrid.around((shape[0], shape[1], shape[2]), voxel_um=voxel, margin_um=0.0)
    wavelength = VARIATION_WAVELENGTH * max(shape) * voxel
    vary = [SmoothField.draw(rng, wavelength_um=wavelength)(*grid.mesh) for _ in range(2)]
    inside = anatomy.inside
    tube = None if spec.holder_um is None else (spec.holder_um, spec.holder)
    out = around_bones(
        anatomy, spec.around, outside=spec.outside, tissue_um=spec.tissue_um, tube=tube, rng=rng
    )
    out *= 1 - inside
    inside -= anatomy.mineral
    if anatomy.cartilage is not None:
        inside -= anatomy.cartilage
        out += anatomy.cartilage * np.float32(spec.interior.cartilage)
    np.maximum(inside, 0, out=inside)
    marrow = grid.to_voxels(spec.marrow + spec.marrow_variation * vary[0])
    inside *= pore_level(anatomy, spec.interior, marrow, grid=grid, rng=rng)
    out += inside
    bone = bone_level(anatomy, spec.interior, grid.to_voxels(1 + spec.bone_variation * vary[1]))
    bone *= anatomy.mineral
    out += bone
    if anatomy.metal is not None:
        out *= 1 - anatomy.metal
        out += anatomy.metal * np.float32(METAL)
    return out


def make_image(anatomy: Anatomy, spec: ImagingSpec, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Image a bone.

    Args:
        anatomy: The bone.
        spec: How it is imaged.
        rng: The generator; images of the same seed may differ between machines by one grey level.

    Returns:
        Grey values (z, y, x) of ``spec.dtype``; about 20 bytes a voxel are held meanwhile.
    """
    image: Float32 = attenuation(anatomy, spec, rng)
    if spec.blur > 0:
        image = ndimage.gaussian_filter(image, spec.blur, truncate=degrade.TRUNCATE)
    if spec.cupping > 0:
        image = degrade.add_cupping(image, fraction=spec.cupping)
    noise_seed, ring_seed = (int(s) for s in rng.integers(0, 2**31, 2))
    if spec.rings > 0:
        image = degrade.add_rings(image, sd=spec.rings, seed=ring_seed)
    if spec.noise > 0:
        image = degrade.add_noise(
            image, sd=spec.noise, seed=noise_seed, correlation=spec.noise_correlation
        )
    top = np.iinfo(spec.dtype).max
    black, white = spec.window
    image -= np.float32(black)
    image *= np.float32(top / (white - black))
    np.rint(image, out=image)
    return np.clip(image, 0, top, out=image).astype(spec.dtype)
