"""A cluster under every kind of fault, at both depths: safe meanwhile, well again afterwards."""

import pytest

import flowactor as fa
from flowactor.simulation.faults import (
    KINDS,
    BitFlip,
    Block,
    ClockDrift,
    ClockJump,
    ClockOffset,
    Crash,
    DiskFull,
    DiskSlow,
    DiskStall,
    Duplicate,
    Loss,
    MisdirectedWrite,
    Partition,
    Pause,
    PowerCut,
    Reorder,
    Reset,
    SlowLink,
    SyncError,
    Wipe,
    kind_of,
    source_of,
)
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Read, Scenario, Start, Write
from flowactor.simulation.trace import Kind
from tests.simulation.flows import APP

FAULTS = {
    "crash": (Crash(1, at=1.0, until=2.0), Crash(2, at=2.1, until=3.0)),
    "power-cut": (PowerCut((1, 2, 3), at=1.5, until=2.0),),
    "pause": (Pause(1, at=1.0, until=2.5),),
    "wipe": (Wipe(2, at=2.0, until=2.5),),
    "partition": (Partition(((1,), (2, 3)), at=1.0, until=3.0),),
    "block": (Block(1, 2, at=1.0, until=2.0), Block(1, 3, at=1.0, until=2.0)),
    "slow-link": (SlowLink(1, 2, 0.2, at=1.0, until=3.0),),
    "loss": (Loss(1, 2, 0.5, at=0.5, until=3.0),),
    "duplicate": (Duplicate(1, 2, 0.5, at=0.5, until=3.0),),
    "reorder": (Reorder(1, 2, at=0.5, until=3.0),),
    "reset": (Reset(1, 2, at=1.0), Reset(2, 3, at=1.5)),
    "clock-offset": (ClockOffset(1, 3600.0, at=0.5, until=2.0),),
    "clock-drift": (ClockDrift(2, 1.5, at=0.5, until=2.0),),
    "clock-jump": (ClockJump(1, -3600.0, at=1.0),),
    "disk-slow": (DiskSlow(1, 0.2, at=0.5, until=2.0),),
    "disk-stall": (DiskStall(1, at=1.0, until=3.0),),
    "sync-error": (SyncError(1, at=1.0), SyncError(2, at=1.5, until=2.7, lasting=True)),
    "disk-full": (DiskFull(1, at=1.0, until=2.0),),
    "bit-flip": (BitFlip(1, 0.5, at=1.5), Crash(1, at=1.6, until=2.0)),
    "misdirected-write": (MisdirectedWrite(1, 0.5, at=1.0), Crash(1, at=2.0, until=2.5)),
}
ACTS = (
    Start(0.5, "Order", "order-1", (4,)),
    Start(0.9, "Order", "order-2", (3,), client=2),
    Write(1.0, "x", 1),
    Write(1.6, "x", 2, client=2),
    Read(1.7, "x", client=3),
    Read(2.8, "x"),
)


def paid_once(world):
    """Each part of each order is paid exactly once, and the orders are complete."""
    payments = world.ledger("payments")
    payments.check_each_step_once()
    assert sorted(payments.values) == [0, 0, 1, 1, 2, 2, 3]
    assert world.results == {"order-1": 4, "order-2": 3}


def scenario(*faults, **changes):
    told = {"app": APP, "seed": 7, "acts": ACTS, "faults": faults, "seconds": 4.0}
    return Scenario(**(told | {"sockets": False, "invariants": (paid_once,)} | changes))


