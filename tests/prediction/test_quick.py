"""Int8 is used where it gives the same labels, and only there; a later start goes on with it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from osteon.errors import OsteonWarning, OutputError, UsageError
from osteon.events import Reporter, StopToken
from osteon.model_file import Model
from osteon.prediction import (
    Predicted,
    PredictionStopped,
    Store,
    Wanted,
    context,
    keeping,
    predict_kept,
    quick,
)
from osteon.prediction import plan as plan_module
from osteon.prediction.worth import Worth
from osteon.volume import Array, ArrayVolume, Volume

from .faking import MODEL, PLENTY, FakeBackend, Images, MemoryWriter, noise, run, threshold
from .test_air import fake, tube
from .test_context import Fake as LookingTwice
from .test_context import blobs
from .test_kept import CASES, TWICE, Killed, Mortal

SCAN = ArrayVolume(noise((14, 41, 53)))


@dataclass
class Int8:
    """Makes a file of the samples' number; what it opens has other labels in a share of voxels."""

    wrong: float = 0.0
    seconds: float = 0.5
    clock: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(now=0.0))
    fails: str | None = None
    made: int = 0
    samples: list[Images] = field(default_factory=list)
    kind: type = FakeBackend
    left: int = 10**9
    must_pay: bool = True

    def make(self, samples: Sequence[Images], path: Path) -> None:
        if self.fails:
            raise UsageError(self.fails)
        self.made += 1
        self.samples = list(samples)
        path.write_text(f"{len(samples)}")
        path.with_suffix(".bin").write_bytes(b"numbers")

    def open(self, path: Path) -> object:
        assert path.exists()
        return Mortal(Timed(self.kind(), self, self.wrong, self.seconds), self.left)


@dataclass
class Timed:
    """A backend that takes so many seconds, and labels some voxels otherwise."""

    backend: FakeBackend | LookingTwice
    by: Int8
    wrong: float
    seconds: float
    bytes_per_pixel: int = 100
    description: str = "timed"
    released: int = 0

    def run(self, batch: Images) -> Images:
        return self.backend.run(batch)

    def labels(self, batch: Images) -> Array:
        self.by.clock.now += self.seconds
        found = self.backend.labels(batch).copy()
        flat = found.reshape(-1)
        changed = round(self.wrong * flat.size)
        flat[:changed] = (flat[:changed] + 1) % 3
        return found

    def release(self) -> None:
        self.released += 1


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worth, "pays", property(lambda self: True))
    monkeypatch.setattr(keeping, "BLOCK_VOXELS", 1)
    monkeypatch.setattr(plan_module, "BLOCK_HALO", 16)
    monkeypatch.setattr(context, "UNDECIDED_SHARE", 1.0)


def start(
    int8: Int8 | str,
    folder: Path,
    *,
    volume: Volume = SCAN,
    model: Model = MODEL,
    full: object = None,
    reporter: Reporter | None = None,
    contiguous: str = "no",
    memory: int = PLENTY,
    wanted: Wanted | None = None,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Array, Predicted]:
    if isinstance(int8, Int8):
        clock = SimpleNamespace(perf_counter=lambda: int8.clock.now)
        monkeypatch.setattr(quick, "time", clock)
        full = full or Timed(FakeBackend(), int8, 0.0, 1.0)
    writer = MemoryWriter(volume.shape)
    with Store(folder / "area", shape=volume.shape, identity={"a": 1}) as store:
        found = predict_kept(
            model, volume, store, open_target=lambda: Entered(writer),  # type: ignore[arg-type,return-value]
            backend=full or FakeBackend(), memory=memory, measure=False, quantiser=int8,  # type: ignore[arg-type]
            wanted=replace(wanted or Wanted(), contiguous=contiguous), reporter=reporter,
        )  # fmt: skip
    return writer.array, found


@dataclass
class Entered:
    writer: MemoryWriter

    def __enter__(self) -> MemoryWriter:
        return self.writer

    def __exit__(self, *_: object) -> None:
        pass


def whole(volume: Volume, wrong: float = 0.0) -> Array:
    """Labels of the int8 network, slice by slice; padding is not looked at."""
    values = volume.read(slice(0, volume.shape[0])).astype(np.float64)
    labels = threshold(((values - values.mean()) / values.std()).astype(np.float32))
    assert wrong == 0
    return labels


#: Voxels of an input: the slice as padded to the network's divisor.
INPUT = 64 * 64


