from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .calling import QUICK, call, setting


def _drop_weights(folder: Path) -> None:
    for pattern in ("*.ckpt", "*.safetensors"):  # hundreds of MB that pytest would keep
        for path in folder.rglob(pattern):
            path.unlink()


@pytest.fixture(autouse=True)
def _no_weights_are_kept(tmp_path: Path) -> Iterator[None]:
    yield
    _drop_weights(tmp_path)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulated scans of 10 slices of 64 × 64, with their manifest."""
    folder = tmp_path_factory.mktemp("cli") / "cohort"
    small = setting("scans=3", "species=2", "size=64", "slices=10")
    ran = call("simulate", "cohort", "--out", folder, "--seed", 3, *small)
    assert ran.code == 0, ran.err
    return folder


@pytest.fixture(scope="session")
def run(cohort: Path) -> Iterator[Path]:
    """A finished fit to the cohort."""
    folder = cohort.parent / "run"
    ran = call("fit", cohort / "dataset.toml", "--out", folder, *setting(*QUICK))
    assert ran.code == 0, ran.err
    (cohort.parent / "fit.out").write_text(ran.out)
    (cohort.parent / "fit.err").write_text(ran.err)
    yield folder
    _drop_weights(folder)
