"""Means over models and views, against means worked out one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from osteon.backends import open_backend
from osteon.errors import UsageError
from osteon.labels import BONE_PORES
from osteon.model_file import Model, load_model, save_model
from osteon.networks import build_network
from osteon.prediction import AveragedBackend, check_together
from osteon.settings import PredictSettings
from osteon.volume import Array, ArrayVolume
from osteon.workflows import predicting

from .faking import MODEL, NETWORK, SPEC, FakeBackend, Images, noise, run, threshold, zscored
from .test_agreement import Direct, SmallUNet


def network(seed: int, dimensions: int = 2) -> Direct:
    torch.manual_seed(seed)
    return Direct(SmallUNet(1, dimensions).eval())


def batch_of(dimensions: int) -> Images:
    shape = (1, 1, 32, 64) if dimensions == 2 else (1, 1, 8, 16, 24)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def by_hand(members: list[Direct], batch: Images, views: int) -> Array:
    """Mean probabilities, each view written out with flip and transpose."""
    found = []
    for flip_y in (False, True) if views > 1 else (False,):
        for flip_x in (False, True) if views > 1 else (False,):
            for swap in (False, True) if views == 8 else (False,):
                axes = [a for a, f in ((-2, flip_y), (-1, flip_x)) if f]
                seen = np.flip(batch, axes)
                seen = seen.swapaxes(-1, -2) if swap else seen
                for member in members:
                    p = softmax(member.run(np.ascontiguousarray(seen)).astype(np.float64), 1)
                    found.append(np.flip(p.swapaxes(-1, -2) if swap else p, axes))
    assert len(found) == views * len(members)
    return np.mean(found, 0)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(("models", "views"), [(1, 4), (1, 8), (3, 1), (2, 8)])
def test_the_mean_is_that_of_all_one_by_one(models: int, views: int, dimensions: int) -> None:
    members = [network(seed, dimensions) for seed in range(models)]
    batch = batch_of(dimensions)
    averaged = AveragedBackend(members, views=views, classes=3)
    expected = by_hand(members, batch, views)
    np.testing.assert_allclose(np.exp(averaged.run(batch)), expected, atol=1e-6)
    decided = np.diff(np.sort(expected, 1)[:, -2:], axis=1)[:, 0] > 1e-5
    assert decided.mean() > 0.99
    np.testing.assert_array_equal(averaged.labels(batch)[decided], expected.argmax(1)[decided])
    # A single view of a single network would be something else.
    assert np.abs(softmax(members[0].run(batch), 1) - expected).max() > 1e-3


def test_a_mirrored_or_turned_scan_gets_mirrored_or_turned_labels() -> None:
    averaged, batch = AveragedBackend([network(0)], views=8, classes=3), batch_of(2)
    whole = averaged.run(batch)
    for seen, back in ((batch[..., ::-1], whole[..., ::-1]), (np.rot90(batch, axes=(2, 3)),
                        np.rot90(whole, axes=(2, 3)))):  # fmt: skip
        np.testing.assert_allclose(averaged.run(np.ascontiguousarray(seen)), back, atol=1e-4)


@pytest.mark.parametrize("memory", [1 << 40, 401 * 433 * 21 + 384**2 * 160])
def test_a_threshold_comes_back_from_all_views(memory: int) -> None:
    scan = noise((2, 401, 433))
    averaged = AveragedBackend([FakeBackend(), FakeBackend()], views=8, classes=3)
    labels, found = run(scan, averaged, memory)
    assert found.plan.whole == (memory == 1 << 40)
    np.testing.assert_array_equal(labels, threshold(zscored(scan)))


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "2.5D", "network": replace(NETWORK, in_channels=3)},
        {"recipe": "percentile"},
        {"voxel_size_um": 10.0},
        {"labels": replace(BONE_PORES, classes=BONE_PORES.classes[:2])},
    ],
    ids=["mode", "recipe", "voxel size", "classes"],
)
def test_models_of_different_kinds_are_refused(change: dict[str, object]) -> None:
    check_together([MODEL, MODEL])
    with pytest.raises(UsageError, match="cannot be averaged"):
        check_together([MODEL, Model(replace(SPEC, **change), {})])  # type: ignore[arg-type]


def test_two_models_and_views_through_the_workflow(tmp_path: Path) -> None:
    files = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        weights = build_network(NETWORK).eval().state_dict()
        files.append(tmp_path / f"{seed}.safetensors")
        save_model(files[-1], Model(replace(SPEC, name=f"fold {seed}"), weights))
    scan = noise((2, 64, 64))
    np.save(tmp_path / "scan.npy", scan)
    settings = PredictSettings(device="cpu", precision="fp32", views=4)
    out = tmp_path / "out.npy"
    (ran,) = predicting.predict([tmp_path / "scan.npy"], out=out, model=files, settings=settings)
    models = [load_model(file) for file in files]
    members = [open_backend(m.spec.network, m.weights, settings) for m in models]
    backend = AveragedBackend(members, views=4, classes=3)
    expected, _ = run(ArrayVolume(scan), backend, model=models[0])
    np.testing.assert_array_equal(np.load(out), expected)
    assert ran.predicted is not None
    assert ran.predicted.backend.startswith("mean of 2 models, 4 view(s): torch on cpu")
