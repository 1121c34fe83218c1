"""Objectives with their readouts and metrics: masked auto-encoding, forecasting, and labels of many kinds."""

from hiperceiver.tasks.classification import Classes, Classification, ClassificationConfig
from hiperceiver.tasks.forecasting import Forecast, Forecasting, ForecastingConfig
from hiperceiver.tasks.joint import Joint, JointConfig, JointLabels, label_modalities
from hiperceiver.tasks.masked_autoencoding import Mask, MaskedAutoencoding, MaskedAutoencodingConfig, Reconstruction
from hiperceiver.tasks.multilabel import LabelSets, Multilabel, MultilabelConfig
from hiperceiver.tasks.regression import Numbers, Regression, RegressionConfig
from hiperceiver.tasks.saving import TASKS, load_task, save_task, task_config_from_settings, task_from_settings
from hiperceiver.tasks.segmentation import Segmentation, SegmentationConfig, Segments
from hiperceiver.tasks.task import DataFacts, Task, TaskConfig

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
