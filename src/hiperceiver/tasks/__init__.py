"""Objectives with their readouts and metrics: masked auto-encoding, forecasting, and labels of many kinds."""

from hiperceiver.settings.tasks import (
    ClassificationConfig,
    ForecastingConfig,
    JointConfig,
    MaskedAutoencodingConfig,
    MultilabelConfig,
    RegressionConfig,
    SegmentationConfig,
    TaskConfig,
)
from hiperceiver.tasks.classification import Classification, ClassificationPrediction
from hiperceiver.tasks.forecasting import Forecasting, ForecastingPrediction
from hiperceiver.tasks.joint import Joint, JointPrediction, label_modalities
from hiperceiver.tasks.masked_autoencoding import Mask, MaskedAutoencoding, Reconstruction
from hiperceiver.tasks.multilabel import Multilabel, MultilabelPrediction
from hiperceiver.tasks.regression import Regression, RegressionPrediction
from hiperceiver.tasks.saving import TASKS, load_task, save_task, task_config_from_settings, task_from_settings
from hiperceiver.tasks.segmentation import Segmentation, SegmentationPrediction
from hiperceiver.tasks.task import TargetInfo, Task

__all__ = [
    "TASKS",
    "Classification",
    "ClassificationConfig",
    "ClassificationPrediction",
    "Forecasting",
    "ForecastingConfig",
    "ForecastingPrediction",
    "Joint",
    "JointConfig",
    "JointPrediction",
    "Mask",
    "MaskedAutoencoding",
    "MaskedAutoencodingConfig",
    "Multilabel",
    "MultilabelConfig",
    "MultilabelPrediction",
    "Reconstruction",
    "Regression",
    "RegressionConfig",
    "RegressionPrediction",
    "Segmentation",
    "SegmentationConfig",
    "SegmentationPrediction",
    "TargetInfo",
    "Task",
    "TaskConfig",
    "label_modalities",
    "load_task",
    "save_task",
    "task_config_from_settings",
    "task_from_settings",
]
