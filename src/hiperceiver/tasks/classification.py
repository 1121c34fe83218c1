"""Classification: one label for an example, read from the processor. The decoder is never run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from hiperceiver.modality import Batch
from hiperceiver.model import Perceiver
from hiperceiver.model.layers import Activation, CrossAttention, Linear, learned_table
from hiperceiver.tasks.losses import IGNORE, cross_entropy
from hiperceiver.tasks.task import Task, TaskConfig, check_class_settings, find_target

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

ClassReadout = Literal["query", "label"]

_TOP = 5


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(TaskConfig):
    """How a label is read out, and how it is judged."""

    num_classes: int
    """Classes, K."""
    readout: ClassReadout = "query"
    """`query`: a learned query looks at the processor's latents, then a linear layer. `label`: the model's label
    modality at the bottleneck is reconstructed."""
    label_modality: str | None = None
    """Which label modality, for `readout="label"`: grid (1,), a channel per class. None: the only one."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes."""
    class_weights: tuple[float, ...] | None = None
    """Weight of each class in the loss. None: all count the same."""

    def __post_init__(self) -> None:
        weights = check_class_settings(self.num_classes, self.class_weights, self.label_smoothing)
        object.__setattr__(self, "class_weights", weights)
        if self.readout not in get_args(ClassReadout):
            raise ValueError(f"readout: expected one of {', '.join(get_args(ClassReadout))}, got {self.readout!r}")
        if self.readout != "label" and self.label_modality is not None:
            raise ValueError(f"label_modality: only for readout='label', got {self.label_modality!r} with 'query'")


class Classes(NamedTuple):
    """What a classifier says about a batch."""

    label: Tensor
    """The most probable class: int64 (B,)."""
    probabilities: Tensor
    """Of each class: float32 (B, K)."""


class ClassificationHead(nn.Module):
    """A learned query looks at the processor's latents: (B, 1, N, D) to logits (B, K)."""

    def __init__(self, latent_channels: int, num_classes: int, *, activation: Activation):
        super().__init__()
        self.query = learned_table(1, latent_channels)
        self.readout = CrossAttention(
            latent_channels, latent_channels, num_heads=1, widening=1, activation=activation, residual=False
        )
        self.norm = nn.LayerNorm(latent_channels)
        self.output = Linear(latent_channels, num_classes)
        nn.init.zeros_(self.output.weight)  # at first all classes are as probable

    def forward(self, processor_latents: Tensor) -> Tensor:
        """(B, 1, N, D) to (B, K)."""
        x = self.readout(self.query[None, None], processor_latents)  # (B, 1, 1, D)
        return self.output(self.norm(x)).flatten(0, 2)


class Classification(Task):
    """One label for each example; `batch.targets["label"]` is int64 (B,), -100 = no label.

    Metrics: `loss`; `accuracy`; `top5_accuracy` where there are more than 5 classes; `balanced_accuracy`, the mean over
    the classes that have members of the share of them that is found.

    Args:
        model: the backbone. The decoder is neither run nor trained.
        config: how the label is read out.

    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> task = Classification(model, ClassificationConfig(num_classes=10)).eval()
    >>> task.predict(Batch(inputs={"image": torch.randn(2, 1024, 3)})).probabilities.shape
    torch.Size([2, 10])
    """

    kind: ClassVar[str] = "classification"
    config_class = ClassificationConfig
    monitor = ("accuracy", "max")
    config: ClassificationConfig
    class_weights: Tensor | None

    def __init__(self, model: Perceiver, config: ClassificationConfig):
        super().__init__(model, config)
        weights = config.class_weights
        self.register_buffer("class_weights", None if weights is None else torch.tensor(weights), persistent=False)
        if config.readout == "query":
            width = model.processor.config.num_channels
            self.head = ClassificationHead(width, config.num_classes, activation=model.config.activation)
        else:
            self.label_modality = self._find_label_modality()

    def _find_label_modality(self) -> str:
        names = self.model.label_names
        name = self.config.label_modality
        if name is None and len(names) == 1:
            name = names[0]
        if name is None or name not in names:
            expected = f"one of {', '.join(names)}" if names else "a model with a modality of role 'label'"
            raise ValueError(f"label_modality: expected {expected} for readout='label', got {name!r}")
        modality = self.model.modalities[name]
        if modality.grid != (1,) or modality.channels != self.config.num_classes:
            raise ValueError(
                f"label_modality: expected grid (1,) and {self.config.num_classes} channels, one for each class, for "
                f"{name!r}, got {modality.grid} and {modality.channels}"
            )
        return name

    def logits(self, batch: Batch) -> Tensor:
        """Unnormalised log-probabilities of the classes: (B, K)."""
        inputs, is_padding = self.input_tensors(batch)
        encoded = self.model.encode(inputs, is_padding=is_padding)
        if self.config.readout == "query":
            return self.head(encoded.processor_latents)
        # A label is read from the processor, so that the decoder's latents are not needed.
        read = self.model.reconstruct(encoded, encoded.processor_latents, [self.label_modality])
        return read[self.label_modality].squeeze(1)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy over the labelled examples. Logs nothing beside."""
        logits = self.logits(batch)
        loss, _ = self._cross_entropy(logits, batch)
        return loss, {}

    def make_metrics(self) -> MetricCollection:
        """`loss`, `accuracy`, `balanced_accuracy`, and `top5_accuracy` where there are more than 5 classes."""
        from torchmetrics import Metric, MetricCollection
        from torchmetrics.classification import MulticlassAccuracy

        from hiperceiver.tasks.metrics import BalancedAccuracy, MeanLoss

        num_classes = self.config.num_classes
        metrics: dict[str, Metric | MetricCollection] = {
            "loss": MeanLoss(),
            "accuracy": MulticlassAccuracy(num_classes, average="micro", ignore_index=IGNORE),
            "balanced_accuracy": BalancedAccuracy(num_classes, ignore_index=IGNORE),
        }
        if num_classes > _TOP:
            metrics["top5_accuracy"] = MulticlassAccuracy(num_classes, top_k=_TOP, average="micro", ignore_index=IGNORE)
        # Left to themselves, metrics whose states happen to agree on the first batch would share them ever after.
        return MetricCollection(metrics, compute_groups=False).to(self.device)

    @torch.no_grad()
    def update(self, metrics: MetricCollection, batch: Batch) -> None:
        """Count a batch in."""
        logits = self.logits(batch).float()
        loss, weight = self._cross_entropy(logits, batch)
        metrics.update(value=loss, weight=weight, preds=logits, target=batch.targets["label"])

    @torch.no_grad()
    def predict(self, batch: Batch) -> Classes:
        """The class of each example, and how probable each is."""
        probabilities = self.logits(batch).float().softmax(dim=-1)
        return Classes(probabilities.argmax(dim=-1), probabilities)

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """The head's; for `readout="label"`, what the model has for labels alone."""
        yield from super().head_parameters()
        if self.config.readout == "label":
            assert self.model.label_readout is not None
            yield from self.model.label_readout.parameters()
            yield from self.model.positions[self.label_modality].parameters()
            yield from self.model.unembedding[self.label_modality].parameters()

    def _cross_entropy(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target = find_target(batch, "label", tuple(logits.shape[:1]), self.config.num_classes)
        return cross_entropy(
            logits, target, class_weights=self.class_weights, label_smoothing=self.config.label_smoothing
        )
