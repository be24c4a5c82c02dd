"""Patches before and after augmentation, on one sheet: a PNG picture or an HTML page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from osteon.errors import UsageError
from osteon.files import refuse_existing, replacing
from osteon.labels import IGNORE, LabelScheme
from osteon.reports import pictures
from osteon.reports.blocks import Panel, Panels, Section
from osteon.reports.page import write_simple_report
from osteon.reports.pictures import Colour, Picture, Plane

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".html")
COLUMNS = ("patch", "its labels", "augmented", "its labels")

#: Pixels of the sheet: side of a picture, space between two, above a row, at the rim, between
#: the halves, above the first row.
_CELL, _GAP, _CAPTION, _RIM, _ALLEY, _HEAD = 256, 4, 44, 28, 44, 136
#: More rows than this go into two halves side by side.
_LONG = 6
_DPI = 100
_INK, _FAINT = "#1a1a1a", "#666666"
#: Characters of small print that fit above two pictures.
_SMALL_PRINT = 84


@dataclass(frozen=True)
class PatchPair:
    """A patch as it is cut and as it is learned from.

    Attributes:
        scan: Name of the scan.
        where: Which slice or slices it is from, in words.
        before: Normalised values (y, x), float32, before augmentation.
        before_labels: Labels (y, x), uint8, 255 = ignored.
        after: The same after augmentation.
        after_labels: Labels after augmentation.
        changes: What was done, in words.
        pixel_um: Size of a pixel in µm, None where unknown.
    """

    scan: str
    where: str
    before: Plane
    before_labels: Plane
    after: Plane
    after_labels: Plane
    changes: tuple[str, ...] = ()
    pixel_um: float | None = None

    def drawn(self, scheme: LabelScheme, window: tuple[float, float]) -> list[Picture]:
        """Draw the four pictures of :data:`COLUMNS`."""
        drawn = []
        both = (self.before, self.before_labels), (self.after, self.after_labels)
        for image, labels in both:
            drawn.append(pictures.slice_picture(image, window=window))
            drawn.append(pictures.slice_overlay(image, labels, scheme=scheme, window=window))
        return drawn

    @property
    def happened(self) -> str:
        """What was done, as a sentence without its full stop."""
        return ", ".join(self.changes) or "unchanged"


def check_target(path: str | Path, *, overwrite: bool) -> Path:
    """Refuse a target that cannot be written, before the work begins.

    Args:
        path: The target.
        overwrite: Whether it may be replaced.

    Returns:
        The path.

    Raises:
        UsageError: If the suffix is neither ``.png`` nor ``.html``.
        OutputError: If the file exists and may not be replaced.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"a preview is a PNG picture or an HTML page, not '{path.suffix or path.name}'",
            where=path,
            mend="end the name in .png or .html",
        )
    refuse_existing(path, overwrite=overwrite)
    return path


