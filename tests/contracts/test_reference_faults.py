"""Each known fault of the program that this one re-creates, and that it must not have."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import pickle
import shutil
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
import torch
from typer.testing import CliRunner, Result

from osteon import workflows
from osteon.cli.app import app
from osteon.datasets import GridTiles, Manifest, ScanRow, split
from osteon.errors import InputError
from osteon.events import Event, Reporter
from osteon.formats import cache, open_volume
from osteon.intensity import normalise, statistics
from osteon.labels import BONE_PORES
from osteon.model_file import load_model, weights_digest
from osteon.networks import NetworkSpec, build_network, load_weights
from osteon.settings import FitSettings, ValidationSettings, load_settings
from osteon.training import EpochRow, FitData, FitFolder, fit
from osteon.workflows.fit_data import complete, examine, fit_data, network_spec, open_data

#: A network of 196,000 parameters: nothing here depends on the network.
SMALL = ("network.encoder=tu-lcnet_035", "network.decoder_channels=[16,16,8,8,8]")
QUICK = (
    *SMALL,
    "patches.size=32",
    "patches.per_slice=2",
    "training.batch_size=4",
    "training.epochs=2",
    "training.workers=0",
    "training.threads=1",
    "training.precision=fp32",
)
DEPTH, HEIGHT, WIDTH = 5, 40, 48
#: Spacing of the scans along (x, y, z), in mm.
SPACING = (0.012, 0.012, 0.02)


def settings(*overrides: str) -> FitSettings:
    return load_settings(FitSettings, overrides=[*QUICK, *overrides])


def osteon(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def phantom(seed: int, *, pores: bool) -> tuple[np.ndarray, np.ndarray]:
    """A leaning bone, with pores in it or without, and its labels."""
    z, y, x = np.indices((DEPTH, HEIGHT, WIDTH))
    radius = np.hypot(y - 20 - z, x - 24)
    labels = (radius < 14).astype(np.uint8)
    if pores:
        labels[radius < 6] = 2
    noise = np.random.default_rng(seed).normal(0, 6, labels.shape)
    return np.clip(np.choose(labels, [50, 200, 90]) + noise, 1, 255).astype(np.uint8), labels


def write(path: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def write_manifest(folder: Path) -> Path:
    rows = tuple(
        ScanRow(
            name=n,
            image=str(folder / n / "scan.nrrd"),
            mask=str(folder / n / "mask.nrrd"),
            specimen=n,
        )
        for n in ("first", "second", "solid")
    )
    Manifest(BONE_PORES, rows).save(folder / "dataset.toml", overwrite=True)
    return folder / "dataset.toml"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans with a voxel size; the mask of ``solid`` lacks the highest class."""
    folder = tmp_path_factory.mktemp("faults") / "data"
    for seed, name in enumerate(("first", "second", "solid")):
        image, labels = phantom(seed, pores=name != "solid")
        write(folder / name / "scan.nrrd", image)
        write(folder / name / "mask.nrrd", labels)
    return write_manifest(folder)


@dataclass(frozen=True)
class Watched:
    """A finished fit, and what was measured in it, in order: hashes of image and labels."""

    run: workflows.FitRun
    measured: tuple[str, ...]

    @property
    def rows(self) -> list[dict[str, str]]:
        with (self.run.folder / "log.csv").open() as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def watched(dataset: Path) -> Iterator[Watched]:
    """Two epochs, measured on the scan whose mask lacks the highest class."""
    measured: list[str] = []
    item = GridTiles.item

    def noted(tiles: GridTiles, index: int) -> Any:
        found = item(tiles, index)
        measured.append(hashlib.sha256(found[0].tobytes() + found[1].tobytes()).hexdigest())
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GridTiles, "item", noted)
        run = workflows.fit(
            dataset, out=dataset.parent / "run", settings=settings('validation.specimens=["solid"]')
        )
    yield Watched(run, tuple(measured))
    shutil.rmtree(run.folder)


# --- the weights of the best epoch -----------------------------------------------------------


