"""The optimizers: Muon for matrices beside AdamW for all other weights, AdamW alone, LAMB."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from hiperceiver.model.initialisation import CategoryEmbedding
from hiperceiver.model.positions import LearnedPositions, Positions
from hiperceiver.settings.run import OptimizerName, TrainingSettings

_MOST_AT_ONCE = 2**24  # numbers of matrices that are made orthogonal together
BETAS = (0.9, 0.95)  # as in "Masked Autoencoders Are Scalable Vision Learners", arXiv 2111.06377, appendix A.


class WeightGroups(NamedTuple):
    """Names of the weights that are trained."""

    matrices: tuple[str, ...]  # of linear layers, without those of position encodings
    tables: tuple[str, ...]  # of learned positions
    categories: tuple[str, ...]  # vectors of these
    rest: tuple[str, ...]


def group_weights(module: nn.Module) -> WeightGroups:
    """Sort a module's trainable weights.

    >>> group_weights(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2)))
    WeightGroups(matrices=('1.weight',), tables=(), categories=(), rest=('0.weight', '0.bias', '1.bias'))
    """
    parts = dict(module.named_modules())
    positions = tuple(f"{name}." for name, part in parts.items() if isinstance(part, Positions))
    matrices, tables, categories, rest = [], [], [], []
    for name, weight in module.named_parameters():
        owner, _, own_name = name.rpartition(".")
        if not weight.requires_grad:
            continue
        if isinstance(parts[owner], LearnedPositions) and own_name == "table":
            tables.append(name)
        elif isinstance(parts[owner], CategoryEmbedding):
            categories.append(name)
        elif isinstance(parts[owner], nn.Linear) and own_name == "weight" and not name.startswith(positions):
            matrices.append(name)
        else:
            rest.append(name)
    return WeightGroups(tuple(matrices), tuple(tables), tuple(categories), tuple(rest))


def make_optimizer(module: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer of a module's trainable weights. `set_learning_rate` sets the rate of each step.

    Raises:
        ValueError: all weights are frozen, or the optimizer's package is not installed.
    """
    matrices, tables, categories, rest = (
        [module.get_parameter(name) for name in names] for names in group_weights(module)
    )
    if not (matrices or tables or categories or rest):
        raise ValueError("task: expected weights to train, got none that is not frozen")
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay, "rate": 1.0, "use_muon": True},
        {"params": tables, "weight_decay": settings.position_decay, "rate": settings.position_rate, "use_muon": False},
        {"params": categories, "weight_decay": 0.0, "rate": settings.embedding_rate, "use_muon": False},
        {"params": rest, "weight_decay": 0.0, "rate": 1.0, "use_muon": False},
    ]
    optimizer = OPTIMIZERS[settings.optimizer]([group for group in groups if group["params"]])
    set_learning_rate(optimizer, settings.learning_rate)
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the rate of the next step; groups of weights may have a multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate"]


