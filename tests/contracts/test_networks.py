"""Every architecture and encoder of the tables: what they say of a network is true of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from osteon.errors import ModelFileError, UsageError
from osteon.networks import NetworkSpec, build_network
from osteon.networks.building import idle_parameters
from osteon.networks.costs import build_on_meta
from osteon.networks.flat import build_flat
from osteon.settings import NetworkSettings
from osteon.tables.encoders import ENCODERS
from osteon.tables.networks import ARCHITECTURES, check_pair, dimensions_of, form
from osteon.tables.timm import timm_names

VIT = "tu-vit_tiny_patch16_224"
#: Networks of which a single pass takes seconds.
HEAVY = {
    ("dynunet", 3),
    ("unet", 3),
    ("unetplusplus", 3),
    ("vnet", 3),
    ("unetr", 3),
    ("swinunetr", 3),
}
FORMS = [(row.name, d) for row in ARCHITECTURES for d in dimensions_of(row.name)]


def by_weight(forms: list[tuple[str, int]]) -> list[Any]:
    return [pytest.param(*form, marks=pytest.mark.slow if form in HEAVY else ()) for form in forms]


PATCH = {2: (128, 128), 3: (32, 64, 64)}
#: The smallest encoder of each kind of block.
SMALL = (
    "resnet18",
    "resnext50_32x4d",
    "dpn68",
    "vgg11",
    "vgg11_bn",
    "se_resnet50",
    "timm-skresnet18",
    "densenet121",
    "inceptionv4",
    "inceptionresnetv2",
    "xception",
    "efficientnet-b0",
    "timm-efficientnet-b0",
    "timm-tf_efficientnet_lite0",
    "mobilenet_v2",
    "mobileone_s0",
    "mobileone_s4",
    "mit_b0",
)


def spec_of(architecture: str, dimensions: int, encoder: str = "", **more: Any) -> NetworkSpec:
    usual = {2: VIT if architecture == "dpt" else "resnet18", 3: "resnet10"}[dimensions]
    has = form(architecture, dimensions).encoder
    return NetworkSpec.from_settings(
        NetworkSettings(architecture=architecture, encoder=encoder or usual)
        if has
        else NetworkSettings(architecture=architecture),
        in_channels=1,
        classes=3,
        dimensions=dimensions,
        patch=PATCH[dimensions],
        **more,
    )


def built(spec: NetworkSpec, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_network(spec).eval()


def steps_of(spec: NetworkSpec) -> tuple[int, ...]:
    return (spec.depth_divisor, spec.divisor, spec.divisor)[3 - spec.dimensions :]


@pytest.mark.parametrize(("architecture", "dimensions"), by_weight(FORMS))
class TestArchitecture:
    def test_a_model_file_describes_it_whole(self, architecture: str, dimensions: int) -> None:
        spec = spec_of(architecture, dimensions)
        assert NetworkSpec.from_dict(spec.as_dict()) == spec
        with pytest.raises(ModelFileError, match="options"):
            NetworkSpec.from_dict({**spec.as_dict(), "options": {"depth": 99}})

    def test_every_parameter_and_pixel_counts(self, architecture: str, dimensions: int) -> None:
        spec = spec_of(architecture, dimensions)
        network = built(spec).train()  # with untrained statistics, whole layers may be dead
        sides = (*spec.least[:-1], spec.least[-1] + spec.divisor)  # not square
        image = torch.randn(2, 1, *sides, requires_grad=True)
        logits = network(image)
        assert logits.shape == (2, 3, *sides)
        assert logits.isfinite().all()
        logits.square().sum().backward()
        fitted = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
        assert [n for n, p in fitted if p.grad is None] == []
        # A bias before a batch norm has no effect on its batch; it has one on predictions.
        assert [n for n, p in fitted if p.ndim > 1 and not p.grad.any()] == []
        assert image.grad is not None
        assert (image.grad != 0).float().mean() > 0.99

    def test_idle_parameters_have_no_part(self, architecture: str, dimensions: int) -> None:
        network = built(spec_of(architecture, dimensions))
        idle = [p for p in network.parameters() if not p.requires_grad]
        assert bool(idle) == form(architecture, dimensions).idle
        image = torch.randn(1, 1, *PATCH[dimensions])
        with torch.inference_mode():
            before = network(image)
            for parameter in idle:
                parameter.add_(1.0)
            assert torch.equal(network(image), before)

    def test_weights_follow_torch_s_generator_alone(
        self, architecture: str, dimensions: int
    ) -> None:
        spec = spec_of(architecture, dimensions)
        first, second = (built(spec, 3).state_dict() for _ in range(2))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


def strip(dimensions: int, axis: int, length: int, sides: tuple[int, ...]) -> torch.Tensor:
    shape = list(sides)
    shape[axis] = length
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(1))


#: Length of a strip whose ends no voxel in the middle sees: more than the receptive field.
FAR = {2: 704, 3: 256}
FARTHER = {("unet", 3): 512, ("vnet", 3): 512}
LOCAL = [(a, d) for a, d in FORMS if not form(a, d).global_context]
GLOBAL = [(a, d) for a, d in FORMS if form(a, d).global_context]
#: Networks that are local but for their normalisation over the input.
NORMED = [("attention-unet", 3), ("dynunet", 3), ("segresnet", 3), ("unetplusplus", 3)]
NORMS = (torch.nn.InstanceNorm3d, torch.nn.GroupNorm)


def without_norms(network: torch.nn.Module) -> torch.nn.Module:
    for name, child in network.named_children():
        if isinstance(child, NORMS):
            setattr(network, name, torch.nn.Identity())
        else:
            without_norms(child)
    return network


@pytest.mark.parametrize(("architecture", "dimensions"), by_weight(LOCAL))
def test_a_label_depends_on_its_surroundings_alone(architecture: str, dimensions: int) -> None:
    spec = spec_of(architecture, dimensions)
    assert not spec.global_context
    network = built(spec)
    far = FARTHER.get((architecture, dimensions), FAR[dimensions])
    image = strip(dimensions, dimensions - 1, far, spec.least)
    changed = image.clone()
    changed[..., :8] += 5.0
    with torch.inference_mode():
        one, other = network(image), network(changed)
    torch.testing.assert_close(one[..., -32:], other[..., -32:], rtol=0, atol=1e-5)
    assert not torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize(("architecture", "dimensions"), by_weight(GLOBAL))
def test_a_label_may_depend_on_the_whole_input(architecture: str, dimensions: int) -> None:
    spec = spec_of(architecture, dimensions)
    assert spec.global_context
    network = built(spec)
    image = strip(dimensions, dimensions - 1, FAR[2] if dimensions == 2 else 96, spec.least)
    changed = image.clone()
    changed[..., : image.shape[-1] // 2] += 5.0
    with torch.inference_mode():
        one, other = network(image), network(changed)
        if architecture == "segformer":  # it depends on the size of the input
            other = network(image[..., spec.divisor :])
    assert (one[..., -16:] - other[..., -16:]).abs().max() > 1e-6


@pytest.mark.parametrize(("architecture", "dimensions"), by_weight(LOCAL + NORMED))
def test_tiles_at_the_divisor_are_seen_on_one_grid(architecture: str, dimensions: int) -> None:
    spec = spec_of(architecture, dimensions)
    network = without_norms(built(spec))
    far = FARTHER.get((architecture, dimensions), FAR[dimensions])
    steps = steps_of(spec)
    for axis in {steps.index(step): None for step in steps}:  # the first of each step
        step = steps[axis]
        image = strip(dimensions, axis, far + step, spec.least)

        def seen(start: int, image: torch.Tensor = image, axis: int = axis) -> torch.Tensor:
            with torch.inference_mode():
                logits = network(image.narrow(2 + axis, start, far))
            return logits.narrow(2 + axis, far // 2 - start, 32)

        grid = (seen(step) - seen(0)).abs().max()
        between = (seen(step // 2) - seen(0)).abs().max()
        assert grid < 1e-4
        assert between > 10 * grid


@pytest.mark.parametrize(
    ("architecture", "dimensions"), by_weight([form for form in GLOBAL if form not in NORMED])
)
def test_an_input_of_half_the_divisor_is_refused(architecture: str, dimensions: int) -> None:
    spec = spec_of(architecture, dimensions)
    sides = [n + step // 2 for n, step in zip(spec.least, steps_of(spec), strict=True)]
    network = built(spec)
    with torch.inference_mode(), pytest.raises((RuntimeError, ValueError)):
        network(torch.zeros(1, 1, *sides))


@pytest.mark.parametrize("encoder", SMALL)
def test_an_encoder_s_context_is_as_the_table_says(encoder: str) -> None:
    spec = spec_of("unet", 2, encoder)
    features = built(spec).encoder
    image = strip(2, 1, 4096, (spec.divisor, spec.divisor))
    changed = image.clone()
    changed[..., :2048] += 5.0
    with torch.inference_mode():
        pairs = list(zip(features(image), features(changed), strict=True))
    difference = max(
        float((one - other)[..., -1:].abs().max()) for one, other in pairs if one.numel()
    )
    assert (difference > 1e-6) == spec.global_context
    assert pairs[-1][0].shape[2:] == (1, 4096 // spec.divisor)


FLAT = [row.name for row in ARCHITECTURES if 2 in dimensions_of(row.name)]
IN_2D = [r.name for r in ENCODERS if 2 in r.capabilities["dimensions"]]  # type: ignore[operator]


def refused_pair(architecture: str, encoder: str) -> bool:
    try:
        check_pair(architecture, encoder, 2)
    except UsageError:
        return True
    return False


def in_turn(encoders: list[str], every: int) -> list[tuple[str, str]]:
    """One pair in so many; each architecture and each encoder has its turns."""
    return [
        (architecture, encoder)
        for i, encoder in enumerate(encoders)
        for j, architecture in enumerate(FLAT)
        if (i + j) % every == 0
    ]


#: Encoders of a family are built alike: the smallest with all architectures, the others in turn,
#: and all pairs that are refused.
PAIRS = sorted(
    {(a, e) for a in FLAT for e in IN_2D if e in SMALL or refused_pair(a, e)}
    | set(in_turn(IN_2D, 4))
)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "encoder"), PAIRS)
def test_pairs_work_or_are_refused(architecture: str, encoder: str) -> None:
    spec = NetworkSpec(architecture, encoder, 1, 3)
    if refused_pair(architecture, encoder):
        with pytest.raises(UsageError):  # the library cannot either
            build_flat(spec)
        return
    network = build_on_meta(spec).eval()
    with torch.no_grad():
        assert network(torch.empty(1, 1, 64, 96, device="meta")).shape == (1, 3, 64, 96)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "encoder"), in_turn(list(SMALL), 3))
def test_small_pairs_learn(architecture: str, encoder: str) -> None:
    if refused_pair(architecture, encoder):
        pytest.skip("refused, as tested above")
    spec = spec_of(architecture, 2, encoder)
    network = built(spec).train()
    side = max(64, *spec.least)
    network(torch.randn(2, 1, side, side)).square().sum().backward()
    named = dict(network.named_parameters())
    without = {n for n, p in named.items() if p.grad is None and p.requires_grad}
    # Some encoders have a last layer that only their classifier needed; the library's UNet++
    # makes a block for VGG that it does not call.
    assert all(name.startswith(("encoder.", "decoder.center.")) for name in without)
    idle = {id(p) for p in idle_parameters(network, spec) if p.requires_grad}
    assert {id(named[name]) for name in without} == idle


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [r.name for r in ENCODERS])
def test_an_encoder_has_as_many_parameters_as_it_says(encoder: str) -> None:
    row = ENCODERS.row(encoder)
    dimensions = row.capabilities["dimensions"][0]  # type: ignore[index]
    network = build_on_meta(spec_of("unet", dimensions, encoder))
    millions = sum(p.numel() for p in network.encoder.parameters()) / 1e6
    stated = float(row.help.partition(" (")[2].partition(" million")[0])
    assert stated == pytest.approx(millions, abs=0.051)


@pytest.mark.parametrize("encoder", ["resnet10", "resnet18", "resnet200"])
def test_resnets_work_in_3d(encoder: str) -> None:
    network = build_on_meta(spec_of("unet", 3, encoder)).eval()
    with torch.no_grad():
        assert network(torch.empty(1, 1, 32, 64, 96, device="meta")).shape == (1, 3, 32, 64, 96)


def test_all_of_the_libraries_encoders_are_there() -> None:
    from monai.networks.nets.flexible_unet import ResNetEncoder
    from segmentation_models_pytorch.encoders import get_encoder_names

    assert sorted(IN_2D) == sorted(get_encoder_names())
    in_3d = [r.name for r in ENCODERS if 3 in r.capabilities["dimensions"]]  # type: ignore[operator]
    assert sorted(in_3d) == sorted(ResNetEncoder.get_encoder_names())


#: One model of each kind of family, with the architectures it can be in.
TIMM = {
    "resnet18": {"unet", "linknet", "unetplusplus"},
    "convnext_atto": {"unet", "linknet", "unetplusplus"},
    "swin_tiny_patch4_window7_224": {"unet", "linknet", "unetplusplus"},
    "swinv2_tiny_window8_256": {"unet", "linknet", "unetplusplus"},
    "vgg11_bn": {"unet", "linknet", "unetplusplus"},
    VIT.removeprefix("tu-"): {"dpt"},
    "deit_tiny_patch16_224": {"dpt"},
    "vit_base_patch32_224": {"dpt"},
    "vit_small_patch14_dinov2": set(),
    "beit_base_patch16_224": set(),
    "mixer_s16_224": set(),
    "coatnet_nano_rw_224": set(),
    "mobilevitv2_050": set(),
}


@pytest.mark.parametrize("name", TIMM)
def test_timm_s_models_work_where_the_rule_says(name: str) -> None:
    for architecture in ("unet", "linknet", "unetplusplus", "dpt"):
        spec = NetworkSpec(architecture, f"tu-{name}", 1, 3)
        if architecture not in TIMM[name]:
            with pytest.raises(UsageError):
                check_pair(architecture, spec.encoder, 2)
            continue
        with torch.no_grad():
            image = torch.empty(1, 1, 96, 160, device="meta")
            assert build_on_meta(spec).eval()(image).shape == (1, 3, 96, 160)


def see(spec: NetworkSpec) -> None:
    """Build and run a network as the library would, whatever the table says of it."""
    with torch.no_grad():
        assert build_flat(spec).eval()(torch.zeros(1, 1, 96, 160)).shape == (1, 3, 96, 160)


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_timm_s_models_fail_where_the_rule_says(name: str) -> None:
    for architecture in {"unet", "linknet", "unetplusplus", "dpt"} - TIMM[name]:
        if (architecture, name) == ("unet", "mobilevitv2_050"):
            continue  # the library stretches features that do not fit
        if architecture == "dpt" and name.startswith("swin"):
            continue  # it is built, though not what DPT is: no tokens for the whole image
        with pytest.raises((UsageError, RuntimeError, AssertionError)):  # of the library
            see(NetworkSpec(architecture, f"tu-{name}", 1, 3))


def test_a_network_that_cannot_be_dilated_is_refused_when_it_is_built() -> None:
    image = torch.empty(1, 1, 96, 160, device="meta")
    works = build_on_meta(NetworkSpec("deeplabv3plus", "tu-convnext_atto", 1, 3)).eval()
    assert works(image).shape == (1, 3, 96, 160)
    with pytest.raises(UsageError, match="cannot be built"):
        build_on_meta(NetworkSpec("deeplabv3plus", "tu-vgg11_bn", 1, 3))


def test_timm_s_names_are_those_of_the_installed_library() -> None:
    import timm

    assert timm_names() == set(timm.list_models())
