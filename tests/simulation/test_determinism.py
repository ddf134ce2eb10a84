"""I41: the same seed is the same run, in any process, alone and after others."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEEDS = {"core": (4,), "node": (5,)}
"""As few as can be played in another order: a seed more is the same proof again, and swarms play
many seeds.
"""
PROGRAM = """
import json, sys
from flowactor.simulation.scenario import Depth
from simulations.swarm import draw, play_one
print(json.dumps({
    f"{depth} {seed}": play_one(Depth(depth), draw(seed)).digest
    for depth, seed in json.loads(sys.argv[1])
}))
"""


def start(hash_seed: int, runs: list[tuple[str, int]]) -> subprocess.Popen[str]:
    """These runs, in this order, in a process of their own."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(runs)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_digests_are_equal_in_all_processes():
    """Two processes with different hash seeds, which play the same seeds in another order, agree
    on every byte of every trace, at both depths.
    """
    runs = [(depth, seed) for depth, seeds in SEEDS.items() for seed in seeds]
    processes = [start(1, runs), start(77, runs[::-1])]
    told = [process.communicate(timeout=100)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    one, other = map(json.loads, told)
    assert one == other
    assert len(set(one.values())) == len(runs), "different runs have different digests"
