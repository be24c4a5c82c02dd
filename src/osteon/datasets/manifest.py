"""The manifest of a dataset: a TOML file that says which scans, masks and specimens there are."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from osteon.errors import InputError, UsageError
from osteon.files import refuse_existing, write_bytes
from osteon.labels import BONE_PORES, LabelScheme

#: Schema of the manifest; raised, with a migration, when an entry is renamed or changes meaning.
SCHEMA = 1
_ENTRIES = ("schema", "labels", "scans")


class ScanRow(BaseModel):
    """One scan of a dataset, and what is known of it.

    Attributes:
        name: Name of the scan, different for every row.
        image: The scan: a folder of slices or a file; relative paths start at the manifest.
        mask: Its labels, or None where there are none.
        specimen: The animal, bone or sample. Scans of one specimen are never split apart.
        contiguous: Whether neighbouring slices are neighbours in space.
        remap: Values in the mask file to names of classes, or to ``ignore``.
        mask_slices: Which slices the mask covers: ``all``; ``number``: those with the same
            number in the file name; or a list of slice indexes, counted from 0.
        mask_origin: First voxel (z, y, x) of the scan that a cropped mask covers.
        derive_pores: The mask has bone alone: pores are derived by the protocol.
        slices: First and (excluded) last slice of the scan to be used; None: all.
        voxel_size_um: Replaces the file's: one number, or three along (z, y, x), in µm.
        species: For a person.
        site: Skeletal site, for a person.
        notes: For a person.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    image: str = Field(min_length=1)
    mask: str | None = None
    specimen: str = Field(min_length=1)
    contiguous: bool = True
    remap: dict[str, str] = {}
    mask_slices: Literal["all", "number"] | tuple[int, ...] = "all"
    mask_origin: tuple[int, int, int] | None = None
    derive_pores: bool = False
    slices: tuple[int, int] | None = None
    voxel_size_um: float | tuple[float, float, float] | None = None
    species: str = ""
    site: str = ""
    notes: str = ""

    @field_validator("remap")
    @classmethod
    def _numbers(cls, value: dict[str, str]) -> dict[str, str]:
        for key in value:
            try:
                float(key)
            except ValueError:
                raise ValueError(f"'{key}' is not a value of a mask, such as \"255\"") from None
        return value

    @field_validator("voxel_size_um")
    @classmethod
    def _positive(cls, value: Any) -> Any:
        sizes = value if isinstance(value, tuple) else (value,)
        if any(size is not None and not 0 < size < float("inf") for size in sizes):
            raise ValueError("a voxel size must be positive")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.slices is not None and not 0 <= self.slices[0] < self.slices[1]:
            raise ValueError("slices must be [first, last + 1] with first < last + 1")
        if self.mask_origin is not None and self.mask_slices != "all":
            raise ValueError("mask_origin and mask_slices cannot be given both")
        if isinstance(self.mask_slices, tuple) and (
            len(set(self.mask_slices)) != len(self.mask_slices)
            or min(self.mask_slices, default=-1) < 0
        ):
            raise ValueError("mask_slices must be different slice indexes, counted from 0")
        return self


