"""What was seen of a scan's grey values, kept for the next model and the next window."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from osteon import __version__
from osteon.errors import OsteonError, OutputError
from osteon.events import Reporter
from osteon.files import write_json
from osteon.formats.cache.users import cache_root
from osteon.intensity import Statistics
from osteon.prediction import Looks
from osteon.prediction.features import RECIPE, Features
from osteon.volume import Volume
from osteon.workflows.predicting_kept import files_digest
from osteon.workflows.record import read_json

#: Schema of the file.
SCHEMA = 2
#: Scans that are remembered, about 1 kB each; those seen longest ago give way.
MOST = 1000


class KeptLooks(Looks):
    """Keeps what was seen of one scan in osteon's cache folder.

    The statistics of 64 large slices take longer than labelling one. They are those of the same
    files (by name, size and time of change) and the same osteon, or they are taken anew.

    Args:
        scan: A folder of slices, or a file.

    Raises:
        InputError: If a file of the scan is gone.
    """

    def __init__(self, scan: Path):
        text = f"{scan.resolve()} | {files_digest(scan)} | osteon {__version__}"
        self.path = cache_root() / "seen" / f"{hashlib.sha256(text.encode()).hexdigest()}.json"

    def statistics(self, volume: Volume, recipe: str, *, reporter: Reporter) -> Statistics:
        """Return the statistics; see :meth:`osteon.prediction.Looks.statistics`."""
        with contextlib.suppress(OsteonError, KeyError, TypeError, AttributeError):
            return Statistics.from_dict(self._kept()["statistics"][recipe])
        found = super().statistics(volume, recipe, reporter=reporter)
        self._keep("statistics", recipe, found.as_dict())
        return found

    def features(self, volume: Volume, known: Statistics) -> Features:
        """Return what the scan shows; see :meth:`osteon.prediction.Looks.features`."""
        with contextlib.suppress(OsteonError, KeyError, TypeError, AttributeError):
            return Features(**self._kept()["features"][RECIPE])
        found = super().features(volume, known)
        self._keep("features", RECIPE, asdict(found))
        return found

    def _kept(self) -> dict[str, Any]:
        found = read_json(self.path)
        return found if found.get("schema") == SCHEMA else {}

    def _keep(self, kind: str, recipe: str, seen: Mapping[str, object]) -> None:
        try:
            kept = self._kept()
        except OsteonError:
            kept = {}  # the first, or damaged
        data = {**kept, "schema": SCHEMA, kind: {**kept.get(kind, {}), recipe: seen}}
        # Without it the next start looks again, to the same end.
        with contextlib.suppress(OutputError, OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, data)
            files = sorted(self.path.parent.glob("*.json"), key=lambda p: -p.stat().st_mtime)
            for old in files[MOST:]:
                old.unlink(missing_ok=True)
