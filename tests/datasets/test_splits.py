from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteon.datasets import Manifest, Part, ScanRow, Split, folds, split
from osteon.errors import InputError, UsageError
from osteon.labels import BONE_PORES
from osteon.settings import ValidationSettings


def manifest(specimens: list[str], **entries) -> Manifest:
    rows = tuple(
        ScanRow(name=f"scan{i}", image="x", mask="x", specimen=s, **entries)
        for i, s in enumerate(specimens)
    )
    return Manifest(BONE_PORES, rows)


def shapes(data: Manifest, n: int = 10) -> dict[str, int]:
    return {row.name: n for row in data.scans}


def specimens_of(data: Manifest, parts: tuple[Part, ...]) -> set[str]:
    return {data.row(part.scan).specimen for part in parts}


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=30).filter(
        lambda names: len(set(names)) > 1
    ),
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 0.99),
)
def test_a_specimen_is_never_split_apart(names: list[str], seed: int, share: float) -> None:
    data = manifest(names)
    made = split(data, ValidationSettings(share=share), seed=seed, shapes=shapes(data))
    left, right = (specimens_of(data, p) for p in (made.training, made.validation))
    assert left
    assert right
    assert not left & right
    assert left | right == set(names)
    assert sum(len(p.slices) for p in (*made.training, *made.validation)) == 10 * len(names)


@pytest.mark.parametrize(
    ("n", "share", "expected"),
    # 20 at 0.2 is 4 (the original truncates to 3); halves go up; at least one; never all.
    [(20, 0.2, 4), (6, 0.2, 1), (5, 0.3, 2), (3, 0.1, 1), (2, 0.9, 1), (12, 0.2, 2), (13, 0.2, 3)],
)
def test_the_number_of_validation_specimens_is_rounded(n: int, share: float, expected: int) -> None:
    data = manifest([f"s{i}" for i in range(n)])
    made = split(data, ValidationSettings(share=share), seed=1, shapes=shapes(data))
    assert len(specimens_of(data, made.validation)) == expected


def test_the_seed_alone_chooses() -> None:
    data = manifest([f"s{i}" for i in range(10)])
    backwards = Manifest(BONE_PORES, data.scans[::-1])
    settings = ValidationSettings()

    def chosen(which: Manifest, seed: int) -> set[str]:
        return specimens_of(data, split(which, settings, seed=seed, shapes=shapes(data)).validation)

    assert chosen(data, 3) == chosen(data, 3) == chosen(backwards, 3)
    assert len({frozenset(chosen(data, seed)) for seed in range(40)}) > 10


def test_specimens_by_name() -> None:
    data = manifest(["S1", "S1", "S2", "S3"])
    named = ValidationSettings(specimens=("S2",))
    made = split(data, named, seed=0, shapes=shapes(data))
    assert specimens_of(data, made.validation) == {"S2"}
    with pytest.raises(UsageError, match="no labelled specimen 'S9'") as error:
        split(data, ValidationSettings(specimens=("S9",)), seed=0, shapes=shapes(data))
    assert "did you mean S" in str(error.value)
    for names in ((), ("S1", "S2", "S3")):
        with pytest.raises(UsageError, match="no specimen"):
            split(data, ValidationSettings(specimens=names), seed=0, shapes=shapes(data))


def test_one_specimen_needs_an_explicit_split() -> None:
    data = manifest(["only", "only"])
    with pytest.raises(UsageError) as error:
        split(data, ValidationSettings(), seed=0, shapes=shapes(data))
    assert "validation.method=slabs" in str(error.value)
    assert "validation.method=none" in str(error.value)


def test_slabs_as_in_the_smoke_test() -> None:
    data = manifest(["only"])
    settings = ValidationSettings(method="slabs", share=0.25, gap=8)
    made = split(data, settings, seed=0, shapes={"scan0": 128})
    assert made.training == (Part("scan0", tuple(range(88))),)
    assert made.validation == (Part("scan0", tuple(range(96, 128))),)
    assert "optimistic" in made.notes[0]


