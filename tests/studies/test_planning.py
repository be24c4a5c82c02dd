from __future__ import annotations

from pathlib import Path

import pytest

from osteon.errors import UsageError
from osteon.networks import NetworkSpec, network_costs
from osteon.studies.planning import Run, plan_study

from .fakes import write_dataset, write_study

SMALL = {"patches": {"size": 32, "per_slice": 1}, "training": {"epochs": 2}}


def test_each_specimen_validates_once_for_every_seed(tmp_path: Path) -> None:
    write_dataset(tmp_path, 4)
    plan = plan_study(
        write_study(tmp_path, {"folds": "specimens", "seeds": [1, 2], "settings": SMALL})
    )
    assert len(plan.runs) == 8
    for seed in (1, 2):
        kept = [r.settings.validation.specimens for r in plan.runs if r.seed == seed]
        assert sorted(kept) == [("s0",), ("s1",), ("s2",), ("s3",)]
    assert plan.runs[1].name == "baseline-fold1-seed2"


def test_without_folds_all_groups_and_seeds_have_the_same_validation(tmp_path: Path) -> None:
    write_dataset(tmp_path, 5)
    grid = {"network.encoder": ["resnet18", "resnet34"]}
    plan = plan_study(write_study(tmp_path, {"seeds": [1, 2, 3], "grid": grid, "settings": SMALL}))
    assert len(plan.runs) == 6
    assert len({r.settings.validation.specimens for r in plan.runs}) == 1


def test_equal_patches_and_equal_compute_set_the_epochs(tmp_path: Path) -> None:
    write_dataset(tmp_path, 5)  # 4 scans of 2 slices are learned from: 8 patches an epoch
    entries = {"grid": {"network.architecture": ["unet", "unetplusplus"]}, "settings": SMALL}
    equal = plan_study(write_study(tmp_path, {**entries, "equal": "patches", "patches": 800}))
    assert [r.settings.training.epochs for r in equal.runs] == [100, 100]
    shared = plan_study(write_study(tmp_path, {**entries, "equal": "compute", "patches": 800}))
    flops = [
        network_costs(NetworkSpec(name, "resnet18", 1, 3), (1, 1, 32, 32)).flops
        for name in ("unet", "unetplusplus")
    ]
    assert flops[1] > flops[0]
    expected = [100, round(100 * flops[0] / flops[1])]
    assert [r.settings.training.epochs for r in shared.runs] == expected


def test_rounding_to_whole_epochs_is_told(tmp_path: Path) -> None:
    write_dataset(tmp_path, 5)
    plan = plan_study(write_study(tmp_path, {"settings": SMALL, "equal": "patches", "patches": 12}))
    assert plan.runs[0].settings.training.epochs == 2
    assert "16 patches, +33%" in plan.notes[0]


def test_equal_patches_need_a_known_number_of_them(tmp_path: Path) -> None:
    write_dataset(tmp_path, 3)
    settings = {**SMALL, "training": {"patience": 2}}
    with pytest.raises(UsageError, match=r"training\.patience"):
        plan_study(write_study(tmp_path, {"settings": settings, "equal": "patches", "patches": 80}))


def test_time_grows_with_runs_and_a_run_survives_being_written(tmp_path: Path) -> None:
    write_dataset(tmp_path, 3)
    plan = plan_study(write_study(tmp_path, {"settings": SMALL}))
    assert plan.seconds > 0
    # A U-Net with ResNet-18, one channel and 3 classes has 14,322,227 parameters (the paper's);
    # this dataset has 2 classes: one kernel of 16 × 3 × 3 and its bias less.
    assert plan.disk_bytes == (14_322_227 - 145) * 20
    assert Run.from_dict(plan.runs[0].as_dict()) == plan.runs[0]
