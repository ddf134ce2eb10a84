"""Work in virtual time: when it happens, in what order, and how it ends."""

from itertools import pairwise

import pytest

from flowactor.simulation.disk import SimulatedWorker
from tests.simulation.disk.building import HeapAgenda, make_device


@pytest.fixture
def agenda():
    return HeapAgenda()


@pytest.fixture
def pace():
    return make_device().pace


@pytest.fixture
def worker(agenda, pace):
    return SimulatedWorker("test", agenda, pace)


def submit_noting(worker, agenda, names):
    """Submit a job for each name; returns what happened as (name, event, nanoseconds)."""
    happened = []
    for name in names:

        def note(event, name=name):
            happened.append((name, event, agenda.now_ns))

        worker.submit(lambda note=note: note("ran"), lambda _, note=note: note("done"))
    return happened


def test_jobs_run_in_order_and_take_time(worker, agenda):
    """Jobs run one after another, each some time after the one before, and outcomes arrive in the
    same order, each after its job.
    """
    happened = submit_noting(worker, agenda, range(50))
    assert happened == []
    agenda.run()
    ran = [(name, at) for name, event, at in happened if event == "ran"]
    done = [(name, at) for name, event, at in happened if event == "done"]
    assert [name for name, _ in ran] == [name for name, _ in done] == list(range(50))
    gaps = [later - earlier for (_, earlier), (_, later) in pairwise(ran)]
    assert min(gaps) >= 50_000
    assert max(gaps) < 2_000_000
    assert all(at < told for (_, at), (_, told) in zip(ran, done, strict=True))


def test_error_is_an_outcome(worker, agenda):
    """A job that raises hands its exception to ``done``, and the next one runs."""
    outcomes = []
    worker.submit(lambda: 1 // 0, outcomes.append)
    worker.submit(lambda: 2, outcomes.append)
    agenda.run()
    assert (type(outcomes[0]), outcomes[1]) == (ZeroDivisionError, 2)


def test_stalled_disk_begins_and_ends_nothing(worker, agenda, pace):
    """While a disk stalls, however many reasons it has, no job runs and no outcome arrives; then
    all do, in order.
    """
    early = submit_noting(worker, agenda, "abc")
    agenda.run(0.0001)
    pace.stall()
    pace.stall()
    late = submit_noting(worker, agenda, "de")
    before = list(early)
    agenda.run(100.0)
    pace.unstall()
    agenda.run(100.0)
    assert (early, late) == (before, [])
    pace.unstall()
    agenda.run()
    done = [name for name, event, _ in early + late if event == "done"]
    assert done == ["a", "b", "c", "d", "e"]


def test_stall_may_fall_between_job_and_outcome(agenda):
    """A disk that stalls after a job keeps its outcome back."""
    device = make_device()
    worker = SimulatedWorker("test", agenda, device.pace)
    outcomes = []
    worker.submit(device.pace.stall, outcomes.append)
    agenda.run()
    assert outcomes == []
    device.pace.unstall()
    agenda.run()
    assert outcomes == [None]


def test_slow_disk_takes_longer(worker, agenda, pace):
    """A slow disk adds up to so much to each job, until it is as it was."""
    pace.slow(1.0)
    happened = submit_noting(worker, agenda, range(20))
    agenda.run()
    assert 5e9 < happened[-1][2] < 20.1e9
    pace.slow(0)
    begun = agenda.now_ns
    submit_noting(worker, agenda, range(20))
    agenda.run()
    assert agenda.now_ns - begun < 20 * 2.1e6


def test_close_finishes_what_was_submitted(worker, agenda, pace):
    """Closing runs what waits, and what comes of it, at once and only once, stalled or not; nothing
    can be submitted after."""
    outcomes = []

    def done(number):
        outcomes.append(number)
        if number < 5:
            worker.submit(lambda: number + 1, done)

    worker.submit(lambda: 1, done)
    pace.stall()
    worker.close()
    assert outcomes == [1, 2, 3, 4, 5]
    pace.unstall()
    agenda.run()
    worker.close()
    assert outcomes == [1, 2, 3, 4, 5]
    with pytest.raises(AssertionError):
        worker.submit(list, outcomes.append)


def test_dead_worker_does_nothing_by_itself(worker, agenda, pace):
    """After death neither jobs nor outcomes come, nor is chance drawn; closing cleans up."""
    happened = submit_noting(worker, agenda, "ab")
    worker.run_under_way()
    worker.die()
    drawn = make_device().pace
    drawn.job_ns()
    happened += submit_noting(worker, agenda, "c")
    agenda.run()
    assert [event for _, event, _ in happened] == ["ran"]
    assert pace.job_ns() == drawn.job_ns()
    worker.close()
    assert [name for name, event, _ in happened if event == "done"] == ["a", "b"]
