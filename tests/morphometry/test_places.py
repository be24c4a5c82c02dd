"""Regions, compartments and sections."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import regionprops

from osteon.errors import UsageError
from osteon.morphometry import separate
from osteon.morphometry.regions import bounding_box, describe, region_mask, rotation
from osteon.morphometry.sections import moments, sections
from osteon.settings import BoxRegion, CompartmentSettings, CylinderRegion, SlabRegion, WholeRegion

from .shapes import CUBIC, grid

SHAPE, SIZE = (60, 80, 100), (20.0, 10.0, 10.0)
MIDDLE = (590.0, 395.0, 495.0)  # of the volume, in µm from the centre of the first voxel


def _volume(region: BoxRegion | CylinderRegion) -> float:
    box = bounding_box(region, SHAPE, SIZE)
    block = np.ones([s.stop - s.start for s in box], bool)
    inside = region_mask(region, block, start=tuple(s.start for s in box), spacing=SIZE)
    everything = region_mask(region, np.ones(SHAPE, bool), start=(0, 0, 0), spacing=SIZE)
    assert inside is not None
    assert everything is not None
    np.testing.assert_array_equal(everything[box], inside)
    assert np.count_nonzero(everything) == np.count_nonzero(inside)  # the box holds all of it
    return float(np.count_nonzero(inside)) * np.prod(SIZE)


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (30.0, 0.0, 0.0), (20.0, -35.0, 50.0)])
def test_a_turned_region_keeps_its_volume(turn: tuple[float, float, float]) -> None:
    box = BoxRegion(centre_um=MIDDLE, size_um=(400.0, 300.0, 200.0), turn=turn)
    assert _volume(box) == pytest.approx(400 * 300 * 200, rel=0.02)
    rod = CylinderRegion(centre_um=MIDDLE, radius_um=120.0, height_um=400.0, turn=turn)
    assert _volume(rod) == pytest.approx(np.pi * 120**2 * 400, rel=0.02)


def test_axes_turn_as_the_settings_say() -> None:
    z, y, x = np.eye(3)
    np.testing.assert_allclose(rotation((90, 0, 0)) @ x, y, atol=1e-12)  # about z: x goes to y
    np.testing.assert_allclose(rotation((0, 90, 0)) @ z, x, atol=1e-12)
    np.testing.assert_allclose(rotation((0, 0, 90)) @ y, z, atol=1e-12)
    for turn in ((10, 20, 30), (0, 90, 45)):
        matrix = rotation(turn)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)
    long = BoxRegion(centre_um=MIDDLE, size_um=(20.0, 20.0, 400.0), turn=(90.0, 0.0, 0.0))
    inside = region_mask(long, np.ones(SHAPE, bool), start=(0, 0, 0), spacing=SIZE)
    assert inside is not None
    assert np.ptp(np.nonzero(inside)[1]) == 39  # now along y
    assert np.ptp(np.nonzero(inside)[2]) <= 2


def test_slabs_by_length_and_from_a_landmark() -> None:
    bone = np.zeros(SHAPE, bool)
    bone[10:50, 5, 5] = True  # 40 slices of 20 µm
    half = region_mask(SlabRegion(start=25, stop=75), bone, start=(0, 0, 0), spacing=SIZE)
    assert half is not None
    assert set(np.flatnonzero(half[:, 0, 0])) == set(range(20, 40))
    mark = SlabRegion(unit="um", landmark_um=1000.0, start=-200.0, stop=0.0)
    assert bounding_box(mark, SHAPE, SIZE)[0] == slice(40, 51)
    before = region_mask(mark, bone, start=(0, 0, 0), spacing=SIZE)
    assert before is not None
    assert set(np.flatnonzero(before[:, 0, 0])) == set(range(40, 50))
    assert region_mask(WholeRegion(), bone, start=(0, 0, 0), spacing=SIZE) is None


def test_a_region_elsewhere_is_refused() -> None:
    with pytest.raises(UsageError, match="outside of the volume") as caught:
        bounding_box(BoxRegion(centre_um=(9e4, 0.0, 0.0)), SHAPE, SIZE)
    assert "1200 × 800 × 1000" in str(caught.value.mend)


def test_regions_say_what_they_are() -> None:
    assert describe(WholeRegion()) == "whole"
    assert describe(SlabRegion()) == "slab 45 to 55 %"
    turned = CylinderRegion(radius_um=20, turn=(0, 30, 0))
    assert "radius 20" in describe(turned)
    assert "turned by 0, 30, 0" in describe(turned)


def tube(spacing: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A tube, 800 µm across, cortex 100 µm with a canal, marrow with struts of 60 µm."""
    shape = tuple(round(1000 / s) for s in spacing)
    z, y, x = grid(shape, spacing)  # type: ignore[arg-type]
    radius = np.hypot(y, x)
    outline = radius <= 400
    cortex = outline & (radius > 300)
    canal = np.hypot(y - 350, x) <= 20
    struts = outline & ((np.abs(x) <= 30) | (np.abs(z) <= 30))
    return (cortex & ~canal) | struts, outline


