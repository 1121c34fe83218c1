"""The settings of each task: what is learned, and the options of its loss and readout."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, ClassVar, Literal

from hiperceiver.settings.base import (
    Count,
    CountOrZero,
    Ge,
    Gt,
    Le,
    NonNegative,
    Positive,
    Probability,
    Settings,
    shown,
)

MaskStrategy = Literal["group-wise", "uniform"]
MaskedTokens = Literal["hidden", "all"]
TargetNormalisation = Literal["none", "channel", "example"]
LabelReadout = Literal["query", "label"]
NumberLoss = Literal["squared", "absolute", "huber"]


class TaskConfig(Settings):
    """Base of the tasks' settings; saved with the model."""

    from_data: ClassVar[tuple[str, ...]] = ()
    """Fields that the training data give; `hip finetune` fills them in."""


class MaskedAutoencodingConfig(TaskConfig):
    """Masked auto-encoding: the tokens that are hidden, and the error of their reconstruction."""

    kind: ClassVar[str] = "masked-autoencoding"

    mask_ratio: Probability = 0.85
    """Share of the tokens that is hidden and reconstructed."""
    mask_strategy: MaskStrategy = "group-wise"
    """`group-wise`: the same slots in each group, so that a training step neither embeds hidden tokens nor reads out
    visible ones (with `loss_on` hidden). `uniform`: anywhere in the example."""
    mask_block: Count = 1
    """Neighbours that are hidden or visible together: so many slots in a row of a group, or tokens of an example with
    `uniform`. A picture's neighbours are pixels of a row, or of a square with a `token_order` along a curve."""
    loss_on: MaskedTokens = "hidden"
    """Tokens that the loss counts: the `hidden` ones or `all`. Absent tokens never count."""
    compared_share: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of the hidden slots that a training step reads out and compares: the same ones in each group, drawn for
    each example. Less makes a step cheaper; the expected loss is the same. Evaluation compares all."""
    target_normalisation: TargetNormalisation = "none"
    """What is brought to zero mean and unit variance before comparing: `none`, each `channel` of each example, or each
    `example` whole."""
    modality_weights: Mapping[str, NonNegative] | None = None
    """Weight of a modality's loss in the mean over modalities; 1 for those not named. None: all 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        share, strategy, counted = self.compared_share, self.mask_strategy, self.loss_on
        if share < 1 and (strategy, counted) != ("group-wise", "hidden"):
            needed = "mask_strategy='group-wise' and loss_on='hidden'"
            got = f"{share} with {strategy!r} and {counted!r}"
            raise ValueError(f"compared_share: expected 1, as less goes with {needed}, got {got}")
        if self.loss_on == "hidden" and self.mask_ratio == 0:
            raise ValueError("mask_ratio: expected above 0 with loss_on='hidden', got 0, which hides nothing")


class _ClassesConfig(TaskConfig):
    """The fields that tasks with classes share."""

    from_data: ClassVar[tuple[str, ...]] = ("num_classes",)

    num_classes: CountOrZero = 0
    """Classes, K. 0: those of the data."""
    label_smoothing: Probability = 0.0
    """Share of the target that is spread over all classes; over yes and no in multilabel."""
    class_weights: tuple[NonNegative, ...] | None = None
    """Weight of each class in the loss; of its members alone in multilabel. None: all count the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_classes == 1:
            raise ValueError("num_classes: expected a whole number >= 2, or 0 for those of the data, got 1")
        weights, count = self.class_weights, self.num_classes
        if weights is not None and ((count and len(weights) != count) or not any(weights)):
            expected = f"one for each of {count or 'the'} classes, not all zero"
            raise ValueError(f"class_weights: expected {expected}, got {shown(weights)}")


class _LabelConfig(_ClassesConfig):
    """The fields of tasks that give the classes of a whole example."""

    readout: LabelReadout = "query"
    """`query`: a learned query attends to the processor's latents, then a linear layer. `label`: the model's label
    modality at the bottleneck is reconstructed."""
    label_modality: str | None = None
    """Which label modality, for `readout` label: grid (1,), a channel per class. None: the only one."""
    token_dropout: Probability = 0.0
    """Share of each group's tokens that a training example is seen without, drawn anew each time: it regularises, and a
    step costs less."""
    mixup: NonNegative = 0.0
    """Training examples that are neighbours in a batch are blended; shares are from Beta(mixup, mixup). 0: never."""
    cutmix: NonNegative = 0.0
    """A box of each training example is replaced by another's, with a share drawn from Beta(cutmix, cutmix). 0: never.
    With `mixup` too, either is done to half of the pairs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.readout != "label" and self.label_modality is not None:
            raise ValueError(f"label_modality: only for readout='label', got {self.label_modality!r} with 'query'")


class ClassificationConfig(_LabelConfig):
    """Classification: one class for each example."""

    kind: ClassVar[str] = "classification"


class MultilabelConfig(_LabelConfig):
    """Multi-label classification: any number of classes for each example."""

    kind: ClassVar[str] = "multilabel"


