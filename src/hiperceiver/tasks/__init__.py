"""Objectives with their readouts and metrics: masked auto-encoding, classification, segmentation."""

from hiperceiver.tasks.classification import Classes, Classification, ClassificationConfig
from hiperceiver.tasks.masked_autoencoding import Mask, MaskedAutoencoding, MaskedAutoencodingConfig, Reconstruction
from hiperceiver.tasks.saving import TASKS, load_task, save_task, task_from_settings
from hiperceiver.tasks.segmentation import Segmentation, SegmentationConfig, Segments
from hiperceiver.tasks.task import Task, TaskConfig

__all__ = [
    "TASKS",
    "Classes",
    "Classification",
    "ClassificationConfig",
    "Mask",
    "MaskedAutoencoding",
    "MaskedAutoencodingConfig",
    "Reconstruction",
    "Segmentation",
    "SegmentationConfig",
    "Segments",
    "Task",
    "TaskConfig",
    "load_task",
    "save_task",
    "task_from_settings",
]
