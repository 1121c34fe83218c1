"""How far a model's numbers are from its formulas: on a device, in a precision, with the fast paths."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from benchmarks.jobs import Job
from benchmarks.machine import device_name
from benchmarks.torch_steps import autocast
from hiperceiver import Batch, Modality, create_model, fast
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig
from hiperceiver.tasks.masked_autoencoding import Mask

_SPREAD = 0.02
"""Standard deviation of what is added to every weight: some begin at zero, where nothing depends on anything."""
_LEAST = 1e-3
"""Length of a weight's gradient, as a share of the longest one, below which it is rounding: a key's bias has none."""


def measure(job: Job) -> dict[str, Any]:
    """Distances to the plain formulas in float64 on the CPU, each ||found - expected|| / ||expected||.

    Returns:
        `outputs` of a picture's reconstruction with nothing hidden; `loss` and `gradients`, of all weights together, of
        masked auto-encoding; `worst`, of one weight, which `worst_name` names; `device_name`.
    """
    torch.manual_seed(0)
    model = create_model(job.variant, modalities={"image": Modality(grid=(job.side, job.side), channels=3)})
    with torch.no_grad():
        for weight in model.parameters():
            weight += _SPREAD * torch.randn_like(weight)
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=job.ratio, loss_on="hidden"))
    x = torch.randn(job.batch, job.side**2, 3)
    mask = task.draw(Batch(inputs={"image": x}))
    with fast.plain():
        outputs, loss, gradients = _computed(copy.deepcopy(task).double(), x.double(), mask)
    with autocast(job):
        found = _computed(task.to(job.device), x.to(job.device), _moved(mask, job.device))
    whole = max(float(each.norm()) for each in gradients.values())
    apart = {name: distance(found[2][name], each, least=_LEAST * whole) for name, each in gradients.items()}
    worst = max(apart, key=lambda name: apart[name])
    ours, theirs = (torch.cat([each[name].flatten().cpu() for name in gradients]) for each in (found[2], gradients))
    return {
        "outputs": distance(found[0], outputs),
        "loss": distance(found[1], loss),
        "gradients": distance(ours, theirs),
        "worst": apart[worst],
        "worst_name": worst,
        "device_name": device_name(job),
    }


def distance(found: Tensor, expected: Tensor, least: float = 0.0) -> float:
    """||found - expected|| / ||expected||, in float64; an expected length below `least` counts as that.

    >>> distance(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0]))
    0.1
    """
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    return float((found - expected).norm() / max(float(expected.norm()), least))


def _computed(task: MaskedAutoencoding, x: Tensor, mask: Mask) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    with torch.no_grad():
        outputs = task.model({"image": x}).reconstruction["image"]
    loss = task.weigh(task.terms(Batch(inputs={"image": x}), mask))[0]
    loss.backward()
    return outputs, loss, {name: each.grad for name, each in task.named_parameters() if each.grad is not None}


def _moved(mask: Mask, device: str) -> Mask:
    return Mask(*({name: x.to(device) for name, x in each.items()} for each in mask))
