"""Air is skipped where that changes no label, and only then: told by hand-made slices and scans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest

from osteon.events import Event, Reporter
from osteon.model_file import Model
from osteon.networks import NetworkSpec
from osteon.patches import Tile
from osteon.prediction import Predicted, Wanted, predict
from osteon.prediction import plan as plan_module
from osteon.prediction.air import CELL, bright_cells, holds, inside_cells, left_to_run
from osteon.volume import Array, ArrayVolume, Geometry

from .faking import MODEL, NETWORK, PLENTY, SPEC, FakeBackend, Images, MemoryWriter

SKIP = Wanted(skip_air=True)
AIR, TISSUE, MARROW, BONE = 5_000, 9_000, 12_000, 40_000


def bony(image: Images) -> npt.NDArray[np.uint8]:
    """Bone where the normalised grey value is high."""
    return (image > 0.5).astype(np.uint8)


def bony_logits(image: Images) -> Images:
    return np.stack([0.5 - image, image - 0.5, -9 + 0 * image])


def fake(**change: object) -> FakeBackend:
    return FakeBackend(bony, bony_logits, **change)  # type: ignore[arg-type]


def tube(
    shape: tuple[int, int, int], *, air: float = AIR, around: float = AIR, filled: float = MARROW
) -> npt.NDArray[np.uint16]:
    """A shaft, a ring of bone around marrow, in the first corner of a scan; half is above it."""
    z, y, x = np.indices(shape)
    radius = np.hypot(y - 45, x - 40)
    scan = np.full(shape, air, float)
    there = z < shape[0] // 2
    scan[there & (radius < 38)] = around
    scan[there & (radius < 30)] = BONE
    scan[there & (radius < 18)] = filled
    scan += np.random.default_rng(1).normal(0, 300, shape)
    return np.clip(scan, 1, 65_000).astype(np.uint16)


def labelled(
    scan: Array,
    backend: FakeBackend,
    *,
    wanted: Wanted | None = None,
    memory: int = PLENTY,
    model: Model = MODEL,
    reporter: Reporter | None = None,
    geometry: Geometry | None = None,
) -> tuple[Array, Predicted]:
    writer = MemoryWriter(scan.shape)  # type: ignore[arg-type]
    volume = ArrayVolume(scan, geometry or Geometry())
    found = predict(
        model, volume, writer, backend=backend, memory=memory, wanted=wanted, reporter=reporter
    )
    return writer.array, found


def picture(rows: list[str]) -> Images:
    """One cell a letter: # is bright."""
    cells = np.array([[letter == "#" for letter in row] for row in rows])
    return np.kron(cells, np.ones((CELL, CELL))).astype(np.float32)


def test_what_bone_encloses_is_inside_and_what_is_open_is_not() -> None:
    bright = bright_cells(
        picture([".......", ".###...", ".#.#.##", ".###.#.", ".....#."]) * 0.98, below=0.5
    )
    # Smoothed, cells next to bright ones stay below a half.
    assert inside_cells(bright).tolist() == [
        [letter == "x" for letter in row]
        for row in [".......", ".xxx...", ".xxx.xx", ".xxx.x.", ".....x."]
    ]


@pytest.mark.parametrize("offset", [0, 1, 15, 30, 31])
def test_a_line_of_bone_two_pixels_wide_is_seen(offset: int) -> None:
    image = np.full((97, 101), -1.0, np.float32)
    image[:, 32 + offset : 34 + offset] = 1
    found = bright_cells(image, below=-0.5)
    assert found[:, 1].all()
    assert found.shape == (4, 4)
    assert not found[:, 0].any() or offset == 0


def test_noise_alone_is_dark() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(-1, 0.4, (640, 640)).astype(np.float32)  # a fifth of bone's contrast
    assert not bright_cells(image, below=-0.5).any()


def test_what_is_cut_out_of_a_slice() -> None:
    whole = Tile((slice(0, 1000), slice(0, 700)), (slice(0, 1000), slice(0, 700)))
    cells = np.zeros((32, 22), bool)
    assert left_to_run(cells, whole, margin=32, divisors=(32, 32)) == []
    cells[10:12, 20:22] = True
    assert holds(cells, (slice(320, 321), slice(640, 641)))
    assert not holds(cells, (slice(0, 320), slice(0, 700)))
    (tile,) = left_to_run(cells, whole, margin=32, divisors=(32, 32))
    assert tile.core == (slice(320, 384), slice(640, 700))
    assert tile.read == (slice(256, 448), slice(576, 700))  # to multiples of 64, or the end
    (tile,) = left_to_run(cells, whole, margin=32, divisors=(48, 14))
    assert tile.read == (slice(192, 576), slice(448, 700))  # of 192 and 448, too
    assert left_to_run(cells, whole, margin=None, divisors=(32, 32)) == [whole]
    cells[0, 0] = cells[31, 21] = True
    assert left_to_run(cells, whole, margin=0, divisors=(32, 32)) == [whole]


BLOCKS = Model(replace(SPEC, mode="3D", network=replace(NETWORK, dimensions=3)), {})
STACKED = Model(replace(SPEC, mode="2.5D", network=replace(NETWORK, in_channels=3)), {})


@dataclass(frozen=True)
class Case:
    model: Model
    backend: Callable[[], FakeBackend]
    shape: tuple[int, int, int]
    memory: int = PLENTY
    halo: int = 32


