"""Numbers of a whole example, read from the processor: the bases of three tasks. The decoder is never run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hiperceiver.masking import sample_visible_slots
from hiperceiver.modality import Batch, Modality
from hiperceiver.model import HiP
from hiperceiver.model.layers import Activation, CrossAttention, Linear, learned_table
from hiperceiver.settings.tasks import ClassificationConfig, LabelReadout, MultilabelConfig, TaskConfig
from hiperceiver.tasks.answers import Answer, in_words, most_probable
from hiperceiver.tasks.classes import ClassesTask
from hiperceiver.tasks.mixing import Mixed, mix
from hiperceiver.tasks.targets import is_known
from hiperceiver.tasks.task import Task


class QueryHead(nn.Module):
    """A learned query attends to the processor's latents: (B, 1, N, D) to K numbers (B, K), zero at first."""

    def __init__(self, latent_channels: int, num_outputs: int, *, activation: Activation):
        super().__init__()
        self.query = learned_table(1, latent_channels)
        self.readout = CrossAttention(
            latent_channels, latent_channels, num_heads=1, widening=1, activation=activation, residual=False
        )
        self.norm = nn.LayerNorm(latent_channels)
        self.output = Linear(latent_channels, num_outputs)
        nn.init.zeros_(self.output.weight)  # at first all classes are equally probable

    def forward(self, processor_latents: Tensor) -> Tensor:
        """(B, 1, N, D) to (B, K)."""
        x = self.readout(self.query[None, None], processor_latents)  # (B, 1, 1, D)
        return self.output(self.norm(x)).flatten(0, 2)


class ExampleTask(Task):
    """Base of the tasks that read K numbers for each example. The decoder is neither run nor trained."""

    label_modality: str | None = None  # the label modality that is read. None: the head's query.

    def make_readout(self, num_outputs: int, readout: LabelReadout = "query", label: str | None = None) -> None:
        """For the subclass's `__init__`: the readout of K numbers, a `QueryHead` or a label modality."""
        if readout == "query":
            width = self.model.processor.config.num_channels
            self.head = QueryHead(width, num_outputs, activation=self.model.config.activation)
        else:
            self.label_modality = _find_label_modality(self.model, label, num_outputs)

    def read(self, batch: Batch, visible: Mapping[str, Tensor] | None = None) -> Tensor:
        """K numbers for each example: (B, K). Of each modality the `visible` slots are seen; None: all."""
        inputs, is_padding = self.input_tensors(batch)
        encoded = self.model.encode(inputs, is_padding=is_padding, visible=visible)
        if self.label_modality is None:
            return self.head(encoded.processor_latents)
        # A label is read from the processor, so that the decoder's latents are not needed.
        read = self.model.reconstruct(encoded, encoded.processor_latents, [self.label_modality])
        return read[self.label_modality].squeeze(1)

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """The head's; for `readout="label"`, what the model has for labels alone."""
        yield from super().head_parameters()
        if self.label_modality is not None:
            yield from label_parameters(self.model, [self.label_modality])


class Drawn(NamedTuple):
    """The random choices of a training step."""

    mixed: Mixed | None  # None: no examples are mixed
    visible: dict[str, Tensor]  # slots of each modality that are seen, int64 (B, 1, K); empty: all


class LabelsTask(ExampleTask, ClassesTask):
    """Base of the tasks that give the classes of a whole example."""

    config: ClassificationConfig | MultilabelConfig

    def __init__(self, model: HiP, config: ClassificationConfig | MultilabelConfig):
        super().__init__(model, config)
        for name, modality in model.modalities.items():
            if config.mixup and modality.num_categories:
                raise ValueError(f"mixup: expected 0, as {name!r} has categories and no amounts, got {config.mixup}")
        self.make_readout(config.num_classes, config.readout, config.label_modality)

    @classmethod
    def label_modalities(cls, config: TaskConfig) -> dict[str, Modality]:
        """With `readout="label"` one token, a channel for each class."""
        assert isinstance(config, ClassificationConfig | MultilabelConfig)
        if config.readout != "label":
            return {}
        name = config.label_modality or "label"
        return {name: Modality(grid=(1,), channels=config.num_classes, role="label")}

    def logits(self, batch: Batch) -> Tensor:
        """Unnormalised log-probabilities of the classes: (B, K)."""
        return self.read(batch)

    def drawn_logits(self, batch: Batch, drawn: Drawn | None) -> Tensor:
        """The logits of a training step's examples, mixed and without the tokens that it does not see: (B, K)."""
        if drawn is None:
            return self.logits(batch)
        return self.read(batch if drawn.mixed is None else drawn.mixed.batch, drawn.visible)

    def draw(self, batch: Batch) -> Drawn | None:
        """The batch with its labelled examples mixed, and the slots that are seen; None: the batch as it is."""
        config = self.config
        if not self.training or not (config.mixup or config.cutmix or config.token_dropout):
            return None
        mixed, generators = None, batch.generators()
        if config.mixup or config.cutmix:
            is_labelled = is_known(self._target(batch))[:, None].flatten(1).any(dim=1)
            how: dict[str, Any] = {"mixup": config.mixup, "cutmix": config.cutmix, "generators": generators}
            mixed = mix(batch, self.model.modalities, is_labelled, **how)
        return Drawn(mixed, self._draw_visible(batch, generators) if config.token_dropout else {})

    def _draw_visible(self, batch: Batch, generators: Sequence[torch.Generator]) -> dict[str, Tensor]:
        """The slots that are left in training. "PatchDropout", arXiv 2208.07220."""
        inputs, _ = self.input_tensors(batch)
        plan = self.model.plan({name: x.shape[1] for name, x in inputs.items()})
        visible: dict[str, Tensor] = {}
        for name, span in plan.spans.items():
            if plan.is_pooled or not visible:  # groups of several modalities have one pattern
                how: dict[str, Any] = {"generator": generators, "device": inputs[name].device}
                slots = sample_visible_slots(len(batch), span.num_slots, self.config.token_dropout, **how)
            visible[name] = slots
        return visible

    def answers(self, batch: Batch, *, top: int = 5, seeds: Sequence[int] | None = None) -> Iterator[Answer]:
        """The most probable classes."""
        for each in self.probabilities(batch).cpu():
            labels = most_probable(each, self.class_names, top)
            yield Answer(values={"labels": labels}, text=in_words(labels))


def label_parameters(model: HiP, names: Iterable[str]) -> Iterator[nn.Parameter]:
    """A model's parameters for reading these label modalities alone."""
    assert model.label_readout is not None
    yield from model.label_readout.parameters()
    for name in names:
        yield from model.positions[name].parameters()
        yield from model.unembedding[name].parameters()


def _find_label_modality(model: HiP, name: str | None, num_outputs: int) -> str:
    names = model.label_names
    if name is None and len(names) == 1:
        name = names[0]
    if name is None or name not in names:
        expected = f"one of {', '.join(names)}" if names else "a model with a modality of role 'label'"
        raise ValueError(f"label_modality: expected {expected} for readout='label', got {name!r}")
    grid, channels = model.modalities[name].grid, model.modalities[name].channels
    if (grid, channels) != ((1,), num_outputs):
        expected = f"grid (1,) and {num_outputs} channels, one for each class, for {name!r}"
        raise ValueError(f"label_modality: expected {expected}, got {grid} and {channels}")
    return name
