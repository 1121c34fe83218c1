"""Freed memory is kept where the C library can be asked to."""

import platform
import resource

import pytest
import torch

from hiperceiver.training.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_freed_memory_is_not_mapped_anew() -> None:
    assert keep_freed_memory()
    values = 2 * 2**20  # 8 MiB
    for _ in range(20):  # the first ones are new memory
        torch.ones(values)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(values)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert faults < 10 * values * 4 / resource.getpagesize() / 4, "every tensor was mapped anew"