@dataclass(frozen=True)
class Misleading:
    """Patches whose labels are right in the first epochs and wrong from then on."""

    right_epochs: int = 3

    def __len__(self) -> int:
        return 24

    def item(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([epoch, index])
        labels = np.kron(rng.integers(0, 3, (4, 4)), np.ones((8, 8))).astype(np.uint8)
        image = (labels + rng.normal(0, 0.1, labels.shape)).astype(np.float32)[np.newaxis]
        return image, labels if epoch < self.right_epochs else (labels + 1) % 3


class RightTiles:
    scans = ("a",)

    def __len__(self) -> int:
        return 2

    def item(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        return (*Misleading().item(0, 1000 + index), 0)


def score(weights: Mapping[str, torch.Tensor]) -> float:
    """Mean IoU over the validation voxels, by its definition."""
    network = build_network(SPEC)
    load_weights(network, weights)
    truth, found = [], []
    for index in range(2):
        image, labels, _ = RightTiles().item(index)
        with torch.inference_mode():
            found.append(network.eval()(torch.from_numpy(image)[None]).argmax(1)[0].numpy())
        truth.append(labels)
    a, b = np.stack(truth), np.stack(found)
    return float(
        np.mean([np.sum((a == k) & (b == k)) / np.sum((a == k) | (b == k)) for k in range(3)])
    )


SPEC = NetworkSpec("unet", "tu-lcnet_035", 1, 3, (16, 16, 8, 8, 8))


def test_the_kept_weights_are_those_of_the_best_epoch_not_of_the_last(tmp_path: Path) -> None:
    kept: dict[int, str] = {}

    def keep(weights: Mapping[str, torch.Tensor], row: EpochRow) -> None:
        kept[row.epoch] = weights_digest(weights)

    outcome = fit(
        SPEC,
        FitData(Misleading(), RightTiles(), BONE_PORES),  # type: ignore[arg-type]
        settings("training.epochs=5", "optimiser.learning_rate=0.01", "schedule=constant"),
        folder=FitFolder(tmp_path),
        on_best=keep,
    )
    scores = [row.val_mean_iou for row in outcome.history]
    assert outcome.best_epoch == int(np.argmax(scores)) + 1
    assert outcome.best_epoch <= Misleading.right_epochs  # or the test would say nothing
    assert scores[-1] < max(scores) - 0.05
    # A live reference to the training weights would score what the last epoch scored.
    assert score(outcome.weights) == pytest.approx(max(scores), abs=0.02)
    assert weights_digest(outcome.weights) == kept[outcome.best_epoch]


# --- the split, the patches, the validation --------------------------------------------------


@pytest.mark.parametrize(
    ("scans", "share", "expected"), [(20, 0.2, 4), (5, 0.2, 1), (10, 0.3, 3), (20, 0.15, 3)]
)
def test_the_number_of_validation_scans_is_rounded(scans: int, share: float, expected: int) -> None:
    # int(20 * (1 - 0.8)) is 3.
    rows = tuple(
        ScanRow(name=f"s{i}", image=f"s{i}", mask=f"m{i}", specimen=f"s{i}") for i in range(scans)
    )
    divided = split(
        Manifest(BONE_PORES, rows),
        ValidationSettings(share=share),
        seed=42,
        shapes={row.name: 7 for row in rows},
    )
    kept = {part.scan for part in divided.validation}
    assert len(kept) == expected
    assert len({part.scan for part in divided.training} - kept) == scans - expected


def prepared(dataset: Path, chosen: FitSettings) -> tuple[Any, FitData]:
    opened = open_data(dataset, chosen)
    ready = complete(opened, examine(opened, chosen, Reporter()), chosen, Reporter())
    return ready, fit_data(ready, chosen, network_spec(ready, chosen))


def write_slices(folder: Path, pages: Iterable[np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for z, page in enumerate(pages):
        tifffile.imwrite(folder / f"{z:04d}.tif", page, compression="zlib")


def single(folder: Path, pages: Iterable[np.ndarray], labels: Iterable[np.ndarray]) -> Path:
    """A dataset of one scan, as folders of slices."""
    write_slices(folder / "one" / "scan", pages)
    write_slices(folder / "one" / "mask", labels)
    image, mask = (str(folder / "one" / name) for name in ("scan", "mask"))
    row = ScanRow(name="one", image=image, mask=mask, specimen="one")
    Manifest(BONE_PORES, (row,)).save(folder / "dataset.toml")
    return folder / "dataset.toml"


def test_an_epoch_has_as_many_patches_of_a_slice_as_asked_for(tmp_path: Path) -> None:
    # Every slice has a grey value of its own, by which its patches are recognised.
    greys = [20, 60, 100, 140]
    manifest = single(
        tmp_path,
        [np.full((64, 64), grey, np.uint8) for grey in greys],
        [np.ones((64, 64), np.uint8)] * 4,
    )
    chosen = settings("validation.method=none", "patches.per_slice=3", "augmentation.preset=none")
    ready, data = prepared(manifest, chosen)
    known = normalise(np.array(greys, np.uint8), ready.statistics["one"])
    for epoch in (0, 1):
        images = [data.source.item(epoch, index)[0] for index in range(len(data.source))]
        assert {image.shape for image in images} == {(1, 32, 32)}  # an item is one patch
        found = np.array([np.abs(known - image.mean()).argmin() for image in images])
        np.testing.assert_array_equal(np.bincount(found, minlength=4), [3, 3, 3, 3])


def test_a_fit_takes_the_steps_of_so_many_patches(watched: Watched) -> None:
    # 2 scans of 5 slices, 2 patches of each, 4 in a batch.
    assert [int(row["step"]) for row in watched.rows] == [5, 10]
    assert watched.run.outcome.plan.steps_per_epoch == 5


def test_every_epoch_is_measured_on_the_same_data(watched: Watched) -> None:
    seen, epochs = watched.measured, len(watched.rows)
    per_epoch = len(seen) // epochs
    assert per_epoch == DEPTH
    assert seen[:per_epoch] == seen[-per_epoch:]
    assert len(set(seen)) == DEPTH


# --- grey values -----------------------------------------------------------------------------


def test_voxels_at_and_below_zero_count_in_the_statistics(tmp_path: Path) -> None:
    # Hounsfield units: air, water, bone.
    rng = np.random.default_rng(0)
    array = rng.choice([-1000, 0, 1200], (8, 32, 32)) + rng.normal(0, 40, (8, 32, 32))
    array = array.astype(np.int16)
    write(tmp_path / "hu.nrrd", array)
    found = statistics(open_volume(tmp_path / "hu.nrrd"), FitSettings().normalisation.recipe)
    normal = normalise(array, found)
    # z-scores of all voxels have mean 0 and deviation 1; of those above 0 alone they have not.
    assert found.n == array.size
    assert float(normal.mean()) == pytest.approx(0, abs=1e-3)
    assert float(normal.std()) == pytest.approx(1, abs=1e-3)
    expected = (array - array.mean(dtype=float)) / array.std(dtype=float)
    np.testing.assert_allclose(normal, expected, atol=1e-3)


# --- nothing that was read or typed is executed ----------------------------------------------


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


@pytest.mark.parametrize(
    "name", ["optimiser.learning_rate", "network.decoder_channels", "loss", "network.encoder"]
)
def test_what_the_user_types_is_not_evaluated(name: str, dataset: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    for code in (
        f"__import__('pathlib').Path({str(sprung)!r}).touch()",
        f"!!python/object/apply:pathlib.Path.touch [{sprung}]",
        f"[!!python/object/apply:os.mkdir [{sprung}]]",
    ):
        ran = osteon("fit", dataset, "--out", tmp_path / "run", "--set", f"{name}={code}")
        assert ran.exit_code == 2, ran.output
        assert name.split(".")[0] in ran.stderr
    assert not sprung.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("what", ["settings", "manifest"])
def test_what_a_text_file_holds_is_not_evaluated(what: str, dataset: Path, tmp_path: Path) -> None:
    sprung, file = tmp_path / "sprung", tmp_path / "file.yaml"
    file.write_text(f"seed: !!python/object/apply:os.mkdir ['{sprung}']\n")
    words = [dataset, "--settings", file] if what == "settings" else [file]
    ran = osteon("fit", *words, "--out", tmp_path / "run")
    assert ran.exit_code == 3, ran.output
    assert str(file) in ran.stderr
    assert not sprung.exists()


@pytest.mark.parametrize("way", ["pickle", "torch"])
@pytest.mark.parametrize("place", ["model", "weights", "checkpoint"])
def test_pickles_are_not_loaded(
    place: str, way: str, watched: Watched, dataset: Path, tmp_path: Path
) -> None:
    sprung = tmp_path / "sprung"
    trap = {"model_state": Trap(sprung), "metadata": {}, "global_step": Trap(sprung)}

    def write_trap(path: Path) -> Path:
        if way == "torch":
            torch.save(trap, path)
        else:
            path.write_bytes(pickle.dumps(trap))
        return path

    if place == "model":
        path = write_trap(tmp_path / "trap.pth")
        scan = dataset.parent / "first" / "scan.nrrd"
        ran = osteon("predict", scan, "--model", path, "--out", tmp_path / "labels.nrrd")
    elif place == "weights":
        path = write_trap(tmp_path / "trap.pth")
        choices = [word for item in QUICK for word in ("--set", item)]
        choices += ["--set", f"network.weights={path}"]
        ran = osteon("fit", dataset, "--out", tmp_path / "run", *choices)
    else:
        out = Path(shutil.copytree(watched.run.folder, tmp_path / "run"))
        path = write_trap(out / "checkpoints" / "last.ckpt")
        ran = osteon("fit", dataset, "--out", out, "--resume")
        assert "checkpoint cannot be read" in ran.stderr
    assert ran.exit_code in (3, 5), ran.output
    assert str(path) in ran.stderr
    assert not sprung.exists()
    # The trap is one: whoever loads it without care springs it.
    with contextlib.suppress(Exception):
        torch.load(path, weights_only=False)
    assert sprung.exists()


# --- memory and copies -----------------------------------------------------------------------


def large(folder: Path, *, slices: int) -> Path:
    """A scan of ``slices`` times 512 KiB, image and labels, that was never whole in memory."""
    side, rng = 512, np.random.default_rng(0)
    labels = np.zeros((side, side), np.uint8)
    labels[100:400, 100:400] = 1
    labels[200:300, 200:300] = 2
    pages = (rng.integers(1, 255, (side, side)).astype(np.uint8) for _ in range(slices))
    return single(folder, pages, [labels] * slices)


def peak_of_an_epoch(dataset: Path) -> int:
    """Memory taken at most while the data of a fit are examined, learned from and measured."""
    chosen = settings("training.cache=2MiB", "validation.method=slabs", "validation.gap=0")
    tracemalloc.start()
    try:
        _, data = prepared(dataset, chosen)
        for index in range(len(data.source)):
            data.source.item(0, index)
        assert data.tiles is not None
        for index in range(len(data.tiles)):
            data.tiles.item(index)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_scans_are_not_held_in_memory(tmp_path: Path) -> None:
    small = peak_of_an_epoch(large(tmp_path / "small", slices=20))
    four_times = peak_of_an_epoch(large(tmp_path / "large", slices=80))
    # 60 more slices are 15 MiB of scan and as much of labels; whoever keeps them, shows it.
    assert four_times - small < 60 * 512**2 / 3


def test_a_scan_is_not_copied_again_by_the_next_run(tmp_path: Path) -> None:
    def copies() -> dict[Path, tuple[int, int]]:
        """Files of voxels, and what shows that they were written anew."""
        found = [path for path in cache.cache_folder().rglob("*") if path.stat().st_size > 1000]
        stats = {path: path.stat() for path in found if path.is_file()}
        return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}

    rng = np.random.default_rng(3)
    labels = np.kron(rng.integers(0, 3, (8, 8)), np.ones((16, 16))).astype(np.uint8)
    pages = rng.integers(1, 255, (6, 128, 128)).astype(np.uint8)
    dataset, kept = single(tmp_path, pages, [labels] * 6), "validation.method=none"
    before = copies()
    # By default, what fits into memory is not copied at all.
    prepared(dataset, settings(kept))
    assert copies() == before
    chosen = settings(kept, "training.disk_cache=on")
    _, data = prepared(dataset, chosen)
    first, made = data.source.item(0, 0), copies()
    sources = {entry.source for entry in cache.entries()}
    assert {tmp_path / "one" / name for name in ("scan", "mask")} <= sources
    assert set(made) > set(before)
    _, again = prepared(dataset, chosen)
    np.testing.assert_array_equal(again.source.item(0, 0)[0], first[0])
    assert copies() == made


# --- stopping, going on ----------------------------------------------------------------------


def stop_at(step: int) -> Reporter:
    def listen(event: Event) -> None:
        if event.stage == "fit" and event.kind == "progress" and (event.step or 0) >= step:
            reporter.stop.request("test")

    reporter = Reporter(listen)
    return reporter


def test_a_stopped_fit_has_a_model_and_goes_on(
    watched: Watched, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osteon.events.MIN_INTERVAL_S", 0.0)
    chosen, out = settings('validation.specimens=["solid"]'), tmp_path / "run"
    stopped = workflows.fit(dataset, out=out, settings=chosen, reporter=stop_at(2))
    assert stopped.outcome.stopped == "test"
    assert stopped.outcome.history == ()  # before the first validation
    # It returns a model all the same, which segments a scan.
    scan, labels = dataset.parent / "first" / "scan.nrrd", tmp_path / "labels.nrrd"
    (predicted,) = workflows.predict([scan], model=stopped.model, out=labels)
    assert predicted.error is None
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(labels))).shape == (DEPTH, HEIGHT, WIDTH)
    # And it goes on to the weights of a fit that nobody stopped.
    resumed = workflows.fit(dataset, out=out, resume=True)
    assert resumed.outcome.stopped is None
    whole = load_model(watched.run.model)
    assert weights_digest(load_model(resumed.model).weights) == weights_digest(whole.weights)
    assert weights_digest(load_model(resumed.model).weights) != weights_digest(
        stopped.outcome.weights
    )


# --- voxel size, absent classes --------------------------------------------------------------


def test_the_voxel_size_goes_all_the_way(watched: Watched, dataset: Path, tmp_path: Path) -> None:
    spec = load_model(watched.run.model).spec
    # A 2D network sees what is within the slice: 12 µm, not the 20 µm from slice to slice.
    assert spec.ranges.voxel_size_um == pytest.approx((12.0, 12.0))
    scan, labels = dataset.parent / "first" / "scan.nrrd", tmp_path / "labels.nrrd"
    workflows.predict([scan], model=watched.run.model, out=labels)
    assert sitk.ReadImage(str(labels)).GetSpacing() == pytest.approx(SPACING)
    strange = sitk.ReadImage(str(scan))
    strange.SetSpacing((0.1, 0.1, 0.1))
    sitk.WriteImage(strange, str(tmp_path / "strange.nrrd"))
    ran = osteon(
        "predict", tmp_path / "strange.nrrd", "--model", watched.run.model,
        "--out", tmp_path / "strange-labels.nrrd",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert "voxel-size-outside-training" in ran.stderr


def test_a_mask_without_the_highest_class_is_used(watched: Watched, dataset: Path) -> None:
    assert json.loads((watched.run.folder / "run.json").read_text())["status"] == "finished"
    # It was measured: its two classes have scores, and the absent one does not count as 0 or 1.
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(dataset.parent / "solid" / "mask.nrrd")))
    assert set(np.unique(mask)) == {0, 1}
    assert load_model(watched.run.model).spec.network.classes == 3
    for row in watched.run.outcome.history:
        present = [value for value in row.val_iou if not np.isnan(value)]
        assert row.val_mean_iou == pytest.approx(np.mean(present))


def test_a_fit_learns_from_a_mask_without_the_highest_class(dataset: Path, tmp_path: Path) -> None:
    chosen = settings('validation.specimens=["first"]', "training.epochs=1")
    run = workflows.fit(dataset, out=tmp_path / "run", settings=chosen)
    assert {part.scan for part in run.split.training} == {"second", "solid"}


def test_a_value_that_is_no_class_is_told(dataset: Path, tmp_path: Path) -> None:
    spoiled = tmp_path / "data"
    shutil.copytree(dataset.parent, spoiled, ignore=shutil.ignore_patterns("run"))
    labels = phantom(2, pores=False)[1]
    labels[2, 3, 4] = 7
    write(spoiled / "solid" / "mask.nrrd", labels)
    manifest = write_manifest(spoiled)
    with pytest.raises(InputError, match="7"):
        workflows.fit(manifest, out=tmp_path / "none", settings=settings())
    assert not (tmp_path / "none").exists()
