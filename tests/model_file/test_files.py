"""The model file: what goes in comes out, damage is found, nothing in it is executed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from osteon.errors import InputError, ModelFileError, OutputError
from osteon.intensity import GreyRange
from osteon.labels import BONE_PORES
from osteon.model_file import (
    KEY,
    Model,
    ModelSpec,
    TrainingRanges,
    load_model,
    read_description,
    save_model,
    weights_digest,
)
from osteon.networks import NetworkSpec, build_network, load_weights

SPEC = ModelSpec(
    "mouse tibia µCT",
    NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8)),
    BONE_PORES,
    "zscore",
    1,
    ranges=TrainingRanges((10.5, 39.0), ("uint8", "uint16")),
    provenance={"settings": {"seed": 42}, "scores": [0.5, None], "text": "Größe"},
)


def weights() -> dict[str, torch.Tensor]:
    """All kinds of tensors that a network's state can have."""
    rng = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=rng),
        "conv.half": torch.randn(5, generator=rng).to(torch.bfloat16),
        "norm.count": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "empty": torch.zeros(0, 4),
        "special": torch.tensor([float("nan"), float("inf"), -0.0]),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "model.safetensors"


@pytest.fixture
def saved(path: Path) -> Path:
    save_model(path, Model(SPEC, weights()))
    return path


def described(path: Path) -> Any:
    """The description as it is in the file, by the format's own library."""
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[KEY])


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any], *, digest: bool = True) -> None:
    """Change the description of a model file; with a digest that fits, if there is one."""
    data = described(path)
    change(data)
    if digest and data.pop("description_sha256", None) is not None:
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        data["description_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    save_file(load_file(path), path, metadata={KEY: json.dumps(data)})


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def test_every_byte_of_the_weights_comes_back(saved: Path) -> None:
    loaded = load_model(saved).weights
    assert set(loaded) == set(weights())
    for name, tensor in weights().items():
        assert (loaded[name].dtype, loaded[name].shape) == (tensor.dtype, tensor.shape)
        assert raw(loaded[name]) == raw(tensor), name


def test_the_description_comes_back(path: Path) -> None:
    written = save_model(path, Model(SPEC, weights()))
    loaded = load_model(path)
    assert loaded.spec == written.spec
    assert loaded.path == written.path == path
    assert loaded.spec.as_dict() == {**SPEC.as_dict(), "weights_sha256": weights_digest(weights())}
    assert loaded.spec.network == SPEC.network
    assert loaded.spec.labels == BONE_PORES
    assert loaded.spec.ranges == SPEC.ranges


def test_an_unknown_voxel_size_stays_unknown(path: Path) -> None:
    spec = ModelSpec("a", SPEC.network, BONE_PORES, "zscore", 1)
    save_model(path, Model(spec, weights()))
    assert load_model(path).spec.ranges == TrainingRanges(None, ())


def test_grey_values_of_the_fit_come_back_or_are_not_known(path: Path) -> None:
    grey = GreyRange((1.0, 50.0, 99.0), (-1.5, 0.1, 2.0), (-1.25, 1 / 3, 2.5), 7)
    spec = replace(SPEC, ranges=replace(SPEC.ranges, intensities=grey))
    save_model(path, Model(spec, weights()))
    assert load_model(path).spec.ranges.intensities == grey
    rewrite(path, lambda d: d["training_ranges"].pop("intensities"))  # as written before
    assert load_model(path).spec.ranges == SPEC.ranges


def test_slices_voxel_size_and_patches_come_back(path: Path) -> None:
    network = NetworkSpec("unet", "resnet18", 5, 3)
    spec = ModelSpec(
        "a",
        network,
        BONE_PORES,
        "zscore",
        1,
        mode="2.5D",
        voxel_size_um=12.5,
        patch_size=(256, 192),
    )
    save_model(path, Model(spec, weights()))
    found = load_model(path).spec
    assert (found.mode, found.slices, found.network) == ("2.5D", 5, network)
    assert (found.voxel_size_um, found.patch_size) == (12.5, (256, 192))
    assert (SPEC.slices, SPEC.voxel_size_um, SPEC.patch_size) == (1, None, ())


def test_it_is_read_by_the_formats_own_library(saved: Path) -> None:
    assert raw(load_file(saved)["conv.weight"]) == raw(weights()["conv.weight"])
    with safe_open(saved, framework="pt") as file:
        assert set(file.metadata()) == {KEY}
    # The container by its specification: 8 bytes of length, then JSON, then the tensors.
    content = saved.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    data = json.loads(header["__metadata__"][KEY])
    assert data["schema"] == 4
    assert data["provenance"]["text"] == "Größe"


def test_the_digest_by_hand() -> None:
    tensor = torch.tensor([[1.0, 2.0]])
    content = b"a|torch.float32|(1, 2)|" + struct.pack("<2f", 1, 2)
    content += b"b|torch.int64|()|" + struct.pack("<q", 3)
    expected = hashlib.sha256(content).hexdigest()
    assert weights_digest({"b": torch.tensor(3), "a": tensor}) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([[1.0, 2.5]])},
        {"b": torch.tensor([[1.0, 2.0]])},
        {"a": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([[1.0, 2.0]]).view(torch.int32)},
        {"a": torch.tensor([[1.0, 2.0]]), "b": torch.zeros(0)},
    ],
    ids=["value", "name", "shape", "type", "more"],
)
def test_other_weights_have_another_digest(other: dict[str, torch.Tensor]) -> None:
    assert weights_digest({"a": torch.tensor([[1.0, 2.0]])}) != weights_digest(other)


