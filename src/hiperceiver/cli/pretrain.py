"""`hip pretrain`: masked auto-encoding on any data, labels left aside."""

from __future__ import annotations

from hiperceiver.cli.data import open_data
from hiperceiver.cli.runs import check_folder, train_and_report
from hiperceiver.cli.settings import PretrainSettings
from hiperceiver.model import create_model
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig
from hiperceiver.training.randomness import seed_everything


def run(settings: PretrainSettings) -> int:
    """Pretrain a new model, or go on with a run."""
    check_folder(settings)
    mask = MaskedAutoencodingConfig(
        ratio=settings.mask_ratio,
        strategy=settings.mask_strategy,
        loss_on=settings.loss_on,
        target_normalisation=settings.target_normalisation,
    )
    source = open_data(settings, task="none")
    seed_everything(settings.seed)
    model = create_model(settings.model, source.modalities, **settings.model_settings)
    task = MaskedAutoencoding(model, mask)
    return train_and_report(task, source, settings, command="pretrain", model=settings.model)
