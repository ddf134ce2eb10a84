"""Scenarios drawn from seeds: always playable, always survivable, and far from all alike."""

import subprocess
import sys
from itertools import combinations
from random import Random

import pytest

import flowactor as fa
from flowactor.errors import ConfigurationError, UnknownWorkflowType
from flowactor.simulation.chores import draw_acts, made_up_arguments
from flowactor.simulation.draw import draw_bad_day, draw_faults, draw_partition, draw_scenario
from flowactor.simulation.faults import (
    KINDS,
    BitFlip,
    MisdirectedWrite,
    PowerCut,
    SyncError,
    Wipe,
    check_faults,
    kind_of,
)
from flowactor.simulation.scenario import (
    AskQuery,
    Cancel,
    CompareAndSet,
    Read,
    Signal,
    Start,
    Terminate,
    Write,
)
from flowactor.simulation.strike import STRIKES, Strike

SEEDS = 3000
ALL = tuple(KINDS)


@fa.workflow
class Sum:
    """Has handlers whose arguments can be made up, and one whose cannot."""

    def __init__(self) -> None:
        self.total = 0

    async def run(self, start: int = 0) -> int:
        self.total += start
        await fa.wait_condition(lambda: self.total > 3)
        return self.total

    @fa.signal
    def add(self, amount: int) -> None:
        self.total += amount

    @fa.signal
    def add_all(self, amounts: dict[str, int]) -> None:
        self.total += sum(amounts.values())

    @fa.query
    def so_far(self) -> int:
        return self.total


@fa.workflow
class Plain:
    async def run(self) -> None:
        await fa.sleep(1)


app = fa.App([Sum, Plain])


def drawn(seed, **options):
    options = {"workflow": "Sum", "arguments": (1,)} | options
    return draw_scenario(app, seed, **options)


def tempered(seed, *, nodes=3, kinds=ALL):
    return draw_faults(Random(f"faults {seed}"), nodes=nodes, kinds=kinds, seconds=10.0)


