"""Resampling against SciPy, scikit-image and SimpleITK, and cut into blocks at will."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize_local_mean

from osteon.errors import InputError, UsageError
from osteon.labels import IGNORE
from osteon.resampling import ResampledVolume, resampled_axes
from osteon.resampling import volume as resampling_volume
from osteon.volume import Array, ArrayVolume, Geometry

ALL = slice(None)
EVERY = (0, 1, 2)


def scan(
    shape: tuple[int, int, int], size: Any = 10.0, *, dtype: Any = np.uint16, seed: int = 0
) -> ArrayVolume:
    values = np.random.default_rng(seed).integers(1, 250, shape).astype(dtype)
    sizes = size if isinstance(size, tuple) else (size, size, size)
    return ArrayVolume(values, geometry=Geometry(sizes))


def classes(shape: tuple[int, int, int], seed: int = 0, *, ignored: bool = False) -> Array:
    """Smooth regions of three classes."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    labels = np.digitize(noise, np.quantile(noise, [0.4, 0.8])).astype(np.uint8)
    if ignored:
        labels[:, :, : shape[2] // 3] = IGNORE
    return labels


# --- grey values ------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.8, 1.25])
def test_interpolation_is_that_of_scipy(factor: float) -> None:
    volume = scan((20, 40, 60))  # the factors divide these, so that both grids end at one place
    found = ResampledVolume(volume, 10 * factor, axes=EVERY).read(ALL)
    expected = ndimage.zoom(
        volume.array.astype(np.float64), 1 / factor, order=1, mode="nearest", grid_mode=True
    )
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("factor", [1.5, 2, 2.5, 5])
def test_averages_are_those_of_scikit_image(factor: float) -> None:
    volume = scan((30, 60, 90))
    found = ResampledVolume(volume, 10 * factor, axes=EVERY).read(ALL)
    shape = tuple(round(n / factor) for n in volume.shape)
    expected = resize_local_mean(volume.array.astype(np.float64), shape, preserve_range=True)
    assert found.shape == shape
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_voxels_that_are_not_cubes_become_cubes() -> None:
    volume = scan((6, 20, 30), (30.0, 10.0, 20.0))
    made = ResampledVolume(volume, 20.0, axes=EVERY)
    assert made.shape == (9, 10, 30)
    assert made.geometry.voxel_size == (20.0, 20.0, 20.0)
    halves = volume.array.astype(np.float64).reshape(6, 10, 2, 30).mean(2)
    expected = ndimage.zoom(halves, (1.5, 1, 1), order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(made.read(ALL), expected, rtol=1e-5)


def test_it_overlays_as_simpleitk_sees_it() -> None:
    # A turned, shifted scan; sizes that do not divide; ITK resamples by physical position.
    c, s = np.cos(0.3), np.sin(0.3)
    geometry = Geometry((12.0, 10.0, 9.0), (40.0, -7.0, 3.0), ((1, 0, 0), (0, c, -s), (0, s, c)))
    volume = ArrayVolume(scan((7, 13, 11)).array, geometry=geometry)
    made = ResampledVolume(volume, 9.5, axes=EVERY)
    image = SimpleITK.GetImageFromArray(volume.array.astype(np.float64))
    place(image, geometry)
    expected = SimpleITK.Resample(
        image,
        made.shape[::-1],
        SimpleITK.Transform(),
        SimpleITK.sitkLinear,
        made.geometry.origin[::-1],
        made.geometry.voxel_size[::-1],
        flat(made.geometry),
        -1.0,
    )
    values = SimpleITK.GetArrayFromImage(expected)
    inside = values >= 0  # half a voxel at the far ends may lie outside of the scan
    assert inside.mean() > 0.9
    np.testing.assert_allclose(made.read(ALL)[inside], values[inside], atol=1e-3)


def flat(geometry: Geometry) -> list[float]:
    return np.array(geometry.direction)[::-1, ::-1].ravel().tolist()


def place(image: SimpleITK.Image, geometry: Geometry) -> None:
    image.SetSpacing(geometry.voxel_size[::-1])
    image.SetOrigin(geometry.origin[::-1])
    image.SetDirection(flat(geometry))


@pytest.mark.parametrize("target", [3.0, 16.0, 47.0])
def test_the_outer_corner_stays(target: float) -> None:
    volume = scan((40, 50, 60))
    geometry = ResampledVolume(volume, target, axes=EVERY).geometry
    # The corner lies half a voxel before the first centre: at -5 µm here.
    assert geometry.origin == pytest.approx((target / 2 - 5,) * 3)


def test_in_2d_slices_stay_what_they_are() -> None:
    volume = scan((4, 20, 30), (None, 10.0, 10.0))
    volume.slice_numbers = (3, 4, 5, 6)
    made = ResampledVolume(volume, 20.0, axes=resampled_axes("2D"))
    assert made.shape == (4, 10, 15)
    assert made.geometry.voxel_size == (None, 20.0, 20.0)
    assert made.slice_numbers == (3, 4, 5, 6)
    np.testing.assert_allclose(
        made.read(slice(2, 3))[0], volume.array[2].reshape(10, 2, 15, 2).mean((1, 3)), rtol=1e-6
    )


@pytest.mark.parametrize("target", [2.7, 9.1, 14.3, 33.0, 160.0])
@pytest.mark.parametrize("value", [1 / 3, 40_001.7])
def test_a_constant_comes_back_constant(target: float, value: float) -> None:
    volume = ArrayVolume(np.full((17, 19, 23), value, np.float32), geometry=Geometry((10.0,) * 3))
    found = ResampledVolume(volume, target, axes=EVERY).read(ALL)
    assert (found == np.float32(value)).all()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("uint8", "float32"), ("int16", "float32"), ("int32", "float64"), ("float64", "float64")],
)
def test_the_type_keeps_neighbouring_values_apart(dtype: str, expected: str) -> None:
    assert ResampledVolume(scan((3, 4, 5), dtype=dtype), 7, axes=EVERY).dtype == expected


