"""What every run records of itself: versions, machine, time; and its records read again."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from osteon import __version__
from osteon.errors import InputError, OutputError
from osteon.files import finite, temporaries, write_json, write_text

__all__ = (
    "check_folder",
    "count",
    "finite",
    "machine",
    "now",
    "read_json",
    "versions",
    "write_json",
    "write_text",
)

#: Libraries whose version can change a result.
_LIBRARIES = (
    "torch",
    "segmentation-models-pytorch",
    "lightning",
    "numpy",
    "scipy",
    "tifffile",
    "zarr",
    "SimpleITK",
    "scikit-image",
)


def versions() -> dict[str, str]:
    """Return the versions of osteon, Python and the libraries that matter for results."""
    found = {"osteon": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """Describe this machine: system, processor, cores, memory, GPU."""
    import psutil

    described: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_GiB": round(psutil.virtual_memory().total / 2**30, 1),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name(0)
    return described


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def now() -> str:
    """Return the time as ISO 8601 with its zone."""
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")


def holds_more(path: Path, first: str, *besides: str) -> bool:
    """Tell whether a folder holds more than what is left of a start that was killed.

    Args:
        path: The folder.
        first: Name of the file that is written first: its unfinished halves do not count.
        *besides: Names that do not count either.
    """
    own = {*besides, *(part.name for part in temporaries(path / first))}
    return any(there.name not in own for there in path.iterdir())


def check_folder(path: Path, *, target: Path | None = None) -> None:
    """Refuse a folder that cannot be written, before long work rather than after it.

    Args:
        path: The folder; it need not exist yet, and is not made.
        target: What is to be written into it, to be named in the message; None: the folder.

    Raises:
        OutputError: If it is a file, lies below a file, or may not be written to.
    """
    near = path.absolute()
    while not os.path.lexists(near):  # Path.exists raises where a folder may not be looked into
        near = near.parent
    if not near.is_dir():
        own = target is None and near == path.absolute()
        raise OutputError(
            "this is a file, not a folder" if own else f"'{near.name}' on the way to it is a file",
            where=target or path,
            mend="choose another place for --out",
        )
    if not os.access(near, os.W_OK | os.X_OK):
        raise OutputError(
            "the folder is not writable",
            where=near,
            mend="choose another place for --out, or change its permissions",
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: The file.

    Returns:
        The object.

    Raises:
        InputError: If it is missing or no JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("the file does not exist", where=path) from None
    except (OSError, ValueError) as error:
        raise InputError(f"the file cannot be read: {error}", where=path) from None
    if not isinstance(data, dict):
        raise InputError("the file is not a JSON object", where=path)
    return data


def count(number: int, noun: str) -> str:
    """Write a number with its noun, such as ``1 scan`` or ``2 scans``.

    Args:
        number: The number.
        noun: The noun in the singular.

    Returns:
        The text.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
