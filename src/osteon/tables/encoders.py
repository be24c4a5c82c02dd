"""The encoders, as rows; built by segmentation-models-pytorch (2D) and MONAI (3D).

Capabilities of a row:
    family: Heading in lists.
    dimensions: (2,), (3,) or both: where it can be used.
    divisor: Height, width (and depth) of an input must be multiples of this.
    global_context: True where a feature depends on the whole input (attention, squeeze and
        excitation).
    cannot: Architectures that it cannot be the encoder of → why; ``*``: all that are not named;
        an empty reason: it can.

timm's models are too many to list: ``tu-<name>`` is taken by a rule, see
:mod:`osteon.tables.timm`.
"""

from __future__ import annotations

from osteon.registry import Row, Table
from osteon.tables.timm import NOT_PLAIN, STRIDE, TARGET, timm_row

_MONAI = "monai.networks.nets:FlexibleUNet"
_POOLED = "it halves the resolution by pooling, which cannot be dilated"
#: ResNets that MONAI's FlexibleUNet has in 3D as well.
_ALSO_3D = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_NO_HALF = dict.fromkeys(
    ("unetplusplus", "linknet"),
    "it has no features at half the resolution, and segmentation-models-pytorch refuses it",
)
_NOT_DILATED = dict.fromkeys(("deeplabv3", "deeplabv3plus", "pan"), _POOLED)


def _family(
    family: str,
    *rows: tuple[str, str, float],
    whole: bool = False,
    cannot: dict[str, str] | None = None,
    note: str = "",
) -> tuple[Row, ...]:
    return tuple(
        Row(
            name,
            f"{title} ({millions:g} million parameters{note})",
            TARGET,
            {
                "family": family,
                "dimensions": (2, 3) if name in _ALSO_3D else (2,),
                "divisor": STRIDE,
                "global_context": whole,
                "cannot": {**(cannot or {}), "dpt": NOT_PLAIN},
            },
        )
        for name, title, millions in rows
    )


def _only_3d(name: str, title: str, millions: float) -> Row:
    capabilities = {
        "family": "ResNet",
        "dimensions": (3,),
        "divisor": STRIDE,
        "global_context": False,
        "cannot": {},
    }
    return Row(name, f"{title} ({millions:g} million parameters; 3D only)", _MONAI, capabilities)


