"""The measures of bone, as rows; groups of them are computed by ``osteon.morphometry``.

Capabilities of a row:
    term: The standard term (Bouxsein et al. 2010; Parfitt et al. 1987).
    power: The power of length in its unit (2 for an area); 0 for a ratio.
    unit: Its unit where the voxel size is known.
    needs: What must be there: ``labels``, ``contiguous`` (slices that are neighbours in space),
        ``trabecular`` and ``cortical`` (a compartment of this kind), ``calibrated`` (a scan in
        mgHA/cm³). Those after ``labels`` but ``cortical`` areas need contiguous slices, too.
    optional: Whether it is measured only where it is named.
"""

from __future__ import annotations

from osteon.registry import Row, Table

_WHERE = "osteon.morphometry.groups"
#: Power of length → unit where the voxel size is known.
UNITS = {-3: "1/mm3", -1: "1/mm", 0: "1", 1: "um", 2: "mm2", 3: "mm3", 4: "mm4"}
#: Power of length → unit where it is not.
VOXEL_UNITS = {
    -3: "1/voxel3",
    -1: "1/voxel",
    0: "1",
    1: "voxel",
    2: "voxel2",
    3: "voxel3",
    4: "voxel4",
}

#: Digits and minus → the same as superscripts, for ``str.translate``.
RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def unit_text(unit: str) -> str:
    """Write a unit of the tables for people: ``mm2`` as mm², ``um`` as µm, ``1`` as nothing.

    Args:
        unit: As in :data:`UNITS` and :data:`VOXEL_UNITS`, or any other.
    """
    if unit in ("1", "um"):
        return {"1": "", "um": "µm"}[unit]
    return unit[:-1] + unit[-1].translate(RAISED) if unit[-1].isdigit() else unit


def _row(
    name: str,
    term: str,
    power: int,
    help: str,
    group: str,
    *needs: str,
    unit: str | None = None,
    optional: bool = False,
) -> Row:
    capabilities: dict[str, object] = {
        "term": term,
        "power": power,
        "unit": UNITS[power] if unit is None else unit,
        "group": group,
        "needs": needs,
        "optional": optional,
    }
    return Row(name, help, f"{_WHERE}:{group}", capabilities)


_SOLID = ("labels", "contiguous")
_TRABECULAR = (*_SOLID, "trabecular")
_CORTICAL = (*_SOLID, "cortical")

