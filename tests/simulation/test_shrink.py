"""Shrinking: the smallest scenario that fails in the same way, in a bounded number of runs."""

import math
from itertools import combinations
from random import Random

import pytest
from attrs import evolve

import flowactor as fa
from flowactor.simulation.draw import draw_scenario
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import (
    KINDS,
    BitFlip,
    Block,
    ClockDrift,
    Crash,
    Loss,
    Partition,
    Pause,
    PowerCut,
    SyncError,
    Wipe,
)
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.scenario import Read, Scenario, Start, Write
from flowactor.simulation.shrink import fewest, shrink
from flowactor.simulation.simpler import (
    rounder,
    simpler_acts,
    simpler_faults,
    without_later,
    without_nodes,
)


@fa.workflow
class Plain:
    async def run(self, given: dict[str, list[int]] | None = None) -> None:
        await fa.sleep(1)


app = fa.App([Plain])


class Planted:
    """A runner with a bug in it: a scenario fails if ``wrong`` says so, as late as it does."""

    def __init__(self, wrong, checker="I8"):
        self.wrong = wrong
        self.checker = checker
        self.ran = []

    def __call__(self, scenario):
        self.ran.append(scenario)
        at_seconds = self.wrong(scenario)
        failure = None if at_seconds is None else Failure(self.checker, "broken", at_seconds)
        return Outcome(
            seed=scenario.seed, digest="", failure=failure, events=1, virtual_seconds=1.0
        )

    def shrink(self, scenario, **options):
        failure = self(scenario).failure
        self.ran.clear()
        return shrink(scenario, failure, self, **options)


def crash_within_partition(scenario):
    """Fails where a crash begins in a partition that it is not the first fault of."""
    for cut in scenario.faults:
        if not isinstance(cut, Partition):
            continue
        for crash in scenario.faults:
            if isinstance(crash, Crash | PowerCut) and cut.at < crash.at < (cut.until or math.inf):
                return crash.at
    return None


def drawn_with(wrong, count=20, **options):
    """Drawn scenarios that fail."""
    seeds = (seed for seed in range(10_000))
    scenarios = (draw_scenario(app, seed, workflow="Plain", **options) for seed in seeds)
    failing = (scenario for scenario in scenarios if wrong(scenario) is not None)
    return [next(failing) for _ in range(count)]


# -- whole scenarios ----------------------------------------------------------------------------


def test_a_bad_day_shrinks_to_two_faults():
    """What is left of any failing scenario are the two faults that matter, as simple as can be."""
    for scenario in drawn_with(crash_within_partition, nodes=5):
        planted = Planted(crash_within_partition)
        shrunk = planted.shrink(scenario)
        assert shrunk.minimal
        assert shrunk.scenario.acts == ()
        assert shrunk.scenario.nodes == 2
        assert shrunk.scenario.deviations == frozenset()
        assert shrunk.scenario.core == ()
        assert {type(fault) for fault in shrunk.scenario.faults} == {Partition, Crash}
        partition = next(f for f in shrunk.scenario.faults if isinstance(f, Partition))
        crash = next(f for f in shrunk.scenario.faults if isinstance(f, Crash))
        assert partition.until is None
        assert crash.until is None
        assert partition.at == 0.0
        assert crash.at == 1.0
        assert shrunk.scenario.seconds == 1.0
        assert shrunk.executions == len(planted.ran) < 200


class Brittle(Planted):
    """Fails on the day that was drawn, whose least change heals it; and if a lone node dies in the
    few milliseconds after it did something to the world.
    """

    def __init__(self, day, checker):
        super().__init__(self.judge, checker)
        self.day = day

    def judge(self, scenario):
        lone = scenario.nodes == 1 and len(scenario.faults) == 1
        dies = lone and isinstance(scenario.faults[0], Crash) and 0.7 < scenario.faults[0].at < 0.71
        return 9.0 if scenario == self.day or dies else None

    def __call__(self, scenario):
        return evolve(super().__call__(scenario), effects=(0.2, 0.7003))


@pytest.fixture
def brittle_day():
    return next(
        scenario
        for scenario in drawn_with(crash_within_partition, nodes=3)
        if any(isinstance(act, Write | Read) for act in scenario.acts)
    )


