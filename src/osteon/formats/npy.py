"""NumPy arrays (.npy), memory-mapped; voxel size and classes in ``<name>.npy.json``."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from osteon.errors import InputError
from osteon.formats import document
from osteon.formats.base import Meta, WriteRequest, magic, reading, volume_shape
from osteon.formats.raw import RawLayout, RawVolume, RawWriter
from osteon.volume import Volume, VolumeWriter

_MAGIC = b"\x93NUMPY"


class _Npy:
    def matches(self, path: Path) -> bool:
        return magic(path).startswith(_MAGIC)

    def open(self, path: Path) -> Volume:
        with reading(path, what="the NumPy array"), path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
            offset = file.tell()
        if dtype.hasobject:
            raise InputError(
                "the array holds Python objects, which are never read",
                where=path,
                mend="save it as numbers, for instance array.astype('uint8')",
            )
        layout = RawLayout(path, offset, dtype, volume_shape(shape, path), fortran)
        found = document.load(_beside(path))
        return RawVolume(path, layout, meta=Meta() if found is None else found[0])

    def create(self, request: WriteRequest) -> VolumeWriter:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header,
            {
                "descr": np.lib.format.dtype_to_descr(request.dtype.newbyteorder("<")),
                "fortran_order": False,
                "shape": request.shape,
            },
        )
        beside: dict[Path, bytes | None] = {
            _beside(request.path): document.encode(document.describe(request))
        }
        return RawWriter(request, header.getvalue(), beside=beside)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")


FORMAT = _Npy()
