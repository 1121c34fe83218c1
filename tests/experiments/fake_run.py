"""A run that takes a second or so: it counts, keeps its count in a checkpoint, and ends with a test.

It ends early at Ctrl-C, and the first time that it reaches `--break-at`.
"""

import argparse
import json
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--break-at", type=int, default=-1)
parser.add_argument("--devices")
parser.add_argument("--start")
parser.add_argument("--data")
parser.add_argument("--out", type=Path, required=True)
given = parser.parse_args()
began = time.time()

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
