"""What holds for every test: one thread per worker, no network, the same random numbers in every run.

HIPERCEIVER_TEST_SEED gives other random numbers: no test may pass with one seed only.
"""

import os
import sys
from pathlib import Path

# Read by the libraries when they are imported, and handed down to the processes that tests start.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

sys.path.append(str(Path(__file__).parent))  # `closeness`

import random

import hypothesis
import numpy as np
import pytest
import torch

# The same examples in every run; time limits per example only measure how busy the machine is.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    seed = int(os.environ.get("HIPERCEIVER_TEST_SEED", "0"))
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries still draw from it
    torch.manual_seed(seed)


@pytest.fixture(params=["cpu", *["cuda"] * torch.cuda.is_available()])
def device(request: pytest.FixtureRequest) -> str:
    """Every kind of device that is there."""
    return request.param
