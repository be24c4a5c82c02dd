"""What is wrong with a setting is told in plain words, not in those of a library."""

from __future__ import annotations

import re

import pytest

from osteon.errors import UsageError
from osteon.settings import FitSettings, PredictSettings, load_settings, settings_help
from osteon.settings.common import known
from osteon.tables.encoders import ENCODERS


def refusal(*overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(FitSettings, overrides=overrides)
    return caught.value.what


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("patches.size=big", "patches.size = 'big': expected a whole number"),
        ("patches.size=1.5", "patches.size = 1.5: expected a whole number"),
        ("patches.size=100", "patches.size = 100: must be a multiple of 32"),
        ("patches=3", "patches = 3: this is a group of settings, such as patches.size"),
        ("optimiser=3", "optimiser = 3: this is a group of settings, such as optimiser.\\w+"),
        ("seed=-1", "seed = -1: must be at least 0"),
        ("seed=4294967296", "seed = 4294967296: must be less than 4294967296"),
        ("optimiser.learning_rate=2", "optimiser.learning_rate = 2: must be at most 1"),
        ("optimiser.learning_rate=0", "optimiser.learning_rate = 0: must be greater than 0"),
        ("optimiser.learning_rate=fast", "optimiser.learning_rate = 'fast': expected a number"),
        ("training.max_minutes=.inf", "training.max_minutes = inf: must be finite"),
        ("training.threads=many", "training.threads = 'many': expected a whole number, or auto"),
        ("training.devices=1.5", "training.devices = 1.5: expected a whole number, or all"),
        (
            "training.precision=bf61",
            "training.precision = 'bf61': expected one of: auto, fp32, bf16, fp16; did you mean "
            "bf16.*",
        ),
        ("mode=2d", "mode = '2d': expected one of: 2D, 2.5D, 3D.*"),
        (
            "network.decoder_channels=8",
            "network.decoder_channels = 8: expected a list such as [1, 2]",
        ),
        (
            "network.decoder_channels=[]",
            "network.decoder_channels = []: expected at least 1 value",
        ),
        (
            "network.decoder_channels=[a,2,3,4,5]",
            "network.decoder_channels.0 = 'a': expected a whole number",
        ),
        ("network.encoder=3", "network.encoder = 3: expected a text"),
        (
            "network.encoder=resnet19",
            "network.encoder = 'resnet19': there is none of this name; did you mean resnet18.*? "
            "`osteon model list` shows all",
        ),
        (
            "network.encoder=xyzzy",
            "network.encoder = 'xyzzy': there is none of this name; `osteon model list` shows all",
        ),
        (
            "augmentation.preset=xyzzy",
            "augmentation.preset = 'xyzzy': there is none of this name; choose one of: none, .*",
        ),
        ("schedule.x=1", "there is no setting 'schedule.x'; did you mean schedule.*?"),
    ],
)
def test_plain_words(override: str, said: str) -> None:
    pattern = said.replace("?", r"\?").replace("[", r"\[").replace("(", r"\(")
    assert re.fullmatch(pattern, refusal(override)), refusal(override)


@pytest.mark.parametrize(
    "override",
    [
        f"{name}={value}"
        for name, _, _ in settings_help(FitSettings)
        for value in ("{a: 1}", "[[]]")
    ],
)
def test_no_words_of_the_library_are_left(override: str) -> None:
    name = override.partition("=")[0]
    choice = {"optimiser": "sgd", "schedule": "plateau", "loss": "focal-tversky"}
    group = name.partition(".")[0]
    first = [f"{group}={choice[group]}"] if name != group and group in choice else []
    if name in ("loss.cross_entropy_weight",):
        first = ["loss=dice-ce"]
    if name == "schedule.warmup":
        first = ["schedule=one-cycle"]
    said = refusal(*first, override)
    assert not re.search("(?i)input|valid |pydantic|dictionary|tuple|instance|literal", said), said
    assert name in said


def test_a_name_is_found_whatever_its_case() -> None:
    assert known(ENCODERS, "ResNet18") == "resnet18"


def test_the_help_page_names_the_defaults_of_each_choice() -> None:
    shown = {name: (default, text) for name, default, text in settings_help(FitSettings)}
    assert shown["optimiser.learning_rate"][0] == "adam, adamw: 0.001; sgd: 0.01"
    assert shown["optimiser.weight_decay"] == (
        "adamw: 0.01; sgd: 0.0",
        "adamw: Decoupled weight decay. sgd: L2 penalty.",
    )
    assert shown["optimiser.momentum"] == ("0.9", "Momentum. Of sgd.")
    assert shown["patches.size"][0] == "256"
    assert {name for name, _, _ in settings_help(PredictSettings)} >= {"backend", "memory"}
