"""Whatever ends a prediction, the next start goes on from what was finished, to the same labels."""

from __future__ import annotations

import errno
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from osteon import files
from osteon.errors import OutputError, UsageError
from osteon.events import Event, Reporter, StopToken
from osteon.model_file import ContextSpec, Model
from osteon.prediction import (
    PredictionStopped,
    Store,
    Wanted,
    context,
    keeping,
    new_slices,
    predict,
    predict_kept,
    work_area,
)
from osteon.prediction import plan as plan_module
from osteon.volume import Array, ArrayVolume, Geometry, Volume

from .faking import (
    MODEL,
    NETWORK,
    PLENTY,
    SPEC,
    FakeBackend,
    Images,
    MemoryWriter,
    noise,
)
from .test_context import Fake as LookingTwice
from .test_context import blobs
from .test_neighbours import Watched


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Mortal:
    """A backend that is killed at its n-th call."""

    backend: FakeBackend | LookingTwice
    left: int
    calls: int = 0

    @property
    def bytes_per_pixel(self) -> int:
        return self.backend.bytes_per_pixel

    description: str = "mortal"

    def _live(self) -> None:
        if self.calls == self.left:
            raise Killed
        self.calls += 1

    def run(self, batch: Images) -> Images:
        self._live()
        return self.backend.run(batch)

    def labels(self, batch: Images) -> Array:
        self._live()
        return self.backend.labels(batch)


@pytest.fixture(autouse=True)
def _a_block_for_every_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "BLOCK_VOXELS", 1)
    monkeypatch.setattr(plan_module, "BLOCK_HALO", 16)
    monkeypatch.setattr(context, "UNDECIDED_SHARE", 1.0)


@dataclass(frozen=True)
class Case:
    model: Model
    volume: Callable[[], Volume]
    backend: Callable[[], FakeBackend | LookingTwice]
    memory: int = PLENTY
    contiguous: str = "no"


def sized(shape: tuple[int, int, int]) -> Volume:
    return ArrayVolume(noise(shape), Geometry((10.0, 10.0, 10.0)))


def spec_of(mode: str, channels: int, **change: object) -> Model:
    dimensions = 3 if mode == "3D" else 2
    network = replace(NETWORK, in_channels=channels, dimensions=dimensions)
    return Model(replace(SPEC, mode=mode, network=network, **change), {})  # type: ignore[arg-type]


TWICE = spec_of("2D", 2, context=ContextSpec(32))
CASES = {
    "2D": Case(MODEL, lambda: ArrayVolume(noise((7, 41, 53))), FakeBackend),
    "2D tiles": Case(
        MODEL, lambda: ArrayVolume(noise((5, 401, 433))), FakeBackend, 401 * 433 * 21 + 384**2 * 101
    ),
    "2.5D": Case(
        spec_of("2.5D", 5),
        lambda: ArrayVolume(noise((7, 41, 53))),
        lambda: FakeBackend(channels=5),
    ),
    "3D": Case(
        spec_of("3D", 1),
        lambda: ArrayVolume(noise((131, 67, 71))),
        lambda: FakeBackend(dimensions=3, bytes_per_pixel=200),
        80 * 2**20,
    ),
    "2D coarser": Case(
        spec_of("2D", 1, voxel_size_um=17.0), lambda: sized((5, 61, 67)), FakeBackend
    ),
    "2.5D coarser": Case(
        spec_of("2.5D", 3, voxel_size_um=17.0),
        lambda: sized((11, 61, 67)),
        lambda: FakeBackend(channels=3),
    ),
    "2.5D finer": Case(
        spec_of("2.5D", 3, voxel_size_um=7.0),
        lambda: sized((7, 31, 37)),
        lambda: FakeBackend(channels=3),
    ),
    "3D finer": Case(
        spec_of("3D", 1, voxel_size_um=5.0),
        lambda: sized((67, 31, 37)),
        lambda: FakeBackend(dimensions=3, bytes_per_pixel=200),
        100 * 2**20,
    ),
    "looking twice": Case(TWICE, lambda: ArrayVolume(blobs((11, 64, 96))), LookingTwice),
    "looking twice at the whole": Case(
        TWICE, lambda: ArrayVolume(blobs((11, 64, 96))), LookingTwice, contiguous="yes"
    ),
}


