"""Pores derived from a mask of bone alone, by the labelling protocol.

Everything that is not bone inside the outer envelope of a bone is pores. The envelope is
found slice by slice: gaps of the bone up to twice :data:`CLOSING_RADIUS` wide are closed, a
bone that is cut by the edge of the slice is closed flat along that edge, and what is enclosed
is filled. A bone whose wall is open over a wider gap in a slice gets too few pores there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

#: Radius of the closing in pixels: foramina narrower than twice this are closed.
CLOSING_RADIUS = 5
#: What is said wherever derived pores are used.
METHOD = (
    "pores derived from bone: filled in each slice, after closing gaps up to "
    f"{2 * CLOSING_RADIUS} px and along the edges of the slice"
)

Mask = npt.NDArray[np.bool_]


def envelope(bone: Mask) -> Mask:
    """Return the filled outline of the bones in a slice.

    Args:
        bone: (y, x), True where bone is.

    Returns:
        (y, x), True inside the outer envelope, bone included.
    """
    if not bone.any():
        return np.zeros_like(bone)
    # Room around, so that the closing neither joins the bone to the edge nor is cut by it.
    closed = np.pad(bone, CLOSING_RADIUS + 1)
    distance = ndimage.distance_transform_edt(~closed)
    closed = ndimage.distance_transform_edt(distance <= CLOSING_RADIUS) > CLOSING_RADIUS
    inner = slice(CLOSING_RADIUS + 1, -(CLOSING_RADIUS + 1))
    closed = closed[inner, inner] | bone
    framed = np.pad(closed, 1)
    _close_edges(framed)
    filled: Mask = ndimage.binary_fill_holes(framed)[1:-1, 1:-1]
    return filled


def _close_edges(framed: Mask) -> None:
    """Draw, in the frame around a slice, what closes bones that an edge cuts; in place.

    Per bone, so that several bones cut by one edge are not joined. A bone that is cut at two
    neighbouring edges is closed along each alone: the corner could be inside or outside.
    """
    parts, _ = ndimage.label(framed, structure=np.ones((3, 3)))
    for side in range(4):
        turned, labels = np.rot90(framed, side), np.rot90(parts, side)  # views: writing reaches
        for part in np.unique(labels[1]):
            if part:
                hits = np.flatnonzero(labels[1] == part)
                turned[0, hits[0] : hits[-1] + 1] = True


def derive(labels: npt.NDArray[np.uint8], *, bone: int, pores: int) -> npt.NDArray[np.uint8]:
    """Label the pores of one slice.

    Args:
        labels: (y, x), with bone and background (and ignored voxels, which stay so).
        bone: Value of bone.
        pores: Value that pores get.

    Returns:
        A new array with pores.
    """
    inside = envelope(labels == bone)
    return np.where(inside & (labels == 0), np.uint8(pores), labels)
