"""A classifier of any signal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from hiperceiver.estimators.base import HiPEstimator, checked_names, checked_weights
from hiperceiver.settings.base import shown
from hiperceiver.tasks import Classification, Multilabel, Task
from hiperceiver.tasks.label_head import LabelsTask


class HiPClassifier(ClassifierMixin, HiPEstimator):
    """A network that tells classes apart, by signals of any kind.

    `X` is an array, a list of arrays, of strings or of files (pictures, sounds, clips, point clouds, series, texts), or
    a data frame with a modality in each column (those of numbers are one together); several modalities are a mapping
    {name: values}, where None is a missing value. `modalities_` says what was taken for what; see
    `hiperceiver.data.sources.values.take_values`. `y` are classes of any type, or for several labels of an example a
    matrix of 0 and 1, (examples, labels), dense or sparse.

    Args:
        model: a name in `hip info`; it is not used with `from_pretrained`. None: hip-nano, or hip-text for texts.
        from_pretrained: a model to start from: a run folder, a saved model's folder, a name of `hip models` or a hub
            id. Its encoders read `X`.
        modalities: the kind of each modality, such as {"x": "audio"}, or of the only one, where it shall not be found;
            an `X` without names is "x", or what the pretrained model calls its only one.
        encoders: settings of each modality's encoder, such as {"x": {"rate": 8000}}.
        augment: random changes of training examples, as `hip --augment` has them: {"flip": True}.
        steps: optimizer steps of a fit. None: as many as fit into `max_time`, or 1000.
        max_time: time of a fit: seconds, or "90s", "5m", "1h30m". How far a fit gets is then up to the machine, and
            another fit is another model.
        class_weight: weight of each class in the loss, by class, those not named 1; "balanced": so that all classes
            weigh the same together. It multiplies the `sample_weight` of `fit`.
        batch_size: examples of a step, and of a part of a prediction.
        learning_rate: the highest one.
        validation_share: share of the examples that choose, ten times in a fit, the weights that are kept; 0: all
            train, and the last weights are kept.
        model_settings: fields of the model's config to change, such as {"drop_path": 0.1}.
        task_settings: fields of the task's config, such as {"label_smoothing": 0.1}.
        training_settings: other fields of `TrainingSettings`, such as {"accelerator": "cpu"}.
        random_state: seed, generator or None. The same seed gives the same model.
        verbose: 1: say what was taken for what, and how training goes.

    Attributes:
        classes_: the classes, sorted; the numbers of the labels, if there are several of an example.
        modalities_: modality -> what it was taken for.
        validation_metrics_: metrics of the weights on the validation examples; empty without them.
        n_steps_: optimizer steps that were taken.
        task_: the trained `Classification` or `Multilabel`; `task_.model` is the network.

    >>> X = np.array([[0.0, 1.0], [1.0, 0.0]] * 8)
    >>> classifier = HiPClassifier(steps=2, random_state=0).fit(X, ["up", "down"] * 8)
    >>> classifier.classes_.tolist(), classifier.predict_proba(X).shape, classifier.modalities_
    (['down', 'up'], (16, 2), {'x': 'vector, tokens 2 x 1, from float64 arrays of shape (2,)'})
    """

    kinds = (Classification.kind, Multilabel.kind)
    classes_: np.ndarray

    def __init__(
        self,
        *,
        model: str | None = None,
        from_pretrained: str | Path | None = None,
        modalities: Mapping[str, str] | str | None = None,
        encoders: Mapping[str, Mapping[str, Any]] | None = None,
        augment: Mapping[str, Any] | None = None,
        steps: int | None = None,
        max_time: str | float | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        validation_share: float = 0.0,
        model_settings: Mapping[str, Any] | None = None,
        task_settings: Mapping[str, Any] | None = None,
        training_settings: Mapping[str, Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            model=model,
            from_pretrained=from_pretrained,
            modalities=modalities,
            encoders=encoders,
            augment=augment,
            steps=steps,
            max_time=max_time,
            batch_size=batch_size,
            learning_rate=learning_rate,
            validation_share=validation_share,
            model_settings=model_settings,
            task_settings=task_settings,
            training_settings=training_settings,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train anew on examples and their classes, (examples,), or labels, (examples, labels).

        With a `sample_weight` (examples,) the loss of a step is the weighted mean over its examples, as with class
        weights: the sum of weight times loss, divided by the sum of the weights. Only their ratios matter, and with
        `batch_size=1` they do nothing. An example with the weight 0 is left out as if it were not there. Of what is
        measured on validation examples the loss is weighted, and nothing else.

        Raises:
            ValueError: something is not as it should be; in one line.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        how: dict[str, Any] = {"ensure_2d": False, "dtype": None, "accept_sparse": True, "input_name": "y"}
        y = check_array(y, **how)
        check_classification_targets(y)
        weights = checked_weights(sample_weight, y)
        if type_of_target(y) == "multilabel-indicator":
            if self.class_weight is not None:
                remedy = "task_settings={'class_weights': (...)} weighs the members of each"
                raise ValueError(f"class_weight: expected None with several labels of an example, {remedy}")
            labels = _kept(np.asarray(y.toarray() if issparse(y) else y).astype(bool), weights)
            self.classes_ = np.arange(labels.shape[1])
            kind, targets = Multilabel.kind, {"labels": [np.flatnonzero(row).tolist() for row in labels]}
            strata = labels[:, 0].astype(np.int64)
        else:
            y = column_or_1d(y, warn=True)
            if self.class_weight is not None:
                weights = _with_class_weights(self.class_weight, weights, y)
            self.classes_, strata = np.unique(_kept(y, weights), return_inverse=True)
            kind, targets = Classification.kind, {"label": strata.tolist()}
        if len(self.classes_) < 2:
            raise ValueError(f"y: expected at least two classes, got 1 class, {self.classes_.tolist()[0]!r}")

        def read_targets(count: int) -> tuple[dict[str, Any], np.ndarray]:
            check_consistent_length(np.empty(count), strata)
            return targets, strata

        names = checked_names(self.classes_.tolist())
        return self._fit(X, kind=kind, read_targets=read_targets, classes=names, weights=weights)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, in the order of `classes_`: float32 (examples, classes)."""
        return self._read(X, _probabilities)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each example: (examples,). Labels: 1 where more probable than not, as in `fit`."""
        probabilities = self.predict_proba(X)
        if self.task_.kind == Multilabel.kind:
            return (probabilities > 0.5).astype(np.int64)
        return self.classes_[probabilities.argmax(axis=1)]

    def _restore_from(self, task: Task) -> None:
        super()._restore_from(task)
        self.classes_ = np.array(task.classes or range(task.config.num_classes))  # pyright: ignore[reportAttributeAccessIssue]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _kept(y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """What belongs to examples with a weight above 0."""
    return y if weights is None else y[weights > 0]


def _with_class_weights(class_weight: Any, weights: np.ndarray | None, y: np.ndarray) -> np.ndarray:
    """Weights of examples, None: all 1, times those of their classes: (examples,)."""
    weights = np.ones(len(y)) if weights is None else weights
    is_kept = weights > 0
    classes, numbers = np.unique(y[is_kept], return_inverse=True)
    if isinstance(class_weight, Mapping):
        of_class = compute_class_weight({**class_weight}, classes=classes, y=y[is_kept])
        if not (of_class >= 0).all() or not of_class.any():
            raise ValueError(f"class_weight: expected weights >= 0, not all 0, got {shown({**class_weight})}")
    elif class_weight == "balanced":
        total = np.bincount(numbers, weights=weights[is_kept])
        of_class = total.sum() / (len(total) * total)
    else:
        raise ValueError(f"class_weight: expected 'balanced', a weight for each class or None, got {class_weight!r}")
    weighted = np.zeros(len(y))
    weighted[is_kept] = weights[is_kept] * of_class[numbers]
    return weighted


def _probabilities(task: Task, batch: Any) -> Any:
    assert isinstance(task, LabelsTask)
    return task.probabilities(batch)
