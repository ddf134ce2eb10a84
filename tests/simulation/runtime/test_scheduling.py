"""The order of tasks: repeatable, shrinkable, and gone after the run. Time is virtual here, as
under MockClock.
"""

import random

import pytest
import trio
from trio._core import _run

from flowactor.simulation.runtime import simulate
from flowactor.simulation.runtime.scheduling import Schedule, in_order


def order(seed: int, deviations: frozenset[int] | None = None) -> tuple[list[int], int]:
    """In which order four tasks take three turns each, and how many batches left a choice."""
    turns: list[int] = []

    async def main(runtime):
        async def take(number: int):
            for _ in range(3):
                turns.append(number)
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(take, number)
        return runtime.schedule.choices

    return turns, simulate(main, seed=seed, deviations=deviations)


def test_trio_keeps_its_scheduler_where_the_simulator_looks():
    """A release of Trio that moves or retypes these names fails here, and says so."""
    assert type(_run._r) is random.Random
    assert type(_run._ALLOW_DETERMINISTIC_SCHEDULING) is bool
    assert {"runq", "deadlines", "waiting_for_idle"} <= set(_run.Runner.__slots__)


def test_the_same_seed_is_the_same_order():
    """The order of tasks is a function of the seed, and differs from seed to seed."""
    orders = [order(seed)[0] for seed in range(5)]
    assert orders == [order(seed)[0] for seed in range(5)]
    assert len({tuple(turns) for turns in orders}) > 1


def test_without_deviations_the_oldest_task_comes_first():
    """An empty tape is first come, first served, whatever the seed."""
    turns = [number for _ in range(3) for number in range(4)]
    assert order(1, frozenset())[0] == order(2, frozenset())[0] == turns


def test_a_tape_of_all_choices_is_the_run_without_a_tape():
    """What a seed shuffles can be written down as numbers of batches, to be shrunk."""
    for seed in range(5):
        turns, choices = order(seed)
        assert order(seed, frozenset(range(1, choices + 1)))[0] == turns


def test_leaving_out_a_deviation_leaves_the_others_as_they_are():
    """The order of one batch depends on no other's being shuffled."""
    seed = next(
        seed for seed in range(20) if order(seed, frozenset({2}))[0] != order(seed, frozenset())[0]
    )
    second = order(seed, frozenset({2}))[0]
    assert order(seed, frozenset({2, 9}))[0][:8] == second[:8]


def test_batches_of_one_size_are_shuffled_in_many_ways():
    """The number of a batch decides, too: one seed does not have one favourite order."""
    schedule = Schedule(1, None, lambda _: None)
    found = set()
    for _ in range(50):
        batch = [1, 2, 3, 4]
        schedule.shuffle(batch)
        found.add(tuple(batch))
    assert len(found) > 12


def test_everything_is_put_back():
    """After a run, also one that failed, Trio schedules as it always does."""
    before = _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING

    async def fail(_):
        await trio.sleep(1)
        raise ValueError("as planned")

    with pytest.raises(ValueError, match="as planned"):
        simulate(fail, seed=1)
    assert (_run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING) == before


def test_one_simulation_at_a_time():
    """A simulation inside another is refused, and the outer one goes on."""

    async def outer(_):
        with pytest.raises(RuntimeError, match="running already"):
            simulate(outer, seed=2)
        await trio.sleep(1)
        return trio.current_time()

    assert simulate(outer, seed=1) == 1.0


def test_another_trio_is_refused(monkeypatch):
    """Where Trio's names are not what is expected, a simulation does not begin."""
    monkeypatch.setattr(_run, "_r", None)
    with (
        pytest.raises(RuntimeError, match="keeps its scheduler elsewhere"),
        in_order(Schedule(1, None, lambda _: None)),
    ):
        pass
