"""Models that look twice: slice by slice as the reference does, the scan along three axes."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from skimage.transform import downscale_local_mean

from osteon.backends import open_backend
from osteon.errors import OsteonWarning, UsageError
from osteon.events import Event, Reporter, StopToken
from osteon.intensity import normalise, statistics
from osteon.model_file import ContextSpec, Model, ModelSpec
from osteon.networks import NetworkSpec, build_network, two_pass
from osteon.prediction import (
    PredictionStopped,
    Store,
    Wanted,
    plan_prediction,
    predict,
    predict_kept,
    prepare,
)
from osteon.prediction import context as context_module
from osteon.prediction import plan as plan_module
from osteon.prediction.context import Doubt, scan_context, slice_context
from osteon.prediction.enclosing import SIDE, enclosed
from osteon.prediction.job import Decisions
from osteon.prediction.plan import ContextPlan, input_rules, plan_context
from osteon.prediction.preview import Preview
from osteon.prediction.slices import SliceRunner
from osteon.settings import PredictSettings
from osteon.volume import Access, Array, ArrayVolume, Geometry, Volume

from .faking import PLENTY, SPEC, Images, MemoryWriter, noise

NETWORK = NetworkSpec("unet", "resnet18", 2, 3, (16, 16, 8, 8, 8))
LOOKS_TWICE = replace(SPEC, network=NETWORK, context=ContextSpec(64))
RULES = input_rules(NETWORK)


@pytest.fixture(autouse=True)
def _no_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is made up here is undecided as no fitted network would be.
    monkeypatch.setattr(context_module, "UNDECIDED_SHARE", 1.0)
    monkeypatch.setattr(context_module, "LOOK_AGAIN", 1.0)


@dataclass
class Fake:
    """Background where grey values are below the picture's mean; the context decides the rest."""

    bytes_per_pixel: int = 100
    description: str = "fake"

    def run(self, batch: Images) -> Images:
        assert batch.shape[:2] == (1, 2)
        assert batch.dtype == np.float32
        assert all(n % 32 == 0 for n in batch.shape[2:])
        grey, context = batch[0]
        # The mean of the picture makes it matter along which axis it was taken.
        return np.stack([0 * grey, 3 * grey + 5 * grey[:16, :16].mean(), context + grey])[None]

    def labels(self, batch: Images) -> npt.NDArray[np.uint8]:
        # Local, so that tiles and slices agree: the sign of the context and of the grey value.
        grey, context = batch[0]
        return ((context > 0).astype(np.uint8) + (grey > 0))[np.newaxis].astype(np.uint8)


def labelled(
    scan: Array | Volume,
    memory: int = PLENTY,
    *,
    backend: object = None,
    contiguous: str = "no",
    spec: ModelSpec = LOOKS_TWICE,
) -> tuple[Array, object]:
    volume = scan if isinstance(scan, Volume) else ArrayVolume(scan)
    writer = MemoryWriter(volume.shape)
    found = predict(
        Model(spec, {}),
        volume,
        writer,
        backend=backend or Fake(),  # type: ignore[arg-type]
        memory=memory,
        wanted=Wanted(contiguous=contiguous),
    )
    return writer.array, found


def blobs(shape: tuple[int, int, int], seed: int = 0) -> npt.NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), (2, 4, 4))
    return (20_000 + 8_000 * smooth / smooth.std() + rng.normal(0, 900, shape)).astype(np.uint16)


