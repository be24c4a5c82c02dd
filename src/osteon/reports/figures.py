"""Curves as SVG drawings inside the page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import numpy.typing as npt

from osteon.labels import LabelScheme
from osteon.reports.blocks import as_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Dash patterns besides the colours: curves stay apart in grey print.
_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))

P = ParamSpec("P")

#: DejaVu comes with matplotlib and measures the text; the page's fonts are narrower.
_FONTS = ["DejaVu Sans", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif"]

#: Up to this many points are marked one by one.
_MARKED = 40
#: A loss so many times the middle one would flatten all the others on a linear axis.
_WILD = 30

#: Characters of a title that fit across a drawing.
_TITLE = 80

#: Curves by slice are drawn for this many scans.
MAX_SCANS = 12

#: Okabe–Ito without its yellow, which is hard to see on white.
_SCANS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")

_TRAIN, _VALIDATION, _RATE = "#0072b2", "#d55e00", "#555555"  # Okabe–Ito blue and vermillion


def _styled(draw: Callable[P, str]) -> Callable[P, str]:
    """Draw under settings of our own, whatever the user's matplotlibrc says."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> str:
        # Imported here: `osteon --help` must not pay for it.
        import matplotlib

        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            # Text as text, in the page's own font; the salt keeps ids of two drawings apart.
            matplotlib.rcParams.update(
                {
                    "svg.fonttype": "none",
                    "svg.hashsalt": draw.__name__,
                    "font.size": 11,
                    "font.sans-serif": _FONTS,
                }
            )
            return draw(*args, **kwargs)

    return drawn


@_styled
def fit_curves(
    history: Sequence[Mapping[str, object]], *, scheme: LabelScheme, best_epoch: int | None
) -> str:
    """Draw loss, validation IoU and learning rate against the epoch.

    Args:
        history: A row an epoch: ``epoch``, ``train_loss``, ``val_loss``, ``val_mean_iou``,
            ``val_iou_<class>``, ``learning_rate``; what is missing or NaN is left out.
        scheme: The classes, for names and colours.
        best_epoch: The epoch whose weights were kept, marked by a line.

    Returns:
        An ``<svg>`` element.
    """
    figure = _figure(11.0, 3.7)
    loss, iou, rate = figure.subplots(1, 3, width_ratios=[4, 4, 2.6])
    epochs = [as_number(row.get("epoch")) for row in history]

    def draw(axes: Axes, key: str, label: str, **style: Any) -> None:
        _curve(axes, epochs, [as_number(row.get(key)) for row in history], label, **style)

    draw(loss, "train_loss", "training", color=_TRAIN)
    draw(loss, "val_loss", "validation", color=_VALIDATION, linestyle="--")
    draw(iou, "val_mean_iou", "mean", color="#777777", linewidth=3.0)
    for c, style in zip(scheme.classes, _styles(scheme), strict=True):
        draw(iou, f"val_iou_{c.name}", c.name, **style)
    draw(rate, "learning_rate", "", color=_RATE)
    for axes, title in ((loss, "Loss"), (iou, "Validation IoU"), (rate, "Learning rate")):
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel("epoch")
        _whole_numbers(axes)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="#000000", linewidth=1.0, alpha=0.5, linestyle=":")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best")
    rate.yaxis.set_major_formatter("{x:g}")
    _show_small_losses(loss)
    return _svg(figure)


