"""What is looked at beside a task's metrics as a run goes on: what latents hold, and what position tables know.

An observer sees the model before the first step and at each validation, in evaluation mode.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils.data import Subset

from hiperceiver.data.example import ExampleDataset
from hiperceiver.data.loading import eval_loader
from hiperceiver.data.sources.source import Source
from hiperceiver.data.streamed import Head, HeldOut, StreamedExamples
from hiperceiver.modality import Batch
from hiperceiver.model.positions import LearnedPositions
from hiperceiver.probing import effective_rank, linear_scores, nearest_scores, table_locality
from hiperceiver.settings.run import Precision, ProbeSettings
from hiperceiver.tasks.multilabel import ranking_results
from hiperceiver.tasks.targets import is_known
from hiperceiver.tasks.task import Task
from hiperceiver.training.evaluation import autocast

LATENTS, POSITIONS = "latents/", "positions/"  # how the columns of what is observed begin


class Observer(Protocol):
    """Looks at a task and gives numbers by name, such as `latents/effective_rank`; draws no global random number."""

    @property
    def num_examples(self) -> int:
        """How many examples it gives to the model each time, so that validations can be planned."""
        ...

    def __call__(self, task: Task, step: int) -> Mapping[str, float]:
        """What it sees after so many steps; `NAME_by_OTHER` is what is reached otherwise, to compare `NAME` with."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentProbe:
    """Whether the processor's latents hold what labels say, which no training step sees.

    A vector of an example is the mean of its latents, of inputs that are neither masked nor changed at random. Of those
    of some validation examples it gives `effective_rank`; with training examples and labels also `knn_accuracy` (of
    the 20 nearest by cosine) and `linear_accuracy` (ridge regression), each beside what the most frequent class
    reaches (`knn_accuracy_by_majority`); of numbers `knn_r2` and `linear_r2`, of any number of classes `knn_map` and
    `linear_map`; of several targets each with its name. See `hiperceiver.probing`.
    """

    validation: ExampleDataset
    train: ExampleDataset | None = None  # what labels are learned from; None: labels are not looked at
    settings: ProbeSettings = field(default_factory=ProbeSettings)
    batch_size: int = 32
    precision: Precision = "32"
    num_workers: int = 0

    @classmethod
    def of(cls, source: Source, settings: ProbeSettings | None = None, **how: Any) -> Self:
        """The probe of a source that gives labels; `ValueError` if they are not of whole examples, or not validated."""
        if source.task in ("none", "segmentation"):
            raise ValueError(f"probe: expected labels of whole examples, got the task {source.task} of {source.name}")
        if missing := [name for name in ("train", "validation") if name not in source.splits]:
            raise ValueError(f"probe: expected a split {missing[0]!r} in {source.name}, got {', '.join(source.splits)}")
        settings, train = settings or ProbeSettings(), source.splits["train"]
        if isinstance(train, StreamedExamples):
            held_out = train.held_out or HeldOut(rule="rows", count=0)
            head = Head(train.records, settings.probe_train, held_out, is_held=False)
            train = replace(train.encoded, records=head)
        return cls(validation=source.splits["validation"], train=train, settings=settings, **how)

    @property
    def num_examples(self) -> int:
        """As of the protocol."""
        count = min(self.settings.probe_validation, len(self.validation))
        return count if self.train is None else count + min(self.settings.probe_train, len(self.train))

    def __call__(self, task: Task, step: int) -> dict[str, float]:
        """Measure; names begin with `latents/`."""
        how = {"batch_size": self.batch_size, "precision": self.precision, "num_workers": self.num_workers}
        asked, its_targets = latent_vectors(task, self.validation, self.settings.probe_validation, **how)
        results = {"effective_rank": effective_rank(asked)} if len(asked) else {}
        if self.train is not None:
            known, targets = latent_vectors(task, self.train, self.settings.probe_train, **how)
            if len(asked) and len(known) and bool(asked.isfinite().all() and known.isfinite().all()):
                for name, target in targets.items():
                    is_set = name == "labels" and target.ndim == 2
                    read = read_target(known, target, asked, its_targets[name], is_label_set=is_set)
                    suffix = "" if len(targets) == 1 else f"_{name}"
                    results |= {with_suffix(key, suffix): value for key, value in read.items()}
        return {f"{LATENTS}{name}": value for name, value in results.items()}


