"""Owners and epochs: who performs a run, and when somebody else does."""

import pytest

from flowactor.machine import (
    NodeAnnounced,
    OperationRefused,
    OwnerChanged,
    Parking,
    RunParked,
    RunResumed,
)
from flowactor.machine.commands import CompleteRun
from flowactor.machine.history import OwnerAssigned, Parked, Resumed
from flowactor.machine.operations import ParkRun, ReassignRuns, ResumeRun, StartRun
from flowactor.machine.replies import Done, RunStatus

KEY = ((), "s", 0)


def owners(group):
    return {run_id: run.owner for run_id, run in group.machine.runs.items()}


def test_runs_of_a_lost_node_go_to_the_least_loaded(group):
    """They are spread over the other voters, in the order of their ids, each at the next epoch."""
    for name in ("a", "b", "c", "d"):
        group.start(name, origin=1)
    group.start("e", origin=2)
    group.start("f", origin=2)
    applied = group.apply(ReassignRuns(1, 1))
    assert applied.notices == (
        OwnerChanged("a", 3, 2),
        OwnerChanged("b", 3, 2),
        OwnerChanged("c", 2, 2),
        OwnerChanged("d", 3, 2),
    )
    assert owners(group) == {"a": 3, "b": 3, "c": 2, "d": 3, "e": 2, "f": 2}
    assert [group.machine.nodes[node].owned for node in (1, 2, 3)] == [0, 3, 3]


def test_stale_epoch_refused(group):
    """A reassignment is the word of a leader: from another term than the entry's it is refused."""
    group.start()
    for term in (4, 6):
        before = group.machine.digest()
        (notice,) = group.apply(ReassignRuns(1, term), term=5).notices
        assert isinstance(notice, OperationRefused)
        assert group.machine.digest() == before
    assert group.apply(ReassignRuns(1, 5), term=5).notices == (OwnerChanged("w", 2, 2),)


def test_the_old_owner_is_fenced(group, make_step):
    """After the hand-over the old epoch advances, fails and parks nothing; the new owner goes on
    from the same position.
    """
    group.start()
    group.advance(make_step())
    group.apply(ReassignRuns(1, 1))
    before = group.machine.digest()
    group.advance(CompleteRun(b"stale"), epoch=1)
    group.fail(KEY, epoch=1)
    group.apply(ParkRun("w", 1, "stale"))
    assert group.machine.digest() == before
    group.complete(KEY, CompleteRun(b"done"))
    assert group.machine.find("w", "").result == b"done"


def test_a_lost_node_is_no_candidate_until_it_announces(group):
    """It gets nothing, not even as origin; a second report about it changes nothing."""
    group.apply(ReassignRuns(2, 1), ReassignRuns(3, 1))
    assert group.start("a", origin=3).owner == 1
    before = group.machine.digest()
    group.apply(ReassignRuns(3, 1), ReassignRuns(77, 1))
    assert group.machine.digest() == before
    group.announce(3, ("T", 1))
    assert group.start("b", origin=3).owner == 3


def test_a_run_without_candidate_is_parked_until_its_code_appears(empty_group):
    """Scenario F5: nobody else has version 1, so its runs wait visibly with the reason, and go on
    with the node that brings it, at a new epoch, their running steps started again.
    """
    group = empty_group
    group.announce(1, ("T", 1))
    group.announce(2, ("T", 2))
    group.start("a")
    group.start("b")
    applied = group.apply(ReassignRuns(1, 1))
    reason = "no live voter has registered 'T' version 1"
    assert applied.notices == (RunParked("a", reason), RunParked("b", reason))
    run = group.run("a")
    assert (run.status, run.parking, run.owner, run.epoch) == (
        RunStatus.PARKED,
        Parking.NO_NODE,
        0,
        1,
    )
    assert group.machine.find("a", "").reason == reason
    assert group.announce(9, ("T", 1)).notices == (NodeAnnounced(9, "first"),)
    applied = group.announce(2, ("T", 1), ("T", 2))
    assert applied.notices == (
        NodeAnnounced(2, "first"),
        RunResumed("a"),
        OwnerChanged("a", 2, 2),
        RunResumed("b"),
        OwnerChanged("b", 2, 2),
    )
    assert (run.status, run.parking, run.reason) == (RunStatus.RUNNING, Parking.NOT, "")
    assert group.history("a")[2:] == [Parked(reason), Resumed(), OwnerAssigned(2, 2)]


