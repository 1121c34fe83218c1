"""Loss functions against literal NumPy, and what they need to be imported."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from closeness import assert_close

from hiperceiver.tasks import TASKS
from hiperceiver.tasks.losses import (
    balanced_weights,
    binary_cross_entropy,
    cross_entropy,
    mean_and_deviation,
    normalise,
    number_error,
    squared_error,
)


def test_squared_error_counts_what_it_is_told() -> None:
    reconstruction, target, is_counted = torch.randn(3, 10, 2), torch.randn(3, 10, 2), torch.rand(3, 10) < 0.5
    total, tokens = 0.0, 0
    for b in range(3):
        for m in range(10):
            if is_counted[b, m]:
                tokens += 1
                for c in range(2):
                    total += float(reconstruction[b, m, c] - target[b, m, c]) ** 2 / 2
    loss, count = squared_error(reconstruction, target, is_counted)
    assert count == tokens
    assert_close(loss, total / tokens, terms=2 * tokens)


def test_squared_error_of_nothing_is_zero_with_a_gradient() -> None:
    reconstruction = torch.randn(2, 5, 1, requires_grad=True)
    loss, count = squared_error(reconstruction, torch.zeros(2, 5, 1), torch.zeros(2, 5, dtype=torch.bool))
    loss.backward()
    assert loss == count == 0
    assert (reconstruction.grad == 0).all()


def test_where_nothing_is_known_losses_are_zero_with_a_gradient() -> None:
    for measure in (binary_cross_entropy, number_error):
        x = torch.randn(2, 3, requires_grad=True)
        loss, count = measure(x, torch.full((2, 3), torch.nan))
        loss.backward()
        assert loss == count == 0
        assert (x.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_losses_are_in_single_precision(dtype: torch.dtype) -> None:
    x, target = torch.randn(2, 3, dtype=dtype), torch.rand(2, 3).round()
    target[0, 0] = torch.nan
    for loss, count in (
        binary_cross_entropy(x, target, class_weights=torch.rand(3), label_smoothing=0.1),
        number_error(x, target, "huber"),
        cross_entropy(x, torch.tensor([0, -100]), share=torch.tensor([0.3, 0.5])),
    ):
        assert loss.dtype == count.dtype == torch.float32
        assert loss.isfinite()


def test_a_share_is_a_weight() -> None:
    logits, target = torch.randn(3, 4), torch.tensor([0, 2, -100])
    each = [cross_entropy(logits[i : i + 1], target[i : i + 1])[0] for i in range(3)]
    loss, weight = cross_entropy(logits, target, share=torch.tensor([0.25, 0.5, 0.9]))
    assert weight == 0.75
    assert_close(loss, (each[0] + 2 * each[1]) / 3, terms=2 * 4, scale=logits.abs().max().item())


def test_weights_of_examples_weigh_their_means() -> None:
    x, target, weight = torch.randn(3, 4), torch.rand(3, 4).round(), torch.tensor([0.5, 0.0, 2.0])
    target[2, 1:3] = torch.nan
    for measure in (binary_cross_entropy, number_error):
        first, last = measure(x[:1], target[:1]), measure(x[2:], target[2:])
        loss, count = measure(x, target, weight=weight)
        assert count == 0.5 * 4 + 2.0 * 2
        wanted = (0.5 * 4 * first.value + 2.0 * 2 * last.value) / count
        assert_close(loss, wanted, terms=12, scale=x.abs().max().item() ** 2)
        assert_close(measure(x, target, weight=torch.ones(3)).value, measure(x, target).value, terms=12)
        nothing = measure(x, target, weight=torch.zeros(3))
        assert nothing.value == nothing.count == 0


@pytest.mark.parametrize(("normalisation", "axes"), [("channel", (0,)), ("example", (0, 1))])
@pytest.mark.parametrize("has_absent", [False, True])
def test_normalised_examples_have_zero_mean_and_unit_variance(normalisation, axes, has_absent) -> None:
    x = torch.randn(3, 40, 2) * torch.tensor([3.0, 0.5]) + torch.tensor([10.0, -2.0])
    is_counted = torch.rand(3, 40) < 0.7 if has_absent else None
    result = normalise(x, normalisation, is_counted).numpy()
    mean, deviation = mean_and_deviation(x, normalisation, is_counted)
    for b in range(3):
        rows = slice(None) if is_counted is None else is_counted[b].numpy()
        plain, found = x[b][rows].double().numpy(), result[b][rows].astype(np.float64)
        variance = plain.var(axis=axes)
        terms = plain.size // variance.size
        scale = float(np.max(np.abs(plain).max(axis=axes) / np.sqrt(variance)))
        assert_close(found.mean(axis=axes), 0.0, terms=terms, scale=scale, dtype=torch.float32)
        assert_close(found.var(axis=axes), variance / (variance + 1e-6), terms=terms, scale=scale, dtype=torch.float32)
        assert_close(mean[b].squeeze(), plain.mean(axis=axes), terms=terms, scale=np.abs(plain).max())
        assert_close(deviation[b].squeeze(), np.sqrt(variance + 1e-6), terms=terms, scale=np.abs(plain).max())


def test_normalisation_keeps_a_constant_finite_and_may_do_nothing() -> None:
    assert (normalise(torch.full((1, 5, 2), 7.0), "channel") == 0).all()
    x = torch.randn(1, 5, 2)
    assert normalise(x, "none") is x


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, (1.0, 0.0, 3.0, 0.5)])
def test_cross_entropy_is_the_weighted_mean_over_labels(smoothing: float, weights: tuple[float, ...] | None) -> None:
    logits, target = torch.randn(2, 6, 4), torch.randint(0, 4, (2, 6))
    target[0, 1] = target[1, 3] = -100
    log_probabilities = logits - logits.exp().sum(dim=-1, keepdim=True).log()
    total, weight_sum = 0.0, 0.0
    for b in range(2):
        for m in range(6):
            label = int(target[b, m])
            if label == -100:
                continue
            wanted = np.full(4, smoothing / 4)
            wanted[label] += 1 - smoothing
            w = np.ones(4) if weights is None else np.array(weights)
            total -= float((wanted * w * log_probabilities[b, m].numpy()).sum())
            weight_sum += w[label]
    loss, weight = cross_entropy(
        logits,
        target,
        class_weights=None if weights is None else torch.tensor(weights),
        label_smoothing=smoothing,
    )
    assert_close(weight, weight_sum, terms=10)
    assert_close(loss, total / weight_sum, terms=10 * 4, scale=log_probabilities.abs().max().item())


def test_cross_entropy_of_nothing_is_zero_with_a_gradient() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    loss, weight = cross_entropy(logits, torch.full((3,), -100))
    loss.backward()
    assert loss == weight == 0
    assert (logits.grad == 0).all()


def test_losses_need_no_extra() -> None:
    program = """
