"""``osteon model list``: every choice is named, and what a network takes is counted."""

from __future__ import annotations

import re

import pytest
from tests.cli.calling import call, refused

from osteon.tables.encoders import ENCODERS
from osteon.tables.networks import ARCHITECTURES


def test_every_choice_is_listed_once() -> None:
    ran = call("model", "list")
    assert ran.code == 0
    words = re.findall(r"\S+", ran.out)
    for name in (*ENCODERS.names(), *ARCHITECTURES.names()):
        assert words.count(name) == 1, name
    encoders = ran.out.partition("encoders:\n")[2].partition("losses:\n")[0]
    assert max(len(line) for line in encoders.splitlines()) <= 100
    assert set(call("model", "list", "--json").json["encoders"]) == set(ENCODERS.names())


def test_the_papers_network_is_counted_as_published() -> None:
    found = call("model", "list", "--architecture", "U-Net", "--encoder", "resnet18", "--json").json
    assert found["parameters"] == 14_322_227
    assert (found["divisor"], found["global_context"]) == (32, False)
    # By hand (tests/networks/test_costs.py counts layer by layer): 81,088 multiply-adds a pixel.
    assert found["gflops"] == pytest.approx(2 * 81_088 * 256**2 / 1e9, rel=1e-3)


def test_patch_depth_and_classes_count() -> None:
    def counted(*words: object) -> dict[str, float]:
        mode = ("--architecture", "vnet", "--mode", "3D", "--json")
        found: dict[str, float] = call("model", "list", *mode, *words).json
        return found

    base = counted("--patch", 32)
    assert counted("--patch", 64)["gflops"] == pytest.approx(4 * base["gflops"])
    assert counted("--patch", 32, "--depth", 64)["gflops"] == pytest.approx(2 * base["gflops"])
    # By hand: of its last block (5³ taps of 32 channels and their normalisation, then 1 × 1).
    more = counted("--patch", 32, "--classes", 4)["parameters"] - base["parameters"]
    assert more == (32 * 125 + 2) + (4 * 4 + 4 - 3 * 3 - 3)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--encoder", "tu-resnet19"), ("timm has no model 'resnet19'", "tu-resnet18")),
        (("--architecture", "unetplusplus", "--encoder", "mit_b0"), ("UNet++", "mit_b0", "half")),
        (("--architecture", "dpt"), ("plain vision transformer", "tu-vit_tiny_patch16_224")),
        (("--architecture", "vnet"), ("V-Net", "2D")),
        (("--architecture", "pan", "--patch", "64"), ("PAN", "128")),
    ],
)
def test_what_does_not_go_together_is_refused(
    words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refused(call("model", "list", *words), 2, *parts)
