"""The schedule-free optimizer beside its formula."""

import pytest
import torch
from torch import nn

from experiments.schedule_free import MOMENTUM, ScheduleFree


def group(weights: list[nn.Parameter], rate: float = 1.0, *, use_muon: bool = False) -> dict[str, object]:
    return {"params": weights, "lr": 0.0, "rate": rate, "weight_decay": 0.0, "use_muon": use_muon}


def test_gradients_are_taken_between_the_fast_weights_and_their_weighted_mean() -> None:
    """Moves of Adam without momentum and with betas (0, b): the first has the length of the rate."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = ScheduleFree([group([weight])], steps=3)
    fast, mean, total, square = weight.detach().clone(), weight.detach().clone(), 0.0, torch.zeros(2)
    for step, rate in enumerate((0.1, 0.2, 0.2), start=1):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        (weight**2).sum().backward()
        gradient = 2 * weight.detach().clone()
        optimizer.step()
        square = 0.95 * square + 0.05 * gradient**2
        fast = fast - rate * gradient / ((square / (1 - 0.95**step)).sqrt() + 1e-8)
        total += rate**2
        mean = mean + (rate**2 / total) * (fast - mean)
        share = MOMENTUM if step < 3 else 1.0
        assert weight.tolist() == pytest.approx(((1 - share) * fast + share * mean).tolist(), rel=1e-5)


def test_with_muon_it_finds_the_least_squares_of_a_matrix() -> None:
    torch.manual_seed(0)
    weight, target = nn.Parameter(torch.zeros(8, 8)), torch.randn(8, 8)
    optimizer = ScheduleFree([group([weight], use_muon=True)], steps=300)
    losses = []
    for _ in range(300):
        optimizer.param_groups[0]["lr"] = 0.1
        optimizer.zero_grad()
        loss = ((weight - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