@given(st.sets(st.integers(0, 200), min_size=1), st.integers(0, 20), st.floats(0.05, 0.9))
def test_slabs_keep_the_gap_in_space(labelled: set[int], gap: int, share: float) -> None:
    data = manifest(["only"])
    settings = ValidationSettings(method="slabs", share=share, gap=gap)
    try:
        made = split(data, settings, seed=0, shapes={"scan0": sorted(labelled)})
    except UsageError as error:
        assert "leave none to learn from" in str(error)  # noqa: PT017
        return
    left, right = made.training[0].slices, made.validation[0].slices
    assert right[0] - left[-1] > gap
    assert len(right) == max(1, int(len(labelled) * share + 0.5))
    dropped = labelled - set(left) - set(right)
    assert all(right[0] - gap <= z < right[0] for z in dropped)


def test_slabs_are_refused_where_slices_are_no_neighbours() -> None:
    data = manifest(["only"], contiguous=False)
    with pytest.raises(UsageError, match="neighbours in space"):
        split(data, ValidationSettings(method="slabs"), seed=0, shapes=shapes(data))


def test_a_gap_that_eats_everything() -> None:
    data = manifest(["only"])
    with pytest.raises(UsageError, match="leave none to learn from"):
        split(data, ValidationSettings(method="slabs"), seed=0, shapes={"scan0": 9})


def test_none_keeps_nothing_back_and_says_so() -> None:
    data = manifest(["only"])
    made = split(data, ValidationSettings(method="none"), seed=0, shapes=shapes(data))
    assert made.validation == ()
    assert made.training == (Part("scan0", tuple(range(10))),)
    assert "nothing was kept back" in made.notes[0]


def test_only_labelled_slices_in_range_count() -> None:
    data = manifest(["a", "b", "c"], slices=(2, 6))
    counts = {"scan0": 10, "scan1": (0, 3, 5, 6), "scan2": (0, 1)}
    made = split(data, ValidationSettings(specimens=("a",)), seed=0, shapes=counts)
    assert made.validation == (Part("scan0", (2, 3, 4, 5)),)
    assert made.training == (Part("scan1", (3, 5)),)
    assert any("'scan2' has no labelled slice" in note for note in made.notes)
    with pytest.raises(InputError, match="no labelled slice"):
        split(data, ValidationSettings(), seed=0, shapes={"scan2": (0, 1)})


def test_validation_can_be_thinned_evenly() -> None:
    data = manifest(["a", "b"])
    settings = ValidationSettings(specimens=("a",), max_slices=2)
    made = split(data, settings, seed=0, shapes=shapes(data))
    assert made.validation == (Part("scan0", (2, 7)),)
    assert len(made.training[0].slices) == 10
    assert any("at most 2 slices" in note for note in made.notes)


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 1000))
def test_folds_validate_each_specimen_once(n: int, k: int, seed: int) -> None:
    data = manifest([f"s{i % n}" for i in range(n + 3)])
    if k > n:
        with pytest.raises(UsageError, match=f"{k} folds cannot be made of {n} specimens"):
            folds(data, k=k, seed=seed, shapes=shapes(data))
        return
    made = folds(data, k=k, seed=seed, shapes=shapes(data))
    sets = [specimens_of(data, fold.validation) for fold in made]
    assert sorted(s for one in sets for s in one) == sorted(f"s{i}" for i in range(n))
    assert max(map(len, sets)) - min(map(len, sets)) <= 1
    for fold, own in zip(made, sets, strict=True):
        assert specimens_of(data, fold.training) == {f"s{i}" for i in range(n)} - own


def test_a_split_survives_json() -> None:
    made = Split((Part("a", (0, 2)),), (Part("b", (1,)),), ("note",))
    assert Split.from_dict(json.loads(json.dumps(made.as_dict()))) == made
    with pytest.raises(InputError, match="split cannot be read"):
        Split.from_dict({"training": []})
