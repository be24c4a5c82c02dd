"""Spectra and attenuation against other tables and hand-worked means."""

from __future__ import annotations

import numpy as np
import pytest

from osteon.errors import UsageError
from osteon.simulation.physics.spectrum import (
    DENSITY,
    MATERIALS,
    linear_attenuation,
    tube_spectrum,
)

#: cm²/g at 12, 25, 45, 70 and 120 keV by the cross sections of Elam, Ravel & Sieber (2002, Radiat.
#: Phys. Chem. 63:121), as XrayDB 4.5.8 gives them for the elements, and ICRU-44's composition.
ELAM_KEV = (12.0, 25.0, 45.0, 70.0, 120.0)
ELAM = {
    "bone": (17.03, 2.158, 0.5189, 0.2570, 0.1656),
    "water": (3.126, 0.5082, 0.2436, 0.1929, 0.1614),
    "plastic": (1.996, 0.3857, 0.2188, 0.1825, 0.1557),
    "metal": (66.81, 8.371, 1.605, 0.5361, 0.2102),
    "aluminium": (15.34, 1.836, 0.4466, 0.2301, 0.1533),
}


@pytest.mark.parametrize("material", MATERIALS)
def test_attenuation_is_that_of_another_table(material):
    got = linear_attenuation(material, np.array(ELAM_KEV)) / DENSITY[material]
    # Between the energies of the table a line between logarithms is up to 5 % off.
    np.testing.assert_allclose(got, ELAM[material], rtol=0.05)


def test_a_harder_tube_and_more_filter_raise_the_mean_energy():
    def mean(kvp, filter_mm):
        s = tube_spectrum(kvp, filter_mm=filter_mm, energies=8)
        return float((s.weights * s.energies).sum())

    assert mean(90, 0.5) > mean(50, 0.5) + 5
    assert mean(70, 2.0) > mean(70, 0.2) + 3
    # The mean does not depend on how many energies stand for it.
    one = tube_spectrum(70, filter_mm=0.5, energies=1)
    assert one.energies[0] == pytest.approx(mean(70, 0.5), rel=1e-9)


def test_the_unfiltered_spectrum_is_kramers_law():
    # Signal (E0/E - 1) E = E0 - E from 10 to E0: its mean is 10 + (E0 - 10) / 3.
    s = tube_spectrum(70, filter_mm=0, energies=5)
    assert (s.weights * s.energies).sum() == pytest.approx(10 + 60 / 3, rel=1e-4)
    assert s.weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(s.weights, 0.2, atol=2e-3)


def test_relative_attenuation_is_one_for_a_thin_layer_and_falls_with_energy():
    s = tube_spectrum(60, filter_mm=0.5, energies=6)
    for material in MATERIALS:
        assert (s.weights * s.relative[material]).sum() == pytest.approx(1)
        assert (np.diff(s.relative[material]) < 0).all()
    # Bone and metal harden a beam more than water and plastic.
    spread = {m: s.relative[m][0] / s.relative[m][-1] for m in MATERIALS}
    assert spread["metal"] > spread["bone"] > spread["water"] > spread["plastic"]
    bone = linear_attenuation("bone", s.energies)
    assert s.bone_per_cm == pytest.approx((s.weights * bone).sum())


def test_water_is_as_grey_beside_bone_as_micro_ct_shows_it():
    """Water lies at 0.13 to 0.20 of cortical bone between 50 and 90 kVp."""
    for kvp in (50, 70, 90):
        s = tube_spectrum(kvp, filter_mm=0.5, energies=12)
        water = (s.weights * linear_attenuation("water", s.energies)).sum()
        assert 0.11 < water / s.bone_per_cm < 0.22


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UsageError, match="'glass'"):
        linear_attenuation("glass", np.array([30.0]))
    with pytest.raises(UsageError, match="20 to 150"):
        tube_spectrum(300, filter_mm=0, energies=3)
    with pytest.raises(UsageError, match="filter"):
        tube_spectrum(70, filter_mm=-1, energies=3)
    assert set(DENSITY) == set(MATERIALS)