TILES = 40 * 2**20
CASES = {
    "slices": Case(MODEL, fake, (23, 197, 211)),
    "tiles": Case(MODEL, lambda: fake(bytes_per_pixel=1700), (11, 197, 211), TILES),
    "2.5D": Case(STACKED, lambda: fake(channels=3), (23, 197, 211)),
    "2.5D tiles": Case(
        STACKED, lambda: fake(channels=3, bytes_per_pixel=1700), (11, 197, 211), TILES
    ),
    "blocks": Case(BLOCKS, lambda: fake(dimensions=3), (101, 131, 140), 60 * 2**20, 16),
    "coarser": Case(
        Model(replace(SPEC, voxel_size_um=13.0), {}), fake, (23, 197, 211)
    ),
}  # fmt: skip


@pytest.fixture
def _small_halo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "HALO", 32)
    monkeypatch.setattr(plan_module, "BLOCK_HALO", 16)


@pytest.mark.usefixtures("_small_halo")
@pytest.mark.parametrize("name", CASES)
def test_labels_are_the_same_and_less_is_run(name: str) -> None:
    case = CASES[name]
    scan, geometry = tube(case.shape), Geometry((10.0, 10.0, 10.0))
    all_of_it, some = case.backend(), case.backend()
    expected, _ = labelled(scan, all_of_it, memory=case.memory, model=case.model, geometry=geometry)
    labels, found = labelled(
        scan, some, wanted=SKIP, memory=case.memory, model=case.model, geometry=geometry
    )
    np.testing.assert_array_equal(labels, expected)
    assert 0.003 < expected.mean() < 0.2
    assert found.air is not None
    assert found.air["skip"], found.air["why"]
    assert found.air["audited"] >= 2
    assert found.air["skipped"] > 0.3
    pixels = [sum(int(np.prod(size)) for size in one.seen) for one in (all_of_it, some)]
    assert pixels[1] < 0.85 * pixels[0]  # the audit with it


@pytest.mark.parametrize(
    "change",
    [
        {"air": BONE - 6_000, "around": TISSUE},  # bright air: nothing dark lies outside
        {"air": 1, "around": TISSUE},  # padding, or no air at all
        {"around": TISSUE, "filled": AIR},  # dry bone in a piece of tissue
    ],
)
def test_whatever_lies_around_bone_labels_are_the_same(change: dict[str, float]) -> None:
    scan = tube((23, 131, 140), **change)
    expected, _ = labelled(scan, fake())
    labels, found = labelled(scan, fake(), wanted=SKIP)
    np.testing.assert_array_equal(labels, expected)
    assert found.air is not None
    if change["around"] == TISSUE and change.get("air", AIR) == BONE - 6_000:
        assert not found.air["skip"] or found.air["skipped"] == 0


def told(backend: FakeBackend, scan: Array) -> tuple[Predicted, str]:
    events: list[Event] = []
    _, found = labelled(scan, backend, wanted=SKIP, reporter=Reporter(events.append))
    lines = [event.message or "" for event in events if event.kind == "message"]
    return found, next(line for line in lines if line.startswith("air "))


def test_a_model_that_sees_something_in_air_is_run_over_all_of_it() -> None:
    scan = tube((23, 197, 211))
    ghostly = FakeBackend(lambda image: np.where(image > 0.5, 1, 2).astype(np.uint8))
    found, line = told(ghostly, scan)
    assert found.air is not None
    assert not found.air["skip"]
    assert found.air["skipped"] == 0
    assert line.startswith("air is not skipped: of 1 slices that would be skipped one holds what")
    assert line.endswith("labels pores")
    assert found.voxels["pores"] == scan.size - found.voxels["bone"]


def test_the_saving_and_the_audit_are_told() -> None:
    found, line = told(fake(), tube((23, 197, 211)))
    assert found.air is not None
    assert line.startswith("air is skipped: about ")
    assert f"{found.air['audited']} slices that would be skipped were run" in line
    assert f"cut out with {found.air['margin']} pixels around it" in line


def test_a_scan_without_edges_or_with_little_air_is_run_whole() -> None:
    flat = np.random.default_rng(0).normal(9_000, 300, (20, 90, 90)).astype(np.uint16)
    found, line = told(FakeBackend(lambda image: np.zeros(image.shape, np.uint8)), flat)
    assert "shows no edges of bone" in line
    assert found.air is not None
    assert not found.air["skip"]
    _, line = told(fake(), tube((36, 96, 90))[:18])
    assert "only 0% of the scan's work is air" in line
    _, line = told(fake(), tube((8, 197, 211)))
    assert "the scan is small" in line


def test_context_decides_how_much_lies_around_what_is_cut_out() -> None:
    def far(image: Images) -> npt.NDArray[np.uint8]:
        """Bone, but for what lies within 100 pixels of the upper end of what is seen."""
        from_end = np.arange(image.shape[0])[:, np.newaxis]
        return ((image > 0.5) & (from_end >= 100)).astype(np.uint8)

    scan = np.roll(tube((23, 451, 197)), 200, axis=1)
    _, near = labelled(scan, fake(), wanted=SKIP)
    assert near.air is not None
    assert near.air["margin"] == 32
    expected, _ = labelled(scan, FakeBackend(far, bony_logits))
    labels, found = labelled(scan, FakeBackend(far, bony_logits), wanted=SKIP)
    np.testing.assert_array_equal(labels, expected)
    assert found.air is not None
    assert found.air["margin"] == 128


def test_a_network_that_sees_everything_gets_whole_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NetworkSpec, "global_context", property(lambda _: True))
    scan, backend = tube((23, 197, 211)), fake()
    _, found = labelled(scan, backend, wanted=SKIP)
    assert found.air is not None
    assert found.air["skip"]
    assert found.air["margin"] is None
    assert set(backend.seen) == {(224, 224)}
    assert found.air["skipped"] == pytest.approx(12 / 23, abs=1e-6)  # the slices above the shaft
