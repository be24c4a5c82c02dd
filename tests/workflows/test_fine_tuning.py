"""Settings that fit a model further describe the network that the model has."""

from __future__ import annotations

from osteon.model_file import check_start, load_model
from osteon.settings import FitSettings, load_settings
from osteon.tables.shipped import find_model
from osteon.workflows.fine_tuning import fine_tune_settings
from osteon.workflows.preparing import patch_spec


def test_the_shipped_model_is_gone_on_with_as_its_card_says() -> None:
    settings = fine_tune_settings("bone-pores", minutes=30)
    card = load_settings(
        FitSettings,
        overrides=[
            "network.context=yes", "network.decoder_channels=[128,64,32,16,16]",
            "normalisation.recipe=edges", "training.max_minutes=30",
        ],
    )  # fmt: skip
    for name in ("architecture", "encoder", "context", "decoder_channels"):
        assert getattr(settings.network, name) == getattr(card.network, name)
    assert settings.normalisation == card.normalisation
    assert settings.training.max_minutes == 30
    assert settings.surface == "half-maximum"  # of the shipped model, whose labels are reviewed
    spec = load_model(find_model("bone-pores")).spec
    assert patch_spec(settings, classes=3) == spec.network
    # No weight is left out: the network is the same one.
    start = check_start(spec.network, settings.network.weights, labels=spec.labels)
    assert start.notes == ("all layers start from the model 'bone-pores'",)
