"""Probabilities and uncertainty beside the labels; killed anywhere they come to the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from osteon.model_file import Model
from osteon.prediction import Store, Wanted, keeping, predict_kept, sides
from osteon.prediction import plan as plan_module
from osteon.prediction.wanted import layered, nothing
from osteon.volume import Array, ArrayVolume, Geometry, Volume

from .faking import MODEL, NETWORK, PLENTY, SPEC, FakeBackend, MemoryWriter, noise
from .test_air import BLOCKS, TILES, fake, tube
from .test_axes import slanted
from .test_kept import Killed, Mortal

BOTH = Wanted(probabilities=True, uncertainty=True)


def test_layers_are_softmax_and_entropy() -> None:
    logits = np.random.default_rng(0).normal(0, 4, (2, 3, 7, 11)).astype(np.float32)
    logits[0, :, 0, 0], logits[0, :, 0, 1] = 1.25, (80.0, -80.0, -80.0)
    made = layered(logits, BOTH)
    odds = special.softmax(logits.astype(np.float64), axis=1)
    np.testing.assert_array_equal(made[:, 0], logits.argmax(1))
    np.testing.assert_allclose(made[:, 1:4] / 255, odds, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(
        made[:, 4] / 255, special.entr(odds).sum(1) / np.log(3), atol=0.5 / 255 + 1e-6
    )
    assert made[0, :, 0, 0].tolist() == [0, 85, 85, 85, 255]  # all as likely
    assert made[0, :, 0, 1].tolist() == [0, 255, 0, 0, 0]  # sure
    assert layered(logits, Wanted(uncertainty=True)).shape == (2, 2, 7, 11)


def test_air_is_background_for_sure() -> None:
    made = layered(nothing((4, 5), 3)[np.newaxis], BOTH)
    assert (made[0, :, 0, 0] == [0, 255, 0, 0, 0]).all()
    assert (made == made[..., :1, :1]).all()


@dataclass(frozen=True)
class Case:
    model: Model
    volume: Callable[[], Volume]
    backend: Callable[[], FakeBackend]
    wanted: Wanted
    memory: int = PLENTY


def sized(array: Array) -> Volume:
    return ArrayVolume(array, Geometry((10.0, 10.0, 10.0)))


SKIP_BOTH = replace(BOTH, skip_air=True)
STACKED = Model(replace(SPEC, mode="2.5D", network=replace(NETWORK, in_channels=3)), {})
CASES = {
    "2D": Case(
        MODEL, lambda: sized(noise((7, 41, 53))), lambda: FakeBackend(logits=slanted), BOTH
    ),
    "2.5D, uncertainty": Case(
        STACKED, lambda: sized(noise((7, 41, 53))), lambda: FakeBackend(channels=3),
        Wanted(uncertainty=True),
    ),
    "2D coarser": Case(
        Model(replace(SPEC, voxel_size_um=17.0), {}),
        lambda: sized(noise((5, 61, 67))),
        lambda: FakeBackend(logits=slanted),
        BOTH,
    ),
    "skipping": Case(MODEL, lambda: sized(tube((23, 197, 211))), fake, SKIP_BOTH),
    "skipping tiles": Case(
        MODEL,
        lambda: sized(tube((11, 197, 211))),
        lambda: fake(bytes_per_pixel=1700),
        SKIP_BOTH,
        TILES // 2,
    ),
    "skipping blocks": Case(
        BLOCKS,
        lambda: sized(tube((101, 131, 140))),
        lambda: fake(dimensions=3),
        SKIP_BOTH,
        60 * 2**20,
    ),
    "three axes": Case(
        MODEL,
        lambda: sized(noise((13, 17, 29))),
        lambda: FakeBackend(logits=slanted),
        replace(BOTH, axes=3),
    ),
}  # fmt: skip


class _Sink:
    """Takes what is beside the labels."""

    def __init__(self) -> None:
        self.slices: list[Array] = []

    def write(self, z: int, layers: Array) -> None:
        assert z == len(self.slices)
        self.slices.append(layers.copy())

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def start(case: Case, folder: Path, *, calls: int) -> tuple[bytes, int, bool]:
    """One start: all bytes of the result, the calls of the network, whether air was skipped."""
    volume = case.volume()
    backend = Mortal(case.backend(), calls)
    writer, sink = MemoryWriter(volume.shape), _Sink()
    layers = case.wanted.layers(3)
    with Store(folder, shape=volume.shape, identity={}, layers=layers) as store:
        found = predict_kept(
            case.model, volume, store, open_target=lambda: writer,
            open_beside=lambda: sink, backend=backend, memory=case.memory,
            wanted=replace(case.wanted, contiguous="yes"), measure=False,
        )  # fmt: skip
    beside = np.stack(sink.slices)
    assert beside.shape == (volume.shape[0], layers - 1, *volume.shape[1:])
    skipped = bool(found.air and found.air["skip"])
    return writer.array.tobytes() + beside.tobytes(), backend.calls, skipped


@pytest.mark.parametrize("name", CASES)
def test_killed_anywhere_it_comes_to_the_same_bytes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "BLOCK_VOXELS", 1)
    monkeypatch.setattr(plan_module, "HALO", 32)
    monkeypatch.setattr(plan_module, "BLOCK_HALO", 16)
    monkeypatch.setattr(sides, "CHUNK", 8)
    case = CASES[name]
    unbroken, total, skipped = start(case, tmp_path / "unbroken", calls=-1)
    assert skipped == case.wanted.skip_air
    rng = np.random.default_rng(len(name))
    moments = [1, *sorted(int(n) for n in rng.integers(2, total - 1, 2)), total - 1]
    folder, run = tmp_path / "broken", 0
    for moment in moments:  # each goes on from the one before
        if moment <= run:
            continue
        with pytest.raises(Killed):
            start(case, folder, calls=moment - run)
        run = moment if list(folder.glob("*-*")) else 0
    resumed, calls, _ = start(case, folder, calls=-1)
    assert resumed == unbroken
    assert calls < total
