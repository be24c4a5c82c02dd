"""Make the labels that every machine is compared with (``osteon conform``), anew with a new model.

    python tools/golden_labels.py

The shipped model labels the fixed simulated scan by PyTorch on the CPU, in single precision, with
one thread, on whole slices: the reference of ``osteon conform`` on the machine where this runs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from osteon.formats import open_volume
from osteon.settings import PredictSettings
from osteon.tables.shipped import shipped_folder
from osteon.workflows import predict, simulate_scan
from osteon.workflows.conforming import GOLDEN, SCAN, SCAN_INDEX, reference_settings
from osteon.workflows.opening import open_models


def main() -> None:
    """Label the scan and write the file."""
    settings: PredictSettings = reference_settings()
    (model,) = open_models(None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate_scan(folder, settings=SCAN, index=SCAN_INDEX)
        predict([folder / "scan"], out=folder / "labels.tif", settings=settings)
        labels = np.asarray(open_volume(folder / "labels.tif").read(slice(None)), np.uint8)
    target = shipped_folder() / GOLDEN
    np.savez_compressed(target, labels=labels, model=np.array(model.spec.weights_sha256))
    print(target, target.stat().st_size, "bytes; voxels of each class", np.bincount(labels.ravel()))


if __name__ == "__main__":
    main()
