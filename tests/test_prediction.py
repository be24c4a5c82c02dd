"""Prediction: a known function comes back exactly, in bounded memory, and stops cleanly."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage

from osteon import prediction
from osteon.backends import open_backend
from osteon.errors import ExitCode, InputError, OsteonWarning, OutputError, UsageError
from osteon.events import Event, Reporter, StopToken
from osteon.labels import BONE_PORES
from osteon.losses import build_loss
from osteon.model_file import Model, ModelSpec, TrainingRanges
from osteon.networks import NetworkSpec, build_network
from osteon.prediction import (
    PredictionStopped,
    check_ranges,
    parse_memory,
    plan_prediction,
    predict,
)
from osteon.settings import JaccardCrossEntropySettings, PredictSettings
from osteon.volume import Array, ArrayVolume, Geometry, VolumeWriter

NETWORK = NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))
MODEL = Model(ModelSpec("test", NETWORK, BONE_PORES, "zscore", 1), {})
DIVISOR = 32
PLENTY = 1 << 40
FIT_STEPS = 20
EDGES = (-0.5, 0.7)
Images = npt.NDArray[np.float32]


def threshold(image: Images) -> npt.NDArray[np.uint8]:
    return np.digitize(image, EDGES).astype(np.uint8)


@dataclass
class FakeBackend:
    """Labels each image by a function, as a network that had learned it would."""

    function: Callable[[Images], npt.NDArray[np.uint8]] = threshold
    bytes_per_pixel: int = 100
    description: str = "fake"
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def run(self, batch: Images) -> Images:
        raise NotImplementedError

    def labels(self, batch: Images) -> npt.NDArray[np.uint8]:
        assert batch.dtype == np.float32
        assert batch.shape[:2] == (1, 1)
        assert all(n % DIVISOR == 0 for n in batch.shape[2:])
        self.seen.append(batch.shape[2:])
        return self.function(batch[0, 0])[np.newaxis]


class MemoryWriter(VolumeWriter):
    """Keeps what is written; slices must come in order."""

    def __init__(self, shape: tuple[int, int, int]):
        self.path, self.shape, self.dtype = Path("labels.nrrd"), shape, np.dtype(np.uint8)
        self.slices: list[Array] = []
        self.closed = self.aborted = False

    def write(self, z0: int, block: Array) -> None:
        assert z0 == len(self.slices)
        assert block.dtype == self.dtype
        assert block.shape[1:] == self.shape[1:]
        self.slices += list(block.copy())

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def array(self) -> Array:
        return np.stack(self.slices)


def noise(shape: tuple[int, int, int], seed: int = 0) -> npt.NDArray[np.uint16]:
    """A scan without repetition, so that a shifted or mirrored tile would show."""
    return np.random.default_rng(seed).integers(1, 60_000, shape).astype(np.uint16)


def zscored(scan: Array) -> Images:
    """The recipe, written anew: mean 0 and SD 1 over all voxels but fill (0)."""
    values = scan[scan > 0].astype(np.float64)
    return ((scan - values.mean()) / values.std()).astype(np.float32)


def whole_plan_memory(shape: tuple[int, int, int], backend: FakeBackend) -> int:
    volume = ArrayVolume(np.zeros(shape, np.uint16))
    return plan_prediction(volume, backend, divisor=DIVISOR, memory=PLENTY).memory


def run(
    scan: Array, backend: FakeBackend, memory: int = PLENTY
) -> tuple[Array, prediction.Predicted]:
    writer = MemoryWriter(scan.shape)
    found = predict(MODEL, ArrayVolume(scan), writer, backend=backend, memory=memory)
    assert not writer.closed  # the caller does that
    return writer.array, found


# --- a known function comes back exactly ------------------------------------------------------

PRIMES = [(3, 131, 257), (2, 397, 521), (2, 31, 32), (1, 64, 96), (4, 1, 1009)]


@pytest.mark.parametrize("shape", PRIMES)
def test_a_threshold_comes_back_from_whole_slices(shape: tuple[int, int, int]) -> None:
    scan = noise(shape)
    backend = FakeBackend()
    labels, found = run(scan, backend)
    np.testing.assert_array_equal(labels, threshold(zscored(scan)))
    assert found.plan.tile is None
    padded = tuple(math.ceil(n / DIVISOR) * DIVISOR for n in shape[1:])
    assert backend.seen == [padded] * shape[0]


@pytest.mark.parametrize("shape", [(2, 397, 521), (2, 131, 1009), (1, 769, 768)])
def test_a_threshold_comes_back_from_tiles(shape: tuple[int, int, int]) -> None:
    scan = noise(shape)
    backend = FakeBackend()
    labels, found = run(scan, backend, whole_plan_memory(shape, backend) - 1)
    np.testing.assert_array_equal(labels, threshold(zscored(scan)))
    assert found.plan.tile is not None
    assert len(backend.seen) == found.plan.tiles * shape[0] > shape[0]
    assert max(max(size) for size in backend.seen) <= found.plan.tile


@pytest.mark.parametrize("shape", [(2, 131, 257), (1, 97, 101), (1, 257, 33)])
def test_a_threshold_comes_back_from_tiles_of_small_primes(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "HALO", 32)
    scan = noise(shape)
    backend = FakeBackend()
    labels, found = run(scan, backend, whole_plan_memory(shape, backend) - 1)
    assert found.plan.tile is not None
    assert found.plan.tiles > 1
    np.testing.assert_array_equal(labels, threshold(zscored(scan)))


def test_voxels_are_counted_by_class() -> None:
    scan = noise((3, 40, 50))
    labels, found = run(scan, FakeBackend())
    assert found.voxels == {
        "background": int((labels == 0).sum()),
        "bone": int((labels == 1).sum()),
        "pores": int((labels == 2).sum()),
    }
    assert min(found.voxels.values()) > 0
    described = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert described["voxels"] == found.voxels
    assert described["backend"] == "fake"


def reaching(*distances: int) -> Callable[[Images], npt.NDArray[np.uint8]]:
    """A label that depends on single voxels at given distances, in all four directions."""

    def function(image: Images) -> npt.NDArray[np.uint8]:
        total = image.copy()
        for d in distances:
            padded = np.pad(image, d, mode="edge")
            h, w = image.shape
            for y, x in ((0, d), (2 * d, d), (d, 0), (d, 2 * d)):
                total += padded[y : y + h, x : x + w]
        return (total > 0).astype(np.uint8)

    return function


def disagreement(scan: Array, function: Callable[[Images], npt.NDArray[np.uint8]]) -> float:
    backend = FakeBackend(function)
    whole, plan = run(scan, backend)
    assert plan.plan.tile is None
    tiled, plan = run(scan, backend, plan.plan.memory - 1)
    assert plan.plan.tiles > 1
    assert 0 < whole.mean() < 1
    return float((whole != tiled).mean())


def test_the_halo_carries_all_context_that_it_is_wide() -> None:
    assert disagreement(noise((1, 450, 700)), reaching(prediction.HALO, 50)) == 0


def test_context_beyond_the_halo_would_show() -> None:
    assert disagreement(noise((1, 450, 700)), reaching(prediction.HALO + 1)) > 0


def test_tiles_keep_the_networks_grid() -> None:
    def pooled(image: Images) -> npt.NDArray[np.uint8]:
        # As the deepest stage of a network sees it: cells of 32 px, counted from the corner.
        cells = image.reshape(image.shape[0] // 32, 32, image.shape[1] // 32, 32).mean((1, 3))
        return (np.kron(cells, np.ones((32, 32))) > 0).astype(np.uint8)

    assert disagreement(noise((1, 453, 701)), pooled) == 0


def structured() -> npt.NDArray[np.uint16]:
    """Bone-like struts in noise."""
    rng = np.random.default_rng(11)
    struts = ndimage.gaussian_filter(rng.normal(size=(300, 701)), 4) > 0.03
    image = 12_000 + 20_000 * struts + rng.normal(0, 3_000, struts.shape)
    return np.clip(image, 1, 60_000).astype(np.uint16)[np.newaxis]


def tiled_agreement(network: torch.nn.Module) -> float:
    backend = open_backend(
        NETWORK, network.state_dict(), PredictSettings(device="cpu", precision="fp32")
    )
    scan, results = structured(), {}
    side = 3 * prediction.HALO
    for memory in (PLENTY, scan.size * 7 * 3 + side**2 * backend.bytes_per_pixel):
        writer = MemoryWriter(scan.shape)
        found = predict(MODEL, ArrayVolume(scan), writer, backend=backend, memory=memory)
        results[found.plan.tile] = writer.array
    assert set(results) == {None, side}
    assert min(np.bincount(results[None].ravel(), minlength=2)[:2]) > 1000
    return float((results[None] == results[side]).mean())


def test_a_fitted_network_labels_tiles_as_whole_slices() -> None:
    # Fitted, as random weights are not local: their tiles agree in 99.7 % to 99.9 % only.
    torch.manual_seed(2)
    network = build_network(NETWORK)
    loss = build_loss(JaccardCrossEntropySettings())
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    image = zscored(structured())[0]
    labels = (ndimage.gaussian_filter(image, 2) > 0).astype(np.uint8)
    rng = np.random.default_rng(3)
    for _ in range(FIT_STEPS):
        places = [(int(rng.integers(300 - 64)), int(rng.integers(701 - 64))) for _ in range(8)]
        batch = np.stack([image[y : y + 64, x : x + 64] for y, x in places])[:, np.newaxis]
        truth = np.stack([labels[y : y + 64, x : x + 64] for y, x in places])
        optimiser.zero_grad()
        loss(network(torch.from_numpy(batch)), torch.from_numpy(truth)).backward()
        optimiser.step()
    assert tiled_agreement(network) >= 0.999


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2GiB", 2 * 2**30),
        ("2 gib", 2 * 2**30),
        ("800MB", 800 * 10**6),
        ("800 M", 800 * 10**6),
        ("1.5kB", 1500),
        ("64KiB", 65536),
        ("123", 123),
        ("123 B", 123),
        (" 0.5GiB ", 2**29),
    ],
)
def test_an_amount_of_memory_is_understood(text: str, expected: int) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "much", "GiB", "-1GiB", "0", "0MB", "1,5GB", "2TiB", "1e9"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an amount of memory") as caught:
        parse_memory(text)
    assert "2GiB" in str(caught.value.mend)


def test_the_memory_of_whole_slices_by_hand() -> None:
    # 300 × 500 px of uint16: (2 + 4 + 1) bytes, three slices; 320 × 512 padded px of 800 bytes.
    volume = ArrayVolume(np.zeros((5, 300, 500), np.uint16))
    expected = 300 * 500 * 7 * 3 + 320 * 512 * 800
    backend = FakeBackend(bytes_per_pixel=800)
    plan = plan_prediction(volume, backend, divisor=32, memory=expected)
    assert (plan.tile, plan.tiles, plan.memory) == (None, 1, expected)


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    memory=st.integers(1, 2**31),
    cost=st.sampled_from([1, 40, 800, 5000]),
    dtype=st.sampled_from(["uint8", "float32"]),
)
@hypothesis_settings(max_examples=150, deadline=None)
def test_a_plan_fits_into_the_memory_or_says_what_would_do(
    height: int, width: int, memory: int, cost: int, dtype: str
) -> None:
    # A scan that need not exist: one voxel, seen as many.
    volume = ArrayVolume(np.broadcast_to(np.zeros((), dtype), (2, height, width)))
    backend = FakeBackend(bytes_per_pixel=cost)

    def planned(amount: int) -> prediction.PredictPlan:
        return plan_prediction(volume, backend, divisor=DIVISOR, memory=amount)

    try:
        plan = planned(memory)
    except UsageError as error:
        found = re.search(r"at least \d+ MiB: --memory (\w+)", str(error.mend))
        assert found is not None
        enough = parse_memory(found[1])
        assert enough > memory
        assert planned(enough).memory <= enough
        assume(enough > 2**20)
        with pytest.raises(UsageError):  # and not much less would
            planned(enough - 2**20)
    else:
        assert plan.memory <= memory
        assert plan.tile is None or plan.tile % DIVISOR == 0


def test_too_little_memory_stops_before_anything_is_written() -> None:
    scan = noise((2, 131, 257))
    writer = MemoryWriter(scan.shape)
    with pytest.raises(UsageError, match="131 × 257 do not fit") as caught:
        predict(MODEL, ArrayVolume(scan), writer, backend=FakeBackend(), memory=10_000)
    # Whole slices: 131 * 257 * 7 * 3 + 160 * 288 * 100 bytes = 5.07 MiB; less than a tile.
    assert caught.value.mend == "allow at least 5 MiB: --memory 6MiB"
    assert writer.slices == []


# --- stopping and failing ---------------------------------------------------------------------


class StopAt:
    """Asks for a stop once a slice is done."""

    def __init__(self, step: int):
        self.stop = StopToken()
        self.step = step

    def __call__(self, event: Event) -> None:
        if event.stage == "predict" and event.kind == "progress" and event.step == self.step:
            self.stop.request("test")


@pytest.fixture
def _every_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osteon.events.MIN_INTERVAL_S", 0.0)


def readers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("osteon-read")]


@pytest.mark.usefixtures("_every_step_is_told")
def test_a_stop_ends_after_the_slice_and_leaves_the_writer_alone() -> None:
    scan = noise((6, 33, 40))
    writer, listener = MemoryWriter(scan.shape), StopAt(2)
    with pytest.raises(PredictionStopped, match="stopped after 2 of 6 slices") as caught:
        predict(
            MODEL,
            ArrayVolume(scan),
            writer,
            backend=FakeBackend(),
            memory=PLENTY,
            reporter=Reporter(listener, listener.stop),
        )
    assert caught.value.exit_code == ExitCode.INTERRUPTED
    assert len(writer.slices) == 2
    assert [writer.closed, writer.aborted] == [False, False]  # for whoever opened it to do
    assert readers() == []


@pytest.mark.usefixtures("_every_step_is_told")
def test_a_stop_after_the_last_slice_comes_too_late() -> None:
    scan = noise((3, 33, 40))
    writer, listener = MemoryWriter(scan.shape), StopAt(3)
    reporter = Reporter(listener, listener.stop)
    predict(
        MODEL, ArrayVolume(scan), writer, backend=FakeBackend(), memory=PLENTY, reporter=reporter
    )
    assert reporter.stopping
    assert len(writer.slices) == 3


class Damaged(ArrayVolume):
    """A scan with a slice that can be read once (for the statistics) and not again."""

    reads = 0

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        if z.start == 3:
            self.reads += 1
            if self.reads > 1:
                raise InputError("the file is truncated", where=self.path)
        return super().read(z, y, x)


def test_an_error_of_reading_comes_through() -> None:
    volume = Damaged(noise((6, 33, 40)))
    writer = MemoryWriter(volume.shape)
    with pytest.raises(InputError, match="truncated"):
        predict(MODEL, volume, writer, backend=FakeBackend(), memory=PLENTY)
    assert len(writer.slices) == 3
    assert readers() == []


class FullDisk(MemoryWriter):
    def write(self, z0: int, block: Array) -> None:
        if z0 == 1:
            raise OutputError("the disk is full", where=self.path)
        super().write(z0, block)


def test_an_error_of_writing_comes_through() -> None:
    scan = noise((6, 33, 40))
    with pytest.raises(OutputError, match="disk is full"):
        predict(
            MODEL, ArrayVolume(scan), FullDisk(scan.shape), backend=FakeBackend(), memory=PLENTY
        )
    assert readers() == []


@pytest.mark.parametrize(
    "scan",
    [np.full((3, 40, 40), 7, np.uint8), np.zeros((3, 40, 40), np.uint8)],
    ids=["constant", "empty"],
)
def test_an_unfit_scan_is_told(scan: Array) -> None:
    writer = MemoryWriter(scan.shape)
    with pytest.raises(InputError):
        predict(MODEL, ArrayVolume(scan), writer, backend=FakeBackend(), memory=PLENTY)
    assert writer.slices == []


@pytest.mark.parametrize(
    "change",
    [
        {"recipe_version": 99},
        {"recipe": "lost-recipe"},
        {"mode": "3D"},
        {"network": replace(NETWORK, in_channels=5)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_model_of_another_kind_is_refused(change: dict[str, object]) -> None:
    scan = noise((1, 40, 40))
    model = Model(replace(MODEL.spec, **change), {}, Path("model.safetensors"))  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        predict(
            model,
            ArrayVolume(scan),
            MemoryWriter(scan.shape),
            backend=FakeBackend(),
            memory=PLENTY,
        )


def test_progress_counts_slices() -> None:
    heard: list[Event] = []
    scan = noise((4, 40, 40))
    predict(
        MODEL,
        ArrayVolume(scan),
        MemoryWriter(scan.shape),
        backend=FakeBackend(),
        memory=PLENTY,
        reporter=Reporter(heard.append),
    )
    told = [e for e in heard if e.stage == "predict"]
    assert (told[0].kind, told[0].total, told[0].unit) == ("start", 4, "slice")
    assert (told[-1].kind, told[-1].step) == ("end", 4)


# --- what the model was fitted to -------------------------------------------------------------

RANGES = TrainingRanges((10.0, 40.0), ("uint8",))


def sized(*voxel_size: float | None) -> ArrayVolume:
    geometry = Geometry((voxel_size[0], voxel_size[1], voxel_size[2]))
    return ArrayVolume(noise((1, 8, 8)), geometry=geometry)


@pytest.mark.parametrize(
    "size", [(7.9, 7.9, 7.9), (50.1, 50.1, 50.1), (100, 20, 20), (None, None, 60)]
)
def test_a_voxel_size_far_from_the_training_is_warned_of(size: tuple[float | None, ...]) -> None:
    with pytest.warns(OsteonWarning, match=r"10 to 40 µm.*\[voxel-size-outside-training\]"):
        check_ranges(sized(*size), RANGES)


@pytest.mark.parametrize(
    ("size", "ranges"),
    [
        ((8.1, 8.1, 8.1), RANGES),
        ((49.9, 10, 40), RANGES),
        ((None, None, None), RANGES),
        ((900, 900, 900), TrainingRanges(None, ())),
    ],
    ids=["a little less", "a little more", "unknown scan", "unknown model"],
)
def test_other_voxel_sizes_are_not(size: tuple[float | None, ...], ranges: TrainingRanges) -> None:
    check_ranges(sized(*size), ranges)  # warnings are errors here
