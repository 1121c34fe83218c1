"""The one comparison of computed numbers: its tolerance follows from precision, number of summed terms and scale."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SAFETY = 8
GRADIENT_SAFETY = 8


def tolerance(dtype: torch.dtype, *, terms: float, scale: float) -> float:
    """How far two computations of one number may lie apart: SAFETY x eps x sqrt(terms) x scale.

    One operation rounds by at most eps / 2 of its result, and both computations do: eps. A value that `terms` roundings
    lead to, each as likely up as down, strays like a random walk, with the square root of their number (Higham and
    Mary, "A new approach to probabilistic rounding error analysis", 2019; the sure bound is linear in it and hundreds
    of times too wide). Other processors, kernels and numbers of threads sum in another order, with other roundings of
    the same size. SAFETY covers a walk's tail, the few operations beside the sums, and what later layers amplify.
    A wrong formula is off by a share of the scale: by 1,000 tolerances and more in single precision.

    Args:
        dtype: precision that is computed in.
        terms: how many terms are summed on the way to one number, in all layers, one after the other.
        scale: the largest absolute value of what is summed.
    """
    return SAFETY * torch.finfo(dtype).eps * math.sqrt(max(terms, 1)) * scale


def terms_of(model: nn.Module) -> int:
    """How many terms are summed on the way from a model's or layer's inputs to its outputs, as if its layers were one
    chain: the channels that every linear layer and norm sums, all tokens and all latents, which attention sums.
    """
    terms = _num_tokens(model)
    for name, parameter in model.named_parameters():
        if name.endswith("latents"):
            terms += len(parameter)
        elif name.endswith("weight"):
            terms += parameter.shape[-1]
    return terms


def gradient_terms_of(model: nn.Module, batch: int) -> int:
    """The same to a gradient: forward, back through twice as many products, and the sum over all rows of the batch."""
    return 3 * terms_of(model) + batch * _num_tokens(model)


def _num_tokens(model: nn.Module) -> int:
    modalities: Any = getattr(model, "modalities", {})
    return sum(modality.num_tokens for modality in modalities.values())


def is_close(
    actual: Any,
    expected: Any,
    *,
    terms: float = 1,
    scale: float | None = None,
    dtype: torch.dtype | None = None,
    equal_nan: bool = False,
) -> Tensor:
    """Which values differ by no more than rounding: bool, of the shape of `actual`. Arguments as of `assert_close`."""
    found, wanted = _precise(actual), _precise(expected)
    assert wanted.ndim == 0 or found.shape == wanted.shape, f"shape {tuple(found.shape)}, not {tuple(wanted.shape)}"
    allowed = tolerance(_precision(actual, expected, dtype), terms=terms, scale=_scale(wanted, scale))
    close = (found == wanted) | ((found - wanted).abs() <= allowed)
    return close | (found.isnan() & wanted.isnan()) if equal_nan else close


def assert_close(
    actual: Any,
    expected: Any,
    *,
    terms: float = 1,
    scale: float | None = None,
    dtype: torch.dtype | None = None,
    equal_nan: bool = False,
    name: str = "",
) -> None:
    """Assert that numbers are those expected but for rounding; see `tolerance`.

    Args:
        actual: tensor, array, number, or a list or mapping of them.
        expected: the same; one number stands for all.
        terms: how many terms are summed on the way to one number.
        scale: largest absolute value of what is summed; None: of what is expected. To be given where large terms
            cancel, or where scores of this size stand in an exponent.
        dtype: precision that is computed in. None: that of the tensors or arrays, where it is one; plain numbers are
            double.
        equal_nan: NaN is expected where NaN is.
        name: what is compared, for the message.
    """
    if isinstance(expected, Mapping):
        assert list(actual) == list(expected) or set(actual) == set(expected), f"{name}: {list(actual)}"
        pairs = [(key, actual[key], value) for key, value in expected.items()]
    elif isinstance(expected, list | tuple) and any(not _is_number(x) for x in expected):
        assert len(actual) == len(expected), f"{name}: {len(actual)} values, not {len(expected)}"
        pairs = [(index, *pair) for index, pair in enumerate(zip(actual, expected, strict=True))]
    else:
        close = is_close(actual, expected, terms=terms, scale=scale, dtype=dtype, equal_nan=equal_nan)
        if not close.all():
            found, wanted = _precise(actual), _precise(expected).expand(close.shape)
            gaps = (found - wanted).abs().masked_fill(close, -1)
            worst = gaps.nan_to_num(math.inf).argmax().item()
            at = tuple(int(i) for i in np.unravel_index(int(worst), close.shape))
            size, precision = _scale(wanted, scale), _precision(actual, expected, dtype)
            raise AssertionError(
                f"{name or 'values'}: {int((~close).sum())} of {close.numel()} differ by more than "
                f"{tolerance(precision, terms=terms, scale=size):.3g} ({terms:g} terms of up to {size:.3g} in "
                f"{precision}); the largest by {gaps[at]:.3g}, {found[at]} for {wanted[at]}, at {at}"
            )
        return
    for key, one, other in pairs:
        label = f"{name}[{key!r}]"
        assert_close(one, other, terms=terms, scale=scale, dtype=dtype, equal_nan=equal_nan, name=label)


def assert_equal(actual: Any, expected: Any, *, equal_nan: bool = False) -> None:
    """Assert that tensors, or lists and mappings of them, hold the same numbers to the bit in the same precision."""
    assert_close(actual, expected, scale=0, equal_nan=equal_nan)


def assert_within(actual: Any, expected: Any, allowed: Any) -> None:
    """Assert that numbers are those expected but for something larger than rounding: a codec's loss, a filter, chance.

    Args:
        actual: tensor, array, number or list of them.
        expected: the same; one number stands for all.
        allowed: the largest distance, for all or for each.
    """
    found, wanted = _precise(actual), _precise(expected)
    assert wanted.ndim == 0 or found.shape == wanted.shape, f"shape {tuple(found.shape)}, not {tuple(wanted.shape)}"
    gaps = (found - wanted).abs()
    far = ~(gaps <= _precise(allowed))
    assert not far.any(), (
        f"{int(far.sum())} of {far.numel()} differ by more than {allowed}, up to {gaps[far].max():.3g}"
    )


def assert_digits_close(actual: Any, expected: Any, *, scale: Any = None, digits: int = 6) -> None:
    """Assert that numbers measured in single-precision data and rounded to some digits are those expected.

    Args:
        actual: see `assert_within`.
        expected: see `assert_within`.
        scale: the size of the numbers that were rounded, for all or for each; None: that of what is expected.
        digits: how many are kept: a number that begins with 1 loses half a unit of the last.
    """
    size = _precise(expected if scale is None else scale).abs()
    assert_within(actual, expected, size * 5 * 10.0**-digits + SAFETY * torch.finfo(torch.float32).eps * size)


def assert_gradients_close(
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    terms: float,
    amplified: float = 1,
    dtype: torch.dtype | None = None,
) -> None:
    """Assert that gradients of parameters, by their names, are those expected but for rounding.

    The scale of each is the largest gradient of its layer, weight and bias together, and at least a hundredth of the
    largest of all: some gradients are zero for large terms cancel, as a softmax does not see what all its scores share.
    GRADIENT_SAFETY covers norms, whose gradients divide by deviations that may be small.

    Args:
        found: one a name.
        expected: the same.
        terms: see `gradient_terms_of`.
        amplified: how many times larger an error becomes on the way: the size of scores in an exponent.
        dtype: precision that is computed in; None: that of both.
    """
    assert found.keys() == expected.keys()
    layers: dict[str, float] = {}
    for name, gradient in expected.items():
        layer = name.rpartition(".")[0]
        layers[layer] = max(layers.get(layer, 0.0), gradient.abs().max().item() if gradient.numel() else 0.0)
    least = max(layers.values()) / 100
    for name, gradient in expected.items():
        scale = GRADIENT_SAFETY * amplified * max(layers[name.rpartition(".")[0]], least)
        assert_close(found[name], gradient, terms=terms, scale=scale, dtype=dtype, name=name)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float | np.number) or (isinstance(x, list | tuple) and all(map(_is_number, x)))


def _precise(x: Any) -> Tensor:
    return x.detach().cpu().double() if isinstance(x, Tensor) else torch.from_numpy(np.array(x, dtype=np.float64))


def _scale(wanted: Tensor, scale: float | Tensor | None) -> float:
    if scale is not None:
        return float(scale.detach() if isinstance(scale, Tensor) else scale)
    finite = wanted[wanted.isfinite()]
    return finite.abs().max().item() if len(finite) else 0.0


def _precision(actual: Any, expected: Any, dtype: torch.dtype | None) -> torch.dtype:
    """The coarser of both; two tensors have one."""
    if dtype is not None:
        return dtype
    if isinstance(actual, Tensor) and isinstance(expected, Tensor):
        assert actual.dtype == expected.dtype, f"{actual.dtype}, not {expected.dtype}"
    kinds = [
        x.dtype if isinstance(x, Tensor) else torch.from_numpy(np.empty(0, x.dtype)).dtype
        for x in (actual, expected)
        if isinstance(x, Tensor | np.ndarray | np.number)
    ]
    floats = [kind for kind in kinds if kind.is_floating_point]
    return max(floats, key=lambda kind: torch.finfo(kind).eps, default=torch.float64)
