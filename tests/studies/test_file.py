from __future__ import annotations

from pathlib import Path

import pytest

from osteon.errors import InputError, OutputError, UsageError
from osteon.studies.file import groups, load_study
from osteon.studies.protocols import new_study

from .fakes import write_study


def test_the_papers_cross_validation_is_15_fits_of_the_defaults(tmp_path: Path) -> None:
    path = new_study("cv", tmp_path / "data" / "dataset.toml", out=tmp_path / "cv.yaml")
    study = load_study(path)
    assert study.dataset == "data/dataset.toml"
    assert (study.folds, len(study.seeds), len(groups(study))) == (5, 3, 1)


def test_the_papers_benchmark_is_30_fits_that_can_all_be_built(tmp_path: Path) -> None:
    path = new_study("benchmark", tmp_path / "dataset.toml", out=tmp_path / "b.yaml")
    made = groups(load_study(path))
    kinds = {(g.settings.network.architecture, g.settings.network.encoder) for g in made}
    assert (len(made), len(kinds)) == (30, 10)
    assert made[1].name == "unet_resnet18_256"
    assert made[1].settings.patches.size == 256


def test_a_study_file_is_not_replaced(tmp_path: Path) -> None:
    new_study("cv", tmp_path / "dataset.toml", out=tmp_path / "cv.yaml")
    with pytest.raises(OutputError):
        new_study("cv", tmp_path / "dataset.toml", out=tmp_path / "cv.yaml")


def test_variants_change_the_base_settings_by_dotted_names(tmp_path: Path) -> None:
    variants = [{"name": "plain"}, {"name": "dice", "set": {"loss": "dice", "patches.size": 64}}]
    study = load_study(
        write_study(tmp_path, {"settings": {"patches": {"size": 32}}, "variants": variants})
    )
    plain, dice = groups(study)
    assert (plain.settings.patches.size, plain.settings.loss.name) == (32, "jaccard")
    assert (dice.settings.patches.size, dice.settings.loss.name) == (64, "dice")


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"folds": 1}, "folds must be 2"),
        ({"seeds": [1, 1]}, "different numbers"),
        ({"equal": "compute"}, "patches goes with"),
        ({"grid": {"patches.size": []}}, "no values"),
        ({"grid": {"patches.size": [32]}, "variants": [{"name": "a"}]}, "not both"),
        ({"fold": 5}, "fold"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, entries: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load_study(write_study(tmp_path, entries))


def test_a_wrong_setting_names_its_group(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path, {"grid": {"patches.size": [32, 33]}}))
    with pytest.raises(UsageError, match="group 33"):
        groups(study)


def test_what_the_study_decides_cannot_be_a_setting(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path, {"settings": {"seed": 3}}))
    with pytest.raises(UsageError, match="decided by the study"):
        groups(study)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("schema: 2\ndataset: a.toml\n")
    with pytest.raises(InputError, match="schema 2"):
        load_study(tmp_path / "s.yaml")
