"""What can this machine, and this user, do? Tried in a forked child, not guessed."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import re
from pathlib import Path

CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_CREATE_RULESET_VERSION = 1


@functools.lru_cache(maxsize=None)
def missing(need: str) -> str | None:
    """Why a case can't run here; None if it can."""
    present, why = PROBES[need]
    return None if present() else why


def can_unshare(flags: int) -> bool:
    child = os.fork()
    if child == 0:
        os._exit(0 if ctypes.CDLL(None).unshare(flags) == 0 else 1)
    return os.waitpid(child, 0)[1] == 0


def is_root() -> bool:
    return os.geteuid() == 0


def has_namespaces() -> bool:
    return can_unshare(CLONE_NEWPID | (0 if is_root() else CLONE_NEWUSER))


def has_landlock() -> bool:
    # None, not 0: a pointer argument must be 64 bits wide.
    return ctypes.CDLL(None).syscall(LANDLOCK_CREATE_RULESET, None, None, LANDLOCK_CREATE_RULESET_VERSION) > 0


def available_gib() -> float:
    text = Path("/proc/meminfo").read_text()
    return int(re.search(r"MemAvailable:\s+(\d+)", text)[1]) / (1 << 20)


PROBES = {
    "root": (is_root, "needs root"),
    "userns": (lambda: can_unshare(CLONE_NEWUSER), "needs user namespaces"),
    "namespaces": (has_namespaces, "needs namespaces"),
    "landlock": (has_landlock, "needs Landlock"),
    "memory": (lambda: available_gib() >= 4, "needs 4 GiB of memory"),
    "x86_64": (lambda: platform.machine() == "x86_64", "needs x86_64"),
}