@pytest.mark.parametrize("shape", [(2, 130, 97), (2, 40, 50)])
def test_slices_on_their_own_are_what_the_two_passes_give(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(3)
    network = build_network(NETWORK)
    for module in network.modules():  # random statistics, so that no layer is left out
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    network.eval()
    backend = open_backend(
        NETWORK, network.state_dict(), PredictSettings(device="cpu", precision="fp32")
    )
    volume = ArrayVolume(blobs(shape))
    stats = statistics(volume, "zscore")
    coarse = plan_context(volume, LOOKS_TWICE, contiguous=False, memory=PLENTY)
    assert coarse is not None
    plan = plan_prediction(volume, backend, spec=LOOKS_TWICE, memory=PLENTY, context=coarse)
    context = slice_context((shape[1], shape[2]), coarse, backend=backend, rules=RULES)
    runner = SliceRunner(volume, stats, backend, plan, 1, RULES, context)
    made = runner.run(classes=3)
    images = torch.from_numpy(normalise(volume.array, stats))[:, np.newaxis]
    with torch.inference_mode():
        expected = two_pass(network, images, 64, divisor=NETWORK.divisor).numpy()
    for z, logits in made:
        np.testing.assert_allclose(logits[0], expected[z], atol=2e-4)
        # Without the context it would be another result.
        alone = backend.run(
            np.ascontiguousarray(RULES.pad(np.stack([images[z, 0], 0 * images[z, 0]])[None]))
        )
        assert np.abs(alone[0, :, : shape[1], : shape[2]] - expected[z]).max() > 1e-3


def test_tiles_are_labelled_as_whole_slices() -> None:
    scan = blobs((2, 450, 700))
    whole, found = labelled(scan)
    tiled, parts = labelled(scan, found.plan.memory - 1)
    assert (found.plan.tile, parts.plan.tiles > 1) == (None, True)
    assert set(np.unique(whole)) == {0, 1, 2}
    np.testing.assert_array_equal(tiled, whole)


def expected_context(
    values: Images, factor: int, axes: tuple[int, ...], *, looks: int = 1
) -> Images:
    """The mean of the passes along the axes, by other libraries; what then passes on in space is
    tested by itself (test_enclosing)."""
    small = downscale_local_mean(values.astype(np.float64), (factor,) * 3)
    total = np.full_like(small, 0.5)
    for _ in range(looks):
        total = expected_pass(small, 2 * total - 1, axes)
    where = [(np.arange(n) + 0.5) / factor - 0.5 for n in values.shape]
    return 2 * ndimage.map_coordinates(
        total, np.meshgrid(*where, indexing="ij"), order=1, mode="nearest"
    ).astype(np.float32) - 1  # fmt: skip


def expected_pass(small: Images, known: Images, axes: tuple[int, ...]) -> Images:
    total = np.zeros_like(small)
    for axis in axes:
        for i in range(small.shape[axis]):
            pictures = np.stack([np.take(v, i, axis) for v in (small, known)])
            height, width = pictures.shape[1:]
            padding = [(0, 0), (0, -height % 32), (0, -width % 32)]
            given = np.pad(pictures, padding, mode="edge")[None].astype(np.float32)
            logits = Fake().run(given)[0, :, :height, :width]
            p = np.exp(logits) / np.exp(logits).sum(0)
            place = [slice(None)] * 3
            place[axis] = i
            total[tuple(place)] += (p[1] + p[2]) / len(axes)
    return enclosed(total.astype(np.float32), small.astype(np.float32))


@pytest.mark.parametrize(("side", "axes"), [(20, (0, 1, 2)), (1000, (0,))])
def test_a_piece_of_space_is_seen_along_its_axes(
    side: int, axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "SHORTEST_SIDE", side)
    volume = ArrayVolume(blobs((80, 96, 128)))
    stats = statistics(volume, "zscore")
    spec = replace(LOOKS_TWICE, context=ContextSpec(32))
    plan = plan_context(volume, spec, contiguous=True, memory=PLENTY)
    assert plan == ContextPlan(True, 4.0, 4.0, (20, 24, 32), axes)
    context = scan_context(volume, stats, plan, backend=Fake(), rules=RULES)
    values = normalise(volume.array, stats)
    expected = expected_context(values, 4, axes)
    got = np.stack([context(z, values[z]) for z in range(80)])
    assert expected.std() > 0.2
    np.testing.assert_allclose(got, expected, atol=2e-4)


@pytest.mark.parametrize("doubted", [False, True])
def test_what_is_in_doubt_is_looked_at_again(
    doubted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = ArrayVolume(blobs((64, 64, 96)))
    stats = statistics(volume, "zscore")
    plan = plan_context(
        volume, replace(LOOKS_TWICE, context=ContextSpec(48)), contiguous=True, memory=PLENTY
    )
    assert plan is not None
    values = normalise(volume.array, stats)
    once, twice = (expected_context(values, 2, plan.axes, looks=n) for n in (1, 2))
    expected = Doubt()
    expected.add((once + 1) / 2)
    share = expected.share
    assert 0.05 < share < 0.95
    # What lies on the small grid is counted, not what was brought to the scan's: a margin.
    monkeypatch.setattr(context_module, "LOOK_AGAIN", share - 0.04 if doubted else share + 0.04)
    counted = Doubt()
    context = scan_context(volume, stats, plan, backend=Fake(), rules=RULES, doubt=counted)
    assert counted.share == pytest.approx(share, abs=0.03)  # of the first look
    got = np.stack([context(z, values[z]) for z in range(64)])
    assert np.abs(once - twice).max() > 0.05
    np.testing.assert_allclose(got, twice if doubted else once, atol=2e-4)


def test_the_axes_differ() -> None:
    # Else the test above would not tell one axis from three.
    values = normalise(blobs((64, 64, 64)), statistics(ArrayVolume(blobs((64, 64, 64))), "zscore"))
    one, three = (expected_context(values, 4, axes) for axes in ((0,), (0, 1, 2)))
    assert np.abs(one - three).max() > 0.05


def test_thick_slices_are_reduced_less_along_z() -> None:
    volume = ArrayVolume(noise((40, 256, 128)), Geometry((40.0, 10.0, 10.0)))
    plan = plan_context(volume, LOOKS_TWICE, contiguous=True, memory=PLENTY)
    assert plan is not None
    assert (plan.factor, plan.depth_factor, plan.shape) == (4.0, 1.0, (40, 64, 32))


def test_the_small_volume_is_bounded() -> None:
    scan = np.broadcast_to(np.zeros((), np.uint8), (30_000, 300, 300))
    spec = replace(SPEC, network=NETWORK, context=ContextSpec(256))
    plan = plan_context(ArrayVolume(scan), spec, contiguous=True, memory=PLENTY)
    assert plan is not None
    assert plan.held <= 64 * 2**20
    assert plan.factor == plan.depth_factor
    little = plan_context(ArrayVolume(scan), spec, contiguous=True, memory=2**26)
    assert little is not None
    assert little.held <= 2**23
    assert little.held > 2**22  # and not much smaller than it must be


def test_the_memory_of_the_context_is_planned_by_hand() -> None:
    volume = ArrayVolume(np.zeros((5, 300, 500), np.uint16))
    context = ContextPlan(True, 4.0, 4.0, (100, 75, 125), (0, 1, 2))
    plan = plan_prediction(volume, Fake(800), spec=LOOKS_TWICE, memory=PLENTY, context=context)
    # Three slices of 2 + 4 + 1 bytes, the context as a second channel, three planes on the way to
    # it, the small volume; 320 × 512 px of 800 bytes and the second channel's 4.
    expected = 300 * 500 * (7 * 3 + 4 + 3 * 4) + 100 * 75 * 125 * 4 + 320 * 512 * 804
    assert plan.memory == expected
    assert plan.context == context


class Long(Volume):
    """A scan that is made slice by slice."""

    def __init__(self, shape: tuple[int, int, int]):
        self.shape, self.dtype = shape, np.dtype(np.uint8)
        self.path, self.geometry, self.access = "long", Geometry(), Access.SLICE  # type: ignore[assignment]
        self.chunks, self.provenance = (1, *shape[1:]), {}

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        z, y, x = self.bounds(z, y, x)
        rows = np.arange(self.shape[1])[:, np.newaxis]
        plane = ((rows // 40 + np.arange(self.shape[2]) // 40) % 2 * 100 + 50).astype(np.uint8)
        return np.stack([plane + np.uint8(i % 7) for i in range(z.start, z.stop)])[:, y, x]


def test_a_long_scan_does_not_go_into_memory() -> None:
    volume = Long((1000, 400, 400))  # 153 MiB
    stats = statistics(volume, "zscore")
    plan = plan_context(volume, LOOKS_TWICE, contiguous=True, memory=2**26)
    assert plan is not None
    tracemalloc.start()
    try:
        context = scan_context(volume, stats, plan, backend=Fake(), rules=RULES)
        context(300, np.zeros((400, 400), np.float32))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    slices = 400 * 400 * 4 * 8
    walk = 20 * 8 * SIDE * (SIDE * 400 // 1000) ** 2
    assert peak < 3 * plan.held + slices + walk < volume.nbytes / 4


def test_the_judgement_is_told_and_can_be_overruled() -> None:
    told: list[str] = []

    def listen(event: Event) -> None:
        if event.kind == "message" and "outline" in (event.message or ""):
            told.append(event.message or "")

    scan = blobs((12, 96, 96))
    for asked, expected in (("auto", True), ("no", False), ("yes", True)):
        writer = MemoryWriter(scan.shape)
        found = predict(
            Model(LOOKS_TWICE, {}), ArrayVolume(scan), writer, backend=Fake(), memory=PLENTY,
            wanted=Wanted(contiguous=asked), reporter=Reporter(listen),
        )  # fmt: skip
        assert found.contiguity is not None
        assert found.plan.context is not None
        assert found.contiguity.contiguous is found.plan.context.contiguous is expected
        assert found.as_dict()["plan"]["context"]["contiguous"] is expected
    assert "as one piece of space" in told[0]
    assert "contiguous=yes or no" in told[0]
    assert "each on its own: as was said" in told[1]


def test_a_stop_in_the_coarse_pass_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osteon.events.MIN_INTERVAL_S", 0.0)
    stop = StopToken()

    def listen(event: Event) -> None:
        if event.stage == "context" and event.kind == "progress":
            stop.request("test")

    scan = blobs((70, 96, 96))
    writer = MemoryWriter(scan.shape)
    with pytest.raises(PredictionStopped, match="coarse pass"):
        predict(
            Model(LOOKS_TWICE, {}), ArrayVolume(scan), writer, backend=Fake(), memory=PLENTY,
            wanted=Wanted(contiguous="yes"), reporter=Reporter(listen, stop),
        )  # fmt: skip
    assert writer.slices == []


class ByContext(Fake):
    def run(self, batch: Images) -> Images:
        grey, context = batch[0]
        return np.stack([0 * grey - 0.01, grey, 20 * context])[None]

    def labels(self, batch: Images) -> npt.NDArray[np.uint8]:
        return self.run(batch).argmax(1).astype(np.uint8)


def test_a_resampled_scan_has_its_context() -> None:
    fine = np.kron(blobs((2, 100, 120)), np.ones((1, 2, 2), np.uint16))
    volume = ArrayVolume(fine, Geometry((10.0, 10.0, 10.0)))
    spec = replace(LOOKS_TWICE, voxel_size_um=20.0)

    labels, found = labelled(volume, spec=spec, backend=ByContext())
    assert found.resampled == (2, 100, 120)
    assert labels.shape == fine.shape
    half, _ = labelled(
        ArrayVolume(fine[:, ::2, ::2]), spec=replace(spec, voxel_size_um=None), backend=ByContext()
    )
    assert (labels[:, ::2, ::2] == half).mean() > 0.95


def test_an_undecided_outline_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_module, "UNDECIDED_SHARE", 0.5)

    @dataclass
    class Undecided(Fake):
        def run(self, batch: Images) -> Images:
            return np.zeros((1, 3, *batch.shape[2:]), np.float32)  # 2/3 inside, everywhere

    with pytest.warns(OsteonWarning, match=r"undecided about 100%.*\[outline-uncertain\]"):
        labelled(blobs((2, 64, 64)), backend=Undecided())


def test_doubt_by_hand() -> None:
    doubt = Doubt()
    assert doubt.share == 0
    doubt.add(np.array([[0.1, 0.3], [0.9, 0.95]], np.float32))
    doubt.add(np.array([[0.5]], np.float32))
    assert doubt.share == 0.5


def test_a_preview_has_its_context() -> None:
    scan = blobs((1, 128, 96))
    volume = ArrayVolume(scan)
    preview = Preview(LOOKS_TWICE, Fake(), PLENTY)
    got = preview.labels(
        volume, 0, box=(slice(None), slice(None)), statistics=statistics(volume, "zscore")
    )
    np.testing.assert_array_equal(got, labelled(scan)[0][0])


@pytest.mark.parametrize("channels", [1, 3])
def test_another_number_of_channels_is_refused(channels: int) -> None:
    spec = replace(LOOKS_TWICE, network=replace(NETWORK, in_channels=channels))
    with pytest.raises(UsageError, match="channels"):
        labelled(blobs((1, 40, 40)), spec=spec)


# --- within a bone ---------------------------------------------------------------------------

EDGES = replace(LOOKS_TWICE, recipe="edges")


def sponge(side: int = 120) -> npt.NDArray[np.uint8]:
    """Walls of bone all over the view, every 15 pixels."""
    y, x = np.mgrid[:side, :side]
    image = np.where((y % 15 < 5) | (x % 15 < 5), 180.0, 60.0)
    image = ndimage.gaussian_filter(image, 1) + np.random.default_rng(0).normal(
        0, 4, (9, side, side)
    )
    return image.clip(1, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("spec", "asked", "within"),
    [
        (EDGES, "auto", True),
        (EDGES, "no", False),
        (EDGES, "yes", True),
        (LOOKS_TWICE, "yes", True),
        (LOOKS_TWICE, "auto", False),  # its grey values do not tell
    ],
)
@pytest.mark.parametrize("contiguous", ["yes", "no"])
def test_within_a_bone_all_is_inside(
    spec: ModelSpec, asked: str, within: bool, contiguous: str
) -> None:
    class Watched(Fake):
        coarse = 0

        def run(self, batch: Images) -> Images:
            Watched.coarse += 1
            return super().run(batch)

    Watched.coarse = 0
    told: list[Event] = []
    volume = ArrayVolume(sponge())
    job = prepare(
        Model(spec, {}),
        volume,
        backend=Watched(),  # type: ignore[arg-type]
        memory=PLENTY,
        wanted=Wanted(contiguous=contiguous, within=asked),
        reporter=Reporter(told.append),
    )
    assert job.decisions.within is within
    assert Decisions.from_dict(job.decisions.as_dict()) == job.decisions
    labels = np.concatenate([slab for _, slab in job.labels(slice(0, 9))])
    assert (Watched.coarse == 0) is within
    said = [event.message for event in told if "taken for the inside" in (event.message or "")]
    assert len(said) == (within and asked == "auto")
    if within:  # the context is 1 everywhere
        assert (labels >= 1).all()


def test_along_three_axes_all_is_inside_too(tmp_path: Path) -> None:
    class Inside(Fake):
        def run(self, batch: Images) -> Images:
            assert (batch[0, 1, :9, :9] == 1).all()
            return super().run(batch)

    volume = ArrayVolume(np.concatenate([sponge()] * 2), Geometry((10.0, 10.0, 10.0)))
    writer = MemoryWriter(volume.shape)
    wanted = Wanted(within="yes", axes=3, contiguous="yes")
    with Store(tmp_path / "area", shape=volume.shape, identity={}) as store:
        predict_kept(
            Model(EDGES, {}), volume, store, open_target=lambda: writer,
            backend=Inside(), memory=PLENTY, wanted=wanted, measure=False,  # type: ignore[arg-type]
        )  # fmt: skip
    assert writer.array.shape == volume.shape
