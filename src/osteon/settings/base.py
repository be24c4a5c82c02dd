"""What all settings have in common: strictness, files, dotted overrides, help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    model_validator,
)

from osteon.errors import InputError, UsageError
from osteon.settings.words import explain

#: Schema of settings files; raised, with a migration, when a setting is renamed or moved.
SCHEMA = 1

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """A frozen group of settings; unknown names are errors."""

    # Infinity is a valid float in YAML and would end in an arithmetic error later.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, data: Any) -> Any:
        """Read ``none``, as the help pages write it, where a setting may be left open.

        And yes and no as words where a number is wanted, which refuses them: they would be
        taken for 1 and 0.
        """
        if not isinstance(data, dict):
            return data
        read = dict(data)
        for name, field in cls.model_fields.items():
            if name not in read:
                continue
            if read[name] == "none" and type(None) in get_args(field.annotation):
                read[name] = None
            if _takes_numbers(field.annotation):
                read[name] = _worded(read[name])
        return read


def _worded(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_worded(item) for item in value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _takes_numbers(kind: Any) -> bool:
    return kind in (int, float) or any(_takes_numbers(inner) for inner in get_args(kind))


def load_settings(kind: type[S], path: Path | None = None, *, overrides: Sequence[str] = ()) -> S:
    """Read settings from a YAML file and ``name=value`` overrides.

    Args:
        kind: The settings class.
        path: YAML file, or None for the defaults.
        overrides: Dotted names with values in YAML, such as ``patches.size=256``.

    Returns:
        The validated settings.

    Raises:
        InputError: If the file is missing or not YAML.
        UsageError: If a name or value is wrong; the message names it.
    """
    data: dict[str, Any] = {}
    if path is not None:
        data = _read_yaml(path)
        schema = data.pop("schema", SCHEMA)
        if schema != SCHEMA:
            raise InputError(
                f"the settings file has schema {schema}, this version reads {SCHEMA}",
                where=path,
                mend="update osteon, or write the file anew",
            )
    apply_overrides(data, overrides)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise UsageError(
            explain(error, kind),
            where=path,
            mend=f"`osteon {_command(kind)} --help` lists all settings",
        ) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("the settings file does not exist", where=path) from None
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: a date such as 2024-13-45
        raise InputError(f"the settings file cannot be read: {error}", where=path) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InputError("the settings file is not a mapping of names to values", where=path)
    return data


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> None:
    """Put ``a.b=value`` overrides into nested dictionaries, in place.

    Args:
        data: The nested settings.
        overrides: Dotted names with values in YAML. A choice with parameters may be given by
            its name alone: ``loss=jaccard``.

    Raises:
        UsageError: If an override has no ``=`` or goes below a plain value.
    """
    for item in overrides:
        name, sign, text = item.partition("=")
        if not sign or not name:
            raise UsageError(f"'{item}' is not of the form name=value", where="--set")
        *parents, last = name.strip().split(".")
        node = data
        for parent in parents:
            child = node.setdefault(parent, {})
            if isinstance(child, str):  # a choice given by its name: now its parameters follow
                child = node[parent] = {"name": child}
            if not isinstance(child, dict):
                raise UsageError(f"'{parent}' has no settings below it", where=f"--set {item}")
            node = child
        try:
            node[last] = yaml.safe_load(text)
        except (ValueError, yaml.YAMLError):
            raise UsageError(f"the value '{text}' cannot be read", where=f"--set {item}") from None


def _command(kind: type[BaseModel]) -> str:
    return kind.__name__.removesuffix("Settings").lower()
