"""Ours through `torch.compile`; for inference with the weights frozen, laid out anew as the processor reads them best.

A user does the same with `model.compile()`, and TORCHINDUCTOR_FREEZING=1 in the environment for inference.
"""

from __future__ import annotations

import torch._inductor.config
from torch import nn

from benchmarks.peers import ours


def make_model(variant: str, side: int) -> nn.Module:
    torch._inductor.config.freezing = True  # has no effect where there are gradients
    model = ours.make_model(variant, side)
    model.compile()
    return model
