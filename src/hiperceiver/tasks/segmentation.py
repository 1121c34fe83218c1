"""Semantic segmentation: a label for every token, read out at its position."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hiperceiver.masking import sample_visible_slots
from hiperceiver.modality import Batch
from hiperceiver.model import HiP
from hiperceiver.model.grouping import Span
from hiperceiver.model.layers import ACTIVATIONS, Activation, Linear
from hiperceiver.model.tokens import tokens_at
from hiperceiver.settings.tasks import SegmentationConfig
from hiperceiver.tasks.answers import Answer, DrawnTokens, LabelledTokens, in_words, most_probable
from hiperceiver.tasks.classes import ClassPrediction, OneClassTask
from hiperceiver.tasks.losses import LossTerm, count_labels
from hiperceiver.tasks.targets import IGNORE, find_classes
from hiperceiver.tasks.task import TargetInfo, find_input_modality

SegmentationPrediction = ClassPrediction


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


class Segmentation(OneClassTask):
    """A label for every token; `batch.targets["segmentation"]` is int64 (B, M), -100 = no label. No absent one counts.

    The model's own readout, which pretraining has taught, looks at the decoder's latents from each position; a small
    head gives the class.

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
    monitor = ("miou", "max")
    config: SegmentationConfig
    input_modality: str

    def __init__(self, model: HiP, config: SegmentationConfig):
        super().__init__(model, config)
        self.input_modality = find_input_modality(model, config.input_modality)
        width, hidden, activation = model.config.embedding_channels, config.hidden_channels, model.config.activation
        self.head = SegmentationHead(width, config.num_classes, hidden_channels=hidden, activation=activation)

    @classmethod
    def config_from_data(cls, info: TargetInfo) -> dict[str, Any]:
        """The number of classes, which of them is the background, and the modality that masks label."""
        masked = {} if info.masked_modality is None else {"input_modality": info.masked_modality}
        return {**super().config_from_data(info), "background_class": info.background_class, **masked}

    def draw(self, batch: Batch) -> Tensor | None:
        """The slots of each group that a training step compares, int64 (B, 1, R); None: all."""
        if not self.training or self.config.compared_share == 1:
            return None
        num_slots, device = self._span(batch).num_slots, batch.inputs[self.input_modality].device
        how: dict[str, Any] = {"generator": batch.generators(), "device": device}
        return sample_visible_slots(len(batch), num_slots, 1 - self.config.compared_share, **how)

    def counts(self, batch: Batch, drawn: Tensor | None = None) -> dict[str, Tensor]:
        """The weights of the labels that are compared."""
        return {"error": count_labels(self._target_at(batch, drawn), class_weights=self.class_weights)}

    def terms(self, batch: Batch, drawn: Tensor | None = None) -> dict[str, LossTerm]:
        """Cross-entropy over the labels that are compared."""
        slots = self.draw(batch) if drawn is None else drawn
        logits = self.logits(batch) if slots is None else self._read(batch, slots).flatten(1, 2)
        return {"error": self._cross_entropy(logits, self._target_at(batch, slots))}

    def logits(self, batch: Batch) -> Tensor:
        """Unnormalised log-probabilities of the classes of each token: (B, M, K)."""
        return self._read(batch)

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

    @property
    def drawings(self) -> dict[str, type[DrawnTokens]]:
        """The class of each token."""
        return {self.input_modality: LabelledTokens}

    def answers(self, batch: Batch, *, top: int = 5, seeds: Sequence[int] | None = None) -> Iterator[Answer]:
        """The share of each class, and the class of each token, -100 where it is absent."""
        classes = self.class_names
        labels, present = self.predict(batch).label.cpu(), batch.is_present(self.input_modality).cpu()
        for label, is_present in zip(labels, present, strict=True):
            counts = label[is_present].bincount(minlength=len(classes))
            shares = most_probable(counts / counts.sum().clamp(min=1), classes, top)
            label = label.masked_fill(~is_present, IGNORE)
            drawn = LabelledTokens(modality=self.input_modality, label=label, classes=classes)
            yield Answer(values={"shares": shares}, text=in_words(shares), drawn=(drawn,))

    def _read(self, batch: Batch, slots: Tensor | None = None) -> Tensor:
        """The logits of all tokens, (B, M, K), or in some slots of each group, (B, g, R, K)."""
        inputs, is_padding = self.input_tensors(batch)
        encoded = self.model.encode(inputs, is_padding=is_padding)
        latents, own_embedding = self.model.decode(encoded), self.config.own_embedding
        return self.model.read_out(
            encoded, latents, self.input_modality, self.head, own_embedding=own_embedding, slots=slots
        )

    def _span(self, batch: Batch) -> Span:
        """The groups of the labelled modality."""
        num_tokens = {name: x.shape[1] for name, x in self.input_tensors(batch)[0].items()}
        return self.model.plan(num_tokens).spans[self.input_modality]

    def _target_at(self, batch: Batch, slots: Tensor | None) -> Tensor:
        """The labels of all tokens, (B, M), or in some slots of each group, (B, g R)."""
        target = self._target(batch)
        if slots is None:
            return target
        return tokens_at(target - IGNORE, self._span(batch), slots) + IGNORE  # padding, filled with zeros, has no label

    def _target(self, batch: Batch) -> Tensor:
        shape = tuple(batch.inputs[self.input_modality].shape[:2])
        target = find_classes(batch, "segmentation", shape, self.config.num_classes)
        return target.masked_fill(~batch.is_present(self.input_modality), IGNORE)
