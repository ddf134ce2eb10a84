"""One door to all that users test with: its names, and what they need."""

import json
import os
import subprocess
import sys

import flowactor.testing as facade

MEASURE = """
import json
from flowactor.testing import simulate_test
from tests.testing.shop import Careful, app

async def body(cluster):
    handle = await cluster.client.start(Careful.run, "tea", id="a")
    await cluster.sleep(0.5)
    cluster.crash(cluster.owner(handle))
    await handle.result()
    await cluster.sleep(days=1)
    return [cluster.now, handle.run_id, cluster.leader, cluster.owner(handle)]

print(json.dumps(simulate_test(body, app=app, seed=5)))
"""
WITHOUT = """
import sys
sys.modules["hypothesis"] = sys.modules["pytest"] = None
import flowactor.testing
needs = {"SimulatedMachine", "ClusterShape"}
needs |= {"clusters", "deviations", "fault_schedules", "scenarios"}
for name in flowactor.testing.__all__:
    if name not in needs:
        getattr(flowactor.testing, name)
try:
    from flowactor.testing import *
except ImportError as error:
    print(error)
"""


def output(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_every_public_name_is_there():
    """The names are sorted, each can be had, and no other is promised to a type checker."""
    assert facade.__all__ == sorted(facade.__all__)
    assert all(getattr(facade, name) is not None for name in facade.__all__)
    homes = [name for names in facade._HOMES.values() for name in names]
    assert sorted(homes) == facade.__all__
    assert set(facade.__all__) <= set(dir(facade))
    assert not hasattr(facade, "nope")


def test_neither_pytest_nor_hypothesis_is_needed_for_the_rest():
    """Where they are not installed, all names are there that are not built on them; the others
    say what to install.
    """
    assert output(WITHOUT).strip().endswith("needs hypothesis: pip install 'flowactor[testing]'")


def test_a_simulated_test_is_the_same_run_in_every_process():
    """Times, ids, leaders and owners are equal, whatever the hash seed."""
    root = facade.__file__.rpartition("flowactor")[0]
    one, other = (
        json.loads(output(MEASURE, PYTHONHASHSEED=seed, PYTHONPATH=root)) for seed in ("1", "77")
    )
    assert one == other
