from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import euler_number as reference
from skimage.measure import marching_cubes, mesh_surface_area

from osteon.morphometry import euler_number, euler_of_slabs, purify
from osteon.morphometry.objects import find_objects
from osteon.morphometry.surface import SLAB, surface_area

from .shapes import CUBIC, Mask, foam, lattice, sphere


@settings(max_examples=60, deadline=None)
@given(arrays(np.bool_, st.tuples(*(st.integers(1, 6),) * 3)))
def test_the_euler_number_is_that_of_scikit_image(mask: Mask) -> None:
    assert euler_number(mask).number == reference(np.pad(mask, 1), connectivity=3)


@pytest.mark.parametrize("depth", [1, 7, 20, 64])
def test_slabs_give_the_whole(depth: int) -> None:
    mask = foam((61, 30, 25), seed=1)  # crosses three slabs of 20, and the default's two
    slabs = (mask[z : z + depth] for z in range(0, len(mask), depth))
    found = euler_of_slabs(slabs)
    assert found.number == reference(np.pad(mask, 1), connectivity=3)
    assert found == euler_number(mask)


@pytest.mark.parametrize("cells", [1, 2, 3])
def test_a_lattice_has_two_connections_a_node(cells: int) -> None:
    # A node has six half rods: χ = 1 − 3 = −2. The cut rods at the faces count by halves.
    found = euler_number(lattice(cells))
    assert found.corrected == -2 * cells**3
    assert found.connectivity == 1 + 2 * cells**3


def test_a_torus_a_shell_and_a_full_box() -> None:
    ring = np.zeros((3, 9, 9), bool)
    ring[1, 2:7, 2:7] = True
    ring[1, 4, 4] = False
    assert euler_number(ring).number == 0
    shell = sphere(5, (13, 13, 13)) & ~sphere(2, (13, 13, 13))
    assert euler_number(shell).number == 2
    full = euler_number(np.ones((4, 5, 6), bool))
    assert (full.number, full.corrected) == (1, 0)


def test_purification_takes_particles_and_fills_cavities() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[2:12, 2:12, 2:12] = True
    mask[5, 5, 5] = False  # a cavity
    mask[11, 11, 11] = False  # a dent
    mask[15:17, 15:17, 15:17] = True  # a particle
    mask[12, 12, 12] = True  # hangs on by nothing: its corner neighbour is the dent
    found = purify(mask)
    assert (found.removed, found.pieces, found.filled) == (9, 2, 1)
    assert euler_number(found.mask).number == 1
    cut = purify(mask[5:])  # now the cavity is open to the edge of the image
    assert cut.filled == 0


def test_particles_touching_by_a_corner_belong_together() -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[1:3, 1:3, 1:3] = True
    mask[3:5, 3:5, 3:5] = True
    assert purify(mask).removed == 0


def test_purifying_nothing() -> None:
    found = purify(np.zeros((3, 3, 3), bool))
    assert not found.mask.any()
    assert found.pieces == 0


def test_surface_in_slabs_is_that_of_the_whole() -> None:
    mask = foam((2 * SLAB + 9, 20, 20), seed=5)
    spacing = (2.0, 1.0, 1.5)
    corners, triangles, _, _ = marching_cubes(mask.astype(np.float32), 0.5, spacing=spacing)
    assert surface_area(mask, spacing) == pytest.approx(
        mesh_surface_area(corners, triangles), rel=1e-5
    )


def test_surface_of_a_box_and_a_sphere() -> None:
    box = np.zeros((30, 30, 30), bool)
    box[5:25, 5:25, 5:25] = True
    assert surface_area(box, CUBIC) == pytest.approx(6 * 20**2, rel=0.04)  # its edges are cut off
    assert surface_area(box[:, :, 10:20], CUBIC) == pytest.approx(4 * 20 * 9, rel=0.04)  # cut
    ball = sphere(15, (36, 36, 36))
    # The staircase makes it 8 to 10 % too large; the docs say so.
    assert surface_area(ball, CUBIC) / (4 * np.pi * 15**2) == pytest.approx(1.09, abs=0.01)


def test_bones_are_found_by_size_and_fragments_counted() -> None:
    mask = np.zeros((10, 30, 30), bool)
    mask[1:4, 1:5, 1:5] = True
    mask[2:9, 10:20, 10:20] = True
    mask[9, 29, 29] = True
    found = find_objects(mask, least_share=0.01)
    assert len(found.numbers) == 2
    assert found.boxes[0] == (slice(2, 9), slice(10, 20), slice(10, 20))
    assert (found.fragments, found.fragment_voxels) == (1, 1)
    assert find_objects(np.zeros_like(mask), least_share=0).numbers == ()


def test_a_bone_across_three_slabs_is_one() -> None:
    mask = np.zeros((96, 9, 9), bool)
    mask[2:94, 4, 4] = True
    assert len(find_objects(mask, least_share=0).numbers) == 1
