"""The signed distance from an envelope, on a coarse grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from osteon.errors import UsageError
from osteon.simulation.envelope.shapes import inside_function
from osteon.simulation.envelope.spec import EnvelopeSpec
from osteon.simulation.grids import CoarseGrid
from osteon.simulation.randomness import SmoothField

Floats = npt.NDArray[np.float64]

#: Coarse points this near (in steps) are moved onto the surface; from the other distance on, the
#: distance is that to the nearest of them instead of the first-order one.
NEAR_STEPS, FAR_STEPS = 1.4, 0.8
#: From this many steps on the nearest surface point need not be searched for exactly.
DEEP_STEPS = 3.0
#: Relative error allowed in the search of the nearest point: the points are a step apart.
QUERY_TOLERANCE = 0.02
#: Slopes are taken over this part of a step to either side: parts of a bone may be thin.
SLOPE_STEP = 0.05
#: Gentler slopes are those of medial axes, where no surface is.
MIN_SLOPE = 0.2


def signed_distance(
    spec: EnvelopeSpec, grid: CoarseGrid, *, rough: SmoothField | None = None
) -> Floats:
    """Return the distance from the envelope on a coarse grid.

    Points near the surface are moved onto it along the gradient; elsewhere the distance is that
    to the nearest of these. It is right to about a tenth of the step of the grid.

    Args:
        spec: The shape.
        grid: The points.
        rough: See :func:`inside_function`.

    Returns:
        Distances in µm at the coarse points (z, y, x), positive inside; to first order only where
        the point is no neighbour of the field of view. Where the field of view lies inside the
        bone and its surface beyond the grid, to first order everywhere.

    Raises:
        UsageError: If no part of the bone is in the field of view.
    """
    z, y, x = grid.mesh
    value = inside_function(spec, z, y, x, rough=rough)
    value = np.ascontiguousarray(np.broadcast_to(value, [len(a) for a in grid.axes]))
    near = np.abs(value) < NEAR_STEPS * grid.step_um
    if not (value[grid.in_view] > -grid.step_um).any():
        raise UsageError(
            "the simulated bone is outside the field of view",
            mend="use a larger voxel size, more voxels or another place of the bone",
        )
    if not near.any():
        return value
    points = np.stack([np.broadcast_to(p, value.shape)[near] for p in (z, y, x)], axis=-1)
    slopes = _slopes(spec, points, grid.step_um, rough)
    steepness = np.linalg.norm(slopes, axis=1)
    usable = steepness > MIN_SLOPE
    steepness = np.maximum(steepness, MIN_SLOPE)
    first_order = value[near] / steepness
    normal = slopes / steepness[:, None]
    surface = points - normal * first_order[:, None]
    # One more step: near edges and waists the first one falls a little short.
    left = inside_function(spec, *surface.T, rough=rough) / steepness
    surface -= normal * left[:, None]
    out = value.copy()
    out[near] = first_order
    # The margin only holds surface that is near the field of view: its own distances are not used.
    far = (np.abs(out) > FAR_STEPS * grid.step_um) & grid.in_view
    landed = np.abs(inside_function(spec, *surface.T, rough=rough)) < grid.step_um / 2
    usable &= landed
    if not usable.any():
        return out
    near[near] = usable
    out[far] = np.sign(value[far]) * _nearest(surface[usable], near, far, grid)
    return out


def _nearest(
    surface: Floats, near: npt.NDArray[np.bool_], far: npt.NDArray[np.bool_], grid: CoarseGrid
) -> Floats:
    """Distance in µm of the points ``far`` from the nearest of the surface's points.

    Deep points take the surface point of the nearest of the points ``near`` that these came from:
    at most a twelfth of a step too far from there on, and far faster than the search.
    """
    distance, index = ndimage.distance_transform_edt(~near, return_indices=True)
    number = np.cumsum(near.ravel()).reshape(near.shape) - 1
    deep = distance[far] > DEEP_STEPS
    z, y, x = grid.mesh
    where = np.stack([np.broadcast_to(p, near.shape)[far] for p in (z, y, x)], axis=-1)
    out = np.empty(len(where))
    out[~deep], _ = KDTree(surface).query(where[~deep], eps=QUERY_TOLERANCE)
    at = tuple(i[far][deep] for i in index)
    out[deep] = np.linalg.norm(where[deep] - surface[number[at]], axis=1)
    return out


def _slopes(spec: EnvelopeSpec, points: Floats, step: float, rough: SmoothField | None) -> Floats:
    """Central differences of the inside function at scattered points, (n, 3)."""
    out = np.empty_like(points)
    half = SLOPE_STEP * step
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = half
        above = inside_function(spec, *(points + shift).T, rough=rough)
        below = inside_function(spec, *(points - shift).T, rough=rough)
        out[:, axis] = (above - below) / (2 * half)
    return out