@pytest.mark.parametrize(
    ("wrong", "used"),
    [(0.0, True), (4 / INPUT, True), (5 / INPUT, False), (0.01, False)],
    ids=["none", "0.098 %", "0.122 %", "1 %"],
)
def test_it_is_used_where_999_of_1000_labels_are_equal(
    wrong: float, used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    int8 = Int8(wrong)
    if used:
        labels, found = start(int8, tmp_path, monkeypatch=monkeypatch)
    else:
        with pytest.warns(OsteonWarning, match=r"only .* have the same label.*full-precision"):
            labels, found = start(int8, tmp_path, monkeypatch=monkeypatch)
        np.testing.assert_array_equal(labels, whole(SCAN))
    assert found.fast is not None
    assert found.fast.used == used
    assert found.fast.agreement == pytest.approx(1 - round(wrong * INPUT) / INPUT, abs=1e-9)
    assert found.fast.speed_up == pytest.approx(2.0)
    assert (labels != whole(SCAN)).any() == (used and wrong > 0)


@pytest.mark.parametrize(("seconds", "used"), [(0.5, True), (0.9, True), (0.95, False), (2, False)])
def test_it_is_used_only_where_it_is_faster(
    seconds: float, used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    int8 = Int8(seconds=seconds)
    if used:
        _, found = start(int8, tmp_path, monkeypatch=monkeypatch)
    else:
        with pytest.warns(OsteonWarning, match="hardly faster"):
            _, found = start(int8, tmp_path, monkeypatch=monkeypatch)
    assert found.fast is not None
    assert found.fast.used == used
    assert found.fast.speed_up == pytest.approx(1 / seconds)


def test_it_need_not_save_time_where_it_is_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = property(lambda self: False)
    asked = Int8(seconds=2, must_pay=False)
    _, found = start(asked, tmp_path / "asked", monkeypatch=monkeypatch)
    monkeypatch.setattr(Worth, "pays", never)
    again = Int8(seconds=2, must_pay=False)
    _, found = start(again, tmp_path / "again", monkeypatch=monkeypatch)
    for one in (asked, again):
        assert one.made == 1
    assert found.fast is not None
    assert found.fast.used
    weighed = Int8()
    with pytest.warns(OsteonWarning, match="would not save time"):
        start(weighed, tmp_path / "weighed", monkeypatch=monkeypatch)
    assert weighed.made == 0
    with pytest.warns(OsteonWarning, match="only .* have the same label"):
        start(Int8(0.01, must_pay=False), tmp_path / "wrong", monkeypatch=monkeypatch)


def test_what_cannot_be_is_told_and_done_in_full_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ArrayVolume(noise((1, 41, 53)))
    cases: list[tuple[Int8 | str, Volume, str]] = [
        ("the network runs on 'cuda'", SCAN, "cuda"),
        (Int8(fails="NNCF cannot"), SCAN, "NNCF cannot"),
        (Int8(), one, "one slice"),
    ]
    for i, (int8, volume, why) in enumerate(cases):
        with pytest.warns(OsteonWarning, match=f"int8 is not used: .*{why}"):
            labels, found = start(int8, tmp_path / f"{i}", volume=volume, monkeypatch=monkeypatch)
        np.testing.assert_array_equal(labels, whole(volume))
        assert found.fast is not None
        assert not found.fast.used


def test_without_speed_nothing_is_looked_at(tmp_path: Path) -> None:
    writer = MemoryWriter(SCAN.shape)
    backend = FakeBackend()
    with Store(tmp_path / "area", shape=SCAN.shape, identity={}) as store:
        found = predict_kept(
            MODEL, SCAN, store, open_target=lambda: Entered(writer),  # type: ignore[arg-type,return-value]
            backend=backend, memory=PLENTY, measure=False,
        )  # fmt: skip
    assert found.fast is None
    assert len(backend.seen) == SCAN.shape[0]


def test_held_back_slices_are_no_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each slice has a grey value of its own, by which samples and inputs tell where they are from.
    depth = 40
    levels = np.arange(1, depth + 1, dtype=np.uint16)
    scan = np.broadcast_to(levels[:, None, None], (depth, 32, 64)).copy()
    normal = (levels - levels.mean()) / scan.std()
    int8 = Int8()
    full = Timed(FakeBackend(), int8, 0.0, 1.0)
    start(int8, tmp_path, volume=ArrayVolume(scan), full=full, monkeypatch=monkeypatch)
    places = {int(np.abs(normal - s.mean()).argmin()) for s in int8.samples}
    assert len(places) == 8
    assert {s.shape for s in int8.samples} == {(1, 1, 32, 64)}
    assert full.released == 1
    # 12 middles of equal parts of 40 slices, one in three held back: 5, 15, 25, 35.
    assert places.isdisjoint({5, 15, 25, 35})
    assert places == {1, 8, 11, 18, 21, 28, 31, 38}


@pytest.mark.parametrize("calls", [3, 7, 12])
def test_a_later_start_goes_on_with_the_same_network(
    calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = 4 / INPUT
    expected, _ = start(Int8(wrong), tmp_path / "unbroken", monkeypatch=monkeypatch)
    first = Int8(wrong, left=calls)
    with pytest.raises(Killed):
        start(first, tmp_path, monkeypatch=monkeypatch)
    assert first.made == 1
    # The comparison takes 5 calls; what is killed in it has no decision to go on with.
    second = Int8(wrong)
    labels, found = start(second, tmp_path, monkeypatch=monkeypatch)
    assert second.made == (1 if calls < 6 else 0)
    assert found.fast is not None
    assert found.fast.used
    np.testing.assert_array_equal(labels, expected)


def killed_after_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Killed):
        start(Int8(left=9), tmp_path, monkeypatch=monkeypatch)


@pytest.mark.parametrize("name", ["int8.xml", "int8.bin"])
def test_a_network_that_was_damaged_or_lost_is_not_gone_on_with(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after_some(tmp_path, monkeypatch)
    path = tmp_path / "area" / name
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(OutputError, match="damaged"):
        start(Int8(), tmp_path, monkeypatch=monkeypatch)
    path.unlink()
    with pytest.raises(OutputError, match="damaged"):
        start(Int8(), tmp_path, monkeypatch=monkeypatch)


def test_int8_that_can_no_more_be_run_is_not_gone_on_with_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after_some(tmp_path, monkeypatch)
    with pytest.raises(UsageError, match=r"begun in int8.*nncf"):
        start("nncf must be installed", tmp_path, monkeypatch=monkeypatch)


def test_a_refusal_stands_when_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    int8 = Int8(0.5)
    full = Mortal(Timed(FakeBackend(), int8, 0.0, 1.0), 12)  # type: ignore[arg-type]
    with pytest.warns(OsteonWarning, match="int8 is not used"), pytest.raises(Killed):
        start(int8, tmp_path, full=full, monkeypatch=monkeypatch)
    again = Int8(0.0)
    with pytest.warns(OsteonWarning, match=r"only 50\.\d+ %|only 50\.\d+%"):
        labels, _ = start(again, tmp_path, monkeypatch=monkeypatch)
    assert again.made == 0
    np.testing.assert_array_equal(labels, whole(SCAN))


def test_a_stop_is_heeded_while_it_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = StopToken()
    token.request()
    int8 = Int8()
    with pytest.raises(PredictionStopped, match="samples"):
        start(int8, tmp_path, reporter=Reporter(stop=token), monkeypatch=monkeypatch)
    assert int8.made == 0


MODES = [name for name in CASES if name != "2D"]


@pytest.mark.parametrize("name", MODES)
def test_every_mode_is_looked_at_as_it_is_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    volume = case.volume()
    plain = MemoryWriter(volume.shape)
    with Store(tmp_path / "plain", shape=volume.shape, identity={}) as store:
        predict_kept(
            case.model, volume, store, open_target=lambda: Entered(plain),  # type: ignore[arg-type,return-value]
            backend=case.backend(), memory=case.memory, measure=False,
            wanted=Wanted(contiguous=case.contiguous),
        )  # fmt: skip
    int8 = Int8()
    made = itertools.count()

    def kind() -> object:
        next(made)
        return case.backend()

    int8.kind = kind  # type: ignore[assignment]
    labels, found = start(
        int8, tmp_path, volume=volume, model=case.model, memory=case.memory,
        full=Timed(case.backend(), int8, 0.0, 1.0), contiguous=case.contiguous,
        monkeypatch=monkeypatch,
    )  # fmt: skip
    assert found.fast is not None
    assert found.fast.used
    assert found.fast.agreement == 1
    assert {s.shape[1] for s in int8.samples} == {case.model.spec.network.in_channels}
    assert next(made) > 0
    np.testing.assert_array_equal(labels, plain.array)


def test_what_is_looked_at_does_not_count_as_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    for way in ("plain", "int8"):
        volume = ArrayVolume(blobs((11, 64, 96)))
        int8 = Int8(kind=LookingTwice)
        with Store(tmp_path / way, shape=volume.shape, identity={}) as store:
            clock = SimpleNamespace(perf_counter=lambda int8=int8: int8.clock.now)
            monkeypatch.setattr(quick, "time", clock)
            predict_kept(
                TWICE, volume, store,
                open_target=lambda: Entered(MemoryWriter((11, 64, 96))),  # type: ignore[arg-type,return-value]
                backend=Timed(LookingTwice(), int8, 0.0, 1.0),  # type: ignore[arg-type]
                memory=PLENTY, wanted=Wanted(contiguous="no"), measure=False,
                quantiser=int8 if way == "int8" else None,
            )  # fmt: skip
            counted.append(sum(note["maybe"] for note in store.notes()))
        assert int8.made == (way == "int8")
    assert counted[0] == counted[1] > 0


def test_slices_of_air_are_looked_at_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = tube((23, 197, 211))[:14]
    scan[3:] = scan[12:13]  # so that all slices that are held back are skipped
    int8 = Int8(kind=fake)  # type: ignore[arg-type]
    full = Timed(fake(), int8, 0.0, 1.0)
    skip = Wanted(skip_air=True)
    labels, found = start(
        int8, tmp_path, volume=ArrayVolume(scan), full=full, wanted=skip, monkeypatch=monkeypatch
    )
    assert found.air is not None
    assert found.air["skip"]
    assert found.fast is not None
    assert found.fast.used
    assert found.fast.agreement == 1
    expected, _ = run(scan, fake())
    np.testing.assert_array_equal(labels, expected)