import sys
for name in ("lightning_fabric", "PIL", "datasets", "matplotlib", "rich"):
    sys.modules[name] = None  # importing it fails
import torch
from hiperceiver import Batch, Modality, create_model
from hiperceiver.tasks import TASKS, label_modalities, task_from_settings
settings = {
    "masked-autoencoding": {},
    "classification": {"num_classes": 3, "mixup": 1.0, "cutmix": 1.0},
    "multilabel": {"num_classes": 3},
    "segmentation": {"num_classes": 3},
    "regression": {"num_values": 2},
    "forecasting": {"horizon": 2},
    "joint": {"labels": {"label": 3}},
}
for kind in TASKS:
    modalities = {"image": Modality(grid=(8, 8), channels=3), **label_modalities({"label": 3})}
    model = create_model("hip-nano", modalities=modalities)
    targets = {"label": torch.tensor([1]), "segmentation": torch.ones(1, 64, dtype=torch.int64)}
    targets |= {"labels": torch.ones(1, 3), "values": torch.ones(1, 2)}
    batch = Batch(inputs={"image": torch.randn(1, 64, 3)}, targets=targets)
    task = task_from_settings({"kind": kind, **settings[kind]}, model)
    task.loss(batch)[0].backward()
    task.predict(batch)
    print(kind)
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert result.stderr == ""
    assert result.stdout.split() == list(TASKS)


def test_balanced_weights_lift_rare_classes_and_keep_the_mean() -> None:
    counts = [700, 200, 100, 0]
    plain, half, whole = (balanced_weights(counts, power=power) for power in (0, 0.5, 1))

    assert plain == (1, 1, 1, 1)
    assert_close([weight * max(count, 1) for weight, count in zip(whole, counts, strict=True)], whole[3], terms=4)
    assert half[0] < half[1] < half[2] < half[3]
    assert_close(half[2] / half[0], (700 / 100) ** 0.5, terms=4)
    for weights in (half, whole):
        assert_close(np.average(weights, weights=[700, 200, 100, 1]), 1.0, terms=4)


@pytest.mark.parametrize("counts", [[], [0, 0], [1, -1]])
def test_counts_that_say_nothing_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="^counts: expected numbers >= 0, not all zero, got"):
        balanced_weights(counts)
    with pytest.raises(ValueError, match=r"^power: expected 0 to 1, got 2$"):
        balanced_weights([1, 2], power=2)
