"""What the operating system says of this process."""

from __future__ import annotations

import os
import sys
import time


def memory() -> int | None:
    """Returns resident memory in bytes; where the system does not tell, the most that it ever was, or None."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return _most_memory()


def _most_memory() -> int | None:
    try:
        import resource  # not on every system
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def cpu() -> float:
    """Returns the seconds of processor time used since the process began."""
    return time.process_time()


def open_fds() -> int | None:
    """Returns how many file descriptors are open; None where the system does not tell."""
    for place in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(place)) - 1  # one is for looking
        except OSError:
            continue
    return None
