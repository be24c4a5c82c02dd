"""3D: a known function comes back exactly from every cut into blocks, in planned memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from osteon.errors import OsteonWarning, UsageError
from osteon.files import parse_memory
from osteon.intensity import Statistics
from osteon.model_file import Model
from osteon.networks import NetworkSpec
from osteon.prediction import plan as plan_module
from osteon.prediction import plan_prediction
from osteon.volume import ArrayVolume

from .faking import NETWORK, SPEC, FakeBackend, Images, noise, run, threshold
from .test_neighbours import Watched

MODEL = Model(
    replace(SPEC, mode="3D", network=replace(NETWORK, dimensions=3), patch_size=(32, 64, 64)), {}
)
#: Enough for blocks of 64 × 64 × 64 voxels at 200 bytes and some, beside small slabs.
BLOCKS = 80 * 2**20


@pytest.fixture(autouse=True)
def _small_halo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small scans are then cut into many blocks."""
    monkeypatch.setattr(plan_module, "BLOCK_HALO", 16)


def backend(function: Callable[[Images], npt.NDArray[np.uint8]] = threshold) -> FakeBackend:
    return FakeBackend(function, bytes_per_pixel=200, dimensions=3)


def normal(scan: Images, found: Statistics) -> Images:
    """Normalised by hand; the statistics of more than 64 slices are of some of them."""
    return ((scan.astype(np.float64) - found.mean) / found.std).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 40, 50), (31, 33, 97), (67, 71, 73)])
def test_a_threshold_comes_back_from_one_block(shape: tuple[int, int, int]) -> None:
    scan, fake = noise(shape), backend()
    labels, found = run(scan, fake, model=MODEL)
    np.testing.assert_array_equal(labels, threshold(normal(scan, found.statistics)))
    assert found.plan.whole
    assert fake.seen == [tuple(-(-n // 32) * 32 for n in shape)]


@pytest.mark.parametrize("shape", [(131, 67, 71), (37, 157, 101), (151, 149, 97), (3, 257, 263)])
def test_a_threshold_comes_back_from_blocks(shape: tuple[int, int, int]) -> None:
    scan, fake = noise(shape), backend()
    labels, found = run(scan, fake, BLOCKS, model=MODEL)
    np.testing.assert_array_equal(labels, threshold(normal(scan, found.statistics)))
    assert found.plan.tiles == len(fake.seen) > 1
    for block in fake.seen:
        assert block[0] <= found.plan.depth
        assert max(block[1:]) <= found.plan.tile


def reaching(distance: int) -> Callable[[Images], npt.NDArray[np.uint8]]:
    """A label that depends on single voxels at a distance, along all axes."""

    def function(block: Images) -> npt.NDArray[np.uint8]:
        padded = np.pad(block, distance, mode="edge")
        total = block.copy()
        for axis in range(3):
            for start in (0, 2 * distance):
                starts = [start if a == axis else distance for a in range(3)]
                box = tuple(slice(s, s + n) for s, n in zip(starts, block.shape, strict=True))
                total += padded[box]
        return (total > 0).astype(np.uint8)

    return function


def disagreement(function: Callable[[Images], npt.NDArray[np.uint8]]) -> float:
    scan = noise((100, 110, 90))
    whole, plan = run(scan, backend(function), model=MODEL)
    assert plan.plan.whole
    blocks, plan = run(scan, backend(function), BLOCKS, model=MODEL)
    assert plan.plan.tiles >= 8
    assert 0 < whole.mean() < 1
    return float((whole != blocks).mean())


def test_the_halo_carries_all_context_that_it_is_wide() -> None:
    assert disagreement(reaching(plan_module.BLOCK_HALO)) == 0


def test_context_beyond_the_halo_would_show() -> None:
    assert disagreement(reaching(plan_module.BLOCK_HALO + 1)) > 0


def test_blocks_keep_the_networks_grid() -> None:
    def pooled(block: Images) -> npt.NDArray[np.uint8]:
        z, y, x = (n // 16 for n in block.shape)
        cells = block.reshape(z, 16, y, 16, x, 16).mean((1, 3, 5))
        return (np.kron(cells, np.ones((16, 16, 16))) > 0).astype(np.uint8)

    assert disagreement(pooled) == 0


def test_a_constant_field_comes_back_constant() -> None:
    scan = noise((70, 80, 75))
    labels, found = run(scan, backend(lambda b: np.full(b.shape, 2, np.uint8)), BLOCKS, model=MODEL)
    assert found.plan.tiles > 1
    assert (labels == 2).all()


def test_each_slice_is_read_once_for_the_statistics_and_once_for_the_labels() -> None:
    volume = Watched(noise((131, 97, 65)))
    _, found = run(volume, backend(), BLOCKS, model=MODEL)
    assert found.plan.depth is not None
    assert found.plan.depth < 131
    # Statistics take 64 of the 131 slices.
    assert set(volume.reads.values()) == {1, 2}
    assert sum(n == 2 for n in volume.reads.values()) == 64
    assert Counter(volume.reads).total() == 131 + 64


@given(
    shape=st.tuples(st.integers(1, 1500), st.integers(1, 3000), st.integers(1, 3000)),
    memory=st.integers(1, 2**33),
    cost=st.sampled_from([40, 400, 5000]),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_plan_fits_into_the_memory_or_says_what_would_do(
    shape: tuple[int, int, int], memory: int, cost: int
) -> None:
    volume = ArrayVolume(np.broadcast_to(np.zeros((), np.uint16), shape))
    fake = FakeBackend(bytes_per_pixel=cost, dimensions=3)
    try:
        plan = plan_prediction(volume, fake, spec=MODEL.spec, memory=memory)
    except UsageError as error:
        found = re.search(r"at least \d+ MiB: --memory (\w+)", str(error.mend))
        assert found is not None
        enough = parse_memory(found[1])
        assert enough > memory
        assert plan_prediction(volume, fake, spec=MODEL.spec, memory=enough).memory <= enough
    else:
        assert plan.depth is not None
        assert plan.tile is not None
        voxels = (
            plan.depth
            * min(plan.tile, -(-shape[1] // 32) * 32)
            * min(plan.tile, -(-shape[2] // 32) * 32)
        )
        # The activations, and the slab twice (as it is moved on) with its labels.
        floor = voxels * cost + min(plan.depth, shape[0]) * shape[1] * shape[2] * 5
        assert floor <= plan.memory <= memory


@pytest.fixture
def _global_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NetworkSpec, "global_context", property(lambda _: True))


@pytest.mark.usefixtures("_global_context")
def test_a_network_that_sees_everything_gets_what_it_was_fitted_to_with_a_warning() -> None:
    scan = noise((40, 140, 100))
    fake = backend()
    with pytest.warns(OsteonWarning, match=r"in blocks.*\[global-context-in-tiles\]"):
        labels, found = run(scan, fake, model=MODEL)
    assert (found.plan.depth, found.plan.tile) == (64, 64)  # 32 deep would be all halo
    np.testing.assert_array_equal(labels, threshold(normal(scan, found.statistics)))


@pytest.mark.usefixtures("_global_context")
def test_it_is_not_warned_of_what_goes_through_at_once() -> None:
    run(noise((40, 60, 50)), backend(), model=MODEL)  # warnings are errors here
    run(noise((2, 60, 50)), FakeBackend())
