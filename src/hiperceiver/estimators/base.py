"""What the estimators share: from `X` to a trained task by `hiperceiver.training.train`, and to folders and pickles."""

import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted
from torch import Tensor

from hiperceiver.data.augment import augmentations_from_settings
from hiperceiver.data.encoders import encoder_from_dict
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.loading import eval_loader
from hiperceiver.data.sources.source import Source, SourceOptions
from hiperceiver.data.sources.values import Taken, encoded_values, open_values
from hiperceiver.data.targets import value_statistics
from hiperceiver.estimators.inputs import ONLY, take_inputs
from hiperceiver.modality import Batch
from hiperceiver.model import HiP, build_model, read_model, usual_variant, variant_config
from hiperceiver.model.files import CONFIG_FILE, WEIGHTS_FILE, SavedModel
from hiperceiver.settings.base import shown
from hiperceiver.settings.run import TrainingSettings
from hiperceiver.tasks import TASKS, TargetInfo, Task, load_task, save_task, task_from_settings
from hiperceiver.training.evaluation import find_device
from hiperceiver.training.finetune import start_from
from hiperceiver.training.folder import RunFolder
from hiperceiver.training.randomness import random_state as state_of_random_numbers
from hiperceiver.training.randomness import restore_random_state, seed_everything
from hiperceiver.training.run import train

ESTIMATOR_FILE = "estimator.json"
"""Beside a saved model: the estimator's parameters, and its classes as they were given."""
USUAL_MODEL = "hip-nano"
"""Where `model` is not given; for texts it is hip-text."""
USUAL_STEPS = 1000
"""Optimizer steps of a fit for which neither `steps` nor `max_time` is given."""


