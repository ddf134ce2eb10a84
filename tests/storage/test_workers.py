"""Background work: order, delivery on the event loop, errors as outcomes, and the end of it."""

import threading

import pytest
import trio

from flowactor.storage import InlineWorker, ThreadWorker


@pytest.fixture(params=["thread", "inline"])
async def worker(request):
    """Each kind of worker, in a running event loop."""
    worker = ThreadWorker("test") if request.param == "thread" else InlineWorker()
    yield worker
    worker.close()


async def outcomes(worker, *jobs):
    """What ``done`` was given for each job, in the order it was called."""
    found, complete = [], trio.Event()

    def done(outcome):
        found.append(outcome)
        if len(found) == len(jobs):
            complete.set()

    for job in jobs:
        worker.submit(job, done)
    await complete.wait()
    return found


async def test_jobs_run_in_order(worker):
    """Jobs run one after another, and their outcomes arrive in the same order."""
    jobs = [lambda number=number: number for number in range(100)]
    assert await outcomes(worker, *jobs) == list(range(100))


async def test_error_is_an_outcome(worker):
    """A job that raises hands its exception to ``done``, and the next one runs."""
    error, value = await outcomes(worker, lambda: 1 // 0, lambda: 2)
    assert (type(error), value) == (ZeroDivisionError, 2)


async def test_done_may_submit(worker):
    """A long chain of jobs, each submitted by the ``done`` before it, does not grow the stack."""
    finished = trio.Event()

    def done(number):
        if number == 5000:
            finished.set()
        else:
            worker.submit(lambda: number + 1, done)

    worker.submit(lambda: 1, done)
    await finished.wait()


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


@pytest.mark.parametrize("kind", [ThreadWorker, lambda _: InlineWorker()])
async def test_close_finishes_what_it_gave_rise_to(kind):
    """A ``done`` that is called while the worker closes may still submit."""
    worker, found = kind("chain"), []

    def done(number):
        found.append(number)
        if number < 5:
            worker.submit(lambda: number + 1, done)

    worker.submit(lambda: 1, done)
    worker.close()
    assert found == [1, 2, 3, 4, 5]


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
