"""A form made from a class of settings: every setting has a field, and none is only here."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from osteon.errors import UsageError
from osteon.files import write_text
from osteon.napari.fields import Field, make_field
from osteon.napari.parts import Fold
from osteon.settings import Settings, load_settings
from osteon.settings.base import SCHEMA
from osteon.settings.words import explain

S = TypeVar("S", bound=Settings)


class _Choice:
    """A choice with parameters: a list of names, and the fields of the chosen one."""

    def __init__(self, name: str, field: FieldInfo, models: list[type[BaseModel]]):
        self.name, self.models = name, models
        self.box, self.stack = QComboBox(), QStackedWidget()
        self.box.setObjectName(name)
        self.box.setToolTip(f"<p><b>{name}</b><br>{field.description or ''}</p>")
        self.fields: list[list[Field]] = []
        for model in models:
            page = QWidget()
            rows = QFormLayout(page)
            rows.setContentsMargins(0, 0, 0, 0)
            made = [
                make_field(f"{name}.{key}", inner)
                for key, inner in model.model_fields.items()
                if key != "name"
            ]
            for one in made:
                rows.addRow(_words(one.name), one.widget)
            self.fields.append(made)
            self.stack.addWidget(page)
            self.box.addItem(_name_of(model))
        self.box.currentIndexChanged.connect(self._chosen)
        self.put(field.get_default(call_default_factory=True).model_dump())

    def _chosen(self, index: int) -> None:
        self.stack.setCurrentIndex(index)
        # A stack is as high as its highest page: the others would stand in empty space.
        for i in range(self.stack.count()):
            self.stack.widget(i).setVisible(i == index)
        self.stack.setMaximumHeight(self.stack.widget(index).sizeHint().height())

    def get(self) -> dict[str, Any]:
        at = self.box.currentIndex()
        return {
            "name": self.box.currentText(),
            **{_last(field.name): field.get() for field in self.fields[at]},
        }

    def put(self, value: dict[str, Any]) -> None:
        at = max(0, self.box.findText(str(value["name"])))
        self.box.setCurrentIndex(at)
        self._chosen(at)
        for field in self.fields[at]:
            field.put(value[_last(field.name)])


class SettingsForm(QWidget, Generic[S]):
    """A form of all settings of a class, grouped as in the YAML file.

    Args:
        kind: The settings class.
        basic: Dotted names of settings that are always shown; the others of a group are folded
            away under "more". None: all are shown.
    """

    changed = Signal()

    def __init__(self, kind: type[S], *, basic: Collection[str] | None = None):
        super().__init__()
        self._kind, self._basic = kind, basic
        self._fields: dict[str, Field] = {}
        self._choices: dict[str, _Choice] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        own, groups = [], []
        for name, field in kind.model_fields.items():
            models = _models(field)
            if len(models) == 1:
                groups.append((name, models[0]))
            else:
                own.append((name, field))
        column.addWidget(self._group("", dict(own), title=None))
        for name, model in groups:
            title = name.replace("_", " ").capitalize()
            column.addWidget(self._group(f"{name}.", model.model_fields, title=title))
        column.addStretch(1)

    def _group(self, prefix: str, fields: dict[str, FieldInfo], *, title: str | None) -> QWidget:
        first, more = QWidget(), QWidget()
        rows, further = QFormLayout(first), QFormLayout(more)
        for layout in (rows, further):
            layout.setContentsMargins(0, 0, 0, 0)
        for key, field in fields.items():
            name = prefix + key
            shown = self._basic is None or name in self._basic
            self._add(name, field, rows if shown else further)
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(8, 0, 0, 4)
        if rows.rowCount():
            column.addWidget(first)
        if further.rowCount():
            column.addWidget(Fold("more", more))
        return body if title is None else Fold(title, body, opened=bool(rows.rowCount()))

    def _add(self, name: str, field: FieldInfo, rows: QFormLayout) -> None:
        models = _models(field)
        if models:
            choice = self._choices[name] = _Choice(name, field, models)
            rows.addRow(_words(name), choice.box)
            rows.addRow(choice.stack)
            choice.box.currentIndexChanged.connect(lambda _: self.changed.emit())
            edited = [one for fields in choice.fields for one in fields]
        else:
            edited = [self._fields.setdefault(name, make_field(name, field))]
            label = QLabel(_words(name))
            label.setToolTip(edited[0].widget.toolTip())
            rows.addRow(label, edited[0].widget)
        for one in edited:
            for signal in ("textChanged", "valueChanged", "toggled", "currentTextChanged"):
                if hasattr(one.widget, signal):
                    getattr(one.widget, signal).connect(lambda *_: self.changed.emit())
                    break

    def names(self) -> set[str]:
        """Return the dotted names of all settings that have a field, as a help page lists them."""
        found = {*self._fields, *self._choices}
        for choice in self._choices.values():
            found |= {field.name for fields in choice.fields for field in fields}
        return found

    def field(self, name: str) -> Field:
        """Return the field of a setting that is not a choice with parameters.

        Args:
            name: Its dotted name.
        """
        return self._fields[name]

    def values(self) -> dict[str, Any]:
        """Return what is filled in, nested, not validated."""
        data: dict[str, Any] = {}
        for name, field in self._fields.items():
            _put(data, name, field.get())
        for name, choice in self._choices.items():
            _put(data, name, choice.get())
        return data

    def settings(self) -> S:
        """Return the settings that are filled in.

        Raises:
            UsageError: If a value is wrong; the message names it.
        """
        try:
            return self._kind.model_validate(self.values())
        except ValidationError as error:
            raise UsageError(
                explain(error, self._kind), mend="correct it in the form, or reset to the defaults"
            ) from None

    def show_settings(self, settings: S) -> None:
        """Fill in settings.

        Args:
            settings: The settings.
        """
        data = settings.model_dump()
        for name, field in self._fields.items():
            field.put(_get(data, name))
        for name, choice in self._choices.items():
            choice.put(cast(dict[str, Any], _get(data, name)))
        self.changed.emit()

    def reset(self) -> None:
        """Fill in the defaults."""
        self.show_settings(self._kind())

    def load(self, path: Path) -> None:
        """Fill in the settings of a YAML file, as ``--settings`` reads it.

        Args:
            path: The file.

        Raises:
            OsteonError: If it cannot be read, or a value is wrong.
        """
        self.show_settings(load_settings(self._kind, path))

    def save(self, path: Path) -> None:
        """Write the settings as a YAML file that ``--settings`` reads.

        Args:
            path: The file; replaced.

        Raises:
            UsageError: If a value is wrong.
            OutputError: If it cannot be written.
        """
        save_settings(self.settings(), path)


def save_settings(settings: Settings, path: Path) -> None:
    """Write settings as a YAML file that ``--settings`` reads.

    Args:
        settings: The settings.
        path: The file; replaced.

    Raises:
        OutputError: If it cannot be written.
    """
    dump = {"schema": SCHEMA, **settings.model_dump(mode="json")}
    write_text(path, yaml.safe_dump(dump, sort_keys=False))


def _models(field: FieldInfo) -> list[type[BaseModel]]:
    kinds = (field.annotation, *get_args(field.annotation))
    return [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]


def _name_of(model: type[BaseModel]) -> str:
    return str(model.model_fields["name"].default)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _words(name: str) -> str:
    return _last(name).replace("_", " ")


def _put(data: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
    data[last] = value


def _get(data: dict[str, Any], name: str) -> Any:
    found: Any = data
    for part in name.split("."):
        found = found[part]
    return found