class SegmentationConfig(_ClassesConfig):
    """Segmentation: a class for every token of a modality."""

    kind: ClassVar[str] = "segmentation"
    from_data: ClassVar[tuple[str, ...]] = ("num_classes", "background_class", "input_modality")

    input_modality: str | None = None
    """The modality whose tokens are labelled. None: the only one; on the command line, the one that masks belong to."""
    own_embedding: bool = True
    """Whether a token's own embedding joins its position in the readout's query and output (as Perceiver IO does for
    optical flow). False: positions alone, as in masked auto-encoding."""
    hidden_channels: CountOrZero = 128
    """Width of the head's hidden layer. 0: none, the head is linear."""
    compared_share: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of the tokens that a training step reads out and compares: the same slots in each group, drawn for each
    example. Less makes a step cheaper; the expected loss is the same. Evaluation compares all."""
    background_class: CountOrZero | None = None
    """The class whose tokens `foreground_accuracy` leaves out. None: that metric is not given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        background = self.background_class
        if background is not None and 0 < self.num_classes <= background:
            raise ValueError(f"background_class: expected 0 to {self.num_classes - 1} or none, got {background}")


class RegressionConfig(TaskConfig):
    """Regression: numbers for each example."""

    kind: ClassVar[str] = "regression"
    from_data: ClassVar[tuple[str, ...]] = ("num_values", "target_mean", "target_std")

    num_values: CountOrZero = 0
    """Numbers of an example, R. 0: those of the data."""
    target_mean: tuple[float, ...] | None = None
    """Mean of each number over the training data; the model predicts distances from it. None: 0 for all."""
    target_std: tuple[Positive, ...] | None = None
    """Standard deviation of each number over the training data, the unit of those distances. None: 1 for all."""
    loss: NumberLoss = "squared"
    """`squared`; `absolute`; `huber`: half the square up to one standard deviation, from there like the absolute."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("target_mean", "target_std"):
            values = getattr(self, name)
            if values is not None and self.num_values and len(values) != self.num_values:
                raise ValueError(f"{name}: expected {self.num_values} numbers, one for each value, got {shown(values)}")


class ForecastingConfig(TaskConfig):
    """Forecasting: the last steps of a series from those before."""

    kind: ClassVar[str] = "forecasting"

    horizon: Count
    """Steps at the end of the grid's first axis that are forecast, h: tokens, where these are several steps."""
    input_modality: str | None = None
    """The modality that is forecast. None: the only one."""


class JointConfig(TaskConfig):
    """Several labels of each example at once, as tokens at the bottleneck."""

    kind: ClassVar[str] = "joint"
    from_data: ClassVar[tuple[str, ...]] = ("labels", "target_mean", "target_std", "class_names")

    labels: Mapping[str, Annotated[int, Ge(0)]] = field(default_factory=dict)
    """Number of classes of each label; 0 for a number. None named: those of the data."""
    shown: Probability = 0.25
    """Share of the labels that training shows to the model, drawn for each label of each example by itself. The others
    are predicted, from the inputs and the labels shown. Evaluation shows none."""
    weights: Mapping[str, NonNegative] | None = None
    """Weight of each label's loss in the mean over labels; 1 for those not named. None: all 1."""
    target_mean: Mapping[str, float] | None = None
    """Mean of each label that is a number over the training data; 0 for those not named. None: all 0."""
    target_std: Mapping[str, Positive] | None = None
    """Standard deviation of each label that is a number; 1 for those not named. None: all 1."""
    class_names: Mapping[str, tuple[str, ...]] | None = None
    """Names of each label's classes. None: not known."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.labels:
            return
        for name, count in self.labels.items():
            if count == 1:
                raise ValueError(f"labels.{name}: expected a whole number >= 2, or 0 for a number, got 1")
        numbers = "labels that are numbers", [name for name, count in self.labels.items() if not count]
        allowed = {"weights": ("labels", list(self.labels)), "target_mean": numbers, "target_std": numbers}
        for setting, (what, known) in allowed.items():
            for name in getattr(self, setting) or ():
                if name not in known:
                    raise ValueError(f"{setting}: expected {what}: {', '.join(known) or 'none'}, got {name!r}")
        for name, names in (self.class_names or {}).items():
            count = self.labels.get(name, 0)
            if len(names) != count or not names:
                raise ValueError(f"class_names: expected {count} for {name!r}, one a class, got {len(names)}")
        if not any((self.weights or {}).get(name, 1) for name in self.labels):
            raise ValueError("weights: expected at least one above 0, got none")


LEARNED: dict[str, type[TaskConfig]] = {
    each.kind: each
    for each in (
        *(ClassificationConfig, MultilabelConfig, SegmentationConfig),
        *(RegressionConfig, ForecastingConfig, JointConfig),
    )
}
"""The settings of the tasks that `hip finetune` trains, by their names."""
TASK_CONFIGS = {MaskedAutoencodingConfig.kind: MaskedAutoencodingConfig, **LEARNED}
"""The settings of every task."""
