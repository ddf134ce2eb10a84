"""A node as a process of its own, and a way to run commands against it."""

import json
import os

import pytest
from click.testing import CliRunner

from flowactor.cli import main
from tests.processes.nodes import NodeProcess, Starter

APP = '''
"""An app for tests of the command line."""

import trio
from attrs import frozen

import flowactor as fa


@frozen
class Order:
    item: str
    amount: int


@fa.step(retry=fa.RetryPolicy(maximum_attempts=1))
async def charge(order: Order) -> str:
    await trio.lowlevel.checkpoint()
    if order.amount < 0:
        raise ValueError("a negative amount")
    return f"paid {order.amount}"


@fa.workflow(version=1)
class ProcessOrder:
    def __init__(self) -> None:
        self.note = ""

    async def run(self, order: Order, wait: bool = False) -> str:
        status = await fa.variable("status", "processing")
        paid = await charge(order)
        if wait:
            with fa.move_on_after(3600):
                await fa.wait_condition(lambda: self.note != "")
        await status.set("done")
        return paid + self.note

    @fa.signal
    def add_note(self, note: str) -> None:
        self.note = note

    @fa.query
    def current_note(self) -> str:
        return self.note


app = fa.App([ProcessOrder])
nothing = 3
'''


@pytest.fixture(scope="module")
def app_folder(tmp_path_factory):
    """A directory with ``cli_app.py`` in it."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "cli_app.py").write_text(APP)
    return folder


@pytest.fixture(scope="module")
def start_node(app_folder, starter):
    """Starts node processes on free ports; none of them outlives its module."""
    started = []

    def start(*options: str, starter: Starter = starter) -> NodeProcess:
        everywhere = ("--listen", "127.0.0.1:0", "--data", "data", "--app", "cli_app:app")
        log = app_folder / f"node-{len(started)}.log"
        node = NodeProcess([*everywhere, *options], log, cwd=app_folder, starter=starter)
        started.append(node)
        node.start()
        return node

    yield start
    for node in started:
        node.close()


class Commands:
    """Runs client commands in this process, against one address."""

    def __init__(self, address: str) -> None:
        self.environment = {"FLOWACTOR_CONNECT": address}

    def __call__(self, *arguments: str, stdin: str | None = None):
        return CliRunner().invoke(main, arguments, input=stdin, env=self.environment)

    def json(self, *arguments: str, code: int = 0):
        """What the command prints with ``--json``."""
        result = self(*arguments, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout or result.stderr)


@pytest.fixture
def command():
    """Runs a command that needs no node."""
    return Commands("127.0.0.1:1")


@pytest.fixture
def make_commands():
    return Commands


@pytest.fixture
def fixed_hash_seed(monkeypatch):
    """A node command in this process must not replace the process."""
    monkeypatch.setitem(os.environ, "PYTHONHASHSEED", "0")
