"""2D models along three axes: the mean of the probabilities, against a scan turned by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special

from osteon.errors import OutputError, UsageError
from osteon.intensity import Statistics, normalise
from osteon.model_file import ContextSpec, Model
from osteon.prediction import Predicted, Store, Wanted, context, predict_kept, sides
from osteon.prediction import plan as plan_module
from osteon.volume import Array, ArrayVolume, Geometry

from .faking import MODEL, NETWORK, PLENTY, SPEC, FakeBackend, Images, MemoryWriter, noise
from .test_context import blobs

THREE = Wanted(axes=3, probabilities=True, uncertainty=True)
#: Probabilities along y and x are kept in steps of 1 / 65535, those that are given of 1 / 255.
STEP = 0.5 / 255 + 1e-4


def slanted(image: Images) -> Images:
    """Logits by the neighbour before along the last axis: another one along every axis."""
    before = np.concatenate([image[:, :1], image[:, :-1]], 1)
    return np.stack([0 * image, image + 0.5 * before, image - before])


def predicted(
    scan: Array,
    folder: Path,
    *,
    backend: object = None,
    model: Model = MODEL,
    memory: int = PLENTY,
    wanted: Wanted = THREE,
    contiguous: str = "yes",
) -> tuple[Array, Predicted]:
    volume = ArrayVolume(scan, Geometry((10.0, 10.0, 10.0)))
    layers = wanted.layers(3)
    writer = MemoryWriter(volume.shape)
    with Store(folder, shape=volume.shape, identity={}, layers=layers) as store:
        found = predict_kept(
            model, volume, store, open_target=lambda: writer,
            backend=backend or FakeBackend(logits=slanted),  # type: ignore[arg-type]
            memory=memory, wanted=replace(wanted, contiguous=contiguous), measure=False,
        )  # fmt: skip
        stacks = np.stack([stack for _, stack in store.stacks()], 1)
    np.testing.assert_array_equal(writer.array, stacks[0])
    return stacks, found


def by_hand(scan: Array, found: Statistics) -> npt.NDArray[np.float64]:
    """(class, z, y, x): each axis sliced, the softmax of the slices, the mean."""
    image, total = normalise(scan, found), np.zeros((3, *scan.shape))
    for axis in range(3):
        turned = np.moveaxis(image, axis, 0)
        odds = np.stack([special.softmax(slanted(plane), axis=0) for plane in turned], 1)
        total += np.moveaxis(odds, 1, axis + 1)
    return total / 3


@pytest.mark.parametrize("shape", [(13, 41, 53), (31, 17, 11), (67, 70, 9)])
def test_probabilities_are_the_mean_along_all_axes(
    shape: tuple[int, int, int], tmp_path: Path
) -> None:
    scan = noise(shape)
    stacks, found = predicted(scan, tmp_path / "area")
    expected = by_hand(scan, found.statistics)
    np.testing.assert_allclose(stacks[1:4] / 255, expected, atol=STEP)
    best = np.sort(expected, 0)
    clear = best[-1] - best[-2] > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(stacks[0][clear], expected.argmax(0)[clear])
    doubt = special.entr(expected).sum(0) / np.log(3)
    np.testing.assert_allclose(stacks[4] / 255, doubt, atol=STEP + 1e-3)
    assert not (tmp_path / "area" / "turned.zarr").exists()


def test_slices_along_the_other_axes_go_through_as_tiles_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "HALO", 32)
    scan = noise((101, 103, 107))
    whole, _ = predicted(scan, tmp_path / "whole")
    backend = FakeBackend(logits=slanted, bytes_per_pixel=1000)
    tiled, found = predicted(scan, tmp_path / "tiled", backend=backend, memory=14 * 2**20)
    assert found.plan.tiles > 1
    assert max(backend.seen)[0] == 96
    np.testing.assert_array_equal(tiled, whole)


def test_models_of_a_voxel_size_see_it_along_all_axes(tmp_path: Path) -> None:
    def even(image: Images) -> Images:
        """The same along every axis, so that it is the same as along one."""
        return np.stack([0 * image, image, -image])

    scan = np.kron(noise((4, 5, 7)), np.ones((8, 8, 8), np.uint16))
    coarser = Model(replace(SPEC, voxel_size_um=20.0), {})
    stacks, found = predicted(
        scan, tmp_path / "area", backend=FakeBackend(logits=even), model=coarser
    )
    assert found.resampled == (16, 20, 28)
    assert stacks.shape == (5, *scan.shape)
    middle = (slice(4, None, 8),) * 3  # of cubes of one grey value
    odds = special.softmax(even(normalise(scan[middle], found.statistics)), axis=0)
    np.testing.assert_allclose(stacks[(slice(1, 4), *middle)] / 255, odds, atol=STEP)


def test_a_context_is_that_of_the_same_voxels_along_all_axes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "UNDECIDED_SHARE", 1.0)

    class Echo(FakeBackend):
        """Gives the context back as a logit; the coarse pass sees grey values alone."""

        def _middle(self, batch: Images) -> Images:
            return batch[0, 0]

        def run(self, batch: Images) -> Images:
            grey, seen = batch[0]
            fine = bool(seen.any())
            return np.stack([0 * grey, 4 * seen if fine else 3 * grey, -9 + 0 * grey])[np.newaxis]

    network = replace(NETWORK, in_channels=2)
    model = Model(replace(SPEC, network=network, context=ContextSpec(32)), {})
    scan = blobs((40, 64, 96))
    three, _ = predicted(scan, tmp_path / "three", backend=Echo(), model=model)
    one, _ = predicted(
        scan, tmp_path / "one", backend=Echo(), model=model, wanted=replace(THREE, axes=1)
    )
    assert three[1:4].std() > 30
    # The context of a voxel does not depend on the axis; rounding alone may differ.
    assert np.abs(three[1:4].astype(int) - one[1:4]).max() <= 1


def test_a_damaged_file_is_told_and_made_anew(tmp_path: Path) -> None:
    scan, folder = noise((13, 41, 53)), tmp_path / "area"
    before, _ = predicted(scan, folder)
    for path in folder.glob("labels-*"):
        path.unlink()
    path = next(iter(folder.glob("side-2-*.blosc")))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(OutputError, match="finished probabilities are damaged"):
        predicted(scan, folder)
    again, _ = predicted(scan, folder)
    np.testing.assert_array_equal(again, before)


@pytest.mark.parametrize("mode", ["2.5D", "3D"])
def test_other_models_are_refused(mode: str, tmp_path: Path) -> None:
    network = replace(
        NETWORK, in_channels=3 if mode == "2.5D" else 1, dimensions=3 if mode == "3D" else 2
    )
    model = Model(replace(SPEC, mode=mode, network=network), {})
    with pytest.raises(UsageError, match=f"a {mode} model is not run along three axes"):
        predicted(noise((13, 41, 53)), tmp_path / "area", model=model)


@pytest.mark.parametrize("contiguous", ["no", "auto"])
def test_slices_that_are_no_neighbours_are_refused(contiguous: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not neighbours in space") as caught:
        predicted(noise((7, 41, 53)), tmp_path / "area", contiguous=contiguous)
    assert "contiguous=yes" in str(caught.value.mend)
    assert not (tmp_path / "area").exists()


def test_a_bundle_takes_an_eighth_of_the_memory() -> None:
    assert sides.bundle_of((1000, 1000, 1000), 1, classes=3, memory=PLENTY) == 64
    assert sides.bundle_of((1000, 1000, 1000), 1, classes=3, memory=2 * 2**30) == 9  # of 28 MB
    assert sides.bundle_of((1000, 1000, 1000), 2, classes=3, memory=1) == 1
