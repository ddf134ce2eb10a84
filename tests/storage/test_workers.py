"""Background work in a thread: where it runs, when it is told, how it ends."""

import threading

import pytest
import trio

from flowactor.storage import ThreadWorker


async def test_done_is_called_on_the_event_loop():
    """Jobs run in another thread, ``done`` in the one of the loop, where Trio may be used."""
    worker, here = ThreadWorker("elsewhere"), threading.get_ident()
    ran_in, told_in = [], []
    finished = trio.Event()

    def done(outcome):
        told_in.append(threading.get_ident())
        finished.set()

    worker.submit(lambda: ran_in.append(threading.get_ident()), done)
    await finished.wait()
    worker.close()
    assert told_in == [here] != ran_in


async def test_outcomes_that_pile_up_arrive_together():
    """Outcomes of jobs that end while the loop is busy are delivered in one turn of it."""
    worker, found = ThreadWorker("busy"), []
    ended = threading.Semaphore(0)
    for number in range(50):
        worker.submit(lambda number=number: number, found.append)
    worker.submit(ended.release, found.append)
    ended.acquire()  # the loop is busy here
    assert found == []
    worker.close()
    assert found == [*range(50), None]


async def test_close_finishes_what_was_submitted():
    """Closing waits for every job, tells every ``done``, ends the thread; twice is once."""
    worker, found = ThreadWorker("closing"), []
    gate = threading.Event()
    worker.submit(gate.wait, found.append)
    for number in range(10):
        worker.submit(lambda number=number: number, found.append)
    gate.set()
    worker.close()
    assert found == [True, *range(10)]
    worker.close()
    assert "closing" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(AssertionError):
        worker.submit(list, found.append)


async def test_unused_worker_needs_no_close():
    """A worker that never got a job has no thread that could keep the process from ending."""
    ThreadWorker("unused")
    assert "unused" not in [thread.name for thread in threading.enumerate()]


def test_jobs_outlive_the_event_loop():
    """What was submitted before the loop ended still runs; nobody is left to be told."""
    ran, told = [], []
    gate = threading.Event()

    async def main():
        worker = ThreadWorker("orphan")
        worker.submit(gate.wait, told.append)
        worker.submit(lambda: ran.append(1), told.append)
        return worker

    worker = trio.run(main)
    gate.set()
    worker.close()
    assert (ran, told) == ([1], [])
