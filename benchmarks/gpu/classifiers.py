"""Models that give a thousand classes for raw pixels: ours, and those that a user may have instead."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from hiperceiver import Batch, HiP, Modality, create_model
from hiperceiver.tasks import Classification, ClassificationConfig

NUM_CLASSES = 1000


class MissingPackageError(Exception):
    """What a model needs is not installed."""


def make_ours(name: str, side: int) -> HiP:
    """One of our models for pictures, by VARIANT or VARIANT:fourier."""
    variant, _, positions = name.partition(":")
    overrides: dict[str, Any] = {"positions": positions} if positions else {}
    return create_model(variant, modalities={"image": Modality(grid=(side, side), channels=3)}, **overrides)


class OurClassifier(nn.Module):
    """Raw pixels (B, M, 3) to (B, 1000), read from the processor: the decoder is not run."""

    def __init__(self, name: str, side: int):
        super().__init__()
        self.task = Classification(make_ours(name, side), ClassificationConfig(num_classes=NUM_CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.task.logits(Batch(inputs={"image": x}))


class PictureClassifier(nn.Module):
    """A model of pictures (B, 3, S, S), whose result or its `logits` are (B, 1000), for raw pixels (B, M, 3)."""

    def __init__(self, model: nn.Module, side: int):
        super().__init__()
        self.model, self.side = model, side

    def forward(self, x: Tensor) -> Tensor:
        result: Any = self.model(x.mT.unflatten(2, (self.side, self.side)))
        return result if isinstance(result, Tensor) else result.logits


def _resnet_50(side: int) -> nn.Module:
    if find_spec("timm"):
        import timm  # pyright: ignore[reportMissingImports]

        return timm.create_model("resnet50", num_classes=NUM_CLASSES)
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig(num_labels=NUM_CLASSES))  # by default ResNet-50


def _vit_b(side: int) -> nn.Module:
    if find_spec("timm"):
        import timm  # pyright: ignore[reportMissingImports]

        return timm.create_model("vit_base_patch16_224", num_classes=NUM_CLASSES, img_size=side)
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(image_size=side, num_labels=NUM_CLASSES))  # by default ViT-B/16


OTHERS: dict[str, Callable[[int], nn.Module]] = {"resnet-50": _resnet_50, "vit-b": _vit_b}
"""Name -> the model for pictures of a side, of timm or transformers."""


def make_classifier(name: str, side: int) -> nn.Module:
    """A new model from raw pixels (B, M, 3) to (B, 1000).

    Raises:
        MissingPackageError: neither timm nor transformers is there.
    """
    if name not in OTHERS:
        return OurClassifier(name, side)
    if not find_spec("timm") and not find_spec("transformers"):
        raise MissingPackageError("needs timm or transformers")
    return PictureClassifier(OTHERS[name](side), side)


def num_parameters(model: nn.Module) -> int:
    """Weights that are trained, of a classifier: a decoder that it does not run is not counted."""
    used = getattr(model, "task", model)
    skipped = set()
    if isinstance(used, Classification):
        hip = used.model
        unused = [*hip.blocks[hip.processor_index + 1 :], hip.readout, hip.unembedding]
        skipped = {id(weight) for module in unused for weight in module.parameters()}
    return sum(weight.numel() for weight in used.parameters() if id(weight) not in skipped)


def random_classes(batch: int, device: str) -> Tensor:
    """Labels (B,)."""
    return torch.randint(NUM_CLASSES, (batch,), device=device)
