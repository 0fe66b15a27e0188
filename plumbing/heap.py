"""Memory that a process frees: kept for the next batch, or given back to the kernel."""

import contextlib
import ctypes

_M_TOP_PAD = -2  # glibc's malloc.h
_KEPT_BYTES = 64 * 1024 * 1024


def keep_freed() -> bool:
    """Let glibc keep freed memory for the next batch; returns False where the C library is another one.

    By default glibc gives free memory at the end of the heap back to the kernel and maps large blocks anew
    each time. A loop that works in batches then pays a page fault (2 µs on a virtual machine) for the same
    pages again and again. With M_TOP_PAD the heap grows by 64 MiB at a time; pages take memory once used.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_TOP_PAD, _KEPT_BYTES))


def give_back() -> None:
    """Return freed memory to the kernel, after a start that took more than what is kept."""
    with contextlib.suppress(AttributeError):  # a C library without malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
