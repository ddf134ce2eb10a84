"""The owner of a run is killed wherever the run is, and nothing is lost or recorded twice."""

import os
from itertools import chain
from random import Random

import pytest
import trio

from tests.processes.cluster import assert_recorded_once
from tests.processes.flows import STEP_SECONDS, STEPS, Journey, expected_total, step_name

pytestmark = pytest.mark.processes

RUNS = 5
# Another seed each time, but one for all workers of a run, as they have to agree on the tests.
TEST_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID")
SEED = int(os.environ.get("FLOWACTOR_KILL_SEED") or Random(TEST_RUN).randrange(10**9))
"""Another one each time; a failure names it, and the variable repeats it."""


def positions(seed: int) -> list[list[int]]:
    """All positions of a run, dealt to so many runs at random, each in ascending order."""
    shuffled = list(range(1, STEPS + 1))
    Random(seed).shuffle(shuffled)
    return [sorted(shuffled[start::RUNS]) for start in range(RUNS)]


@pytest.mark.parametrize("seed", [SEED], ids=lambda seed: f"seed {seed}")
async def test_owner_is_killed_twice(cluster, seed):
    """A run of 20 steps whose owner is killed -9 at two random positions comes to the right result,
    with every step recorded once and no attempt executed twice: once the killed node is back before
    it is missed, once its runs have moved.
    """
    random = Random(seed)
    stops = sorted(random.sample(range(1, STEPS + 1), 2))
    await kill_owners(cluster, "twice", stops, [False, True], random)


@pytest.mark.long
@pytest.mark.parametrize("number", range(RUNS), ids=lambda number: f"seed {SEED} run {number}")
async def test_owner_is_killed_at_every_position(cluster, number):
    """As above with four random positions. In all cases together, the owner is killed 20 times,
    once at each position.
    """
    random = Random(f"{SEED} {number}")
    stops = positions(SEED)[number]
    waits = [random.random() < 0.4 for _ in stops]
    await kill_owners(cluster, f"journey-{number}", stops, waits, random)


async def kill_owners(cluster, name, stops, waits, random):
    """Kill the owner of a run at each of these positions, and start it again, at once or when it
    has been missed, as ``waits`` has it for each; then look at what became of the run.
    """
    async with cluster.client(random.randint(1, 3)) as client:
        await client.start(Journey.run, STEPS, [*stops, STEPS + 1], id=name)
    async with cluster.client() as client:
        run = client.get_handle(name, result_type=int)
        for position, until_missed in zip(stops, waits, strict=True):
            await cluster.settle()
            owner = (await run.describe()).owner
            await run.signal(Journey.permit, position)
            await cluster.executed(name, step_name(position))
            await trio.sleep(random.uniform(0, 2 * STEP_SECONDS))
            cluster.nodes[owner].kill()
            if until_missed:
                await cluster.moved(run, owner)
            cluster.start(owner)
        await cluster.settle()
        await run.signal(Journey.permit, STEPS + 1)
        with cluster.awaiting(f"the result of {name}"):
            assert await run.result() == expected_total(STEPS)
        names = [step_name(step) for step in range(1, STEPS + 1)]
        assert await assert_recorded_once(cluster, run) == names
        histories = []
        async with cluster.clients() as everywhere:
            for each in everywhere:
                seen = each.get_handle(name, result_type=int)
                assert await seen.result() == expected_total(STEPS)
                histories.append(await seen.history())
        assert histories[0] == histories[1] == histories[2]


def test_positions_are_all_positions():
    """Whatever the seed, the cases kill at each of the 20 positions once."""
    for seed in range(50):
        dealt = positions(seed)
        assert sorted(chain.from_iterable(dealt)) == list(range(1, STEPS + 1))
        assert {len(each) for each in dealt} == {STEPS // RUNS}