def test_a_lone_node_that_dies_after_an_effect_is_tried_first(brittle_day):
    """Where nothing can be left out of a bad day, the user still sees one crash and the runs."""
    planted = Brittle(brittle_day, "ledger payments")
    shrunk = planted.shrink(brittle_day)
    assert shrunk.scenario.nodes == 1
    assert [type(fault) for fault in shrunk.scenario.faults] == [Crash]
    assert not [act for act in shrunk.scenario.acts if isinstance(act, Write | Read)]
    assert shrunk.executions < 50
    assert planted.ran[0].faults == ()
    assert [one.faults[0].at for one in planted.ran[1:3]] == [0.201, 0.701]


def test_that_guess_is_for_promises_of_users(brittle_day):
    """What flowactor promises breaks by more; and without a crash that was drawn none is tried."""
    invariant = Brittle(brittle_day, "I8").shrink(brittle_day, budget=30)
    assert len(invariant.scenario.faults) == len(brittle_day.faults)
    calm = evolve(brittle_day, faults=(Partition(sides=((1,), (2, 3)), at=1.0, until=2.0),))
    planted = Brittle(calm, "ledger payments")
    planted.shrink(calm, budget=30)
    assert not [f for one in planted.ran for f in one.faults if isinstance(f, Crash)]


def test_the_result_fails_and_is_minimal():
    """Nothing can be left out of the result, whatever combination the failure asks for."""

    def wrong(scenario):
        """Needs two writes, a read after them, a crash of two nodes, and three nodes in all."""
        writes = [act.at for act in scenario.acts if isinstance(act, Write)]
        reads = [act.at for act in scenario.acts if isinstance(act, Read)]
        crashed = {fault.node for fault in scenario.faults if isinstance(fault, Crash)}
        found = len(writes) > 1 and reads and max(reads) > min(writes) and len(crashed) > 1
        return 20.0 if found and scenario.nodes >= 3 else None

    for scenario in drawn_with(wrong, 5, nodes=5, kinds=("crash", "loss")):
        shrunk = Planted(wrong).shrink(scenario)
        small = shrunk.scenario
        assert shrunk.minimal
        assert (len(small.acts), len(small.faults), small.nodes) == (3, 2, 3)
        for name in ("acts", "faults"):
            for fewer in combinations(getattr(small, name), len(getattr(small, name)) - 1):
                assert wrong(evolve(small, **{name: fewer})) is None


def test_another_failure_is_not_followed():
    """A candidate that fails by another checker is not taken for the failure that is looked for."""

    class TwoBugs(Planted):
        def __call__(self, scenario):
            self.checker = "I8" if len(scenario.faults) > 1 else "I1"
            return super().__call__(scenario)

    faults = tuple(Crash(1, float(at), at + 0.5) for at in range(5))
    scenario = Scenario(app=app, faults=faults)
    planted = TwoBugs(lambda scenario: 9.0 if scenario.faults else None)
    shrunk = planted.shrink(scenario)
    assert len(shrunk.scenario.faults) == 2
    assert shrunk.failure.checker == "I8"


def test_the_failure_is_that_of_the_smallest():
    """Message and time of the result are those of the scenario that is returned with them."""
    scenario = Scenario(app=app, faults=(Crash(1, 4.25), Crash(2, 6.5)))
    shrunk = Planted(lambda s: max((f.at for f in s.faults), default=None)).shrink(scenario)
    assert shrunk.scenario.faults == (Crash(1, 0.0),) or shrunk.failure.at_seconds == 0.0
    assert shrunk.failure.at_seconds == max(fault.at for fault in shrunk.scenario.faults)


def test_it_stops_when_the_budget_is_spent():
    """No run more than allowed, and the best so far still fails."""
    (scenario,) = drawn_with(crash_within_partition, 1, nodes=5)
    for budget in (0, 1, 7):
        planted = Planted(crash_within_partition)
        shrunk = planted.shrink(scenario, budget=budget)
        assert len(planted.ran) == shrunk.executions == budget
        assert not shrunk.minimal
        assert crash_within_partition(shrunk.scenario) is not None


def test_nothing_is_run_twice_and_every_run_is_told():
    """Each candidate is another scenario, and the progress counts them and gets no worse."""
    (scenario,) = drawn_with(crash_within_partition, 1, nodes=5)
    told = []
    planted = Planted(crash_within_partition)
    shrunk = planted.shrink(scenario, progress=told.append)
    assert len(planted.ran) == len(set(planted.ran))
    assert [one.executions for one in told] == list(range(1, shrunk.executions + 1))
    sizes = [one.faults + one.acts for one in told]
    assert sizes == sorted(sizes, reverse=True)


