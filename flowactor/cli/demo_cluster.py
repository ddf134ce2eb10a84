"""Three node processes of the demo: started, killed, restarted and, in every case, cleaned up."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from flowactor.cli import demo_app
from flowactor.cli.node_command import HASH_SEED
from flowactor.errors import Unavailable

__all__ = ["DemoNode", "cluster_of"]

READY_SECONDS_MAX: Final = 20.0
STOP_SECONDS_MAX: Final = 3.0
LOG_LINES_SHOWN: Final = 5


@attrs.define(eq=False)
class DemoNode:
    """One node process on loopback; ``number`` is its node id once it is ready."""

    address: str
    peers: str
    folder: Path
    effects: Path
    number: int = 0
    process: trio.Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it serves.

        Raises:
            Unavailable: it ended, or did not become ready in time; shows the end of its log.
        """
        self.folder.mkdir(exist_ok=True)
        log = self.folder / "node.log"
        command = [sys.executable, "-m", "flowactor", "node", "--json"]
        command += ["--listen", self.address, "--data", str(self.folder / "data")]
        command += ["--peers", self.peers, "--app", f"{demo_app.__name__}:app"]
        environment = {
            **os.environ,
            demo_app.EFFECTS_VARIABLE: str(self.effects),
            "PYTHONHASHSEED": HASH_SEED,  # or the node would start itself a second time, with it
        }
        with log.open("ab") as errors:
            self.process = await trio.lowlevel.open_process(
                command, stdout=subprocess.PIPE, stderr=errors, env=environment
            )
        with trio.move_on_after(READY_SECONDS_MAX):
            if line := await self._first_line(self.process):
                self.number = json.loads(line)["node"]
                return
        last = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        raise Unavailable(f"the node at {self.address} did not start: {' | '.join(last)}")

    async def _first_line(self, process: trio.Process) -> bytes:
        """What it says on stdout when it is ready; empty if it ended before."""
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            data = await process.stdout.receive_some()
            if not data:
                return b""
            line += bytes(data)
        return line

    async def kill(self) -> None:
        """Kill -9: the process gets no chance to do anything more."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Ask the process to end, and if it does not, end it. Safe to call in any state."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        with trio.move_on_after(STOP_SECONDS_MAX):
            await self.process.wait()
        if self.process.poll() is None:
            await self.kill()


@asynccontextmanager
async def cluster_of(count: int, folder: Path, effects: Path) -> AsyncIterator[list[DemoNode]]:
    """``count`` running nodes, in the order of their ids; none is left running afterwards."""
    addresses = free_addresses(count)
    peers = ",".join(addresses)
    nodes = [
        DemoNode(address, peers, folder / f"node-{index}", effects)
        for index, address in enumerate(addresses, start=1)
    ]
    try:
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(node.start)
        nodes.sort(key=lambda node: node.number)
        yield nodes
    finally:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for node in nodes:
                    nursery.start_soon(node.stop)


def free_addresses(count: int) -> list[str]:
    """Loopback addresses with ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    finally:
        for each in sockets:
            each.close()
