"""The settings of each command: the tree of which command line, YAML files and recipes are views.

A class is one command; its bases are groups of options that commands share. A field's metadata may have `name` (its
name in files and options, where that is no identifier), `is_positional`, and `value` (what stands for its value in the
help).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from hiperceiver.settings.augment import AugmentSettings
from hiperceiver.settings.base import (
    Count,
    CountOrZero,
    Ge,
    Gt,
    In,
    Le,
    PartOf,
    Probability,
    Settings,
    Share,
    checked_part,
    default_of,
    plain_name,
)
from hiperceiver.settings.data import DATA_SETTINGS, LayoutName, ReadSettings, SplitRule
from hiperceiver.settings.encoders import ENCODER_SETTINGS
from hiperceiver.settings.model import ARCHITECTURES
from hiperceiver.settings.run import ComputeSettings, ProbeSettings, TrainingSettings
from hiperceiver.settings.tasks import LEARNED, MaskedAutoencodingConfig

COMMON = (
    *("checkpoint", "files", "task", "from", "mode", "data", "recipe", "model", "model_settings", "task_settings"),
    *("modality", "size", "modalities", "encoders", "augment", "mask_ratio", "probe", "train_share", "steps"),
    "max_time",
    *("batch_size", "learning_rate", "precision", "seed", "devices", "test", "split", "each_modality", "kind"),
    "position",
    *("folder", "format", "what", "examples", "num_examples", "top", "out", "resume", "json"),
    *("host", "port", "share", "max_upload"),
)
"""The options that `hip COMMAND --help` shows, in this order; `--help-all` shows all."""

Part = TypeVar("Part", bound=Settings)


def _positional(**arguments: Any) -> Any:
    return field(metadata={"is_positional": True}, **arguments)


class CommandSettings(Settings):
    """Base of the commands' settings."""

    def part(self, cls: type[Part]) -> Part:
        """The fields that another settings class has too."""
        return cls(**{each.name: getattr(self, each.name) for each in dataclasses.fields(cls)})

    def with_absolute_paths(self) -> Self:
        """The same with paths that hold in any folder."""
        names = [name for name in ("data", "pretrained") if getattr(self, name, None)]
        paths = {name: Path(getattr(self, name)) for name in names}
        return dataclasses.replace(self, **{name: str(path.resolve()) for name, path in paths.items() if path.is_dir()})


class SourceSettings(CommandSettings, ReadSettings):
    """Reading. How examples are found and read."""

    layout: LayoutName | None = None
    """Layout of a folder in which a published set lies. None: the one that it looks like, if any."""
    encoders: Mapping[str, Annotated[Mapping[str, Any], PartOf(ENCODER_SETTINGS)]] = field(default_factory=dict)
    """How modalities are read: fields of their encoders, as --encoders.audio.rate 8000 or
    '{"audio": {"rate": 8000, "seconds": 2}}'. A trained model has its own."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column of a table for each modality, as --columns.image img. By default found by type and usual names."""
    label_column: str | None = None
    """Column of the classes, for classification. None: the one that is marked as such, or has a usual name."""
    mask_column: str | None = None
    """Column of the masks, for segmentation. None: the second column of pictures."""
    subset: str | None = None
    """Name of a hub dataset's subset, where it has several."""
    data_settings: Annotated[Mapping[str, Any], PartOf(DATA_SETTINGS)] = field(default_factory=dict)
    """Settings of the data set itself: --data-settings.min-land 0.02 for earth."""
    split_rule: SplitRule | None = None
    """What drawn splits follow from. names: the examples' names; rows: their numbers, as in runs of releases up to 0.1.
    None: the rule of the run that is evaluated or started from, or names."""

    @property
    def are_columns_named(self) -> bool:
        """Whether the user names columns of a table."""
        named = self.data_settings.keys() & {"label_columns", "value_columns"}
        return bool(self.columns or self.label_column or self.mask_column or named)

    def with_run(self, run: Mapping[str, Any], *names: str) -> Self:
        """The same with the settings of these names that a run had, where these settings have their defaults."""
        values, fields = self.to_dict(), {plain_name(each): each for each in dataclasses.fields(self)}
        for name in names:
            if run.get(name) is not None and values[name] == default_of(fields[name]):
                values[name] = run[name]
        return type(self).from_dict(values)