def test_a_parked_run_cannot_advance(group, make_step):
    """Not even at its own epoch and position."""
    group.start()
    group.apply(ParkRun("w", 1, "two sides disagree"))
    before = group.machine.digest()
    group.advance(make_step())
    assert group.machine.digest() == before


def test_a_run_parked_by_its_owner_waits_for_an_operator(group, make_step):
    """Neither an announcement nor a lost node moves it; ``ResumeRun`` does, once, with the next
    epoch and running steps started again.
    """
    group.start()
    group.advance(make_step())
    applied = group.apply(ParkRun("w", 1, "two sides disagree"))
    assert applied.notices == (RunParked("w", "two sides disagree"),)
    group.announce(2, ("T", 1), ("U", 1))
    group.apply(ReassignRuns(1, 1))
    run = group.run()
    assert (run.status, run.parking, run.owner) == (RunStatus.PARKED, Parking.BY_OWNER, 0)
    assert group.ask(ResumeRun("w", "")) == Done()
    assert (run.status, run.owner, run.epoch) == (RunStatus.RUNNING, 2, 2)
    assert run.steps[KEY].attempt == 2
    assert group.ask(ResumeRun("w", "")) == Done(changed=False)


def test_resuming_without_a_node_waits_for_one(empty_group):
    """The operator's word stands: when the code appears, the run goes on by itself."""
    group = empty_group
    group.announce(1, ("T", 1))
    group.start()
    group.apply(ParkRun("w", 1, "look"))
    group.apply(ReassignRuns(1, 1))
    assert group.ask(ResumeRun("w", "")) == Done()
    assert group.run().parking is Parking.NO_NODE
    assert group.ask(ResumeRun("w", "")) == Done(changed=False)
    group.announce(3, ("T", 1))
    assert (group.run().status, group.run().owner) == (RunStatus.RUNNING, 3)


def test_resuming_what_is_not_there(group):
    """A closed run stays closed, an unknown one is not found."""
    group.start()
    group.advance(CompleteRun(b""))
    assert group.ask(ResumeRun("w", "")).code == "AlreadyClosed"
    assert group.ask(ResumeRun("v", "")).code == "NotFound"


def test_a_restarted_node_starts_its_steps_again(group, make_step):
    """A new incarnation lost whatever it was performing: same owner, next epoch, next attempt. The
    same incarnation announcing again changes nothing.
    """
    group.start(origin=2)
    group.advance(make_step())
    assert group.announce(2, ("T", 1)).notices == (NodeAnnounced(2, "first"),)
    assert (group.run().epoch, group.run().steps[KEY].attempt) == (1, 1)
    applied = group.announce(2, ("T", 1), incarnation="second")
    assert applied.notices == (NodeAnnounced(2, "second"), OwnerChanged("w", 2, 2))
    assert (group.run().owner, group.run().steps[KEY].attempt) == (2, 2)


@pytest.mark.parametrize("incarnation", ["first", "second"])
def test_a_node_that_no_longer_has_the_code_gives_its_runs_up(group, incarnation):
    """Another voter takes them over; with none left they are parked."""
    group.start(origin=1)
    group.announce(1, ("U", 1), incarnation=incarnation)
    assert group.run().owner == 2
    group.announce(3, ("U", 1))
    group.announce(2, ("U", 1), incarnation=incarnation)
    assert group.run().parking is Parking.NO_NODE


def test_epochs_only_grow(group):
    """However often a run is handed over, parked and resumed, every owner has a higher epoch than
    all before (invariant I21), as the history shows.
    """
    group.start()
    for number in range(12):
        group.apply(ReassignRuns(group.run().owner, 1))
        group.announce(number % 3 + 1, ("T", 1), incarnation=str(number))
        if number % 4 == 3:
            group.apply(ParkRun("w", group.run().epoch, "look"))
            group.ask(ResumeRun("w", ""))
    epochs = [fact.epoch for fact in group.history() if isinstance(fact, OwnerAssigned)]
    assert len(epochs) > 12
    assert epochs == list(range(2, len(epochs) + 2))


def test_the_start_of_a_run_names_its_origin_only_as_a_wish(group):
    """An origin that is no voter, or none at all, does not matter."""
    body = StartRun("w", "w", "T", 1, b"", 0)
    assert group.ask(body).created
    assert group.run().owner == 1
