"""A node as a process of its own, and a way to run commands against it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowactor.cli import main

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


class NodeProcess:
    """``python -m flowactor node`` on a free port; ``ready`` is what it said when it was ready."""

    def __init__(self, folder: Path, log: Path, *options: str) -> None:
        command = [sys.executable, "-m", "flowactor", "node", "--json", "--listen", "127.0.0.1:0"]
        command += ["--data", "data", "--app", "cli_app:app", *options]
        self._log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONHASHSEED": "0"},  # saves starting Python twice
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(log.read_text())
        self.ready = json.loads(line)
        self.address = self.ready["address"]

    def stop(self, number: int) -> tuple[int, str]:
        """Send a signal; gives exit code and log."""
        self.process.send_signal(number)
        self.process.communicate(timeout=20)
        return self.process.returncode, self._log.read_text()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def app_folder(tmp_path_factory):
    """A directory with ``cli_app.py`` in it."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "cli_app.py").write_text(APP)
    return folder


@pytest.fixture(scope="session")
def start_node(app_folder):
    """Starts node processes; none of them outlives the tests."""
    started = []

    def start(*options: str) -> NodeProcess:
        log = app_folder / f"node-{len(started)}.log"
        started.append(NodeProcess(app_folder, log, *options))
        return started[-1]

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
