"""A scanner that projects: its specification, and how one is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.simulation.physics.spectrum import Spectrum, tube_spectrum
from osteon.simulation.randomness import log_uniform

Floats = npt.NDArray[np.float64]

FILTERS = ("ramp", "shepp-logan", "cosine", "hamming", "hann")
HALF_TURN, TURN = 180.0, 360.0


@dataclass(frozen=True)
class ScannerSpec:
    """A scanner and a scan.

    Attributes:
        voxel_um: Voxel size in µm: with the spectrum it says how much a slice attenuates.
        kvp: Tube voltage in kV.
        filter_mm: Aluminium filter in mm.
        energies: Energies of the spectrum; 1 is a monochromatic beam.
        angles: Projections.
        arc_deg: Range of the angles in degrees: up to 180, or 360.
        start_deg: First angle.
        fan_deg: Angle of the fan that covers the slice's diagonal; 0 is a parallel beam. A fan
            needs an arc of 360.
        photons: Photons a detector element gets without a specimen; None is no noise.
        blur: Standard deviation in voxels of the detector's Gaussian point spread.
        gain_sd: Standard deviation of the errors of the elements' gains: rings.
        offset: Error of the assumed axis of rotation, in voxels along the detector.
        detector: Width of the detector relative to the slice's shorter side; None is wide enough
            for the diagonal. A smaller one truncates.
        motion: Displacement (y, x) in voxels of the specimen during the scan.
        moved_at: Share of the scan after which it moves, 0..1.
        supersample: The maps have voxels this many times smaller than the result.
        filter: Reconstruction filter, one of scikit-image's.
    """

    voxel_um: float = 20.0
    kvp: float = 70.0
    filter_mm: float = 0.5
    energies: int = 8
    angles: int = 360
    arc_deg: float = HALF_TURN
    start_deg: float = 0.0
    fan_deg: float = 0.0
    photons: float | None = 20_000.0
    blur: float = 0.5
    gain_sd: float = 0.0
    offset: float = 0.0
    detector: float | None = None
    motion: tuple[float, float] = (0.0, 0.0)
    moved_at: float = 0.5
    supersample: int = 1
    filter: str = "ramp"

    def __post_init__(self) -> None:
        if self.filter not in FILTERS:
            raise UsageError(
                f"'{self.filter}' is no reconstruction filter",
                mend=f"use one of: {', '.join(FILTERS)}",
            )
        if not 0 < self.arc_deg <= HALF_TURN and self.arc_deg != TURN:
            raise UsageError(f"an arc is up to 180 degrees, or 360, not {self.arc_deg}")
        if self.fan_deg and (self.arc_deg != TURN or not 0 < self.fan_deg < HALF_TURN):
            raise UsageError(
                f"a fan of {self.fan_deg} degrees over {self.arc_deg} cannot be reconstructed",
                mend="give a fan an arc of 360 degrees and an angle below 180",
            )
        if self.photons is not None and self.photons <= 0:
            raise UsageError(f"'photons' must be positive, or None, not {self.photons}")
        if min(self.angles, self.supersample) < 1:
            raise UsageError("'angles' and 'supersample' must be 1 or more")
        if min(self.blur, self.gain_sd) < 0 or not 0 <= self.moved_at <= 1:
            raise UsageError("'blur' and 'gain_sd' cannot be negative; 'moved_at' is 0 to 1")
        if self.voxel_um <= 0 or (self.detector is not None and self.detector <= 0):
            raise UsageError("'voxel_um' and 'detector' must be positive")
        tube_spectrum(self.kvp, filter_mm=self.filter_mm, energies=self.energies)

    @property
    def spectrum(self) -> Spectrum:
        """The spectrum of the tube."""
        return tube_spectrum(self.kvp, filter_mm=self.filter_mm, energies=self.energies)

    @property
    def bone_per_voxel(self) -> float:
        """Line integral of a voxel of cortical bone in a thin specimen."""
        return self.spectrum.bone_per_cm * self.voxel_um * 1e-4

    @property
    def angles_deg(self) -> Floats:
        """The angles of the projections in degrees."""
        step = np.float64(self.arc_deg / self.angles)
        return np.asarray(self.start_deg + np.arange(self.angles) * step, dtype=np.float64)


def draw_scanner(rng: np.random.Generator, *, voxel_um: float = 20.0) -> ScannerSpec:
    """Draw a scanner and a scan.

    Args:
        rng: The generator.
        voxel_um: Voxel size in µm.

    Returns:
        The scanner: 180 to 720 angles, 2,000 to 100,000 photons, at 50 to 90 kVp; in shares of
        scans a fan, rings, a wrong axis, a limited arc, a truncating detector, motion.
    """
    share = dict(zip(("fan", "rings", "axis", "arc", "cut", "motion"), rng.random(6), strict=True))
    fan = share["fan"] < 0.4
    direction, distance = rng.uniform(0, 2 * np.pi), rng.uniform(1.0, 4.0)
    shift = (distance * float(np.sin(direction)), distance * float(np.cos(direction)))
    limited, offset = float(rng.uniform(120, 170)), float(rng.uniform(-1.5, 1.5))
    cut, gain = float(rng.uniform(0.7, 1.0)), log_uniform(rng, (0.002, 0.02))
    fan_deg = float(rng.uniform(5, 25))
    arc = TURN if fan else (limited if share["arc"] < 0.1 else HALF_TURN)
    return ScannerSpec(
        voxel_um=voxel_um,
        kvp=float(rng.uniform(50, 90)),
        filter_mm=float(rng.uniform(0.2, 1.5)),
        angles=round(log_uniform(rng, (180, 720))),
        arc_deg=arc,
        start_deg=float(rng.uniform(0, 360)),
        fan_deg=fan_deg if fan else 0.0,
        photons=log_uniform(rng, (2_000, 100_000)),
        blur=float(rng.uniform(0.3, 1.2)),
        gain_sd=gain if share["rings"] < 0.3 else 0.0,
        offset=offset if share["axis"] < 0.15 else 0.0,
        detector=cut if share["cut"] < 0.15 else None,
        motion=shift if share["motion"] < 0.1 else (0.0, 0.0),
        moved_at=float(rng.uniform(0.2, 0.8)),
        filter=FILTERS[int(rng.integers(len(FILTERS)))],
    )
