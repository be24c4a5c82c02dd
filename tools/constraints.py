"""Write the versions that are installed here as a constraints file for pip.

    .venv/bin/python tools/constraints.py > constraints.txt

Only what ``osteon[dev]`` really pulls in is listed: its dependencies are followed from package
to package, by the markers of this platform. Packages that belong to one platform alone (the CUDA
libraries of PyTorch on Linux) and local versions (``+cpu``, ``+cu130``) are left out, so that the
file serves Linux, macOS and Windows, with and without a GPU.
"""

from __future__ import annotations

import sys
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = "osteon"
EXTRA = "dev"
#: PyTorch asks for the versions of these that it was built with; they exist for Linux alone.
OF_ONE_PLATFORM = ("nvidia-", "cuda-", "triton")
HEADER = """\
# The versions that the tests passed with. `make` installs these; pyproject.toml has the floors.
# Made by: .venv/bin/python tools/constraints.py > constraints.txt
# Not listed: what belongs to one platform alone, such as the CUDA libraries of PyTorch.
"""


def needed(project: str, extra: str) -> set[str]:
    """Follow the dependencies of an installed project.

    Args:
        project: Name of the project.
        extra: Name of its extra that is followed, too.

    Returns:
        Normalised names of all packages it needs on this platform, itself left out.

    Raises:
        PackageNotFoundError: If one of them is not installed.
    """
    todo: list[tuple[str, tuple[str, ...]]] = [(canonicalize_name(project), (extra,))]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while todo:
        name, extras = item = todo.pop()
        if item in seen:
            continue
        seen.add(item)
        for text in distribution(name).requires or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
                found = canonicalize_name(requirement.name)
                todo.append((found, tuple(sorted(requirement.extras))))
    return {name for name, _ in seen} - {canonicalize_name(project)}


def main() -> None:
    """Print the file."""
    lines = [
        f"{name}=={Version(distribution(name).version).public}"
        for name in sorted(needed(PROJECT, EXTRA))
        if not name.startswith(OF_ONE_PLATFORM)
    ]
    sys.stdout.write(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
