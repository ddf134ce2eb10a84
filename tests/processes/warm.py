"""Starts nodes from a process that has imported what they need: for most of a second, that is all
that a start of Python does.

A node that is started here is a process like any other, with its own memory, sockets and signals,
and runs the command line from its first option on. What it does not show is that ``python -m
flowactor`` finds that command line; nodes that do show it are in ``test_node_command.py`` and in
``tests/cli``.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from tests.processes.nodes import Start

POLL_SECONDS = 0.002
HASH_SEED = "0"
"""Of all that is started here: no start sets another, or Python would have to start anew."""


@define(eq=False)
class WarmProcess:
    """What ``subprocess.Popen`` is to a child, for a child of ``starter``."""

    pid: int
    starter: "WarmStarter"
    returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; nothing while the process runs."""
        if self.returncode is None:
            self.returncode = self.starter.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Block until the process has ended; returns its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0.0)
            time.sleep(POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended: its number may be another's by now."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@frozen
class WarmStarter:
    """A process that has everything imported, and waits for what to become. ``warm_starter`` makes
    one.
    """

    process: "subprocess.Popen[bytes]"

    def ask(self, **request: object) -> Any:
        """Say one thing to it, and get its answer."""
        questions, answers = self.process.stdin, self.process.stdout
        assert questions is not None
        assert answers is not None
        questions.write(json.dumps(request).encode() + b"\n")
        questions.flush()
        return json.loads(answers.readline())

    def __call__(self, start: Start) -> WarmProcess:
        """As ``nodes.start_cold``, sooner."""
        pid = self.ask(
            arguments=[*start.arguments],
            cwd=str(start.cwd),
            environment={**start.environment, "PYTHONHASHSEED": HASH_SEED},
            stdout=start.stdout.name,
            stderr=start.stderr.name,
        )
        return WarmProcess(pid, self)


@contextmanager
def warm_starter(root: Path) -> Iterator[WarmStarter]:
    """Nothing that was started outlives the block."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=root,
        env=os.environ | {"PYTHONHASHSEED": HASH_SEED},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield WarmStarter(process)


# -- in that process -------------------------------------------------------------------------------


@frozen
class Nursery:
    """The processes that were started and whose end nobody has asked for yet."""

    pids: set[int] = field(factory=set)

    def end_of(self, pid: int) -> int | None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            return None
        self.pids.discard(pid)
        return os.waitstatus_to_exitcode(status)

    def end_all(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def serve(lines: Iterable[bytes]) -> dict[str, Any] | None:
    """Fork for each request to start, and say how those ended whose end is asked for, until nobody
    asks any more. Returns in each child as well, with what it shall be.
    """
    nursery = Nursery()
    for line in lines:
        request = json.loads(line)
        if "poll" in request:
            answer = nursery.end_of(request["poll"])
        elif (answer := os.fork()) == 0:
            return request
        else:
            nursery.pids.add(answer)
        os.write(1, json.dumps(answer).encode() + b"\n")
    nursery.end_all()
    return None


def become(wanted: dict[str, Any]) -> None:
    """Give this process the streams, the directory and the environment that it shall have."""
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, wanted["stdout"], os.O_WRONLY),
        (2, wanted["stderr"], os.O_WRONLY | os.O_APPEND),
    ):
        file = os.open(path, flags)
        os.dup2(file, number)
        os.close(file)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["environment"])


def main() -> None:
    from flowactor.cli import main as command_line
    from flowactor.cli import node_command  # noqa: F401 - imported here, for all that are started

    wanted = serve(sys.stdin.buffer)
    if wanted is not None:
        become(wanted)
        command_line(wanted["arguments"], prog_name="python -m flowactor")


if __name__ == "__main__":
    main()
