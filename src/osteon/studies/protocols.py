"""The paper's studies as study files (Lee et al. 2026, doi 10.3389/fbinf.2025.1677527)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from osteon.errors import UsageError
from osteon.studies.file import write_study

#: 5 folds × 3 seeds of the baseline: the defaults of `osteon fit` are the paper's.
_CV = {"folds": 5, "seeds": [1, 2, 3]}
#: 5 architectures × 2 encoders × 3 patch sizes = 30 fits. The paper's own list is not published in
#: a form that could be repeated; transformers enter as Segformer's decoder.
_BENCHMARK = {
    "seeds": [1],
    "grid": {
        "network.architecture": ["unet", "unetplusplus", "deeplabv3plus", "upernet", "segformer"],
        "network.encoder": ["resnet18", "resnet50"],
        "patches.size": [128, 256, 512],
    },
}
PROTOCOLS: dict[str, dict[str, Any]] = {"cv": _CV, "benchmark": _BENCHMARK}


def new_study(kind: str, dataset: Path, *, out: Path, overwrite: bool = False) -> Path:
    """Write a study file with one of the paper's protocols.

    Args:
        kind: ``cv``: 5 folds by specimen × 3 seeds of the defaults; ``benchmark``: 30 fits over 5
            architectures × 2 encoders × 3 patch sizes on one split.
        dataset: The manifest; kept relative to the study file.
        out: The study file.
        overwrite: Replace an existing file.

    Returns:
        The study file.

    Raises:
        UsageError: If there is no such protocol.
        OutputError: If it exists or cannot be written.
    """
    if kind not in PROTOCOLS:
        raise UsageError(
            f"there is no protocol '{kind}'", mend=f"choose one of: {', '.join(PROTOCOLS)}"
        )
    relative = _relative(dataset.absolute(), out.absolute().parent)
    write_study(out, {"name": kind, "dataset": relative, **PROTOCOLS[kind]}, overwrite=overwrite)
    return out


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive on Windows
        return str(path)
