"""The architecture, in plain PyTorch: attention, blocks, grouping, positions, readout, HiP and Perceiver IO."""

from hiperceiver.model.block import BlockConfig, PerceiverBlock
from hiperceiver.model.grouping import GroupPlan, regroup
from hiperceiver.model.hip import HiP, HiPConfig
from hiperceiver.model.parallel import GroupParallel
from hiperceiver.model.perceiver import Encoded, HiPOutput, Perceiver, PerceiverConfig
from hiperceiver.model.perceiver_io import PerceiverIO, PerceiverIOConfig
from hiperceiver.model.saving import SavedModel, read_model, save_model
from hiperceiver.model.transfer import TransferReport, transfer_weights
from hiperceiver.model.variants import VARIANTS, build_model, create_model, variant_config

__all__ = [
    "VARIANTS",
    "BlockConfig",
    "Encoded",
    "GroupParallel",
    "GroupPlan",
    "HiP",
    "HiPConfig",
    "HiPOutput",
    "Perceiver",
    "PerceiverBlock",
    "PerceiverConfig",
    "PerceiverIO",
    "PerceiverIOConfig",
    "SavedModel",
    "TransferReport",
    "build_model",
    "create_model",
    "read_model",
    "regroup",
    "save_model",
    "transfer_weights",
    "variant_config",
]
