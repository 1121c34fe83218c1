"""Where a model looks: the weights of its cross-attention at the tokens, of the very forward pass.

Shapes: B batch, M tokens, C raw channels, g groups of one modality, P slots in a group, N latents, H heads.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from hiperceiver import fast
from hiperceiver.model.grouping import Span
from hiperceiver.model.hip import HiP, Tensors
from hiperceiver.model.layers import CrossAttention, PerceiverBlock


@torch.no_grad()
def attended_tokens(
    model: HiP, inputs: Tensors, *, is_padding: Tensors | None = None, latents: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """How much latents of the first block attend to each token of their group: per modality (B, g, H, N, P).

    `Span.to_tokens` says which token is in which slot, see `on_tokens`. The weights of a latent sum to 1 over the slots
    of its group; in a Perceiver IO, whose one group all modalities share, over all their tokens and labels together.

    Args:
        model: in evaluation mode.
        inputs: per modality, float (B, M, C), as for `HiP.forward`.
        is_padding: per modality, bool (B, M), True = absent, which gets 0.
        latents: numbers of the latents in each group, of which there are N then; None: all.

    >>> from hiperceiver import Modality, create_model
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)}).eval()
    >>> attended_tokens(model, {"image": torch.randn(2, 1024, 3)}, latents=[0, 5])["image"].shape
    torch.Size([2, 16, 1, 2, 64])
    """
    first = model.blocks[0]
    assert isinstance(first, PerceiverBlock)
    with _calls(first.cross_attention) as calls:
        encoded = model.encode(inputs, is_padding=is_padding)
    chosen = slice(None) if latents is None else list(latents)
    weights = [first.cross_attention.weights(queries[:, :, chosen], *keys) for queries, *keys in calls]
    spans = encoded.plan.spans
    if not encoded.plan.is_pooled:
        return dict(zip(spans, weights, strict=True))
    sizes = [span.num_slots for span in spans.values()]
    return dict(zip(spans, weights[0][..., : sum(sizes)].split(sizes, dim=-1), strict=True))


@torch.no_grad()
def read_latents(model: HiP, read: Callable[[], object], group: int) -> Tensor:
    """How much the readout of each slot of a group attends to each latent of the last block: (B, P, N).

    The readout has one head; the weights of a slot sum to 1.

    Args:
        model: in evaluation mode.
        read: reads all tokens of one modality, in whatever way: `lambda: model(inputs, reconstruct=["image"])`.
        group: number of the group, among those of the modality.
    """
    with _calls(model.readout) as calls:
        read()
    ((queries, latents, *_),) = calls
    one = slice(group, group + 1)
    return model.readout.weights(queries[:, one], latents[:, one])[:, 0, 0]


def on_tokens(span: Span, group: int, values: Tensor) -> Tensor:
    """Values of the slots of one group, (B, P), at their tokens in row-major order: (B, M), NaN at those of others."""
    groups = values.new_full((len(values), span.num_groups, span.num_slots), torch.nan)
    groups[:, group] = values
    return span.to_tokens(groups)


def group_and_slot(span: Span, token: int) -> tuple[int, int]:
    """Where a token, by its number in row-major order, is."""
    is_it = span.to_groups((torch.arange(span.num_tokens) == token)[None])[0]
    group, slot = is_it.nonzero()[0].tolist()
    return group, slot


@contextmanager
def _calls(layer: CrossAttention) -> Iterator[list[tuple[Any, ...]]]:
    """The arguments of each call of a layer inside, where the formulas are computed as they are written."""
    calls: list[tuple[Any, ...]] = []
    hook = layer.register_forward_pre_hook(lambda module, arguments: calls.append(arguments))
    try:
        with fast.plain():
            yield calls
    finally:
        hook.remove()
