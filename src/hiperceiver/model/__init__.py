"""The architecture as in the paper: attention, blocks, grouping, positions, readout, HiP and Perceiver IO."""

from hiperceiver.model.files import SavedModel, read_model, save_model
from hiperceiver.model.grouping import GroupPlan
from hiperceiver.model.hip import HiP, HiPOutput
from hiperceiver.model.perceiver_io import PerceiverIO
from hiperceiver.model.transfer import TransferReport, transfer_weights
from hiperceiver.model.variants import VARIANTS, build_model, create_model, load_model, usual_variant, variant_config
from hiperceiver.settings.model import BlockConfig, HiPConfig, PerceiverConfig, PerceiverIOConfig

__all__ = [
    "VARIANTS",
    "BlockConfig",
    "GroupPlan",
    "HiP",
    "HiPConfig",
    "HiPOutput",
    "PerceiverConfig",
    "PerceiverIO",
    "PerceiverIOConfig",
    "SavedModel",
    "TransferReport",
    "build_model",
    "create_model",
    "load_model",
    "read_model",
    "save_model",
    "transfer_weights",
    "usual_variant",
    "variant_config",
]
