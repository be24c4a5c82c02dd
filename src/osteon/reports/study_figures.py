"""The drawings of a study's report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from osteon.reports.blocks import as_number
from osteon.reports.figures import (
    _DASHES,
    _SCANS,
    _curve,
    _figure,
    _styled,
    _svg,
    _text,
    _whole_numbers,
)

#: Curves are named in a legend up to this many.
_NAMED = 10
#: Panels beside each other.
_PANELS = 4


@_styled
def learning_curves(curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw the validation IoU of each run against the epoch.

    Args:
        curves: Name → (epoch, IoU); runs of a group have the same name before a ``/``.

    Returns:
        An ``<svg>`` element.
    """
    figure = _figure(11.0, 3.8)
    axes = figure.subplots()
    groups = list(dict.fromkeys(name.partition("/")[0] for name in curves))
    seen: set[str] = set()
    for name, points in curves.items():
        group = name.partition("/")[0]
        at = groups.index(group)
        label = group if group not in seen and len(groups) <= _NAMED else ""
        seen.add(group)
        style = {"color": _SCANS[at % len(_SCANS)], "linestyle": _DASHES[at // len(_SCANS) % 5]}
        _curve(axes, [x for x, _ in points], [y for _, y in points], label, alpha=0.7, **style)
    axes.set_xlabel("epoch")
    _whole_numbers(axes)
    axes.set_ylabel("validation mean IoU")
    axes.grid(visible=True, color="#e3e6e9", linewidth=0.8)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper")
    return _svg(figure)


@_styled
def iou_against_cost(groups: Sequence[Mapping[str, object]]) -> str:
    """Draw the mean IoU of each group against its operations a patch, with the Pareto front.

    Args:
        groups: Rows with ``group``, ``gflops_per_patch``, ``mean_iou``, ``low``, ``high``,
            ``pareto``.

    Returns:
        An ``<svg>`` element.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = _figure(11.0, 4.2)
    axes = figure.subplots()
    front = []
    for row in groups:
        x, y = as_number(row["gflops_per_patch"]), as_number(row["mean_iou"])
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        low, high = as_number(row["low"]), as_number(row["high"])
        colour = "#d55e00" if row["pareto"] else "#0072b2"
        if math.isfinite(low) and math.isfinite(high):
            axes.plot([x, x], [low, high], color=colour, linewidth=1.2, alpha=0.6)
        axes.plot([x], [y], "o", color=colour, markersize=5)
        if row["pareto"]:
            front.append((x, y))
            axes.annotate(_text(str(row["group"]), 30), (x, y), (4, 4), textcoords="offset points")
    front.sort()
    axes.plot([x for x, _ in front], [y for _, y in front], color="#d55e00", linestyle="--")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")  # not 3 × 10⁰
    axes.xaxis.set_minor_formatter(NullFormatter())  # 8 and 9 would touch 10
    axes.set_xlabel("GFLOPs a patch (forward)")
    axes.set_ylabel("validation mean IoU")
    axes.grid(visible=True, color="#e3e6e9", linewidth=0.8)
    return _svg(figure)


@_styled
def iou_against_traits(
    scans: Sequence[Mapping[str, object]], traits: Mapping[str, str], *, ylabel: str
) -> str:
    """Draw the IoU of each scan against what scans are like, a panel a trait.

    Args:
        scans: Rows with ``mean_iou`` and the traits.
        traits: Name of a trait → label of its axis.
        ylabel: Label of the other axis.

    Returns:
        An ``<svg>`` element.
    """
    columns = min(_PANELS, len(traits))
    lines = math.ceil(len(traits) / columns)
    figure = _figure(11.0, 2.9 * lines)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes, (name, label) in zip(grid.flat, traits.items(), strict=False):
        points = [(as_number(row.get(name)), as_number(row["mean_iou"])) for row in scans]
        shown = [point for point in points if all(map(math.isfinite, point))]
        axes.plot([x for x, _ in shown], [y for _, y in shown], "o", color="#0072b2", alpha=0.8)
        axes.set_xlabel(label)
        axes.grid(visible=True, color="#e3e6e9", linewidth=0.8)
    for axes in grid[:, 0]:
        axes.set_ylabel(ylabel)
    for axes in list(grid.flat)[len(traits) :]:
        axes.set_visible(False)
    return _svg(figure)
