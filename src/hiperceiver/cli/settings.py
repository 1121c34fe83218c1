"""What each command may be told. No torch here: help must be quick.

A class is one command; its bases are groups of options that commands share. `metadata` says what the command line needs
to know beside name and type; see `hiperceiver.cli.parser.Schema`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from hiperceiver.settings.run import TrainingSettings

Layout = Literal["voc", "audioset", "kinetics", "modelnet40", "imagenet", "webdataset"]


def _positional(**arguments: Any) -> Any:
    return field(metadata={"positional": True}, **arguments)


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """Reading. How examples are found and read."""

    layout: Layout | None = None
    """Layout of a folder in which a published set lies. None: the one that it looks like, if any."""
    modalities: tuple[str, ...] = ()
    """Which modalities are read, each by its name; several times for several. None given: all that the data has, or
    those of the model."""
    encoders: dict[str, Any] = field(default_factory=dict)
    """How modalities are read: fields of their encoders, as --encoders.audio.rate 8000 or
    '{"audio": {"rate": 8000, "seconds": 2}}'. A trained model brings its own."""
    missing: Literal["skip", "absent"] = "skip"
    """What is done with an example without one of the modalities. skip: it is bad; absent: it is used without it."""
    columns: dict[str, str] = field(default_factory=dict)
    """Column of a table for each modality, as --columns.image img. By default found by type and usual names."""
    label_column: str | None = None
    """Column of the classes, for classification. None: the one that is marked as such, or has a usual name."""
    mask_column: str | None = None
    """Column of the masks, for segmentation. None: the second column of pictures."""
    subset: str | None = None
    """Name of a hub dataset's subset, where it has several."""
    data_settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the data set itself, as --data-settings.min-land 0.02 for earth. docs/data.md lists them."""
    split_seed: int | None = None
    """Which examples are kept for validation and test where the data does not say. Leave it the same for pretraining,
    fine-tuning and evaluation. None: the run's, or the data's own."""


@dataclass(frozen=True, kw_only=True)
class DataSettings(SourceSettings):
    """Data."""

    data: str
    """Where examples come from: a built-in set (earth, watch, instruments, languages, clip), a folder, or a Hugging
    Face dataset's id."""
    size: int | None = None
    """Pixels along each side of a picture. None: those of the pretrained model, or the data's own."""
    colours: Literal["L", "RGB", "RGBA"] | None = None
    """Colours of a pixel; L is grey. None: those of the pretrained model, or RGB."""
    fit: Literal["crop", "squash", "pad"] | None = None
    """What is done to pictures that are not square: crop keeps the middle, squash changes proportions, pad marks the
    rest as absent. None: as the pretrained model, or the data's own."""
    augment: dict[str, Any] = field(default_factory=dict)
    """Random changes of training examples, as --augment.flip true or '{"randaugment": {"magnitude": 5}}'.
    docs/data.md lists them."""