@dataclass(frozen=True)
class Manifest:
    """A dataset.

    Attributes:
        labels: The classes.
        scans: The scans.
        path: The TOML file; None where it was not saved yet.
        schema: Schema of the file.
    """

    labels: LabelScheme
    scans: tuple[ScanRow, ...]
    path: Path | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for row in self.scans:
            if row.name in seen:
                raise InputError(
                    f"the name '{row.name}' is used for two scans",
                    where=self.path,
                    mend="give every scan a name of its own",
                )
            seen.add(row.name)
            self._check_remap(row)

    def _check_remap(self, row: ScanRow) -> None:
        for value, name in row.remap.items():
            try:
                self.labels.value(name)
            except UsageError as error:
                raise InputError(
                    f"scan '{row.name}', remap {value} = \"{name}\": {error.what}",
                    where=self.path,
                    mend=error.mend,
                ) from None

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read a manifest.

        Args:
            path: The TOML file.

        Returns:
            The manifest; nothing of the scans has been opened.

        Raises:
            InputError: If the file is missing, not TOML, of a newer schema, or has a wrong entry.
        """
        path = Path(path)
        data = _read_toml(path)
        _check_schema(data, path)
        unknown = [key for key in data if key not in _ENTRIES]
        if unknown:
            raise InputError(
                f"there is no entry '{unknown[0]}'{_near(unknown[0], _ENTRIES)}", where=path
            )
        rows = data.get("scans", [])
        if not isinstance(rows, list) or not rows:
            raise InputError(
                "the manifest lists no scans",
                where=path,
                mend="add [[scans]] entries, or make it by `osteon dataset new`",
            )
        return cls(
            _labels(data.get("labels"), path),
            tuple(_row(row, number, path) for number, row in enumerate(rows, start=1)),
            path,
        )

    @property
    def folder(self) -> Path:
        """Where relative paths start: the manifest's folder, or the working directory."""
        return Path.cwd() if self.path is None else self.path.absolute().parent

    def resolve(self, text: str) -> Path:
        """Return the path that an entry stands for.

        Args:
            text: ``image`` or ``mask`` of a row.
        """
        return self.folder / Path(text).expanduser()

    def row(self, name: str) -> ScanRow:
        """Return the row of a scan.

        Args:
            name: Its name.

        Raises:
            UsageError: If there is none.
        """
        names = [row.name for row in self.scans]
        if name not in names:
            raise UsageError(
                f"there is no scan '{name}'{_near(name, names)}",
                where=self.path,
                mend=f"the scans are: {', '.join(names)}",
            )
        return self.scans[names.index(name)]

    def save(self, path: Path, *, overwrite: bool = False) -> Manifest:
        """Write the manifest; relative paths are written anew, relative to its place.

        Args:
            path: The TOML file.
            overwrite: Whether an existing file may be replaced.

        Returns:
            The manifest with its new path.

        Raises:
            OutputError: If the file exists or cannot be written.
        """
        path = Path(path)
        refuse_existing(path, overwrite=overwrite)
        moved = tuple(self._moved(row, path.absolute().parent) for row in self.scans)
        data = {
            "schema": SCHEMA,
            "labels": self.labels.as_dict(),
            "scans": [_plain(row) for row in moved],
        }
        write_bytes(path, tomli_w.dumps(data).encode())
        return Manifest(self.labels, moved, path)

    def _moved(self, row: ScanRow, folder: Path) -> ScanRow:
        entries = {
            key: self._relative(value, folder)
            for key, value in (("image", row.image), ("mask", row.mask))
            if value is not None
        }
        return row.model_copy(update=entries)

    def _relative(self, text: str, folder: Path) -> str:
        if Path(text).expanduser().is_absolute():
            return text
        try:
            return Path(os.path.relpath(self.resolve(text), folder)).as_posix()
        except ValueError:  # on another drive of Windows
            return self.resolve(text).as_posix()


def _plain(row: ScanRow) -> dict[str, Any]:
    kept = row.model_dump(exclude_defaults=True)
    kept["contiguous"] = row.contiguous  # always said: three-dimensional work depends on it
    order = list(ScanRow.model_fields)
    return {k: _untuple(kept[k]) for k in order if kept.get(k) is not None}


def _untuple(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "the manifest does not exist", where=path, mend="make it by `osteon dataset new`"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the manifest cannot be read ({error})", where=path) from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the manifest is not valid TOML: {error}", where=path) from None


def _check_schema(data: Mapping[str, Any], path: Path) -> None:
    schema = data.get("schema")
    if schema == SCHEMA and not isinstance(schema, bool):
        return
    if schema is None:
        raise InputError(
            "the file does not say its schema: is it a manifest?",
            where=path,
            mend=f"a manifest starts with: schema = {SCHEMA}",
        )
    raise InputError(
        f"the manifest has schema {schema}, this osteon reads {SCHEMA}",
        where=path,
        mend="update osteon, or make the manifest anew by `osteon dataset new`",
    )


def _labels(data: Any, path: Path) -> LabelScheme:
    if data is None:
        return BONE_PORES
    if not isinstance(data, dict):
        raise InputError("labels is not a table", where=path)
    known = ("protocol", "classes")
    for key in data:
        if key not in known:
            raise InputError(f"labels: there is no entry '{key}'{_near(key, known)}", where=path)
    try:
        return LabelScheme.from_dict(data)
    except UsageError as error:
        raise InputError(error.what, where=f"{path}, labels", mend=error.mend) from None


def _row(data: Any, number: int, path: Path) -> ScanRow:
    if not isinstance(data, dict):
        raise InputError(f"scan {number} is not a table", where=path)
    try:
        return ScanRow.model_validate(data)
    except ValidationError as error:
        name = data.get("name", number)
        raise InputError(_explain(error), where=f"{path}, scan {name}") from None


def _explain(error: ValidationError) -> str:
    lines: list[str] = []
    for item in error.errors():
        place = str(item["loc"][0]) if item["loc"] else ""
        if item["type"] == "extra_forbidden":
            line = f"there is no entry '{place}'{_near(place, ScanRow.model_fields)}"
        elif item["type"] == "missing":
            line = f"the entry '{place}' is missing"
        else:
            line = f"{place}: " if place else ""
            line += item["msg"].removeprefix("Value error, ")
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def _near(word: str, words: Any) -> str:
    near = difflib.get_close_matches(word, list(words), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""
