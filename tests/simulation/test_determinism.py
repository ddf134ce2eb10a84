"""I41: the same seed is the same run, in any process, first and after others."""

import json
import os
import subprocess
import sys
from pathlib import Path

from flowactor.simulation.scenario import Depth
from simulations.swarm import draw, play_one

ROOT = Path(__file__).parents[2]
SEEDS = {"core": (4,), "node": (5,)}
"""As few as can be played in another order: a seed more is the same proof again, and swarms play
many seeds.
"""
PROGRAM = """
import json, sys
from tests.simulation.test_determinism import digests
print(json.dumps(digests(json.loads(sys.argv[1]))))
"""


def digests(runs: list[tuple[str, int]]) -> dict[str, str]:
    """What comes of these runs, played in this order."""
    return {f"{depth} {seed}": play_one(Depth(depth), draw(seed)).digest for depth, seed in runs}


def digests_elsewhere(runs: list[tuple[str, int]]) -> dict[str, str]:
    """The same, in a process of their own whose texts hash differently."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(runs)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return json.loads(done.stdout)


def test_digests_are_equal_in_all_processes():
    """This process, after whatever it ran before, and a new one with another hash seed, which plays
    the same seeds in another order, agree on every byte of every trace, at both depths.
    """
    runs = [(depth, seed) for depth, seeds in SEEDS.items() for seed in seeds]
    here = digests(runs)
    assert here == digests_elsewhere(runs[::-1])
    assert len(set(here.values())) == len(runs), "different runs have different digests"
