"""The disk cache: right voxels, made once, bounded, safe among processes, and cleared."""

from __future__ import annotations

import errno
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pydicom
import pytest
import tifffile
import zarr
from PIL import Image

from osteon.errors import InputError, OsteonWarning, OutputError, Stopped, UsageError
from osteon.events import Event, Reporter, StopToken
from osteon.formats import cache as cache_module
from osteon.formats import open_volume, open_writer
from osteon.formats.cache import (
    CachedVolume,
    cache_bound,
    cache_folder,
    cached_copy,
    clear_cache,
    entries,
    for_random_reads,
    store,
    users,
    volumes,
)
from osteon.volume import Access, Array, ArrayVolume, Slab, Volume

from .cases import GEOMETRY, reopen

SHAPE = (19, 300, 270)  # three slabs of 8 slices, the last not full; 3 × 3 chunks of 128²
MB = 10**6


def voxels(dtype: str = "uint16", shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 200, shape).astype(dtype)


def png(folder: Path, array: Array) -> Path:
    folder.mkdir(parents=True)
    for z, plane in enumerate(array):
        Image.fromarray(plane).save(folder / f"s{z:03d}.png")
    return folder


def lzw(path: Path, array: Array) -> Path:
    tifffile.imwrite(path, array, compression="lzw", photometric="minisblack")
    return path


def packed(path: Path, array: Array) -> Path:
    nrrd.write(str(path), array.T)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("shape", [SHAPE, (1, 5, 7), (8, 128, 256), (9, 129, 1)])
def test_any_block_is_that_of_the_scan(
    tmp_path: Path, dtype: str, shape: tuple[int, int, int]
) -> None:
    array = voxels(dtype, shape)
    copy = open_volume(packed(tmp_path / "a.nrrd", array))
    assert isinstance(copy, CachedVolume)
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(copy.read(slice(None)), array)
    for _ in range(40):
        box = tuple(slice(*sorted(int(i) for i in rng.integers(0, n + 1, size=2))) for n in shape)
        np.testing.assert_array_equal(copy.read(*box), array[box])
    assert copy.read(slice(0, 1)).dtype == np.dtype(dtype)


def test_an_entry_is_an_array_that_zarr_reads(tmp_path: Path) -> None:
    array = voxels()
    array[:8] = 0  # chunks of nothing but the fill value
    copy = cached_copy(open_volume(lzw(tmp_path / "a.tif", array)))
    assert isinstance(copy, CachedVolume)
    assert copy.entry is not None
    found = zarr.open_array(copy.entry / "voxels.zarr", mode="r")
    np.testing.assert_array_equal(np.asarray(found[:]), array)
    np.testing.assert_array_equal(copy.read(slice(None)), array)


def test_metadata_stay(tmp_path: Path) -> None:
    folder = tmp_path / "a.dcm"
    scan = ArrayVolume(voxels("int16", (5, 40, 30)), GEOMETRY)
    with open_writer(folder, like=scan, dtype="int16") as writer:
        writer.write(0, scan.array)
    for file in folder.glob("*.dcm"):
        data = pydicom.dcmread(file)
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = "2.5", "-1000", "HU"
        data.save_as(file)
    volume = open_volume(folder)
    copy = reopen(cached_copy(volume))
    assert type(copy) is CachedVolume
    assert copy.access is Access.RANDOM
    for name in ("path", "shape", "dtype", "geometry", "labels", "provenance", "slice_numbers"):
        assert getattr(copy, name) == getattr(volume, name)
    said = (copy.intensity_scale, copy.intensity_offset, copy.intensity_unit)
    assert said == (2.5, -1000, "HU")
    np.testing.assert_array_equal(copy.read(slice(None)), scan.array)
    numbered = cached_copy(open_volume(png(tmp_path / "slices", voxels("uint8", (3, 20, 20)))))
    assert numbered.slice_numbers == (0, 1, 2)


def test_made_once_with_progress(tmp_path: Path) -> None:
    path = png(tmp_path / "slices", voxels("uint8"))
    events: list[Event] = []
    cached_copy(open_volume(path), reporter=Reporter(events.append))
    assert {event.stage for event in events} == {"cache"}
    assert (events[-1].kind, events[-1].step, events[-1].total) == ("end", 19, 19)
    events.clear()
    for file in path.iterdir():  # the same size and time, but unreadable
        status = file.stat()
        file.write_bytes(bytes(status.st_size))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    volume = cached_copy(reopen_unread(path), reporter=Reporter(events.append))
    np.testing.assert_array_equal(volume.read(slice(None)), voxels("uint8"))
    assert events == []


