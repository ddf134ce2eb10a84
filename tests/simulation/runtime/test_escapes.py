"""No way out of a simulation, for what a user's code may reach for. Time is virtual here, as under
MockClock.
"""

import builtins
import importlib
import io
import logging
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import trio

from flowactor.simulation.failure import SimulationEscape
from flowactor.simulation.runtime import simulate

WAYS_OUT = {
    "time.time": (time, "time"),
    "time.monotonic_ns": (time, "monotonic_ns"),
    "time.sleep": (time, "sleep", 0),
    "os.urandom": (os, "urandom", 4),
    "secrets.token_hex": (secrets, "token_hex", 4),
    "random.SystemRandom": (secrets, "choice", "ab"),
    "uuid.uuid4": (uuid, "uuid4"),
    "random.random": (random, "random"),
    "random.choice": (random, "choice", "ab"),
    "socket.socket": (socket, "socket"),
    "open": (builtins, "open", os.devnull),
    "io.open": (Path(os.devnull), "read_bytes"),
    "threading.Thread.start": (threading.Timer(0, print), "start"),
    "subprocess.Popen": (subprocess, "run", [sys.executable, "--version"]),
}


@pytest.mark.parametrize("name", WAYS_OUT)
def test_a_way_out_is_closed_and_names_the_line(name):
    """The error has the user's file and line, the function, and what to write instead."""
    owner, function, *arguments = WAYS_OUT[name]

    async def main(_):
        await trio.sleep(1)
        getattr(owner, function)(*arguments)

    with pytest.raises(SimulationEscape) as caught:
        simulate(main, seed=1)
    text = str(caught.value)
    assert text.startswith(f"{__file__}:{main.__code__.co_firstlineno + 2} calls {name}")
    assert "Write instead: " in text


def test_a_thread_of_trio_is_a_way_out_too():
    """``to_thread`` would let virtual time pass for as long as a real thread works."""

    async def main(_):
        await trio.to_thread.run_sync(lambda: None)

    with pytest.raises(SimulationEscape, match=r"test_escapes\.py:\d+ calls threading"):
        simulate(main, seed=1)


def test_swallowing_the_error_does_not_help():
    """A run in which somebody tried has failed, whatever became of the exception."""

    async def main(_):
        with suppress(SimulationEscape):
            time.time()
        await trio.sleep_forever()

    with pytest.raises(SimulationEscape, match=r"calls time\.time"):
        simulate(main, seed=1)


def test_reading_code_and_logging_are_allowed(caplog):
    """Imports, tracebacks and log lines may look at the clock and at files."""

    async def main(_):
        logging.getLogger("test").warning("at %s", "work")
        await trio.lowlevel.checkpoint()
        return "done"

    assert simulate(main, seed=1) == "done"
    assert "at work" in caplog.text


def test_chance_that_got_away_is_repeatable():
    """What was imported by its name cannot be refused, but gives the same in each run."""
    drawn = random.random

    async def main(_):
        await trio.lowlevel.checkpoint()
        return drawn()

    assert simulate(main, seed=5) == simulate(main, seed=5) != simulate(main, seed=6)


class SharedGenerator:
    """Stands for ``numpy.random.RandomState``: its methods are functions of the module, too."""

    def __init__(self):
        self.random = random.Random(0)

    def seed(self, seed):
        self.random.seed(seed)

    def get_state(self):
        return self.random.getstate()

    def set_state(self, state):
        self.random.setstate(state)

    def rand(self):
        return self.random.random()


@pytest.fixture
def numpy_random(monkeypatch):
    """``numpy.random``: the real one where it is installed, else a module of the same shape."""
    try:
        return importlib.import_module("numpy.random")
    except ModuleNotFoundError:
        shared, module = SharedGenerator(), ModuleType("numpy.random")
        for name in ("rand", "get_state", "set_state"):
            setattr(module, name, getattr(shared, name))
        module.seed = lambda seed=None: shared.seed(seed)
        module.mtrand = SimpleNamespace(_rand=shared)
        monkeypatch.setitem(sys.modules, "numpy", ModuleType("numpy"))
        monkeypatch.setitem(sys.modules, "numpy.random", module)
        return module


@pytest.mark.parametrize("name", ["rand", "seed"])
def test_the_shared_chance_of_numpy_is_refused(name, numpy_random):
    """As that of ``random`` is, with what to write instead."""

    async def main(_):
        await trio.lowlevel.checkpoint()
        getattr(numpy_random, name)()

    line = main.__code__.co_firstlineno + 2
    with pytest.raises(SimulationEscape) as caught:
        simulate(main, seed=1)
    assert str(caught.value).startswith(f"{__file__}:{line} calls numpy.random.{name},")
    assert "numpy.random.default_rng(seed)" in str(caught.value)


def test_the_shared_chance_of_numpy_is_repeatable_and_put_back(numpy_random):
    """What was imported by its name gives the same in each run; afterwards it goes on as before."""
    drawn, state = numpy_random.rand, numpy_random.get_state()
    expected = drawn()
    numpy_random.set_state(state)

    async def main(_):
        await trio.lowlevel.checkpoint()
        return drawn()

    assert simulate(main, seed=5) == simulate(main, seed=5) != simulate(main, seed=6)
    assert numpy_random.rand() == expected


def test_other_threads_are_left_alone():
    """A thread outside of the simulation may do all that."""
    entered, leave, found = threading.Event(), threading.Event(), []

    def work():
        entered.wait()
        found.append(time.time())
        leave.set()

    thread = threading.Thread(target=work)
    thread.start()

    async def main(_):
        await trio.lowlevel.checkpoint()
        entered.set()
        leave.wait()

    simulate(main, seed=1)
    thread.join()
    assert found[0] > 0


def test_everything_is_open_again_afterwards():
    """Nothing stays replaced, and the generator of ``random`` is where it was."""
    before = (time.time, os.urandom, builtins.open, io.open, threading.Thread.start, random.random)
    state = random.getstate()

    async def main(_):
        await trio.lowlevel.checkpoint()

    simulate(main, seed=1)
    after = (time.time, os.urandom, builtins.open, io.open, threading.Thread.start, random.random)
    assert after == before
    assert random.getstate() == state
