"""How devices share the work of training: whole models with averaged gradients (DDP), or parts of weights (FSDP2).

A strategy wraps the task, and owns its optimizer, the clipping of its gradients, and its state in checkpoints.
"""

import copy
import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict as states
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hiperceiver.modality import Batch
from hiperceiver.settings.run import TrainingSettings
from hiperceiver.tasks.task import Task
from hiperceiver.training.launch import Launch
from hiperceiver.training.optimizer import divided_as, make_optimizer, put_together


class Replicated:
    """Every process holds the whole model, trained in place; of several, gradients are averaged.

    `stand_in` is a batch of one readable example, the same in all processes; None for one that trains alone.
    """

    def __init__(self, fabric: Fabric, task: Task, settings: TrainingSettings, stand_in: Batch | None = None):
        self.fabric, self.task, self.stand_in = fabric, task, stand_in
        # DDP waits for the gradient of every weight that is trained when it is made, but classification never runs the
        # decoder.
        unused = [] if stand_in is None else find_unused(task, stand_in)
        for name in unused:
            task.get_parameter(name).requires_grad_(False)
        self.model = fabric.setup_module(cast(nn.Module, torch.compile(task)) if settings.compile else task)
        """The task as it is called: gives its terms."""
        for name in unused:  # so that checkpoints are those of one process; FSDP2 has put other weights in their places
            task.get_parameter(name).requires_grad_(True)
        self.optimizer = make_optimizer(task, settings)
        self.average = average_weights(task, settings.ema) if settings.ema else None
        """The moving average of the weights."""

    def clip(self, longest: float | None) -> Tensor:
        """Shorten the gradient to a length, if that is given; returns its length before."""
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        if longest is None:
            norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        else:
            norm = torch.nn.utils.clip_grad_norm_(weights, longest)
        return put_together(norm)

    def state(self) -> dict[str, Any]:
        """Whole weights and optimizer, for a checkpoint; called by all processes, the first has everything.

        It is the same for all strategies, and so a run may go on with another.
        """
        state = {"weights": self.task.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state if self.average is None else {**state, "average": self.average.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.task.load_state_dict(state["weights"])
        self._restore_optimizer(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def _restore_optimizer(self, state: dict[str, Any]) -> None:
        groups = [{**group} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state)
        _check_optimizer(self.optimizer, groups)

    @contextmanager
    def whole(self) -> Iterator[Task | None]:
        """The task to validate and save, with the averaged weights if there are any; None but on the first process."""
        task = self.task if self.average is None else self.average.module
        yield cast(Task, task) if self.fabric.global_rank == 0 else None

    def close(self) -> None:
        """Leave the task as it came, on the CPU."""
        self.task.cpu()


def _check_optimizer(optimizer: torch.optim.Optimizer, before: Sequence[Mapping[str, Any]]) -> None:
    """Refuse (`TypeError`) a state that was loaded, if it cannot be one of these weights: PyTorch takes any."""
    for group, own in zip(optimizer.param_groups, before, strict=True):
        for name, value in own.items():
            if type(group.get(name)) is not type(value):
                raise TypeError(f"{name} of the optimizer is no {type(value).__name__}")
    for weight, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                is_fitting = value.ndim == 0 or value.shape == weight.shape
            else:  # AdamW, and so Muon, has tensors alone
                is_fitting = isinstance(value, int | float) and not isinstance(optimizer, torch.optim.AdamW)
            if not is_fitting:
                raise TypeError(f"{name} of the optimizer does not fit its weight")


class FullySharded(Replicated):
    """Every process holds a part of every weight (FSDP2); a block is put together while it computes."""

    def __init__(self, fabric: Fabric, task: Task, settings: TrainingSettings, stand_in: Batch | None = None):
        super().__init__(fabric, copy.deepcopy(task), settings, stand_in)
        self._whole_task = task
        self._options = states.StateDictOptions(full_state_dict=True, cpu_offload=True)

    def state(self) -> dict[str, Any]:
        """As of the base class."""
        weights = states.get_model_state_dict(self.task, options=self._options)
        optimizer, gathered = self.optimizer.state_dict(), {}
        for number, values in optimizer["state"].items():
            own = {name: put_together(value) for name, value in values.items()}
            if self.fabric.global_rank == 0:  # the device holds one weight's at a time
                gathered[number] = {name: value.cpu() for name, value in own.items()}
        return {"weights": weights, "optimizer": {**optimizer, "state": gathered}}

    def restore(self, state: dict[str, Any]) -> None:
        """As of the base class."""
        states.set_model_state_dict(self.task, state["weights"], options=self._options)
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]

        def divided(number: int, value: Tensor) -> Tensor:  # all but the count of steps
            return divided_as(weights[number], value) if value.shape == weights[number].shape else value

        values = {
            number: {name: divided(number, value) for name, value in values.items()}
            for number, values in state["optimizer"]["state"].items()
        }
        self._restore_optimizer({**state["optimizer"], "state": values})

    @contextmanager
    def whole(self) -> Iterator[Task | None]:
        """As of the base class."""
        weights = states.get_model_state_dict(self.task, options=self._options)
        if self.fabric.global_rank != 0:
            yield None
            return
        self._whole_task.load_state_dict(weights)
        yield self._whole_task.to(self.fabric.device)
        self._whole_task.cpu()

    def close(self) -> None:
        """Nothing: the given task is the whole one."""


@contextmanager
def quiet_fabric() -> Iterator[None]:
    """Keep Fabric's reports and needless warnings from the user, and those of threads about a full disk."""
    hook = threading.excepthook
    loggers = [logging.getLogger(name) for name in ("lightning_fabric", "lightning.fabric")]
    levels = [logger.level for logger in loggers]

    def report(args: threading.ExceptHookArgs) -> None:
        # TensorBoard's writing thread could not write: the loop sees it at the next row.
        if not (isinstance(args.exc_value, OSError) and type(args.thread).__module__.startswith("tensorboard")):
            hook(args)

    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        threading.excepthook = report
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="GPU available but not used")  # as `accelerator="cpu"` wishes
            yield
    finally:
        threading.excepthook = hook
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def make_fabric(settings: TrainingSettings, launch: Launch) -> Fabric:
    """Lightning Fabric with the devices and the strategy of the settings."""
    strategy: Any = "auto"
    if settings.strategy == "fsdp":
        strategy = ModelParallelStrategy(_shard, data_parallel_size=launch.num_ranks, tensor_parallel_size=1)
    elif launch.num_ranks > 1:
        strategy = DDPStrategy(gradient_as_bucket_view=True)
    devices = {"accelerator": settings.accelerator, "devices": launch.devices, "num_nodes": launch.num_nodes}
    return Fabric(**devices, strategy=strategy, plugins=[make_environment(launch)])


def make_environment(launch: Launch) -> LightningEnvironment | SLURMEnvironment | TorchElasticEnvironment:
    """Fabric's name for the launcher; `ValueError` if SLURM leaves open how many processes each machine has."""
    if launch.launcher == "torchrun":
        return TorchElasticEnvironment()
    if launch.launcher == "lightning":
        if launch.num_ranks > 1:  # for the processes it starts: not PyTorch's dozens of lines about a lost connection
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        return LightningEnvironment()
    try:
        return SLURMEnvironment(auto_requeue=False)
    except RuntimeError as error:
        raise ValueError(f"devices: {error}") from None


def find_unused(task: Task, batch: Batch) -> list[str]:
    """The names of the trained weights to which a task's loss gives no gradient."""
    weights = {name: weight for name, weight in task.named_parameters() if weight.requires_grad}
    task.train()  # one that was loaded is not, and may leave out what it uses in training
    task.loss(batch)[0].backward()
    unused = [name for name, weight in weights.items() if weight.grad is None]
    for weight in weights.values():
        weight.grad = None
    return unused


def average_weights(task: Task, decay: float) -> AveragedModel:
    """A moving average of a task's weights. Its decay at update t is min(decay, (1 + t) / (10 + t)), for short runs."""

    def update(averages: Any, weights: Any, _: Any) -> None:
        count = int(average.n_averaged)  # on the CPU: nothing waits for a GPU
        get_ema_multi_avg_fn(min(decay, count / (9 + count)))(averages, weights, count)

    average = AveragedModel(task, multi_avg_fn=update)
    average.update_parameters(task)  # the first call copies the weights
    return average


def _shard(task: Any, mesh: Any) -> Any:
    from torch.distributed.fsdp import fully_shard

    for block in task.model.blocks:
        fully_shard(block, mesh=mesh["data_parallel"])
    return fully_shard(task, mesh=mesh["data_parallel"])
