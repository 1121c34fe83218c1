"""Semantic segmentation: a label for every token, read out at its position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from hiperceiver.modality import Batch
from hiperceiver.model import Perceiver
from hiperceiver.model.layers import ACTIVATIONS, Activation, Linear
from hiperceiver.settings.tasks import SegmentationConfig
from hiperceiver.tasks.losses import IGNORE, Mean, cross_entropy
from hiperceiver.tasks.task import (
    DataFacts,
    Task,
    find_input_modality,
    find_target,
)

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


class Segments(NamedTuple):
    """What a segmenter says about a batch."""

    label: Tensor
    """The most probable class of each token: int64 (B, M)."""
    probabilities: Tensor
    """Of each class, for each token: float32 (B, M, K)."""


class SegmentationHead(nn.Module):
    """Readout (B, M, E) to logits (B, M, K)."""

    def __init__(self, num_channels: int, num_classes: int, *, hidden_channels: int, activation: Activation):
        super().__init__()
        self.norm = nn.LayerNorm(num_channels)
        self.hidden = Linear(num_channels, hidden_channels) if hidden_channels else None
        self.activation = ACTIVATIONS[activation]
        self.output = Linear(hidden_channels or num_channels, num_classes)
        nn.init.zeros_(self.output.weight)  # at first all classes are as probable

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, E) to (B, M, K)."""
        x = self.norm(x)
        if self.hidden is not None:
            x = self.activation(self.hidden(x))
        return self.output(x)


class Segmentation(Task):
    """A label for every token; `batch.targets["segmentation"]` is int64 (B, M), -100 = no label.

    The model's own readout, which pretraining has taught, looks at the decoder's latents from each position; a small
    head says the class. Tokens that are absent (padding) never count.

    Metrics, over all labelled tokens of the set at once: `loss`; `miou`, the mean over classes of intersection over
    union, where a class that is neither in the targets nor predicted is left out and one that is only predicted counts
    0; `accuracy`; with a `background_class`, `foreground_accuracy`, the share of the tokens of all other classes that
    get their true class.

    Args:
        model: the backbone.
        config: what is labelled and how.

    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> task = Segmentation(model, SegmentationConfig(num_classes=17)).eval()
    >>> task.predict(Batch(inputs={"image": torch.randn(2, 1024, 3)})).label.shape
    torch.Size([2, 1024])
    """

    kind = SegmentationConfig.kind
    config_class = SegmentationConfig
    source_task: ClassVar[str] = "segmentation"
    monitor = ("miou", "max")
    config: SegmentationConfig
    class_weights: Tensor | None

    def __init__(self, model: Perceiver, config: SegmentationConfig):
        super().__init__(model, config)
        self.input_modality = find_input_modality(model, config.input_modality)
        weights = config.class_weights
        self.register_buffer(
            "class_weights", None if weights is None else torch.tensor(weights, dtype=torch.float32), persistent=False
        )
        self.head = SegmentationHead(
            model.config.embedding_channels,
            config.num_classes,
            hidden_channels=config.hidden_channels,
            activation=model.config.activation,
        )

    @classmethod
    def settings_for(cls, facts: DataFacts) -> dict[str, Any]:
        """The number of classes, and which of them is the background."""
        return {"num_classes": len(facts.classes), "background_class": facts.background_class}

    def logits(self, batch: Batch) -> Tensor:
        """Unnormalised log-probabilities of the classes of each token: (B, M, K)."""
        inputs, is_padding = self.input_tensors(batch)
        name = self.input_modality
        if name not in inputs:
            raise ValueError(f"inputs: expected {name!r}, whose tokens are labelled, got {', '.join(inputs) or 'none'}")
        encoded = self.model.encode(inputs, is_padding=is_padding)
        latents = self.model.decode(encoded)
        return self.model.read_out(encoded, latents, name, self.head, own_embedding=self.config.own_embedding)

    def terms(self, batch: Batch) -> dict[str, Mean]:
        """Cross-entropy over the labelled tokens."""
        return {"error": self._cross_entropy(self.logits(batch), self._target(batch))}

    def make_metrics(self) -> MetricCollection:
        """`loss`, `miou`, `accuracy`, and `foreground_accuracy` where there is a background class."""
        from torchmetrics import Metric, MetricCollection
        from torchmetrics.classification import MulticlassJaccardIndex

        from hiperceiver.tasks.metrics import ConfusionAccuracy, MeanLoss

        num_classes, background = self.config.num_classes, self.config.background_class
        metrics: dict[str, Metric | MetricCollection] = {
            "loss": MeanLoss(),
            "miou": MulticlassJaccardIndex(num_classes, average="macro", ignore_index=IGNORE),
            "accuracy": ConfusionAccuracy(num_classes, ignore_index=IGNORE),
        }
        if background is not None:
            metrics["foreground_accuracy"] = ConfusionAccuracy(
                num_classes, background_class=background, ignore_index=IGNORE
            )
        shared = [name for name in metrics if name != "loss"]  # one confusion matrix for all
        return MetricCollection(metrics, compute_groups=[["loss"], shared]).to(self.device)

    @torch.no_grad()
    def update(self, metrics: MetricCollection, batch: Batch) -> None:
        """Count a batch in."""
        logits, target = self.logits(batch), self._target(batch)
        loss, weight = self._cross_entropy(logits, target)
        metrics.update(value=loss, weight=weight, preds=logits.argmax(dim=-1), target=target)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Segments:
        """The class of each token, and how probable each is."""
        probabilities = self.logits(batch).float().softmax(dim=-1)
        return Segments(probabilities.argmax(dim=-1), probabilities)

    def _target(self, batch: Batch) -> Tensor:
        shape = tuple(batch.inputs[self.input_modality].shape[:2])
        target = find_target(batch, "segmentation", shape, self.config.num_classes)
        is_absent = batch.is_padding.get(self.input_modality)
        return target if is_absent is None else target.masked_fill(is_absent, IGNORE)

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Mean:
        return cross_entropy(
            logits, target, class_weights=self.class_weights, label_smoothing=self.config.label_smoothing
        )
