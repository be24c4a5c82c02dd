"""The classes of a segmentation: their names, values and colours."""

from __future__ import annotations

from dataclasses import dataclass

from osteon.errors import UsageError

#: Marks voxels that are not labelled; used inside osteon, never written as a class.
IGNORE = 255

#: Largest level of red, green or blue.
BRIGHTEST = 255

#: Version of the labelling protocol (docs/labelling.md) that masks are assumed to follow.
PROTOCOL = "bone-pores/1"


@dataclass(frozen=True)
class LabelClass:
    """One class.

    Attributes:
        name: Name, such as ``bone``.
        value: Value in label volumes, 0..254.
        colour: Red, green and blue, 0..255.
    """

    name: str
    value: int
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class LabelScheme:
    """The classes of a dataset or model; values are 0..K-1 in order.

    Attributes:
        classes: The classes, in order of their values.
        protocol: Name and version of the protocol the labels follow.
    """

    classes: tuple[LabelClass, ...]
    protocol: str = PROTOCOL

    def __post_init__(self) -> None:
        names = [c.name for c in self.classes]
        if [c.value for c in self.classes] != list(range(len(self.classes))):
            raise UsageError("label values must be 0, 1, 2 … without gaps", where=", ".join(names))
        if not 2 <= len(names) <= IGNORE or len(set(names)) != len(names) or "ignore" in names:
            raise UsageError(
                "a label scheme needs 2 to 255 classes with different names, none called 'ignore'",
                where=", ".join(names),
            )
        for c in self.classes:
            if not all(0 <= level <= BRIGHTEST for level in c.colour):
                raise UsageError(
                    f"the colour of class '{c.name}' must be three numbers from 0 to {BRIGHTEST}",
                    where=str(c.colour),
                )

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes, in order of their values."""
        return tuple(c.name for c in self.classes)

    def value(self, name: str) -> int:
        """Return the value of a class; ``ignore`` gives 255.

        Args:
            name: Name of the class, or ``ignore``.

        Returns:
            The value in label arrays.

        Raises:
            UsageError: If there is no such class.
        """
        if name == "ignore":
            return IGNORE
        for c in self.classes:
            if c.name == name:
                return c.value
        raise UsageError(
            f"there is no class '{name}'",
            mend=f"use one of: {', '.join((*self.names, 'ignore'))}",
        )

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-compatible description; :meth:`from_dict` reads it back."""
        return {
            "protocol": self.protocol,
            "classes": [
                {"name": c.name, "value": c.value, "colour": list(c.colour)} for c in self.classes
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> LabelScheme:
        """Build a scheme from :meth:`as_dict`.

        Args:
            data: A dictionary with ``protocol`` and ``classes``.

        Returns:
            The scheme.

        Raises:
            UsageError: If an entry is missing or of the wrong kind.
        """
        try:
            rows = data["classes"]
            if not isinstance(rows, list):
                raise TypeError("classes is not a list")
            classes = tuple(
                LabelClass(str(r["name"]), int(r["value"]), _colour(r["colour"])) for r in rows
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"the label scheme cannot be read: {error}") from error
        return cls(classes, str(data.get("protocol", PROTOCOL)))


def _colour(value: list[int]) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in value)
    return red, green, blue


#: The default classes. Colours are from the Okabe–Ito palette, safe for the colour-blind.
BONE_PORES = LabelScheme(
    (
        LabelClass("background", 0, (0, 0, 0)),
        LabelClass("bone", 1, (230, 159, 0)),
        LabelClass("pores", 2, (86, 180, 233)),
    )
)