def reopen_unread(path: Path) -> Volume:
    """Open a folder of slices whose files can no longer be decoded."""
    good = png(path.parent / f"{path.name}-again", voxels("uint8"))
    volume = open_volume(good)
    volume.path = path
    volume._files = tuple(str(path / Path(f).name) for f in volume._files)  # type: ignore[attr-defined]
    return volume


@pytest.mark.parametrize("change", ["content", "time", "more"])
def test_a_changed_source_is_copied_anew(tmp_path: Path, change: str) -> None:
    array = voxels("uint8", (4, 50, 60))
    path = png(tmp_path / "slices", array)
    cached_copy(open_volume(path))
    if change == "content":
        array = array[:, ::-1]
        Image.fromarray(array[2]).save(path / "s002.png")
        array = np.stack([array[z] if z == 2 else array[z, ::-1] for z in range(4)])
    elif change == "time":
        os.utime(path / "s003.png", (1, 1))
    else:
        array = np.concatenate([array, array[:1]])
        Image.fromarray(array[0]).save(path / "s004.png")
    copy = cached_copy(open_volume(path))
    np.testing.assert_array_equal(copy.read(slice(None)), array)
    assert len(entries()) == 2


def test_what_is_fast_or_a_view_is_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", voxels())
    plain = open_volume(tmp_path / "a.npy")
    assert cached_copy(plain) is plain
    slow = open_volume(lzw(tmp_path / "a.tif", voxels()))
    with pytest.raises(UsageError, match="opened from its files"):
        cached_copy(Slab(slow, slice(2, 5)))
    assert entries() == []


class Recorder:
    """Listens, and asks to stop at a step of a stage."""

    def __init__(self, stop_at: int):
        self.stop = StopToken()
        self._at = stop_at
        self.reporter = Reporter(self._listen, self.stop)

    def _listen(self, event: Event) -> None:
        if event.stage == "cache" and (event.step or 0) >= self._at:
            self.stop.request()


def test_a_stop_leaves_nothing(tmp_path: Path) -> None:
    volume = open_volume(lzw(tmp_path / "a.tif", voxels()))
    with pytest.raises(Stopped, match="nothing was kept"):
        cached_copy(volume, reporter=Recorder(8).reporter)
    assert list(cache_folder().iterdir()) == []


def test_a_damaged_scan_leaves_nothing(tmp_path: Path) -> None:
    path = png(tmp_path / "slices", voxels("uint8"))
    volume = open_volume(path)
    (path / "s010.png").write_bytes((path / "s010.png").read_bytes()[:2000])
    with pytest.raises(InputError, match=r"s010\.png"):
        cached_copy(volume)
    assert list(cache_folder().iterdir()) == []


def fill(tmp_path: Path, *names: str) -> dict[str, Path]:
    """Make entries of 240 kB or so of incompressible voxels; nobody uses them afterwards."""
    made = {}
    for seed, name in enumerate(names):
        rng = np.random.default_rng(seed)
        array = rng.integers(0, 256, (4, 200, 300), dtype=np.uint8)
        copy = open_volume(packed(tmp_path / f"{name}.nrrd", array))
        copy.read(slice(0, 1))
        assert isinstance(copy, CachedVolume)
        assert copy.entry is not None
        made[name] = copy.entry
    gc.collect()
    return made