def write_preview(
    path: str | Path,
    rows: Sequence[PatchPair],
    *,
    scheme: LabelScheme,
    title: str,
    notes: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write a sheet of patches. All are drawn in one window of grey values.

    Args:
        path: The target, ``.png`` or ``.html``.
        rows: The patches.
        scheme: The classes and their colours.
        title: Heading.
        notes: Sentences below it.
        overwrite: Replace an existing file.

    Raises:
        UsageError: If the suffix is neither, or there are no patches.
        OutputError: If the file exists or cannot be written.
    """
    path = check_target(path, overwrite=overwrite)
    if not rows:
        raise UsageError("there are no patches to show", where=path)
    window = pictures.contrast_window(np.concatenate([row.before.ravel() for row in rows]))
    if path.suffix.lower() == ".html":
        sections = [_section(rows, scheme, window)]
        write_simple_report(
            path, title=title, sections=sections, summary=notes, overwrite=overwrite
        )
        return
    # Imported here: `osteon --help` must not pay for it.
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = _sheet(rows, scheme=scheme, window=window, title=title, notes=notes)
        with replacing(path) as partial:
            figure.savefig(partial, format="png", dpi=_DPI)


def _legend(rows: Sequence[PatchPair], scheme: LabelScheme) -> list[tuple[str, Colour]]:
    legend = [(c.name, c.colour) for c in scheme.classes[1:]]
    if any((labels == IGNORE).any() for r in rows for labels in (r.before_labels, r.after_labels)):
        legend.append(("not labelled, or outside of the patch", pictures.UNLABELLED))
    return legend


def _section(
    rows: Sequence[PatchPair], scheme: LabelScheme, window: tuple[float, float]
) -> Section:
    blocks = []
    for row in rows:
        bar = pictures.scale_bar(row.before.shape[1], row.pixel_um)
        legend = _legend([row], scheme)
        panels = [
            Panel(
                name.capitalize(),
                pictures.data_uri(picture),
                picture.shape[1],
                picture.shape[0],
                bar if number < 2 else None,  # augmentation may have scaled the others
                legend if number % 2 else (),
            )
            for number, (name, picture) in enumerate(
                zip(COLUMNS, row.drawn(scheme, window), strict=True)
            )
        ]
        blocks.append(Panels(f"{row.scan} · {row.where}", panels, f"Augmented: {row.happened}."))
    return Section("Patches", blocks)


def _sheet(
    rows: Sequence[PatchPair],
    *,
    scheme: LabelScheme,
    window: tuple[float, float],
    title: str,
    notes: Sequence[str],
) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    halves = 1 if len(rows) <= _LONG else 2
    high = -(-len(rows) // halves)
    half = 4 * _CELL + 3 * _GAP
    width = 2 * _RIM + halves * half + (halves - 1) * _ALLEY
    height = _HEAD + high * (_CAPTION + _CELL) + _RIM
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    sheet = _Sheet(figure, width, height)
    sheet.text(_RIM, _RIM, title, size=15, weight="bold")
    sheet.text(_RIM, _RIM + 26, "   ".join(notes), size=9, color=_FAINT)
    sheet.legend(_RIM, _RIM + 52, _legend(rows, scheme))
    for number in range(4 * halves):
        x = _RIM + number // 4 * (half + _ALLEY) + number % 4 * (_CELL + _GAP)
        sheet.text(x, _HEAD - 24, COLUMNS[number % 4].upper(), size=8, color=_FAINT)
    for number, row in enumerate(rows):
        left = _RIM + number // high * (half + _ALLEY)
        top = _HEAD + number % high * (_CAPTION + _CELL)
        _row(sheet, row, left, top, row.drawn(scheme, window))
    return figure


def _row(sheet: _Sheet, row: PatchPair, left: int, top: int, drawn: list[Picture]) -> None:
    after = left + 2 * (_CELL + _GAP)
    size = "" if row.pixel_um is None else f"  ·  {row.pixel_um:.3g} µm a pixel"
    sheet.text(left, top + 7, textwrap.shorten(row.scan, 44, placeholder=" …"), weight="bold")
    sheet.text(left, top + 23, f"{row.where}{size}", size=8, color=_FAINT)
    lines = textwrap.wrap(row.happened, _SMALL_PRINT, max_lines=2, placeholder=" …")
    for number, line in enumerate(lines):
        # One line stands where the second of two would, next to its picture.
        y = top + 23 - 14 * (len(lines) - 1 - number)
        sheet.text(after, y, line, size=8, color=_INK)
    for number, picture in enumerate(drawn):
        sheet.picture(left + number * (_CELL + _GAP), top + _CAPTION - 4, picture)


@dataclass(frozen=True)
class _Sheet:
    """A figure that is drawn on in pixels from its upper left corner."""

    figure: Figure
    width: int
    height: int

    def text(self, x: float, y: float, text: str, *, size: float = 10, **style: Any) -> None:
        # No text of ours is mathematics: a name may hold dollar signs.
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            text,
            size=size,
            va="top",
            parse_math=False,
            **({"color": _INK} | style),
        )

    def picture(self, x: float, y: float, picture: Picture) -> None:
        axes = self.figure.add_axes(
            (
                x / self.width,
                1 - (y + _CELL) / self.height,
                _CELL / self.width,
                _CELL / self.height,
            )
        )
        axes.imshow(picture, interpolation="auto")
        axes.set_axis_off()

    def legend(self, x: float, y: float, entries: Sequence[tuple[str, Colour]]) -> None:
        from matplotlib.patches import Rectangle

        for name, colour in entries:
            corner = x / self.width, 1 - (y + 12) / self.height
            self.figure.add_artist(
                Rectangle(
                    corner,
                    12 / self.width,
                    12 / self.height,
                    facecolor=[c / 255 for c in colour],
                    transform=self.figure.transFigure,
                )
            )
            self.text(x + 18, y, name, size=9)
            x += 18 + 7.2 * len(name) + 22