def lost_for_good(faults):
    """Told from the facts alone, not by asking the code under test."""
    return {
        fault.node
        for fault in faults
        if isinstance(fault, Wipe | BitFlip | MisdirectedWrite)
        or (isinstance(fault, SyncError) and fault.lasting)
    }


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5, 7, 9])
def test_every_schedule_can_be_played(nodes):
    """Whatever the seed, no drawn schedule is refused, and each is in the order of its times."""
    for seed in range(SEEDS // 5):
        day = draw_bad_day(seed, nodes=nodes, kinds=ALL, seconds=10.0)
        check_faults(day.faults, nodes)
        assert [fault.at for fault in day.faults] == sorted(fault.at for fault in day.faults)


@pytest.mark.parametrize("seconds", [0.0004, 0.01, 1.0, 3600.0])
def test_any_length_of_run_will_do(seconds):
    """Very short and very long runs get schedules that begin within them."""
    for seed in range(SEEDS // 10):
        assert all(fault.at <= seconds for fault in drawn(seed, seconds=seconds).faults)


def test_a_majority_can_always_be_healed():
    """Never do more than a minority of disks lose what they promised, and none of a core does."""
    seen = set()
    for seed in range(SEEDS // 3):
        nodes = 1 + seed % 7
        day = draw_bad_day(seed, nodes=nodes, kinds=ALL, seconds=10.0)
        lost = lost_for_good(day.faults)
        assert 2 * len(lost) < nodes
        assert not lost & set(day.core)
        assert len(day.core) in (0, nodes // 2 + 1)
        seen.add((bool(lost), bool(day.core)))
    assert len(seen) == 4


def test_days_differ():
    """Faults by chance, feuds and handovers all come up, and the last two with writes to lose; a
    cluster or a choice of faults that knows no feud has the first.
    """

    def ways(**options):
        told = {"nodes": 3, "kinds": ALL, "seconds": 6.0} | options
        days = [draw_bad_day(seed, **told) for seed in range(100)]
        assert all(bool(day.acts) == (day.way != "mixed") for day in days)
        return {day.way for day in days}

    assert ways() == {"mixed", "feud", "handovers"}
    assert ways(nodes=1) == ways(kinds=("crash",)) == {"mixed", "feud"}
    assert ways(seconds=3.0) == {"mixed", "feud"}
    assert ways(kinds=("wipe",)) == ways(kinds=()) == {"mixed"}


def test_some_handovers_find_a_disk_that_is_late():
    """Whoever is cut off then is back before its disk has done all that it wrote."""
    days = [draw_bad_day(seed, nodes=3, kinds=ALL, seconds=6.0) for seed in range(200)]
    handovers = [day for day in days if day.way == "handovers"]
    late = [day for day in handovers if "disk-slow" in map(kind_of, day.faults)]
    assert 5 < len(late) < len(handovers) / 2


def test_what_is_written_on_a_bad_day_is_written_once():
    """No client writes a value that another wrote: the checkers tell values apart by that."""
    for seed in range(100):
        values = [act.value for act in drawn(seed).acts if isinstance(act, Write | CompareAndSet)]
        kept = [value for value in values if value is not None]
        assert len(set(kept)) == len(kept)


def test_only_the_wanted_kinds_happen():
    """A user who asks for two kinds of fault gets no other, and both."""
    kinds = {kind_of(f) for seed in range(200) for f in drawn(seed, kinds=("crash", "loss")).faults}
    assert kinds == {"crash", "loss"}
    assert all(drawn(seed, kinds=()).faults == () for seed in range(50))


def test_tempers_differ():
    """Some runs have no fault, some one kind only, some very many kinds: all of them happen."""
    counts = [len({kind_of(fault) for fault in tempered(seed)}) for seed in range(SEEDS)]
    assert 0.05 < counts.count(0) / SEEDS < 0.25
    assert counts.count(1) / SEEDS > 0.2
    assert max(counts) >= 10
    every = {kind_of(fault) for seed in range(SEEDS) for fault in tempered(seed)}
    assert every == set(KINDS)


def test_the_whole_cluster_loses_power_at_times():
    """Power cuts of one machine, of some, and of all of them at once are drawn."""
    sizes = {
        len(fault.nodes)
        for seed in range(SEEDS // 3)
        for fault in tempered(seed, nodes=5, kinds=("power-cut",))
        if isinstance(fault, PowerCut)
    }
    assert sizes == {1, 2, 3, 4, 5}


def test_a_scenario_is_a_function_of_its_seed():
    """The same seed gives the same scenario, another one another, also in a process whose texts
    hash differently.
    """
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    code = (
        "import flowactor as fa; from flowactor.simulation.draw import draw_scenario\n"
        "class Plain:\n async def run(self): pass\n"
        "app = fa.App([fa.workflow(Plain)])\n"
        "for seed in range(40):\n"
        " drawn = draw_scenario(app, seed, workflow='Plain', nodes=5)\n"
        " print(drawn.faults, drawn.acts, drawn.core, sorted(drawn.deviations or ()))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": number},
            capture_output=True,
            check=True,
        ).stdout
        for number in ("1", "77")
    }
    assert len(said) == 1


def test_faults_do_not_depend_on_what_clients_do():
    """Another workflow with the same seed meets the same bad day."""
    assert drawn(3).faults == drawn(3, workflow="Plain", arguments=()).faults


# -- partitions ---------------------------------------------------------------------------------


def connected(sides, one, other):
    return any(one in side and other in side for side in sides)


@pytest.mark.parametrize("nodes", range(2, 10))
def test_a_partition_cuts_and_names_everybody(nodes):
    """Each shape leaves at least one pair unable to talk, and each node stands on some side."""
    everyone = range(1, nodes + 1)
    for seed in range(300):
        sides = draw_partition(Random(seed), nodes)
        assert {node for side in sides for node in side} == set(everyone)
        assert not all(connected(sides, *pair) for pair in combinations(everyone, 2))


def test_all_shapes_of_partition_are_drawn():
    """With five nodes: two halves, one alone, a bridge, and a ring in which all see a majority."""
    shapes = {draw_partition(Random(seed), 5) for seed in range(2000)}
    sizes = {tuple(sorted(map(len, sides))) for sides in shapes}
    assert {(2, 3), (1, 4), (3, 3), (2, 2, 2, 2, 2)} <= sizes
    everyone = range(1, 6)
    assert any(
        all(sum(connected(sides, one, other) for other in everyone) == 3 for one in everyone)
        for sides in shapes
    )


def test_one_node_cannot_be_partitioned():
    """A cluster of one has no sides, and no schedule with links in it."""
    assert draw_partition(Random(1), 1) == ()
    kinds = ("partition", "block", "loss", "reset", "slow-link")
    for seed in range(100):
        assert draw_faults(Random(seed), nodes=1, kinds=kinds, seconds=5.0) == ()


# -- what clients do ----------------------------------------------------------------------------


def test_runs_of_the_workflow_are_started():
    """Every scenario starts at least one run with the given arguments; some start one twice."""
    twice = 0
    for seed in range(300):
        starts = [act for act in drawn(seed).acts if isinstance(act, Start)]
        assert starts
        assert {(act.workflow, act.arguments) for act in starts} == {("Sum", (1,))}
        assert all(0 <= act.at <= 10 for act in starts)
        twice += len({act.id for act in starts}) < len(starts)
    assert twice > 20


def test_signals_and_queries_are_sent_where_arguments_can_be_made_up():
    """Each run gets the signal that takes a number, none gets the one that takes a mapping."""
    asked = set()
    for seed in range(200):
        acts = drawn(seed).acts
        runs = {act.id for act in acts if isinstance(act, Start)}
        signals = [act for act in acts if isinstance(act, Signal)]
        assert {act.id for act in signals} == runs
        assert {act.name for act in signals} == {"add"}
        asked |= {act.name for act in acts if isinstance(act, AskQuery)}
    assert asked == {"so_far"}


def test_runs_are_cancelled_only_if_asked_for():
    """Without a word no run is cancelled; with it a few are, and most are not."""
    kinds = (Cancel, Terminate)
    assert not [a for seed in range(200) for a in drawn(seed).acts if isinstance(a, kinds)]
    runs = [drawn(seed, cancels=True).acts for seed in range(200)]
    cancelled = [acts for acts in runs if any(isinstance(act, kinds) for act in acts)]
    assert 10 < len(cancelled) < 100
    assert {type(a) for acts in cancelled for a in acts if isinstance(a, kinds)} == set(kinds)


def test_variables_are_a_workload_for_linearizability():
    """Several clients meet at few keys, reading, writing and comparing; no value comes twice."""
    busy = 0
    for seed in range(200):
        acts = [a for a in drawn(seed).acts if isinstance(a, Write | CompareAndSet | Read)]
        written = [a.value for a in acts if not isinstance(a, Read) and a.value is not None]
        assert len(written) == len(set(written))
        assert len({act.name for act in acts}) <= 3
        busy += len({act.client for act in acts}) > 1 and len({type(act) for act in acts}) == 3
    assert busy > 30


def test_acts_of_a_run_come_after_its_start():
    """Nothing is asked of a run by anybody before the moment at which it is first started."""
    definition = app.get("Sum")
    for seed in range(200):
        acts = draw_acts(Random(seed), definition, (1,), seconds=5.0, cancels=True)
        started = set()
        for act in acts:
            if isinstance(act, Start):
                started.add(act.id)
            elif not isinstance(act, Write | CompareAndSet | Read):
                assert act.id in started


def test_made_up_arguments_fit():
    """What is made up is taken by the handler; what cannot be made up is None, not a guess."""
    definition = app.get("Sum")
    for seed in range(20):
        chance = Random(seed)
        assert made_up_arguments(definition.signal_named("add_all").signature, chance) is None
        (amount,) = made_up_arguments(definition.signal_named("add").signature, chance)
        assert isinstance(amount, int)
    assert made_up_arguments(definition.run, Random(0)) == ()


def test_an_unknown_workflow_is_named():
    """The error lists what the app has."""
    with pytest.raises(UnknownWorkflowType, match="Plain v1"):
        drawn(1, workflow="Nope")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Strike("flood", 1), "choose from owner-crash, crash, partition"),
        (lambda: Strike("partition", 0), "count from 1"),
        (lambda: Strike("partition", 1, seconds=0), "more than 0 s"),
        (lambda: Strike("crash", 1), "names its node"),
        (lambda: Strike("owner-crash", 1, node=2), "names its node"),
    ],
)
def test_an_impossible_strike_is_refused(make, said):
    """A strike says at once what is wrong with it."""
    with pytest.raises(ConfigurationError, match=said):
        make()
    assert list(STRIKES) == ["owner-crash", "crash", "partition"]