@pytest.mark.parametrize("spacing", [(20.0, 20.0, 20.0), (40.0, 20.0, 20.0)])
@pytest.mark.parametrize("planar", [False, True])
def test_compartments_of_a_tube(spacing: tuple[float, float, float], planar: bool) -> None:
    bone, outline = tube(spacing)
    if planar:  # the strut across fills whole slices, which a slice alone cannot know
        keep = np.flatnonzero(~(bone == outline).all(axis=(1, 2)))
        bone, outline = bone[keep], outline[keep]
    found = separate(bone, outline, spacing, settings=CompartmentSettings(), planar=planar)
    _, y, x = grid(bone.shape, spacing)
    radius = np.hypot(y, x)
    assert (found[~outline] == 0).all()
    assert (found[outline & (radius > 330)] == 1).all()  # with the canal in it
    assert (found[outline & (radius < 240)] == 2).all()  # with the struts in it
    share = np.count_nonzero(found == 2) / np.count_nonzero(outline)
    # The ball that closes cannot reach into the corners at the feet of struts: they stay cortex.
    assert share == pytest.approx(300**2 / 400**2, rel=0.05)


def test_the_box_around_a_bone_does_not_change_its_compartments() -> None:
    bone, outline = tube((20.0, 20.0, 20.0))
    at = np.flatnonzero(outline.any(axis=(0, 2)))
    part = slice(at[0] - 1, at[-1] + 2)
    options = CompartmentSettings()
    whole = separate(bone, outline, (20.0,) * 3, settings=options, planar=False)
    cut = separate(
        bone[:, part, part], outline[:, part, part], (20.0,) * 3, settings=options, planar=False
    )
    np.testing.assert_array_equal(whole[:, part, part], cut)


def test_solid_bone_is_all_cortex() -> None:
    solid = np.zeros((10, 20, 20), bool)
    solid[:, 4:16, 4:16] = True
    found = separate(solid, solid, (20.0,) * 3, settings=CompartmentSettings(), planar=False)
    assert set(np.unique(found)) == {0, 1}


def test_moments_of_a_rectangle_and_a_ring() -> None:
    image = np.zeros((40, 50), bool)
    image[5:25, 10:40] = True  # 20 rows, 30 columns
    largest, smallest = moments(image, (1.0, 2.0))
    assert largest == pytest.approx(20 * 60**3 / 12)
    assert smallest == pytest.approx(60 * 20**3 / 12)
    _, y, x = grid((1, 200, 200))
    ring = ((np.hypot(y, x) <= 80) & (np.hypot(y, x) > 60))[0]
    for found in moments(ring, (1.0, 1.0)):
        assert found == pytest.approx(np.pi * (80**4 - 60**4) / 4, rel=0.01)


def test_moments_of_a_turned_rectangle_are_those_of_scikit_image() -> None:
    y, x = np.meshgrid(np.arange(120) - 60, np.arange(120) - 60, indexing="ij")
    u, v = y * np.cos(0.6) + x * np.sin(0.6), x * np.cos(0.6) - y * np.sin(0.6)
    image = (np.abs(u) <= 40) & (np.abs(v) <= 15)
    largest, smallest = moments(image, (1.0, 1.0))
    assert largest == pytest.approx(30 * 80**3 / 12, rel=0.03)
    found = regionprops(image.astype(np.uint8))[0].inertia_tensor_eigvals
    area = np.count_nonzero(image)
    np.testing.assert_allclose([largest, smallest], [v * area for v in found], rtol=1e-2)
    assert largest + smallest == pytest.approx(sum(found) * area + area / 6)


def test_sections_of_a_tube() -> None:
    bone, outline = tube((20.0, 20.0, 20.0))
    parts = separate(bone, outline, (20.0,) * 3, settings=CompartmentSettings(), planar=False)
    found = sections(bone, outline, (20.0,) * 3, compartments=parts, first=7)
    assert [s.z for s in found] == list(range(7, 57))
    one = found[3]
    assert one.total == pytest.approx(np.pi * 400**2, rel=0.01)
    assert one.cortex == pytest.approx(np.pi * (400**2 - 300**2), rel=0.06)
    assert one.cortex is not None
    assert one.cortex_bone == one.cortex - 400 * np.count_nonzero(
        outline[3] & ~bone[3] & (parts[3] == 1)
    )
    assert one.marrow == one.total - one.cortex
    assert one.polar == one.largest + one.smallest
    assert sections(bone & False, outline & False, CUBIC, compartments=None) == []
