"""Processes that share the groups are together one model: same outputs, same gradients, less memory each."""

import json
import os
import subprocess
import sys

import pytest
import sharing
import torch
import torch.distributed as dist
from closeness import assert_close
from small_models import hip, perceiver_io, refusal

from hiperceiver.model import GroupPlan
from hiperceiver.model.positions import FourierPositions
from hiperceiver.sharding import ShardedHiP
from hiperceiver.sharding.partition import local_spans
from hiperceiver.sharding.sharded_hip import LocalFourierPositions

Results = dict[tuple[int, str], list[str | None]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What each process of 2 and of 4 says of each check in `sharing.py`: None, or a traceback."""
    folder = tmp_path_factory.mktemp("shares")
    done = subprocess.run(
        [sys.executable, "-W", "error", sharing.__file__, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    found: Results = {}
    for count in (2, 4):
        path = folder / str(count) / "results"
        assert path.exists(), done.stderr
        for line in path.read_text().splitlines():
            name, failures = json.loads(line)
            found[count, name] = failures
    assert done.stderr == ""
    return found


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize(
    "check", [pytest.param(c, marks=[pytest.mark.needs_extras] * (c in sharing.NEED_EXTRAS)) for c in sharing.CHECKS]
)
def test_in_processes(check: str, count: int, results: Results) -> None:
    assert (count, check) in results, "the processes did not come so far"
    assert len(results[count, check]) == count
    for failure in results[count, check]:
        assert failure is None, failure


def test_shares_are_all_groups_and_all_tokens_once() -> None:
    plan = GroupPlan.assign({"image": 50176, "audio": 6000, "text": 900}, num_groups=16)
    for num_ranks in (1, 2, 4, 8, 16):
        shares = [local_spans(plan, rank, num_ranks) for rank in range(num_ranks)]
        assert {sum(span.num_groups for span in own.values()) for own in shares} == {16 // num_ranks}
        for name, span in plan.spans.items():
            own = [own[name] for own in shares if name in own]
            assert [group for each in own for group in range(16)[each.groups]] == [*range(span.num_groups)]
            x = torch.arange(span.num_tokens)[None]
            assert torch.equal(torch.cat([each.to_groups(x[:, each.tokens]) for each in own], dim=1), span.to_groups(x))
            assert torch.equal(torch.cat([each.is_padding() for each in own]), span.is_padding())
            parts = [each.to_tokens(span.to_groups(x)[:, each.groups]) for each in own]
            assert torch.equal(torch.cat(parts, dim=1), x)


def test_fourier_features_of_some_tokens() -> None:
    positions = FourierPositions((3, 4, 5), 6, num_bands=4)
    weight = positions.projection.weight
    local = LocalFourierPositions(positions, slice(7, 41))
    assert_close(local(), positions()[7:41], terms=weight.shape[1], scale=weight.detach().abs().max())


def test_without_other_processes() -> None:
    assert not dist.is_initialized()
    with refusal("group: expected torch.distributed.init_process_group"):
        ShardedHiP(hip())
    with refusal("model: expected a whole HiP, whose groups can be divided among ranks, got PerceiverIO"):
        ShardedHiP(perceiver_io())  # type: ignore[arg-type]
