"""One field of a form for each setting: made from its type, its limits and the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QLineEdit, QSpinBox, QWidget

from osteon.tables.augmentations import AUGMENTATIONS
from osteon.tables.choices import AUTO, BACKENDS, RECIPES
from osteon.tables.encoders import ENCODERS
from osteon.tables.networks import ARCHITECTURES

#: Settings whose values are rows of a table: the rows are offered, other texts may be typed.
_TABLES: dict[str, Callable[[], Sequence[str]]] = {
    "network.architecture": ARCHITECTURES.names,
    "network.encoder": ENCODERS.names,
    "network.weights": lambda: ("random", "imagenet"),
    "normalisation.recipe": RECIPES.names,
    "augmentation.preset": AUGMENTATIONS.names,
    "backend": lambda: (AUTO, *BACKENDS.names()),
    "device": lambda: ("auto", "cpu", "cuda", "mps"),
}
#: What a spin box holds at most; larger numbers are typed.
_LARGEST = 2**31 - 1
_WIDTH = 8


class Field:
    """An editor of one setting.

    Args:
        name: Dotted name.
        widget: What is edited.
        get: Gives the value as YAML would have it; None for "none".
        put: Shows a value.
    """

    def __init__(
        self, name: str, widget: QWidget, get: Callable[[], Any], put: Callable[[Any], None]
    ):
        self.name, self.widget, self.get, self.put = name, widget, get, put


def make_field(name: str, field: FieldInfo) -> Field:
    """Make the editor of a setting.

    Args:
        name: Dotted name.
        field: pydantic's description of it.

    Returns:
        The editor, showing the default.
    """
    kind: Any = field.annotation
    if name in _TABLES:
        made = _choices(name, _TABLES[name](), free=True)
    elif kind is bool:
        made = _tick(name)
    elif get_origin(kind) is Literal:
        made = _choices(name, get_args(kind), free=False)
    elif kind is int and _limits(field)[1] <= _LARGEST:
        made = _number(name, *_limits(field))
    else:
        made = _text(name, kind)
    made.widget.setToolTip(f"<p><b>{name}</b><br>{field.description or ''}</p>")
    made.widget.setObjectName(name)
    made.put(field.get_default(call_default_factory=True))
    return made


def _limits(field: FieldInfo) -> tuple[int, int]:
    low, high = -_LARGEST, _LARGEST
    for limit in field.metadata:
        low = int(getattr(limit, "ge", low))
        if hasattr(limit, "gt"):
            low = int(limit.gt) + 1
        high = int(getattr(limit, "le", high))
        if hasattr(limit, "lt"):
            high = int(limit.lt) - 1
    return low, high


def _tick(name: str) -> Field:
    box = QCheckBox()
    return Field(name, box, box.isChecked, lambda value: box.setChecked(bool(value)))


class _Box(QComboBox):
    """A list that does not change when the form is scrolled over it."""

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to the form."""
        event.ignore()


class _Spin(QSpinBox):
    """A number that does not change when the form is scrolled over it."""

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to the form."""
        event.ignore()


def _choices(name: str, values: Sequence[Any], *, free: bool) -> Field:
    box = _Box()
    box.setEditable(free)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(_WIDTH)
    for value in values:
        box.addItem(str(value), value)

    def get() -> Any:
        if free:
            return box.currentText().strip()
        return box.currentData()

    def put(value: Any) -> None:
        at = box.findText(str(value), Qt.MatchFlag.MatchExactly)
        if at >= 0 or not free:
            box.setCurrentIndex(max(at, 0))
        else:
            box.setEditText(str(value))

    return Field(name, box, get, put)


def _number(name: str, low: int, high: int) -> Field:
    box = _Spin()
    box.setRange(low, high)
    return Field(name, box, box.value, lambda value: box.setValue(int(value)))


def _text(name: str, kind: Any) -> Field:
    """A line whose text is read as YAML, the same as ``--set`` reads it."""
    line = QLineEdit()
    may_be_none = type(None) in get_args(kind)
    plain = kind is str
    line.setPlaceholderText("none" if may_be_none else "")

    def get() -> Any:
        text = line.text().strip()
        if plain:
            return text
        if not text:
            return None if may_be_none else ""
        try:
            return yaml.safe_load(text)
        except (ValueError, yaml.YAMLError):
            return text  # the settings say what is wrong with it

    def put(value: Any) -> None:
        line.setText(written(value))

    return Field(name, line, get, put)


def written(value: Any) -> str:
    """Write a value as it can be typed: empty for none, lists and mappings as in YAML.

    Args:
        value: The value.
    """
    if value is None:
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    plain = list(value) if isinstance(value, tuple) else value
    return str(yaml.safe_dump(plain, default_flow_style=True)).strip().removesuffix("\n...")
