"""What the data doctor finds: each in plain words, with where it is and how to mend it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: ``error``: a fit would fail or mislead; ``warning``: look at it; ``note``: good
            to know.
        name: A stable kebab-case name, for scripts.
        where: The scan, file or slice.
        text: What was found.
        mend: What to do about it; empty where nothing needs to be done.
    """

    severity: Severity
    name: str
    where: str
    text: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return a JSON-compatible dictionary."""
        return asdict(self)


def ordered(findings: list[Finding]) -> list[Finding]:
    """Sort findings: errors first, else in the order they were found.

    Args:
        findings: The findings.
    """
    return sorted(findings, key=lambda finding: _ORDER[finding.severity])


def numbers(indexes: list[int], *, most: int = 6) -> str:
    """List slice indexes for a message, shortened.

    Args:
        indexes: The indexes.
        most: How many are listed.
    """
    more = f" and {len(indexes) - most} more" if len(indexes) > most else ""
    return ", ".join(str(i) for i in indexes[:most]) + more
