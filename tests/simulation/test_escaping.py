"""No way out for the code of users, in steps and in workflows, by whatever name they call it.
Time is virtual here, as under MockClock.
"""

import datetime as dt
import os
import random
import socket
import sqlite3
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import trio

import flowactor as fa
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario, Start

WAYS: dict[str, tuple[Any, ...]] = {
    "random.Random() without a seed": (random.Random,),
    "random.seed": (lambda: random.seed(),),  # noqa: PLW0108  # replaced where it is looked up
    "socket.getaddrinfo": (socket.getaddrinfo, "localhost", 80),
    "socket.gethostbyname": (socket.gethostbyname, "localhost"),
    "os.listdir": (os.listdir, "."),
    "os.scandir": (os.scandir, "."),
    "posix.stat": (os.stat, "."),
    "os.system": (os.system, "true"),
    "os.posix_spawn": (os.posix_spawn, "/bin/true", ["true"], {}),
    "os.fork": (os.fork,),
    "posix.getpid": (os.getpid,),
    "posix.getcwd": (Path.cwd,),
    "posix.cpu_count": (os.cpu_count,),
    "posix.uname": (os.uname,),
    "time.process_time": (time.process_time,),
    "sqlite3.connect": (sqlite3.connect, "somewhere.db"),
    "datetime.now": (dt.datetime.now,),
    "os.urandom": (uuid.uuid4,),
}
ALLOWED: dict[str, tuple[Any, ...]] = {
    "a seed": (random.Random, 3),
    "the environment": (os.environ.get, "HOME"),
    "a database in memory": (sqlite3.connect, ":memory:"),
    "a module": (__import__, "colorsys"),
}


def call(name: str) -> None:
    function, *arguments = (WAYS | ALLOWED)[name]
    function(*arguments)


@fa.step(retry=fa.RetryPolicy(maximum_attempts=1))
async def leave(name: str) -> None:
    await trio.sleep(0.01)
    call(name)


@fa.step
async def connect() -> None:
    await trio.open_tcp_stream("127.0.0.1", 9)


@fa.workflow
class InStep:
    async def run(self, name: str) -> None:
        await leave(name)


@fa.workflow
class InWorkflow:
    async def run(self, name: str) -> None:
        call(name)


@fa.workflow
class Connects:
    async def run(self) -> None:
        await connect()


app = fa.App([InStep, InWorkflow, Connects])


def played(workflow, *arguments, depth=Depth.CORE):
    act = Start(0.5, workflow.__name__, "a", arguments)
    return simulate(Scenario(app=app, acts=(act,), seconds=3.0), depth)


@pytest.mark.parametrize("workflow", [InStep, InWorkflow])
@pytest.mark.parametrize("name", WAYS)
def test_a_way_out_ends_the_run_with_its_line(name, workflow):
    """What differs between two runs of one seed is refused, with the user's line."""
    failure = played(workflow, name).failure
    assert failure is not None
    assert failure.checker == "escape"
    line = call.__code__.co_firstlineno + 2
    if name == "random.seed":
        line = WAYS[name][0].__code__.co_firstlineno
    assert failure.message.startswith(f"{__file__}:{line} calls {name}, which leaves")


@pytest.mark.parametrize("workflow", [InStep, InWorkflow])
def test_at_node_depth_too(workflow):
    """Whole nodes run the code of users under the same watch."""
    failure = played(workflow, "datetime.now", depth=Depth.NODE).failure
    assert failure is not None
    assert failure.checker == "escape"


@pytest.mark.parametrize("workflow", [InStep, InWorkflow])
@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_the_same_in_every_run_is_allowed(name, workflow):
    """Seeds, the environment, memory and imports lead nowhere."""
    assert played(workflow, name).failure is None


def test_the_advice_fits_the_place():
    """A workflow is told of what workflows have, a step of what steps have."""
    assert played(InWorkflow, "datetime.now").failure.message.endswith("Write instead: fa.now()")
    assert played(InStep, "datetime.now").failure.message.endswith("trio.current_time()")
    assert played(InWorkflow, "os.listdir").failure.message.endswith("Write instead: a step")
    assert "ledger" in played(InStep, "os.listdir").failure.message


def test_a_library_that_leaves_names_the_line_that_called_it():
    """Trio opens sockets in tasks of its own: the user's line is the one that waits for them."""
    failure = played(Connects).failure
    assert failure is not None
    line = connect.function.__code__.co_firstlineno + 2
    assert failure.message.startswith(f"{__file__}:{line} calls socket.socket")


def test_outside_of_simulations_nothing_is_watched(tmp_path):
    """The ears that stay in the process hear nothing once a run is over."""
    assert played(InStep, "a seed").failure is None
    assert list(tmp_path.iterdir()) == []
    assert random.Random().random() < 1
