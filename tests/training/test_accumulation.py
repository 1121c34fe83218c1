"""Batches whose gradients are accumulated make the step that one large batch makes, however unevenly labels lie."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from closeness import assert_close, assert_gradients_close, gradient_terms_of, terms_of
from torch import Tensor

from hiperceiver.data.collate import collate
from hiperceiver.data.example import Example
from hiperceiver.model import HiP
from hiperceiver.tasks import (
    Classification,
    ClassificationConfig,
    Forecasting,
    ForecastingConfig,
    Joint,
    JointConfig,
    Multilabel,
    MultilabelConfig,
    Regression,
    RegressionConfig,
    Task,
    label_modalities,
)
from hiperceiver.training import TrainingSettings, train
from hiperceiver.training.strategies import Replicated

from .synthetic import Source, make_model
from .together import Ragged, segmentation, two_modalities, with_sound

LABELS = {"mood": 2, "size": 0}


class Everything(Ragged):
    """Examples with a target for each task, and often none."""

    def __getitem__(self, index: int) -> Example:
        example = super().__getitem__(index)
        assert isinstance(example, Example)
        gap = float("nan") if index % 3 == 0 else 1.0
        targets = {
            **example.targets,
            "label": torch.tensor(-100 if index % 4 == 1 else index % 2),
            "labels": torch.tensor([1.0, gap * (index % 2)]),
            "values": torch.tensor([float(index), gap]),
            "mood": torch.tensor(-100 if index % 5 else 1),
            "size": torch.tensor(gap * index),
        }
        return Example(inputs=example.inputs, is_padding=example.is_padding, targets=targets, name=example.name)


def make(task_class: type[Task], config: object, **labels: object) -> Task:
    torch.manual_seed(0)
    task = task_class(HiP(make_model().config, {**with_sound(), **labels}), config)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        for weight in task.parameters():  # heads begin with zeros, which give the rest no gradient
            weight.add_(0.05 * torch.randn_like(weight))
    return task


TASKS: dict[str, Callable[[], Task]] = {
    "masked-autoencoding": two_modalities,
    "classification": lambda: make(
        Classification, ClassificationConfig(num_classes=2, class_weights=(0.3, 2.0), label_smoothing=0.1)
    ),
    "multilabel": lambda: make(Multilabel, MultilabelConfig(num_classes=2)),
    "regression": lambda: make(Regression, RegressionConfig(num_values=2)),
    "segmentation": segmentation,
    "forecasting": lambda: make(Forecasting, ForecastingConfig(input_modality="sound", horizon=3)),
    "joint": lambda: make(
        Joint, JointConfig(labels=LABELS, weights={"size": 3.0}, shown=0.0), **label_modalities(LABELS)
    ),
}
RANDOM: dict[str, Callable[[], Task]] = {
    "mixup": lambda: make(Classification, ClassificationConfig(num_classes=2, mixup=0.8, class_weights=(0.3, 2.0))),
    "cutmix": lambda: make(Multilabel, MultilabelConfig(num_classes=2, cutmix=1.0)),
    "shown": lambda: make(Joint, JointConfig(labels=LABELS, shown=0.5), **label_modalities(LABELS)),
}
"""Tasks whose counts depend on random choices."""


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """The gradients of all steps, as they were before they were clipped."""
    found: list[dict[str, Tensor]] = []
    clip = Replicated.clip

    def spying(strategy: Replicated, longest: float | None) -> Tensor:
        weights = strategy.task.named_parameters()
        found.append({name: weight.grad.clone() for name, weight in weights if weight.grad is not None})
        return clip(strategy, longest)

    monkeypatch.setattr(Replicated, "clip", spying)
    return found


@pytest.mark.parametrize("name", [*TASKS, *RANDOM])
def test_accumulated_gradients_are_those_of_the_large_batch(
    name: str, gradients: list[dict[str, Tensor]], tmp_path: Path
) -> None:
    source, losses = Source(splits={"train": Everything(20)}, modalities=with_sound()), []
    make_task = {**TASKS, **RANDOM}[name]
    parts = [(4, 3), (2, 6)] if name in ("mixup", "cutmix") else [(3, 4), (1, 12)]
    for batch_size, accumulate in [(12, 1), *parts]:
        settings = TrainingSettings(steps=1, batch_size=batch_size, accumulate=accumulate)
        losses.append(train(make_task(), source, settings, tmp_path / str(batch_size), show_progress=False).loss)
    large, *accumulated = gradients
    model = make_task().model
    assert max(gradient.abs().max() for gradient in large.values()) > 1e-3
    for each in accumulated:
        assert each.keys() == large.keys()
        assert_gradients_close(each, large, terms=gradient_terms_of(model, 12))
    assert_close(losses[1:], losses[0], terms=terms_of(model), dtype=torch.float32)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(1, 1), (1, 12), (3, 4)])
@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_what_would_stay_without_a_partner_is_refused(
    name: str, batch_size: int, accumulate: int, tmp_path: Path
) -> None:
    source = Source(splits={"train": Everything(20)}, modalities=with_sound())
    settings = TrainingSettings(steps=1, batch_size=batch_size, accumulate=accumulate)
    message = f"^batch_size: expected an even number, as mixup and cutmix take neighbours in pairs, got {batch_size}$"
    with pytest.raises(ValueError, match=message):
        train(RANDOM[name](), source, settings, tmp_path, show_progress=False)


@pytest.mark.parametrize("name", [*TASKS, *RANDOM])
def test_counts_are_those_of_the_terms(name: str) -> None:
    task = {**TASKS, **RANDOM}[name]().train()
    batch = collate([Everything(20)[index] for index in range(7)])
    torch.manual_seed(3)
    drawn = task.draw(batch)
    after = torch.get_rng_state()
    counts = task.counts(batch, drawn)
    terms = task.terms(batch, drawn)
    assert torch.equal(torch.get_rng_state(), after), "the choices were drawn before"
    assert terms.keys() == counts.keys()
    for term, (value, count) in terms.items():
        assert torch.equal(counts[term], count), term
        assert value.isfinite()
    torch.manual_seed(3)
    for term, (value, count) in task.terms(batch).items():
        assert torch.equal(torch.stack(terms[term]), torch.stack([value, count]))
