"""What holds for every test: one thread per worker, no network, the same random numbers in every run.

HIPERCEIVER_TEST_SEED gives other random numbers: no test may pass with one seed only. HIPERCEIVER_EXAMPLES=20 tries 20
times as many examples of each property (hypothesis) as CI does, new ones in each run.
"""

import os
import sys
from pathlib import Path

# Read by the libraries when they are imported, and handed down to the processes that tests start.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

sys.path.append(str(Path(__file__).parent))  # `closeness`, `strategies`

import random
import signal

import hypothesis
import numpy as np
import pytest
import torch
from strategies import examples

# The same examples in every run, unless more are asked for; time limits per example only measure how busy the machine
# is. What made a test fail is printed as a line to paste, and not kept in a folder.
hypothesis.settings.register_profile(
    "house",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    database=None,
    derandomize="HIPERCEIVER_EXAMPLES" not in os.environ,
    max_examples=examples(100).max_examples,
    print_blob=True,
)
hypothesis.settings.load_profile("house")


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    seed = int(os.environ.get("HIPERCEIVER_TEST_SEED", "0"))
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries still draw from it
    torch.manual_seed(seed)


@pytest.fixture(autouse=True, scope="session")
def _signals_are_taken() -> None:
    """As from a terminal: what nohup starts ignores SIGHUP, and so do we there."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(params=["cpu", *["cuda"] * torch.cuda.is_available()])
def device(request: pytest.FixtureRequest) -> str:
    """Every kind of device that is there."""
    return request.param
