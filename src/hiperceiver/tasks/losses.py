"""Losses, and the sums that metrics are made of, as functions of tensors. Losses are summed in float32."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hiperceiver.settings.tasks import NumberLoss, TargetNormalisation
from hiperceiver.tasks.targets import IGNORE, is_known

Tensors = Mapping[str, Tensor]
_EPSILON = 1e-6


class LossTerm(NamedTuple):
    """A mean over what counts in a batch, and its weight."""

    value: Tensor  # float32 scalar; zero where nothing counts
    count: Tensor  # number of what counts, or the sum of its weights: float32 scalar

    def sums(self) -> dict[str, Tensor]:
        """Addends of a mean over several batches: `loss` and `weight`."""
        return {"loss": self.value.double() * self.count, "weight": self.count}


def squared_error(reconstruction: Tensor, target: Tensor, is_counted: Tensor | None = None) -> LossTerm:
    """Mean squared error over the counted tokens of a batch (B, M, C) and their channels, and these tokens' number.

    Tokens that are not counted, by bool (B, M), give neither loss nor gradient, whatever they hold. None: all count.
    """
    reconstruction, target = reconstruction.float(), target.float()
    if is_counted is None:
        count = target.new_tensor(target.shape[:2].numel())
    else:
        count = is_counted.sum().float()
        reconstruction, target = (x.masked_fill(~is_counted[..., None], 0.0) for x in (reconstruction, target))
    total = F.mse_loss(reconstruction, target, reduction="sum")
    return LossTerm(total / (count * target.shape[2]).clamp(min=1), count)


def normalise(x: Tensor, normalisation: TargetNormalisation, is_counted: Tensor | None = None) -> Tensor:
    """Bring each example (B, M, C) to zero mean and unit variance, as `mean_and_deviation`; `none` changes nothing."""
    if normalisation == "none":
        return x
    mean, deviation = mean_and_deviation(x, normalisation, is_counted)
    return (x.float() - mean) / deviation


def mean_and_deviation(
    x: Tensor, normalisation: TargetNormalisation, is_counted: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each example of `x` (B, M, C) over its counted tokens, bool (B, M), or all; in float32.

    `channel`: of each channel, (B, 1, C). `example`: of all channels together, (B, 1, 1).
    """
    x = x.float()
    if is_counted is None:
        is_counted = x.new_ones(x.shape[:2], dtype=torch.bool)
    axes = (1,) if normalisation == "channel" else (1, 2)
    count = is_counted.sum(dim=1).clamp(min=1)[:, None, None]
    if normalisation == "example":
        count = count * x.shape[2]
    hidden = ~is_counted[..., None]
    mean = x.masked_fill(hidden, 0.0).sum(dim=axes, keepdim=True) / count
    variance = (x - mean).masked_fill(hidden, 0.0).square().sum(dim=axes, keepdim=True) / count
    return mean, (variance + _EPSILON).sqrt()


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    share: Tensor | None = None,
) -> LossTerm:
    """Mean cross-entropy of logits (..., K) over all labels, int64 (...), -100 = none; and the sum of their weights.

    The weight is that of the class, by class weights (K,), times the label's share (...); None: 1. Smoothing spreads a
    share of the target over all classes.
    """
    logits, target = logits.flatten(0, -2).float(), target.flatten()
    options = {"weight": class_weights, "label_smoothing": label_smoothing, "ignore_index": IGNORE}
    each = F.cross_entropy(logits, target, reduction="none", **options)
    if share is not None:
        each = each * share.flatten()
    weight = count_labels(target, class_weights=class_weights, share=share)
    return LossTerm(each.sum() / torch.where(weight > 0, weight, 1.0), weight)


def count_labels(target: Tensor, *, class_weights: Tensor | None = None, share: Tensor | None = None) -> Tensor:
    """The sum of the weights of what has a label, as `cross_entropy` counts it: float32 scalar."""
    target = target.flatten()
    is_labelled = is_known(target)
    weight = torch.ones_like(target, dtype=torch.float32)
    if class_weights is not None:
        weight = class_weights[target.masked_fill(~is_labelled, 0)]
    if share is not None:
        weight = weight * share.flatten()
    return weight.masked_fill(~is_labelled, 0.0).sum()


