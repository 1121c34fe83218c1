"""Masked auto-encoding: hide most tokens, reconstruct them from the rest.

Source: "HiP", the section on masked auto-encoding; target normalisation from "Masked Autoencoders Are Scalable Vision
Learners", arXiv 2111.06377.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hiperceiver.masking import (
    Generators,
    group_wise_places,
    is_masked_place,
    num_visible,
    some_hidden_places,
    uniform_is_masked,
    visible_places,
)
from hiperceiver.modality import Batch
from hiperceiver.model import GroupPlan, Perceiver
from hiperceiver.settings.tasks import MaskedAutoencodingConfig
from hiperceiver.tasks.answers import Answer, DrawnTokens, ReconstructedTokens
from hiperceiver.tasks.losses import LossTerm, mean_and_deviation, normalise, squared_error
from hiperceiver.tasks.task import Task, num_position_channels

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

_EVALUATION_SEED = 20220222
"""Example i of an evaluation is masked by a generator of its own, seeded with this plus i."""


class Mask(NamedTuple):
    """What is hidden in a batch, in the model's form and in the loss's."""

    visible: dict[str, Tensor]
    """Per modality: the places in each group that the encoder sees, int64 (B, groups or 1, K), -1 = none. Empty where
    nothing is hidden."""
    is_masked: dict[str, Tensor]
    """Per modality: bool (B, M), True = hidden."""


class Reconstruction(NamedTuple):
    """What a masked auto-encoder makes of a batch."""

    reconstruction: dict[str, Tensor]
    """Per modality: (B, M, C), of every token, hidden or not, in the units of the input."""
    is_masked: dict[str, Tensor]
    """Per modality: bool (B, M), True = was hidden from the model."""


class MaskedAutoencoding(Task):
    """Reconstruct hidden tokens from visible ones.

    The loss is the weighted mean over modalities of the mean squared error over the counted tokens of the batch. Where
    a target is normalised, mean and variance are those of all real tokens of the example, hidden ones included.

    Metrics: `loss`, and `explained`, the share of the hidden values' variance that is explained: 1 - (squared error) /
    (squared distance of each channel from its mean over all hidden tokens of the set). 1 is perfect; 0 is what always
    saying the mean gives. It is taken in the units of the loss, so after target normalisation. With several modalities
    also `loss_NAME` and `explained_NAME`, whose weighted means the two are.

    Args:
        model: the model to pretrain. One process's share of it (`GroupParallel`) gives losses alone: metrics and
            predictions are those of whole models.
        config: what is hidden, and how it is judged.

    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.75))
    >>> loss, _ = task.loss(Batch(inputs={"image": torch.ones(2, 1024, 3)}))
    >>> loss.item()  # a new model reconstructs zeros
    1.0
    """

    kind = MaskedAutoencodingConfig.kind
    config_class = MaskedAutoencodingConfig
    monitor = ("loss", "min")
    config: MaskedAutoencodingConfig

    def __init__(self, model: Perceiver, config: MaskedAutoencodingConfig | None = None):
        super().__init__(model, config or MaskedAutoencodingConfig())
        for name in self.config.modality_weights or ():
            if name not in model.input_names:
                raise ValueError(f"modality_weights: expected names among {', '.join(model.input_names)}, got {name!r}")
        if not any(self.modality_weight(name) for name in model.input_names):
            raise ValueError("modality_weights: expected at least one above 0, got none")
        self.num_told = {name: num_position_channels(model, name) for name in model.input_names}
        for name, count in self.num_told.items():
            if count == model.modalities[name].channels:
                raise ValueError(
                    f"modalities: expected more channels of {name!r} than its coordinates, which are told and not "
                    f"reconstructed with positions='coordinate', got {count}"
                )

    def modality_weight(self, name: str) -> float:
        """Weight of a modality's loss in the mean over modalities."""
        return float((self.config.modality_weights or {}).get(name, 1.0))

    @property
    def term_weights(self) -> dict[str, float]:
        """A term for each modality."""
        return {name: self.modality_weight(name) for name in self.model.input_names}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """As for any task; of a share of the model (`GroupParallel`), what its own tokens add to it."""
        terms, group = self.terms(batch), self.model.process_group
        return self.weigh(terms, None if group is None else self.count_together(terms, group))

    def terms(self, batch: Batch) -> dict[str, LossTerm]:
        """Mask, reconstruct, compare."""
        mask = self.draw_mask(batch, None if self.training else _evaluation_generators(0, len(batch)))
        targets = self.model.own(self.targets(batch))
        if self.training and (self.config.mask_strategy, self.config.loss_on) == ("group-wise", "hidden"):
            reconstruction, targets, is_counted = self._hidden_alone(batch, mask, targets)
        else:
            reconstruction, is_counted = self._reconstruct(batch, mask), self.is_counted(batch, mask)
            if self.config.loss_on == "all":  # where no token is absent, all of them count
                is_counted = {name: is_counted[name] for name in self.input_tensors(batch)[1] if name in is_counted}
        return {
            name: squared_error(self._judged(name, reconstruction[name]), target, is_counted.get(name))
            for name, target in targets.items()
        }

    def draw_mask(self, batch: Batch, generator: Generators | None = None) -> Mask:
        """Draw what is hidden: each example its own mask.

        Group-wise, the modalities share the pattern of places, for all their groups are padded to the same length;
        where they share one group instead (Perceiver IO), each draws its own.

        Args:
            batch: only its sizes matter.
            generator: where the random numbers come from. None: PyTorch's global one.
        """
        inputs, _ = self.input_tensors(batch)
        if not inputs:
            raise ValueError(f"inputs: expected at least one of {', '.join(self.model.input_names)}, got none")
        plan, device = self._plan(inputs), next(iter(inputs.values())).device
        if not self.config.mask_ratio:
            shapes = {name: (len(batch), span.num_tokens) for name, span in plan.spans.items()}
            return Mask({}, {n: torch.zeros(shape, dtype=torch.bool, device=device) for n, shape in shapes.items()})
        if self.config.mask_strategy == "uniform":
            visible = self._uniform(plan, len(batch), generator, device)
        else:
            visible = self._group_wise(plan, len(batch), generator, device)
        is_masked = {}
        for name, span in plan.spans.items():
            hidden = is_masked_place(visible[name], span.num_places)  # (B, groups or 1, P)
            is_masked[name] = span.join(hidden.expand(-1, span.num_groups, -1))
        return Mask(visible, is_masked)

    def is_counted(self, batch: Batch, mask: Mask) -> dict[str, Tensor]:
        """Per modality, which tokens the loss counts: bool (B, M)."""
        is_padding = self.model.own(self.input_tensors(batch)[1])
        counted = {}
        for name, is_masked in self.model.own(mask.is_masked).items():
            counted[name] = is_masked if self.config.loss_on == "hidden" else torch.ones_like(is_masked)
            if name in is_padding:
                counted[name] = counted[name] & ~is_padding[name]
        return counted

    def targets(self, batch: Batch) -> dict[str, Tensor]:
        """Per modality, what the reconstruction is compared with: (B, M, C), normalised as configured.

        Coordinates are left out where they are the positions: they are told, not reconstructed.
        """
        inputs, is_padding = self.input_tensors(batch)
        targets = {}
        for name, x in inputs.items():
            num_tokens = self.model.modalities[name].num_tokens
            if self.config.target_normalisation != "none" and x.shape[1] != num_tokens:
                raise ValueError(
                    f"inputs: expected all {num_tokens} tokens of {name!r}, over which target_normalisation="
                    f"{self.config.target_normalisation!r} is done, got {x.shape[1]}"
                )
            is_absent = is_padding.get(name)
            if is_absent is not None:
                x = x.masked_fill(is_absent[..., None], 0.0)  # even NaN must not matter there
                is_absent = ~is_absent
            targets[name] = normalise(self._judged(name, x), self.config.target_normalisation, is_absent)
        return targets

    def make_metrics(self) -> MetricCollection:
        """`loss` and `explained`; with several modalities also `loss_NAME` and `explained_NAME`."""
        from torchmetrics import MetricCollection

        from hiperceiver.tasks.metrics import ReconstructionMetrics

        metric = ReconstructionMetrics(
            num_channels={name: self.model.modalities[name].channels - told for name, told in self.num_told.items()},
            weights={name: self.modality_weight(name) for name in self.model.input_names},
        )
        return MetricCollection({"reconstruction": metric}).to(self.device)

    @torch.no_grad()
    def update(self, metrics: MetricCollection, batch: Batch) -> None:
        """Count a batch in. Example i since the last reset is always masked the same way."""
        from hiperceiver.tasks.metrics import ReconstructionMetrics

        self._check_whole()
        metric = metrics["reconstruction"]
        assert isinstance(metric, ReconstructionMetrics)
        mask = self.draw_mask(batch, _evaluation_generators(int(metric.num_examples), len(batch)))
        _, is_padding = self.input_tensors(batch)
        is_hidden = {
            name: hidden & ~is_padding[name] if name in is_padding else hidden
            for name, hidden in mask.is_masked.items()
        }
        metrics.update(
            reconstruction={name: self._judged(name, x) for name, x in self._reconstruct(batch, mask).items()},
            target=self.targets(batch),
            is_counted=self.is_counted(batch, mask),
            is_hidden=is_hidden,
        )

    @torch.no_grad()
    def predict(self, batch: Batch, generator: Generators | None = None) -> Reconstruction:
        """Hide, and reconstruct what was hidden.

        With target normalisation the model speaks of normalised values, and the true mean and deviation belong to what
        it cannot know. Its answer is then brought to the units of the input with those of the visible tokens: close
        where many are visible, and a guess where few are. Coordinates that are the positions are given back as they
        came.

        Args:
            batch: only visible tokens influence the reconstruction.
            generator: draws the mask. None: example i of a batch is masked as example i of an evaluation.
        """
        self._check_whole()
        mask = self.draw_mask(batch, generator or _evaluation_generators(0, len(batch)))
        reconstruction = self._reconstruct(batch, mask)
        inputs, is_padding = self.input_tensors(batch)
        for name, x in inputs.items():
            is_absent, answer = is_padding.get(name), self._judged(name, reconstruction[name])
            if is_absent is not None:
                x = x.masked_fill(is_absent[..., None], 0.0)
            if self.config.target_normalisation != "none":
                is_visible = ~mask.is_masked[name]
                if is_absent is not None:
                    is_visible = is_visible & ~is_absent
                judged = self._judged(name, x)
                mean, deviation = mean_and_deviation(judged, self.config.target_normalisation, is_visible)
                answer = answer * deviation + mean
            if self.num_told[name]:
                answer = torch.cat([x[..., : self.num_told[name]].to(answer.dtype), answer], dim=-1)
            reconstruction[name] = answer
        return Reconstruction(reconstruction, mask.is_masked)

    @property
    def drawings(self) -> dict[str, type[DrawnTokens]]:
        """The reconstruction of each modality."""
        return dict.fromkeys(self.model.input_names, ReconstructedTokens)

    def answers(self, batch: Batch, *, top: int = 5, seeds: Sequence[int] | None = None) -> Iterator[Answer]:
        """The reconstruction of each modality, and the share of present tokens that was hidden."""
        generators = None if seeds is None else [torch.Generator().manual_seed(seed) for seed in seeds]
        prediction = self.predict(batch, generators)
        for index in range(len(batch)):
            drawn, num_hidden, num_present = [], 0, 0
            for name, tokens in prediction.reconstruction.items():
                is_masked = prediction.is_masked[name][index].cpu()
                drawn.append(ReconstructedTokens(modality=name, tokens=tokens[index].cpu(), is_masked=is_masked))
                is_present = torch.ones_like(is_masked)
                if name in batch.is_padding:
                    is_present = ~batch.is_padding[name][index].cpu()
                num_hidden += int((is_masked & is_present).sum())
                num_present += int(is_present.sum())
            share = num_hidden / max(num_present, 1)
            text = f"reconstructed with {100 * share:.0f}% hidden"
            yield Answer(values={"hidden_share": share}, text=text, drawn=tuple(drawn))

    def _reconstruct(self, batch: Batch, mask: Mask) -> dict[str, Tensor]:
        inputs, is_padding = self.input_tensors(batch)
        return self.model(inputs, is_padding=is_padding, visible=mask.visible).reconstruction

    def _hidden_alone(
        self, batch: Batch, mask: Mask, targets: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Reconstruction and targets at the hidden places that are compared, the only ones that are read: (B, g R, C).

        Beside them which of these count, bool (B, g R), where not all do.
        """
        inputs, is_padding = self.input_tensors(batch)
        # Of all modalities, also where some are computed elsewhere: random numbers must be drawn alike.
        compared_places = {
            name: some_hidden_places(mask.visible[name], span.num_places, self.config.compared_share)
            for name, span in self._plan(inputs).spans.items()
        }
        encoded = self.model.encode(inputs, is_padding=is_padding, visible=mask.visible)
        latents = self.model.decode(encoded)
        is_padding = self.model.own(is_padding)
        reconstruction, compared, is_counted = {}, {}, {}
        for name, span in encoded.plan.spans.items():
            places = compared_places[name]
            head = self.model.unembedding[name]
            read = self.model.read_out(encoded, latents, name, head, places=places)  # (B, g, R, C)
            reconstruction[name] = read.flatten(1, 2)
            places = places.expand(-1, span.num_groups, -1)
            target = span.split(targets[name])  # (B, g, P, C)
            each_channel = places[..., None].expand(-1, -1, -1, target.shape[3])
            compared[name] = target.gather(2, each_channel).flatten(1, 2)
            if name in is_padding or span.has_padding:
                is_real = ~is_padding[name] if name in is_padding else targets[name].new_ones((), dtype=torch.bool)
                is_real = span.split(is_real.expand(targets[name].shape[:2]))  # (B, g, P)
                is_counted[name] = is_real.expand(len(batch), -1, -1).gather(2, places).flatten(1, 2)
        return reconstruction, compared, is_counted

    def _check_whole(self) -> None:
        if self.model.process_group is not None:
            raise ValueError(
                "model: expected a whole one for metrics and predictions, got one process's share (GroupParallel); "
                "its whole_model() makes one"
            )

    def _plan(self, inputs: Iterable[str]) -> GroupPlan:
        return self.model.plan({name: self.model.modalities[name].num_tokens for name in inputs})

    def _judged(self, name: str, x: Tensor) -> Tensor:
        """The channels that are reconstructed: all but coordinates that are the positions."""
        return x[..., self.num_told[name] :]

    def _group_wise(
        self, plan: GroupPlan, batch_size: int, generator: Generators | None, device: torch.device
    ) -> dict[str, Tensor]:
        def draw(num_places: int) -> Tensor:
            self._check_hides(num_places)
            return group_wise_places(batch_size, num_places, self.config.mask_ratio, generator=generator, device=device)

        if plan.is_pooled:
            return {name: draw(span.num_places) for name, span in plan.spans.items()}
        shared = draw(next(iter(plan.spans.values())).num_places)
        return dict.fromkeys(plan.spans, shared)

    def _uniform(
        self, plan: GroupPlan, batch_size: int, generator: Generators | None, device: torch.device
    ) -> dict[str, Tensor]:
        sizes = [span.num_tokens for span in plan.spans.values()]
        self._check_hides(sum(sizes))
        drawn = uniform_is_masked(batch_size, sum(sizes), self.config.mask_ratio, generator=generator, device=device)
        hidden = {}
        for (name, span), part in zip(plan.spans.items(), drawn.split(sizes, dim=1), strict=True):
            hidden[name] = ~span.split(~part)  # padding counts as hidden
        if plan.is_pooled:
            return {name: visible_places(part) for name, part in hidden.items()}
        return plan.separate(visible_places(plan.merge(hidden)))  # as many places in each group of each modality

    def _check_hides(self, count: int) -> None:
        if self.config.loss_on == "hidden" and num_visible(count, self.config.mask_ratio) == count:
            raise ValueError(
                f"mask_ratio: expected one that hides something of {count} tokens, got {self.config.mask_ratio}"
            )


def _evaluation_generators(first: int, count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(_EVALUATION_SEED + index) for index in range(first, first + count)]
