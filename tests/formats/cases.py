"""A rotated, shifted, anisotropic volume of every type, and a cache of the test's own."""

from __future__ import annotations

import pickle

import numpy as np

from osteon.volume import ArrayVolume, Geometry, Matrix, Volume

ANGLE = 0.4


def rotation() -> Matrix:
    """Turn about z and tilt about x, as (z, y, x)."""
    c, s = float(np.cos(ANGLE)), float(np.sin(ANGLE))
    about_z = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    about_x = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    rows = (about_z @ about_x).tolist()
    return tuple(tuple(row) for row in rows)  # type: ignore[return-value]


GEOMETRY = Geometry((12.3, 6.5, 7.1), (150.0, -2000.25, 35.5), rotation())


def make(dtype: str, shape: tuple[int, int, int] = (5, 37, 23)) -> ArrayVolume:
    rng = np.random.default_rng(7)
    if np.dtype(dtype).kind == "f":
        array = rng.normal(size=shape).astype(dtype)
    else:
        info = np.iinfo(dtype)
        array = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    return ArrayVolume(array, GEOMETRY)


def reopen(volume: Volume) -> Volume:
    """Send a volume through pickle, as to a worker process."""
    again = pickle.loads(pickle.dumps(volume))  # noqa: S301
    if not isinstance(again, Volume):
        raise TypeError(type(again))
    return again