class MuonAdamW(torch.optim.AdamW):
    """Muon for the groups of matrices with `use_muon`, AdamW for the others.

    Muon moves a matrix by its momentum made orthogonal, so that it turns in every direction by as much. Moves have
    the root mean square of AdamW's, 0.2, and both share one learning rate. `step` takes the gradients of the matrices
    away. Matrices of about one size are computed together; otherwise this is `torch.optim.Muon`, nesterov, with
    `adjust_lr_fn="match_rms_adamw"`.

    Source: Jordan and others, "Muon: An optimizer for hidden layers in neural networks", 2024; the length of the moves:
    "Muon is Scalable for LLM Training", arXiv 2502.16982.
    """

    momentum = 0.95

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; as of the base class."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["use_muon"]:
                self._step_muon(group)
        super().step()
        return loss

    def _step_muon(self, group: Mapping[str, Any]) -> None:
        by_size: dict[tuple[int, int], list[Tensor]] = {}
        for weight in group["params"]:
            if weight.grad is not None:
                by_size.setdefault(padded_size(weight), []).append(weight)
        for size, weights in by_size.items():
            count = max(1, _MOST_AT_ONCE // math.prod(size))
            for some in (weights[first : first + count] for first in range(0, len(weights), count)):
                moves = torch.zeros(len(some), *size, device=some[0].device)
                for move, weight in zip(moves, some, strict=True):
                    _part(move, weight.shape).copy_(put_together(self._momentum(weight)))
                for move, weight in zip(orthogonal(moves), some, strict=True):
                    length = 0.2 * max(weight.shape) ** 0.5
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(divided_as(weight, _part(move, weight.shape)), alpha=-group["lr"] * length)
                    weight.grad = None

    def _momentum(self, weight: Tensor) -> Tensor:
        """Add the gradient to the mean of gradients, and look ahead by one step (Nesterov)."""
        gradient, state = weight.grad, self.state[weight]
        assert gradient is not None
        if not state:  # Adam, which loads the state, looks for a step in every weight's
            state.update(step=torch.zeros(()), momentum_buffer=torch.zeros_like(gradient))
        state["step"] += 1
        mean = state["momentum_buffer"].lerp_(gradient, 1 - self.momentum)
        return gradient.lerp(mean, self.momentum)


def padded_size(matrix: Tensor) -> tuple[int, int]:
    """Rows and columns, not fewer, to which zeros pad a matrix or its transpose, so that there are few sizes.

    What is computed of small matrices takes a GPU as long as it takes to start it, however many there are; zeros leave
    singular values and vectors as they are.

    >>> padded_size(torch.zeros(192, 64)), padded_size(torch.zeros(3, 32)), padded_size(torch.zeros(512, 1536))
    ((64, 256), (64, 64), (512, 1536))
    """
    rows, columns = sorted(size if size > 256 else max(64, 1 << (size - 1).bit_length()) for size in matrix.shape)
    return rows, columns


def _part(padded: Tensor, shape: Sequence[int]) -> Tensor:
    """Where a matrix of this shape lies in a padded one, which is wide: a tall one on its side."""
    rows, columns = shape
    return padded[:rows, :columns] if rows <= columns else padded[:columns, :rows].mT


def orthogonal(matrices: Tensor) -> Tensor:
    """The matrices (S, m, n) with all singular values near 1 (0.7 to 1.2), by five Newton-Schulz steps.

    In bfloat16, but on processors without AVX-512, whose products of it PyTorch computes 20 times as slowly as float32.

    >>> values = torch.linalg.svdvals(orthogonal(torch.diag(torch.tensor([9.0, 3.0, 1.0]))[None]).float())
    >>> bool(values.min() > 0.6), bool(values.max() < 1.3)
    (True, True)
    """
    is_slow = matrices.device.type == "cpu" and not torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    x = matrices.float() if is_slow else matrices.bfloat16()
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        a = x @ x.mT
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445)
    return x.mT if is_tall else x


def put_together(x: Tensor) -> Tensor:
    """A tensor whose parts several processes hold (FSDP2), put together; any other as it is."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def divided_as(like: Tensor, x: Tensor) -> Tensor:
    """A tensor that all processes have alike, divided among them as `like` is, if it is."""
    if not isinstance(like, DTensor):
        return x
    return distribute_tensor(x.to(like.dtype), like.device_mesh, like.placements, src_data_rank=None)


def _lamb(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    try:
        from pytorch_optimizer import Lamb
    except ImportError:
        remedy = "pip install 'hiperceiver[optimizers]'"
        raise ValueError(f"optimizer: lamb needs the package pytorch-optimizer; {remedy}") from None
    return Lamb(groups, betas=BETAS)


OPTIMIZERS: dict[OptimizerName, Callable[[Any], torch.optim.Optimizer]] = {
    "muon": lambda groups: MuonAdamW(groups, betas=BETAS, fused=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, betas=BETAS, fused=True),  # on a CPU eight times the plain one
    "lamb": _lamb,
}
"""Each takes groups of weights."""
