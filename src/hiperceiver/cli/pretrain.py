"""`hip pretrain`: masked auto-encoding on any data, labels left aside."""

from __future__ import annotations

import torch

from hiperceiver.cli.data import describe_modalities, open_data
from hiperceiver.cli.errors import renamed
from hiperceiver.cli.models import with_settings
from hiperceiver.cli.runs import train_and_report
from hiperceiver.cli.settings import PretrainSettings
from hiperceiver.modality import Batch
from hiperceiver.model import build_model, variant_config
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig
from hiperceiver.training import seed_everything

OUR_NAMES = {
    "mask_ratio": "mask-ratio",
    "mask_strategy": "mask-strategy",
    "compared_share": "compared-share",
    "modality_weights": "modality-weights",
}
"""What the task calls an option -> what the user does."""


def run(settings: PretrainSettings) -> int:
    """Pretrain a new model, or go on with a run."""
    with renamed(OUR_NAMES):
        mask = MaskedAutoencodingConfig(
            mask_ratio=settings.mask_ratio,
            mask_strategy=settings.mask_strategy,
            loss_on=settings.loss_on,
            compared_share=settings.compared_share,
            target_normalisation=settings.target_normalisation,
            modality_weights=settings.modality_weights or None,
        )
        config = with_settings(variant_config(settings.model), settings.model_settings)
        source = open_data(settings, task="none")
        print(f"an example: {describe_modalities(source)}", flush=True)
        seed_everything(settings.seed)
        task = MaskedAutoencoding(build_model(config, source.modalities), mask)
        tokens = {name: torch.zeros(1, each.num_tokens, each.channels) for name, each in source.modalities.items()}
        task.draw_mask(Batch(inputs=tokens))  # what would fail in the first step fails before there is a run
        return train_and_report(task, source, settings, command="pretrain", model=settings.model)[0]