MEASURES = Table(
    "measures",
    (
        _row("tv", "TV", 3, "volume inside the outline: bone and pores", "volumes", *_SOLID),
        _row("bv", "BV", 3, "volume of bone", "volumes", *_SOLID),
        _row("compactness", "compactness", 0, "bone / (bone + pores)", "volumes", *_SOLID),
        _row("bs", "BS", 2, "surface of bone, by marching cubes", "surfaces", *_SOLID),
        _row("bs-bv", "BS/BV", -1, "surface of bone by volume of bone", "surfaces", *_SOLID),
        _row("tt-ar", "Tt.Ar", 2, "area inside the outline, mean of slices", "sections", "labels"),
        _row("b-ar", "B.Ar", 2, "area of bone, mean of slices", "sections", "labels"),
        _row(
            "ct-ar",
            "Ct.Ar",
            2,
            "area of the cortex with its pores, mean of slices",
            "sections",
            "labels",
            "cortical",
        ),
        _row(
            "ct-b-ar",
            "Ct.B.Ar",
            2,
            "area of the cortex without its pores, mean of slices",
            "sections",
            "labels",
            "cortical",
        ),
        _row(
            "ct-ar-tt-ar",
            "Ct.Ar/Tt.Ar",
            0,
            "part of the area that is cortex (with its pores)",
            "sections",
            "labels",
            "cortical",
        ),
        _row(
            "ma-ar",
            "Ma.Ar",
            2,
            "area inside the cortex, mean of slices",
            "sections",
            "labels",
            "cortical",
        ),
        _row(
            "imax",
            "Imax",
            4,
            "largest second moment of area of bone about the slice's centroid, mean of slices",
            "sections",
            "labels",
        ),
        _row(
            "imin",
            "Imin",
            4,
            "smallest second moment of area of bone about the slice's centroid, mean of slices",
            "sections",
            "labels",
        ),
        _row(
            "j",
            "J",
            4,
            "polar moment of area of bone about z through the slice's centroid, mean of slices",
            "sections",
            "labels",
        ),
        _row(
            "tb-tv", "Tb.TV", 3, "volume of the trabecular compartment", "trabecular", *_TRABECULAR
        ),
        _row("bv-tv", "BV/TV", 0, "bone in the trabecular compartment", "trabecular", *_TRABECULAR),
        _row("tb-th", "Tb.Th", 1, "trabecular thickness, mean", "trabecular", *_TRABECULAR),
        _row("tb-th-sd", "Tb.Th.SD", 1, "its standard deviation", "trabecular", *_TRABECULAR),
        _row("tb-th-max", "Tb.Th.max", 1, "its largest value", "trabecular", *_TRABECULAR),
        _row("tb-sp", "Tb.Sp", 1, "trabecular separation, mean", "trabecular", *_TRABECULAR),
        _row("tb-sp-sd", "Tb.Sp.SD", 1, "its standard deviation", "trabecular", *_TRABECULAR),
        _row("tb-sp-max", "Tb.Sp.max", 1, "its largest value", "trabecular", *_TRABECULAR),
        _row(
            "tb-n",
            "Tb.N",
            -1,
            "trabecular number, direct: 1 / mean distance of mid-axes",
            "spacing",
            *_TRABECULAR,
        ),
        _row(
            "tb-n-ratio",
            "Tb.N (BV/TV ÷ Tb.Th)",
            -1,
            "trabecular number as BV/TV ÷ Tb.Th",
            "trabecular",
            *_TRABECULAR,
        ),
        _row(
            "conn-d",
            "Conn.D",
            -3,
            "connectivity density: (1 − χ − Δχ) / TV after purification",
            "connectivity",
            *_TRABECULAR,
        ),
        _row(
            "euler",
            "χ",
            0,
            "Euler number of the purified trabecular bone",
            "connectivity",
            *_TRABECULAR,
        ),
        _row(
            "particles",
            "particles removed",
            0,
            "part of the trabecular bone that purification took away as loose pieces",
            "connectivity",
            *_TRABECULAR,
        ),
        _row(
            "da",
            "DA",
            0,
            "degree of anisotropy by mean intercept length, 0 to 1: 1 − (shortest / longest)²",
            "anisotropy",
            *_TRABECULAR,
        ),
        _row(
            "da-ratio",
            "DA (ratio)",
            0,
            "degree of anisotropy as a ratio from 1: longest / shortest mean intercept length",
            "anisotropy",
            *_TRABECULAR,
        ),
        _row(
            "smi",
            "SMI",
            0,
            "structure model index: 0 plates, 3 rods; its meaning is doubted",
            "model_index",
            *_TRABECULAR,
            optional=True,
        ),
        _row(
            "ct-th", "Ct.Th", 1, "cortical thickness (pores filled), mean", "cortical", *_CORTICAL
        ),
        _row("ct-th-sd", "Ct.Th.SD", 1, "its standard deviation", "cortical", *_CORTICAL),
        _row("ct-po", "Ct.Po", 0, "pores / volume of the cortex", "porosity", *_CORTICAL),
        _row(
            "tmd",
            "TMD",
            0,
            "tissue mineral density: mean of bone but its outermost voxels",
            "mineral",
            *_SOLID,
            "calibrated",
            unit="mgHA/cm3",
        ),
    ),
)


def term_of(name: str) -> str:
    """Return the standard term of a measure, such as ``Tb.Th``.

    Args:
        name: Its name in the table.
    """
    return str(MEASURES.row(name).capabilities["term"])


def usual() -> list[str]:
    """Return the names of the measures that are taken where none are named."""
    return [row.name for row in MEASURES if not row.capabilities["optional"]]
