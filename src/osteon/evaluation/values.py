"""Label blocks as they are stored → uint8 class values, or an error that offers the remap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.errors import InputError, UsageError
from osteon.labels import IGNORE, LabelScheme
from osteon.volume import Volume

#: Value in a file → name of a class, or ``ignore``.
Remap = Mapping[int, str]

_STORED = 1 << 16  # label files hold 8- or 16-bit values; anything beyond is no label
_MAX_NAMED = 8  # values named in a message before it says "…"


class LabelReader:
    """Reads blocks of a label volume as class values.

    Args:
        volume: The label volume: whole numbers, of any type.
        scheme: The classes.
        remap: What each value of the file stands for; None where they are class values already
            (and 255, in a truth, no label).
        role: ``truth`` or ``labels``, for messages.

    Raises:
        UsageError: If the remap names an unknown class or an impossible value.
    """

    def __init__(self, volume: Volume, *, scheme: LabelScheme, remap: Remap | None, role: str):
        self.volume, self.scheme, self.role = volume, scheme, role
        self._known: npt.NDArray[np.bool_] | None = None
        self._table = np.zeros(_STORED, np.uint8)
        if remap is not None:
            self._known = np.zeros(_STORED, np.bool_)
            for stored, name in remap.items():
                if not 0 <= stored < _STORED:
                    raise UsageError(f"remap: a label file cannot hold the value {stored}")
                if role == "labels" and name == "ignore":
                    raise UsageError("remap: predicted labels cannot be ignored, only true ones")
                self._table[stored], self._known[stored] = scheme.value(name), True

    @property
    def bytes_per_voxel(self) -> int:
        """Memory held for a voxel of a block while it is read and turned into classes."""
        stored = self.volume.dtype.itemsize
        plain = self.volume.dtype == np.uint8
        converted = 0 if plain else 2 * max(stored, 2) + 1
        return stored + converted + (0 if self._known is None else 2)

    def read(self, z: slice, y: slice = slice(None)) -> npt.NDArray[np.uint8]:
        """Read a block of whole rows.

        Args:
            z: Slices.
            y: Rows.

        Returns:
            uint8 (z, y, x): class values, and 255 where the truth has no label.

        Raises:
            InputError: If the block does not hold labels, or values that the remap leaves out.
        """
        block = self._whole(self.volume.read(z, y))
        if self._known is None:
            if block.max(initial=0) > IGNORE:
                raise self.foreign(block)
            plain: npt.NDArray[np.uint8] = block.astype(np.uint8, copy=False)
            return plain
        if not self._known[block].all():
            values = np.unique(block)
            missing = [int(v) for v in values if not self._known[v]]
            raise InputError(
                f"the {self.role} holds the value{_s(missing)} {_named(missing)}, "
                "which the remap does not name",
                where=self.volume.path,
                mend=f"add to the remap what {_named(missing)} stands for: a class "
                f"({', '.join(self.scheme.names)}) or ignore",
            )
        mapped: npt.NDArray[np.uint8] = self._table[block]
        return mapped

    def _whole(self, block: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the block as unsigned integers of at most 16 bits."""
        if block.dtype in (np.uint8, np.uint16):
            return block
        if block.dtype == np.bool_:
            return block.view(np.uint8)
        if block.dtype.kind == "f":
            # NaN differs from itself, so it is caught here, too.
            if not bool((np.rint(block) == block).all()):
                raise InputError(
                    f"the {self.role} is not a label volume: it holds values that are not "
                    f"whole numbers ({block.dtype})",
                    where=self.volume.path,
                    mend="give the segmented volume, not the scan or a probability map; or save "
                    "the labels as 8-bit integers and say what each value stands for (remap)",
                )
        elif block.dtype.kind not in "iu":
            raise InputError(
                f"the {self.role} is not a label volume: its type is {block.dtype}",
                where=self.volume.path,
                mend="save the labels as 8-bit integers",
            )
        if block.size and not (block.min() >= 0 and block.max() < _STORED):
            raise InputError(
                f"the {self.role} is not a label volume: its values span "
                f"{block.min()}..{block.max()}",
                where=self.volume.path,
                mend="save the labels as 8-bit integers and say what each value stands for (remap)",
            )
        return block.astype(np.uint16)

    def foreign(self, block: npt.NDArray[Any], *, seen: Iterable[int] = ()) -> InputError:
        """Return the error for values outside the scheme, with the remap that would mend it.

        Args:
            block: The block that holds them.
            seen: Class values found in earlier blocks.
        """
        values = sorted({int(v) for v in np.unique(block)} | set(seen))
        scheme = f"{', '.join(f'{c.value} {c.name}' for c in self.scheme.classes)}"
        if self.role == "truth":
            scheme += f", {IGNORE} ignore"
        return InputError(
            f"the {self.role} holds values that are no class: found {_named(values)}, "
            f"the classes are {scheme}",
            where=self.volume.path,
            mend=offer(values, self.scheme, role=self.role),
        )


def offer(values: list[int], scheme: LabelScheme, *, role: str) -> str:
    """Suggest a remap for the values found in a label file.

    Args:
        values: The values found, ascending.
        scheme: The classes.
        role: ``truth`` or ``labels``: whose values they are.

    Returns:
        A sentence with the remap as options of the command; it says that it goes by order,
        because it is a suggestion.
    """
    bone = "bone" if "bone" in scheme.names else scheme.names[1]
    if len(values) == len(scheme):
        names = list(scheme.names)
    elif len(values) == 2:
        names = [scheme.names[0], bone]
    else:
        return (
            "say what each value stands for, for example "
            f"{spelled([values[0], values[-1]], [scheme.names[0], bone], role=role)} …; classes "
            f"are {', '.join(scheme.names)}, and ignore"
        )
    remap = spelled(values, names, role=role)
    return f"say what each value stands for: going by their order, {remap}"


def spelled(values: list[int], names: list[str], *, role: str) -> str:
    """Write a remap as options of ``osteon evaluate``.

    Args:
        values: The values in the file.
        names: The class of each.
        role: ``truth`` or ``labels``: whose values they are.

    Returns:
        Such as ``--remap 0=background --remap 255=bone``.
    """
    option = "--labels-remap" if role == "labels" else "--remap"
    return " ".join(f"{option} {v}={n}" for v, n in zip(values, names, strict=True))


def _named(values: list[int]) -> str:
    named = ", ".join(str(v) for v in values[:_MAX_NAMED])
    return named + (", …" if len(values) > _MAX_NAMED else "")


def _s(values: list[int]) -> str:
    return "s" if len(values) > 1 else ""