@dataclass(frozen=True, kw_only=True)
class RecipeSettings:
    """Recipe."""

    recipe: str | None = None
    """A documented run whose settings are taken where no others are given: earth, watch, instruments, languages, clip,
    imagenet, audioset, voc, modelnet40 or kinetics."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Run."""

    out: str | None = field(default=None, metadata={"value": "FOLDER"})
    """Folder of the run, which must be new or empty. None: a new one under runs/."""
    resume: bool = False
    """Go on with the run in --out, exactly where its last checkpoint left it. Its settings need not be given again."""

    def training(self) -> TrainingSettings:
        """The part that training wants."""
        return _part(self, TrainingSettings)


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """Masking."""

    mask_ratio: float = 0.85
    """Share of the tokens that is hidden and reconstructed."""
    mask_strategy: Literal["group-wise", "uniform"] = "group-wise"
    """group-wise: the same places in each group, cost falls with the ratio. uniform: anywhere in the example."""
    loss_on: Literal["hidden", "all"] = "hidden"
    """Tokens that the loss counts."""
    compared_share: float = 1.0
    """Share of the hidden tokens that a training step reads out and compares, drawn anew each time. Less is quicker."""
    target_normalisation: Literal["none", "channel", "example"] = "none"
    """What is brought to zero mean and unit variance before comparing: nothing, each channel of each example, or each
    example whole."""
    modality_weights: dict[str, float] = field(default_factory=dict)
    """Weight of a modality's reconstruction in the loss, as --modality-weights.audio 0.5; 1 where not said."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Model."""

    model: str = "hip-micro"
    """Name of the model; `hip info` lists them."""
    model_settings: dict[str, Any] = field(default_factory=dict)
    """Fields of its config to replace, as '{"drop_path": 0.1}' or --model-settings.drop-path 0.1."""


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(RecipeSettings, DataSettings, ModelSettings, MaskSettings, RunSettings, TrainingSettings):
    """Pretraining."""

    def whole(self) -> Self:
        """The same with paths that hold from any folder."""
        return _with_whole_paths(self, "data")


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(RecipeSettings, DataSettings, RunSettings, TrainingSettings):
    """Fine-tuning."""

    task: str | None = None
    """What is learned: classification, multilabel, segmentation, regression, forecasting or joint. None: what the data
    has labels for."""
    pretrained: str | None = field(default=None, metadata={"option": "from", "value": "MODEL"})
    """Pretrained model to start from: a run folder, a saved model's folder or a hub id. None: start from scratch."""
    mode: Literal["all", "positions", "frozen-positions", "frozen-backbone"] = "all"
    """What is taken from the pretrained model and what is trained. all: everything. positions: take the position
    encodings only, train all. frozen-positions: take everything, train all but the positions. frozen-backbone: take
    everything, train the new head only (a linear probe)."""
    model: str | None = None
    """Name of the model where none is pretrained; `hip info` lists them. None: hip-micro."""
    model_settings: dict[str, Any] = field(default_factory=dict)
    """Fields of the model's config to replace, as '{"drop_path": 0.1}' or --model-settings.drop-path 0.1."""
    task_settings: dict[str, Any] = field(default_factory=dict)
    """Fields of the task's config to replace, as '{"label_smoothing": 0.1}' or --task-settings.readout label."""
    balance: float = 0.0
    """How much rare classes count more in the loss. 0: all examples count the same; 1: all classes do; 0.5: between."""
    test: bool = False
    """Measure the trained model on the test split at the end, with the floor beside it where there is one."""
    train_share: float = 1.0
    """Share of the training examples that is used, chosen by --split-seed; a smaller share is part of a larger one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.train_share <= 1:
            raise ValueError(f"train_share: expected a share above 0, up to 1, got {self.train_share!r}")
        if not 0 <= self.balance <= 1:
            raise ValueError(f"balance: expected a number from 0 to 1, got {self.balance!r}")
        if self.pretrained is not None and self.model is not None:
            raise ValueError(f"model: not together with --from, which brings its model, got {self.model!r}")
        if self.pretrained is None and self.mode != "all":
            raise ValueError(f"mode: only together with --from, got {self.mode!r}")

    def whole(self) -> Self:
        """The same with paths that hold from any folder."""
        return _with_whole_paths(self, "data", "pretrained")


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(SourceSettings):
    """Evaluation."""

    checkpoint: str = _positional()
    """What is measured: a run folder, a saved model's folder or a hub id."""
    data: str | None = None
    """Where examples come from, as in training. None: the run's data."""
    split: Literal["test", "validation", "train", "all"] = "test"
    """The part of the data."""
    each_modality: bool = False
    """Also measure the model with each of its modalities alone."""
    strict: bool = False
    """Fail at the first unreadable example."""
    max_bad_share: float = 0.1
    """Largest share of examples that may be unreadable before the measurement fails."""
    batch_size: int = 32
    """Examples in a batch; the metrics do not depend on it."""
    num_workers: int = 0
    """Processes that load data."""
    precision: Literal["32", "bf16"] = "32"
    """32: float32; bf16: bfloat16 where it is safe."""
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    """Kind of device; auto: a GPU if there is one."""
    json: str | None = field(default=None, metadata={"value": "FILE"})
    """File to write the metrics to."""

    def __post_init__(self) -> None:
        for name, lowest in (("batch_size", 1), ("num_workers", 0)):
            if getattr(self, name) < lowest:
                raise ValueError(f"{name}: expected a whole number >= {lowest}, got {getattr(self, name)}")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share: expected a share from 0 to 1, got {self.max_bad_share}")


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """Prediction."""

    checkpoint: str = _positional()
    """What predicts: a run folder, a saved model's folder or a hub id."""
    files: tuple[str, ...] = _positional()
    """Files of what the model takes (pictures, sounds, clips, point clouds, series, texts), or folders of them."""
    top: int = 5
    """How many labels are named, the most probable first."""
    out: str | None = field(default=None, metadata={"value": "FOLDER"})
    """Folder for the pictures, tables, sounds and texts of a segmenter, a forecaster or a model that is pretrained
    only. None: predictions/."""
    batch_size: int = 16
    """Files in a batch."""
    json: str | None = field(default=None, metadata={"value": "FILE"})
    """File to write the predictions to."""

    def __post_init__(self) -> None:
        for name in ("top", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a whole number >= 1, got {getattr(self, name)}")
        if not self.files:
            raise ValueError("files: expected at least one, got none")


@dataclass(frozen=True, kw_only=True)
class PlotSettings(SourceSettings):
    """Pictures."""

    checkpoint: str = _positional()
    """What is drawn: a run folder, a saved model's folder or a hub id."""
    kind: Literal["all", "reconstruction", "positions", "curves", "segmentation", "forecast"] = "all"
    """Which pictures. all: those that the run or model has something for."""
    data: str | None = None
    """Where examples come from. None: the run's data."""
    split: Literal["test", "validation", "train"] = "test"
    """The part of the data that examples come from; another one where there is no such part."""
    num_examples: int = 6
    """How many examples are drawn."""
    out: str | None = field(default=None, metadata={"value": "FOLDER"})
    """Folder for the pictures. None: pictures/ in the run's or model's folder."""

    def __post_init__(self) -> None:
        if self.num_examples < 1:
            raise ValueError(f"num_examples: expected a whole number >= 1, got {self.num_examples}")


@dataclass(frozen=True, kw_only=True)
class InfoSettings:
    """Information."""

    model: str | None = _positional(default=None)
    """A model's name, a run folder, a saved model's folder or a hub id; null: list the models."""
    modality: tuple[str, ...] = field(default=(), metadata={"value": "NAME=SHAPE"})
    """What the model is given, as NAME=GRIDxCHANNELS such as image=224x224x3 or audio=6000x16, with :label behind it
    for a label at the bottleneck; once for each. None: a picture of 224 x 224, or what the saved model knows."""
    batch_size: int = 1
    """Examples in a step."""
    mask_ratio: float = 0.0
    """Share of each group that is hidden from the encoder, as in pretraining."""
    model_settings: dict[str, Any] = field(default_factory=dict)
    """Fields of the model's config to replace, such as positions; also as --model-settings.positions fourier."""
    json: str | None = field(default=None, metadata={"value": "FILE"})
    """File to write the numbers to."""


def _part(settings: Any, part: type[TrainingSettings]) -> TrainingSettings:
    return part(**{each.name: getattr(settings, each.name) for each in dataclasses.fields(part)})


def _with_whole_paths(settings: Any, *names: str) -> Any:
    paths = {name: getattr(settings, name) for name in names}
    whole = {name: str(Path(path).resolve()) for name, path in paths.items() if path and Path(path).is_dir()}
    return dataclasses.replace(settings, **whole)
