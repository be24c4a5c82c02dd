"""Which backend a prediction opens, what it says of it, and what it goes on with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from osteon.backends.choosing import Pick
from osteon.backends.quantised import Quantiser
from osteon.errors import OsteonWarning
from osteon.events import Event, Reporter
from osteon.labels import BONE_PORES
from osteon.model_file import Model, ModelSpec
from osteon.networks import NetworkSpec, build_network
from osteon.prediction import AveragedBackend, Store, work_area
from osteon.settings import PredictSettings
from osteon.workflows import predicting_backend
from osteon.workflows.predicting_backend import Opened, open_picked

SPEC = NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))
SHAPE = (3, 32, 48)

Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return Model(ModelSpec("test", SPEC, BONE_PORES, "zscore", 1), build_network(SPEC).state_dict())


@pytest.fixture
def targets(tmp_path: Path) -> list[tuple[Path, Path]]:
    made = []
    for name in ("a", "b"):
        scan = tmp_path / f"{name}.tif"
        tifffile.imwrite(scan, np.ones(SHAPE, np.uint8), photometric="minisblack")
        made.append((scan, tmp_path / "out" / name))
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The voxels that a choice was asked for with; it is always openvino."""
    found: list[int] = []

    def pick(*_: object, voxels: int) -> Pick:
        found.append(voxels)
        return Pick("openvino", "it is the test's")

    monkeypatch.setattr(predicting_backend, "pick_backend", pick)
    return found


def begin(target: Path, backend: str) -> None:
    target.parent.mkdir(exist_ok=True)
    identity = {"settings": {"chosen": {"backend": backend}}}
    store = Store(work_area(target), shape=SHAPE, identity=identity)
    store.put(0, [b""], note={})


def test_the_work_is_that_of_all_scans_models_and_views(
    model: Model, targets: list[tuple[Path, Path]], asked: list[int]
) -> None:
    settings = PredictSettings.model_validate({"views": 4, "device": "cpu"})
    told: list[Event] = []
    missing = (targets[0][0].with_name("none.tif"), targets[0][1])  # told when it is its turn
    opened = open_picked(
        [model, model], settings, [*targets, missing], reporter=Reporter(told.append)
    )
    assert asked == [2 * int(np.prod(SHAPE)) * 2 * 4]
    assert isinstance(opened.backend, AveragedBackend)
    assert opened.settings == settings.model_copy(update={"backend": "openvino"})
    assert opened.quantiser is None
    (message,) = [event.message for event in told if event.message]
    assert "openvino" in message
    assert "it is the test's" in message


def test_what_was_begun_goes_on_with_its_backend(
    model: Model, targets: list[tuple[Path, Path]], asked: list[int]
) -> None:
    begin(targets[1][1], "torch")
    opened = open_picked([model], PredictSettings(device="cpu"), targets, reporter=Reporter())
    assert opened.settings.backend == "torch"
    assert "begun" in opened.why
    assert asked == []
    begin(targets[0][1], "onnxruntime")  # two kinds: none of them is for all
    opened = open_picked([model], PredictSettings(device="cpu"), targets, reporter=Reporter())
    assert opened.settings.backend == "openvino"


@pytest.mark.parametrize("text", ["", "[]", '{"identity": 1}', '{"identity": {"settings": {}}}'])
def test_a_damaged_journal_is_passed_over(
    text: str, model: Model, targets: list[tuple[Path, Path]], asked: list[int]
) -> None:
    begin(targets[0][1], "torch")
    (work_area(targets[0][1]) / "journal.json").write_text(text)
    opened = open_picked([model], PredictSettings(device="cpu"), targets, reporter=Reporter())
    assert opened.settings.backend == "openvino"


def test_speed_asks_for_int8_or_says_why_not(
    model: Model, targets: list[tuple[Path, Path]]
) -> None:
    fast = PredictSettings(device="cpu", speed="fast", backend="torch")
    for speed in ("fast", "int8"):
        asked = fast.model_copy(update={"speed": speed})
        made = open_picked([model], asked, targets, reporter=Reporter()).quantiser
        assert isinstance(made, Quantiser)
        assert made.must_pay == (speed == "fast")
    several = open_picked([model, model], fast, targets, reporter=Reporter())
    assert "mean" in str(several.quantiser)


def test_a_fast_prediction_is_recorded_and_little_work_stays_exact(
    model: Model, tmp_path: Path
) -> None:
    from osteon.model_file import save_model
    from osteon.workflows.predicting import predict

    save_model(tmp_path / "m.safetensors", model)
    scan = np.random.default_rng(0).integers(1, 255, SHAPE).astype(np.uint8)
    tifffile.imwrite(tmp_path / "scan.tif", scan, photometric="minisblack")
    settings = PredictSettings(device="cpu", report=False)
    out = tmp_path / "labels.tif"
    files = []
    for speed in ("normal", "fast"):
        asked = settings.model_copy(update={"speed": speed})
        with (
            pytest.warns(OsteonWarning, match="would not save time")
            if speed == "fast"
            else (contextlib.nullcontext())
        ):
            predict(
                [tmp_path / "scan.tif"], out=out, model=tmp_path / "m.safetensors",
                settings=asked, overwrite=True,
            )  # fmt: skip
        files.append(tifffile.imread(out))
        record = json.loads((tmp_path / "labels.tif.osteon.json").read_text())
        assert "takes about" in record["picked"]
        assert (record["fast"] is None) == (speed == "normal")
    assert record["fast"]["used"] is False
    np.testing.assert_array_equal(*files)
