"""SMI against shapes whose index is known: 0 plates, 3 rods, 4 spheres."""

from __future__ import annotations

import numpy as np
import pytest

from osteon.morphometry import measure
from osteon.morphometry.model_index import structure_model_index
from osteon.settings import MeasureSettings, load_settings

from .shapes import CUBIC, Spacing, grid, sphere, turned

COARSE = (1.6, 1.0, 1.0)


@pytest.mark.parametrize("spacing", [CUBIC, COARSE])
def test_spheres_rods_and_plates(spacing: Spacing) -> None:
    shape = (round(44 / spacing[0]), 44, 44)
    # Within 6 %: the sphere, the turned rod and the plate are staircases of voxels.
    assert structure_model_index(sphere(14.0, shape, spacing), spacing) == pytest.approx(
        4, rel=0.06
    )
    z, y, x = turned(shape, spacing)
    rod, plate = y**2 + x**2 <= 6.0**2, np.abs(z) <= 5.0
    assert structure_model_index(rod, spacing) == pytest.approx(3, rel=0.06)
    assert structure_model_index(plate, spacing) == pytest.approx(0, abs=0.06)


def test_a_cut_is_no_surface() -> None:
    _, y, x = grid((40, 31, 31))
    rod = y**2 + x**2 <= 9.0**2
    whole = structure_model_index(rod, CUBIC)
    within = np.zeros_like(rod)
    within[10:25] = True
    assert whole == pytest.approx(3, rel=0.03)
    assert structure_model_index(rod, CUBIC, within=within) == pytest.approx(whole, rel=0.03)


def test_concave_surface_is_negative() -> None:
    # A hollow of radius r in bone: S' is that of the sphere, negative.
    shape, r = (40, 40, 40), 12.0
    hollow = ~sphere(r, shape)
    volume, area = np.count_nonzero(hollow), 4 * np.pi * r**2
    expected = -6 * volume * 8 * np.pi * r / area**2
    assert structure_model_index(hollow, CUBIC) == pytest.approx(expected, rel=0.06)


def test_without_surface_there_is_none() -> None:
    solid = np.ones((6, 6, 6), bool)
    assert structure_model_index(solid, CUBIC) is None
    assert structure_model_index(~solid, CUBIC) is None
    assert structure_model_index(solid[:1], CUBIC) is None
    nowhere = np.zeros((30, 31, 31), bool)
    rod = np.zeros_like(nowhere)
    rod[:, 10:20, 10:20] = True
    assert structure_model_index(rod, CUBIC, within=nowhere) is None


def test_it_is_measured_where_it_is_named() -> None:
    _, y, x = grid((20, 40, 40))
    core = np.where(y**2 + x**2 <= 8.0**2, 1, 2).astype(np.uint8)
    settings = load_settings(
        MeasureSettings, overrides=["content=trabecular", "measures=[smi, bv-tv]"]
    )
    (bone,) = measure(core, 10.0, settings=settings)
    assert bone.figures["smi"].value == pytest.approx(3, rel=0.06)
    assert bone.figures["smi"].unit == "1"
    (usual,) = measure(core, 10.0, settings=MeasureSettings(content="trabecular"))
    assert "smi" not in usual.figures
