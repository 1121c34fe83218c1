"""Memory of a process that trains on the CPU."""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # more is refused
_KEPT = 2**30


def keep_freed_memory() -> bool:
    """Let the C library keep freed tensors' memory for the next ones, instead of returning it to the system each time.

    Activations of a few megabytes are otherwise mapped and zeroed in every step: without that a segmentation step of
    `hip-nano` (8 tiles, 2 busy cores) took 124 ms, not 166 ms, measured once. Whether it was done: only glibc can.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
