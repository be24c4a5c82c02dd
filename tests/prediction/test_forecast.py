"""The plan is told before the work, with a time from what the network was seen to do."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osteon.events import Reporter
from osteon.model_file import ContextSpec, Model
from osteon.prediction import Store, Wanted
from osteon.prediction.forecast import in_words, seconds_of_network
from osteon.prediction.job import prepare
from osteon.prediction.running import Job
from osteon.prediction.turning import left_across, run_sides, with_sides
from osteon.volume import Array, ArrayVolume, Geometry

from .faking import MODEL, NETWORK, PLENTY, SPEC, FakeBackend, Images, noise

VOLUMETRIC = Model(replace(SPEC, mode="3D", network=replace(NETWORK, dimensions=3)), {})
#: Seconds a voxel.
PACE = 1e-6


@dataclass
class Paced:
    """Takes as long a voxel, whatever it gets; time is counted, not spent."""

    dimensions: int = 2
    bytes_per_pixel: int = 200
    description: str = "paced"
    clock: float = 0.0

    def run(self, batch: Images) -> Images:
        fake = FakeBackend(dimensions=self.dimensions)
        self.clock += batch.size * PACE
        return fake.run(batch[:, :1])

    def labels(self, batch: Images) -> Array:
        return self.run(batch).argmax(1).astype(np.uint8)


def job_of(
    model: Model, shape: tuple[int, int, int], memory: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[Job, Paced]:
    paced = Paced(model.spec.network.dimensions)
    monkeypatch.setattr(time, "perf_counter", lambda: paced.clock)
    volume = ArrayVolume(noise(shape))
    made: Any = prepare(model, volume, backend=paced, memory=memory, reporter=Reporter())
    return made, paced


@pytest.mark.parametrize(
    ("model", "shape", "memory"),
    [
        (MODEL, (5, 70, 300), PLENTY),
        (MODEL, (3, 500, 700), 700 * 500 * 21 + 384**2 * 200),
        (VOLUMETRIC, (70, 90, 50), PLENTY),
        (VOLUMETRIC, (131, 167, 171), 230 * 2**20),
    ],
    ids=["slices", "tiles", "block", "blocks"],
)
def test_the_time_is_that_of_all_inputs(
    model: Model, shape: tuple[int, int, int], memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, paced = job_of(model, shape, memory, monkeypatch)
    expected = seconds_of_network(job, shape[0])
    paced.clock = 0.0
    for _ in job.labels(slice(0, shape[0])):
        pass
    # Tiles and blocks at the end of an axis are smaller than planned for.
    assert paced.clock <= expected * (1 + 1e-9)
    assert expected < 2 * paced.clock
    assert (job.plan.tiles > 1) == (memory != PLENTY)
    assert seconds_of_network(job, 1) == pytest.approx(expected / shape[0])


def test_the_coarse_passes_of_single_slices_count(monkeypatch: pytest.MonkeyPatch) -> None:
    network = replace(NETWORK, in_channels=2)
    looks_twice = Model(replace(SPEC, network=network, context=ContextSpec(64)), {})
    # As few slices are taken for single ones; they are reduced to 38 × 64, and padded to 64 × 64.
    job, paced = job_of(looks_twice, (4, 150, 256), PLENTY, monkeypatch)
    expected = seconds_of_network(job, 4)
    assert expected == pytest.approx(4 * (160 * 256 + 64 * 64) * 2 * PACE)
    paced.clock = 0.0
    for _ in job.labels(slice(0, 4)):
        pass
    assert paced.clock == pytest.approx(expected)


def test_passes_across_other_axes_count_as_they_are_padded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paced, shape = Paced(), (5, 70, 90)
    monkeypatch.setattr(time, "perf_counter", lambda: paced.clock)
    backend: Any = paced
    three = Wanted(axes=3, contiguous="yes")
    with Store(tmp_path / "area", shape=shape, identity={}) as store:
        job = prepare(
            MODEL, ArrayVolume(noise(shape), Geometry((10.0, 10.0, 10.0))), backend=backend,
            memory=PLENTY, wanted=three, reporter=Reporter(), store=store,
        )  # fmt: skip
        across = left_across(job, store, memory=PLENTY)
        assert across == {1: 70, 2: 90}
        # To multiples of 32: 5 → 32, 70 → 96, 90 → 96.
        along_z, along_y, along_x = 5 * 96 * 96, 70 * 32 * 96, 90 * 32 * 96
        expected = seconds_of_network(job, 5, across=across)
        assert expected == pytest.approx((along_z + along_y + along_x) * PACE)
        paced.clock = 0.0
        run_sides(job, store, memory=PLENTY, reporter=Reporter())
        for _ in with_sides(job, store).labels(slice(0, 5)):
            pass
        assert paced.clock == pytest.approx(expected)
        # What an earlier start has run is not to be waited for.
        across = left_across(job, store, memory=PLENTY)
        assert seconds_of_network(job, 5, across=across) == pytest.approx(along_z * PACE)


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.21, "about 3.2 s"), (90, "about 1.5 min"), (9000, "about 2.5 h")]
)
def test_a_plan_in_words(seconds: float, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = job_of(MODEL, (2, 40, 40), PLENTY, monkeypatch)
    said = in_words(job, seconds)
    assert said.startswith("plan: whole slices, ")
    assert said.endswith(f"{words} to go")
