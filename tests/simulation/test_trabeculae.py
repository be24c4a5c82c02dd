"""Tb.Th and Tb.Sp measured back by maximal spheres, independently of how they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from osteon.simulation import TrabecularSpec
from osteon.simulation.grids import CoarseGrid
from osteon.simulation.randomness import generator
from osteon.simulation.trabeculae import capsule, draw_trabeculae, plate

VOXEL = 12.0
SHAPE = (72, 72, 72)


def local_thickness(mask, *, radii=16):
    """Mean diameter of the maximal spheres (Hildebrand and Rüegsegger 1997) in voxels."""
    depth = ndimage.distance_transform_edt(mask)
    out = np.zeros(mask.shape)
    for r in np.linspace(0.8, depth.max(), radii):
        out[ndimage.distance_transform_edt(depth < r) < r] = 2 * r
    return out[mask].mean()


def everywhere(points):
    return np.ones(len(points), bool)


def draw(spec, *, seed=3, shape=SHAPE):
    grid = CoarseGrid.around(shape, voxel_um=VOXEL, margin_um=0.0)
    return draw_trabeculae(spec, grid, generator(seed), wanted=everywhere)


def test_the_measure_itself_on_a_slab_and_a_rod():
    slab = np.zeros((40, 40, 40), bool)
    slab[:, :, 15:23] = True
    assert local_thickness(slab, radii=32) == pytest.approx(8.0, rel=0.08)
    y, x = np.mgrid[:40, :40] - 19.5
    rod = np.repeat((np.hypot(y, x) < 6)[None], 40, axis=0)
    # Voxels at the rim of a thin rod are in smaller spheres only: about a voxel less on average.
    assert local_thickness(rod, radii=32) == pytest.approx(12.0, rel=0.12)


@pytest.mark.parametrize(
    ("plates", "anisotropy", "thickness", "spacing"),
    [(0.0, 1.0, 72, 240), (0.4, 1.4, 72, 300), (0.7, 1.2, 96, 260)],
)
def test_thickness_and_spacing_are_as_asked(plates, anisotropy, thickness, spacing):
    bone = draw(TrabecularSpec(thickness, spacing, plates=plates, anisotropy=anisotropy)) >= 0
    assert local_thickness(bone) * VOXEL == pytest.approx(thickness, rel=0.12)
    assert local_thickness(~bone) * VOXEL == pytest.approx(spacing, rel=0.15)


def test_network_is_connected():
    bone = draw(TrabecularSpec(60, 220, plates=0.3)) >= 0
    regions, n = ndimage.label(bone)
    sizes = np.bincount(regions.ravel(), minlength=n + 1)[1:]
    assert sizes.max() > 0.97 * bone.sum()


def test_more_plates_make_more_bone():
    fractions = [(draw(TrabecularSpec(60, 220, plates=p)) >= 0).mean() for p in (0.0, 0.4, 0.8)]
    assert fractions[0] < fractions[1] < fractions[2]


def test_anisotropy_lengthens_cells_along_z():
    bone = draw(TrabecularSpec(50, 180, anisotropy=2.0)) >= 0
    # Mean chord length: bone voxels over the ends of chords along an axis.
    chords = [bone.sum() / (np.diff(bone, axis=a) != 0).sum() for a in range(3)]
    assert chords[0] > 1.3 * max(chords[1:])


def test_capsule_and_plate_are_distances():
    at = tuple(np.array([v], dtype=np.float32) for v in (1.0, 4.0, 0.0))
    a, b = np.array([-5.0, 0, 0]), np.array([7.0, 0, 0])
    # The point is 4 from the middle of the rod, whose radius is 1 there and 3 at its ends.
    assert capsule(at, a, b, middle=1.0, node=3.0)[0] == pytest.approx(1.0 - 4.0)
    beyond = tuple(np.array([v], dtype=np.float32) for v in (9.0, 0.0, 0.0))
    assert capsule(beyond, a, b, middle=1.0, node=3.0)[0] == pytest.approx(3.0 - 2.0)
    corners = np.array([[0, -9, -9], [0, -9, 9], [0, 9, 9], [0, 9, -9]], dtype=float)
    assert plate(at, corners, half=2.0, hole=0.0)[0] == pytest.approx(2.0 - 1.0)
    assert plate(at, corners, half=2.0, hole=5.0)[0] == pytest.approx(4.0 - 5.0)


def test_scale_gradient_makes_trabeculae_finer_and_closer_along_it():
    rise = 0.3 / (SHAPE[0] / 2 * VOXEL)
    bone = draw(TrabecularSpec(72, 240, plates=0.2, gradient_per_um=(rise, 0.0, 0.0))) >= 0
    low, high = bone[:30], bone[-30:]
    # The scale is 1 - 0.17 and 1 + 0.17 on average there.
    assert local_thickness(high) < 0.85 * local_thickness(low)
    assert local_thickness(~high) < 0.9 * local_thickness(~low)
    assert high.mean() == pytest.approx(low.mean(), rel=0.25)


def test_density_gradient_thickens_alone():
    rise = 0.4 * 72 / (SHAPE[0] / 2 * VOXEL)
    spec = TrabecularSpec(72, 260, plates=0.2, density_per_um=(rise, 0.0, 0.0))
    bone = draw(spec) >= 0
    assert bone[-24:].mean() > 1.4 * bone[:24].mean()
    plain = draw(TrabecularSpec(72, 260, plates=0.2)) >= 0
    assert bone[34:38].mean() == pytest.approx(plain[34:38].mean(), rel=0.1)


def test_arcades_turn_the_cells():
    """Cells are long along z in the middle, and lean along x above and below it."""
    radius = 1.2 * SHAPE[0] * VOXEL
    spec = TrabecularSpec(40, 150, plates=0.0, anisotropy=2.2, arcade_per_um=1 / radius)

    def lean(bone):
        # Sine of twice the angle of the structure tensor's smallest axis in the plane of z, x.
        smooth = ndimage.gaussian_filter(bone.astype(float), 1.0)
        gz, _, gx = np.gradient(smooth)
        return -2 * (gz * gx).mean() / (gz**2 + gx**2).mean()

    bent = draw(spec) >= 0
    straight = draw(TrabecularSpec(40, 150, plates=0.0, anisotropy=2.2)) >= 0
    bend = lean(bent[:24]) - lean(bent[-24:])
    assert abs(bend) > 0.1
    assert abs(bend) > 2 * abs(lean(straight[:24]) - lean(straight[-24:]))
