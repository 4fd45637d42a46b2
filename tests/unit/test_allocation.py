"""How the process allocates memory and gives it back."""

from __future__ import annotations

import subprocess
import sys

import pytest

HELD = """
from anomaly_daemon.daemon.allocation import give_back_freed_memory, keep_freed_memory

def resident() -> int:
    return int(open("/proc/self/statm").read().split()[1]) * 4096

keep_freed_memory()
blocks = [bytes([1]) * 1_000_000 for _ in range(200)]
after = blocks[-1]
del blocks
kept = resident()
give_back_freed_memory()
print(kept - resident(), len(after))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_freed_memory_is_kept_for_the_next_batch_until_it_is_given_back() -> None:
    said = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True).stdout
    assert int(said.split()[0]) > 150_000_000