def test_the_digest_is_of_values_not_of_their_layout() -> None:
    tensor = torch.arange(24.0).reshape(1, 2, 3, 4)
    other = tensor.to(memory_format=torch.channels_last)
    assert other.stride() != tensor.stride()
    assert weights_digest({"a": tensor}) == weights_digest({"a": other})


def test_tensors_that_share_memory_are_all_written(path: Path) -> None:
    tensor = torch.arange(6.0)
    save_model(path, Model(SPEC, {"a": tensor, "b": tensor, "c": tensor[:2], "d": tensor.clone()}))
    for found in (load_model(path).weights, load_file(path)):
        assert {n: t.tolist() for n, t in found.items()} == {
            "a": [0, 1, 2, 3, 4, 5],
            "b": [0, 1, 2, 3, 4, 5],
            "c": [0, 1],
            "d": [0, 1, 2, 3, 4, 5],
        }


def test_a_fitted_network_gives_the_same_from_its_file(path: Path) -> None:
    torch.manual_seed(1)
    network = build_network(SPEC.network).to(memory_format=torch.channels_last)
    network(torch.randn(2, 1, 32, 32))  # so that the batch norms have statistics
    save_model(path, Model(SPEC, network.state_dict()))
    loaded = load_model(path)
    other = build_network(loaded.spec.network)
    load_weights(other, loaded.weights)
    assert weights_digest(other.state_dict()) == weights_digest(network.state_dict())
    image = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(other.eval()(image), network.eval()(image))


# --- damage ---------------------------------------------------------------------------------


def test_a_flipped_bit_of_any_weight_is_found(saved: Path) -> None:
    content = saved.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    for place in range(8 + length, len(content), 37):
        damaged = bytearray(content)
        damaged[place] ^= 1
        saved.write_bytes(damaged)
        with pytest.raises(ModelFileError, match="damaged") as caught:
            load_model(saved)
        assert caught.value.where == str(saved)


def test_a_flipped_byte_anywhere_in_the_header_is_found(saved: Path) -> None:
    content = saved.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    for place in range(0, 8 + length, 5):
        damaged = bytearray(content)
        damaged[place] ^= 0x15
        saved.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            load_model(saved)


def test_the_digest_of_the_description_by_hand(saved: Path) -> None:
    data = described(saved)
    recorded = data.pop("description_sha256")
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    assert text.isascii()
    assert recorded == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["labels"]["classes"][1].update(name="bona"),
        lambda d: d["provenance"]["settings"].update(seed=43),
        lambda d: d["normalisation"].update(recipe="percentile"),
        lambda d: d.update(voxel_size_um=11.0),
        lambda d: d.update(more=1),
        lambda d: d.update(schema=1),
        lambda d: d.pop("description_sha256"),
        lambda d: d.update(description_sha256="0" * 64),
    ],
)
def test_a_description_that_was_tampered_with_is_told(
    change: Callable[[Any], Any], saved: Path
) -> None:
    rewrite(saved, change, digest=False)
    with pytest.raises(ModelFileError, match="differs from its recorded digest"):
        load_model(saved)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, 0.99])
def test_a_truncated_file_is_told(kept: float, saved: Path) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    for read in (load_model, read_description):
        with pytest.raises(ModelFileError, match="not an osteon model file, or it is damaged"):
            read(saved)


@pytest.mark.parametrize(
    "content",
    [b"this is a note\n" * 20, b"", b"\x89PNG\r\n\x1a\n" + bytes(100), b"{}" * 50],
    ids=["text", "empty", "png", "json"],
)
def test_a_file_of_something_else_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not an osteon model file") as caught:
        load_model(path)
    assert caught.value.where == str(path)
    assert caught.value.mend is not None


def test_a_safetensors_file_of_something_else_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file(weights(), path, metadata=metadata)
        with pytest.raises(ModelFileError, match="holds no osteon model"):
            load_model(path)


def test_a_missing_file_and_a_folder_are_input_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(InputError, match="no such model file"):
            load_model(path)


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path):
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._mark),)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_nothing_is_unpickled(kind: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "model.safetensors", tmp_path / "mark"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(mark)))
    else:
        torch.save({"state": Bomb(mark)}, path)
    refusal = f"'{os.name}.mkdir'" if kind == "torch" else "not an osteon model file"
    for read, told in ((load_model, refusal), (read_description, "not an osteon model file")):
        with pytest.raises(ModelFileError, match=told):
            read(path)
    assert not mark.exists()
    if kind == "pickle":  # the bomb does go off where it is unpickled
        pickle.loads(path.read_bytes())  # noqa: S301
        assert mark.exists()


