"""The same code in a process that iterates over sets in another order."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def output_elsewhere(code: str) -> str:
    """What ``code`` prints under a ``PYTHONHASHSEED`` that is not the caller's."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout
