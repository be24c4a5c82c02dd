"""One way to write a file: beside its target, flushed to the disk, then renamed.

Whoever reads the target sees the old content or the new, never a part; an error, Ctrl-C or a
kill leaves the target as it was.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from osteon.errors import OutputError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY}
#: Some file systems cannot flush a file on demand; what was written is as safe as they make it.
_NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
_UNITS = {"": 1} | {
    f"{letter}{binary}": (1024 if binary else 1000) ** power
    for power, letter in enumerate("kmgt", start=1)
    for binary in ("", "i")
}
#: Characters of the target's name that the name beside it keeps: a name may have 255 bytes in all.
_KEPT_NAME = 40
_REMOVE_TRIES, _REMOVE_PAUSE = 20, 0.05  # seconds
_counter = itertools.count()


@contextlib.contextmanager
def replacing(path: Path, *, mend: str | None = None) -> Iterator[Path]:
    """Write a file beside its target, and rename it when it is whole.

    The folders above it are made. If the block raises, the partial file is removed and the target
    stays as it was.

    Args:
        path: The target; an existing file is replaced.
        mend: What to do if it cannot be written; None: what fits the reason.

    Yields:
        The path to write to, in the same folder, with the suffix ``.part``.

    Raises:
        OutputError: Instead of any OSError of the block or the renaming: disk full, no
            permission, name too long, a folder of this name.
    """
    path = Path(path)
    partial = temporary(path)
    try:
        with writing(path, mend=mend):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            flush(partial)
            partial.replace(path)
            _flush_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write_bytes(path: Path, data: bytes, *, mend: str | None = None) -> None:
    """Write a file; see :func:`replacing`.

    Args:
        path: The target; an existing file is replaced.
        data: Its content.
        mend: What to do if it cannot be written.

    Raises:
        OutputError: If it cannot be written.
    """
    with replacing(path, mend=mend) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str, *, mend: str | None = None) -> None:
    r"""Write a text in UTF-8, lines ending as they do in ``text`` (``\n``); see :func:`replacing`.

    Args:
        path: The target; an existing file is replaced.
        text: Its content; what UTF-8 cannot hold (half of a file name that is not UTF-8) becomes
            a question mark.
        mend: What to do if it cannot be written.

    Raises:
        OutputError: If it cannot be written.
    """
    write_bytes(path, text.encode("utf-8", errors="replace"), mend=mend)


def write_json(path: Path, data: Mapping[str, Any], *, mend: str | None = None) -> None:
    """Write a JSON object, NaN and infinities as null; see :func:`replacing`.

    Args:
        path: The target; an existing file is replaced.
        data: What to write.
        mend: What to do if it cannot be written.

    Raises:
        OutputError: If it cannot be written.
    """
    plain = finite(data)
    try:
        content = json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8: escaped, so that nothing is lost
        content = json.dumps(plain, indent=1, allow_nan=False).encode()
    write_bytes(path, content + b"\n", mend=mend)


def finite(value: Any) -> Any:
    """Replace NaN and infinities by None and paths by text, for JSON.

    Args:
        value: Nested mappings, sequences and numbers.

    Returns:
        The same with None where JSON has no number.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise if a target is there and may not be replaced.

    Args:
        path: The target.
        overwrite: Whether it may be replaced.

    Raises:
        OutputError: If it is there and may not.
    """
    if not overwrite and os.path.lexists(path):
        raise OutputError(
            "this file exists already",
            where=path,
            mend="choose another name, or ask for it to be replaced (--overwrite)",
        )


def temporary(path: Path) -> Path:
    """Return a name beside a target that nothing else uses.

    Args:
        path: The target.
    """
    return path.with_name(f".{_short(path.name)}.{os.getpid()}-{next(_counter)}.part")


def temporaries(path: Path) -> list[Path]:
    """Return what is there under names of :func:`temporary` for a target, of any process.

    Args:
        path: The target.
    """
    begun = re.compile(rf"\.{re.escape(_short(path.name))}\.\d+-\d+\.part")
    folder = path.absolute().parent
    return [one for one in folder.iterdir() if begun.fullmatch(one.name)] if folder.is_dir() else []


def _short(name: str) -> str:
    """Shorten a name so that two that begin alike stay apart."""
    if len(name) <= _KEPT_NAME:
        return name
    digest = hashlib.sha256(name.encode("utf-8", errors="replace")).hexdigest()[:8]
    return f"{name[: _KEPT_NAME - 9]}~{digest}"


def remove(path: Path) -> None:
    """Remove a file or folder; it does not matter if it is not there.

    Args:
        path: The file or folder.
    """
    if path.is_dir() and not path.is_symlink():
        # Zarr writes chunks in threads that may still be at it after one of them has failed.
        for _ in range(_REMOVE_TRIES):
            shutil.rmtree(path, ignore_errors=True)
            if not path.exists():
                return
            time.sleep(_REMOVE_PAUSE)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def flush(path: Path) -> None:
    """Wait until a file is on the disk: some file systems tell only then that they are full.

    Args:
        path: The file, closed.

    Raises:
        OSError: If it is not there, or the disk is full.
    """
    with path.open("rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _NO_FLUSH:
                raise


def _flush_folder(folder: Path) -> None:
    # So that the new name outlives a power cut. Not on Windows, which opens no folders; and the
    # file is whole by now either way.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def writing(path: Path, *, mend: str | None = None) -> Iterator[None]:
    """Turn a failure to write into an OutputError that names the target.

    Args:
        path: The target.
        mend: What to do about it; None: what fits the reason.

    Raises:
        OutputError: Instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise output_error(error, path, mend=mend) from error


def output_error(error: OSError, path: Path, *, mend: str | None = None) -> OutputError:
    """Describe why something could not be written.

    Args:
        error: What the operating system said.
        path: The target.
        mend: What to do about it; None: what fits the reason.

    Returns:
        The error to be raised.
    """
    if error.errno in _FULL:
        reason, hint = "the disk is full (or a quota or size limit is reached)", "make room"
    elif error.errno in _FORBIDDEN:
        reason, hint = "this place is not writable", "choose another folder, or its permissions"
    elif error.errno == errno.ENAMETOOLONG:
        reason, hint = "its name is too long", "choose a shorter one"
    elif error.errno == errno.EISDIR:
        reason, hint = "there is a folder of this name", "choose another name"
    elif error.errno in _IN_THE_WAY:
        reason, hint = "a file is where a folder is needed", "choose another place"
    else:
        reason, hint = error.strerror or str(error), "choose another place"
    what = f"it cannot be written: {reason}"
    return OutputError(what, where=path, mend=mend or hint)


def parse_memory(text: str, *, where: str = "memory") -> int:
    """Turn an amount of memory or disk space such as ``2GiB`` or ``800 MB`` into bytes.

    Args:
        text: A number with an optional unit: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB.
        where: The option, setting or variable it is the value of.

    Returns:
        Bytes.

    Raises:
        UsageError: If it is not an amount of memory.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", text.lower())
    if match is None or float(match[1]) <= 0:
        raise UsageError(
            f"'{text}' is not an amount of memory", where=where, mend="such as 2GiB or 800MB"
        )
    return int(float(match[1]) * _UNITS[match[2] or ""])
