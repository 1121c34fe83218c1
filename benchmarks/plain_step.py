"""A step of a model by public names alone, so that any checkout can run it: `python -P plain_step.py CELL`.

`PYTHONPATH` says which `hiperceiver` is measured. A cell in JSON in, an answer in JSON out; nothing else of this folder
is read. A cell is {"model": "hip-nano", "side": 32, "batch": 64, "mode": "training" or "inference"}, and "settings" of
the model's config if it has any other than its own: {"token_order": "hilbert"}.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

import hiperceiver

_WARM_UP, _MOST_CALLS, _ENOUGH_SECONDS = 2, 10, 6.0


def main(cell: dict) -> None:
    """Time up to 10 steps within about 6 seconds after two that are not counted, and print the median."""
    torch.manual_seed(0)
    side, batch = cell["side"], cell["batch"]
    image = hiperceiver.Modality(grid=(side, side), channels=3)
    model = hiperceiver.create_model(cell["model"], modalities={"image": image}, **cell.get("settings", {}))
    x = torch.randn(batch, side * side, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
    model.train(cell["mode"] == "training")

    def step() -> None:
        if cell["mode"] == "inference":
            with torch.inference_mode():
                model({"image": x})
            return
        F.mse_loss(model({"image": x}).reconstruction["image"], x).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    times: list[float] = []
    for _ in range(_WARM_UP):
        step()
    while len(times) < _MOST_CALLS and sum(times) < _ENOUGH_SECONDS:
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    numbers = {"seconds": median(times), "peak_bytes": peak, "source": str(Path(hiperceiver.__file__).parent)}
    print(json.dumps({"status": "measured", "numbers": numbers}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