def test_the_same_size_changes_nothing() -> None:
    volume = scan((5, 6, 7))
    made = ResampledVolume(volume, 10.001, axes=EVERY)
    assert made.identical
    assert made.geometry == volume.geometry
    np.testing.assert_array_equal(made.read(ALL), volume.array)


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_fill_is_read_as_told_and_mixes_with_nothing(fill: float) -> None:
    values = scan((4, 16, 16), dtype=np.float32).array + 100
    values[:, :, :6] = fill
    replaced = np.where(np.arange(16) < 6, np.float32(101), values)
    geometry = Geometry((10.0,) * 3)
    for target in (6.0, 25.0):
        found = ResampledVolume(
            ArrayVolume(values, geometry=geometry), target, axes=EVERY, fill=(fill, 101.0)
        ).read(ALL)
        expected = ResampledVolume(
            ArrayVolume(replaced, geometry=geometry), target, axes=EVERY
        ).read(ALL)
        np.testing.assert_array_equal(found, expected)
        assert found.min() >= 101


# --- labels -----------------------------------------------------------------------------------


def shares(labels: Array, factor: float, shape: tuple[int, ...]) -> dict[int, Array]:
    """Share of each class in each target voxel, by another library."""
    result = {}
    for value in np.unique(labels):
        hot = (labels == value).astype(np.float64)
        if factor > 1.3:
            result[int(value)] = resize_local_mean(hot, shape, preserve_range=True)
        else:
            result[int(value)] = ndimage.zoom(
                hot, 1 / factor, order=1, mode="nearest", grid_mode=True
            )
    return result


@pytest.mark.parametrize("factor", [0.5, 0.8, 2.0, 2.5, 4.0])
def test_labels_go_by_majority(factor: float) -> None:
    labels = classes((20, 40, 60))
    volume = ArrayVolume(labels, geometry=Geometry((10.0,) * 3))
    found = ResampledVolume(volume, 10 * factor, axes=EVERY, labels=True).read(ALL)
    expected = shares(labels, factor, found.shape)
    table = np.stack([expected[k] for k in (0, 1, 2)])
    best = np.sort(table, axis=0)
    clear = best[-1] - best[-2] > 1e-4
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(found[clear], table.argmax(0)[clear])
    tied = np.take_along_axis(table, found[np.newaxis].astype(int), axis=0)[0]
    np.testing.assert_allclose(tied, best[-1], atol=1e-4)  # of equal shares, one of the largest


def test_ties_favour_no_class() -> None:
    # Edges between every second voxel: each target voxel is half one class and half the other.
    row = np.tile([0, 1, 1, 0], 10).astype(np.uint8)
    volume = ArrayVolume(np.tile(row, (4, 4, 1)), geometry=Geometry((10.0,) * 3))
    found = ResampledVolume(volume, 20.0, axes=EVERY, labels=True).read(ALL)
    np.testing.assert_array_equal(found[0, 0], row[1::2])
    assert found.mean() == 0.5


def test_what_is_mostly_ignored_stays_so() -> None:
    row = np.array([255, 255, 255, 1, 255, 1, 0, 255, 2, 2, 255, 255], np.uint8)
    volume = ArrayVolume(np.tile(row, (1, 4, 1)), geometry=Geometry((10.0,) * 3))
    found = ResampledVolume(volume, 40.0, axes=(1, 2), labels=True).read(ALL)
    # 3 of 4 ignored; 2 of 4 ignored and a tie of 1 and 0: the later middle voxel's; half ignored.
    np.testing.assert_array_equal(found, [[[255, 0, 2]]])


def test_refined_labels_hold_no_other_class() -> None:
    labels = np.where(classes((6, 20, 20)) > 0, 2, 0).astype(np.uint8)  # no 1 between 0 and 2
    volume = ArrayVolume(labels, geometry=Geometry((10.0,) * 3))
    found = ResampledVolume(volume, 3.0, axes=EVERY, labels=True).read(ALL)
    assert set(np.unique(found)) == {0, 2}
    assert found.mean() == pytest.approx(labels.mean(), rel=0.03)