def start(
    case: Case, folder: Path, *, calls: int, volume: Volume | None = None, **options: object
) -> tuple[MemoryWriter, int]:
    """One start of a prediction; the labels and the calls of the network."""
    volume = volume or case.volume()
    backend = Mortal(case.backend(), calls)
    writer = MemoryWriter(volume.shape)
    with Store(folder, shape=volume.shape, identity={"scan": "it"}) as store:
        predict_kept(
            case.model,
            volume,
            store,
            open_target=lambda: writer,
            backend=backend,
            memory=case.memory,
            wanted=Wanted(contiguous=case.contiguous),
            measure=False,
            **options,  # type: ignore[arg-type]
        )
    return writer, backend.calls


@pytest.mark.parametrize("name", CASES)
def test_killed_anywhere_it_comes_to_the_same_labels(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    volume = case.volume()
    direct = MemoryWriter(volume.shape)
    counting = Mortal(case.backend(), -1)
    predict(
        case.model,
        volume,
        direct,
        backend=counting,
        memory=case.memory,
        wanted=Wanted(contiguous=case.contiguous),
    )
    assert len(np.unique(direct.array)) == 3
    moments = {0, 1, 2, counting.calls // 2, counting.calls - 1}
    for moment in sorted(m for m in moments if m < counting.calls):
        folder = tmp_path / str(moment)
        with pytest.raises(Killed):
            start(case, folder, calls=moment)
        resumed, calls = start(case, folder, calls=-1)
        np.testing.assert_array_equal(resumed.array, direct.array)
        if moment == counting.calls - 1:
            assert calls < counting.calls  # what was finished is not run again


def test_killed_again_and_again_it_comes_to_an_end(tmp_path: Path) -> None:
    case = CASES["2.5D"]
    starts = 0
    while True:
        try:
            writer, _ = start(case, tmp_path / "area", calls=1)
        except Killed:
            starts += 1
            continue
        break
    assert starts == 6  # a slice each, and the last start finishes the seventh
    direct = MemoryWriter(writer.shape)
    predict(case.model, case.volume(), direct, backend=case.backend(), memory=PLENTY)
    np.testing.assert_array_equal(writer.array, direct.array)


def test_decisions_are_not_made_again(tmp_path: Path) -> None:
    case = CASES["2D"]
    with pytest.raises(Killed):
        start(case, tmp_path / "area", calls=3)
    volume = Watched(noise((7, 41, 53)))
    start(case, tmp_path / "area", calls=-1, volume=volume)
    assert dict(volume.reads) == {3: 1, 4: 1, 5: 1, 6: 1}  # no statistics, no finished slice


class StopAt:
    def __init__(self, step: int):
        self.stop, self.step, self.told = StopToken(), step, [""]

    def __call__(self, event: Event) -> None:
        self.told.append(event.message or "")
        if event.stage == "predict" and event.kind == "progress" and event.step == self.step:
            self.stop.request("test")


def test_a_stop_keeps_what_is_done_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osteon.events.MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(keeping, "BLOCK_VOXELS", 1 << 40)  # gathered, not yet on the disk
    listener = StopAt(3)
    with pytest.raises(PredictionStopped, match="after 3 of 7 slices; they are kept") as caught:
        start(
            CASES["2D"],
            tmp_path / "area",
            calls=-1,
            reporter=Reporter(listener, listener.stop),
        )
    assert "run the same command again" in str(caught.value.mend)
    told = StopAt(-1)
    _, calls = start(CASES["2D"], tmp_path / "area", calls=-1, reporter=Reporter(told))
    assert calls == 4
    assert "going on: 3 of 7 slices were finished before" in told.told
    assert not [t for t in threading.enumerate() if t.name.startswith("osteon-")]


def test_a_full_disk_loses_nothing_that_was_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, real, room = CASES["2D"], files.flush, [4]  # the journal twice, and two blocks

    def flush(path: Path) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path)

    monkeypatch.setattr(files, "flush", flush)
    with pytest.raises(OutputError, match="disk is full") as caught:
        start(case, tmp_path / "area", calls=-1)
    assert "run the same command again" in str(caught.value.mend)
    monkeypatch.setattr(files, "flush", real)
    resumed, calls = start(case, tmp_path / "area", calls=-1)
    assert calls == 5
    direct = MemoryWriter(resumed.shape)
    predict(case.model, case.volume(), direct, backend=case.backend(), memory=PLENTY)
    np.testing.assert_array_equal(resumed.array, direct.array)


def area(folder: Path, *, identity: dict[str, object], restart: bool = False) -> Store:
    return Store(folder, shape=(3, 4, 5), identity=identity, restart=restart)


def test_another_scan_or_model_is_refused_or_begun_anew(tmp_path: Path) -> None:
    folder, plane = tmp_path / "area", [b"x"]
    with area(folder, identity={"scan": 1, "model": (2, 3)}) as store:
        store.put(0, plane, note={})
    with area(folder, identity={"scan": 1, "model": (2, 3)}) as store:
        assert store.missing() == [slice(1, 3)]
    with pytest.raises(UsageError, match="had another model") as caught:
        area(folder, identity={"scan": 1, "model": (2, 4)})
    assert "--overwrite" in str(caught.value.mend)
    with area(folder, identity={"scan": 1, "model": (2, 4)}, restart=True) as store:
        assert store.missing() == [slice(0, 3)]


def test_two_commands_do_not_predict_one_thing(tmp_path: Path) -> None:
    with area(tmp_path / "area", identity={}) as store:
        store.put(1, [b"x"], note={})
        with pytest.raises(OutputError, match="another command"):
            area(tmp_path / "area", identity={})


def test_gaps_between_finished_blocks_are_missing(tmp_path: Path) -> None:
    with Store(tmp_path / "area", shape=(9, 4, 5), identity={}) as store:
        store.put(2, [b"x", b"y"], note={})
        store.put(6, [b"z"], note={})
        assert store.missing() == [slice(0, 2), slice(4, 6), slice(7, 9)]


def test_a_damaged_block_is_told_and_made_anew(tmp_path: Path) -> None:
    case, folder = CASES["2D"], tmp_path / "area"
    with pytest.raises(Killed):
        start(case, folder, calls=4)
    block = sorted(folder.glob("labels-*"))[2]
    data = bytearray(block.read_bytes())
    data[-3] ^= 1
    block.write_bytes(data)
    with pytest.raises(OutputError, match=r"slices 2 to 2\) are damaged"):
        start(case, folder, calls=-1)
    writer, calls = start(case, folder, calls=-1)
    assert calls == 1
    assert len(writer.slices) == 7


def test_nothing_is_left_where_nothing_was_finished(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        start(CASES["2D"], tmp_path / "area", calls=0)
    assert list(tmp_path.iterdir()) == []


def test_a_long_name_has_a_work_area(tmp_path: Path) -> None:
    folder = work_area(tmp_path / ("ü" * 120 + ".tif"))
    folder.mkdir()
    assert folder.parent == tmp_path


def test_what_is_finished_can_be_followed(tmp_path: Path) -> None:
    folder = tmp_path / ".labels.osteon-part"
    seen: set[str] = set()
    assert list(new_slices(folder, seen)) == []  # not there yet
    store = Store(folder, shape=(4, 2, 3), identity={})
    planes = [np.full((2, 3), z, np.uint8) for z in range(4)]
    store.put(0, [zlib.compress(p.tobytes()) for p in planes[:2]], note={})
    assert [(z, p.tolist()) for z, p in new_slices(folder, seen)] == [
        (z, [planes[z].tolist()]) for z in (0, 1)
    ]
    store.put(3, [zlib.compress(planes[3].tobytes())], note={})
    assert [z for z, _ in new_slices(folder, seen)] == [3]
    path = next(folder.glob("labels-00000003-*"))
    path.write_bytes(path.read_bytes()[:-1])
    assert list(new_slices(folder, set())) != []
    assert [z for z, _ in new_slices(folder, set())] == [0, 1]
