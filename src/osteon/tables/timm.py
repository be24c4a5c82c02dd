"""The models of timm as encoders, ``tu-<name>``: too many to list, so rows are made by rule.

What a model can be the encoder of follows from its family, by the beginning of its name. The
families were found by building one model of each with timm 1.0 (`docs/networks.md`); a family that
is not known here is tried, and refused by the library when it is built, if it cannot be used.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from functools import lru_cache
from pathlib import Path

from osteon.errors import DependencyError, UsageError
from osteon.registry import Row

#: What a timm model is called as an encoder begins with this.
TIMM = "tu-"
#: Such rows are built by this, and have this stride in their deepest stage.
TARGET, STRIDE = "segmentation_models_pytorch.encoders:get_encoder", 32
#: Why an encoder that is no plain vision transformer cannot be DPT's.
NOT_PLAIN = f"DPT needs a plain vision transformer of timm, such as {TIMM}vit_tiny_patch16_224"


def _families(names: str) -> re.Pattern[str]:
    return re.compile(names.replace(" ", "|"))


#: Features at one resolution, or at resolutions that are no halves of each other.
_PLAIN = _families(
    "aimv2 beit cait_ convit convmixer crossvit csatv2 deepseek_vit deit efficientvim "
    "efficientvit_m eva flexivit gemma4_vit gmixer gmlp levit mixer_ naflexvit nest_ pit_ "
    "qwen3_vit resmlp samvit sedarknet21 sequencer2d shvit test_vit tnt_ visformer vit_ vitamin "
    "volo xcit"
)
#: Of these, the vision transformers that DPT can have: their tokens keep their places, and
#: their position embeddings follow the size of the input.
_FOR_DPT = _families(r"(beit3|deit|eva|flexivit|test_vit\d*$|vit_(?!s?relpos)|vitamin)")
#: Tokens of 14 px fit none of the decoder's resolutions, which are powers of two.
_ODD_TOKENS = re.compile(r"patch14|_p14|intern300m")
#: Attention or position embeddings of one size.
_FIXED = _families(
    "bat_ botnet coat_ coatne eca_botnext eca_halonext efficientformer gcvit halo "
    "hiera_ lambda_resnet26rpt lamhalo maxvit maxxvit sebotnet sehalonet test_coatnet "
    "test_maxvit"
)
#: Sides that are rounded otherwise than by halving.
_ROUNDED = _families("inception_resnet inception_v legacy_xception mobilevitv2 nasnet pnasnet")


@lru_cache(maxsize=1)
def timm_names() -> frozenset[str]:
    """Return the names of the models of the installed timm, without importing it (or torch).

    They are read from its source, where each is a function under ``@register_model``.

    Raises:
        DependencyError: If timm or its source is not there.
    """
    found = importlib.util.find_spec("timm")
    names: set[str] = set()
    if found is not None and found.origin is not None:
        for path in (Path(found.origin).parent / "models").glob("*.py"):
            text = path.read_text(encoding="utf-8")
            names.update(re.findall(r"^@register_model\s*\ndef (\w+)\(", text, re.MULTILINE))
    if not names:
        raise DependencyError("the source of timm is not there", mend="pip install timm")
    return frozenset(names)


def timm_row(name: str) -> Row | None:
    """Make the row of ``tu-<name>`` or ``tu-<name>.<tag of its weights>``.

    Args:
        name: Name of an encoder, in lower case.

    Returns:
        The row; None if it does not begin with ``tu-``.

    Raises:
        UsageError: If timm has no such model; the message suggests the nearest.
    """
    if not name.startswith(TIMM):
        return None
    base = name.removeprefix(TIMM).partition(".")[0]
    if base not in timm_names():
        near = difflib.get_close_matches(base, sorted(timm_names()), n=3, cutoff=0.5)
        raise UsageError(
            f"encoders: there is no '{name}': timm has no model '{base}'",
            mend=f"did you mean {' or '.join(TIMM + n for n in near)}?" if near else None,
        )
    capabilities: dict[str, object] = {
        "family": "timm",
        "dimensions": (2,),
        "divisor": STRIDE,
        "global_context": True,  # not known of so many; prediction then takes care
        "cannot": _cannot(base),
    }
    return Row(name, f"{base} of timm", TARGET, capabilities)


def _cannot(base: str) -> dict[str, str]:
    if _PLAIN.match(base):
        plain = {"*": "it has no features at halves of the resolution, which all but DPT need"}
        if not _FOR_DPT.match(base):
            return plain
        if _ODD_TOKENS.search(base):
            return {**plain, "dpt": "its tokens of 14 px fit none of the decoder's resolutions"}
        return {**plain, "dpt": ""}
    if _FIXED.match(base):
        return {"*": "its attention is made for one size of input"}
    if _ROUNDED.match(base):
        return {"*": "its stages do not halve the resolution exactly"}
    return {"dpt": NOT_PLAIN}
