"""Node processes: started, killed, frozen, started again on the same data, and always ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from attrs import Factory, define, frozen

ROOT = Path(__file__).parents[2]
READY_SECONDS_MAX = 60.0
END_SECONDS_MAX = 10.0
POLL_SECONDS = 0.005
LOG_LINES_SHOWN = 12


class Process(Protocol):
    """What is needed of ``subprocess.Popen``."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...


@frozen
class Start:
    """What ``python -m flowactor`` shall be started with: this, and nothing to read."""

    arguments: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    stdout: IO[bytes]
    stderr: IO[bytes]


Starter = Callable[[Start], Process]


def start_cold(start: Start) -> Process:
    """As everybody does."""
    return subprocess.Popen(
        [sys.executable, "-m", "flowactor", *start.arguments],
        cwd=start.cwd,
        env=start.environment,
        stdin=subprocess.DEVNULL,
        stdout=start.stdout,
        stderr=start.stderr,
    )


@define(eq=False)
class NodeProcess:
    """``python -m flowactor node --json ...``, one process at a time.

    Attributes:
        options: what follows on the command line; may change between two lives.
        log: where stderr of all lives goes; what the last life said on stdout is beside it.
        cwd: where the process runs, and finds its app.
        environment: added to this process's own.
        starter: how the process is started.
    """

    options: Sequence[str]
    log: Path
    cwd: Path = ROOT
    environment: dict[str, str] = Factory(dict)
    starter: Starter = start_cold
    process: Process | None = None

    # -- life -------------------------------------------------------------------------------------

    def spawn(self) -> None:
        """Start the process; it is not ready yet."""
        assert self.process is None or self.process.poll() is not None, "one at a time"
        with self.log.open("ab") as errors, self._said.open("wb") as said:
            # A fixed hash seed saves starting Python twice.
            environment = os.environ | {"PYTHONHASHSEED": "0"} | self.environment
            self.process = self.starter(
                Start(["node", "--json", *self.options], self.cwd, environment, said, errors)
            )

    def start(self) -> None:
        """Start the process and wait until it serves."""
        self.spawn()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Block until the process says that it serves.

        Raises:
            RuntimeError: it ended, or did not serve in time; shows the end of its log.
        """
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self.is_ready:
            ended = self.running.poll()
            if ended is not None or time.monotonic() > deadline:
                what = "is not ready" if ended is None else f"ended with code {ended}"
                self.close()
                raise RuntimeError(f"the node {what}\n{self.last_lines()}")
            time.sleep(POLL_SECONDS)

    def wait_log(self, text: str, seconds: float = END_SECONDS_MAX) -> None:
        """Block until the log has this text in it."""
        deadline = time.monotonic() + seconds
        while text not in self.log_text():
            assert time.monotonic() < deadline, f"awaited {text!r}\n{self.last_lines()}"
            time.sleep(POLL_SECONDS)

    def send(self, number: int) -> None:
        """Send a signal."""
        self.running.send_signal(number)

    def wait_end(self, seconds: float = END_SECONDS_MAX) -> int:
        """Block until the process has ended; returns its exit code."""
        try:
            return self.running.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"process {self.running.pid} still runs after {seconds} s\n{self.last_lines()}"
            ) from None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal that ends the process, and wait for that; returns the exit code."""
        self.send(number)
        return self.wait_end()

    def kill(self) -> None:
        """Kill -9: the process does nothing more, from this instant."""
        self.stop(signal.SIGKILL)

    def close(self) -> None:
        """End the process, in whatever state it is. For clean-up."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    # -- looking ----------------------------------------------------------------------------------

    @property
    def running(self) -> Process:
        assert self.process is not None, "never started"
        return self.process

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def is_ready(self) -> bool:
        """Whether this life has said that it serves (it may have ended since)."""
        return self._said.read_bytes().endswith(b"\n")

    @property
    def ready(self) -> dict[str, object]:
        """What this life said when it was ready: node, cluster, address, data, pid."""
        described: dict[str, object] = json.loads(self._said.read_text())
        return described

    @property
    def address(self) -> str:
        return str(self.ready["address"])

    def memory_bytes(self) -> int:
        """Resident memory of the process now."""
        for line in Path(f"/proc/{self.running.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"process {self.running.pid} has no memory: it has ended")

    def log_text(self) -> str:
        """Everything all lives have said on stderr."""
        return self.log.read_text(errors="replace")

    def last_lines(self) -> str:
        """The end of the log, for the message of a failed test."""
        lines = self.log_text().splitlines()[-LOG_LINES_SHOWN:]
        return "\n".join([f"-- {self.log.name}, the last lines:", *lines])

    @property
    def _said(self) -> Path:
        return self.log.with_suffix(".out")