def test_the_same_failure_shrinks_the_same_way():
    """Twice the same candidates in the same order."""
    (scenario,) = drawn_with(crash_within_partition, 1, nodes=5)
    one, other = Planted(crash_within_partition), Planted(crash_within_partition)
    assert one.shrink(scenario) == other.shrink(scenario)
    assert one.ran == other.ran


def test_arguments_need_not_be_hashable():
    """A start with a mapping among its arguments is shrunk like any other."""
    acts = tuple(Start(at / 4, "Plain", f"run-{at}", ({"a": [at]},)) for at in range(8))
    planted = Planted(lambda s: 9.0 if any(a.id == "run-5" for a in s.acts) else None)
    shrunk = planted.shrink(Scenario(app=app, acts=acts))
    assert shrunk.scenario.acts == (Start(0.0, "Plain", "run-5", ({"a": [5]},)),)


def test_deviations_shrink_to_single_batches():
    """From all batches shuffled to the two whose order matters."""

    def wrong(scenario):
        shuffled = scenario.deviations
        return 1.0 if shuffled is None or shuffled >= {3, 77} else None

    shrunk = Planted(wrong).shrink(Scenario(app=app))
    assert shrunk.scenario.deviations == frozenset({3, 77})


def test_an_order_that_no_few_batches_explain_stays():
    """A failure that needs batches beyond those that are looked through keeps them all."""
    shrunk = Planted(lambda s: 1.0 if s.deviations is None else None).shrink(Scenario(app=app))
    assert shrunk.scenario.deviations is None


def test_only_the_broken_check_of_the_user_stays():
    """Of several checks of the user's own the one that fails is left."""

    def broken(_):
        raise CheckFailed("mine", "x")

    def fine(_):
        """Never complains."""

    scenario = Scenario(app=app, invariants=(fine, broken, fine))
    shrunk = Planted(lambda s: 1.0 if broken in s.invariants else None, "mine").shrink(scenario)
    assert shrunk.scenario.invariants == (broken,)


def test_the_bound_of_liveness_stays():
    """A run that gets less time to heal fails for that alone: the time is no part of the search."""
    shrunk = Planted(lambda s: s.seconds + s.healing_seconds, "liveness").shrink(Scenario(app=app))
    assert shrunk.scenario.healing_seconds == 60.0
    assert shrunk.scenario.seconds == 1.0


# -- fewest -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_fewest_leaves_nothing_out_that_is_not_needed(seed):
    """For random predicates, whether or not more faults always fail as well, the result fails and
    leaving out any single item does not.
    """
    chance = Random(seed)
    items = tuple(range(chance.randint(0, 30)))
    needed = [set(chance.sample(items, chance.randint(0, min(4, len(items))))) for _ in range(3)]
    odd = len(items) % 5 != 4 and chance.random() < 0.5

    def fails(part):
        return any(some <= set(part) for some in needed) and not (odd and len(part) % 5 == 4)

    least = fewest(items, fails)
    assert fails(least)
    assert list(least) == sorted(least)
    assert not any(fails(fewer) for fewer in combinations(least, max(len(least) - 1, 0)) if least)


def test_fewest_looks_again_at_what_was_needed_before():
    """An item that can only go once a later one is gone does go."""
    assert fewest((0, 1, 2), lambda part: 2 in part and (0 in part or 1 not in part)) == (2,)


def test_fewest_is_quick_where_little_matters():
    """One needed of a thousand is found in some dozens of tries, not in a thousand."""
    tries = []

    def fails(part):
        tries.append(part)
        return 700 in part

    assert fewest(tuple(range(1000)), fails) == (700,)
    assert len(tries) < 40


# -- single steps -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 2.347, 1e-5, 7200.0, -0.01, 3599.999])
def test_numbers_get_rounder_until_they_are_zero(value):
    """Each candidate is another and simpler number; following the last of them ends, at 0."""
    seen = [value]
    while candidates := list(rounder(seen[-1])):
        assert seen[-1] not in candidates
        assert candidates[0] == 0.0
        seen.append(candidates[-1])
        assert len(seen) < 500
    assert seen[-1] == 0.0


