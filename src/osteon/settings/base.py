"""What all settings have in common: strictness, files, dotted overrides, help."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from osteon.errors import InputError, UsageError

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
    def _none(cls, data: Any) -> Any:
        """Read ``none``, as the help pages write it, where a setting may be left open."""
        if not isinstance(data, dict):
            return data
        open_ = {n for n, f in cls.model_fields.items() if type(None) in get_args(f.annotation)}
        return {k: None if v == "none" and k in open_ else v for k, v in data.items()}


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


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """Say in plain words what is wrong with settings.

    Args:
        error: pydantic's error.
        kind: The class that was validated.

    Returns:
        One line per problem.
    """
    names = [name for name, _, _ in _leaves(kind)]
    groups = sorted({name.rpartition(".")[0] for name in names} - {""})
    lines = []
    for item in error.errors():
        place, choice = _place(item["loc"], kind)
        if item["type"] == "extra_forbidden" and place in names:
            group = place.rpartition(".")[0]
            lines.append(f"there is no setting '{place}' with {group}.name = {choice}")
        elif item["type"] == "extra_forbidden":
            lines.append(f"there is no setting '{place}'{_near(place, [*names, *groups])}")
        elif item["type"] == "union_tag_invalid":
            tag, known = str(item["ctx"]["tag"]), item["ctx"]["expected_tags"].replace("'", "")
            hint = _near(tag, known.split(", ")) or ";"
            lines.append(f"{place}: there is no '{tag}'{hint} choose one of: {known}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            lines.append(f"{place or 'settings'} = {item.get('input')!r}: {message}")
    return "\n".join(lines)


def _near(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _place(loc: tuple[int | str, ...], kind: type[BaseModel]) -> tuple[str, str]:
    # pydantic puts the chosen name of a choice with parameters into the path: loss.jaccard.weight
    field = kind.model_fields.get(str(loc[0])) if loc else None
    if field is not None and field.discriminator is not None and len(loc) > 1:
        return ".".join(str(p) for p in (loc[0], *loc[2:])), str(loc[1])
    return ".".join(str(p) for p in loc), ""


def _command(kind: type[BaseModel]) -> str:
    return kind.__name__.removesuffix("Settings").lower()


def _leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    for name, field in kind.model_fields.items():
        models = [
            t
            for t in (field.annotation, *get_args(field.annotation))
            if isinstance(t, type) and issubclass(t, BaseModel)
        ]
        default = field.get_default(call_default_factory=True)
        if not models:
            yield f"{prefix}{name}", default, field.description or ""
        elif len(models) == 1:
            yield from _leaves(models[0], f"{prefix}{name}.")
        else:
            choices = ", ".join(str(m.model_fields["name"].default) for m in models)
            chosen = getattr(default, "name", default)
            yield f"{prefix}{name}", chosen, f"{field.description or ''} One of: {choices}."
            seen: set[str] = set()
            for model in models:
                for leaf, value, text in _leaves(model, f"{prefix}{name}."):
                    if not leaf.endswith(".name") and leaf not in seen:
                        seen.add(leaf)
                        yield leaf, value, text


def settings_help(kind: type[BaseModel]) -> list[tuple[str, str, str]]:
    """List all settings of a class for a help page.

    Args:
        kind: The settings class.

    Returns:
        Rows of (dotted name, default, description).
    """
    return [(name, _plain(default), text) for name, default, text in _leaves(kind)]


def _plain(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping | tuple | list):
        return ", ".join(str(v) for v in value) or "none"
    return str(value)
