"""The file formats, as rows; implementations are in ``osteon.formats``.

Capabilities of a row:
    suffixes: File name endings, lower case, that it reads and writes.
    folder: True where a scan is a folder of files.
    write: True where label volumes and scans can be written.
    lossless: False where writing would change values (JPEG): never written.
    any_order: True where blocks may be written in any order.
"""

from __future__ import annotations

from osteon.registry import Row, Table


def _row(name: str, help: str, module: str, suffixes: tuple[str, ...], **more: object) -> Row:
    capabilities: dict[str, object] = {
        "suffixes": suffixes,
        "folder": False,
        "write": True,
        "lossless": True,
        "any_order": False,
    }
    return Row(name, help, f"osteon.formats.{module}:FORMAT", capabilities | more)


FORMATS = Table(
    "formats",
    (
        _row(
            "slices",
            "folder of TIFF, BMP, PNG or JPEG slices (SkyScan .log read)",
            "slices",
            (),
            folder=True,
            any_order=True,
        ),
        _row(
            "tiff",
            "multi-page TIFF, BigTIFF or OME-TIFF",
            "tiff",
            (".tif", ".tiff", ".ome.tif", ".ome.tiff", ".btf"),
        ),
        _row(
            "zarr",
            "Zarr array or OME-Zarr image",
            "zarr_store",
            (".zarr", ".ome.zarr"),
            folder=True,
            any_order=True,
        ),
        _row("nrrd", "NRRD (3D Slicer)", "nrrd", (".nrrd", ".nhdr")),
        _row("metaimage", "MetaImage (ITK)", "metaimage", (".mha", ".mhd")),
        _row("nifti", "NIfTI", "nifti", (".nii", ".nii.gz")),
        _row("dicom", "DICOM series: a folder of .dcm files", "dicom", (".dcm",), folder=True),
        _row("npy", "NumPy array (voxel size in a small file beside it)", "npy", (".npy",)),
    ),
)
