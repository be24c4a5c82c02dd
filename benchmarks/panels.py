"""A picture of rows of panels with a title over each column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

#: Height of the line of titles, and of its letters, in pixels.
LINE, LETTERS = 28, 18


def save_panels(
    rows: Sequence[Sequence[npt.NDArray[np.uint8]]], titles: Sequence[str], target: Path
) -> None:
    """Write them as a file with 255 colours.

    Args:
        rows: The panels of each row, (y, x, 3); all of one width, those of a row of one height.
        titles: Of the columns.
        target: The file, a PNG.
    """
    whole = Image.fromarray(np.vstack([np.hstack(row) for row in rows]))
    canvas = Image.new("RGB", (whole.width, whole.height + LINE), "white")
    canvas.paste(whole, (0, LINE))
    for column, title in enumerate(titles):
        place = (column * whole.width // len(titles) + 8, 4)
        ImageDraw.Draw(canvas).text(place, title, fill="black", font_size=LETTERS)
    target.parent.mkdir(parents=True, exist_ok=True)
    canvas.quantize(255, Image.Quantize.MAXCOVERAGE).save(target, optimize=True)
