"""Tiles and blocks of networks that see everything are blended; known functions come back."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from osteon.errors import OsteonWarning
from osteon.events import Reporter
from osteon.intensity import normalise
from osteon.model_file import Model
from osteon.networks import NetworkSpec
from osteon.prediction import Wanted, prepare
from osteon.prediction import plan as plan_module
from osteon.prediction.running import Job
from osteon.volume import Array, ArrayVolume

from .faking import MODEL, NETWORK, SPEC, FakeBackend, Images, noise, run, slopes, threshold

BLOCKS = Model(
    replace(SPEC, mode="3D", network=replace(NETWORK, dimensions=3), patch_size=(64, 64, 64)), {}
)
CASES = {
    "tiles": (MODEL, (3, 211, 307), 2, 45_000_000),
    "blocks": (BLOCKS, (131, 67, 109), 3, 400_000_000),
}
#: Float32 sums of weighted logits.
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _sees_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NetworkSpec, "global_context", property(lambda _: True))
    monkeypatch.setattr(plan_module, "HALO", 32)
    monkeypatch.setattr(plan_module, "BLEND", 16)
    monkeypatch.setattr(plan_module, "BLOCK_HALO", 16)


def job(name: str, backend: FakeBackend | None = None) -> Job:
    model, shape, dimensions, memory = CASES[name]
    backend = backend or FakeBackend(dimensions=dimensions, bytes_per_pixel=1000)
    with pytest.warns(OsteonWarning, match=r"\[global-context-in-tiles\]"):
        made = prepare(
            model, ArrayVolume(noise(shape)), backend=backend, memory=memory,
            wanted=Wanted(probabilities=True), reporter=Reporter(),
        )  # fmt: skip
    assert made.plan.blend > 0
    assert made.plan.tiles > 1
    return made


def logits(made: Job, part: slice) -> Array:
    runner = made.block_runner() if made.spec.mode == "3D" else made.slice_runner()
    whole = np.full((made.seen.shape[0], 3, *made.seen.shape[1:]), np.nan, np.float32)
    with closing(runner.run(part, classes=3)) as slabs:
        for z, slab in slabs:
            whole[z : z + slab.shape[0]] = slab
    return whole[part]


@pytest.mark.parametrize("name", CASES)
def test_a_constant_comes_back_constant(name: str) -> None:
    def constant(image: Images) -> Images:
        return np.stack([0 * image + value for value in (1.5, -7.25, 3.0)])

    dimensions = CASES[name][2]
    backend = FakeBackend(logits=constant, dimensions=dimensions, bytes_per_pixel=1000)
    made = job(name, backend)
    found = logits(made, slice(0, made.seen.shape[0]))
    for value, one in zip((1.5, -7.25, 3.0), found.swapaxes(0, 1), strict=True):
        np.testing.assert_allclose(one, value, atol=TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_a_local_function_comes_back(name: str) -> None:
    made = job(name)
    found = logits(made, slice(0, made.seen.shape[0]))
    image = normalise(made.volume.read(slice(None)), made.decisions.statistics)
    np.testing.assert_allclose(found, slopes(image).swapaxes(0, 1), atol=TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_a_part_is_the_same_to_the_bit_whatever_is_run_with_it(name: str) -> None:
    made = job(name)
    depth = made.seen.shape[0]
    whole = logits(made, slice(0, depth))
    for first, last in (
        (0, 1),
        (depth // 3, depth // 3 + 2),
        (depth // 2, depth),
        (depth - 1, depth),
    ):
        np.testing.assert_array_equal(logits(made, slice(first, last)), whole[first:last])


def test_a_seam_is_smooth() -> None:
    def ramp(image: Images) -> Images:
        """Logits that begin at 0 in every tile: blended they rise and fall without a step."""
        along = np.arange(image.shape[-1], dtype=np.float32) + 0 * image
        return np.stack([along, 0 * image, 0 * image])

    made = job("tiles", FakeBackend(logits=ramp, bytes_per_pixel=1000))
    line = logits(made, slice(0, 1))[0, 0, 100]
    tiles = made.slice_runner().tiles
    steps = np.abs(np.diff(line))
    jump = max(t.read[1].start for t in tiles)
    assert jump > 100  # what a step would be
    # A raised cosine over 2 * 16 pixels falls by pi / 2 of the mean slope at most.
    assert steps.max() < 1 + np.pi / 2 * jump / (2 * 16)


def test_seams_are_measured_and_told() -> None:
    def by_the_mean(image: Images) -> npt.NDArray[np.uint8]:
        return np.full(image.shape, int(image.mean() * 1e4) % 3, np.uint8)

    model, shape, _, memory = CASES["tiles"]
    told = r"neighbouring tiles label \d+\.\d\d% of the voxels around their common edge differently"
    with pytest.warns(OsteonWarning, match=told) as caught:
        run(noise(shape), FakeBackend(by_the_mean, bytes_per_pixel=1000), memory, model=model)
    assert "label 0.00% of" not in str(caught[0].message)
    with pytest.warns(OsteonWarning, match=r"label 0\.00% of the voxels"):
        labels, found = run(noise(shape), FakeBackend(bytes_per_pixel=1000), memory, model=model)
    assert found.plan.blend == 16
    image = normalise(noise(shape), found.statistics)
    np.testing.assert_array_equal(labels, threshold(image))
