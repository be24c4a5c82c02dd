"""Reading files that torch has pickled, without executing anything in them.

torch's own restricted unpickler refuses every global that is not on its list. To that list come
NumPy's scalars and pathlib's paths, as they are met in the metadata of others; not the real ones,
though: what stands for them here makes plain numbers and texts, whatever the file asks of it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch

from osteon.errors import ModelFileError

#: NumPy's names of the types a scalar may have: flag, integers, floats, text.
_SCALAR = re.compile(r"b1|[iu][1248]|f[248]|U\d{1,6}")
#: torch names what it refuses in this way.
_REFUSED = re.compile(r"GLOBAL (\S+)")
#: The list of allowed globals is the process's: two readers would take it from each other.
_lock = threading.Lock()


class _Dtype:
    """Stands for ``numpy.dtype``, and knows nothing but simple types."""

    def __init__(self, name: str, *flags: object):
        if not _SCALAR.fullmatch(name):
            raise ValueError(f"NumPy's type {name!r} is not a plain number")
        self._name, self._order = name, "<"

    def __repr__(self) -> str:
        return self._name

    def __setstate__(self, state: tuple[object, ...]) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"NumPy's type has no byte order {order!r}")
        self._order = str(order)

    def value(self, data: bytes) -> bool | int | float | str:
        """Decode one value.

        Args:
            data: Its bytes.

        Returns:
            The value.
        """
        dtype = np.dtype(self._name).newbyteorder(self._order)  # type: ignore[arg-type]
        (value,) = np.frombuffer(data, dtype).tolist()
        plain: bool | int | float | str = value
        return plain


def _scalar(dtype: object, data: object) -> bool | int | float | str:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        raise TypeError("a NumPy scalar has no plain type")
    return dtype.value(data)


def _path_maker(kind: type[PurePath]) -> Callable[..., str]:
    return lambda *parts: str(kind(*parts))


def _stand_ins() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    scalars = [(_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    posix, windows = _path_maker(PurePosixPath), _path_maker(PureWindowsPath)
    paths = [
        (maker, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")  # the second is Python 3.13's
        for maker, names in (
            (posix, ("PosixPath", "PurePosixPath", "Path", "PurePath")),
            (windows, ("WindowsPath", "PureWindowsPath")),
        )
        for name in names
    ]
    return [(_Dtype, "numpy.dtype"), *scalars, *paths]


@contextmanager
def _only_ours() -> Iterator[None]:
    # What other libraries have allowed in this process (MONAI does) is not for these files.
    with _lock:
        others = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(_stand_ins())
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(others)


def load_pickled(path: Path) -> object:
    """Read a file of ``torch.save`` that holds tensors, plain values, NumPy scalars and paths.

    Memory: the whole file.

    Args:
        path: The file.

    Returns:
        What it holds. NumPy's scalars are plain numbers and texts, paths are texts in the
        spelling of the system they come from, tensors are on the CPU.

    Raises:
        ModelFileError: If it holds anything else (the message names it; it is not executed), is
            damaged, or is no such file.
    """
    try:
        # An open file, for torch goes by the suffix of a name.
        with path.open("rb") as file, _only_ours():
            loaded: object = torch.load(file, map_location="cpu", weights_only=True)
    # Anything can be raised on the way through a file that was made to do harm.
    except Exception as error:
        refused = _REFUSED.search(str(error))
        if refused is not None:
            raise ModelFileError(
                f"the file holds '{refused[1]}', which is more than weights, numbers, texts and "
                "paths; it is not read, because to read it is to run it",
                where=path,
                mend="get the weights from someone you trust, saved with plain metadata alone",
            ) from None
        raise ModelFileError(
            "this is not a file of weights that torch has saved, or it is damaged: "
            f"{_reason(error)}",
            where=path,
            mend="copy it again from its source",
        ) from None
    return loaded


#: torch puts much good advice around what its unpickler says.
_CAUSE = re.compile(r"WeightsUnpickler error: (.+)")
_LONGEST_REASON = 150


def _reason(error: Exception) -> str:
    text = str(error).strip()
    cause = _CAUSE.search(text)
    reason = cause[1] if cause else next(iter(text.splitlines()), "")
    if len(reason) > _LONGEST_REASON:
        reason = f"{reason[:_LONGEST_REASON]}…"
    return f"{type(error).__name__}: {reason}"
