"""Starting a run: idempotent by workflow id, at a chosen owner, refused with what would work."""

import pytest

from flowactor.machine import Parking, RunClosed, RunOpened
from flowactor.machine.commands import CompleteRun
from flowactor.machine.events import RunStarted
from flowactor.machine.operations import ClientOperation, ReassignRuns, StartRun
from flowactor.machine.replies import Rejected, RunStatus, Started


def start(
    workflow_id="w", run_id="r", kind="T", version=1, arguments=b"input", origin=1, timeout=0
):
    return StartRun(workflow_id, run_id, kind, version, arguments, origin, timeout)


def test_a_start_opens_a_run(group):
    """The run is there with its input as the first inbox item, at epoch 1 and position 0."""
    run = group.start(at=7)
    assert (run.status, run.owner, run.epoch, run.position) == (RunStatus.RUNNING, 1, 1, 0)
    assert run.started_ns == run.now_ns == 7_000_000_000
    assert run.inbox == {1: RunStarted(b"input")}


def test_duplicate_start_of_scenario_a_r31(group):
    """The same type and input finds the run, open or closed, in memory or in rows; another input or
    type is a conflict.
    """
    first = group.ask(start())
    assert first == Started("w", "r", 1, created=True)

    def again():
        assert group.ask(start(run_id="other")) == Started("w", "r", 1, created=False)
        assert group.ask(start(run_id="other", arguments=b"else")).code == "AlreadyExists"
        assert group.ask(start(run_id="other", kind="U")).code == "AlreadyExists"

    again()
    group.advance(CompleteRun(b"done"), name="r")
    again()
    group.flush()
    again()
    assert group.machine.runs == {}


@pytest.mark.parametrize("flushed", [True, False])
def test_a_run_id_is_taken_once(group, flushed):
    """Two workflow ids cannot share a run id, even after the first run has closed."""
    group.ask(start())
    assert group.ask(start("v", "r")).code == "AlreadyExists"
    group.advance(CompleteRun(b""), name="r")
    if flushed:
        group.flush()
    assert group.ask(start("v", "r")).code == "AlreadyExists"


def test_unregistered_type_of_scenario_a_r15(empty_group):
    """A type that nobody announced is refused, and the message lists what there is; once a node
    announces it, it starts.
    """
    refused = empty_group.ask(start())
    assert refused.code == "UnknownWorkflowType"
    assert "none" in refused.message
    empty_group.announce(1, ("U", 1), ("U", 3))
    assert empty_group.ask(start()).message.endswith("registered are: U v1, U v3")
    empty_group.announce(1, ("T", 1))
    assert empty_group.ask(start()) == Started("w", "r", 1, created=True)


def test_version_zero_is_the_highest_registered_anywhere(empty_group):
    """The chosen version is fixed in the reply and in the run, and goes to a node that has it."""
    empty_group.announce(1, ("T", 1))
    empty_group.announce(2, ("T", 1), ("T", 4))
    assert empty_group.ask(start(version=0)) == Started("w", "r", 4, created=True)
    assert (empty_group.run("r").version, empty_group.run("r").owner) == (4, 2)


def test_a_version_that_no_voter_has_is_refused(empty_group):
    """The message lists the versions that there are; a learner's does not count."""
    empty_group.announce(1, ("T", 1), ("T", 2))
    empty_group.announce(9, ("T", 5))
    for version in (3, 5, 0):
        refused = empty_group.ask(start(version=version))
        assert refused.code == "UnknownWorkflowType"
        assert refused.message.endswith("1, 2, 5")


def test_owner_is_the_origin_if_it_can(empty_group):
    """The node that took the request owns the run, however loaded it is."""
    empty_group.announce(1, ("T", 1))
    empty_group.announce(2, ("T", 1))
    for name in ("a", "b", "c"):
        assert empty_group.start(name, origin=2).owner == 2


def test_owner_is_else_the_least_loaded_voter_then_the_lowest_id(empty_group):
    """A learner, a lost voter, one without the version own nothing; closed runs do not count."""
    empty_group.announce(9, ("T", 1))
    empty_group.announce(1, ("T", 2))
    empty_group.announce(2, ("T", 1))
    empty_group.announce(3, ("T", 1))
    origins = {"a": 9, "b": 1, "c": 7, "d": 2}
    owners = {name: empty_group.start(name, origin).owner for name, origin in origins.items()}
    assert owners == {"a": 2, "b": 3, "c": 2, "d": 2}
    for name in "acd":
        empty_group.advance(CompleteRun(b""), name=name)
    assert empty_group.start("e", origin=9).owner == 2
    empty_group.apply(ReassignRuns(3, 1))
    assert empty_group.start("f", origin=3).owner == 2


def test_a_start_whose_nodes_are_all_lost_waits_parked(empty_group):
    """Known code without a live node is no error of the caller: the run is there, and parked."""
    empty_group.announce(2, ("T", 1))
    empty_group.apply(ReassignRuns(2, 1))
    run = empty_group.start()
    assert (run.status, run.parking, run.owner) == (RunStatus.PARKED, Parking.NO_NODE, 0)
    assert "'T' version 1" in run.reason
    empty_group.announce(2, ("T", 1))
    assert (run.status, run.owner, run.epoch) == (RunStatus.RUNNING, 2, 2)


@pytest.mark.parametrize("fields", [{"workflow_id": ""}, {"run_id": ""}, {"timeout": -1}])
def test_a_meaningless_start_is_refused(group, fields):
    """What cannot be a run is answered, not raised."""
    assert group.ask(start(**fields)).code == "InvalidInput"
    assert group.machine.runs == {}


def test_a_run_that_opens_and_closes_between_flushes_leaves_only_what_lasts(group):
    """Its row, its name and its history are written; nothing is written that is gone by then."""
    group.flush()
    group.start()
    applied = group.advance(CompleteRun(b"done"))
    assert RunClosed("w", RunStatus.COMPLETED) in applied.notices
    tables = {write.table for write in group.flush()}
    assert tables == {"meta", "runs", "workflows", "history", "sessions", "session_replies"}


def test_started_runs_found_by_scanning_state(group, make_rows):
    """A machine that saw no event at all finds every open run in the rows, with type, version,
    inbox and owner; closed ones are not loaded, but can be found.
    """
    group.start("a")
    group.start("b")
    group.start("c")
    group.advance(CompleteRun(b"done"), name="b")
    group.flush()
    restored = type(group.machine)(group.voters, group.rows)
    assert sorted(restored.runs) == ["a", "c"]
    run = restored.runs["a"]
    assert (run.workflow_type, run.version, run.owner) == ("T", 1, 1)
    assert run.inbox == {1: RunStarted(b"input")}
    assert restored.find("b", "").result == b"done"
    assert restored.find("", "b") == restored.find("b", "b") == group.machine.find("b", "")


def test_finding_a_run(group):
    """By workflow id, by run id, by both; never by a pair that does not belong together."""
    group.start("a")
    assert group.machine.find("a", "").run_id == "a"
    assert group.machine.find("", "a") == group.machine.find("a", "a")
    assert group.machine.find("b", "a") is None
    assert group.machine.find("a", "b") is None
    assert group.machine.find("", "") is None


def test_notices_of_a_start(group):
    """The run is announced once; a start that found it announces nothing."""
    first = group.apply(ClientOperation("s", 1, 1, start()))
    second = group.apply(ClientOperation("s", 2, 1, start()))
    assert first.notices[0] == RunOpened("r")
    assert second.notices == ()
    assert not isinstance(second.replies[0][2], Rejected)
