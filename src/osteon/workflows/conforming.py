"""``osteon conform``: the same labels from every way in which this machine can run a network."""

from __future__ import annotations

import hashlib
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from osteon.backends import open_backend
from osteon.backends.precision import candidates
from osteon.errors import InputError, OsteonError, UsageError
from osteon.events import Reporter
from osteon.files import finite, refuse_existing, write_json
from osteon.formats import open_volume
from osteon.metrics import confusion_matrix, iou
from osteon.model_file import Model
from osteon.settings import PredictSettings, SimulateSettings
from osteon.tables.choices import BACKENDS
from osteon.workflows.conforming_training import two_fits
from osteon.workflows.opening import open_models
from osteon.workflows.predicting import predict
from osteon.workflows.record import machine, now, versions
from osteon.workflows.simulating import simulate_scan

#: Schema of what is written.
SCHEMA = 1
#: The scan that all machines label: wide enough that tiles with their halo are parts of a slice.
SCAN = SimulateSettings(size=384, slices=8, seed=2026, kinds=("shaft",))
#: Its number under the seed: bone, pores and soft tissue around in comparable parts.
SCAN_INDEX = 3
#: Memory of a prediction that sees whole slices.
WHOLE = "8GiB"
#: Slices that tiles are tried on, and their side in pixels: the fixed scan, mirrored at its edges,
#: for a tile with its halo is as wide as that scan.
TILED_SLICES, TILED_SIZE = 2, 448
#: Side of the crops that go through a network alone and together, and how many together.
CROP, BATCH = 128, 4
#: Share of voxels that must have the labels of PyTorch in single precision on whole slices.
AGREEMENT = 0.999
#: The file with the labels that the shipped model gave where it was made (tools/golden_labels.py).
GOLDEN = "bone-pores.golden.npz"
_REFERENCE = "torch, cpu, fp32, 1 thread, whole slices"

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One way to run a network.

    Attributes:
        name: In words.
        settings: How it is predicted.
    """

    name: str
    settings: PredictSettings


@dataclass(frozen=True)
class CaseResult:
    """What came out of a case.

    Attributes:
        case: In words.
        agreement: Share of voxels with the label of the reference; NaN if it could not run.
        golden: The same with the golden labels; NaN without.
        iou: IoU with the exact labels of the simulated scan, of each class.
        seconds: Wall time of the prediction.
        note: What ran, or why it could not.
    """

    case: str
    agreement: float
    golden: float
    iou: Mapping[str, float]
    seconds: float
    note: str


def conform(
    model: str | Path | None = None,
    *,
    out: Path,
    training: bool = True,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Label a fixed simulated scan in every way this machine can, and fit twice with one seed.

    Takes a few minutes and less than 4 GiB of memory.

    Args:
        model: A model file or name; None: the shipped one, the only one with golden labels.
        out: The JSON file.
        training: Also fit a small network twice and compare the weights.
        overwrite: Replace an existing file.
        reporter: Told of the progress.

    Returns:
        What was written.

    Raises:
        OsteonError: If the model cannot be read, or the reference fails.
        OutputError: If the file exists or cannot be written.
    """
    reporter = reporter or Reporter()
    refuse_existing(out, overwrite=overwrite)
    (one,) = open_models(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate_scan(folder / "scan", settings=SCAN, index=SCAN_INDEX)
        scan, truth = (_read(folder / "scan" / part) for part in ("scan", "mask"))
        golden = golden_labels(one, scan)
        every = _cases()
        results: list[CaseResult] = []
        reference: Labels | None = None
        with reporter.stage("conform", total=len(every) + 2, unit="case") as bar:
            for case in every:
                found = _run(case, model, folder)
                if reference is None:
                    if isinstance(found, OsteonError):
                        raise found
                    reference = found[0]
                results.append(_result(case, found, reference, golden, truth=truth, model=one))
                bar.advance(message=case.name)
            results += _tiles(scan, model, folder)
            bar.advance(message="tiles")
            results += _batches(one, scan)
            bar.advance(message="batches")
        fits = two_fits(folder, reporter) if training else None
    record = _record(one, scan, golden, results, fits)
    write_json(out, record)
    return record


def reference_settings() -> PredictSettings:
    """Return how the scan is labelled that all others are compared with."""
    return _cases()[0].settings


def _cases() -> list[Case]:
    """Every backend, device, arithmetic and number of threads that there is here."""

    def case(backend: str, device: str, precision: str, threads: int) -> Case:
        parts = [backend, device, precision, f"{threads} thread{'s' if threads > 1 else ''}"]
        settings = PredictSettings.model_validate(
            {
                "backend": backend,
                "device": device,
                "precision": precision,
                "threads": threads,
                "memory": WHOLE,
                "contiguous": "yes",
                "report": False,
            }
        )
        return Case(", ".join([*parts, "whole slices"]), settings)

    cores = max(2, torch.get_num_threads())
    out = [case("torch", "cpu", "fp32", 1)]  # the reference comes first
    for device in _devices():
        kinds = [one.precision for one in candidates(torch.device(device), "auto")]
        for kind in dict.fromkeys(("fp32", *kinds)):
            for threads in (1, cores) if device == "cpu" else (1,):
                out.append(case("torch", device, kind, threads))
    for row in BACKENDS:
        libraries = row.capabilities.get("libraries", ())
        if row.name == "torch" or any(find_spec(str(n)) is None for n in libraries):  # type: ignore[attr-defined]
            continue
        out += [case(row.name, "cpu", "fp32", threads) for threads in (1, cores)]
    if find_spec("openvino") and find_spec("nncf"):
        fast = case("openvino", "cpu", "auto", 1)
        settings = fast.settings.model_copy(update={"speed": "int8"})
        out.append(Case("openvino, cpu, int8, 1 thread, whole slices", settings))
    return list({one.name: one for one in out}.values())


def _devices() -> Iterator[str]:
    yield "cpu"
    if torch.cuda.is_available():
        yield "cuda"
    if torch.backends.mps.is_available():
        yield "mps"


def _run(
    case: Case, model: str | Path | None, folder: Path
) -> tuple[Labels, float, str] | OsteonError:
    target = folder / "labels.tif"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            started = time.perf_counter()
            (run,) = predict(
                [folder / "scan" / "scan"],
                out=target,
                model=model,
                settings=case.settings,
                overwrite=True,
            )
        took = time.perf_counter() - started
    except OsteonError as error:
        return error
    fast = None if run.predicted is None else run.predicted.fast
    if case.settings.speed == "int8" and (fast is None or not fast.used):
        # What ran instead is another case.
        return UsageError(f"int8 was not used: {'' if fast is None else fast.why}")
    note = "" if run.predicted is None else run.predicted.backend
    return _read(target).astype(np.uint8), took, note


def _read(path: Path) -> npt.NDArray[Any]:
    return np.asarray(open_volume(path).read(slice(None)))


def _result(
    case: Case,
    found: tuple[Labels, float, str] | OsteonError,
    reference: Labels,
    golden: Labels | None,
    *,
    truth: npt.NDArray[Any],
    model: Model,
) -> CaseResult:
    nan = float("nan")
    if isinstance(found, OsteonError):
        return CaseResult(case.name, nan, nan, {}, nan, f"could not run: {found.what}")
    labels, seconds, note = found
    names = model.spec.labels.names
    scores: dict[str, float] = {}
    if names == ("background", "bone", "pores"):  # what the scan's exact labels are
        matrix = confusion_matrix(truth.astype(np.uint8), labels, classes=len(names))
        scores = dict(zip(names, map(float, iou(matrix[None])[0]), strict=True))
    same = nan if golden is None else float((labels == golden).mean())
    return CaseResult(case.name, float((labels == reference).mean()), same, scores, seconds, note)


def _tiles(scan: npt.NDArray[Any], model: str | Path | None, folder: Path) -> Iterator[CaseResult]:
    """Tiles with their halo against whole slices, by each backend."""
    wide = (TILED_SIZE - scan.shape[1]) // 2
    np.save(
        folder / "wide.npy",
        np.pad(scan[:TILED_SLICES], ((0, 0), (wide, wide), (wide, wide)), mode="reflect"),
    )
    cases = {case.settings.backend: case for case in reversed(_cases()) if _plain(case)}
    for name, case in cases.items():
        plans, labels, seconds = [], [], 0.0
        memory = WHOLE
        for _ in range(2):
            settings = case.settings.model_copy(update={"memory": memory})
            (run,) = predict(
                [folder / "wide.npy"],
                out=folder / "wide.tif",
                model=model,
                settings=settings,
                overwrite=True,
            )
            if run.predicted is None:
                raise InputError("tiles could not be tried", where=name)
            plans.append(run.predicted.plan)
            labels.append(_read(folder / "wide.tif"))
            seconds = run.predicted.seconds
            memory = str(plans[0].memory - 1)  # a byte too little for whole slices
        if plans[1].whole:
            raise InputError("the slices of the fixed scan were not cut into tiles", where=name)
        text = f"{name}, cpu, fp32, 1 thread, tiles against whole slices"
        note = f"{plans[1].tiles} tiles of {plans[1].tile} pixels a slice, halo {plans[1].halo}"
        same = float((labels[0] == labels[1]).mean())
        yield CaseResult(text, same, float("nan"), {}, seconds, note)


def _plain(case: Case) -> bool:
    asked = case.settings
    return (asked.device, asked.precision, asked.threads, asked.speed) == (
        "cpu",
        "fp32",
        1,
        "normal",
    )


def _batches(model: Model, scan: npt.NDArray[Any]) -> list[CaseResult]:
    """Crops of the scan through each backend's network, alone and as a batch."""
    spec = model.spec.network
    if spec.dimensions != 2:
        return []
    crops = [
        scan[z % len(scan), y : y + CROP, y : y + CROP].astype(np.float32)
        for z, y in enumerate(np.linspace(0, scan.shape[1] - CROP, BATCH).astype(int))
    ]
    flat = [(crop - crop.mean()) / max(float(crop.std()), 1.0) for crop in crops]
    batch = np.ascontiguousarray(
        np.stack([np.stack([crop] * spec.in_channels) for crop in flat]), np.float32
    )
    out = []
    for name in dict.fromkeys(case.settings.backend for case in _cases()):
        settings = PredictSettings(backend=name, device="cpu", precision="fp32", threads=1)
        backend = open_backend(spec, model.weights, settings)
        started = time.perf_counter()
        together = backend.labels(batch)
        took = time.perf_counter() - started
        alone = np.concatenate([backend.labels(one[None]) for one in batch])
        nan, text = float("nan"), f"{name}, cpu, fp32, batch of {BATCH} against one by one"
        same = float((alone == together).mean())
        out.append(CaseResult(text, same, nan, {}, took, f"crops of {CROP} pixels"))
    return out


def golden_labels(model: Model, scan: npt.NDArray[Any]) -> Labels | None:
    """Return the labels that the shipped model gave to the fixed scan where they were made.

    Args:
        model: A model.
        scan: The fixed scan (z, y, x).

    Returns:
        uint8 (z, y, x); None for any other model.

    Raises:
        InputError: If the file is damaged.
    """
    path = Path(str(resources.files("osteon").joinpath("models", GOLDEN)))
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            labels, digest = np.asarray(kept["labels"], np.uint8), str(kept["model"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"the golden labels cannot be read: {error}", where=path) from None
    return labels if digest == model.spec.weights_sha256 and labels.shape == scan.shape else None


def scan_digest(scan: npt.NDArray[Any]) -> str:
    """Return the SHA-256 of a scan's voxels."""
    return hashlib.sha256(np.ascontiguousarray(scan).tobytes()).hexdigest()


def _record(
    model: Model,
    scan: npt.NDArray[Any],
    golden: Labels | None,
    results: Sequence[CaseResult],
    fits: Mapping[str, Any] | None,
) -> dict[str, Any]:
    cases = [asdict(result) for result in results]
    described = {
        "schema": SCHEMA,
        "kind": "conformity",
        "made": now(),
        "model": {"name": model.spec.name, "weights_sha256": model.spec.weights_sha256},
        "scan_sha256": scan_digest(scan),
        "golden": golden is not None,
        "reference": _REFERENCE,
        "cases": cases,
        "training": fits,
        "conforms": conforms(cases, fits),
        "versions": {**versions(), **_backend_versions()},
        "machine": machine(),
    }
    return dict(finite(described))


def conforms(cases: Sequence[Mapping[str, Any]], fits: Mapping[str, Any] | None) -> bool:
    """Say whether all that ran agrees: labels in AGREEMENT of the voxels, weights exactly.

    Args:
        cases: The cases.
        fits: The two fits; None if they were left out.
    """
    shares = [case["agreement"] for case in cases]
    ran = [share for share in shares if share is not None and share == share]
    return bool(ran) and min(ran) >= AGREEMENT and (fits is None or bool(fits["same"]))


def _backend_versions() -> dict[str, str]:
    from importlib.metadata import version

    return {n: version(n) for n in ("openvino", "nncf", "onnxruntime") if find_spec(n)}
