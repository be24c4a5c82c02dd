"""The image-domain scanner: a few milliseconds a slice, for the training stream.

``effects`` and ``sinogram`` hold one function an artefact, with every parameter explicit and
nothing random but what a given generator draws; ``scanner`` draws a specification and applies
all of it. Slices are float32 (y, x) of relative attenuation: 0 is air, 1 cortical bone. NumPy and
SciPy alone are imported.
"""

from osteon.simulation.physics.fast.effects import (
    add_noise,
    add_rings,
    blur,
    brighten_rim,
    double,
    enhance_edges,
    gamma,
    lose_resolution,
    reconstruction_noise,
    shade,
)
from osteon.simulation.physics.fast.scanner import (
    FastScannerRanges,
    FastScannerSpec,
    draw_fast_scanner,
    image_slice,
)
from osteon.simulation.physics.fast.sinogram import add_cupping, add_streaks

__all__ = [
    "FastScannerRanges",
    "FastScannerSpec",
    "add_cupping",
    "add_noise",
    "add_rings",
    "add_streaks",
    "blur",
    "brighten_rim",
    "double",
    "draw_fast_scanner",
    "enhance_edges",
    "gamma",
    "image_slice",
    "lose_resolution",
    "reconstruction_noise",
    "shade",
]