def test_labels_are_bytes() -> None:
    with pytest.raises(UsageError, match="labels are uint8"):
        ResampledVolume(scan((2, 3, 4)), 20.0, axes=EVERY, labels=True)


# --- blocks -----------------------------------------------------------------------------------


@st.composite
def cuts(draw: st.DrawFn) -> tuple[tuple[int, int, int], float, list[float]]:
    shape = draw(st.tuples(*[st.integers(1, 14)] * 3))
    target = draw(st.floats(2.0, 60.0))
    return shape, target, draw(st.lists(st.floats(0, 1), min_size=6, max_size=6))


@given(case=cuts(), kind=st.sampled_from(["grey", "labels"]), slab=st.sampled_from([1, 2**20]))
@hypothesis_settings(max_examples=150, deadline=None)
def test_a_block_is_that_part_of_the_whole(
    case: tuple[tuple[int, int, int], float, list[float]], kind: str, slab: int
) -> None:
    shape, target, ends = case
    geometry = Geometry((10.0, 7.0, 12.0))
    values = classes(shape, ignored=True) if kind == "labels" else scan(shape).array
    made = ResampledVolume(
        ArrayVolume(values, geometry=geometry), target, axes=EVERY, labels=kind == "labels"
    )
    whole = made.read(ALL)
    assert whole.shape == made.shape
    box = []
    for n, a, b in zip(made.shape, ends[::2], ends[1::2], strict=True):
        first, last = sorted((round(a * n), round(b * n)))
        box.append(slice(first, last))
    before = resampling_volume.READ_BYTES
    resampling_volume.READ_BYTES = slab
    try:
        part = made.read(*box)
    finally:
        resampling_volume.READ_BYTES = before
    assert part.dtype == whole.dtype
    assert part.tobytes() == whole[tuple(box)].tobytes()


@dataclass
class Watched(ArrayVolume):
    """Notes what is read of it."""

    boxes: list[tuple[slice, ...]] = field(default_factory=list)

    def read(self, z: slice, y: slice = ALL, x: slice = ALL) -> Array:
        self.boxes.append((z, y, x))
        return super().read(z, y, x)


@pytest.mark.parametrize("labels", [False, True])
def test_only_what_a_block_needs_is_read_and_once(
    labels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = Watched(classes((64, 64, 64)), geometry=Geometry((10.0,) * 3))
    monkeypatch.setattr(resampling_volume, "READ_BYTES", 8 * 16 * 12)
    ResampledVolume(volume, 40.0, axes=EVERY, labels=labels).read(
        slice(3, 7), slice(2, 6), slice(5, 8)
    )
    # Averages over 4 voxels: 12..28, 8..24 and 20..32.
    rest = (slice(8, 24), slice(20, 32))
    assert volume.boxes == [(slice(12, 20), *rest), (slice(20, 28), *rest)]


def test_slices_that_stay_are_read_one_by_one() -> None:
    volume = Watched(classes((9, 20, 20)), geometry=Geometry((10.0,) * 3))
    ResampledVolume(volume, 5.0, axes=(1, 2)).read(slice(3, 4))
    assert volume.boxes == [(slice(3, 4), slice(0, 20), slice(0, 20))]


def test_it_pickles_by_its_source() -> None:
    made = ResampledVolume(scan((5, 6, 7)), 14.0, axes=EVERY)
    other = pickle.loads(pickle.dumps(made))  # noqa: S301 -- our own bytes
    np.testing.assert_array_equal(other.read(ALL), made.read(ALL))
    assert other.geometry == made.geometry


# --- what cannot be done ----------------------------------------------------------------------


def test_an_unknown_voxel_size_says_where_to_state_it() -> None:
    with pytest.raises(InputError, match="voxel size along z is not known") as caught:
        ResampledVolume(scan((2, 3, 4), (None, 10.0, 10.0)), 20.0, axes=EVERY)
    assert "voxel_size_um" in str(caught.value.mend)
    assert "--voxel-size" in str(caught.value.mend)


@pytest.mark.parametrize("target", [160.1, 0.624])
def test_sizes_too_far_apart_are_refused(target: float) -> None:
    with pytest.raises(UsageError, match="differ more than 16 times"):
        ResampledVolume(scan((2, 3, 4)), target, axes=EVERY)


@pytest.mark.parametrize("target", [160.0, 0.625])
def test_sixteen_times_is_not_too_far(target: float) -> None:
    made = ResampledVolume(scan((2, 40, 3)), target, axes=EVERY)
    assert made.shape == ((1, 3, 1) if target > 1 else (32, 640, 48))


@pytest.mark.parametrize("target", [0.0, -3.0, float("nan"), float("inf")])
def test_a_size_must_be_one(target: float) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        ResampledVolume(scan((2, 3, 4)), target, axes=EVERY)
