from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import tifffile

from osteon.datasets import content_hash
from osteon.datasets.hashes import ContentHash
from osteon.formats import open_volume
from osteon.volume import ArrayVolume

VALUES = np.random.default_rng(0).integers(0, 60000, (3, 5, 7)).astype("<u2")


def test_by_its_definition() -> None:
    expected = hashlib.sha256(b"(3, 5, 7) uint16" + VALUES.tobytes()).hexdigest()
    assert content_hash(ArrayVolume(VALUES)) == expected
    assert content_hash(ArrayVolume(VALUES.astype(">u2"))) == expected


def test_the_format_does_not_matter_and_one_voxel_does(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    tifffile.imwrite(
        tmp_path / "a.tif", VALUES, byteorder=">", compression="zlib", photometric="minisblack"
    )
    first = content_hash(open_volume(tmp_path / "a.npy"))
    assert first == content_hash(open_volume(tmp_path / "a.tif"))
    other = VALUES.copy()
    other[2, 4, 6] += 1
    assert content_hash(ArrayVolume(other)) != first
    assert content_hash(ArrayVolume(VALUES.reshape(3, 7, 5))) != first
    assert content_hash(ArrayVolume(VALUES.view("<i2"))) != first


def test_fed_in_parts_it_is_the_same() -> None:
    digest = ContentHash(ArrayVolume(VALUES))
    digest.add(VALUES[:1])
    digest.add(VALUES.astype(">u2")[1:])
    assert digest.hexdigest() == content_hash(ArrayVolume(VALUES))
    swapped = ContentHash(ArrayVolume(VALUES))
    swapped.add(VALUES[1:])
    swapped.add(VALUES[:1])
    assert swapped.hexdigest() != digest.hexdigest()