#: Parameters are the encoder's own, with one input channel, in 2D where it can be used there.
_ROWS = (
    *_family(
        "ResNet",
        ("resnet18", "ResNet-18", 11.2),
        ("resnet34", "ResNet-34", 21.3),
        ("resnet50", "ResNet-50", 23.5),
        ("resnet101", "ResNet-101", 42.5),
        ("resnet152", "ResNet-152", 58.1),
    ),
    _only_3d("resnet10", "ResNet-10", 14.4),
    _only_3d("resnet200", "ResNet-200", 126.6),
    *_family(
        "ResNeXt",
        ("resnext50_32x4d", "ResNeXt-50 32×4d", 23.0),
        ("resnext101_32x4d", "ResNeXt-101 32×4d", 42.1),
        ("resnext101_32x8d", "ResNeXt-101 32×8d", 86.7),
        ("resnext101_32x16d", "ResNeXt-101 32×16d", 192.0),
        ("resnext101_32x32d", "ResNeXt-101 32×32d", 466.5),
        ("resnext101_32x48d", "ResNeXt-101 32×48d", 826.4),
    ),
    *_family(
        "DPN",
        ("dpn68", "DPN-68", 11.8),
        ("dpn68b", "DPN-68b", 11.8),
        ("dpn92", "DPN-92", 35.0),
        ("dpn98", "DPN-98", 58.9),
        ("dpn107", "DPN-107", 84.2),
        ("dpn131", "DPN-131", 76.6),
    ),
    *_family(
        "VGG",
        ("vgg11", "VGG-11", 9.2),
        ("vgg11_bn", "VGG-11 with batch norm", 9.2),
        ("vgg13", "VGG-13", 9.4),
        ("vgg13_bn", "VGG-13 with batch norm", 9.4),
        ("vgg16", "VGG-16", 14.7),
        ("vgg16_bn", "VGG-16 with batch norm", 14.7),
        ("vgg19", "VGG-19", 20.0),
        ("vgg19_bn", "VGG-19 with batch norm", 20.0),
        cannot=_NOT_DILATED,
    ),
    *_family(
        "SENet",
        ("senet154", "SENet-154", 113.0),
        ("se_resnet50", "SE-ResNet-50", 26.0),
        ("se_resnet101", "SE-ResNet-101", 47.3),
        ("se_resnet152", "SE-ResNet-152", 64.8),
        ("se_resnext50_32x4d", "SE-ResNeXt-50 32×4d", 25.5),
        ("se_resnext101_32x4d", "SE-ResNeXt-101 32×4d", 46.9),
        whole=True,
    ),
    *_family(
        "SKNet",
        ("timm-skresnet18", "SK-ResNet-18", 11.4),
        ("timm-skresnet34", "SK-ResNet-34", 21.8),
        ("timm-skresnext50_32x4d", "SK-ResNeXt-50 32×4d", 23.9),
        whole=True,
    ),
    *_family(
        "DenseNet",
        ("densenet121", "DenseNet-121", 6.9),
        ("densenet169", "DenseNet-169", 12.5),
        ("densenet201", "DenseNet-201", 18.1),
        ("densenet161", "DenseNet-161", 26.5),
        cannot=_NOT_DILATED,
    ),
    *_family(
        "Inception",
        ("inceptionresnetv2", "Inception-ResNet-v2", 54.3),
        ("inceptionv4", "Inception-v4", 41.1),
        ("xception", "Xception", 20.8),
        cannot=_NOT_DILATED,
    ),
    *_family(
        "EfficientNet",
        ("efficientnet-b0", "EfficientNet-B0", 4.0),
        ("efficientnet-b1", "EfficientNet-B1", 6.5),
        ("efficientnet-b2", "EfficientNet-B2", 7.7),
        ("efficientnet-b3", "EfficientNet-B3", 10.7),
        ("efficientnet-b4", "EfficientNet-B4", 17.5),
        ("efficientnet-b5", "EfficientNet-B5", 28.3),
        ("efficientnet-b6", "EfficientNet-B6", 40.7),
        ("efficientnet-b7", "EfficientNet-B7", 63.8),
        ("timm-efficientnet-b0", "EfficientNet-B0 of timm", 4.0),
        ("timm-efficientnet-b1", "EfficientNet-B1 of timm", 6.5),
        ("timm-efficientnet-b2", "EfficientNet-B2 of timm", 7.7),
        ("timm-efficientnet-b3", "EfficientNet-B3 of timm", 10.7),
        ("timm-efficientnet-b4", "EfficientNet-B4 of timm", 17.5),
        ("timm-efficientnet-b5", "EfficientNet-B5 of timm", 28.3),
        ("timm-efficientnet-b6", "EfficientNet-B6 of timm", 40.7),
        ("timm-efficientnet-b7", "EfficientNet-B7 of timm", 63.8),
        ("timm-efficientnet-b8", "EfficientNet-B8 of timm", 84.6),
        ("timm-efficientnet-l2", "EfficientNet-L2 of timm", 474.8),
        whole=True,
    ),
    *_family(
        "EfficientNet-Lite",
        ("timm-tf_efficientnet_lite0", "EfficientNet-Lite0", 3.4),
        ("timm-tf_efficientnet_lite1", "EfficientNet-Lite1", 4.1),
        ("timm-tf_efficientnet_lite2", "EfficientNet-Lite2", 4.8),
        ("timm-tf_efficientnet_lite3", "EfficientNet-Lite3", 6.9),
        ("timm-tf_efficientnet_lite4", "EfficientNet-Lite4", 11.7),
    ),
    *_family(
        "MobileNet",
        ("mobilenet_v2", "MobileNetV2", 2.2),
        ("mobileone_s0", "MobileOne-S0", 4.3),
        ("mobileone_s1", "MobileOne-S1", 3.5),
        ("mobileone_s2", "MobileOne-S2", 5.8),
        ("mobileone_s3", "MobileOne-S3", 8.1),
    ),
    *_family("MobileNet", ("mobileone_s4", "MobileOne-S4", 12.9), whole=True),
    *_family(
        "Mix Transformer",
        ("mit_b0", "MiT-B0", 3.3),
        ("mit_b1", "MiT-B1", 13.1),
        ("mit_b2", "MiT-B2", 24.2),
        ("mit_b3", "MiT-B3", 44.1),
        ("mit_b4", "MiT-B4", 60.8),
        ("mit_b5", "MiT-B5", 81.4),
        whole=True,
        cannot=_NO_HALF,
    ),
)


ENCODERS = Table("encoders", _ROWS, rule=timm_row)