def latent_vectors(
    task: Task,
    dataset: ExampleDataset,
    count: int,
    *,
    batch_size: int = 32,
    precision: Precision = "32",
    num_workers: int = 0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean of the processor's latents of some examples, always the same ones, (N, D), and their targets.

    They are on the CPU; unreadable examples are left out. The task is in evaluation mode.
    """
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:count].sort().values
    part = Subset(dataset, order.tolist())  # pyright: ignore[reportArgumentType]
    loader = eval_loader(part, batch_size=batch_size, num_workers=num_workers)  # pyright: ignore[reportArgumentType]
    vectors, targets = [], []
    with torch.inference_mode(), autocast(task.device, precision):
        for batch in loader:
            if len(batch) > 0:
                vectors.append(mean_latents(task, batch.to(task.device, non_blocking=True)).cpu())
                targets.append(batch.targets)
    if not vectors:
        return torch.empty(0, 0), {}
    return torch.cat(vectors), {name: torch.cat([each[name] for each in targets]) for name in targets[0]}


def mean_latents(task: Task, batch: Batch) -> Tensor:
    """A vector of each example, neither masked nor changed: the mean of the processor's latents, float32 (B, D)."""
    inputs, is_padding = task.input_tensors(batch)
    latents = task.model.encode(inputs, is_padding=is_padding).processor_latents  # (B, 1, N, D)
    return latents.float().mean(dim=(1, 2))


def read_target(
    known: Tensor, target: Tensor, asked: Tensor, its_target: Tensor, *, is_label_set: bool = False
) -> dict[str, float]:
    """How well the target of vectors (Q, D) is read off others (N, D); targets as in `Batch.targets`.

    Examples without a known target are left out; where none are left, nothing is read.
    """
    whole, its_whole = (is_known(x).flatten(1).all(1) if x.ndim > 1 else is_known(x) for x in (target, its_target))
    known, target, asked, its_target = known[whole], target[whole], asked[its_whole], its_target[its_whole]
    if not len(known) or not len(asked):
        return {}
    is_class = not target.is_floating_point()
    wanted = one_hot(target, int(max(target.max(), its_target.max())) + 1) if is_class else target.view(len(target), -1)
    results = {}
    for name, read in (("knn", nearest_scores), ("linear", linear_scores)):
        scores = read(known, wanted.float(), asked)
        if is_class:
            results[f"{name}_accuracy"] = float((scores.argmax(dim=1) == its_target).float().mean())
            majority = target.bincount().argmax()
            results[f"{name}_accuracy_by_majority"] = float((its_target == majority).float().mean())
        elif is_label_set:
            results[f"{name}_map"] = float(ranking_results(scores, its_target)["map"])
        else:
            results[f"{name}_r2"] = _r2(scores, its_target.view(len(its_target), -1))
    return results


def with_suffix(name: str, suffix: str) -> str:
    """The name of a number with whose it is.

    >>> with_suffix("accuracy_by_majority", "_image")
    'accuracy_image_by_majority'
    """
    metric, by, other = name.partition("_by_")
    return f"{metric}{suffix}{by}{other}"


def _r2(made: Tensor, wanted: Tensor) -> float:
    """The share of the variance that is explained, the mean over numbers (Q, R) that vary."""
    spread = (wanted - wanted.mean(dim=0)).square().sum(dim=0)
    error = (made - wanted).square().sum(dim=0)
    return float((1 - error / torch.where(spread > 0, spread, torch.nan)).nanmean())


class PositionProbe:
    """Whether learned position tables become maps: `near_cosine` and the rest of `hiperceiver.probing.table_locality`.

    `neighbour_share_by_chance` is what a table without order reaches; `far_cosine` is left out where no places are far
    apart. Of several tables each with its modality's name.
    """

    num_examples = 0

    def __call__(self, task: Task, step: int) -> dict[str, float]:
        """Measure; names begin with `positions/`. Empty without a learned table."""
        tables = learned_tables(task)
        results: dict[str, float] = {}
        for name, (grid, table) in tables.items():
            locality = table_locality(table, grid)
            suffix = "" if len(tables) == 1 else f"_{name}"
            for key in ("near_cosine", "far_cosine", "neighbour_share"):
                if not math.isnan(value := getattr(locality, key)):
                    results[f"{POSITIONS}{key}{suffix}"] = value
            results[f"{POSITIONS}neighbour_share{suffix}_by_chance"] = locality.chance
        return results


@torch.no_grad()
def learned_tables(task: Task) -> dict[str, tuple[tuple[int, ...], Tensor]]:
    """Learned encodings of the places of each input modality: its grid, and (M, E) in row-major order, on the CPU."""
    positions = {name: task.model.positions[name] for name in task.model.input_names}
    return {
        name: (each.grid, each().float().cpu())
        for name, each in positions.items()
        if isinstance(each, LearnedPositions)
    }


def usual_observers(task: Task, validation: ExampleDataset, **how: Any) -> tuple[Observer, ...]:
    """What is always looked at: of a task that learns without labels its latents and its tables, else nothing."""
    return (LatentProbe(validation=validation, **how), PositionProbe()) if task.is_self_supervised else ()


def observe(
    observers: Sequence[Observer], task: Task, step: int, *, after_each: Callable[[], object] = lambda: None
) -> dict[str, float]:
    """What all of them see."""
    seen: dict[str, float] = {}
    for each in observers:
        seen |= {name: float(value) for name, value in each(task, step).items()}
        after_each()
    return seen
