"""Prediction stops cleanly, passes errors on and refuses what it cannot do."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from osteon.errors import ExitCode, InputError, OutputError, UsageError
from osteon.events import Event, Reporter, StopToken
from osteon.model_file import Model
from osteon.prediction import PredictionStopped, predict
from osteon.volume import Array, ArrayVolume

from .faking import MODEL, NETWORK, PLENTY, FakeBackend, MemoryWriter, noise


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
    told = [e for e in heard if e.stage == "predict" and e.kind != "message"]
    assert (told[0].kind, told[0].total, told[0].unit) == ("start", 4, "slice")
    assert (told[-1].kind, told[-1].step) == ("end", 4)
