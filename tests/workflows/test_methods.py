"""Methods paragraphs: what is known is said, what is not is [FILL IN]."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from osteon.evaluation import Details, Evaluation, Pair, evaluate
from osteon.morphometry import measure
from osteon.settings import MeasureSettings, load_settings
from osteon.tables.measures import MEASURES, usual
from osteon.volume import ArrayVolume, Geometry
from osteon.workflows.evaluation_measures import with_measures
from osteon.workflows.methods import measuring, of_evaluation, of_measures

DOCS = Path(__file__).parents[2] / "docs" / "morphometry.md"
#: As Crossref recommends, brackets included.
DOI = re.compile(r"10\.\d{4,9}/[-._;()/:A-Za-z0-9]+[A-Za-z0-9]")


def plates(*, size: float | None) -> ArrayVolume:
    labels = np.full((10, 48, 20), 2, np.uint8)
    labels[:, ::8] = labels[:, 1::8] = labels[:, 2::8] = labels[:, 3::8] = 1
    return ArrayVolume(labels, Geometry((size,) * 3))


def evaluated(*, size: float | None, contiguous: bool = True) -> Evaluation:
    pair = Pair("a", plates(size=size), plates(size=size), contiguous=contiguous)
    settings = MeasureSettings(content="trabecular", measures=("bv-tv", "tb-th", "tt-ar"))
    result = evaluate([pair], what=Details())
    return with_measures(result, [(pair, None)], settings=settings)


def test_every_source_is_in_the_docs() -> None:
    text = measuring(MeasureSettings(), MEASURES.names(), version="1")
    known = DOCS.read_text(encoding="utf-8")
    found = DOI.findall(text)
    assert len(found) >= 6
    assert all(doi in known for doi in found), found


def test_measures_are_named_with_how_they_were_taken() -> None:
    settings = load_settings(
        MeasureSettings, overrides=["compartments.canal_um=55", "resolved_voxels=3"]
    )
    one, two = of_measures(settings, usual(), [(10.0, 5.0, 5.0)], version="9.9")
    assert "10 × 5 × 5 µm (z × y × x)" in one
    for words in ("osteon 9.9", "Tb.Th and Tb.Sp and Ct.Th: by maximal", "under 55 µm", "3 voxels"):
        assert words in two
    assert "SMI" not in two
    assert "SMI: by dilating" in measuring(settings, ("smi",), version="1")


def test_the_volume_of_interest_and_the_compartments_are_said() -> None:
    slab = load_settings(MeasureSettings, overrides=["region=slab", "content=trabecular"])
    text = measuring(slab, ("bv-tv",), version="1")
    assert "slab 45 to 55 %; [FILL IN: why there]" in text
    assert "trabecular bone alone" in text
    assert "[FILL IN: drawn" in measuring(MeasureSettings(), ("bv-tv",), version="1", given=True)
    none = load_settings(MeasureSettings, overrides=["compartments.method=none"])
    assert "not told apart" in measuring(none, ("ct-th",), version="1")
    assert "compartments" not in measuring(MeasureSettings(), ("tv",), version="1")


def test_what_is_not_known_is_to_be_filled_in() -> None:
    one, two = of_measures(MeasureSettings(), ("tt-ar",), [(None,) * 3], version="1", planar=True)
    assert "the voxel size was [FILL IN] µm" in one
    assert "lengths are in voxels" in two
    assert "areas alone" in two
    mixed, _ = of_measures(MeasureSettings(), ("tv",), [(None,) * 3, (8.0,) * 3], version="1")
    assert "8 × 8 × 8 µm (z × y × x) and [FILL IN] µm" in mixed


def test_an_evaluation_names_its_measures_and_baseline() -> None:
    settings = MeasureSettings(content="trabecular", measures=("bv-tv", "tb-th", "tt-ar"))
    made, judged, errors = of_evaluation(
        evaluated(size=10.0), settings, version="1", overlap_only=False, models=["m (weights …)"]
    )
    assert "labelled by the model m (weights …)" in made
    assert "tolerance of 10 µm" in judged
    assert errors.startswith("Tt.Ar, BV/TV, Tb.Th were measured")
    assert "labels ÷ truth − 1" in errors
    assert "Otsu" not in errors
    apart = evaluated(size=None, contiguous=False)
    _, _, areas = of_evaluation(apart, settings, version="1", overlap_only=False)
    assert "areas alone" in areas
    assert "Tb.Th" not in areas
    assert len(of_evaluation(evaluate([_pair()]), settings, version="1", overlap_only=True)) == 2


def _pair() -> Pair:
    return Pair("a", plates(size=10.0), plates(size=10.0))


def test_only_what_was_measured_is_named(tmp_path: Path) -> None:
    (bone,) = measure(plates(size=10.0), settings=MeasureSettings(content="trabecular"))
    names = [name for name, figure in bone.figures.items() if figure.value is not None]
    text = measuring(MeasureSettings(content="trabecular"), names, version="1")
    assert "Ct.Th" not in text
    assert "Tb.Th and Tb.Sp: by maximal" in text
