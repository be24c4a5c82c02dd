from __future__ import annotations

import numpy as np
import pytest

from osteon.datasets import Part, patch_source, resample_pair, scan_statistics
from osteon.datasets.random_patches import RandomPatches
from osteon.datasets.sampling import (
    VoxelDraw,
    isotropic,
    runs,
    slices_to_use,
    visible_slices,
)
from osteon.errors import InputError, OsteonWarning, UsageError
from osteon.labels import BONE_PORES
from osteon.settings import ValidationSettings

from .voxels import fit_settings, parts_of, restore, scan


def source(pairs, parts=None, *, empty=None, cache_bytes=0, **entries) -> RandomPatches:
    return patch_source(
        pairs,
        parts or parts_of(pairs),
        settings=fit_settings(**entries),
        statistics=scan_statistics(pairs, "zscore"),
        labels=BONE_PORES,
        cache_bytes=cache_bytes,
        empty=empty or {},
    )


def speck(shape: tuple[int, int, int], where: list[tuple[int, int, int]], value: int = 2):
    """Background with bone all over the last rows, and single voxels of a class."""
    classes = np.zeros(shape, np.uint8)
    classes[:, -8:] = 1
    for place in where:
        classes[place] = value
    return classes


def test_voxels_are_drawn_evenly_from_slices_and_within_them() -> None:
    masks = {3: np.zeros((4, 5), bool), 5: None, 8: np.zeros((4, 5), bool)}
    masks[3][[0, 2, 2], [4, 0, 1]] = True
    masks[8][3, 3] = True
    asked = []

    def wanted(z):
        asked.append(z)
        return masks[z]

    draw = VoxelDraw([3, 5, 8], wanted=wanted, rng=np.random.default_rng(1))
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(6000):
        assert draw.turn()
        voxel = draw.voxel()
        seen[voxel] = seen.get(voxel, 0) + 1
    assert asked.count(5) <= 1
    expected = {(3, 0, 4): 1000, (3, 2, 0): 1000, (3, 2, 1): 1000, (8, 3, 3): 3000}
    assert set(seen) == set(expected)
    # Chi-square with 3 degrees of freedom: 16.3 is its 99.9 % quantile.
    assert sum((seen[k] - n) ** 2 / n for k, n in expected.items()) < 16.3
    nothing = VoxelDraw([5], wanted=wanted, rng=np.random.default_rng(1))
    assert not nothing.turn()


@pytest.mark.parametrize(("share", "per_slice", "holding"), [(0.5, 4, 2), (0.5, 3, 2), (1, 4, 4)])
def test_a_share_of_a_slices_patches_holds_the_class(share, per_slice, holding) -> None:
    # A single voxel of pores in a large slice: by chance 1 patch in 30 has it.
    pair = scan("a", (3, 200, 200), classes=speck((3, 200, 200), [(0, 17, 150), (2, 0, 0)]))
    made = source([pair], patches={"share": share, "per_slice": per_slice, "must_hold": "pores"})
    for epoch in range(5):
        for slice_number in (0, 2):
            found = [
                2 in made.item(epoch, slice_number * per_slice + k)[1] for k in range(per_slice)
            ]
            assert all(found[:holding])


def test_patches_that_hold_a_voxel_have_it_at_every_place() -> None:
    pair = scan("a", (1, 200, 200), classes=speck((1, 200, 200), [(0, 90, 80)]))
    made = source([pair], patches={"share": 1, "per_slice": 1, "must_hold": "pores"})
    at = np.array([np.argwhere(made.item(epoch, 0)[1] == 2)[0] for epoch in range(400)])
    assert at.min() == 0
    assert at.max() == 31
    # The mean of 400 of 0..31, 15.5, has a standard error of 0.46.
    np.testing.assert_allclose(at.mean(axis=0), 15.5, atol=4 * 0.46)


def test_slices_without_the_class_are_patched_as_if_nothing_were_asked() -> None:
    pairs = [scan("a", (2, 120, 120), classes=speck((2, 120, 120), [(1, 60, 60)]))]
    plain = source(pairs)
    asked = source(pairs, patches={"share": 1, "must_hold": "pores"})
    for index in range(3):
        np.testing.assert_array_equal(plain.item(4, index)[0], asked.item(4, index)[0])
    assert all(2 in asked.item(4, index)[1] for index in range(3, 6))


