"""A screen that nobody sees, and a small scan; tests skip with the reason where napari is not.

The folder is of ``osteon.napari``; by that name its modules would be taken for napari's own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHAPE = (6, 64, 64)
VOXEL_UM = 20.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip these tests where pytest-qt is not there, or was left out as Qt cannot be loaded."""
    if config.pluginmanager.hasplugin("pytest-qt"):
        return
    why = pytest.mark.skip("Qt cannot be loaded: .ci/run names the system libraries it needs")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(why)


@pytest.fixture(scope="session")
def screen() -> Iterator[None]:
    """A virtual screen, where there is none; its windows are drawn by software."""
    os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
    from osteon.napari.apart import load_apart

    load_apart()  # tests import PyTorch themselves, after a window was drawn
    if os.environ.get("DISPLAY") or os.name == "nt":
        yield
        return
    if shutil.which("Xvfb") is None:
        pytest.skip("there is no screen and no Xvfb (apt-get install xvfb)")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    os.environ["DISPLAY"] = f":{number}"
    # Not at the end of the tests: Qt keeps its connection until the process ends.
    atexit.register(server.kill)
    yield


@pytest.fixture
def viewer(screen: None, make_napari_viewer: Any) -> Any:
    """A window of napari that is closed at the end."""
    return make_napari_viewer()


@pytest.fixture(scope="session")
def bone() -> tuple[np.ndarray, np.ndarray]:
    """A tube of bone around marrow, in air: grey values and labels."""
    _, y, x = np.indices(SHAPE)
    radius = np.hypot(y - 32, x - 32)
    labels = np.zeros(SHAPE, np.uint8)
    labels[radius < 24] = 1
    labels[radius < 12] = 2
    rng = np.random.default_rng(0)
    grey = np.array([30, 180, 60])[labels] + rng.normal(0, 6, SHAPE)
    return grey.clip(0, 255).astype(np.uint8), labels


@pytest.fixture
def scan(tmp_path: Path, bone: tuple[np.ndarray, np.ndarray]) -> Path:
    """The tube as a scan of 20 µm, in a file."""
    from osteon.formats import open_writer
    from osteon.volume import ArrayVolume, Geometry

    volume = ArrayVolume(bone[0], Geometry((VOXEL_UM,) * 3))
    path = tmp_path / "tube.nrrd"
    with open_writer(path, like=volume, dtype=np.uint8) as writer:
        writer.write(0, bone[0])
    return path


@pytest.fixture
def mask(tmp_path: Path, bone: tuple[np.ndarray, np.ndarray]) -> Path:
    """Its labels, in a file."""
    from osteon.formats import open_writer
    from osteon.labels import BONE_PORES
    from osteon.volume import ArrayVolume, Geometry

    volume = ArrayVolume(bone[1], Geometry((VOXEL_UM,) * 3))
    path = tmp_path / "truth.nrrd"
    with open_writer(path, like=volume, labels=BONE_PORES) as writer:
        writer.write(0, bone[1])
    return path