# --- the description ------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [99, 0, None, "1", [1], True])
def test_another_schema_is_told(schema: object, saved: Path) -> None:
    rewrite(saved, lambda d: d.update(schema=schema))
    with pytest.raises(ModelFileError, match="this version of osteon reads up to 4") as caught:
        load_model(saved)
    assert repr(schema) in caught.value.what
    assert caught.value.mend == "pip install --upgrade osteon"


@pytest.mark.parametrize(
    "name",
    [
        "name",
        "mode",
        "network",
        "labels",
        "normalisation",
        "voxel_size_um",
        "patch_size",
        "training_ranges",
        "surface",
        "weights_sha256",
    ],
)
def test_a_missing_entry_is_named(name: str, saved: Path) -> None:
    rewrite(saved, lambda d: d.pop(name))
    with pytest.raises(ModelFileError, match=f"lacks or garbles '{name}'"):
        load_model(saved)


def test_provenance_is_not_needed(saved: Path) -> None:
    rewrite(saved, lambda d: d.pop("provenance"))
    assert load_model(saved).spec.provenance == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["network"].update(architecture="vnet"),
        lambda d: d["network"].update(classes=4),
        lambda d: d["network"].update(decoder_channels=5),
        lambda d: d["network"].update(dimensions=3),
        lambda d: d["network"].update(options=[]),
        lambda d: d["network"].update(in_channels=3),
        lambda d: d.update(mode="4D"),
        lambda d: d.update(mode="3D"),
        lambda d: d.update(mode="2.5D"),
        lambda d: d.update(voxel_size_um=-1),
        lambda d: d.update(voxel_size_um=float("inf")),
        lambda d: d.update(voxel_size_um="fine"),
        lambda d: d.update(surface="smooth"),
        lambda d: d.update(patch_size=None),
        lambda d: d.update(patch_size=[32]),
        lambda d: d.update(patch_size=[32, 32, 32]),
        lambda d: d.update(patch_size=[0, 32]),
        lambda d: d["network"].pop("encoder"),
        lambda d: d.update(network=[]),
        lambda d: d.update(labels="bone"),
        lambda d: d["labels"]["classes"].pop(),
        lambda d: d["labels"]["classes"][1].update(colour=[999, 0, 0]),
        lambda d: d["labels"]["classes"][1].update(value=float("inf")),
        lambda d: d["normalisation"].pop("recipe"),
        lambda d: d["normalisation"].update(version="new"),
        lambda d: d["normalisation"].update(version=float("inf")),
        lambda d: d["training_ranges"].update(voxel_size_um=[10]),
        lambda d: d["training_ranges"].update(voxel_size_um=5),
        lambda d: d["training_ranges"].update(dtypes=None),
        lambda d: d["training_ranges"].update(intensities=[]),
        lambda d: d["training_ranges"].update(intensities={"percent": [1, 99], "scans": 1}),
        lambda d: d.update(weights_sha256="0" * 64),
        lambda d: d.update(provenance=5),
    ],
)
def test_a_garbled_description_is_told(change: Callable[[Any], Any], saved: Path) -> None:
    rewrite(saved, change)
    with pytest.raises(ModelFileError, match="damaged") as caught:
        load_model(saved)
    assert caught.value.where == str(saved)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "7", "null", "[" * 100_000, '{"schema": ' + "9" * 5000 + "}"]
)
def test_a_description_that_is_no_json_object_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(weights(), path, metadata={KEY: text})
    with pytest.raises(ModelFileError, match="its description is not"):
        load_model(path)


def test_the_description_is_read_without_the_weights(saved: Path) -> None:
    with saved.open("r+b") as file:  # damage that only reading the weights can find
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    assert read_description(saved)["name"] == SPEC.name


# --- writing --------------------------------------------------------------------------------


def test_an_old_file_is_replaced_and_nothing_is_left_beside_it(saved: Path) -> None:
    changed = {**weights(), "norm.count": torch.tensor(8)}
    save_model(saved, Model(SPEC, changed))
    assert load_model(saved).weights["norm.count"] == 8
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_failed_write_keeps_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("osteon.files.os.fsync", full)
    with pytest.raises(OutputError, match="disk is full") as caught:
        save_model(saved, Model(SPEC, {"a": torch.zeros(3)}))
    assert caught.value.where == str(saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_an_unwritable_target_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.safetensors" / "inside").mkdir(parents=True)
    for path in (tmp_path / "file" / "model.safetensors", tmp_path / "folder.safetensors"):
        with pytest.raises(OutputError, match="cannot be written"):
            save_model(path, Model(SPEC, weights()))
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.safetensors"]


def test_the_same_model_is_the_same_file(path: Path) -> None:
    save_model(path, Model(SPEC, weights()))
    first = path.read_bytes()
    save_model(path, Model(SPEC, dict(reversed(weights().items()))))
    assert path.read_bytes() == first
