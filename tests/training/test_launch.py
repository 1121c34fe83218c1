import pytest

from hiperceiver.training.launch import Launch, find_launch, find_launcher, is_first_process

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SLURM = {
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
}
BATCH_SCRIPT = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("environment", "asked", "launch", "is_first"),
    [
        ({}, (None, None), Launch(), True),
        ({}, (2, None), Launch(devices=2), True),
        ({"LOCAL_RANK": "1"}, (2, None), Launch(devices=2, rank=1), False),  # started by Lightning
        ({"LOCAL_RANK": "1", "NODE_RANK": "2"}, (2, 3), Launch(devices=2, num_nodes=3, rank=5), False),
        ({"NODE_RANK": "1"}, (2, 3), Launch(devices=2, num_nodes=3, rank=2), False),
        (TORCHRUN, (None, None), Launch(launcher="torchrun", devices=4, num_nodes=2, rank=5), False),
        (TORCHRUN, (4, 2), Launch(launcher="torchrun", devices=4, num_nodes=2, rank=5), False),
        ({**TORCHRUN, "RANK": "0"}, (None, None), Launch(launcher="torchrun", devices=4, num_nodes=2), True),
        (SLURM, (None, None), Launch(launcher="slurm", devices=2, num_nodes=2, rank=3), False),
        ({**SLURM, **TORCHRUN}, (None, None), Launch(launcher="torchrun", devices=4, num_nodes=2, rank=5), False),
        (BATCH_SCRIPT, (None, None), Launch(), True),
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, (None, None), Launch(), True),
    ],
)
def test_launch(environment: dict[str, str], asked: tuple, launch: Launch, is_first: bool) -> None:
    assert find_launch(*asked, environment) == launch
    assert is_first_process(environment) == is_first
    assert find_launcher(environment) == launch.launcher


@pytest.mark.parametrize(
    ("environment", "asked", "message"),
    [
        (TORCHRUN, (2, None), "devices: expected 4, as torchrun started the processes, got 2"),
        (SLURM, (None, 1), "num_nodes: expected 2, as slurm started the processes, got 1"),
    ],
)
def test_another_number_than_was_started(environment: dict[str, str], asked: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        find_launch(*asked, environment)


def test_lightning_sees_the_same_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    from hiperceiver.training.strategies import make_environment

    for name, value in {**SLURM, "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODEID": "1", "SLURM_JOB_NAME": "x"}.items():
        monkeypatch.setenv(name, value)
    environment = make_environment(find_launch())
    assert (environment.global_rank(), environment.world_size(), environment.local_rank()) == (3, 4, 1)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(ValueError, match="^devices: .*--ntasks-per-node") as error:
        make_environment(find_launch())
    assert "\n" not in str(error.value)
