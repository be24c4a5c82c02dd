"""Settings: defaults, files, dotted overrides, and an error for each thing that can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from osteon.errors import InputError, UsageError
from osteon.settings import (
    AdamSettings,
    AdamWSettings,
    ConstantSchedule,
    CosineSchedule,
    FitSettings,
    JaccardCrossEntropySettings,
    JaccardSettings,
    LossSettings,
    Mode,
    OneCycleSchedule,
    PlateauSchedule,
    PredictSettings,
    Settings,
    SgdSettings,
    SimulateSettings,
    load_settings,
    settings_help,
)
from osteon.settings.optimising import DiskCache
from osteon.tables.augmentations import AUGMENTATIONS
from osteon.tables.choices import RECIPES
from osteon.tables.encoders import ENCODERS
from osteon.tables.networks import check_pair


def fit(*overrides: str) -> FitSettings:
    return load_settings(FitSettings, overrides=overrides)


def refusal(*overrides: str, kind: type[Settings] = FitSettings) -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(kind, overrides=overrides)
    return str(caught.value)


def test_defaults_are_those_of_the_paper() -> None:
    made = fit()
    assert (made.network.architecture, made.network.encoder) == ("unet", "resnet18")
    assert made.patches.size == 256
    assert made.normalisation.recipe == "zscore"
    assert made.loss == JaccardSettings()
    assert made.optimiser == AdamSettings(learning_rate=1e-3)
    assert isinstance(made.schedule, CosineSchedule)


# --- what comes out of a file or of overrides is what went in -------------------------------

RATE = st.floats(1e-12, 1, allow_nan=False)
POSITIVE = st.floats(1e-6, 1e6)
LOSSES = st.builds(
    lambda name, weights, numbers: {"name": name, "class_weights": weights, **numbers[name]},
    st.sampled_from([kind.model_fields["name"].default for kind in get_args(LossSettings)]),
    st.none() | st.just("data") | st.lists(POSITIVE, min_size=1, max_size=5),
    st.fixed_dictionaries(
        {
            kind.model_fields["name"].default: st.fixed_dictionaries(
                {
                    name: POSITIVE
                    for name in kind.model_fields
                    if name not in ("name", "class_weights")
                }
            )
            for kind in get_args(LossSettings)
        }
    ),
)
OPTIMISERS = st.one_of(
    st.builds(AdamSettings, learning_rate=RATE),
    st.builds(AdamWSettings, learning_rate=RATE, weight_decay=st.floats(0, 1)),
    st.builds(SgdSettings, learning_rate=RATE, momentum=st.floats(0, 0.999)),
)
SCHEDULES = st.one_of(
    st.builds(CosineSchedule, final_learning_rate=st.floats(0, 1)),
    st.builds(OneCycleSchedule, warmup=st.floats(0.001, 0.999)),
    st.just(ConstantSchedule()),
    st.builds(
        PlateauSchedule,
        factor=st.floats(0.01, 0.99),
        patience=st.integers(0, 100),
        final_learning_rate=st.floats(0, 1),
    ),
)


def _works(encoder: str, dimensions: int) -> bool:
    try:
        check_pair("unet", encoder, dimensions)
    except UsageError:
        return False
    return True


# Names as people give them, with all that YAML may take for something else: no, 1e3, ~, 2024-01-02.
WORDS = st.sampled_from(
    ["no", "1e3", "~", "2024-01-02", "0x1F", "a: b", "- a", "#1", "Maus 3", "'"]
)
PRINTABLE = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=8)


#: Encoders that a U-Net can have in 2D.
FLAT = [row.name for row in ENCODERS if _works(row.name, 2)]


@st.composite
def fit_settings(draw: st.DrawFn) -> FitSettings:
    specimens = draw(st.none() | st.lists(WORDS | PRINTABLE, max_size=4))
    mode, encoder = draw(st.sampled_from(get_args(Mode))), draw(st.sampled_from(FLAT))
    if mode == "3D" and not _works(encoder, 3):
        mode = "2D"
    data: dict[str, Any] = {
        "seed": draw(st.integers(0, 2**32 - 1)),
        "mode": mode,
        "voxel_size": draw(st.none() | POSITIVE),
        "network": {
            "encoder": encoder,
            "decoder_channels": draw(st.tuples(*[st.integers(1, 1024)] * 5)),
            "weights": draw(st.sampled_from(["random", "imagenet", "Modelle/no.pth"])),
            "encoder_learning_rate": draw(st.floats(0, 1)),
        },
        "patches": {
            "size": 32 * draw(st.integers(1, 64)),
            "max_overlap": draw(st.floats(0, 1)),
            "slices": draw(st.sampled_from([3, 5, 7, 9])),
            "depth": 32 * draw(st.integers(1, 16)),
            "must_hold": draw(WORDS | PRINTABLE),
            "share": draw(st.floats(0, 1)),
            "skip_empty": draw(st.booleans()),
        },
        "normalisation": {"recipe": draw(st.sampled_from(RECIPES.names()))},
        "augmentation": draw(
            st.builds(lambda preset: {"preset": preset}, st.sampled_from(AUGMENTATIONS.names()))
            | st.builds(lambda x: {"preset": "strong", "strength": x}, st.floats(0, 2))
        ),
        "loss": draw(LOSSES),
        "optimiser": draw(OPTIMISERS),
        "schedule": draw(SCHEDULES),
        "validation": {
            "share": draw(st.floats(0.001, 0.999)),
            "specimens": None if specimens is None else tuple(specimens),
            "max_slices": draw(st.none() | st.integers(1, 10**6)),
        },
        "training": {
            "max_minutes": draw(st.none() | st.floats(1e-9, 1e9)),
            "accumulate": draw(st.integers(1, 1024)),
            "clip_norm": draw(st.none() | POSITIVE),
            "patience": draw(st.none() | st.integers(1, 100)),
            "average": draw(st.none() | st.floats(0.001, 0.999)),
            "devices": draw(st.just("all") | st.integers(1, 64)),
            "disk_cache": draw(st.sampled_from(get_args(DiskCache))),
            "workers": draw(st.just("auto") | st.integers(0, 64)),
            "threads": draw(st.just("auto") | st.integers(1, 64)),
            "precision": draw(st.sampled_from(["auto", "fp32", "bf16", "fp16"])),
        },
    }
    return FitSettings.model_validate(data)


@given(made=fit_settings())
@hypothesis_settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_a_settings_file_gives_back_the_settings(made: FitSettings, tmp_path: Path) -> None:
    path = tmp_path / "fit.yaml"
    data = {"schema": 1, **made.model_dump(mode="json")}
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    assert load_settings(FitSettings, path) == made


def _leaves(data: dict[str, Any], prefix: str = "") -> list[str]:
    out = []
    for name, value in data.items():
        if isinstance(value, dict):
            out += _leaves(value, f"{prefix}{name}.")
        else:
            out.append(f"{prefix}{name}={json.dumps(value, ensure_ascii=False)}")
    return out


@given(made=fit_settings())
@hypothesis_settings(max_examples=60, deadline=None)
def test_overrides_give_back_the_settings(made: FitSettings) -> None:
    assert fit(*_leaves(made.model_dump(mode="json"))) == made


@pytest.mark.parametrize("kind", [FitSettings, PredictSettings, SimulateSettings])
def test_each_default_of_the_help_page_is_accepted_as_it_is_shown(kind: type[Settings]) -> None:
    rows = settings_help(kind)
    assert len({name for name, _, _ in rows}) == len(rows) >= 5
    for name, shown, text in rows:
        assert text.strip().endswith("."), name
        group = name.split(".")[0]
        if kind is FitSettings and group in ("loss", "optimiser", "schedule"):
            continue  # a parameter belongs to one choice only: the next test has them
        value = f"[{shown}]" if ", " in shown else shown
        assert load_settings(kind, overrides=[f"{name}={value}"]) == kind(), name


def test_each_parameter_of_a_choice_is_on_the_help_page() -> None:
    names = {name for name, _, _ in settings_help(FitSettings)}
    assert {
        "loss.cross_entropy_weight",
        "optimiser.learning_rate",
        "optimiser.weight_decay",
        "optimiser.momentum",
        "schedule.final_learning_rate",
        "schedule.warmup",
    } <= names
    shown = {name: text for name, _, text in settings_help(FitSettings)}
    assert "adam, adamw, sgd" in shown["optimiser"]


# --- overrides ------------------------------------------------------------------------------


def test_overrides_win_over_the_file_and_the_last_wins(tmp_path: Path) -> None:
    path = tmp_path / "fit.yaml"
    path.write_text("seed: 1\npatches: {size: 64, per_slice: 2}\n", encoding="utf-8")
    made = load_settings(FitSettings, path, overrides=["patches.size=96", "seed=5", "seed=7"])
    assert (made.seed, made.patches.size, made.patches.per_slice) == (7, 96, 2)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["loss=jaccard-ce"], JaccardCrossEntropySettings(cross_entropy_weight=1)),
        (["loss.name=jaccard-ce"], JaccardCrossEntropySettings(cross_entropy_weight=1)),
        (
            ["loss=jaccard-ce", "loss.cross_entropy_weight=0.25"],
            JaccardCrossEntropySettings(cross_entropy_weight=0.25),
        ),
        (
            ["loss.cross_entropy_weight=0.25", "loss.name=jaccard-ce"],
            JaccardCrossEntropySettings(cross_entropy_weight=0.25),
        ),
        (["loss={name: jaccard-ce}"], JaccardCrossEntropySettings()),
    ],
)
def test_a_choice_is_given_by_its_name_or_with_parameters(
    overrides: list[str], expected: Settings
) -> None:
    assert fit(*overrides).loss == expected


def test_a_parameter_alone_belongs_to_the_default_choice() -> None:
    assert fit("optimiser.learning_rate=1e-4").optimiser == AdamSettings(learning_rate=1e-4)


def test_names_of_choices_are_made_canonical() -> None:
    assert fit("network.encoder=ResNet34").network.encoder == "resnet34"
    made = load_settings(PredictSettings, overrides=["backend=Torch"])
    assert made.backend == "torch"


def test_none_opens_what_may_be_open_and_is_a_name_elsewhere() -> None:
    made = fit("training.max_minutes=none", "validation.method=none", "augmentation.preset=none")
    assert made.training.max_minutes is None
    assert made.validation.method == "none"
    assert made.augmentation.preset == "none"
    assert "epochs = 'none'" in refusal("training.epochs=none")


def test_a_value_may_hold_an_equals_sign() -> None:
    assert fit("validation.specimens=[a=b]").validation.specimens == ("a=b",)


@pytest.mark.parametrize("item", ["seed", "=3", ""])
def test_an_override_without_name_or_value_is_refused(item: str) -> None:
    assert "not of the form name=value" in refusal(item)


@pytest.mark.parametrize("value", ["{", "[1", "2024-13-45", "'", "!!python/name:os.system", "\0"])
def test_a_value_that_yaml_cannot_read_is_refused(value: str) -> None:
    assert "cannot be read" in refusal(f"seed={value}")


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("patch.size=64", "there is no setting 'patch'; did you mean patches?"),
        ("patches.sizes=64", "there is no setting 'patches.sizes'; did you mean patches.size"),
        ("sead=1", "there is no setting 'sead'; did you mean seed?"),
        ("loss=jacard", "loss: there is no 'jacard'; did you mean jaccard"),
        ("optimiser.name=adamm", "choose one of: adam, adamw, sgd"),
        (
            "loss.cross_entropy_wait=1",
            "no setting 'loss.cross_entropy_wait'; did you mean loss.cross_entropy_weight?",
        ),
        (
            "loss.cross_entropy_weight=1",
            "no setting 'loss.cross_entropy_weight' with loss.name = jaccard",
        ),
        ("network.encoder=resnet19", "did you mean resnet18"),
        ("xyzzy=1", "there is no setting 'xyzzy'\n"),
    ],
)
def test_a_wrong_name_is_told_with_what_was_meant(override: str, hint: str) -> None:
    assert hint in refusal(override)


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("patches.size=100", "patches.size = 100: "),
        ("patches.size=0", "patches.size = 0: "),
        ("patches.size=big", "patches.size = 'big': "),
        ("patches.size=", "patches.size = None: "),
        ("patches=3", "patches = 3: "),
        ("seed=-1", "seed = -1: "),
        ("seed=4294967296", "seed = 4294967296: "),
        ("seed.x=1", "seed = {'x': 1}: "),
        ("optimiser.learning_rate=.nan", "optimiser.learning_rate = nan: "),
        ("training.max_minutes=.inf", "training.max_minutes = inf: "),
        ("training.max_minutes=0", "training.max_minutes = 0: "),
        ("training.threads=0", "training.threads = 0: must be at least 1"),
        ("training.epochs=true", "training.epochs = 'yes': expected a whole number"),
        ("training.workers=no", "training.workers = 'no': expected a whole number, or auto"),
        ("voxel_size=yes", "voxel_size = 'yes': expected a number"),
        ("network.decoder_channels=[yes,8,8,8,8]", "network.decoder_channels.0 = 'yes': "),
        ("training.workers=-1", "training.workers = -1: cannot be negative"),
        ("training.precision=fp8", "training.precision = 'fp8': "),
        ("validation.share=1", "validation.share = 1: "),
        ("network.decoder_channels=[1,2,3,4,0]", "network.decoder_channels.4 = 0: "),
        ("network.decoder_channels=[8,8]", "network.decoder_channels = [8, 8]: "),
    ],
)
def test_a_wrong_value_is_told_with_its_place(override: str, place: str) -> None:
    assert place in refusal(override)


def test_all_that_is_wrong_is_told_at_once() -> None:
    text = refusal("seed=-1", "patches.size=100", "sead=1")
    assert [line.split()[0] for line in text.splitlines()[:3]] == ["seed", "patches.size", "there"]


def test_what_does_not_go_together_is_refused() -> None:
    text = refusal("validation.specimens=[a]", "validation.method=slabs")
    assert "validation.specimens needs validation.method=specimens" in text


def test_nothing_goes_below_a_plain_value(tmp_path: Path) -> None:
    path = tmp_path / "fit.yaml"
    path.write_text("patches: 3\n", encoding="utf-8")
    with pytest.raises(UsageError, match="'patches' has no settings below it"):
        load_settings(FitSettings, path, overrides=["patches.size=64"])


def test_the_help_that_is_pointed_to_is_that_of_the_command() -> None:
    assert "`osteon fit --help`" in refusal("seed=-1")
    assert "`osteon predict --help`" in refusal("threads=0", kind=PredictSettings)
    assert "`osteon simulate --help`" in refusal("scans=0", kind=SimulateSettings)


def test_settings_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValidationError):
        fit().seed = 3  # type: ignore[misc]


# --- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a: [1", "cannot be read"),
        (b"a: 2024-13-45", "cannot be read"),
        (b"a: \xff\xfe", "cannot be read"),
        (b"seed: !!python/object/apply:os.getpid []", "cannot be read"),
        (b"- seed", "not a mapping"),
        (b"just text", "not a mapping"),
        (b"schema: 99\nseed: 1", "has schema 99, this version reads 1"),
    ],
)
def test_an_unreadable_file_is_an_input_error(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "fit.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=why) as caught:
        load_settings(FitSettings, path)
    assert caught.value.where == str(path)


def test_a_missing_file_and_a_folder_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_settings(FitSettings, tmp_path / "no.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        load_settings(FitSettings, tmp_path)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "fit.yaml"
    path.write_text("# nothing yet\n", encoding="utf-8")
    assert load_settings(FitSettings, path) == FitSettings()


def test_a_wrong_name_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "fit.yaml"
    path.write_text("sead: 1\n3: 4\n", encoding="utf-8")
    with pytest.raises(UsageError, match="did you mean seed") as caught:
        load_settings(FitSettings, path)
    assert caught.value.where == str(path)
