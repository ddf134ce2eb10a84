"""The same code in processes that iterate over sets in different orders."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def outputs_under_hash_seeds(code: str) -> set[str]:
    """What ``code`` prints under two values of ``PYTHONHASHSEED``; one element if both agree. The
    caller, with a value of its own, is the third.
    """
    running = []
    for seed in ("0", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
    outputs = {process.communicate()[0] for process in running}
    assert all(process.returncode == 0 for process in running)
    return outputs
