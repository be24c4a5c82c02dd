"""What a fit takes of the machine."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

CODE = "from osteon.training import peak_memory; print(peak_memory())"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count each process by itself")
def test_the_peak_is_the_process_s_own_and_not_its_parent_s() -> None:
    held = np.ones(2**31, np.uint8)  # 2 GiB: a study or a window that starts a fit may hold that
    ran = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert 1e8 < int(ran.stdout) < held.nbytes
