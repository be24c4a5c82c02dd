"""The models that come with osteon, and how the name of a model becomes a file."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from osteon.errors import InputError

#: The model that is used when none is named.
DEFAULT_MODEL = "bone-pores"
#: Ending of their files.
SUFFIX = ".safetensors"
#: The folder of the package that they are in.
FOLDER = "models"


def shipped_folder() -> Path:
    """Return the folder of the models that come with osteon."""
    return Path(str(resources.files("osteon").joinpath(FOLDER)))


def shipped_models() -> dict[str, Path]:
    """Return the models that come with osteon.

    Returns:
        File by name, in the order of the names; empty if there are none.
    """
    return {path.stem: path for path in sorted(shipped_folder().glob(f"*{SUFFIX}"))}


def find_model(model: str | Path | None = None) -> Path:
    """Find the file of a model.

    A text that is the name of a model that comes with osteon is that model, even where there is a
    file of that name (``./NAME`` is the file); all else is a file. A Path is always a file.

    Args:
        model: A name, a file, or None for the default, ``bone-pores``.

    Returns:
        The file; whether it is a model is for :func:`~osteon.model_file.load_model` to say.

    Raises:
        InputError: If there is no such model; the message lists the names there are.
    """
    shipped = shipped_models()
    if model is None:
        if DEFAULT_MODEL not in shipped:
            raise InputError(
                f"this osteon comes without the model '{DEFAULT_MODEL}', so one must be named",
                where="--model",
                mend="fit one: osteon fit DATASET --out RUN, then --model RUN/model.safetensors",
            )
        return shipped[DEFAULT_MODEL]
    if isinstance(model, str) and model in shipped:
        return shipped[model]
    path = Path(model)
    if isinstance(model, Path) or path.exists() or path.suffix or path.name != model:
        return path
    close = difflib.get_close_matches(model.lower(), shipped, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    names = ", ".join(shipped) or "none"
    raise InputError(
        f"there is no model '{model}': neither a file, nor one of those that come with osteon "
        f"({names})",
        where="--model",
        mend=f"{hint}give one of these names, or the model.safetensors in a run folder",
    )