class DataSettings(SourceSettings):
    """Data."""

    data: str
    """Where examples come from: a built-in set (earth, watch, instruments, languages, clip), a folder, or a Hugging
    Face dataset's id."""
    size: Count | None = None
    """Pixels along each side of a picture. None: those of the pretrained model, or the data's own."""
    colours: Literal["L", "RGB", "RGBA"] | None = None
    """Colours of a pixel; L is grey. None: those of the pretrained model, or RGB."""
    fit: Literal["crop", "squash", "pad"] | None = None
    """What is done to pictures that are not square: crop keeps the middle, squash changes proportions, pad marks the
    rest as absent. None: as the pretrained model, or the data's own."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """Random changes of training examples: --augment.flip true or '{"randaugment": {"magnitude": 5}}'."""


class RunSettings(CommandSettings):
    """Run."""

    recipe: str | None = None
    """A documented run whose settings hold where no others are given: earth, earth-classes, watch, instruments,
    languages, clip, imagenet, audioset, voc, modelnet40 or kinetics."""
    out: str | None = field(default=None, metadata={"value": "FOLDER"})
    """Folder of the run, which must be new or empty. None: a new one under runs/."""
    resume: bool = False
    """Go on with the run in --out from its last checkpoint, or begin it if it has none. What it was begun with need not
    be given again."""


class ModelSettings(CommandSettings):
    """Model."""

    model_settings: Annotated[Mapping[str, Any], PartOf(ARCHITECTURES)] = field(default_factory=dict)
    """Fields of the model's config to change: '{"drop_path": 0.1}' or --model-settings.drop-path 0.1."""


class PretrainSettings(
    DataSettings, ModelSettings, MaskedAutoencodingConfig, RunSettings, ProbeSettings, TrainingSettings
):
    """Pretraining."""

    kind: ClassVar[str] = ""

    model: str = "hip-micro"
    """Name of the model; `hip info` lists them."""
    probe: bool = False
    """At each validation, try how well the data's labels are read off the latents. They are never trained on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.probe and self.probe_train != ProbeSettings.probe_train:
            raise ValueError(f"probe_train: only with probe, got {self.probe_train}")


class FinetuneSettings(DataSettings, ModelSettings, RunSettings, TrainingSettings):
    """Fine-tuning."""

    task: Annotated[str, In(LEARNED)] | None = None
    """What is learned. None: what the data has labels for."""
    pretrained: str | None = field(default=None, metadata={"name": "from", "value": "MODEL"})
    """Pretrained model to start from: a run folder, a saved model's folder, a name of hip models or a hub id. None:
    start from scratch."""
    mode: Literal["all", "positions", "all-but-positions", "frozen-positions", "frozen-backbone"] = "all"
    """What is taken from the pretrained model and what is trained. all: everything. positions: take the position
    encodings only, train all. all-but-positions: take everything but these, train all. frozen-positions: take
    everything, train all but the positions. frozen-backbone: take everything, train the new head only (a linear
    probe)."""
    model: str | None = None
    """Name of the model where none is pretrained; `hip info` lists them. None: hip-micro, or hip-text for texts."""
    task_settings: Annotated[Mapping[str, Any], PartOf(LEARNED)] = field(default_factory=dict)
    """Fields of the task's config to change: '{"label_smoothing": 0.1}' or --task-settings.readout label."""
    balance: Share = 0.0
    """How much rare classes count more in the loss. 0: all examples count the same; 1: all classes do; 0.5: between."""
    test: bool = False
    """Measure the trained model on the test split at the end, and its cheapest baseline if there is one."""
    train_share: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of the training examples that is used, chosen by --split-seed; a smaller share is part of a larger one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task is not None:
            checked_part("task_settings", self.task_settings, LEARNED, kind=self.task)
        if self.pretrained is not None and self.model is not None:
            raise ValueError(f"model: not together with --from, which brings its model, got {self.model!r}")
        if self.pretrained is None and self.mode != "all":
            raise ValueError(f"mode: only together with --from, got {self.mode!r}")


class EvaluateSettings(SourceSettings, ComputeSettings):
    """Evaluation."""

    checkpoint: str = _positional()
    """What is measured: a run folder, a saved model's folder, a name of hip models or a hub id."""
    data: str | None = None
    """Where examples come from, as in training. None: the run's data."""
    split: Literal["test", "validation", "train", "all"] = "test"
    """The part of the data."""
    each_modality: bool = False
    """Also measure the model with each of its modalities alone."""
    batch_size: Count = 32
    """Examples in a batch; the metrics do not depend on it."""
    num_workers: CountOrZero = 0
    """Processes that load data."""
    json: str | None = field(default=None, metadata={"value": "FILE"})
    """File to write the metrics to."""


