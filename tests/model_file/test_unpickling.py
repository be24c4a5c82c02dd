"""Nothing in a file of torch is executed; NumPy's scalars and paths become plain values."""

from __future__ import annotations

import functools
import operator
import os
import pathlib
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from osteon.errors import ModelFileError
from osteon.model_file.unpickling import load_pickled

from .pth import posix, raw, windows


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None):
        self._made = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_numpy_scalars_and_paths_are_plain_values(zipped: bool, path: Path) -> None:
    values = {
        "float": np.float64(0.1),
        "half": np.float16(1.5),
        "int": np.int64(-(2**40)),
        "unsigned": np.uint8(255),
        "flag": np.bool_(True),
        "text": np.str_("Größe µ"),
        "swapped": np.array([2.5], ">f8")[0],
        "posix": posix("/", "data", "a b"),
        "pure": pathlib.PurePosixPath("x/y"),
        "windows": windows("C:\\", "Users", "a"),
        "pure windows": pathlib.PureWindowsPath("D:/z"),
        "nested": [{"a": (np.int16(3), None, "b")}],
    }
    torch.save(values, path, _use_new_zipfile_serialization=zipped)
    found: Any = load_pickled(path)
    assert found == {
        "float": 0.1,
        "half": 1.5,
        "int": -(2**40),
        "unsigned": 255,
        "flag": True,
        "text": "Größe µ",
        "swapped": 2.5,
        "posix": "/data/a b",
        "pure": "x/y",
        "windows": "C:\\Users\\a",
        "pure windows": "D:\\z",
        "nested": [{"a": (3, None, "b")}],
    }
    assert {type(v) for v in found.values()} <= {float, int, bool, str, list}


def test_tensors_come_back_byte_for_byte(path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 4).T,
        "b": torch.tensor(7),
        "c": torch.tensor([float("nan"), -0.0]).bfloat16(),
        "d": torch.nn.Parameter(torch.ones(2)),
    }
    torch.save(tensors, path)
    found: Any = load_pickled(path)
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert raw(found[name].detach()) == raw(tensor.detach())


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, f"{os.name}.system"),
        (os.mkdir, f"{os.name}.mkdir"),
        (eval, "eval"),
        (exec, "exec"),
        (getattr, "getattr"),
        (shutil.rmtree, "shutil.rmtree"),
        (functools.partial, "functools.partial"),
        (operator.attrgetter, "operator.attrgetter"),
        (np.load, "numpy.load"),
        (torch.load, "torch.serialization.load"),
        (torch.hub.load, "torch.hub.load"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_function_is_refused_by_name(
    function: Any, name: str, zipped: bool, path: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    argument = f"mkdir '{mark}'" if function is os.system else str(mark)
    torch.save({"a": Call(function, argument)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelFileError) as caught:
        load_pickled(path)
    assert f"'{name}'" in caught.value.what
    assert "to read it is to run it" in caught.value.what
    assert caught.value.where == str(path)
    assert not mark.exists()


def test_the_canary_sings_where_a_file_is_unpickled(path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save({"a": Call(os.system, f"mkdir '{mark}'")}, path)
    with pytest.raises(ModelFileError):
        load_pickled(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.zeros(3), "numpy._core.multiarray._reconstruct"),
        (pathlib.Path, "pathlib.Path"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (frozenset({1}), "frozenset"),
        (threading.Event, "threading.Event"),
    ],
)
def test_other_kinds_of_values_are_refused(value: Any, name: str, path: Path) -> None:
    torch.save({"a": value}, path)
    if name == "pathlib.Path":  # the class itself, not a path: harmless, and no value
        found: Any = load_pickled(path)
        assert found["a"]("a", "b") == "a/b"
        return
    with pytest.raises(ModelFileError) as caught:
        load_pickled(path)
    assert f"'{name}'" in caught.value.what


@pytest.mark.parametrize(
    "value",
    [
        np.datetime64("2020-01-01"),
        np.complex128(1j),
        np.void(b"abc"),
        Call(np.dtype, "O"),
        Call(np.dtype, [("a", "O")]),
        Call(np.dtype, "i4,O"),
        Call(np.dtype, "f8", state=(3, "x", None, None, None, -1, -1, 0)),
        Call(np._core.multiarray.scalar, np.dtype("f8"), b"short"),
        Call(np._core.multiarray.scalar, np.dtype("f8"), b"12345678" * 2),
        Call(np._core.multiarray.scalar, "f8", b"12345678"),
        Call(np._core.multiarray.scalar, np.dtype("f8"), "12345678"),
        Call(pathlib.PurePosixPath, 7),
    ],
    ids=lambda value: type(value).__name__,
)
def test_crafted_scalars_and_paths_are_refused(value: Any, path: Path) -> None:
    torch.save({"a": value}, path)
    with pytest.raises(ModelFileError, match="damaged"):
        load_pickled(path)


def test_what_others_have_allowed_is_not_allowed_here(path: Path) -> None:
    class_before = torch.serialization.get_safe_globals()
    torch.save({"a": Call(os.path.join, "a", "b")}, path)
    with torch.serialization.safe_globals([os.path.join]):
        assert torch.load(path, weights_only=True) == {"a": "a/b"}
        with pytest.raises(ModelFileError, match=r"path\.join"):
            load_pickled(path)
        # … and it is theirs again afterwards, ours is not.
        assert torch.load(path, weights_only=True) == {"a": "a/b"}
    assert set(torch.serialization.get_safe_globals()) == set(class_before)
    torch.save({"a": np.float64(1)}, path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_an_environment_that_asks_for_everything_is_not_heeded(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark = tmp_path / "mark"
    torch.save({"a": Call(os.mkdir, str(mark))}, path)
    with pytest.raises(ModelFileError):
        load_pickled(path)
    assert not mark.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_truncated_file_is_told(zipped: bool, path: Path) -> None:
    torch.save({"a": torch.randn(50)}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for kept in range(0, len(content) - 1, max(1, len(content) // 40)):
        path.write_bytes(content[:kept])
        # Half of a name is a name too: then it is refused for that.
        with pytest.raises(ModelFileError, match=r"damaged|more than weights"):
            load_pickled(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"PK\x03\x04" + bytes(500), b"a note\n" * 99, pickle.dumps({"a": 1})],
    ids=["empty", "start of a zip", "zip of nothing", "text", "pickle"],
)
def test_a_file_of_something_else_is_told(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not a file of weights that torch has saved"):
        load_pickled(path)
