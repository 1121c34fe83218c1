"""How devices share the work of training, by Lightning's strategies: gradients (DDP) or every weight (FSDP2)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import nn

from hiperceiver.modality import Batch
from hiperceiver.settings.run import TrainingSettings
from hiperceiver.tasks.task import Task
from hiperceiver.training.ema import AverageWeights
from hiperceiver.training.launch import Place
from hiperceiver.training.module import TrainingModule
from hiperceiver.training.processes import Processes

WholeTask = Callable[[], AbstractContextManager[Task | None]]
"""Gives the task whose weights are validated and saved, to the first process, for as long as a context lasts; None to
the others. All enter together, and the first does with it what it likes."""


def make_strategy(settings: TrainingSettings, place: Place) -> Strategy | str:
    """Lightning's strategy."""
    if place.num_ranks == 1:
        return "auto"
    if settings.strategy == "fsdp":
        return ModelParallelStrategy(
            data_parallel_size=place.num_ranks, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    return DDPStrategy(gradient_as_bucket_view=True)


def make_environment(place: Place) -> ClusterEnvironment:
    """Lightning's word for the launcher.

    Raises:
        ValueError: SLURM was asked for processes in a way that leaves their number on each machine open.
    """
    if place.launcher == "torchrun":
        return TorchElasticEnvironment()
    if place.launcher == "lightning":
        if place.num_ranks > 1:  # for those it starts: not PyTorch's dozens of lines about a lost connection
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        return LightningEnvironment()
    try:
        return SLURMEnvironment(auto_requeue=False)
    except RuntimeError as error:
        raise ValueError(f"devices: {error}") from None


class ShareWeights(Callback):
    """Prepares a task for Lightning's strategies, once the processes are joined and before they share anything.

    A strategy waits for the gradient of every weight that is trained, and a task need not use all: classification never
    runs the decoder. Which weights get none is seen by a try on one example; for this run they are frozen, which
    changes nothing in what is computed.

    Args:
        module: what is trained.
        processes: those that train together.
        examples: batches of few examples, the same in every process.
    """

    def __init__(self, module: TrainingModule, processes: Processes, examples: Iterable[Batch]):
        self.module = module
        self.processes = processes
        self.examples = examples
        self.frozen: list[nn.Parameter] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find an example, and try it."""
        self.processes.connect()
        self.processes.broadcast_tensors([weight.detach() for weight in self.module.task.parameters()])
        batch = next((batch for batch in self.examples if len(batch) > 0), None)
        if batch is None:
            raise ValueError("source: expected a readable example among the first of split 'train', got none")
        self.module.stand_in = batch
        self.frozen = find_unused(self.module.task, batch)
        for weight in self.frozen:
            weight.requires_grad_(False)

    def thaw(self) -> None:
        """Undo what was frozen."""
        for weight in self.frozen:
            weight.requires_grad_(True)


def find_unused(task: Task, batch: Batch) -> list[nn.Parameter]:
    """The trained weights that a task's loss gives no gradient to."""
    weights = [weight for weight in task.parameters() if weight.requires_grad]
    task.loss(batch)[0].backward()
    unused = [weight for weight in weights if weight.grad is None]
    for weight in weights:
        weight.grad = None
    return unused


class ShardedModule(TrainingModule):
    """A task of whose every weight each process holds a part (FSDP2). A block is put together while it computes."""

    def configure_model(self) -> None:
        """Lightning calls this where the weights are to be shared out."""
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        assert self.device_mesh is not None
        mesh = self.device_mesh["data_parallel"]
        for block in self.task.model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(self.task, mesh=mesh)
        register_fsdp_forward_method(self.task, "terms")
        self._terms = self.task.terms


def whole_in_place(module: TrainingModule, average: AverageWeights | None, processes: Processes) -> WholeTask:
    """Of a task that each process holds whole: itself, with the moving average of its weights if there is one."""

    @contextmanager
    def whole() -> Iterator[Task | None]:
        if not processes.is_first:
            yield None
            return
        with nullcontext() if average is None else average.in_place(module):
            yield module.task

    return whole


def whole_from_parts(task: Task, module: ShardedModule, processes: Processes) -> WholeTask:
    """Of a task whose weights are shared out: `task`, a whole one on the CPU, which is given the weights."""

    @contextmanager
    def whole() -> Iterator[Task | None]:
        values = task.state_dict()
        with torch.no_grad():
            for name, part in module.task.state_dict().items():
                value = part.full_tensor() if hasattr(part, "full_tensor") else part
                if processes.is_first:
                    values[name].copy_(value)
        if not processes.is_first:
            yield None
            return
        try:
            yield task.to(module.device)
        finally:
            task.to("cpu")

    return whole
