"""Masked auto-encoding: hide most tokens, reconstruct them from the rest.

Source: "HiP", the section on masked auto-encoding; target normalisation from "Masked Autoencoders Are Scalable Vision
Learners", arXiv 2111.06377.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from hiperceiver.extras import import_part
from hiperceiver.masking import (
    Generators,
    mask_to_slots,
    num_visible,
    sample_masked_slots,
    sample_visible_slots,
    slots_to_mask,
    uniform_is_masked,
)
from hiperceiver.modality import Batch
from hiperceiver.model import GroupPlan, HiP
from hiperceiver.model.grouping import Span
from hiperceiver.model.tokens import tokens_at
from hiperceiver.settings.tasks import MaskedAutoencodingConfig
from hiperceiver.tasks.answers import Answer, DrawnTokens, ReconstructedTokens
from hiperceiver.tasks.losses import (
    LossTerm,
    Tensors,
    mean_and_deviation,
    mean_spread,
    normalise,
    squared_error,
    weighted_mean,
)
from hiperceiver.tasks.metrics import Metrics
from hiperceiver.tasks.task import Task, check_hidden, num_position_channels

if TYPE_CHECKING:
    from hiperceiver.tasks.trivial import TrivialAnswers

_EVALUATION_SEED = 20220222  # example i of an evaluation is masked by a generator of its own, seeded with this plus i


class Mask(NamedTuple):
    """The hidden tokens of a batch, in the model's form and in the loss's."""

    visible: dict[str, Tensor]
    """Per modality: the slots that the encoder sees, int64 (B, groups or 1, K), -1 = none. Empty: all."""
    is_masked: dict[str, Tensor]  # per modality: bool (B, M), True = hidden
    compared: dict[str, Tensor]
    """Per modality: the hidden slots that are read out, int64 (B, groups or 1, R). Empty: all tokens."""


class Reconstruction(NamedTuple):
    """What a masked auto-encoder makes of a batch."""

    reconstruction: dict[str, Tensor]
    """Per modality: (B, M, C), of every token, hidden or not, in the units of the input."""
    is_masked: dict[str, Tensor]  # per modality: bool (B, M), True = was hidden from the model


class MaskedAutoencoding(Task):
    """Reconstruct hidden tokens from visible ones.

    The loss is the weighted mean over modalities of the mean squared error over the counted tokens of the batch. Where
    a target is normalised, mean and variance are those of all real tokens of the example, hidden ones included.

    Metrics: `loss`, and `explained`, the share of the hidden values' variance that is explained: 1 - (squared error) /
    (squared distance of each channel from its mean over all hidden tokens of the set). 1 is perfect; 0 is what the
    mean gives. It is taken in the units of the loss, so after target normalisation. With several modalities
    also `loss_NAME` and `explained_NAME`, whose weighted means the two are. Of bytes whose targets are not normalised
    also `accuracy`, or `accuracy_NAME`, the share of the hidden bytes that are guessed right. `trivial_answers` gives
    what answers without a model reach.

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
    is_self_supervised = True
    config: MaskedAutoencodingConfig

    def __init__(self, model: HiP, config: MaskedAutoencodingConfig | None = None):
        super().__init__(model, config or MaskedAutoencodingConfig())
        for name in self.config.modality_weights or ():
            if name not in model.input_names:
                raise ValueError(f"modality_weights: expected names among {', '.join(model.input_names)}, got {name!r}")
        if not any(self.term_weights.values()):
            raise ValueError("modality_weights: expected at least one above 0, got none")
        for name in model.input_names:
            check_hidden(model, name)
        self.num_position_channels = {name: num_position_channels(model, name) for name in model.input_names}
        for name, count in self.num_position_channels.items():
            if count == model.modalities[name].channels:
                coordinates = "its coordinates, which are positions and not reconstructed with positions='coordinate'"
                raise ValueError(f"modalities: expected more channels of {name!r} than {coordinates}, got {count}")

    @property
    def drawing_note(self) -> str:
        """How much is hidden, and how."""
        return f"{self.config.mask_ratio:.0%} hidden ({self.config.mask_strategy})"

    @property
    def term_weights(self) -> dict[str, float]:
        """A term for each modality."""
        return {name: float((self.config.modality_weights or {}).get(name, 1)) for name in self.model.input_names}

    def draw(self, batch: Batch) -> Mask:
        """The mask; in evaluation mode example i of a batch is masked as example i of an evaluation."""
        return self.draw_mask(batch, batch.generators() if self.training else evaluation_generators(0, len(batch)))

    def counts(self, batch: Batch, drawn: Mask | None = None) -> dict[str, Tensor]:
        """The number of tokens that are compared."""
        inputs, is_padding = self.input_tensors(batch)
        return self.count_compared(inputs, is_padding, drawn or self.draw(batch))

    def terms(self, batch: Batch, drawn: Mask | None = None) -> dict[str, LossTerm]:
        """Mask, reconstruct, compare."""
        inputs, is_padding = self.input_tensors(batch)
        return self.compare(inputs, is_padding, drawn or self.draw(batch), self.targets(batch))

    def count_compared(self, inputs: Tensors, is_padding: Tensors, mask: Mask) -> dict[str, Tensor]:
        """The counts of what `compare` gives."""
        counts = {}
        for name, span in self._plan(inputs).spans.items():
            is_counted, slots = self._is_counted(name, span, is_padding, mask), mask.compared.get(name)
            if is_counted is None:
                compared = mask.is_masked[name] if slots is None else slots.expand(-1, span.num_groups, -1)
                is_counted = compared.new_ones(()).expand(compared.shape)
            counts[name] = is_counted.sum().float()
        return counts

    def compare(self, inputs: Tensors, is_padding: Tensors, mask: Mask, targets: Tensors) -> dict[str, LossTerm]:
        """Reconstruct inputs, and take the mean squared error over the counted tokens: inputs and targets (B, M, C)."""
        encoded = self.model.encode(inputs, is_padding=is_padding, visible=mask.visible)
        latents = self.model.decode(encoded)
        terms = {}
        for name, span in encoded.plan.spans.items():
            slots, target = mask.compared.get(name), targets[name]
            read = self.model.read_out(encoded, latents, name, self.model.unembedding[name], slots=slots)
            if slots is not None:  # only hidden slots are read: (B, g, R, C), and targets with them
                read, target = read.flatten(1, 2), tokens_at(target, span, slots)
            is_counted = self._is_counted(name, span, is_padding, mask)
            terms[name] = squared_error(self._target_channels(name, read), target, is_counted)
        return terms

    def draw_mask(self, batch: Batch, generator: Generators = None) -> Mask:
        """Draw what is hidden of each example; of the batch only its sizes matter.

        Group-wise, the modalities share the pattern of slots, for all their groups are padded to the same length;
        where they share one group instead (Perceiver IO), each draws its own. A training step that counts hidden tokens
        alone compares `compared_share` of them.
        """
        inputs, _ = self.input_tensors(batch)
        if not inputs:
            raise ValueError(f"inputs: expected at least one of {', '.join(self.model.input_names)}, got none")
        plan, device = self._plan(inputs), next(iter(inputs.values())).device
        if not self.config.mask_ratio:
            return Mask({}, {name: torch.zeros_like(x[..., 0], dtype=torch.bool) for name, x in inputs.items()}, {})
        is_group_wise = self.config.mask_strategy == "group-wise"
        draw = self._draw_group_wise if is_group_wise else self._draw_uniform
        how = {"block": self.config.mask_block, "generator": generator, "device": device}
        visible = draw(plan, len(batch), how)
        is_masked, compared = {}, {}
        for name, span in plan.spans.items():
            hidden = slots_to_mask(visible[name], span.num_slots)  # (B, groups or 1, P)
            is_masked[name] = span.to_tokens(hidden.expand(-1, span.num_groups, -1))
            if self.training and is_group_wise and self.config.loss_on == "hidden":
                how = {"share": self.config.compared_share, "generator": generator}
                compared[name] = sample_masked_slots(visible[name], span.num_slots, **how)
        return Mask(visible, is_masked, compared)

    def targets(self, batch: Batch) -> dict[str, Tensor]:
        """Per modality, what the reconstruction is compared with: (B, M, C), normalised, without positions.

        Categories are compared as `Modality.as_outputs` gives them.
        """
        targets = {}
        for name in self.input_tensors(batch)[0]:
            x = self._target_channels(name, self.model.modalities[name].as_outputs(batch.present_tokens(name)))
            targets[name] = normalise(x, self.config.target_normalisation, batch.is_present(name))
        return targets

    def sum_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the examples, and of each modality; of its hidden values for each channel."""
        shapes: dict[str, tuple[int, ...]] = {"num_examples": ()}
        for name, count in self.num_position_channels.items():
            each_channel = (self.model.modalities[name].num_outputs - count,)
            shapes |= {f"{each}/{name}": () for each in ("error", "count", "hidden_error", "hidden_count")}
            shapes |= {f"{each}/{name}": each_channel for each in ("hidden", "hidden_square")}
            if self.byte_coding(name):
                shapes[f"right/{name}"] = ()
        return shapes

    @torch.no_grad()
    def update(self, metrics: Metrics, batch: Batch) -> None:
        """Add a batch. Example i of a set is always masked the same way."""
        first = int(metrics.sums.by_name()["num_examples"])
        mask = self.draw_mask(batch, evaluation_generators(first, len(batch)))
        reconstruction, sums = self._reconstruct(batch, mask), {"num_examples": torch.tensor(len(batch))}
        for name, target in self.targets(batch).items():
            made = self._target_channels(name, reconstruction[name])
            error = (made.float() - target.float()).square().mean(dim=-1)  # (B, M)
            is_present = batch.is_present(name)
            is_hidden = mask.is_masked[name] & is_present
            is_counted = is_hidden if self.config.loss_on == "hidden" else is_present
            hidden = target[is_hidden].double()  # (hidden tokens, C)
            sums |= {
                f"error/{name}": error.masked_fill(~is_counted, 0.0).sum(dtype=torch.float64),
                f"count/{name}": is_counted.sum(),
                f"hidden_error/{name}": error.masked_fill(~is_hidden, 0.0).sum(dtype=torch.float64),
                f"hidden_count/{name}": is_hidden.sum(),
                f"hidden/{name}": hidden.sum(dim=0),
                f"hidden_square/{name}": hidden.square().sum(dim=0),
            }
            if coding := self.byte_coding(name):
                sums[f"right/{name}"] = (byte_values(made, coding) == byte_values(target, coding))[is_hidden].sum()
        metrics.sums.update(sums)

    def results(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`loss` and `explained`, means over the modalities that were given; with several also those of each.

        Where all hidden values are the same there is nothing to explain: NaN, and left out of the mean.
        """
        weights = self.term_weights
        loss = {name: sums[f"error/{name}"] / sums[f"count/{name}"] for name in weights}
        explained = {}
        for name in weights:
            spread = mean_spread(*(sums[f"hidden{part}/{name}"] for part in ("", "_square", "_count")))
            explained[name] = 1 - sums[f"hidden_error/{name}"] / spread
        varies = {name: (~each.isnan()).long() for name, each in explained.items()}
        results = {}
        counts = {name: sums[f"count/{name}"] for name in weights}
        for key, each, counted in (("loss", loss, counts), ("explained", explained, varies)):
            results[key] = weighted_mean(each, weights, counted)
        if len(weights) > 1:
            for name in weights:
                results |= {f"loss_{name}": loss[name], f"explained_{name}": explained[name]}
        for name in filter(self.byte_coding, weights):
            share = sums[f"right/{name}"] / sums[f"hidden_count/{name}"]
            results["accuracy" if len(weights) == 1 else f"accuracy_{name}"] = share
        return results

    def trivial_answers(self, num_examples: int) -> TrivialAnswers:
        """The nearest visible token and the like."""
        return import_part("hiperceiver.tasks.trivial").TrivialAnswers(self, num_examples)

    def byte_coding(self, name: str) -> str | None:
        """How a modality's targets hold bytes, `onehot` or `bits`; None if they do not, or are normalised."""
        encoder = self.encoders.get(name, {})
        is_kept = encoder.get("kind") == "bytes" and self.config.target_normalisation == "none"
        if not is_kept:
            return None
        return "bits" if encoder.get("coding") == "bits" else "onehot"  # targets of numbers have a channel for each

    @torch.no_grad()
    def predict(self, batch: Batch, generator: Generators = None) -> Reconstruction:
        """Hide, and reconstruct what was hidden. Without a generator, example i is masked as that of an evaluation.

        With target normalisation the model predicts normalised values, whose true mean and deviation it does not see.
        The prediction is brought to the units of the input with those of the visible tokens: close where many are
        visible, and a guess where few are. Coordinates that are positions are returned unchanged.
        """
        mask = self.draw_mask(batch, generator or evaluation_generators(0, len(batch)))
        reconstruction, normalisation = self._reconstruct(batch, mask), self.config.target_normalisation
        for name, read in reconstruction.items():
            x = self.model.modalities[name].as_outputs(batch.present_tokens(name))
            prediction = self._target_channels(name, read)
            if normalisation != "none":
                is_visible = ~mask.is_masked[name] & batch.is_present(name)
                mean, deviation = mean_and_deviation(self._target_channels(name, x), normalisation, is_visible)
                prediction = prediction * deviation + mean
            if count := self.num_position_channels[name]:
                prediction = torch.cat([x[..., :count].to(prediction.dtype), prediction], dim=-1)
            reconstruction[name] = prediction
        return Reconstruction(reconstruction, mask.is_masked)

    @property
    def drawings(self) -> dict[str, type[DrawnTokens]]:
        """The reconstruction of each modality."""
        return dict.fromkeys(self.model.input_names, ReconstructedTokens)

    def answers(self, batch: Batch, *, top: int = 5, seeds: Sequence[int] | None = None) -> Iterator[Answer]:
        """The reconstruction of each modality, and the share of present tokens that was hidden."""
        generators = None if seeds is None else [torch.Generator().manual_seed(seed) for seed in seeds]
        prediction = self.predict(batch, generators)
        present = {name: batch.is_present(name).cpu() for name in prediction.reconstruction}
        for index in range(len(batch)):
            drawn, num_hidden, num_present = [], 0, 0
            for name, tokens in prediction.reconstruction.items():
                is_masked = prediction.is_masked[name][index].cpu()
                drawn.append(ReconstructedTokens(modality=name, tokens=tokens[index].cpu(), is_masked=is_masked))
                num_hidden += int((is_masked & present[name][index]).sum())
                num_present += int(present[name][index].sum())
            share = num_hidden / max(num_present, 1)
            text = f"reconstructed with {100 * share:.0f}% hidden"
            yield Answer(values={"hidden_share": share}, text=text, drawn=tuple(drawn))

    def _reconstruct(self, batch: Batch, mask: Mask) -> dict[str, Tensor]:
        inputs, is_padding = self.input_tensors(batch)
        return self.model(inputs, is_padding=is_padding, visible=mask.visible).reconstruction

    def _is_counted(self, name: str, span: Span, is_padding: Tensors, mask: Mask) -> Tensor | None:
        """Which of the tokens that `compare` reads count: bool (B, M), of some hidden slots (B, g R); None: all."""
        is_present = ~is_padding[name] if name in is_padding else None
        if name in mask.compared:
            if is_present is None and not span.has_padding:
                return None
            is_present = torch.ones_like(mask.is_masked[name]) if is_present is None else is_present
            return tokens_at(is_present, span, mask.compared[name])
        if self.config.loss_on == "all":
            return is_present
        return mask.is_masked[name] if is_present is None else mask.is_masked[name] & is_present

    def _plan(self, inputs: Iterable[str]) -> GroupPlan:
        return self.model.plan({name: self.model.modalities[name].num_tokens for name in inputs})

    def _target_channels(self, name: str, x: Tensor) -> Tensor:
        """The channels that are reconstructed: all but coordinates that are positions."""
        return x[..., self.num_position_channels[name] :]

    def _draw_group_wise(self, plan: GroupPlan, batch_size: int, where: dict[str, Any]) -> dict[str, Tensor]:
        visible, first = {}, next(iter(plan.spans))
        for name in plan.spans if plan.is_pooled else [first]:  # groups of several modalities have one mask
            self._check_hides(num_slots := plan.spans[name].num_slots)
            visible[name] = sample_visible_slots(batch_size, num_slots, self.config.mask_ratio, **where)
        return {name: visible.get(name, visible[first]) for name in plan.spans}

    def _draw_uniform(self, plan: GroupPlan, batch_size: int, where: dict[str, Any]) -> dict[str, Tensor]:
        sizes = [span.num_tokens for span in plan.spans.values()]
        self._check_hides(sum(sizes))
        drawn = uniform_is_masked(batch_size, sum(sizes), self.config.mask_ratio, **where)
        hidden = {}
        for (name, span), part in zip(plan.spans.items(), drawn.split(sizes, dim=1), strict=True):
            tokens = part if span.order is None else span.order.restore(part)  # blocks lie along its curve
            hidden[name] = ~span.to_groups(~tokens)  # padding counts as hidden
        if plan.is_pooled:
            return {name: mask_to_slots(part) for name, part in hidden.items()}
        return plan.split(mask_to_slots(plan.concat(hidden)))  # as many slots in each group of each modality

    def _check_hides(self, count: int) -> None:
        if (block := self.config.mask_block) > count:
            raise ValueError(f"mask_block: expected at most the {count} tokens that are drawn from, got {block}")
        if self.config.loss_on == "hidden" and num_visible(count, self.config.mask_ratio) == count:
            ratio = self.config.mask_ratio
            raise ValueError(f"mask_ratio: expected one that hides something of {count} tokens, got {ratio}")


def evaluation_generators(first: int, count: int) -> list[torch.Generator]:
    """The generators that mask examples `first` to `first + count - 1` of an evaluation."""
    return [evaluation_generator(index) for index in range(first, first + count)]


def evaluation_generator(index: int) -> torch.Generator:
    """The generator that masks an example of an evaluation."""
    return torch.Generator().manual_seed(_EVALUATION_SEED + index)


def byte_values(tokens: Tensor, coding: str) -> Tensor:
    """The likeliest byte of each token (..., C), by its first channels: one for each byte, or for each bit; (...)."""
    if coding == "onehot":
        return tokens[..., :256].argmax(dim=-1)
    bits = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], device=tokens.device)
    return ((tokens[..., :8] > 0) * bits).sum(dim=-1)
