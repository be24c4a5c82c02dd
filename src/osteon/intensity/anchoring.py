"""The recipe ``edges``: grey values anchored on both sides of the edges of bone.

Means and percentiles of all voxels move with the share of air in view. The edges of bone do not:
the bright side of a strong edge is bone, the dark side what fills the pores. In each sampled
slice, smoothed by a Gaussian, the ridges of the gradient (Canny 1986, 10.1109/TPAMI.1986.4767851,
non-maximum suppression) are found; from each the grey value is followed up- and downhill to where
it levels off. The medians of both sides, weighted by the cube of the gradient, are the anchors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from osteon.volume import Array

Float = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Standard deviation in pixels of the Gaussian before the gradient is taken.
SMOOTHING = 1.5
#: The same before a side's grey value is read: less, as thin trabeculae would fade.
LIGHT_SMOOTHING = 0.7
#: Pixels that are followed up- and downhill from an edge.
REACH = 5
#: The noise's gradient is judged by this quantile: its magnitude has a Rayleigh distribution.
NOISE_QUANTILE = 0.2
#: A gradient below so many times the noise's is no edge.
LEAST_STRENGTH = 3.0
#: The common edge must be as strong as this, or …
BONE_STRENGTH = 4.0
#: … so well aligned with those next to it (cosine of the angle between them, on average), or there
#: are none that could be bone's. Where trabeculae fill the picture there is no quiet place that
#: the noise could be judged by; but noise has no lines. Measured: noise 0.05 to 0.2 (correlated
#: over up to 1.2 pixels), the middles of real vertebrae 0.6 to 0.7, made-up struts 0.36 to 0.8.
BONE_ALIGNMENT = 0.3
#: An edge counts by the square of its alignment, from this on: noise among bone counts less.
LEAST_ALIGNMENT = 0.1
#: Pixels along an edge to the ones it is compared with.
ALONG = 6
#: At least this share of a slice's pixels is looked at for edges, however weak they are.
LOOKED_AT = 0.1
#: The typical edge is sought by the squares of gradients; above so many times the common one they
#: count no more than that: metal.
MOST = 3.0
#: Edges below this share of the typical strength do not count …
WEAKEST = 0.5
#: … and those above so many times it count no more than that: metal.
STRONGEST = 1.5
#: The gradient's power that an edge counts by.
POWER = 3
#: Edges kept of a slice, evenly spaced in memory order; each stands for those left out.
EDGES_PER_SLICE = 8192
#: Fewer edges than this in all the sample say nothing.
FEWEST = 20
#: Without edges: this many SD of the grey values lie between the anchors.
WIDTH_WITHOUT_EDGES = 20.0
#: Side in pixels of the smallest square of one exact value that can be padding.
FLAT_SIDE = 7
#: The share of a slice that such areas of one value must have.
FLAT_SHARE = 0.01
#: Pixels around padding in which no edge is looked for.
PADDING_MARGIN = 6
#: Grey values at a border of padding reach this share of those 2 pixels further in at once; at
#: the border of an object that is cut off by the grey window they rise over some pixels.
ABRUPT = 0.75
#: Steps at a border below this share of the largest ones say nothing of it.
TELLING_STEP = 0.1
#: Fewest places at a border that are telling.
TELLING_PLACES = 16


@dataclass(frozen=True)
class Edges:
    """Edges of one slice.

    Attributes:
        gradient: Magnitude, per pixel.
        dark: Grey values downhill of each.
        bright: Grey values uphill.
        alignment: Cosine of the angle between each edge and those next to it.
        each: How many edges each one stands for.
        noise: The noise's gradient; NaN in a slice without any.
    """

    gradient: Float
    dark: Float
    bright: Float
    alignment: Float
    each: float
    noise: float


@dataclass(frozen=True)
class Anchors:
    """The anchors of a scan: the grey values that become -1 and 1, and how far edges stand out."""

    low: float
    high: float
    strength: float


def padding_of(image: Array) -> dict[float, Mask]:
    """Find padding: areas of one exact value in a corner with an abrupt border, and NaN.

    Air or bone that the grey window has cut off to one value is no padding: it lies elsewhere, or
    the grey values rise from it over some pixels.

    Args:
        image: Grey values (y, x).

    Returns:
        By value, a mask (y, x) of the areas.
    """
    found: dict[float, Mask] = {}
    missing = np.isnan(image) if image.dtype.kind == "f" else np.zeros(image.shape, bool)
    if missing.any():
        found[math.nan] = missing
        image = np.where(missing, np.nanmin(image) if not missing.all() else 0, image)
    if min(image.shape) < FLAT_SIDE:
        return found
    flat = ndimage.maximum_filter(image, FLAT_SIDE) == ndimage.minimum_filter(image, FLAT_SIDE)
    flat &= ~missing
    values, counts = np.unique(image[flat], return_counts=True)
    for value in values[counts >= FLAT_SHARE * image.size]:
        centres = flat & (image == value)
        area = _from_corners(ndimage.maximum_filter(centres, FLAT_SIDE) & ~missing)
        enough = area.sum() >= FLAT_SHARE * image.size
        if enough and _abrupt(np.abs(image.astype(np.float32) - np.float32(value)), area):
            found[float(value)] = area
    return found


def _from_corners(area: Mask) -> Mask:
    parts, _ = ndimage.label(area)
    corners = {int(parts[y, x]) for y in (0, -1) for x in (0, -1)} - {0}
    kept: Mask = np.isin(parts, list(corners))
    return kept


def _abrupt(step: Float, area: Mask) -> bool:
    near, far = [], []
    for axis in (0, 1):
        for flipped in (False, True):
            steps, within = np.moveaxis(step, axis, 0), np.moveaxis(area, axis, 0)
            if flipped:
                steps, within = steps[::-1], within[::-1]
            border = within[:-3] & ~within[1:-2] & ~within[2:-1] & ~within[3:]
            near.append(steps[1:-2][border])
            far.append(steps[3:][border])
    one, three = np.concatenate(near), np.concatenate(far)
    if three.size == 0:
        return False
    telling = three >= TELLING_STEP * np.quantile(step[~area], 0.99)
    if telling.sum() < TELLING_PLACES:
        return False
    return float(np.median(one[telling] / three[telling])) >= ABRUPT


def edges_of(image: Array, padding: Mask | None = None) -> Edges:
    """Find the edges of a slice and the grey values on both sides.

    Args:
        image: Grey values (y, x).
        padding: Where there is padding.

    Returns:
        The edges.
    """
    values = image.astype(np.float32)
    near = None
    if padding is not None and padding.any():
        values[padding] = float(values[~padding].mean()) if not padding.all() else 0.0
        near = ndimage.binary_dilation(padding, iterations=PADDING_MARGIN)
    smooth = ndimage.gaussian_filter(values, SMOOTHING, mode="nearest", truncate=3)
    down, along = _slope(smooth, axis=0), _slope(smooth, axis=1)
    gradient = np.hypot(down, along)
    if near is not None:
        gradient[near] = 0
    some = gradient[gradient > 0]
    empty = np.empty(0, np.float32)
    if some.size == 0:
        return Edges(empty, empty, empty, empty, 1.0, math.nan)
    noise = float(np.quantile(some, NOISE_QUANTILE) / math.sqrt(-2 * math.log1p(-NOISE_QUANTILE)))
    least = min(LEAST_STRENGTH * noise, float(np.quantile(gradient, 1 - LOOKED_AT)))
    y, x = np.nonzero(gradient > least)
    strength = gradient[y, x]
    ray = _Ray(y, x, down[y, x] / strength, along[y, x] / strength)
    ridge = (strength >= ray.at(gradient, 1)) & (strength > ray.at(gradient, -1))
    chosen = np.flatnonzero(ridge)
    each = max(1.0, chosen.size / EDGES_PER_SLICE)
    chosen = chosen[(np.arange(int(chosen.size / each)) * each).astype(np.intp)]
    ray, strength = ray.of(chosen), strength[chosen]
    light = ndimage.gaussian_filter(values, LIGHT_SMOOTHING, mode="nearest")
    dark, bright = (_level(ray, smooth, light, sign=sign) for sign in (-1, 1))
    alignment = _alignment(ray, down, along)
    return Edges(strength, dark, bright, alignment, each, noise)


@dataclass(frozen=True)
class _Ray:
    """Places and the direction (y, x) uphill from each."""

    y: Array
    x: Array
    down: Array
    along: Array

    def at(self, image: Float, step: float) -> Float:
        where = [self.y + step * self.down, self.x + step * self.along]
        read: Float = ndimage.map_coordinates(image, where, order=1, mode="nearest")
        return read

    def of(self, chosen: Array) -> _Ray:
        return _Ray(self.y[chosen], self.x[chosen], self.down[chosen], self.along[chosen])


def _slope(image: Float, *, axis: int) -> Float:
    """Central differences; 0 at the border."""
    out = np.zeros_like(image)
    if image.shape[axis] >= 3:
        moved, source = np.moveaxis(out, axis, 0), np.moveaxis(image, axis, 0)
        moved[1:-1] = (source[2:] - source[:-2]) / 2
    return out


def _level(ray: _Ray, smooth: Float, light: Float, *, sign: int) -> Float:
    """Follow the smoothed grey value until it turns; read the lightly smoothed one there."""
    reached, level = smooth[ray.y, ray.x].copy(), light[ray.y, ray.x].copy()
    on = np.ones(level.size, bool)
    for step in range(1, REACH + 1):
        here = ray.at(smooth, sign * step)
        on &= sign * (here - reached) > 0
        reached[on] = here[on]
        level[on] = ray.at(light, sign * step)[on]
    return level


def _alignment(ray: _Ray, down: Float, along: Float) -> Float:
    """Cosine of the angle between the gradient here and along the edge, both ways."""
    total = np.zeros(ray.y.size, np.float32)
    for step in (-ALONG, ALONG):
        where = [ray.y - step * ray.along, ray.x + step * ray.down]
        there = [ndimage.map_coordinates(v, where, order=1, mode="nearest") for v in (down, along)]
        length = np.maximum(np.hypot(*there), np.finfo(np.float32).tiny)
        total += (there[0] * ray.down + there[1] * ray.along) / length / 2
    return total


def anchors(found: list[Edges]) -> Anchors | None:
    """Return the anchors of a scan.

    Args:
        found: The edges of its sampled slices.

    Returns:
        The anchors; None where no edges could be those of bone: they must stand out of the noise,
        or form lines.
    """
    found = [e for e in found if e.gradient.size]
    if not found:
        return None
    slices = [np.full(e.gradient.size, i) for i, e in enumerate(found)]
    noise = np.array([e.noise for e in found])[np.concatenate(slices)]
    each = np.array([e.each for e in found])[np.concatenate(slices)]
    gradient, dark, bright, alignment = (
        np.concatenate([getattr(e, side) for e in found]).astype(np.float64)
        for side in ("gradient", "dark", "bright", "alignment")
    )
    # First those that stand out; where none do, as nothing is quiet, all.
    for least in (LEAST_STRENGTH, 0.0):
        out = gradient >= least * noise
        sides = _Sides(*(v[out] for v in (gradient, dark, bright, alignment, each)))
        made = _anchors(sides, noise=float(np.median([e.noise for e in found])))
        if made is not None:
            return made
    return None


@dataclass(frozen=True)
class _Sides:
    """Edges of all slices."""

    gradient: Array
    dark: Array
    bright: Array
    alignment: Array
    each: Array


def _anchors(edges: _Sides, *, noise: float) -> Anchors | None:
    if edges.gradient.size < FEWEST:
        return None
    common = weighted_median(edges.gradient, edges.each * edges.gradient)
    # Rings and the edge of muscle may be many times as many as the edges of bone, if not as strong.
    most = np.minimum(edges.gradient, MOST * common)
    typical = weighted_median(edges.gradient, edges.each * most**2)
    strong = edges.gradient >= WEAKEST * typical
    capped = np.minimum(edges.gradient, STRONGEST * typical) ** POWER
    weights = (edges.each * capped)[strong]
    alignment = edges.alignment[strong]
    aligned = float(np.average(alignment, weights=weights))
    if common < BONE_STRENGTH * noise and aligned < BONE_ALIGNMENT:
        return None
    weights = weights * np.clip(alignment, LEAST_ALIGNMENT, 1) ** 2
    low, high = (weighted_median(side[strong], weights) for side in (edges.dark, edges.bright))
    return Anchors(low, high, common / noise) if high > low else None


def weighted_median(values: Array, weights: Array) -> float:
    """Return the value below which half of the weight lies.

    Args:
        values: Any values, one axis.
        weights: Their weights, positive.

    Returns:
        The weighted median.
    """
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
