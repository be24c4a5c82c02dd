"""What several groups of settings share: choices by name, checks against the tables."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import BeforeValidator

from osteon.errors import UsageError
from osteon.registry import Table

#: Rows that a message lists; of a longer table only those of a similar name.
_LISTED = 15

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def choice(default: str) -> BeforeValidator:
    """Let a choice be given by its name alone, or by parameters of the default alone.

    Args:
        default: Name of the default.

    Returns:
        A validator for pydantic.
    """

    def by_name(value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "name" not in value:
            return {"name": default, **value}
        return value

    return BeforeValidator(by_name)


def at_least_one(value: int | str) -> int | str:
    """Refuse a number below 1.

    Args:
        value: A number, or ``auto``.

    Raises:
        ValueError: If it is a number below 1.
    """
    if isinstance(value, int) and value < 1:
        raise ValueError("must be at least 1, or auto")
    return value


def yes_or_no(value: object) -> object:
    """Take a choice that has the words ``yes`` and ``no`` among others, as YAML reads them.

    Args:
        value: A word, or what YAML makes of a plain yes or no: true or false.

    Returns:
        The word.
    """
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def known(table: Table, name: str) -> str:
    """Find the name of a row.

    Args:
        table: The table.
        name: Its name or an alias.

    Returns:
        The row's name.

    Raises:
        ValueError: If there is no such row; pydantic turns it into a message.
    """
    try:
        return table.row(name).name
    except UsageError:
        pass
    near = difflib.get_close_matches(name.lower(), table.names(), n=3, cutoff=0.5)
    *more, last = near or [""]
    hint = f"; did you mean {', '.join(more)}{' or ' if more else ''}{last}?" if near else ";"
    rest = f"choose one of: {', '.join(table.names())}"
    if len(table) > _LISTED:
        rest = "`osteon model list` shows all"
    raise ValueError(f"there is none of this name{hint} {rest}")