def _show_small_losses(axes: Axes) -> None:
    """Take a logarithmic axis where a single wild epoch would flatten all the others."""
    drawn = [
        np.asarray(line.get_ydata(), np.float64)
        for line in axes.get_lines()
        if not str(line.get_label()).startswith("_")
    ]
    losses = sorted(float(y) for values in drawn for y in values if math.isfinite(y))
    if losses and losses[0] > 0 and losses[-1] > _WILD * losses[len(losses) // 2]:
        axes.set_yscale("log")
        axes.set_title("Loss (logarithmic)", loc="left", fontweight="bold")


@_styled
def slice_curves(
    scans: Mapping[str, npt.NDArray[np.float64]], *, scheme: LabelScheme, label: str = "IoU"
) -> str:
    """Draw a score by slice, a panel a scan, a curve a class.

    Args:
        scans: Name of the scan → float64 (z, K), NaN where a class is absent; the first
            MAX_SCANS are drawn.
        scheme: The classes, for names and colours.
        label: Name of the score.

    Returns:
        An ``<svg>`` element.
    """
    shown = list(scans.items())[:MAX_SCANS]
    low = _lowest_tenth([values for _, values in shown])
    columns = 1 if len(shown) == 1 else 2
    rows = math.ceil(len(shown) / columns)
    figure = _figure(11.0, (3.2 if columns == 1 else 2.7) * rows + 0.4)
    grid = np.atleast_1d(figure.subplots(rows, columns, sharey=True, squeeze=False)).ravel()
    for axes, (name, values) in zip(grid, shown, strict=False):
        z = list(range(len(values)))
        for c, style in zip(scheme.classes, _styles(scheme), strict=True):
            _curve(axes, z, [float(v) for v in values[:, c.value]], c.name, **style)
        axes.set_title(_text(name, _TITLE // columns), loc="left", fontweight="bold")
        axes.set_xlabel("slice (z)")
        axes.set_ylabel(label)
        axes.set_ylim(low, 1.02)
        _whole_numbers(axes)
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels() if len(grid) else ([], [])
    for axes in grid[1 : len(shown)]:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            if text not in labels:
                handles.append(handle)
                labels.append(text)
    if handles:
        figure.legend(handles, labels, loc="outside upper right", ncols=len(handles))
    return _svg(figure)


@_styled
def paired_values(
    lines: Mapping[str, Sequence[float]], *, models: Sequence[str], label: str
) -> str:
    """Draw a value of each scan under each model, joined by a line.

    Args:
        lines: Name of the scan → a value a model, NaN where there is none.
        models: Names of the models.
        label: What the values are.

    Returns:
        An ``<svg>`` element.
    """
    figure = _figure(11.0, 3.4)
    axes = figure.subplots()
    places = list(range(len(models)))
    for index, (name, values) in enumerate(lines.items()):
        style = {"color": _SCANS[index % len(_SCANS)], "linestyle": _DASHES[index % len(_DASHES)]}
        _curve(axes, places, values, name if len(lines) <= MAX_SCANS else "", **style)
    axes.set_xticks(places, [_text(m, 24) for m in models])
    axes.set_xlim(-0.3, len(models) - 0.7)
    axes.set_ylabel(_text(label))
    axes.grid(visible=True, axis="y", color="#e3e6e9", linewidth=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper")
    return _svg(figure)


def _lowest_tenth(values: Sequence[npt.NDArray[np.float64]]) -> float:
    """Return where the axis begins: the tenth below every score, so that differences are seen."""
    finite = [v[np.isfinite(v)] for v in values]
    lowest = min((float(v.min()) for v in finite if v.size), default=0.0)
    return min(0.9, math.floor(lowest * 10) / 10) - 0.02


def _styles(scheme: LabelScheme) -> list[dict[str, Any]]:
    return [
        {
            "color": tuple(v / 255 for v in c.colour),
            "linestyle": _DASHES[c.value % len(_DASHES)],
        }
        for c in scheme.classes
    ]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _curve(axes: Axes, x: Sequence[float], y: Sequence[float], label: str, **style: Any) -> None:
    points = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a)]
    if not any(math.isfinite(b) for _, b in points):
        return
    marker = "o" if len(points) <= _MARKED else None
    axes.plot(
        [a for a, _ in points],
        [b if math.isfinite(b) else math.nan for _, b in points],
        **{"label": _text(label) or None, "marker": marker, "markersize": 3.5, "linewidth": 1.8}
        | style,
    )


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=True, color="#e3e6e9", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _text(name: str, longest: int = _TITLE) -> str:
    # Cut in the middle: what tells scans apart is often a number at the end.
    if len(name) > longest:
        half = longest // 2
        name = f"{name[:half]}…{name[-half:]}"
    # Names are texts, never formulas: matplotlib would set $…$ as mathematics.
    return name.replace("$", r"\$")


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Ids such as axes_1 would occur once a drawing; nothing refers to them.
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)
    return re.sub(r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', svg)
