"""Killed at any moment, while anything is written, a command that is given again ends as one that nothing disturbed.

HIPERCEIVER_KILLS tries more moments than 20, HIPERCEIVER_TEST_SEED others; `python tests/cli/killed.py FOLDER` does the
same and leaves its runs.
"""

import os
import subprocess
import sys
from pathlib import Path


def test_twenty_random_kills_change_nothing(tmp_path: Path) -> None:
    """Losses, order of data, weights, random numbers, logs and settings of pretraining with workers, of two processes,
    of fine-tuning with its test, and the results and report of an experiment."""
    program = [sys.executable, str(Path(__file__).with_name("killed.py")), str(tmp_path)]
    program += ["--kills", os.environ.get("HIPERCEIVER_KILLS", "20")]
    program += ["--seed", os.environ.get("HIPERCEIVER_TEST_SEED", "0")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
