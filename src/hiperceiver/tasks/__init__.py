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
from hiperceiver.tasks.classification import Classes, Classification
from hiperceiver.tasks.forecasting import Forecast, Forecasting
from hiperceiver.tasks.joint import Joint, JointLabels, label_modalities
from hiperceiver.tasks.masked_autoencoding import Mask, MaskedAutoencoding, Reconstruction
from hiperceiver.tasks.multilabel import LabelSets, Multilabel
from hiperceiver.tasks.regression import Numbers, Regression
from hiperceiver.tasks.saving import TASKS, load_task, save_task, task_config_from_settings, task_from_settings
from hiperceiver.tasks.segmentation import Segmentation, Segments
from hiperceiver.tasks.task import DataFacts, Task

__all__ = [
    "TASKS",
    "Classes",
    "Classification",
    "ClassificationConfig",
    "DataFacts",
    "Forecast",
    "Forecasting",
    "ForecastingConfig",
    "Joint",
    "JointConfig",
    "JointLabels",
    "LabelSets",
    "Mask",
    "MaskedAutoencoding",
    "MaskedAutoencodingConfig",
    "Multilabel",
    "MultilabelConfig",
    "Numbers",
    "Reconstruction",
    "Regression",
    "RegressionConfig",
    "Segmentation",
    "SegmentationConfig",
    "Segments",
    "Task",
    "TaskConfig",
    "label_modalities",
    "load_task",
    "save_task",
    "task_config_from_settings",
    "task_from_settings",
]
