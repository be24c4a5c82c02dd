"""The study file: which fits are made of one dataset (YAML)."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from osteon.errors import InputError, UsageError
from osteon.files import refuse_existing, write_text
from osteon.settings import FitSettings, Settings, apply_overrides
from osteon.settings.words import explain

#: Schema of study files; raised, with a migration, when an entry is renamed or changes meaning.
SCHEMA = 1
#: What a study without grid and variants calls its only group of settings.
ONLY = "baseline"
#: Settings that the study itself decides.
_DECIDED = ("seed", "validation.specimens", "validation.method")

Equal = Literal["epochs", "patches", "compute"]


class VariantSettings(Settings):
    """A group of settings with a name."""

    name: str = Field(description="Name of the variant, used for folders.", pattern=r"^[\w.+-]+$")
    set: dict[str, Any] = Field({}, description="Dotted names of settings, and their values.")


class StudySettings(Settings):
    """What a study file says."""

    name: str = Field("study", description="Name of the study.", pattern=r"^[\w.+-]+$")
    dataset: str = Field(
        description="Dataset manifest (TOML); a relative path starts at the study file."
    )
    settings: dict[str, Any] = Field({}, description="Settings of all fits, as in a settings file.")
    folds: int | Literal["specimens"] | None = Field(
        None,
        description="Cross-validation: number of folds, by specimen; specimens: each is kept back "
        "in turn. None: one split, the same for all runs.",
    )
    fold_seed: int = Field(
        42, description="Seed of the folds or the split; that of a fit has no part.", ge=0, lt=2**32
    )
    seeds: tuple[int, ...] = Field((42,), description="Seeds; each fit is made once with each.")
    grid: dict[str, tuple[Any, ...]] = Field(
        {}, description="Dotted names of settings, and the values that are combined."
    )
    variants: tuple[VariantSettings, ...] = Field(
        (), description="Groups of settings to be compared, instead of a grid."
    )
    equal: Equal = Field(
        "epochs",
        description="What runs have in common. epochs: training.epochs; patches: the patches they "
        "learn from; compute: the floating-point operations. The latter two set training.epochs.",
    )
    patches: int | None = Field(
        None,
        description="With equal=patches: patches of each run. With equal=compute: patches of the "
        "first group; the others get as many as take the same operations.",
        ge=1,
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.grid and self.variants:
            raise ValueError("a study has a grid or variants, not both")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds must be different numbers, one at least")
        if isinstance(self.folds, int) and self.folds < 2:
            raise ValueError("folds must be 2 at least")
        empty = [name for name, values in self.grid.items() if not values]
        if empty:
            raise ValueError(f"grid.{empty[0]} has no values")
        names = [variant.name for variant in self.variants]
        if len(set(names)) != len(names):
            raise ValueError("two variants have the same name")
        if (self.equal == "epochs") != (self.patches is None):
            raise ValueError("patches goes with equal=patches and equal=compute, which need it")
        return self


@dataclass(frozen=True)
class Group:
    """Settings that are fitted once a fold and seed.

    Attributes:
        name: Name, used for folders.
        choices: What sets it apart: dotted names and values.
        settings: All settings; seed and validation are still to be decided.
    """

    name: str
    choices: Mapping[str, Any]
    settings: FitSettings


def load_study(path: Path) -> StudySettings:
    """Read a study file.

    Args:
        path: The YAML file.

    Returns:
        The study; its groups have not been made yet.

    Raises:
        InputError: If the file is missing, not YAML or of another schema.
        UsageError: If an entry is wrong; the message names it.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "the study file does not exist",
            where=path,
            mend="write one: osteon study new cv DATASET --out study.yaml",
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"the study file cannot be read: {error}", where=path) from None
    if not isinstance(data, dict):
        raise InputError("the study file is not a mapping of names to values", where=path)
    schema = data.pop("schema", None)
    if schema != SCHEMA:
        raise InputError(
            f"the study file has schema {schema}, this version reads {SCHEMA}",
            where=path,
            mend=f"a study file begins with `schema: {SCHEMA}`; update osteon if it is newer",
        )
    try:
        return StudySettings.model_validate(data)
    except ValidationError as error:
        raise UsageError(explain(error, StudySettings), where=path) from None


def groups(study: StudySettings, *, where: Path | None = None) -> list[Group]:
    """Make the groups of settings that a study compares.

    Args:
        study: The study.
        where: The study file, for messages.

    Returns:
        The groups in their order; the first is the one that others are compared with.

    Raises:
        UsageError: If a group's settings do not go together; the message names the group.
    """
    made = [_group(study, name, choices, where) for name, choices in _choices(study)]
    names = [group.name for group in made]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two groups would have the name '{twice[0]}'", where=where)
    return made


def _choices(study: StudySettings) -> list[tuple[str, dict[str, Any]]]:
    if study.variants:
        return [(variant.name, dict(variant.set)) for variant in study.variants]
    if not study.grid:
        return [(ONLY, {})]
    combined = itertools.product(*study.grid.values())
    every = [dict(zip(study.grid, values, strict=True)) for values in combined]
    return [("_".join(_word(value) for value in one.values()), one) for one in every]


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^\w.+-]+", "-", text).strip("-") or "none"


def _group(study: StudySettings, name: str, choices: dict[str, Any], where: Path | None) -> Group:
    data: dict[str, Any] = yaml.safe_load(yaml.safe_dump(study.settings))
    apply_overrides(data, [f"{key}={json.dumps(value)}" for key, value in choices.items()])
    place = f"{where or study.name}, group {name}"
    for setting in _DECIDED:
        if _given(data, setting) and not (setting == "validation.method" and study.folds is None):
            raise UsageError(
                f"{setting} is decided by the study",
                where=place,
                mend="use seeds, folds and fold_seed of the study file",
            )
    try:
        return Group(name, choices, FitSettings.model_validate(data))
    except ValidationError as error:
        raise UsageError(explain(error, FitSettings), where=place) from None


def _given(data: Mapping[str, Any], dotted: str) -> bool:
    node: Any = data
    for part in dotted.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def write_study(path: Path, study: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Write a study file.

    Args:
        path: The YAML file.
        study: Its entries, but for ``schema``.
        overwrite: Replace an existing file.

    Raises:
        OutputError: If it exists or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    text = yaml.safe_dump({"schema": SCHEMA, **study}, sort_keys=False, default_flow_style=None)
    write_text(path, text)