class PredictSettings(CommandSettings):
    """Prediction."""

    checkpoint: str = _positional()
    """What predicts: a run folder, a saved model's folder, a name of hip models or a hub id."""
    files: tuple[str, ...] = _positional()
    """Files of what the model takes (pictures, sounds, clips, point clouds, series, texts), or folders of them."""
    top: Count = 5
    """How many labels are named, the most probable first."""
    out: str | None = field(default=None, metadata={"value": "FOLDER"})
    """Folder for the pictures, tables, sounds and texts of a segmenter, a forecaster or a model that is pretrained
    only. None: predictions/."""
    batch_size: Count = 16
    """Files in a batch."""
    json: str | None = field(default=None, metadata={"value": "FILE"})
    """File to write the predictions to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.files:
            raise ValueError("files: expected at least one, got none")


class ServeSettings(CommandSettings):
    """The page."""

    checkpoint: str = _positional()
    """What answers: a run folder, a saved model's folder, a name of hip models or a hub id."""
    data: str | None = None
    """Where examples to choose from come from. None: the run's data, if they are there."""
    num_examples: CountOrZero = 12
    """Examples to choose from, spread over the test split. 0: none."""
    top: Count = 5
    """How many labels are named, the most probable first."""
    host: str = field(default="127.0.0.1", metadata={"value": "ADDRESS"})
    """Address to listen at. The default is this machine alone; 0.0.0.0 lets everybody in who can reach it."""
    port: Annotated[int, Ge(1), Le(65535)] | None = None
    """Port to listen at. None: the first free one from 7860 on."""
    share: bool = False
    """Let Gradio's servers give the page an address for everybody, for a week. Needs a network."""
    max_upload: Count = 64
    """MiB that an uploaded file may have."""


class ExportSettings(CommandSettings):
    """Export."""

    checkpoint: str = _positional()
    """What is exported: a run folder, a saved model's folder, a name of hip models or a hub id."""
    out: str = field(metadata={"value": "FOLDER"})
    """New folder for the model, preprocessing.json and a card, README.md."""
    format: Literal["onnx", "torch-export"] = "onnx"
    """onnx: model.onnx, for onnxruntime. torch-export: model.pt2, for torch.export.load."""
    modalities: tuple[str, ...] = field(default=(), metadata={"value": "NAME"})
    """The inputs that the exported model takes, once for each. None: all of the model."""
    what: Literal["predictions", "encoder", "processor"] = "predictions"
    """What it gives: the task's predictions, or the latents of the encoder or of the processor."""
    examples: tuple[str, ...] = field(default=(), metadata={"value": "FILE"})
    """Files on which it is compared with PyTorch, once for each. None: random numbers."""


class PlotSettings(SourceSettings):
    """Pictures."""

    checkpoint: str = _positional()
    """What is drawn: a run folder, a saved model's folder, a name of hip models or a hub id."""
    pictures: Literal[
        "all", "reconstruction", "positions", "curves", "segmentation", "forecast", "attention", "features"
    ] = field(default="all", metadata={"name": "kind", "value": "KIND"})
    """Which pictures, of all, reconstruction, positions, curves, segmentation, forecast, attention and features. all:
    those that the run or model has something for, but attention and features, which look inside the model."""
    data: str | None = None
    """Where examples come from. None: the run's data."""
    split: Literal["test", "validation", "train"] = "test"
    """The split that examples come from; another split if there is no such one."""
    num_examples: Count = 6
    """How many examples are drawn; in one figure at most 8 pictures or segmentations, or 6 clouds or texts. They are
    spread over the split; where pixels have labels, each is the one of 16 with the most classes."""
    position: str | None = field(default=None, metadata={"value": "PLACE"})
    """For attention: the output position of which is drawn which latents it is read from, by the places of its tokens
    counted from 0: row,column of a picture, frame,row,column of a clip, one number in a sound or of a point. None: the
    middle."""
    out: str | None = field(default=None, metadata={"value": "FOLDER"})
    """Folder for the pictures. None: pictures/ in the run's or model's folder."""


class InfoSettings(ModelSettings):
    """Information."""

    model: str | None = _positional(default=None)
    """A model's name, of hip models too, a run folder, a saved model's folder or a hub id; null: list the
    architectures."""
    modality: tuple[str, ...] = field(default=(), metadata={"value": "NAME=SHAPE"})
    """What the model is given, as NAME=GRIDxCHANNELS such as image=224x224x3 or audio=6000x16, with :label behind it
    for a label at the bottleneck; once for each. None: a picture of 224 x 224, or what the saved model knows."""
    batch_size: Count = 1
    """Examples in a step."""
    mask_ratio: Probability = 0.0
    """Share of each group that is hidden from the encoder, as in pretraining."""
    json: str | None = field(default=None, metadata={"value": "FILE"})
    """File to write the numbers to."""


class ModelsSettings(CommandSettings):
    """Trained models."""

    name: str | None = _positional(default=None)
    """The model whose card is shown; null: list them all."""
    json: str | None = field(default=None, metadata={"value": "FILE"})
    """File to write the list to."""


class RunsSettings(CommandSettings):
    """Runs."""

    folder: str = _positional(default="runs")
    """The folder below which runs are looked for."""
    json: str | None = field(default=None, metadata={"value": "FILE"})
    """File to write the table to."""
