"""A case that crashes, hangs, fills the memory or raises is named, and those after it are done all the same."""

import faulthandler
import os
import signal
import sys
import time

import numpy as np
import pytest

from .forked import FAULT, outcomes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and counts memory as Linux does")


def crash() -> str:
    faulthandler.disable()  # pytest's would show where
    os.kill(os.getpid(), signal.SIGSEGV)
    return "went on"


def leave() -> str:
    os._exit(3)


def compute() -> str:
    end = time.process_time() + 30
    while time.process_time() < end:
        pass
    return "went on"


def fill() -> str:
    return str(np.ones(32_000_000).sum())  # 244 MB


def ask_for_too_much() -> str:
    return str(np.ones(10**12).sum())


def fail() -> str:
    raise KeyError("a name")


def test_what_no_case_may_do() -> None:
    cases = [lambda: "one", crash, compute, lambda: "two", fill, leave, fail, ask_for_too_much, lambda: "three"]
    found = outcomes(cases, seconds=2.0, megabytes=100)
    assert [each for each in found if not each.startswith(FAULT)] == ["one", "two", "three"]
    faults = [each.removeprefix(FAULT) for each in found if each.startswith(FAULT)]
    assert faults[:2] == ["crash: SIGSEGV", "more than 2 seconds of computing"]
    assert faults[2].startswith("took 2") and faults[2].endswith("32000000.0")
    assert faults[3:5] == ["crash: exit code 3", "KeyError: 'a name'"]
    assert "MemoryError" in faults[5]