def test_every_kind_is_tried():
    """A new kind of fault is missed here until this file has an example of it."""
    assert list(FAULTS) == list(KINDS)


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("depth", Depth, ids=lambda depth: depth.value)
def test_a_fault_costs_nothing_but_time(kind, depth):
    """Whatever breaks: every order is paid exactly once, and all requests are answered."""
    outcome = simulate(scenario(*FAULTS[kind]), depth, keep=True)
    assert outcome.failure is None
    struck = [line[3][0] for line in outcome.lines if line[2] == Kind.FAULT and line[3][2] == 1]
    assert struck == [kind_of(fault) for fault in sorted(FAULTS[kind], key=lambda f: f.at)]


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        (Crash(4, at=1.0), "there is no node 4, nodes are 1 to 3"),
        (Crash("1", at=1.0), "node='1': '1' is not the number of a node"),
        (Crash(1, at="1"), "at='1': '1' is not a number"),
        (
            Partition(((1,), (2, "3")), at=1.0, until=2.0),
            "sides=((1,), (2, '3')): '3' is not the number of a node",
        ),
        (Crash(1, at=-1.0), "it begins before the run does"),
        (Crash(1, at=2.0, until=1.0), "it ends before it begins"),
        (Loss(1, 2, odds=5.0, at=1.0), "odds are between 0 and 1"),
        (Block(2, 2, at=1.0, until=2.0), "no link leads from a node to itself"),
        (PowerCut((), at=1.0), "it names no node"),
    ],
)
def test_a_schedule_that_cannot_be_played_is_refused(fault, wrong):
    """The error shows the fault as it is written, and what is wrong with it."""
    with pytest.raises(fa.ConfigurationError) as caught:
        scenario(fault)
    assert str(caught.value) == f"{source_of(fault)}: {wrong}"


def test_a_crash_ends_a_process_at_once():
    """From the moment of its crash until its restart nothing is heard of a node."""
    outcome = simulate(scenario(Crash(1, at=1.0, until=2.0)), Depth.NODE, keep=True)
    heard = [
        at_ns / 1e9 for at_ns, node, kind, _ in outcome.lines if node == 1 and kind != Kind.STOPPED
    ]
    assert not [at for at in heard if 1.0 < at < 2.0]
    assert max(heard) > 3.0


def test_a_paused_process_is_silent_and_comes_back():
    """A stopped process neither sends nor receives; afterwards it takes part again."""
    outcome = simulate(scenario(Pause(1, at=1.0, until=2.5)), Depth.NODE, keep=True)
    heard = [at_ns / 1e9 for at_ns, node, _, _ in outcome.lines if node == 1]
    assert not [at for at in heard if 1.0 < at < 2.5]
    assert outcome.failure is None


def test_a_failed_sync_stops_a_node_which_is_started_again():
    """The node says why it stopped, and is back a second later."""
    outcome = simulate(scenario(SyncError(1, at=1.0)), Depth.NODE, keep=True)
    lives = [
        (kind, at_ns / 1e9)
        for at_ns, node, kind, _ in outcome.lines
        if node == 1 and kind in (Kind.STARTED, Kind.STOPPED)
    ]
    (_, began), (stopped, when), (started, again), _ = lives
    assert (began, stopped, started) == (0.0, Kind.STOPPED, Kind.STARTED)
    assert when < again <= when + 1.1
    assert outcome.marks["sync failed"] == 1


def test_damage_keeps_a_node_down_and_the_others_go_on():
    """A node whose synced log has changed refuses to serve; a majority is enough."""
    outcome = simulate(scenario(*FAULTS["bit-flip"]), Depth.NODE)
    assert outcome.failure is None
    assert outcome.marks["damage found"] == 1


def test_a_core_goes_on_while_the_rest_stays_frozen():
    """In the strong form a bare majority is healed, and everything comes to its end there."""
    faults = (Partition(((1,), (2,), (3,)), at=1.0), Crash(3, at=1.5))
    outcome = simulate(scenario(*faults, core=(1, 2)), Depth.NODE, keep=True)
    assert outcome.failure is None
    healing = next(at for at, _, kind, what in outcome.lines if (kind, what) == HEALING)
    ended = (Kind.STOPPED, ("the run is over",))
    assert {line[2:] for line in outcome.lines if line[1] == 3 and line[0] > healing} <= {ended}


HEALING = (Kind.PHASE, ("healing",))


def test_the_same_faults_over_real_websockets():
    """The bytes of WebSockets make no difference to what must hold."""
    faults = (*FAULTS["crash"], *FAULTS["loss"], Reset(1, 3, at=3.2))
    assert simulate(scenario(*faults, sockets=True), Depth.NODE).failure is None
