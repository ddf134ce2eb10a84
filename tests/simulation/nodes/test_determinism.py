"""The same scenario is the same run: to the byte, in any process, whatever ran before (I41)."""

import subprocess
import sys
from os import environ
from pathlib import Path

import pytest

from flowactor.simulation.nodes import simulate_nodes
from tests.simulation.test_faults import FAULTS, scenario

ROOT = Path(__file__).parents[3]
MIXED = (*FAULTS["crash"], *FAULTS["loss"], *FAULTS["reset"], *FAULTS["clock-jump"])
SCRIPT = """
from tests.simulation.nodes.test_determinism import digests
print(*digests())
"""


def digests() -> list[str]:
    """Of runs with and without sockets, with all batches shuffled and with none."""
    power_cut = FAULTS["power-cut"]
    return [
        simulate_nodes(each).digest
        for each in (
            scenario(*MIXED, seed=5, sockets=True),
            scenario(*power_cut, seed=6, deviations=frozenset()),
            scenario(*FAULTS["pause"], seed=7, deviations=frozenset({3, 40, 41, 900})),
        )
    ]


def elsewhere(hash_seed: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    return done.stdout.split()


@pytest.mark.long  # by default ``simulation/test_determinism.py`` looks at both depths
def test_processes_agree():
    """Digests are equal in this process, after whatever it ran before, and in a new one whose texts
    hash differently.
    """
    here = digests()
    assert len(set(here)) == len(here)
    assert here == elsewhere("77")


def test_keeping_the_record_changes_nothing():
    """A run that is kept for a timeline is the run that was not."""
    assert simulate_nodes(scenario()).digest == simulate_nodes(scenario(), keep=True).digest


def test_each_seed_is_a_run_of_its_own():
    """The seed decides delays, time-outs and the order of tasks."""
    found = {simulate_nodes(scenario(seed=seed, acts=(), invariants=())).digest for seed in (1, 2)}
    assert len(found) == 2
