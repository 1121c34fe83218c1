"""Memory of this process. No package beyond Python's own."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_resident() -> int:
    """The most memory that this process has held, in bytes.

    Linux hands `ru_maxrss` on from the process that started this one, so that it may say what another one held; the
    kernel's own high-water mark of this process does not.
    """
    if _STATUS.exists():
        return _from_status("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> None:
    """Begin anew with `peak_resident`, where the system allows it: what a compiler held is not what a step holds."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def resident() -> int:
    """The memory that this process holds now, in bytes; the most so far where the system does not say."""
    return _from_status("VmRSS") if _STATUS.exists() else peak_resident()


def _from_status(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
