"""Models of a voxel size: the scan is resampled for them, and labels return to its own grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from osteon.errors import InputError, UsageError
from osteon.intensity import statistics
from osteon.model_file import Model
from osteon.prediction import plan as plan_module
from osteon.prediction import plan_prediction, predict
from osteon.prediction.scale import as_seen
from osteon.volume import Array, ArrayVolume, Geometry

from .faking import (
    EDGES,
    NETWORK,
    PLENTY,
    SPEC,
    FakeBackend,
    Images,
    MemoryWriter,
    noise,
    run,
    threshold,
    zscored,
)

SHAPE = (12, 60, 48)


def model(mode: str, voxel_size: float) -> Model:
    network = replace(
        NETWORK,
        dimensions=3 if mode == "3D" else 2,
        in_channels=3 if mode == "2.5D" else 1,
    )
    return Model(replace(SPEC, mode=mode, network=network, voxel_size_um=voxel_size), {})


def backend(mode: str) -> FakeBackend:
    return FakeBackend(channels=3 if mode == "2.5D" else 1, dimensions=3 if mode == "3D" else 2)


def scan(shape: tuple[int, int, int] = SHAPE, size: float = 10.0) -> ArrayVolume:
    """Smooth enough that something of it is left when it is made coarser."""
    smooth = ndimage.gaussian_filter(noise(shape).astype(float), 2)
    values = (30_000 + 8_000 * (smooth - smooth.mean()) / smooth.std()).astype(np.uint16)
    return ArrayVolume(values, geometry=Geometry((size,) * 3, (5.0, -3.0, 2.0)))


def there_and_back(values: Images, factor: float, axes: tuple[int, ...]) -> Images:
    """The scan on the other grid and back, by SciPy, where both grids end at the same place."""
    zoom = [1 / factor if axis in axes else 1.0 for axis in range(3)]
    settings = {"order": 1, "mode": "nearest", "grid_mode": True}
    if factor > 1.3:
        small = block_mean(values, int(factor), axes)
        return ndimage.zoom(small, [1 / z for z in zoom], **settings)
    large = ndimage.zoom(values, zoom, **settings)
    return block_mean(large, round(1 / factor), axes)


def block_mean(values: Images, factor: int, axes: tuple[int, ...]) -> Images:
    for axis in axes:
        shape = [*values.shape[:axis], values.shape[axis] // factor, factor]
        values = values.reshape([*shape, *values.shape[axis + 1 :]]).mean(axis + 1)
    return values


@pytest.mark.parametrize("mode", ["2D", "2.5D", "3D"])
@pytest.mark.parametrize("factor", [2.0, 0.5, 3.0])
def test_the_threshold_of_the_resampled_comes_back(mode: str, factor: float) -> None:
    # The fake's logits are linear in the grey values, so they may be resampled in their place.
    volume = scan()
    fake = backend(mode)
    labels, found = run(volume, fake, model=model(mode, 10.0 * factor))
    axes = (1, 2) if mode == "2D" else (0, 1, 2)
    expected = there_and_back(zscored(volume.array).astype(np.float64), factor, axes)
    clear = np.abs(expected[..., np.newaxis] - EDGES).min(-1) > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(labels[clear], threshold(expected)[clear])
    assert min(found.voxels.values()) > 0
    z = SHAPE[0] if mode == "2D" else SHAPE[0] / factor
    assert found.resampled == (z, SHAPE[1] / factor, SHAPE[2] / factor)
    padded = max(-(-int(SHAPE[1] / factor) // 32) * 32, 32)
    assert {seen[-2] for seen in fake.seen} == {padded}


@pytest.mark.parametrize("mode", ["2.5D", "3D"])
@pytest.mark.parametrize("target", [7.0, 13.7, 31.0])
def test_a_ball_stays_where_it_is(mode: str, target: float) -> None:
    z, y, x = np.mgrid[:31, :53, :47].astype(float)
    centre = (14.3, 27.1, 20.6)
    radius = np.sqrt(sum((a - c) ** 2 for a, c in zip((z, y, x), centre, strict=True)))
    values = (20_000 / (1 + np.exp((radius - 10) / 2)) + 1000).astype(np.uint16)
    volume = ArrayVolume(values, geometry=Geometry((10.0,) * 3))
    own, _ = run(volume, backend(mode), model=model(mode, 10.0))
    labels, found = run(volume, backend(mode), model=model(mode, target))
    assert found.resampled is not None
    inside, truth = labels > 0, own > 0
    assert truth.sum() > 2000
    dice = 2 * (inside & truth).sum() / (inside.sum() + truth.sum())
    assert dice > (0.97 if target < 20 else 0.93)
    moved = np.array(ndimage.center_of_mass(inside)) - ndimage.center_of_mass(truth)
    assert np.abs(moved).max() < 0.1  # of a voxel: a grid laid corner to corner does not shift


@pytest.mark.parametrize("mode", ["2D", "2.5D", "3D"])
def test_the_same_voxel_size_is_not_resampled(mode: str) -> None:
    volume = scan()
    labels, found = run(volume, backend(mode), model=model(mode, 10.0))
    assert found.resampled is None
    np.testing.assert_array_equal(labels, threshold(zscored(volume.array)))


@pytest.mark.parametrize("mode", ["2D", "2.5D", "3D"])
@pytest.mark.parametrize("target", [8.0, 17.0])
def test_tiles_and_blocks_give_what_the_whole_gives(
    mode: str, target: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "HALO", 32)
    monkeypatch.setattr(plan_module, "BLOCK_HALO", 16)
    volume, chosen = scan((71, 181, 175) if mode == "3D" else (5, 331, 325)), model(mode, target)
    whole, found = run(volume, backend(mode), model=chosen)
    assert found.plan.whole
    parts, found = run(volume, backend(mode), found.plan.memory - 2**20, model=chosen)
    assert not found.plan.whole
    np.testing.assert_array_equal(parts, whole)


def test_fill_does_not_bleed_into_the_scan() -> None:
    values = scan().array.astype(np.int32)
    values[:, :, :15] = -1000  # outside the field of view
    volume = ArrayVolume(values, geometry=Geometry((10.0,) * 3))
    own = statistics(volume, "zscore")
    assert own.fill == -1000
    seen = as_seen(volume, model("2D", 20.0).spec, own)
    assert seen.read(slice(None)).min() >= own.minimum


def test_it_is_planned_for() -> None:
    volume, spec = scan((9, 300, 500)), model("2D", 20.0).spec
    seen = as_seen(volume, spec, statistics(volume, "zscore"))
    plain = plan_prediction(
        ArrayVolume(np.zeros(seen.shape, np.float32)), backend("2D"), spec=spec, memory=PLENTY
    )
    found = plan_prediction(seen, backend("2D"), spec=spec, memory=PLENTY)
    # At least the logits of three classes: of a slice there, and of a slice on the scan's grid.
    logits = 3 * 4 * (150 * 250 + 300 * 500)
    assert found.memory >= plain.memory + logits + 300 * 500 * 2


@pytest.mark.parametrize(
    ("geometry", "kind", "words"),
    [
        (Geometry(), InputError, "--voxel-size"),
        (Geometry((0.5, 0.5, 0.5)), UsageError, "voxel size"),
    ],
)
def test_a_scan_that_cannot_be_brought_there_is_refused_before_it_is_read(
    geometry: Geometry, kind: type[Exception], words: str
) -> None:
    class Unread(ArrayVolume):
        def read(self, *box: slice) -> Array:
            raise AssertionError(box)

    volume = Unread(noise((3, 40, 40)), geometry=geometry)
    with pytest.raises(kind, match=words):
        predict(
            model("2D", 20.0),
            volume,
            MemoryWriter(volume.shape),
            backend=backend("2D"),
            memory=PLENTY,
        )
