"""The architectures, as rows; builders are in ``osteon.networks``.

Capabilities of a row:
    dimensions: (2,), (3,) or both: the modes it has.
    2, 3 (as text): A :class:`Form` each: what it is in two and in three dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from osteon.errors import UsageError
from osteon.registry import Row, Table
from osteon.tables.encoders import ENCODERS
from osteon.tables.timm import TIMM

#: The encoder that settings hold where none was chosen; see :func:`check_pair`.
DEFAULT_ENCODER = "resnet18"
_FLAT = "osteon.networks.flat:build_flat"
_VOLUMETRIC = "osteon.networks.volumetric:build_volumetric"
_EITHER = "osteon.networks.building:build_by_dimensions"


@dataclass(frozen=True, kw_only=True)
class Form:
    """What an architecture is in two or in three dimensions.

    Attributes:
        divisor: Height, width (and depth) of an input must be multiples of this; None: of what
            the encoder says.
        encoder: Whether its encoder can be exchanged.
        global_context: True where a label may depend on the whole input whatever the encoder
            (pooling over the input, attention, instance or group norm), or on its size (features
            resized from corner to corner): then tiles and whole slices can differ.
        decoder: How many numbers ``decoder_channels`` holds; 0: it cannot be chosen.
        least: Height and width that an input must have at least, in voxels.
        idle: Whether some of the encoder's parameters have no part in the logits.
        planned: Whether kernels and strides follow from patch and voxel size, or the size of the
            position embedding from the patch: what the spec's ``options`` hold.
        channels: Input channels it can take; empty: any.
    """

    divisor: int | None = None
    encoder: bool = False
    global_context: bool = False
    decoder: int = 0
    least: int = 1
    idle: bool = False
    planned: bool = False
    channels: tuple[int, ...] = ()


def _row(
    name: str,
    help: str,
    aliases: tuple[str, ...] = (),
    *,
    flat: Form | None = None,
    volumetric: Form | None = None,
) -> Row:
    forms = {d: form for d, form in ((2, flat), (3, volumetric)) if form is not None}
    target = _EITHER if len(forms) == 2 else _FLAT if 2 in forms else _VOLUMETRIC
    capabilities: dict[str, object] = {"dimensions": tuple(forms)}
    capabilities |= {str(d): form for d, form in forms.items()}
    return Row(name, help, target, capabilities, aliases)


ARCHITECTURES = Table(
    "networks",
    (
        _row(
            "unet",
            "U-Net (Ronneberger 2015)",
            ("u-net",),
            flat=Form(encoder=True, decoder=5),
            volumetric=Form(encoder=True, decoder=5),
        ),
        _row(
            "unetplusplus",
            "UNet++ (Zhou 2018)",
            ("unet++",),
            flat=Form(encoder=True, decoder=5),
            volumetric=Form(divisor=16, global_context=True, least=32),
        ),
        _row(
            "fpn",
            "FPN (Kirillov 2017): a pyramid of features, summed",
            flat=Form(encoder=True, global_context=True),
        ),
        _row(
            "pspnet",
            "PSPNet (Zhao 2017): context by pooling; output at an eighth of the resolution",
            flat=Form(divisor=8, encoder=True, global_context=True, decoder=1, idle=True),
        ),
        _row(
            "deeplabv3",
            "DeepLabV3 (Chen 2017): dilated; output at an eighth of the resolution",
            flat=Form(divisor=8, encoder=True, global_context=True, decoder=1),
        ),
        _row(
            "deeplabv3plus",
            "DeepLabV3+ (Chen 2018): dilated; output at a quarter of the resolution",
            ("deeplabv3+",),
            flat=Form(divisor=16, encoder=True, global_context=True, decoder=1),
        ),
        _row("linknet", "Linknet (Chaurasia 2017): small and fast", flat=Form(encoder=True)),
        _row(
            "manet",
            "MAnet (Fan 2020): U-Net with attention over positions and scales",
            ("ma-net",),
            flat=Form(encoder=True, global_context=True, decoder=5),
        ),
        _row(
            "pan",
            "PAN (Li 2018): a pyramid of attention; patches of 128 px or more",
            flat=Form(divisor=16, encoder=True, global_context=True, decoder=1, least=128),
        ),
        _row(
            "upernet",
            "UPerNet (Xiao 2018): pooling and a pyramid; output at a quarter of the resolution",
            flat=Form(encoder=True, global_context=True, decoder=1),
        ),
        _row(
            "segformer",
            "Segformer (Xie 2021): made for the encoders mit_…; output at a quarter of the "
            "resolution",
            flat=Form(encoder=True, global_context=True, decoder=1),
        ),
        _row(
            "dpt",
            "DPT (Ranftl 2021): for vision transformers of timm, such as tu-vit_tiny_patch16_224",
            flat=Form(encoder=True, global_context=True, idle=True),
        ),
        _row(
            "attention-unet",
            "Attention U-Net (Oktay 2018)",
            ("attention_unet", "attentionunet"),
            volumetric=Form(divisor=16, global_context=True),
        ),
        _row(
            "segresnet",
            "SegResNet (Myronenko 2018)",
            volumetric=Form(divisor=8, global_context=True),
        ),
        _row(
            "dynunet",
            "DynUNet (Isensee 2021): nnU-Net's; kernels and strides follow the voxels' shape",
            ("nnunet", "nnu-net"),
            volumetric=Form(divisor=32, global_context=True, planned=True),
        ),
        _row(
            "vnet",
            "V-Net (Milletari 2016)",
            ("v-net",),
            volumetric=Form(divisor=16, channels=(1, 2, 4, 8, 16)),
        ),
        _row(
            "unetr",
            "UNETR (Hatamizadeh 2022): a vision transformer with a U-Net's decoder",
            volumetric=Form(divisor=16, global_context=True, planned=True),
        ),
        _row(
            "swinunetr",
            "SwinUNETR (Hatamizadeh 2022): windows of attention",
            ("swin-unetr",),
            volumetric=Form(divisor=32, global_context=True, least=64),
        ),
    ),
)


def dimensions_of(architecture: str) -> tuple[int, ...]:
    """Return the dimensions that an architecture has a form for.

    Args:
        architecture: Name in :data:`ARCHITECTURES`.

    Raises:
        UsageError: If there is no such architecture.
    """
    return cast(tuple[int, ...], ARCHITECTURES.row(architecture).capabilities["dimensions"])


def form(architecture: str, dimensions: int) -> Form:
    """Return what an architecture is in two or in three dimensions.

    Args:
        architecture: Name in :data:`ARCHITECTURES`.
        dimensions: 2 or 3.

    Returns:
        Its form.

    Raises:
        UsageError: If there is no such architecture, or it has no such form.
    """
    row = ARCHITECTURES.row(architecture)
    found = row.capabilities.get(str(dimensions))
    if not isinstance(found, Form):
        others = [r.name for r in ARCHITECTURES if dimensions in dimensions_of(r.name)]
        raise UsageError(
            f"{_title(row)} does not work in {dimensions}D",
            where="network.architecture",
            mend=f"in {dimensions}D there are: {', '.join(others)}",
        )
    return found


def encoder_of(architecture: str, encoder: str, *, dimensions: int) -> str:
    """Return the encoder that a network has: none where it cannot be exchanged.

    Args:
        architecture: Name of the architecture.
        encoder: Name of the encoder, or empty. :data:`DEFAULT_ENCODER` stands for no choice where
            there is none.
        dimensions: 2 or 3.

    Returns:
        The row's name, or empty.

    Raises:
        UsageError: If a name is unknown, or the architecture has no exchangeable encoder and
            another than the default is named.
    """
    if form(architecture, dimensions).encoder:
        return ENCODERS.row(encoder or DEFAULT_ENCODER).name
    if encoder and ENCODERS.row(encoder).name != DEFAULT_ENCODER:
        raise UsageError(
            f"{_title(ARCHITECTURES.row(architecture))} has no exchangeable encoder in "
            f"{dimensions}D",
            where=f"network.encoder={encoder}",
            mend="leave network.encoder out, or choose another network.architecture",
        )
    return ""


def check_pair(
    architecture: str,
    encoder: str,
    dimensions: int,
    in_channels: int = 1,
) -> None:
    """Refuse a pair that cannot be built, and say why.

    Args:
        architecture: Name of the architecture.
        encoder: Name of the encoder; see :func:`encoder_of`.
        dimensions: 2 or 3.
        in_channels: Channels of the input.

    Raises:
        UsageError: If a name is unknown or the two do not go together.
    """
    row, shape = ARCHITECTURES.row(architecture), form(architecture, dimensions)
    chosen = encoder_of(architecture, encoder, dimensions=dimensions)
    if shape.channels and in_channels not in shape.channels:
        raise UsageError(
            f"{_title(row)} takes {', '.join(map(str, shape.channels))} channels, not "
            f"{in_channels}",
            where="network.architecture",
        )
    why = _why_not(row.name, chosen, dimensions) if chosen else None
    if why is not None:
        raise UsageError(
            f"{_title(row)} cannot have {chosen} as its encoder: {why}",
            where="network.encoder",
            mend=f"choose another, such as {_example(row.name, dimensions)}; see `osteon model "
            "list`",
        )


def _why_not(architecture: str, encoder: str, dimensions: int) -> str | None:
    capabilities = ENCODERS.row(encoder).capabilities
    works_in = cast(tuple[int, ...], capabilities["dimensions"])
    if dimensions not in works_in:
        return f"it works in {' and '.join(f'{d}D' for d in works_in)} alone"
    cannot = cast(Mapping[str, str], capabilities["cannot"])
    return cannot.get(architecture, cannot.get("*")) or None


def _example(architecture: str, dimensions: int) -> str:
    if architecture == "dpt":
        return f"{TIMM}vit_tiny_patch16_224"
    works = (r.name for r in ENCODERS if _why_not(architecture, r.name, dimensions) is None)
    return next(works)


def check_decoder(architecture: str, channels: tuple[int, ...] | None, *, dimensions: int) -> None:
    """Refuse channels of a decoder that cannot be chosen, or not so many.

    Args:
        architecture: Name of the architecture.
        channels: Channels of the decoder's stages, or None.
        dimensions: 2 or 3.

    Raises:
        UsageError: If they do not fit the architecture.
    """
    wanted = form(architecture, dimensions).decoder
    if channels is None or len(channels) == wanted:
        return
    title = _title(ARCHITECTURES.row(architecture))
    raise UsageError(
        f"the decoder of {title} has {wanted} stage{'s' if wanted != 1 else ''} in {dimensions}D, "
        f"not {len(channels)}"
        if wanted
        else f"the channels of {title}'s decoder cannot be chosen in {dimensions}D",
        where="network.decoder_channels",
        mend="leave it out for the architecture's own",
    )


def check_patch(architecture: str, encoder: str, patch: tuple[int, ...]) -> None:
    """Refuse a patch that a network cannot see.

    Args:
        architecture: Name of the architecture.
        encoder: Name of the encoder; see :func:`encoder_of`.
        patch: (y, x) or (z, y, x), in voxels.

    Raises:
        UsageError: If a side is too short or not a multiple of the network's divisor.
    """
    shape = form(architecture, len(patch))
    divisor = divisor_of(architecture, encoder, dimensions=len(patch))
    if min(patch[-2:]) < shape.least or any(n % divisor for n in patch):
        wanted = f"multiples of {divisor}"
        if shape.least > divisor:
            wanted += f", at least {shape.least} high and wide"
        raise UsageError(
            f"{_title(ARCHITECTURES.row(architecture))} needs patches whose sides are {wanted}, "
            f"not {' × '.join(map(str, patch))}",
            where="patches.size",
        )


def divisor_of(architecture: str, encoder: str, *, dimensions: int) -> int:
    """Return what height, width (and depth) of an input must be multiples of.

    Args:
        architecture: Name of the architecture.
        encoder: Name of the encoder; see :func:`encoder_of`.
        dimensions: 2 or 3.

    Returns:
        The divisor; for a planned network (:class:`Form`) the largest it can be.
    """
    own = form(architecture, dimensions).divisor
    if own is not None:
        return own
    chosen = encoder_of(architecture, encoder, dimensions=dimensions)
    return cast(int, ENCODERS.row(chosen).capabilities["divisor"])


def _title(row: Row) -> str:
    return row.help.partition(" (")[0]
