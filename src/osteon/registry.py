"""Named tables of choices: networks, losses, formats, backends and so on.

A table is declared without importing what its rows stand for: a row holds an
import path that is resolved when it is used. So ``osteon --help``, the
settings and the GUI's forms can list every choice in milliseconds.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points

from osteon.errors import DependencyError, UsageError, warn

#: A longer list of names is no help in a message.
_MOST_LISTED = 30


@dataclass(frozen=True)
class Row:
    """One choice of a table.

    Attributes:
        name: The name in settings, files and on the command line.
        help: One line for ``--help`` and the GUI.
        target: Import path of the implementation, ``package.module:attribute``.
        capabilities: What the rest of the program needs to know without
            loading it (size divisor, 2D/3D, suffixes, …).
        aliases: Other spellings that are accepted on input.
        extra: Name of the optional dependency group it needs, if any.
    """

    name: str
    help: str
    target: str
    capabilities: Mapping[str, object] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    extra: str | None = None


class Table:
    """A named table of rows; third parties add rows by the entry-point group ``osteon.<name>``.

    Args:
        name: Name of the table, plural, such as ``losses``.
        rows: The rows that come with osteon.
        rule: Makes rows of names that are too many to list: given a name in lower case that no
            row has, it returns its row, None if the name is none of its, or raises
            :class:`~osteon.errors.UsageError` if it is one of its but wrong. Such rows are found
            by name; iteration and :meth:`names` do not give them.
    """

    def __init__(
        self,
        name: str,
        rows: tuple[Row, ...],
        *,
        rule: Callable[[str], Row | None] | None = None,
    ):
        self.name = name
        self._rule = rule
        self._rows: dict[str, Row] = {}
        self._looked_up = False
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Add a row.

        Args:
            row: The row; its name and aliases must be new to the table.

        Raises:
            UsageError: If the name is taken.
        """
        taken = {name.lower() for other in self._rows.values() for name in _spellings(other)}
        for name in _spellings(row):
            if name.lower() in taken:
                raise UsageError(f"{self.name}: the name '{name}' is taken", where=row.target)
        self._rows[row.name] = row

    def _plugins(self) -> None:
        # Looked up on first use only: scanning installed distributions takes tens of milliseconds.
        if self._looked_up:
            return
        self._looked_up = True
        for point in entry_points(group=f"osteon.{self.name}"):
            row = point.load()
            try:
                if not isinstance(row, Row):
                    raise UsageError(f"{self.name}: not an osteon.registry.Row")
                self.add(row)
            except UsageError as error:
                warn("plugin-ignored", f"an extension was ignored: {error.what}", where=point.value)

    def __iter__(self) -> Iterator[Row]:
        self._plugins()
        return iter(tuple(self._rows.values()))

    def __len__(self) -> int:
        self._plugins()
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        try:
            return self._find(name.lower()) is not None
        except UsageError:
            return False

    def _find(self, wanted: str) -> Row | None:
        for row in self:
            if wanted in (known.lower() for known in _spellings(row)):
                return row
        return None if self._rule is None else self._rule(wanted)

    def names(self) -> list[str]:
        """Return the names of all rows, in the order of the table."""
        return [row.name for row in self]

    def row(self, name: str) -> Row:
        """Find a row by name or alias.

        Args:
            name: The name; case does not matter.

        Returns:
            The row.

        Raises:
            UsageError: If there is none; the message suggests the nearest names.
        """
        wanted = name.lower()
        found = self._find(wanted)
        if found is not None:
            return found
        near = difflib.get_close_matches(wanted, self.names(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        names = self.names()
        listed = f"choose one of: {', '.join(names)}"
        if len(names) > _MOST_LISTED:
            listed = "`osteon model list` prints them all"
        raise UsageError(f"{self.name}: there is no '{name}'", mend=hint + listed)

    def load(self, name: str) -> object:
        """Import and return the implementation of a row.

        Args:
            name: The row's name or alias.

        Returns:
            The object at the row's import path.

        Raises:
            UsageError: If there is no such row.
            DependencyError: If the row needs an optional library that is not installed.
        """
        row = self.row(name)
        module_name, _, attribute = row.target.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if row.extra is None:
                raise
            raise DependencyError(
                f"'{row.name}' needs the Python package '{error.name}', which is not installed",
                mend=f"pip install 'osteon[{row.extra}]'",
            ) from error
        loaded: object = getattr(module, attribute)
        return loaded


def _spellings(row: Row) -> tuple[str, ...]:
    return (row.name, *row.aliases)
