"""What a scan and a model are checked for beforehand."""

from __future__ import annotations

import pytest

from osteon.errors import OsteonWarning
from osteon.model_file import TrainingRanges
from osteon.prediction import check_ranges
from osteon.volume import ArrayVolume, Geometry

from .faking import noise

RANGES = TrainingRanges((10.0, 40.0), ("uint8",))


def sized(*voxel_size: float | None) -> ArrayVolume:
    geometry = Geometry((voxel_size[0], voxel_size[1], voxel_size[2]))
    return ArrayVolume(noise((1, 8, 8)), geometry=geometry)


@pytest.mark.parametrize(
    "size", [(7.9, 7.9, 7.9), (50.1, 50.1, 50.1), (100, 20, 20), (None, None, 60)]
)
def test_a_voxel_size_far_from_the_training_is_warned_of(size: tuple[float | None, ...]) -> None:
    with pytest.warns(OsteonWarning, match=r"10 to 40 µm.*\[voxel-size-outside-training\]"):
        check_ranges(sized(*size), RANGES)


@pytest.mark.parametrize(
    ("size", "ranges"),
    [
        ((8.1, 8.1, 8.1), RANGES),
        ((49.9, 10, 40), RANGES),
        ((None, None, None), RANGES),
        ((900, 900, 900), TrainingRanges(None, ())),
    ],
    ids=["a little less", "a little more", "unknown scan", "unknown model"],
)
def test_other_voxel_sizes_are_not(size: tuple[float | None, ...], ranges: TrainingRanges) -> None:
    check_ranges(sized(*size), ranges)  # warnings are errors here