def test_foreground_is_every_class_but_the_first_and_not_what_is_ignored() -> None:
    classes = np.zeros((2, 150, 150), np.uint8)
    classes[0, 20, 20] = 1
    classes[0, 130, 130] = 2
    pair = scan("a", (2, 150, 150), classes=classes)
    made = source([pair], patches={"share": 1, "per_slice": 1, "max_overlap": 1})
    seen = [np.unique(made.item(epoch, 0)[1]).tolist() for epoch in range(60)]
    assert all(values in ([0, 1], [0, 2]) for values in seen)
    # Each of the two voxels is as likely: fewer than 12 of 60 has a probability below 1e-6.
    assert sum(values == [0, 1] for values in seen) in range(12, 49)


def test_patches_that_hold_a_class_still_overlap_little() -> None:
    classes = np.zeros((1, 150, 150), np.uint8)
    classes[:, 10:140, 10:140] = 1
    pair = scan("a", (1, 150, 150), classes=classes)
    made = source([pair], patches={"share": 0.5, "per_slice": 4, "max_overlap": 0.05})
    for epoch in range(20):
        sets = [set(restore(made.item(epoch, k)[0][0], pair).ravel()) for k in range(4)]
        for i, one in enumerate(sets):
            assert all(len(one & other) <= 0.05 * 32**2 for other in sets[:i])


def test_a_class_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"background, bone, pores, foreground") as caught:
        source([scan("a", (1, 40, 40))], patches={"must_hold": "cartilage"})
    assert caught.value.where == "patches.must_hold"
    with pytest.raises(UsageError, match="no class 'ignore'"):
        source([scan("a", (1, 40, 40))], patches={"must_hold": "ignore"})


def test_a_share_of_less_than_half_a_patch_is_said() -> None:
    with pytest.warns(OsteonWarning, match="share-too-small"):
        source([scan("a", (1, 40, 40))], patches={"share": 0.1, "per_slice": 4})


def test_empty_slices_are_left_out_where_asked() -> None:
    pairs = [scan("a", (5, 40, 40)), scan("b", (2, 40, 40), seed=1)]
    empty = {"a": {1, 3}, "b": frozenset((0, 1))}
    assert len(source(pairs, empty=empty)) == 7 * 3
    made = source(pairs, empty=empty, patches={"skip_empty": True})
    assert len(made) == 3 * 3
    found = [
        int(
            np.argwhere(pairs[0].image.array == restore(made.item(0, i)[0][0], pairs[0])[0, 0])[
                0, 0
            ]
        )
        for i in range(9)
    ]
    assert found == [0, 0, 0, 2, 2, 2, 4, 4, 4]
    with pytest.raises(InputError, match="all background") as caught:
        source(pairs, empty=empty | {"a": range(5)}, patches={"skip_empty": True})
    assert caught.value.where == "a, b"


def test_runs() -> None:
    assert runs([]) == []
    assert runs([4]) == [range(4, 5)]
    assert runs([0, 1, 2, 5, 7, 8]) == [range(0, 3), range(5, 6), range(7, 9)]


def test_what_may_be_seen_ends_before_what_is_measured() -> None:
    pair = scan("a", (30, 33, 33))
    slabs = ValidationSettings(method="slabs", gap=4)
    part = [Part("a", tuple(range(3, 19))), Part("b", (29,))]
    # Learned from up to 18, a gap of 19..22, measured from 23.
    assert visible_slices(pair, part, slabs) == range(0, 23)
    assert visible_slices(pair, part, ValidationSettings()) == range(0, 30)
    cut = scan("a", (30, 33, 33), slices=(2, 21))
    assert visible_slices(cut, part, slabs) == range(2, 21)
    assert slices_to_use(cut) == range(2, 21)


def test_the_manifests_range_of_slices_holds_on_another_grid() -> None:
    # Slices 4..10 of 10 µm are 2..5 of 20 µm; at 5 µm each slice is two.
    pair = scan("a", (16, 8, 8), slices=(4, 10), voxel_size=(10.0, 10.0, 10.0))
    statistics = scan_statistics([pair], "zscore")["a"]
    for size, expected in ((20.0, range(2, 5)), (5.0, range(8, 20)), (10.0, range(4, 10))):
        seen = resample_pair(pair, size, mode="3D", statistics=statistics)
        assert slices_to_use(seen) == expected
        assert set(seen.labelled) <= set(expected)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((10.0, 10.0, 10.0), True),
        ((10.9, 10.0, 10.0), True),
        ((11.1, 10.0, 10.0), False),
        ((40.0, 10.0, 10.0), False),
        ((None, 10.0, 10.0), True),
        ((None, None, None), True),
    ],
)
def test_isotropic_within_ten_per_cent_or_unknown(size, expected) -> None:
    assert isotropic(scan("a", (2, 4, 4), voxel_size=size)) is expected