class HiPEstimator(BaseEstimator):
    """Base of the estimators. Parameters are those of `HiPClassifier`, without `class_weight`."""

    kinds: ClassVar[tuple[str, ...]]  # of the tasks that it may hold, the usual one first
    task_: Task

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
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        validation_share: float = 0.0,
        model_settings: Mapping[str, Any] | None = None,
        task_settings: Mapping[str, Any] | None = None,
        training_settings: Mapping[str, Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.from_pretrained = from_pretrained
        self.modalities = modalities
        self.encoders = encoders
        self.augment = augment
        self.steps = steps
        self.max_time = max_time
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_share = validation_share
        self.model_settings = model_settings
        self.task_settings = task_settings
        self.training_settings = training_settings
        self.random_state = random_state
        self.verbose = verbose

    # ---------------------------------------------------------------------------------------------------------- fitting

    def _fit(
        self,
        X: Any,
        *,
        kind: str | None = None,
        read_targets: Callable[[int], tuple[dict[str, Any], np.ndarray]] | None = None,
        classes: tuple[str, ...] = (),
        weights: np.ndarray | None = None,
        is_trained: bool = True,
    ) -> Self:
        """Train a task on `X`, of the usual kind or of this one.

        Examples with a weight of 0 do not exist: they are left out here, and their targets before. `read_targets` takes
        the number of the others and gives their targets, and the class of each (all 0 if there are none) by which
        validation examples are drawn.
        """
        kind = kind or self.kinds[0]
        settings, random = self._settings(), check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        saved = None if self.from_pretrained is None else read_model(_model_folder(self.from_pretrained))
        encoders = {} if saved is None else _encoders_of(saved.source, saved.encoders)
        taken = self._take(X, encoders, reset=True)
        if weights is not None:
            check_consistent_length(next(iter(taken.values())).raws, weights)
            taken = {name: replace(each, raws=list(compress(each.raws, weights > 0))) for name, each in taken.items()}
        targets, strata = ({}, None) if read_targets is None else read_targets(len(next(iter(taken.values()))))
        if weights is not None:
            targets = {**targets, "weight": weights[weights > 0]}
        source = self._open(kind, taken, encoders, targets, classes, self._draw_validation(taken, strata, random))
        self.modalities_ = {name: _described(each, source.encoders[name]) for name, each in taken.items()}
        for name, text in self.modalities_.items() if self.verbose else ():
            print(f"{name}: {text}", flush=True)
        for note in source.warnings:
            warnings.warn(note, UserWarning, stacklevel=3)
        with _own_random_numbers(seed):
            task = self._make_task(kind, source, saved, weight=None if weights is None else "weight")
            if saved is not None:
                start_from(task, saved)
            if is_trained:
                self._train(task, source, settings, seed)
            else:
                task.encoders = {name: encoder.to_dict() for name, encoder in source.encoders.items()}
                self.n_steps_, self.validation_metrics_ = 0, {}
        self.task_ = task.eval()
        return self

    def _settings(self) -> TrainingSettings:
        values: dict[str, Any] = {"batch_size": self.batch_size, "learning_rate": float(self.learning_rate)}
        steps = self.steps
        if steps is None and self.max_time is None:
            steps = USUAL_STEPS
        max_time = self.max_time
        if isinstance(max_time, int | float) and not isinstance(max_time, bool):
            max_time = f"{max_time:f}s"
        values |= {"steps": None if steps is None else int(steps), "max_time": max_time}
        return TrainingSettings.from_dict({**values, **(self.training_settings or {})})

    def _take(self, X: Any, encoders: Mapping[str, Encoder], *, reset: bool) -> dict[str, Taken]:
        only = next(iter(encoders)) if len(encoders) == 1 else ONLY
        kinds = {only: self.modalities} if isinstance(self.modalities, str) else dict(self.modalities or {})
        rates = {name: each["rate"] for name, each in (self.encoders or {}).items() if "rate" in each}
        how: dict[str, Any] = {"only": only, "kinds": kinds if reset else {}, "encoders": encoders, "rates": rates}
        return take_inputs(self, X, **how, reset=reset)

    def _draw_validation(
        self, taken: Mapping[str, Taken], strata: np.ndarray | None, random: np.random.RandomState
    ) -> np.ndarray | None:
        """Which examples validate: an even share of each class, of which at least one trains."""
        share = self.validation_share
        if not isinstance(share, int | float) or not 0 <= share < 1:
            raise ValueError(f"validation_share: expected a share from 0 to below 1, got {share!r}")
        count = len(next(iter(taken.values())))
        if not share:
            return None
        strata = np.zeros(count, dtype=np.int64) if strata is None else strata
        order = np.lexsort((random.permutation(count), strata))
        is_taken = np.diff(np.floor(np.arange(count + 1) * share + random.uniform())) > 0
        is_taken[np.unique(strata[order], return_index=True)[1]] = False
        is_validation = np.zeros(count, dtype=bool)
        is_validation[order] = is_taken
        return is_validation

    def _open(
        self,
        kind: str,
        taken: Mapping[str, Taken],
        encoders: Mapping[str, Encoder],
        targets: dict[str, Any],
        classes: tuple[str, ...],
        is_validation: np.ndarray | None,
    ) -> Source:
        if unknown := [name for name in self.encoders or {} if name not in taken]:
            raise ValueError(f"encoders: expected names among {', '.join(taken)}, got {unknown[0]!r}")
        options = SourceOptions(
            task=TASKS[kind].target_kind,  # pyright: ignore[reportArgumentType] - by its type any string
            encoders={name: encoders[name] for name in taken} if encoders else None,
            encoder_settings={name: dict(each) for name, each in (self.encoders or {}).items()},
            augmentations=augmentations_from_settings(self.augment or {}),
            missing="absent" if len(taken) > 1 else "skip",
            is_weighted="weight" in targets,
        )
        return open_values(taken, options, targets=targets, classes=classes, is_validation=is_validation)

    def _make_task(self, kind: str, source: Source, saved: SavedModel | None, *, weight: str | None) -> Task:
        name = self.model or usual_variant(source.modalities, USUAL_MODEL)
        config = variant_config(name) if saved is None else saved.config
        if self.model_settings:
            config = type(config).from_dict({**config.to_dict(), **self.model_settings})
        task_class = TASKS[kind]
        statistics = partial(value_statistics, source.splits["train"], weight=weight)
        info = TargetInfo(classes=source.classes, statistics=statistics)
        model = build_model(config, source.modalities)
        values = {**self._task_settings(model), **task_class.config_from_data(info), **(self.task_settings or {})}
        return task_from_settings({"kind": kind, **values}, model)

    def _task_settings(self, model: HiP) -> dict[str, Any]:
        """Settings of the task that follow from the inputs."""
        return {}

    def _train(self, task: Task, source: Source, settings: TrainingSettings, seed: int) -> None:
        settings = type(settings).from_dict({**settings.to_dict(), "seed": seed})
        with tempfile.TemporaryDirectory(prefix="hiperceiver-") as folder:
            result = train(task, source, settings, folder, show_progress=bool(self.verbose), observers=())
            if result.num_skipped:
                first = RunFolder(folder).skipped.read_text(encoding="utf-8").splitlines()[0]
                left_out = f"{result.num_skipped} examples could not be read and were left out, the first: {first}"
                warnings.warn(f"X: {left_out}", UserWarning, stacklevel=4)
        if result.is_interrupted:
            raise KeyboardInterrupt
        self.n_steps_, self.validation_metrics_ = result.steps, dict(result.metrics)

    # ------------------------------------------------------------------------------------------------------- prediction

    def _read(self, X: Any, read: Callable[[Task, Batch], Tensor]) -> np.ndarray:
        """What is read of each example: float32 (examples, ...). `ValueError`: one cannot be read."""
        check_is_fitted(self, "task_")
        task = self.task_
        encoders = _encoders_of("task_", task.encoders)
        examples = encoded_values(self._take(X, encoders, reset=False), encoders)
        task.eval().to(find_device("auto"))
        try:
            with torch.inference_mode():
                loader = eval_loader(examples, batch_size=self.batch_size, strict=True)
                rows = [read(task, batch.to(task.device)).float().cpu() for batch in loader]
        finally:
            task.to("cpu")
        return torch.cat(rows).numpy()

    # ---------------------------------------------------------------------------------------------- folders and pickles

    def save(self, folder: str | Path) -> Path:
        """Write a saved model's folder, made if missing, which `load`, `hip predict` and `from_pretrained` read.

        Parameters that JSON cannot hold, such as a generator as `random_state`, are left out.
        """
        check_is_fitted(self, "task_")
        folder = save_task(folder, self.task_)
        state = {name: value for name, value in vars(self).items() if name != "task_"}
        text = json.dumps({"estimator": type(self).__name__, **_plain_state(state)}, indent=2)
        (folder / ESTIMATOR_FILE).write_text(f"{text}\n", encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """An estimator from what `save` wrote, or from a run or model of `hip finetune` or `hip pretrain`.

        Raises:
            ValueError: there is no saved model, or one of another task.
        """
        path = _model_folder(folder)
        task = load_task(path)
        if task.kind not in cls.kinds:
            raise ValueError(f"{folder}: expected a model for {' or '.join(cls.kinds)}, got one for {task.kind}")
        estimator = cls()
        if (file := Path(path) / ESTIMATOR_FILE).is_file():
            estimator._restore_plain(json.loads(file.read_text(encoding="utf-8")), str(file))
        else:
            estimator._restore_from(task)
        estimator.task_ = task
        return estimator

    def _restore_from(self, task: Task) -> None:
        """Set the fitted attributes of a model that no estimator has saved."""
        encoders = _encoders_of("model", task.encoders)
        self.modalities_ = {name: f"{each.kind}, tokens {_tokens(each)}" for name, each in encoders.items()}
        self.n_steps_, self.validation_metrics_ = 0, {}

    def _restore_plain(self, values: Mapping[str, Any], source: str) -> None:
        if values.get("estimator") != type(self).__name__:
            raise ValueError(f"{source}: expected a {type(self).__name__}, got {values.get('estimator')!r:.60}")
        names = self._get_param_names()
        vars(self).update({name: values[name] for name in names if name in values})
        for name in (
            "modalities_",
            "n_steps_",
            "validation_metrics_",
            "n_features_in_",
            "number_names_in_",
            "_has_one_number",
        ):
            if name in values:
                setattr(self, name, values[name])
        for name in ("classes_", "feature_names_in_"):
            if name in values:
                setattr(self, name, np.array(values[name]["values"], dtype=values[name]["dtype"]))

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {**super().__getstate__()}  # pyright: ignore[reportGeneralTypeIssues]
        if "task_" in state:
            with tempfile.TemporaryDirectory(prefix="hiperceiver-") as folder:
                save_task(folder, state["task_"])
                state["task_"] = {name: (Path(folder) / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE)}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "task_" in state:
            with tempfile.TemporaryDirectory(prefix="hiperceiver-") as folder:
                for name in (CONFIG_FILE, WEIGHTS_FILE):
                    (Path(folder) / name).write_bytes(state["task_"][name])
                state = {**state, "task_": load_task(folder)}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.input_tags.dict = True
        return tags


def _plain_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON can hold of an estimator's attributes."""
    plain: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            value = {"dtype": value.dtype.str, "values": value.tolist()}
        elif isinstance(value, Path | np.generic):
            value = str(value) if isinstance(value, Path) else value.item()
        try:
            json.dumps(value)
        except TypeError:
            continue
        plain[name] = value
    return plain


def _model_folder(name: str | Path) -> str:
    """A saved model's folder, of a run's folder the one in it."""
    path = Path(name).expanduser()
    inner = path / "model"
    return str(inner if (inner / CONFIG_FILE).is_file() and not (path / CONFIG_FILE).is_file() else name)


def _encoders_of(source: str, encoders: Mapping[str, Mapping[str, Any]]) -> dict[str, Encoder]:
    try:
        return {name: encoder_from_dict(values) for name, values in encoders.items()}
    except ValueError as error:
        raise ValueError(f"{source}: encoders: {error}") from None


def _described(taken: Taken, encoder: Encoder) -> str:
    return f"{encoder.kind}, tokens {_tokens(encoder)}, from {taken.found}"


def _tokens(encoder: Encoder) -> str:
    return " x ".join(map(str, (*encoder.modality.grid, encoder.modality.channels)))


@contextmanager
def _own_random_numbers(seed: int) -> Iterator[None]:
    """Seed the global generators inside; afterwards they go on as if nothing had been."""
    before = state_of_random_numbers()
    seed_everything(seed)
    try:
        yield
    finally:
        restore_random_state(before)


def checked_weights(sample_weight: Any, y: np.ndarray) -> np.ndarray | None:
    """The weight of each example, float64 (examples,); None where all count the same."""
    if sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("sample_weight: expected one or more weights above 0, got none: no example is left")
    return weights


def checked_names(names: list[Any]) -> tuple[str, ...]:
    """Names of classes for people and programs: each its own."""
    texts = tuple(str(name) for name in names)
    if len(set(texts)) < len(texts):
        raise ValueError(f"y: expected classes with names of their own, got {shown(names)}")
    return texts
