"""`hip pretrain`: masked auto-encoding on any data, without labels."""

import torch

from hiperceiver.cli.data import find_data, open_data
from hiperceiver.cli.models import with_settings
from hiperceiver.cli.runs import train_and_report
from hiperceiver.cli.tables import shape
from hiperceiver.modality import Batch
from hiperceiver.model import build_model, variant_config
from hiperceiver.settings.commands import PretrainSettings
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig
from hiperceiver.training import seed_everything


def run(settings: PretrainSettings) -> int:
    """Pretrain a new model, or go on with a run."""
    config = with_settings(variant_config(settings.model), settings.model_settings)
    source = open_data(settings, find_data(settings), task="none")
    parts = ", ".join(f"{name} {shape(each)}" for name, each in source.modalities.items())
    print(f"an example: {' and '.join(parts.rsplit(', ', 1))}", flush=True)
    seed_everything(settings.seed)
    task = MaskedAutoencoding(build_model(config, source.modalities), settings.part(MaskedAutoencodingConfig))
    tokens = {name: torch.zeros(1, each.num_tokens, each.channels) for name, each in source.modalities.items()}
    task.draw_mask(Batch(inputs=tokens))  # what would fail in the first step fails before there is a run
    return train_and_report(task, source, settings, command="pretrain", model=settings.model)[0]
