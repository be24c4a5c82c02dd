"""The commands about the disk cache."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from osteon.cli.console import Console, Say
from osteon.cli.options import AsJson, run_command

if TYPE_CHECKING:
    from osteon.formats.cache import Entry

cache_app = typer.Typer(
    no_args_is_help=True,
    help="Look at, and clear, the copies on disk of scans that are slow to read in parts.",
)


@cache_app.command("show")
def cache_show(as_json: AsJson = False) -> None:
    """List the copies: size, when made and last used, source; and the bound of the cache."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.formats import cache

        found = cache.entries()
        total, bound = sum(entry.bytes for entry in found), cache.cache_bound()
        if found:
            console.say(f"{'size':>9}  {'made':<16}  {'last used':<16}  source")
        for entry in found:
            times = f"{_time(entry.made):<16}  {_time(entry.used):<16}"
            console.say(f"{size(entry.bytes):>9}  {times}  {entry.source}{_marks(entry)}")
        console.say(f"{size(total)} of at most {size(bound)} in {cache.cache_folder()}")
        console.say(f"the bound is set by {cache.SIZE_VARIABLE}, the place by {cache.VARIABLE}")
        return {
            "folder": str(cache.cache_folder()),
            "bytes": total,
            "bound_bytes": bound,
            "entries": [entry.as_dict() for entry in found],
        }

    run_command("cache show", work, as_json=as_json, events=Say.TEXT)


@cache_app.command("clear")
def cache_clear(
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than",
            metavar="DAYS",
            min=0,
            help="Keep what was used in the last so many days (0: nothing).",
        ),
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Remove the copies; they are made again when they are needed. What a run uses is kept."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.formats import cache

        removed = cache.clear_cache(older_than_days=older_than)
        kept = cache.entries()
        freed = sum(entry.bytes for entry in removed)
        console.say(f"freed {size(freed)}: {_copies(len(removed))} removed")
        in_use = sum(entry.in_use for entry in kept)
        if in_use:
            console.say(f"kept: {_copies(in_use)} that a running command uses")
        return {
            "freed_bytes": freed,
            "removed": [entry.as_dict() for entry in removed],
            "kept": [entry.as_dict() for entry in kept],
        }

    run_command("cache clear", work, as_json=as_json, events=Say.TEXT)


def size(count: int) -> str:
    """Write a size with the unit that suits it, in powers of 1000 as disks are sold.

    Args:
        count: Bytes.

    Returns:
        The text, such as ``1.3 GB``.
    """
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _marks(entry: Entry) -> str:
    marks = ["in use"] if entry.in_use else []
    if not entry.source_exists:
        marks.append("the source is gone")
    return f"  ({', '.join(marks)})" if marks else ""


def _copies(number: int) -> str:
    return f"{number} cop{'y' if number == 1 else 'ies'}"
