"""What every row of the table of losses must do, in 2D and 3D, weighted and not."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from osteon.errors import InputError, UsageError
from osteon.labels import IGNORE
from osteon.losses import build_loss
from osteon.registry import Row
from osteon.settings import JaccardSettings
from osteon.tables.losses import LOSSES

from .cases import KINDS, SHAPES, batch, value_and_gradient

WEIGHTS = {"equal": None, "weighted": (0.25, 2.0, 0.75)}


@pytest.fixture(params=LOSSES.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(WEIGHTS))
def weights(request: pytest.FixtureRequest) -> tuple[float, ...] | None:
    return WEIGHTS[request.param]


@pytest.fixture
def loss(name: str, weights: tuple[float, ...] | None) -> torch.nn.Module:
    return build_loss(KINDS[name](class_weights=weights), classes=3)


@pytest.fixture(params=list(SHAPES))
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return SHAPES[request.param]


def test_perfect_logits_lose_nothing_and_worse_ones_more(
    loss: torch.nn.Module, shape: tuple[int, ...]
) -> None:
    _, labels = batch(1, shape=shape)
    truth = functional.one_hot(labels.long(), 3).movedim(-1, 1).float()
    values = [loss(scale * truth, labels).item() for scale in (40, 4, 1, 0, -4)]
    assert values[0] == pytest.approx(0, abs=1e-5)
    assert values == sorted(values)
    assert values[-1] > 0.5


@pytest.mark.parametrize("fill", ["other", "inf", "nan"])
def test_ignored_voxels_have_no_part_in_it(
    loss: torch.nn.Module, shape: tuple[int, ...], fill: str
) -> None:
    logits, labels = batch(2, shape=shape, ignored=0.4)
    ignored = (labels == IGNORE).unsqueeze(1)
    value, gradient = value_and_gradient(loss, logits, labels)
    strange = torch.randn_like(logits) * 50 if fill == "other" else torch.tensor(float(fill))
    again, slope = value_and_gradient(loss, torch.where(ignored, strange, logits), labels)
    assert torch.equal(value, again)
    assert torch.equal(gradient, slope)
    assert (gradient.masked_select(ignored) == 0).all()
    assert (gradient.masked_select(~ignored) != 0).any()


def test_it_is_the_loss_of_the_labelled_voxels_alone(
    loss: torch.nn.Module, shape: tuple[int, ...]
) -> None:
    # So no label under the mask has a part either: there is none any more.
    logits, labels = batch(3, shape=shape, ignored=0.4)
    kept = labels != IGNORE
    alone = logits.movedim(1, -1)[kept].T.reshape(1, 3, 1, -1)
    torch.testing.assert_close(loss(logits, labels), loss(alone, labels[kept].reshape(1, 1, -1)))


@pytest.mark.parametrize("fill", [0.0, float("nan")])
def test_a_batch_of_only_ignored_voxels_is_zero_and_moves_nothing(
    loss: torch.nn.Module, shape: tuple[int, ...], fill: float
) -> None:
    logits, labels = batch(4, shape=shape, ignored=1.1)
    value, gradient = value_and_gradient(loss, logits + fill, labels)
    assert value.item() == 0
    assert (gradient == 0).all()


def test_classes_without_weight_alone_lose_nothing(name: str, shape: tuple[int, ...]) -> None:
    logits, labels = batch(5, shape=shape, present=2)
    only_last = build_loss(KINDS[name](class_weights=(0, 0, 3)), classes=3)
    value, gradient = value_and_gradient(only_last, logits, labels)
    assert value.item() == 0
    assert (gradient == 0).all()


def test_sure_and_wrong_logits_stay_finite(loss: torch.nn.Module, shape: tuple[int, ...]) -> None:
    logits, labels = batch(6, shape=shape)
    for wild in (logits * 1e4, torch.zeros_like(logits), -logits * 1e4):
        value, gradient = value_and_gradient(loss, wild, labels)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("fill", [float("nan"), float("inf")])
def test_nan_at_a_labelled_voxel_shows_in_the_loss(
    loss: torch.nn.Module, shape: tuple[int, ...], fill: float
) -> None:
    logits, labels = batch(7, shape=shape, ignored=0.2)
    index = tuple(int(i) for i in (labels != IGNORE).nonzero()[3])
    for channel in range(3):
        broken = logits.detach().clone()
        broken[(index[0], channel, *index[1:])] = fill
        assert torch.isnan(loss(broken, labels))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_summed_in_full(
    loss: torch.nn.Module, dtype: torch.dtype
) -> None:
    # 260 × 260 voxels: a sum in float16 would overflow, in bfloat16 stop growing at 256.
    logits, labels = batch(8, shape=(1, 260, 260))
    low = logits.detach().to(dtype)
    assert loss(low, labels).dtype == torch.float32
    assert torch.equal(loss(low, labels), loss(low.float(), labels))


def test_mixed_precision_does_not_reach_into_it(loss: torch.nn.Module) -> None:
    logits, labels = batch(9, shape=(2, 40, 40), ignored=0.1)
    value, gradient = value_and_gradient(loss, logits, labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert (logits.flatten(2) @ torch.ones(1600)).dtype == torch.bfloat16
        lowered, slope = value_and_gradient(loss, logits, labels)
    assert torch.equal(value, lowered)
    assert torch.equal(gradient, slope)


@pytest.mark.parametrize("small", [(2, 4, 3), (2, 2, 3, 2)], ids=["2D", "3D"])
def test_the_gradient_is_that_of_the_value(loss: torch.nn.Module, small: tuple[int, ...]) -> None:
    # Small: each input costs two evaluations.
    logits, labels = batch(10, shape=small, ignored=0.2, dtype=float)
    assert IGNORE in labels
    assert loss(logits, labels).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), (logits,))


def test_float32_is_near_float64(loss: torch.nn.Module, shape: tuple[int, ...]) -> None:
    logits, labels = batch(11, shape=shape, ignored=0.2, dtype=float)
    torch.testing.assert_close(
        loss(logits.float(), labels).double(), loss(logits, labels), rtol=1e-6, atol=0
    )


def test_the_type_of_the_labels_does_not_matter(loss: torch.nn.Module) -> None:
    logits, labels = batch(12, ignored=0.2)
    assert torch.equal(loss(logits, labels), loss(logits, labels.long()))


def test_the_order_of_voxels_and_scans_does_not_matter(
    loss: torch.nn.Module, shape: tuple[int, ...]
) -> None:
    logits, labels = batch(13, shape=shape, ignored=0.2)
    torch.testing.assert_close(
        loss(logits.flip(0).transpose(2, 3), labels.flip(0).transpose(1, 2)), loss(logits, labels)
    )


def test_memory_layout_does_not_matter(loss: torch.nn.Module) -> None:
    logits, labels = batch(14, ignored=0.2)
    last = logits.detach().to(memory_format=torch.channels_last)
    torch.testing.assert_close(loss(last, labels), loss(logits, labels))


def test_a_block_is_a_tall_slice(loss: torch.nn.Module) -> None:
    logits, labels = batch(15, shape=SHAPES["3D"], ignored=0.2)
    torch.testing.assert_close(
        loss(logits.flatten(2, 3), labels.flatten(1, 2)), loss(logits, labels)
    )


@pytest.mark.parametrize("row", list(LOSSES), ids=lambda row: row.name)
def test_a_row_is_built_from_its_own_settings(row: Row) -> None:
    assert type(build_loss(KINDS[row.name]())) is LOSSES.load(row.name)


def test_a_step_down_the_gradient_lowers_it(loss: torch.nn.Module, shape: tuple[int, ...]) -> None:
    logits, labels = batch(16, shape=shape, ignored=0.2)
    value, gradient = value_and_gradient(loss, logits, labels)
    lower = loss(logits - 0.1 * gradient / gradient.norm(), labels)
    assert lower.item() < value.item()


def test_equal_weights_are_no_weights(name: str, shape: tuple[int, ...]) -> None:
    logits, labels = batch(17, shape=shape, ignored=0.2)
    plain = build_loss(KINDS[name]())(logits, labels)
    for weight in (1, 1e-3, 1e3):
        same = build_loss(KINDS[name](class_weights=(weight,) * 3), classes=3)
        torch.testing.assert_close(same(logits, labels), plain)


def test_weights_are_no_state(loss: torch.nn.Module) -> None:
    # A checkpoint of a fit with weights and one without have the same entries.
    assert not loss.state_dict()


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        ((2, 3, 9, 7), (2, 7, 9)),
        ((2, 3, 9, 7), (1, 9, 7)),
        ((2, 3, 9, 7), (2, 1, 9, 7)),
        ((2, 3), (2,)),
        ((2, 3, 9, 7), (2, 3, 9, 7)),
    ],
)
def test_shapes_that_do_not_go_together(
    loss: torch.nn.Module, logits: tuple[int, ...], labels: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match="do not go with labels of shape"):
        loss(torch.zeros(logits), torch.zeros(labels, dtype=torch.uint8))


@pytest.mark.parametrize("value", [3, 254, -1, 256])
def test_a_label_that_is_no_class_is_refused(loss: torch.nn.Module, value: int) -> None:
    logits, labels = batch(18, ignored=0.2)
    labels = labels.long()
    labels[1, 2, 3] = value
    with pytest.raises(InputError, match=f"the labels have {value}, which is none of 3 classes"):
        loss(logits, labels)


# --- weights that are asked for, and given -------------------------------------------------


def test_weights_from_the_data_are_those_given(name: str) -> None:
    logits, labels = batch(19, ignored=0.2)
    settings = KINDS[name](class_weights="data")
    found = build_loss(settings, classes=3, class_weights=(0.25, 2.0, 0.75))
    given = build_loss(KINDS[name](class_weights=(0.25, 2.0, 0.75)), classes=3)
    assert torch.equal(found(logits, labels), given(logits, labels))
    assert not torch.equal(found(logits, labels), build_loss(KINDS[name]())(logits, labels))


def test_weights_from_the_data_that_nobody_computed(name: str) -> None:
    with pytest.raises(UsageError, match="none were computed"):
        build_loss(KINDS[name](class_weights="data"), classes=3)


@pytest.mark.parametrize("asked", [None, (1, 2, 3)])
def test_weights_that_nobody_asked_for(asked: tuple[float, ...] | None) -> None:
    with pytest.raises(UsageError, match="do not ask for them"):
        build_loss(JaccardSettings(class_weights=asked), classes=3, class_weights=(1, 2, 3))


def test_too_few_weights(name: str) -> None:
    with pytest.raises(UsageError, match="2 class weights are given, but there are 3 classes"):
        build_loss(KINDS[name](class_weights=(1, 2)), classes=3)
    with pytest.raises(UsageError, match="4 class weights are given, but there are 3 classes"):
        build_loss(KINDS[name](class_weights="data"), classes=3, class_weights=(1, 2, 3, 4))
    later = build_loss(KINDS[name](class_weights=(1, 2)))
    with pytest.raises(UsageError, match="2 class weights are given, but there are 3 classes"):
        later(*batch())


@pytest.mark.parametrize(
    "weights", [(0, 0, 0), (1, -1, 1), (1, float("inf"), 1), (1, float("nan"), 1)]
)
def test_numbers_that_are_no_weights(weights: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="finite, not negative and not all 0"):
        build_loss(JaccardSettings(class_weights="data"), classes=3, class_weights=weights)
    with pytest.raises(ValueError, match="class_weights"):
        JaccardSettings(class_weights=weights)


@pytest.mark.parametrize(
    ("name", "zeros"),
    [
        ("tversky", ("alpha", "beta")),
        ("focal-tversky", ("alpha", "beta")),
        ("focal-tversky", ("focal_weight", "tversky_weight")),
    ],
)
def test_a_loss_that_is_always_the_same_is_refused(name: str, zeros: tuple[str, str]) -> None:
    KINDS[name](**{zeros[0]: 0})
    with pytest.raises(ValueError, match="cannot both be 0"):
        KINDS[name](**dict.fromkeys(zeros, 0))
