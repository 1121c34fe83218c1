import pytest

from hiperceiver.training.launch import Place, find_launcher, find_place, is_first_process

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
    ("environment", "asked", "place", "is_first"),
    [
        ({}, (None, None), Place(), True),
        ({}, (2, None), Place(devices=2), True),
        ({"LOCAL_RANK": "1"}, (2, None), Place(devices=2, rank=1), False),  # started by Lightning
        ({"LOCAL_RANK": "1", "NODE_RANK": "2"}, (2, 3), Place(devices=2, num_nodes=3, rank=5), False),
        ({"NODE_RANK": "1"}, (2, 3), Place(devices=2, num_nodes=3, rank=2), False),
        (TORCHRUN, (None, None), Place(launcher="torchrun", devices=4, num_nodes=2, rank=5), False),
        (TORCHRUN, (4, 2), Place(launcher="torchrun", devices=4, num_nodes=2, rank=5), False),
        ({**TORCHRUN, "RANK": "0"}, (None, None), Place(launcher="torchrun", devices=4, num_nodes=2), True),
        (SLURM, (None, None), Place(launcher="slurm", devices=2, num_nodes=2, rank=3), False),
        ({**SLURM, **TORCHRUN}, (None, None), Place(launcher="torchrun", devices=4, num_nodes=2, rank=5), False),
        (BATCH_SCRIPT, (None, None), Place(), True),
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, (None, None), Place(), True),
    ],
)
def test_place(environment: dict[str, str], asked: tuple, place: Place, is_first: bool) -> None:
    assert find_place(*asked, environment) == place
    assert is_first_process(environment) == is_first
    assert find_launcher(environment) == place.launcher


@pytest.mark.parametrize(
    ("environment", "asked", "message"),
    [
        (TORCHRUN, (2, None), "devices: expected 4, as torchrun started the processes, got 2"),
        (SLURM, (None, 1), "num_nodes: expected 2, as slurm started the processes, got 1"),
    ],
)
def test_another_number_than_was_started(environment: dict[str, str], asked: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        find_place(*asked, environment)


def test_lightning_sees_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from hiperceiver.training.strategies import make_environment

    for name, value in {**SLURM, "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODEID": "1", "SLURM_JOB_NAME": "x"}.items():
        monkeypatch.setenv(name, value)
    environment = make_environment(find_place())
    assert (environment.global_rank(), environment.world_size(), environment.local_rank()) == (3, 4, 1)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(ValueError, match="^devices: .*--ntasks-per-node") as error:
        make_environment(find_place())
    assert "\n" not in str(error.value)
