"""The processes that train together, by what their launcher left in the environment. No torch here.

Three launchers are known: `torchrun`, `srun` of SLURM, and Lightning, which starts the others itself where neither did.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Launcher = Literal["torchrun", "slurm", "lightning"]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What starts the processes, this one's rank, how many are on each machine, and the number of machines.

    >>> Launch().num_ranks
    1
    """

    launcher: Launcher = "lightning"
    rank: int = 0
    devices: int = 1
    num_nodes: int = 1

    @property
    def num_ranks(self) -> int:
        """How many processes train together."""
        return self.devices * self.num_nodes


def find_launch(
    devices: int | None = None, num_nodes: int | None = None, environment: Mapping[str, str] = os.environ
) -> Launch:
    """The launch of this process, by its environment variables; without a launcher `devices` and `num_nodes` decide.

    `ValueError`: the launcher started another number of processes or machines.

    >>> find_launch(environment={"TORCHELASTIC_RUN_ID": "a", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"})
    Launch(launcher='torchrun', rank=3, devices=2, num_nodes=2)
    """
    launcher = find_launcher(environment)
    if launcher == "lightning":
        devices, num_nodes = devices or 1, num_nodes or 1
        local, node = (int(environment.get(name, 0)) for name in ("LOCAL_RANK", "NODE_RANK"))
        rank = node * devices + local if devices * num_nodes > 1 else 0
        return Launch(rank=rank, devices=devices, num_nodes=num_nodes)
    if launcher == "torchrun":
        rank, size, local_size = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        started = {"devices": local_size, "num_nodes": size // local_size}
    else:
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES")
        rank, size, nodes = (int(environment[name]) for name in names)
        started = {"devices": size // nodes, "num_nodes": nodes}
    for name, wanted in [("devices", devices), ("num_nodes", num_nodes)]:
        if wanted not in (None, started[name]):
            raise ValueError(f"{name}: expected {started[name]}, as {launcher} started the processes, got {wanted}")
    return Launch(launcher=launcher, rank=rank, **started)


def find_launcher(environment: Mapping[str, str] = os.environ) -> Launcher:
    """The launcher of this process; `lightning` where there is none."""
    if "TORCHELASTIC_RUN_ID" in environment:
        return "torchrun"
    # A batch script is not a step, and a single task is alone.
    return "slurm" if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1 else "lightning"


def is_first_process(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process has rank 0, which alone writes and prints; True for one that trains alone."""
    names = {"torchrun": ["RANK"], "slurm": ["SLURM_PROCID"], "lightning": ["LOCAL_RANK", "NODE_RANK"]}
    return not any(int(environment.get(name, 0)) for name in names[find_launcher(environment)])
