"""X-ray spectra and how materials attenuate them.

The mass attenuation coefficients are those of NIST (Hubbell & Seltzer, NISTIR 5632, 1995) for
cortical bone (ICRU-44), water, polymethyl methacrylate, titanium and aluminium, interpolated
linearly between logarithms. Soft tissue, marrow, ethanol and saline are near enough to water in
the shape of their spectrum (approximate), and most plastics to PMMA (approximate: PVC, with its
chlorine, is not). Bone of any density is taken to have the shape of cortical bone (approximate).
The emission of the tube is Kramers' law without characteristic lines (approximate; below the
K edge of tungsten at 69.5 keV the strong lines are missing anyway).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError

Floats = npt.NDArray[np.float64]

#: Photon energies of the table, keV.
ENERGIES_KEV = (10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)
#: Mass attenuation coefficients in cm²/g at these energies, coherent scattering included.
MASS_ATTENUATION: dict[str, tuple[float, ...]] = {
    "bone": (28.51, 9.032, 4.001, 1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480),
    "water": (5.329, 1.673, 0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505),
    "plastic": (3.357, 1.101, 0.5714, 0.3032, 0.2350, 0.2074, 0.1924, 0.1751, 0.1641, 0.1456),
    "metal": (110.7, 35.87, 15.85, 4.972, 2.214, 1.213, 0.7661, 0.4052, 0.2721, 0.1649),
    "aluminium": (26.23, 7.955, 3.441, 1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378),
}
#: Densities in g/cm³; "metal" is titanium.
DENSITY = {"bone": 1.92, "water": 1.0, "plastic": 1.19, "metal": 4.54, "aluminium": 2.699}
MATERIALS = tuple(MASS_ATTENUATION)
#: Energies below this carry nothing through the filter and the specimen.
LOWEST_KEV = 10.0


@dataclass(frozen=True)
class Spectrum:
    """What the detector sees of a tube, and the materials at its energies.

    Attributes:
        energies: Photon energies in keV, float64 (energy,).
        weights: Share of the detector's signal without a specimen, of sum 1, (energy,).
        bone_per_cm: Attenuation of a thin layer of cortical bone, 1/cm: the mean over the weights.
        relative: For each material, attenuation at each energy over that of a thin layer of it.
    """

    energies: Floats
    weights: Floats
    bone_per_cm: float
    relative: dict[str, Floats]


def linear_attenuation(material: str, energy_kev: Floats) -> Floats:
    """Return a linear attenuation coefficient.

    Args:
        material: One of ``MATERIALS``.
        energy_kev: Energies in keV, within 10 to 150.

    Returns:
        1/cm, float64 in the shape of ``energy_kev``.

    Raises:
        UsageError: If the material is unknown.
    """
    if material not in MASS_ATTENUATION:
        raise UsageError(
            f"the spectrum of '{material}' is not known",
            mend=f"use one of: {', '.join(MATERIALS)}",
        )
    table = np.log(MASS_ATTENUATION[material])
    mass = np.exp(np.interp(np.log(energy_kev), np.log(ENERGIES_KEV), table))
    return np.asarray(mass * DENSITY[material], dtype=np.float64)


@lru_cache(maxsize=32)
def tube_spectrum(kvp: float, *, filter_mm: float, energies: int) -> Spectrum:
    """Return the spectrum of a filtered tungsten tube on an integrating detector.

    Photons of energy E are emitted in proportion to E0 / E - 1 (Kramers 1923, E0 that of the
    voltage), the aluminium filter takes its part, and the detector's signal goes with E.

    Args:
        kvp: Tube voltage in kV, 20 to 150.
        filter_mm: Thickness of aluminium in mm, 0 or more.
        energies: Number of energies; 1 is a monochromatic beam of the mean energy, which
            hardens nothing.

    Returns:
        The spectrum.

    Raises:
        UsageError: If a value is out of range.
    """
    if not 20 <= kvp <= ENERGIES_KEV[-1]:
        raise UsageError(f"a tube voltage is 20 to 150 kV here, not {kvp}")
    if filter_mm < 0 or energies < 1:
        raise UsageError(f"a spectrum cannot have {filter_mm} mm of filter, {energies} energies")
    # Means over fine bins are the same for any number of coarse ones.
    fine = np.linspace(LOWEST_KEV, kvp, 2001)[:-1] + (kvp - LOWEST_KEV) / 4000
    signal = (kvp / fine - 1) * fine
    signal *= np.exp(-linear_attenuation("aluminium", fine) * filter_mm / 10)
    # Bins of equal signal: few energies then serve well.
    which = np.minimum((np.cumsum(signal) / signal.sum() * energies).astype(int), energies - 1)
    weights = np.bincount(which, signal, minlength=energies) / signal.sum()
    mean = np.bincount(which, signal * fine, minlength=energies) / signal.sum() / weights
    at = {m: linear_attenuation(m, mean) for m in MATERIALS}
    thin = {m: float((weights * a).sum()) for m, a in at.items()}
    return Spectrum(mean, weights, thin["bone"], {m: a / thin[m] for m, a in at.items()})