def bound(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("OSTEON_CACHE_SIZE", text)


def test_the_least_recently_used_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound(monkeypatch, "1.1MB")
    made = fill(tmp_path, "a", "b", "c", "d")  # 0.26 MB each
    for age, name in enumerate(("c", "a", "d", "b")):
        os.utime(made[name] / "used", (1000 - age, 1000 - age))  # b is the oldest
    open_volume(tmp_path / "b.nrrd").read(slice(0, 1))  # now it is the youngest
    fill(tmp_path, "e")
    assert sorted(e.source.name[0] for e in entries()) == ["a", "b", "c", "e"]
    fill(tmp_path, "f")
    assert sorted(e.source.name[0] for e in entries()) == ["b", "c", "e", "f"]
    assert [e.source.name[0] for e in entries()[-1:]] == ["c"]
    on_disk = sum(p.stat().st_size for p in cache_folder().rglob("*") if p.is_file())
    assert sum(e.bytes for e in entries()) <= on_disk <= 1.1 * MB


def test_what_is_in_use_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound(monkeypatch, "600kB")
    fill(tmp_path, "a")
    used = open_volume(tmp_path / "a.nrrd")
    first = used.read(slice(None))
    fill(tmp_path, "b")
    os.utime(entries()[-1].path / "used", (1, 1))
    fill(tmp_path, "c")
    assert sorted(e.source.name[0] for e in entries()) == ["a", "c"]
    assert [e.source.name[0] for e in clear_cache()] == ["c"]
    np.testing.assert_array_equal(used.read(slice(None)), first)
    other = open_volume(tmp_path / "b.nrrd")
    other.read(slice(0, 1))
    with pytest.raises(OutputError, match="in use") as caught:
        fill(tmp_path, "d")
    assert "OSTEON_CACHE_SIZE" in str(caught.value.mend)
    del used, other
    gc.collect()
    assert len(clear_cache()) == 2


def test_what_another_process_uses_is_kept(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.nrrd", voxels())
    code = (
        "import sys, time; from osteon.formats import open_volume\n"
        "v = open_volume(sys.argv[1]); v.read(slice(0, 1)); print('now', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        assert [entry.in_use for entry in entries()] == [True]
        assert clear_cache() == []
        process.kill()
        process.wait()
    assert [entry.in_use for entry in entries()] == [False]
    assert len(clear_cache()) == 1
    assert not list((cache_folder().parent / "locks").glob("*ing"))


def test_too_large_for_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound(monkeypatch, "100kB")
    array = np.random.default_rng(0).integers(0, 256, (4, 200, 300), dtype=np.uint8)
    volume = open_volume(lzw(tmp_path / "a.tif", array))
    with pytest.warns(OsteonWarning, match="read directly") as caught:
        assert cached_copy(volume) is volume
    assert "cache-too-small" in str(caught[0].message)
    with pytest.raises(OutputError, match=r"takes 0\.00024 GB") as error:
        open_volume(packed(tmp_path / "a.nrrd", array)).read(slice(0, 1))
    assert "OSTEON_CACHE_SIZE" in str(error.value.mend)
    assert list(cache_folder().iterdir()) == []


def test_too_large_is_told_at_the_end_if_the_estimate_was_low(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound(monkeypatch, "200kB")
    monkeypatch.setattr(volumes._Decoded, "packed", lambda self: 1000)
    array = np.random.default_rng(0).integers(0, 256, (4, 200, 300), dtype=np.uint8)
    volume = open_volume(lzw(tmp_path / "a.tif", array))
    with pytest.warns(OsteonWarning, match="cache-too-small"):
        assert cached_copy(volume) is volume
    assert list(cache_folder().iterdir()) == []


def test_the_default_bound_leaves_the_disk_free(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 50 * 10**9

    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: Usage)
    assert cache_bound() == 10 * 10**9
    Usage.free = 10**13
    assert cache_bound() == 100 * 10**9
    bound(monkeypatch, "1.5 TB")
    assert cache_bound() == 1500 * 10**9


@pytest.mark.parametrize("text", ["much", "-1GB", "0"])
def test_a_wrong_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    bound(monkeypatch, text)
    volume = open_volume(packed(tmp_path / "a.nrrd", voxels()))
    with pytest.raises(UsageError, match=f"'{text}' is not an amount") as caught:
        volume.read(slice(0, 1))
    assert caught.value.where == "OSTEON_CACHE_SIZE"


def full(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["voxels", "document"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    volume = open_volume(lzw(tmp_path / "a.tif", voxels()))
    target: tuple[Any, str] = (zarr, "create_array") if place == "voxels" else (Path, "write_text")
    with monkeypatch.context() as patch:
        patch.setattr(*target, full)
        with pytest.raises(OutputError, match="full") as caught:
            cached_copy(volume)
        assert "osteon cache clear" in str(caught.value.mend)
        patch.setattr(volumes, "gain", lambda volume: 100.0)
        with pytest.warns(OsteonWarning, match="cache-not-made"):
            assert for_random_reads(volume, choice="auto", memory_bytes=0) is volume
        with pytest.raises(OutputError, match="full"):
            for_random_reads(volume, choice="on", memory_bytes=0)
    assert list(cache_folder().iterdir()) == []


MAKE = """
import sys, hashlib
from osteon.events import Reporter
from osteon.formats import open_volume
from osteon.formats.cache import cached_copy
made = []
volume = cached_copy(open_volume(sys.argv[1]), reporter=Reporter(lambda e: made.append(e.kind)))
digest = hashlib.sha256(volume.read(slice(None)).tobytes()).hexdigest()
print(digest, "progress" in made, flush=True)
"""


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    import hashlib

    array = voxels("uint16", (60, 500, 500))
    path = lzw(tmp_path / "a.tif", array)
    command = [sys.executable, "-c", MAKE, str(path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=200)[0].split() for process in both]
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    assert [words[0] for words in said] == [digest, digest]
    assert sorted(words[1] for words in said) == ["False", "True"]
    assert len(list(cache_folder().iterdir())) == 1


KILLED = """
import os, signal, sys
from osteon.events import Reporter
from osteon.formats import open_volume
from osteon.formats.cache import cached_copy
def listen(event):
    if event.kind == "progress":
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
cached_copy(open_volume(sys.argv[1]), reporter=Reporter(listen))
"""


@pytest.mark.parametrize("after", ["make", "clear", "another"])
def test_what_a_killed_maker_left_is_removed(tmp_path: Path, after: str) -> None:
    path = lzw(tmp_path / "a.tif", voxels())
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode != 0
    left = list(cache_folder().iterdir())
    assert [p.suffix for p in left] == [".part"]
    if after == "make":
        copy = cached_copy(open_volume(path))
        np.testing.assert_array_equal(copy.read(slice(None)), voxels())
    elif after == "another":
        open_volume(packed(tmp_path / "b.nrrd", voxels())).read(slice(0, 1))
    else:
        assert clear_cache() == []
    assert not left[0].exists()


def test_waiting_can_be_stopped(tmp_path: Path) -> None:
    volume = open_volume(lzw(tmp_path / "a.tif", voxels()))
    told: list[str | None] = []
    stop = StopToken()

    def listen(event: Event) -> None:
        told.append(event.message)
        stop.request()

    key = volumes._key(volumes._Decoded(volume))
    with users.making(key, Reporter(), source=volume.path), pytest.raises(Stopped):
        cached_copy(volume, reporter=Reporter(listen, stop))
    assert "waiting" in str(told[0])


def test_a_damaged_copy_says_how_to_mend_it(tmp_path: Path) -> None:
    volume = open_volume(packed(tmp_path / "a.nrrd", voxels()))
    volume.read(slice(0, 1))
    shard = next(cache_folder().rglob("c/2/0/0"))
    shard.write_bytes(shard.read_bytes()[:300])
    with pytest.raises(InputError, match="disk cache is damaged") as caught:
        volume.read(slice(17, 18))
    assert "osteon cache clear" in str(caught.value.mend)


@pytest.mark.parametrize(("choice", "copied"), [("auto", True), ("on", True), ("off", True)])
def test_streams_are_always_copied(tmp_path: Path, choice: Any, copied: bool) -> None:
    volume = open_volume(packed(tmp_path / "a.nrrd", voxels()))
    assert for_random_reads(volume, choice=choice, memory_bytes=10**12) is volume
    assert len(entries()) == copied


def slowly(volume: Volume, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    read = volume.read

    def slow(*box: slice) -> Array:
        time.sleep(seconds)
        return read(*box)

    monkeypatch.setattr(volume, "read", slow)


@pytest.mark.parametrize(
    ("choice", "memory", "slow", "copied"),
    [
        ("off", 0, True, False),
        ("on", 10**12, False, True),
        ("auto", 10**12, True, False),
        ("auto", 0, True, True),
        ("auto", 0, False, False),
    ],
)
def test_when_slices_are_copied(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choice: Any,
    memory: int,
    slow: bool,
    copied: bool,
) -> None:
    array = voxels("uint8", (3, 40, 40))
    volume = open_volume(png(tmp_path / "slices", array))
    if slow:
        slowly(volume, monkeypatch, 0.1)
    else:
        monkeypatch.setattr(cache_module.volumes, "PAYS", 1000.0)
    chosen = for_random_reads(volume, choice=choice, memory_bytes=memory)
    assert isinstance(chosen, CachedVolume) is copied
    np.testing.assert_array_equal(chosen.read(slice(1, 3)), array[1:3])


def test_clearing_the_old(tmp_path: Path) -> None:
    made = fill(tmp_path, "a", "b", "c")
    for days, name in ((1, "a"), (8, "b"), (30, "c")):
        then = time.time() - days * 86400
        os.utime(made[name] / "used", (then, then))
    (cache_folder() / "0123.zarr" / "c").mkdir(parents=True)  # of an older version
    removed = clear_cache(older_than_days=7)
    assert sorted(e.source.name[0] for e in removed) == ["b", "c"]
    assert [p.name for p in cache_folder().iterdir()] == [made["a"].name]
    assert len(clear_cache()) == 1


def test_the_document_of_an_entry(tmp_path: Path) -> None:
    made = fill(tmp_path, "a")["a"]
    data = json.loads((made / "entry.json").read_text())
    assert data["schema"] == 2
    assert data["source"] == str(tmp_path / "a.nrrd")
    files = [p for p in (made / "voxels.zarr").rglob("*") if p.is_file()]
    assert data["bytes"] == sum(p.stat().st_size for p in files)
    assert abs(data["made"] - time.time()) < 100
    assert entries()[0].source_exists
    (tmp_path / "a.nrrd").unlink()
    assert not entries()[0].source_exists


def test_a_cache_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "a.nrrd", voxels())
    open_volume(path).read(slice(0, 1))

    def refuse(name: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(users, "_file_lock", refuse)
    np.testing.assert_array_equal(open_volume(path).read(slice(None)), voxels())
    with pytest.raises(OutputError, match="not writable"):
        open_volume(packed(tmp_path / "b.nrrd", voxels())).read(slice(0, 1))
