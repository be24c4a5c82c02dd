"""``osteon model convert``: a model file in another format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from osteon import __version__
from osteon.backends.exporting import described, loaded_network, onnx_of
from osteon.errors import OutputError, UsageError
from osteon.files import refuse_existing, write_bytes
from osteon.labels import LabelClass, LabelScheme
from osteon.model_file import Model, load_model, save_model, write_reference
from osteon.tables.shipped import find_model
from osteon.workflows.record import check_folder

_SUFFIXES = (".safetensors", ".pth", ".onnx")
#: Schema of the description in ONNX files.
ONNX_SCHEMA = 1


@dataclass(frozen=True)
class Converted:
    """A model in another format.

    Attributes:
        source: The file it was read from.
        out: The file that was written.
        model: The model.
    """

    source: Path
    out: Path
    model: Model

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible summary."""
        return {
            "source": str(self.source),
            "out": str(self.out),
            "weights_sha256": self.model.spec.weights_sha256,
            "model": self.model.spec.as_dict(),
        }


def convert(
    model: str | Path,
    *,
    out: str | Path,
    classes: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Converted:
    """Write a model in the format of the target's suffix; its weights stay byte for byte.

    Memory: the model.

    Args:
        model: osteon's ``.safetensors`` or the original's ``.pth``, known by its content; or the
            name of a model that comes with osteon.
        out: The target: ``.safetensors``; ``.pth`` for the original's programs; ``.onnx`` for other
            programs: the network alone, normalised grey values (n, channel, [z,] y, x) in and
            logits out, with osteon's description in its metadata.
        classes: New names of the classes, in order of their values; None: as they are. The
            original's files do not name them.
        overwrite: Replace an existing target.

    Returns:
        What was done.

    Raises:
        UsageError: If the format is unknown or cannot hold this model, or the names do not fit.
        InputError: If there is no such model.
        DependencyError: If a library that the format needs is not installed.
        ModelFileError: If it is damaged, foreign, or of a network that osteon does not have.
        OutputError: If the target exists or cannot be written.
    """
    source, target = find_model(model), Path(out)
    suffix = target.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UsageError(
            f"no format of models ends in '{target.suffix}'",
            where=target,
            mend="give a name that ends in .safetensors (osteon's), .pth (the original's) or .onnx",
        )
    check_folder(target.absolute().parent, target=target)
    refuse_existing(target, overwrite=overwrite)
    loaded = load_model(source)
    if source.resolve() == target.resolve():
        raise OutputError(
            "the model would be replaced by its conversion",
            where=target,
            mend="choose another name for --out",
        )
    if classes is not None:
        loaded = replace(loaded, spec=replace(loaded.spec, labels=_renamed(loaded, classes)))
    if suffix == ".pth":
        write_reference(target, loaded)
        return Converted(source, target, loaded)
    if suffix == ".onnx":
        _write_onnx(target, loaded)
        return Converted(source, target, loaded)
    return Converted(source, target, save_model(target, loaded))


def _write_onnx(target: Path, model: Model) -> None:
    spec = model.spec
    network = loaded_network(spec.network, model.weights)
    description = {
        "schema": str(ONNX_SCHEMA),
        "made_by": f"osteon {__version__}",
        "osteon": json.dumps(spec.as_dict()),
    }
    write_bytes(target, described(onnx_of(network, spec.network), description))


def _renamed(model: Model, names: Sequence[str]) -> LabelScheme:
    labels = model.spec.labels
    given = [name.strip() for name in names]
    if len(given) != len(labels) or not all(given):
        raise UsageError(
            f"the model has {len(labels)} classes, not {len(given)}",
            where="--classes",
            mend=f"give a name for each, in this order: {', '.join(labels.names)}",
        )
    return LabelScheme(
        tuple(
            LabelClass(name, old.value, old.colour)
            for name, old in zip(given, labels.classes, strict=True)
        ),
        labels.protocol,
    )