@pytest.mark.parametrize(
    ("fault", "simpler"),
    [
        (PowerCut((1, 2, 3), 1.0), PowerCut((1, 3), 1.0)),
        (PowerCut((2,), 1.0, 2.0), Crash(2, 1.0, 2.0)),
        (Wipe(2, 1.0), Crash(2, 1.0)),
        (Crash(1, 1.0, 2.0), Crash(1, 1.0)),
        (Crash(1, 1.234, 2.345), Crash(1, 1.0, 2.111)),
        (Crash(1, 1.0, 2.345), Crash(1, 1.0, 2.0)),
        (SyncError(1, 1.0, 2.0, lasting=True), SyncError(1, 1.0)),
        (Loss(1, 2, 0.421, 1.0), Loss(1, 2, 0.4, 1.0)),
        (ClockDrift(1, 1.87, 1.0), ClockDrift(1, 2.0, 1.0)),
        (BitFlip(1, 0.731, 1.0), BitFlip(1, 0.7, 1.0)),
        (Partition(((1, 2), (3, 4, 5)), 1.0), Partition(((2,), (1, 3, 4, 5)), 1.0)),
        (Partition(((1,), (2,), (3,)), 1.0), Partition(((3,), (1, 2)), 1.0)),
        (Block(1, 2, 3.0, 4.0), Block(1, 2, 0.0, 1.0)),
    ],
)
def test_a_fault_has_this_simpler_one(fault, simpler):
    """Fewer targets, a plainer kind, no end, rounder and earlier times, shorter spells."""
    assert simpler in list(simpler_faults(fault))


@pytest.mark.parametrize("kinds", [tuple(KINDS), ("partition",), ("power-cut",)])
def test_simpler_never_leads_back(kinds):
    """Whatever is drawn, taking simpler faults over and over ends; none comes back on the way."""
    scenarios = drawn_with(lambda s: 1.0 if s.faults else None, 20, nodes=5, kinds=kinds)
    for fault in (fault for scenario in scenarios for fault in scenario.faults):
        seen = [fault]
        while candidates := list(simpler_faults(seen[-1])):
            seen.append(candidates[len(seen) % len(candidates)])
            assert seen[-1] not in seen[:-1]


def test_an_act_has_simpler_ones():
    """An earlier time, and the first client."""
    candidates = list(simpler_acts(Write(2.5, "x", 1, client=3)))
    assert candidates[0] == Write(2.5, "x", 1, client=1)
    assert Write(0.0, "x", 1, client=3) in candidates
    assert list(simpler_acts(Write(0.0, "x", 1))) == []


def test_the_nodes_that_stay_move_up():
    """Without node 2, node 3 is node 2, in every fault that is about those that stay."""
    scenario = Scenario(
        app=app,
        nodes=5,
        core=(1, 3, 4, 5),
        faults=(
            Crash(2, 0.0, 1.0),
            Crash(3, 0.0, 1.0),
            Block(1, 3, 1.0),
            Block(1, 2, 1.0),
            PowerCut((2,), 2.0, 3.0),
            PowerCut((1, 2, 5), 4.0, 5.0),
            Partition(((1, 2), (2, 3, 4, 5)), 2.0),
            Partition(((2,), (1, 3, 4, 5)), 2.0),
        ),
    )
    changed = evolve(scenario, **without_nodes(scenario, (2,)))
    assert changed.nodes == 4
    assert changed.core == (1, 2, 3, 4)
    assert changed.faults == (
        Crash(2, 0.0, 1.0),
        Block(1, 2, 1.0),
        PowerCut((1, 4), 4.0, 5.0),
        Partition(((1,), (2, 3, 4)), 2.0),
    )


def test_what_is_later_than_the_failure_goes_at_once():
    """Later faults and acts are dropped, and what would have ended later just goes on."""
    scenario = Scenario(
        app=app,
        faults=(Crash(1, 1.0, 2.0), Pause(2, 2.0, 5.0), Crash(3, 4.0)),
        acts=(Read(1.0, "x"), Read(4.0, "x")),
    )
    assert without_later(scenario, 3.0) == {
        "faults": (Crash(1, 1.0, 2.0), Pause(2, 2.0)),
        "acts": (Read(1.0, "x"),),
    }
