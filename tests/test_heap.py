"""Memory that a training step frees is kept for the next step, and gaps in it are given back when asked."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CHILD = """
import numpy as np
from nc_gym.computer.heap import give_back_freed_memory, keep_freed_memory

def resident_mb():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) // 1024

keep_freed_memory()
blocks = [np.ones(2**20, np.uint8) for _ in range(300)]
del blocks[::2]  # gaps of 1 MiB
kept = resident_mb()
give_back_freed_memory()
print(kept - resident_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_gaps_between_blocks_in_use_are_given_back():
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100  # of 150 MiB that were freed
