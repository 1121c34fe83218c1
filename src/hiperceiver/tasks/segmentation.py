"""Semantic segmentation: a label for every token, read out at its position."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hiperceiver.modality import Batch
from hiperceiver.model import HiP
from hiperceiver.model.layers import ACTIVATIONS, Activation, Linear
from hiperceiver.settings.tasks import SegmentationConfig
from hiperceiver.tasks.answers import Answer, DrawnTokens, LabelledTokens, in_words, most_probable
from hiperceiver.tasks.losses import LossTerm, class_sums, count_labels, cross_entropy
from hiperceiver.tasks.targets import IGNORE, find_classes
from hiperceiver.tasks.task import TargetInfo, Task, find_input_modality


class SegmentationPrediction(NamedTuple):
    """The output for a batch."""

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
        nn.init.zeros_(self.output.weight)  # at first all classes are equally probable

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

    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> task = Segmentation(model, SegmentationConfig(num_classes=17)).eval()
    >>> task.predict(Batch(inputs={"image": torch.randn(2, 1024, 3)})).label.shape
    torch.Size([2, 1024])
    """

    kind = SegmentationConfig.kind
    config_class = SegmentationConfig
    target_kind = "segmentation"
    has_classes = True
    can_balance = True
    monitor = ("miou", "max")
    config: SegmentationConfig
    input_modality: str
    class_weights: Tensor | None

    def __init__(self, model: HiP, config: SegmentationConfig):
        super().__init__(model, config)
        self.input_modality = find_input_modality(model, config.input_modality)
        self.register_constant("class_weights", config.class_weights)
        self.head = SegmentationHead(
            model.config.embedding_channels,
            config.num_classes,
            hidden_channels=config.hidden_channels,
            activation=model.config.activation,
        )

    @classmethod
    def config_from_data(cls, info: TargetInfo) -> dict[str, Any]:
        """The number of classes, and which of them is the background."""
        return {"num_classes": info.num_classes, "background_class": info.background_class}

    def logits(self, batch: Batch) -> Tensor:
        """Unnormalised log-probabilities of the classes of each token: (B, M, K)."""
        inputs, is_padding = self.input_tensors(batch)
        encoded = self.model.encode(inputs, is_padding=is_padding)
        latents, own_embedding = self.model.decode(encoded), self.config.own_embedding
        return self.model.read_out(encoded, latents, self.input_modality, self.head, own_embedding=own_embedding)

    def counts(self, batch: Batch, drawn: None = None) -> dict[str, Tensor]:
        """The weights of the labelled tokens."""
        return {"error": count_labels(self._target(batch), class_weights=self.class_weights)}

    def terms(self, batch: Batch, drawn: None = None) -> dict[str, LossTerm]:
        """Cross-entropy over the labelled tokens."""
        return {"error": self._cross_entropy(self.logits(batch), self._target(batch))}

    def sum_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the loss, and of each class."""
        each_class = (self.config.num_classes,)
        return {**super().sum_shapes(), "members": each_class, "found": each_class, "predicted": each_class}

    def sums(self, batch: Batch) -> dict[str, Tensor]:
        """Those of a batch."""
        logits, target = self.logits(batch), self._target(batch)
        classes = class_sums(logits.argmax(dim=-1), target, self.config.num_classes)
        return {**self._cross_entropy(logits, target).sums(), **classes}

    def results(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`loss`, `miou`, `accuracy`, and `foreground_accuracy` where there is a background class."""
        members, found = sums["members"], sums["found"]
        union = members + sums["predicted"] - found
        results = {
            "miou": (found / union)[union > 0].mean(),
            **super().results(sums),
            "accuracy": found.sum() / members.sum(),
        }
        if self.config.background_class is not None:
            counts = torch.arange(len(members), device=members.device) != self.config.background_class
            results["foreground_accuracy"] = found[counts].sum() / members[counts].sum()
        return results

    @torch.no_grad()
    def predict(self, batch: Batch) -> SegmentationPrediction:
        """The class of each token, and the probability of each class."""
        probabilities = self.logits(batch).float().softmax(dim=-1)
        return SegmentationPrediction(probabilities.argmax(dim=-1), probabilities)

    @property
    def drawings(self) -> dict[str, type[DrawnTokens]]:
        """The class of each token."""
        return {self.input_modality: LabelledTokens}

    def answers(self, batch: Batch, *, top: int = 5, seeds: Sequence[int] | None = None) -> Iterator[Answer]:
        """The share of each class, and the class of each token, -100 where it is absent."""
        classes = self.classes or tuple(str(number) for number in range(self.config.num_classes))
        labels, present = self.predict(batch).label.cpu(), self.is_present(batch, self.input_modality).cpu()
        for label, is_present in zip(labels, present, strict=True):
            counts = label[is_present].bincount(minlength=len(classes))
            shares = most_probable(counts / counts.sum().clamp(min=1), classes, top)
            label = label.masked_fill(~is_present, IGNORE)
            drawn = LabelledTokens(modality=self.input_modality, label=label, classes=classes)
            yield Answer(values={"shares": shares}, text=in_words(shares), drawn=(drawn,))

    def _target(self, batch: Batch) -> Tensor:
        shape = tuple(batch.inputs[self.input_modality].shape[:2])
        target = find_classes(batch, "segmentation", shape, self.config.num_classes)
        return target.masked_fill(~self.is_present(batch, self.input_modality), IGNORE)

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> LossTerm:
        return cross_entropy(
            logits, target, class_weights=self.class_weights, label_smoothing=self.config.label_smoothing
        )
