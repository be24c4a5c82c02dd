"""Int8 is made only where it saves more time than it costs, by the measured pace."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from osteon.errors import OsteonWarning
from osteon.events import Reporter
from osteon.prediction import Wanted, forecast
from osteon.volume import ArrayVolume, Geometry

from .faking import FakeBackend, Images, noise
from .test_quick import Int8, Timed, start


@dataclass
class Paced(FakeBackend):
    """Takes so many seconds a voxel; the time is counted, not spent."""

    clock: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(now=0.0))
    pace: float = 1.0

    def run(self, batch: Images) -> Images:
        self.clock.now += self.pace * batch.size
        return super().run(batch)


@pytest.mark.parametrize(("pace", "pays"), [(2e-5, True), (5e-6, False)])
def test_it_is_made_only_where_it_saves_more_than_it_costs(
    pace: float, pays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paced = Paced(pace=pace)
    monkeypatch.setattr(forecast, "time", SimpleNamespace(perf_counter=lambda: paced.clock.now))
    int8, volume = Int8(), ArrayVolume(noise((400, 41, 53)))
    told: list[str] = []
    reporter = Reporter(lambda event: told.append(event.message or ""))
    warned = (
        contextlib.nullcontext()
        if pays
        else pytest.warns(OsteonWarning, match="would not save time.*may save 3.9 s.*about 12.8 s")
    )
    with warned:
        _, found = start(
            int8,
            tmp_path,
            volume=volume,
            full=Timed(paced, int8, 0.0, 1.0),
            reporter=reporter,
            monkeypatch=monkeypatch,
        )
    assert int8.made == pays
    assert found.fast is not None
    # Slices of 41 × 53 are padded to 64 × 64; int8 is expected to be 1.9 times as fast.
    needed = 400 * 64 * 64 * pace
    # 8 slices with two samples each; 4 held back, and one more run, by both.
    voxels = 4 * 2 * 8 * 41 * 53 + 5 * (1 + 1 / 1.9) * 41 * 53
    assert found.fast.needed_seconds == pytest.approx(needed, abs=0.06)
    assert found.fast.saved_seconds == pytest.approx(needed * 0.9 / 1.9, abs=0.06)
    assert found.fast.cost_seconds == pytest.approx(12 + voxels * pace, abs=0.06)
    assert (found.fast.spent_seconds is not None) == pays
    assert any("int8 may save" in text for text in told)


def test_three_axes_are_as_much_more_work_to_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paced, int8 = Paced(pace=1e-4), Int8()
    monkeypatch.setattr(forecast, "time", SimpleNamespace(perf_counter=lambda: paced.clock.now))
    _, found = start(
        int8,
        tmp_path,
        volume=ArrayVolume(noise((60, 41, 53)), Geometry((10.0, 10.0, 10.0))),
        full=Timed(paced, int8, 0.0, 1.0),
        wanted=Wanted(axes=3),
        contiguous="yes",
        monkeypatch=monkeypatch,
    )
    assert found.fast is not None
    # 60, 41 and 53 are padded to 64: along z, across y and across x.
    needed = (60 + 41 + 53) * 64 * 64 * 1e-4
    assert found.fast.needed_seconds == pytest.approx(needed, abs=0.06)
    # Along z alone it would take 24.6 s, of which 11.6 s may be saved, at a cost of 18.1 s.
    assert int8.made