def count_known(target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Number of known targets (B, ...), or the sum of the weights (B,) of their examples: float32 scalar."""
    known = is_known(target)
    return known.sum().float() if weight is None else (known * _beside(weight, target)).sum()


def binary_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    weight: Tensor | None = None,
) -> LossTerm:
    """Mean binary cross-entropy of logits (B, K) over known targets (B, K), 0 to 1, NaN = unknown; and their number.

    Class weights (K,) are those of the members of each class; others count 1. Smoothing spreads a share of the target
    over yes and no. With a weight (B,) of each example the mean is weighted, and the number the sum of weights.
    """
    known = target.masked_fill(target.isnan(), 0.0) * (1 - label_smoothing) + label_smoothing / 2
    each = F.binary_cross_entropy_with_logits(logits.float(), known, pos_weight=class_weights, reduction="none")
    return _mean_over_known(each, target, weight)


def number_error(
    prediction: Tensor, target: Tensor, kind: NumberLoss = "squared", *, weight: Tensor | None = None
) -> LossTerm:
    """Mean error of numbers (...) over known targets (...), NaN = unknown; and their number.

    `huber` is half the square up to 1, beyond it the absolute error less a half. Of targets (B, ...) with a weight (B,)
    of each example the mean is weighted, and the number the sum of weights.
    """
    measure = {"squared": F.mse_loss, "absolute": F.l1_loss, "huber": F.huber_loss}[kind]
    known = target.float().masked_fill(target.isnan(), 0.0)
    return _mean_over_known(measure(prediction.float(), known, reduction="none"), target, weight)


def _mean_over_known(each: Tensor, target: Tensor, weight: Tensor | None) -> LossTerm:
    count, known = count_known(target, weight), each.masked_fill(target.isnan(), 0.0)
    total = known.sum() if weight is None else (known * _beside(weight, target)).sum()
    return LossTerm(total / torch.where(count > 0, count, 1.0), count)


def _beside(weight: Tensor, target: Tensor) -> Tensor:
    """Weights of examples (B,) in as many axes as their targets have, (B, 1, ...)."""
    return weight.view(-1, *(1,) * (target.ndim - 1))


def balanced_weights(counts: Sequence[float], *, power: float = 0.5) -> tuple[float, ...]:
    """Class weights that lift rare classes: (the class's share)^-power, with a mean of 1 over all labels.

    `counts` are the labels of each class in the training data; a class without any counts as one label. With power 0
    all labels count the same, with 1 all classes, however rare.

    >>> balanced_weights([900, 100], power=1)
    (0.555..., 5.0)
    """
    if not counts or min(counts) < 0 or sum(counts) <= 0:
        raise ValueError(f"counts: expected numbers >= 0, not all zero, got {tuple(counts)}")
    if not 0 <= power <= 1:
        raise ValueError(f"power: expected 0 to 1, got {power!r}")
    shares = [max(count, 1) / sum(counts) for count in counts]
    raw = [share**-power for share in shares]
    mean = sum(weight * share for weight, share in zip(raw, shares, strict=True)) / sum(shares)
    return tuple(weight / mean for weight in raw)


def class_sums(label: Tensor, target: Tensor, num_classes: int) -> dict[str, Tensor]:
    """By class: how many targets are its `members`, how many of them are `found`, how many are `predicted`: (K,) each.

    `label` is the predicted class, int64 (...); a target of -100 is not counted.
    """
    known = target != IGNORE
    label, target = label[known], target[known]
    sums = {"members": target, "found": target[label == target], "predicted": label}
    return {name: x.bincount(minlength=num_classes) for name, x in sums.items()}


NUMBER_SUMS = ("count", "absolute", "square", "target", "target_square")


def number_sums(prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
    """`NUMBER_SUMS` over a batch, for each of R numbers: prediction and target (B, R), NaN in the target = unknown."""
    is_unknown = target.isnan()
    error = (prediction.double() - target.double()).masked_fill(is_unknown, 0.0)
    target = target.double().masked_fill(is_unknown, 0.0)
    addends = (~is_unknown, error.abs(), error.square(), target, target.square())
    return {name: each.sum(dim=0) for name, each in zip(NUMBER_SUMS, addends, strict=True)}


def sum_about_mean(total: Tensor, total_square: Tensor, count: Tensor) -> Tensor:
    """Sum of squared distances from the mean, of each number, from sums in float64; NaN where all are the same."""
    spread = total_square - total.square() / count
    return spread.masked_fill(spread <= 1e-12 * total_square, torch.nan)


def mean_spread(total: Tensor, total_square: Tensor, count: Tensor) -> Tensor:
    """The mean of `sum_about_mean` over channels (C,); NaN where nothing varies."""
    spread = sum_about_mean(total, total_square, count).nansum() / len(total)
    return spread.masked_fill(spread == 0, torch.nan)


def weighted_mean(values: Tensors, weights: Mapping[str, float], counts: Tensors) -> Tensor:
    """The weighted mean of the values with a count above 0; all by name."""
    each = torch.stack([values[name] for name in weights])
    weight = each.new_tensor([*weights.values()]) * (torch.stack([counts[name] for name in weights]) > 0)
    return (each.masked_fill(weight == 0, 0.0) * weight).sum() / weight.sum()
