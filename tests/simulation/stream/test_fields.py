"""Random fields: their statistics against what was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import Voronoi

from osteon.simulation.stream import fields
from osteon.simulation.stream.fields import Frame, as_distance, draw_mosaic, gaussian_field

FRAME = Frame(192)


@pytest.mark.parametrize("wavelength", [6.0, 15.0, 40.0])
def test_a_field_has_the_variance_and_the_wavelength_asked_for(wavelength: float) -> None:
    drawn = [
        gaussian_field(FRAME, np.random.default_rng(k), wavelength=wavelength, band=0.1)
        for k in range(12)
    ]
    assert np.var(drawn) == pytest.approx(1, abs=0.15)
    # Rice 1944: zeros of a Gaussian process along a line lie half a wavelength of its root mean
    # square wave number apart; of waves of one length in all directions that number is k / √2.
    signs = np.sign(np.stack(drawn))
    zeros = (np.diff(signs, axis=2) != 0).mean()
    assert zeros == pytest.approx(2 / (wavelength * np.sqrt(2)), rel=0.1)


def test_a_stretched_field_has_fewer_zeros_along_its_direction() -> None:
    field = gaussian_field(FRAME, np.random.default_rng(0), wavelength=12, stretch=3.0, angle=0.0)
    along, across = ((np.diff(np.sign(field), axis=a) != 0).mean() for a in (1, 0))
    assert across > 2 * along


def test_the_distance_of_a_disk_is_right_near_its_rim() -> None:
    y, x = FRAME.grid
    distance = as_distance((50.0**2 - y**2 - x**2).astype(np.float32))
    true = 50 - np.hypot(y, x)
    near = np.abs(true) < 2
    assert np.abs(distance - true)[near].max() < 0.06
    assert fields.share(distance).sum() == pytest.approx(np.pi * 50**2, rel=2e-3)


def test_a_mosaic_is_that_of_its_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[np.ndarray] = []
    draw = fields._seeds

    def keep(*args: object) -> np.ndarray:
        seeds.append(draw(*args))
        return seeds[-1]

    monkeypatch.setattr(fields, "_seeds", keep)
    frame = Frame(65)
    mosaic = draw_mosaic(frame, np.random.default_rng(3), cell=20, stretch=1.0, warp=0.0)
    voronoi = Voronoi(seeds[0])
    y, x = np.meshgrid(*[np.arange(65) - 32.0] * 2, indexing="ij")
    points = np.stack([np.zeros(65 * 65), y.ravel(), x.ravel()], 1)
    # An independent way: the least distance to the planes between the own cell and its neighbours.
    own = np.argmin(((points[:, None] - seeds[0][None]) ** 2).sum(2), axis=1)
    a, b = voronoi.ridge_points.T
    wall = np.full(len(points), np.inf)
    for first, second in zip(np.append(a, b), np.append(b, a), strict=True):
        mine = own == first
        if mine.any():
            normal = seeds[0][second] - seeds[0][first]
            length = np.linalg.norm(normal)
            middle = (seeds[0][second] + seeds[0][first]) / 2
            wall[mine] = np.minimum(wall[mine], (middle - points[mine]) @ normal / length)
    found = mosaic.wall[::2, ::2].ravel()
    true = wall.reshape(65, 65)[::2, ::2].ravel()
    # The second nearest seed need not be that of the nearest wall, but mostly is.
    assert np.median(np.abs(found - true)) < 1e-4
    assert (np.abs(found - true) < 0.5).mean() > 0.9
    assert (mosaic.edge >= mosaic.wall - 1e-3).all()
