"""The image-domain scanner as a whole: what it is, how one is drawn, what it makes of a slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.simulation.physics.fast import effects
from osteon.simulation.physics.fast.sinogram import add_cupping, add_streaks
from osteon.simulation.randomness import log_uniform

Float32 = npt.NDArray[np.float32]
Range = tuple[float, float]


@dataclass(frozen=True)
class FastScannerSpec:
    """An image-domain scanner. Attenuation: 0 air, 1 cortical bone; 0 switches an artefact off.

    Attributes:
        blur: Standard deviation in voxels of the Gaussian blur.
        resolution: Width in voxels of the voxels the slice was scanned with, 1 or more.
        edges: Amount of edge enhancement.
        edge_width: Standard deviation in voxels of its fringe.
        noise: Standard deviation of the noise (0.1 is a tenth of the step from air to bone).
        noise_correlation: Standard deviation in voxels of the noise's apodisation.
        cupping: Darkening at the centre of a disc of bone as wide as the slice.
        streaks: Strength of streaks between things above ``dense``.
        dense: Attenuation above which something makes streaks.
        rings: Root mean square of the rings.
        ring_width: Standard deviation in voxels of a ring's profile.
        half_rings: Whether a ring is only half a circle.
        centre: Axis of rotation (y, x), relative to height and width; may lie outside 0..1.
        shading: Change of gain over the height and over the width.
        motion: Displacement (y, x) in voxels of a part of the scan.
        motion_share: Share of the scan that is displaced, 0..1.
        rim: Brightening at the rim of the field of view.
        rim_radius: Radius of the field of view around the middle, relative to half the shorter
            side.
        gamma: Exponent of the grey scale between attenuations -0.2 and 1.2; 1 leaves it.
    """

    blur: float = 1.0
    resolution: float = 1.0
    edges: float = 0.0
    edge_width: float = 1.5
    noise: float = 0.06
    noise_correlation: float = 0.6
    cupping: float = 0.0
    streaks: float = 0.0
    dense: float = 0.7
    rings: float = 0.0
    ring_width: float = 0.7
    half_rings: bool = False
    centre: tuple[float, float] = (0.5, 0.5)
    shading: tuple[float, float] = (0.0, 0.0)
    motion: tuple[float, float] = (0.0, 0.0)
    motion_share: float = 0.0
    rim: float = 0.0
    rim_radius: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        for name in ("blur", "edges", "noise", "noise_correlation", "cupping", "streaks", "rings"):
            if getattr(self, name) < 0:
                raise UsageError(f"'{name}' of a scanner cannot be negative")
        if not 0 <= self.motion_share <= 1:
            raise UsageError(f"'motion_share' must be 0 to 1, not {self.motion_share}")
        if self.resolution < 1:
            raise UsageError(f"'resolution' must be 1 or more, not {self.resolution}")
        if min(self.rim_radius, self.gamma) <= 0:
            raise UsageError("'rim_radius' and 'gamma' of a scanner must be positive")
        if self.ring_width < effects.MIN_RING_WIDTH:
            raise UsageError(f"'ring_width' must be {effects.MIN_RING_WIDTH} or more")


@dataclass(frozen=True)
class FastScannerRanges:
    """What scanners are drawn from: a range for what they all have, a share for what some have.

    Ranges of blur, noise and cupping follow docs/physics.md; the shares are a choice.

    Attributes:
        blur: Standard deviation in voxels, log-uniform.
        noise: Standard deviation relative to the step from air to bone, log-uniform.
        noise_correlation: Voxels, uniform.
        min_cnr: Least contrast of bone to marrow over the noise; stronger noise is lowered to it.
        cupping: Uniform, in ``cupping_share`` of scanners, and likewise below.
        cupping_share: Share.
        streaks: Uniform.
        streaks_share: Share.
        rings: Root mean square, log-uniform.
        rings_share: Share.
        off_centre_share: Share of scanners whose axis is anywhere within a width around the slice.
        shading: Largest change of gain over the slice.
        shading_share: Share.
        edges: Uniform.
        edges_share: Share.
        motion: Displacement in voxels, uniform.
        motion_share: Share.
        resolution: Factor, log-uniform.
        resolution_share: Share.
        rim: Uniform.
        rim_share: Share.
        gamma: Log-uniform.
        gamma_share: Share.
    """

    blur: Range = (0.5, 2.0)
    noise: Range = (0.02, 0.25)
    noise_correlation: Range = (0.3, 1.2)
    min_cnr: float = 2.5
    cupping: Range = (0.0, 0.5)
    cupping_share: float = 0.5
    streaks: Range = (0.05, 0.5)
    streaks_share: float = 0.2
    rings: Range = (0.005, 0.05)
    rings_share: float = 0.3
    off_centre_share: float = 0.4
    shading: float = 0.25
    shading_share: float = 0.25
    edges: Range = (0.2, 1.5)
    edges_share: float = 0.2
    motion: Range = (1.0, 5.0)
    motion_share: float = 0.08
    resolution: Range = (1.2, 2.5)
    resolution_share: float = 0.2
    rim: Range = (0.05, 0.5)
    rim_share: float = 0.1
    gamma: Range = (0.7, 1.4)
    gamma_share: float = 0.2


DEFAULT_RANGES = FastScannerRanges()
#: Levels of attenuation that a gamma leaves alone.
GAMMA_LEVELS = (-0.2, 1.2)


def draw_fast_scanner(
    rng: np.random.Generator,
    *,
    contrast: float = 0.75,
    ranges: FastScannerRanges = DEFAULT_RANGES,
) -> FastScannerSpec:
    """Draw a scanner.

    Args:
        rng: The generator. The same number of values is drawn whatever comes out, so that a share
            set to 0 leaves the other artefacts as they were.
        contrast: Contrast of bone to what fills its pores, in attenuation; it bounds the noise.
        ranges: What is drawn from.

    Returns:
        The scanner.

    Raises:
        UsageError: If the contrast is not positive.
    """
    if contrast <= 0:
        raise UsageError(f"the contrast of bone must be positive, not {contrast}")
    r = ranges

    def some(share: float, value: float, otherwise: float = 0.0) -> float:
        return value if rng.random() < share else otherwise

    direction, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*r.motion)
    shading = rng.uniform(-r.shading, r.shading, 2) * some(r.shading_share, 1.0)
    near, far = rng.normal(0.5, 0.03, 2), rng.uniform(-0.5, 1.5, 2)
    centre = far if rng.random() < r.off_centre_share else near
    return FastScannerSpec(
        blur=log_uniform(rng, r.blur),
        resolution=some(r.resolution_share, log_uniform(rng, r.resolution), 1.0),
        edges=some(r.edges_share, float(rng.uniform(*r.edges))),
        edge_width=float(rng.uniform(0.8, 3.0)),
        noise=min(log_uniform(rng, r.noise), contrast / r.min_cnr),
        noise_correlation=float(rng.uniform(*r.noise_correlation)),
        cupping=some(r.cupping_share, float(rng.uniform(*r.cupping))),
        streaks=some(r.streaks_share, float(rng.uniform(*r.streaks))),
        rings=some(r.rings_share, log_uniform(rng, r.rings)),
        ring_width=float(rng.uniform(0.4, 1.5)),
        half_rings=bool(rng.random() < 0.4),
        centre=(float(centre[0]), float(centre[1])),
        shading=(float(shading[0]), float(shading[1])),
        motion=(distance * float(np.sin(direction)), distance * float(np.cos(direction))),
        motion_share=some(r.motion_share, float(rng.uniform(0.1, 0.5))),
        rim=some(r.rim_share, float(rng.uniform(*r.rim))),
        rim_radius=float(rng.uniform(0.95, 1.4)),
        gamma=some(r.gamma_share, log_uniform(rng, r.gamma), 1.0),
    )


def image_slice(attenuation: Float32, spec: FastScannerSpec, rng: np.random.Generator) -> Float32:
    """Show a slice as a scanner would.

    Args:
        attenuation: float32 (y, x); 0 air, 1 cortical bone.
        spec: The scanner.
        rng: The generator of rings and noise.

    Returns:
        float32 (y, x), on the same scale; ``window`` makes the grey values of a file of it.

    Raises:
        UsageError: If ``attenuation`` is no float32 slice.
    """
    if attenuation.ndim != 2 or attenuation.dtype != np.float32 or attenuation.size == 0:
        raise UsageError(
            f"a slice is a float32 (y, x) array, not {attenuation.dtype} {attenuation.shape}"
        )
    ny, nx = attenuation.shape
    image = _optics(_scan(attenuation, spec), spec)
    if spec.rings > 0:
        image = effects.add_rings(
            image,
            rng,
            sd=spec.rings,
            width=spec.ring_width,
            centre=(spec.centre[0] * (ny - 1), spec.centre[1] * (nx - 1)),
            half=spec.half_rings,
        )
    if spec.noise > 0:
        image = effects.add_noise(image, rng, sd=spec.noise, correlation=spec.noise_correlation)
    if spec.gamma != 1:
        black, white = GAMMA_LEVELS
        image = effects.gamma(image, exponent=spec.gamma, black=black, white=white)
    return image if image is not attenuation else attenuation.copy()


def _scan(image: Float32, spec: FastScannerSpec) -> Float32:
    """Apply what comes of the specimen in the beam: hardening, motion, truncation."""
    ny, nx = image.shape
    if spec.streaks > 0:
        image = add_streaks(image, strength=spec.streaks, threshold=spec.dense)
    if spec.cupping > 0:
        image = add_cupping(image, fraction=spec.cupping)
    if spec.motion_share > 0:
        image = effects.double(image, shift=spec.motion, share=spec.motion_share)
    if spec.rim > 0:
        radius = spec.rim_radius * min(ny, nx) / 2
        middle = ((ny - 1) / 2, (nx - 1) / 2)
        image = effects.brighten_rim(image, amount=spec.rim, centre=middle, radius=radius)
    return image


def _optics(image: Float32, spec: FastScannerSpec) -> Float32:
    """Apply what comes of the source, the detector and the filter: blur, edges, shading."""
    if spec.blur > 0:
        image = effects.blur(image, sigma=spec.blur)
    if spec.resolution > 1:
        image = effects.lose_resolution(image, factor=spec.resolution)
    if spec.edges > 0:
        image = effects.enhance_edges(image, amount=spec.edges, sigma=spec.edge_width)
    if any(spec.shading):
        image = effects.shade(image, slope=spec.shading)
    return image
