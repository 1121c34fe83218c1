"""A run that takes a second or so: it counts, keeps its count in a checkpoint, and ends with a test.

It ends early at Ctrl-C, and the first time that it reaches `--break-at`. With `--devices 2`, a second process
outlives it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--break-at", type=int, default=-1)
parser.add_argument("--devices", type=int, default=1)
parser.add_argument("--start")
parser.add_argument("--data")
parser.add_argument("--out", type=Path, required=True)
given = parser.parse_args()
began = time.time()
if given.devices > 1:  # it computes for another second and a half when this process has ended
    code = "import os, time\nwhile os.getppid() == {}: time.sleep(0.01)\nwhile time.process_time() < 1.5: pass"
    subprocess.Popen([sys.executable, "-c", code.format(os.getpid())])

checkpoint = given.out / "checkpoints" / "last.ckpt"
first = step = int(checkpoint.read_text()) if checkpoint.exists() else 0
checkpoint.parent.mkdir(parents=True, exist_ok=True)
try:
    while step < given.steps:
        time.sleep(0.05)
        step += 1
        checkpoint.write_text(str(step))
        print(f" {100 * step // given.steps}%  step {step}/{given.steps}", flush=True)
        if step == given.break_at:
            sys.exit("it broke")
except KeyboardInterrupt:
    sys.exit(130)
metrics = {"accuracy": (50 + given.seed) / 100}
test = {"metrics": metrics, "steps": step, "began_at": first, "from": began, "to": time.time()}
(given.out / "test.json").write_text(json.dumps(test))
