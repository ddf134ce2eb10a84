"""What all benchmarks share: options, percentiles, tables, the machine, clusters of real
processes.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attrs
import trio
from rich.console import Console
from rich.table import Table

from flowactor.actors import Promise
from flowactor.storage import ThreadWorker


@attrs.frozen
class Row:
    """One line of a result. ``load`` is what was outstanding, or how many at once."""

    name: str
    load: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_op: float | None
    ratio: float | None = None


@attrs.frozen
class Options:
    json: bool
    quick: bool


def options(description: str) -> Options:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument(
        "--quick", action="store_true", help="under 40 seconds, with rougher figures"
    )
    return Options(**vars(parser.parse_args()))


def percentile(sorted_values: Sequence[float], fraction: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * fraction))]


def row(
    name: str, load: int, seconds: Sequence[float], elapsed: float, cpu_seconds: float | None
) -> Row:
    """A row from the latency of each operation, in seconds, and the time all of them took."""
    ordered = sorted(seconds)
    return Row(
        name,
        load,
        len(ordered) / elapsed,
        statistics.median(ordered) * 1000,
        percentile(ordered, 0.99) * 1000,
        None if cpu_seconds is None else cpu_seconds * 1e6 / len(ordered),
    )


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "processor": platform.processor(),
    }


def versions() -> dict[str, str]:
    names = ("flowactor", "trio", "trio-websocket", "apsw", "cbor2", "cattrs", "attrs")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def report(
    title: str,
    load_name: str,
    rows: Sequence[Row],
    chosen: Options,
    ratio_name: str = "x bare limit",
) -> None:
    """Print the table, or the one JSON object."""
    if chosen.json:
        lines = [attrs.asdict(line) for line in rows]
        for line in lines:
            line[load_name] = line.pop("load")
        print(
            json.dumps(
                {"benchmark": title, "machine": machine(), "versions": versions(), "rows": lines}
            )
        )
        return
    table = Table(title=title)
    for heading in ("", load_name, "per second", "p50 ms", "p99 ms", "CPU us/op", ratio_name):
        table.add_column(heading, justify="left" if not heading else "right")
    for line in rows:
        table.add_row(
            line.name,
            str(line.load),
            f"{line.per_second:,.0f}",
            f"{line.p50_ms:.3f}",
            f"{line.p99_ms:.3f}",
            "" if line.cpu_us_per_op is None else f"{line.cpu_us_per_op:,.1f}",
            "" if line.ratio is None else f"{line.ratio:.2f}",
        )
    # Whole lines also where the output is no terminal, such as a file.
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# -- the bare limits of this machine ---------------------------------------------------------------


def bare_fdatasync(directory: Path, seconds: float) -> Row:
    """Append 120 bytes and make them durable, again and again."""
    latencies = []
    with (directory / "bare").open("ab", buffering=0) as file:
        begun, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - begun < seconds:
            start = time.perf_counter()
            file.write(bytes(120))
            os.fdatasync(file.fileno())
            latencies.append(time.perf_counter() - start)
        return row(
            "bare append + fdatasync",
            1,
            latencies,
            time.perf_counter() - begun,
            time.process_time() - cpu,
        )


def bare_round_trip(seconds: float) -> Row:
    """100 bytes there and back over loopback TCP, blocking sockets, two threads."""
    server = socket.create_server(("127.0.0.1", 0))

    def echo() -> None:
        peer, _ = server.accept()
        with peer:
            while data := peer.recv(4096):
                peer.sendall(data)

    thread = threading.Thread(target=echo)
    thread.start()
    latencies = []
    with socket.create_connection(server.getsockname()) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - begun < seconds:
            start = time.perf_counter()
            client.sendall(bytes(100))
            client.recv(4096)
            latencies.append(time.perf_counter() - start)
        elapsed, used = time.perf_counter() - begun, time.process_time() - cpu
    thread.join()
    server.close()
    return row("bare loopback round trip", 1, latencies, elapsed, used)


def bare_checkpoint(seconds: float) -> Row:
    """One Trio checkpoint: the price of letting another task run."""

    async def run() -> Row:
        latencies = []
        begun, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - begun < seconds:
            start = time.perf_counter()
            for _ in range(100):
                await trio.lowlevel.checkpoint()
            latencies.append((time.perf_counter() - start) / 100)
        elapsed, used = time.perf_counter() - begun, time.process_time() - cpu
        line = row("bare Trio checkpoint", 1, latencies, elapsed, used)
        return attrs.evolve(
            line, per_second=line.per_second * 100, cpu_us_per_op=used * 1e4 / len(latencies)
        )

    return trio.run(run)


def bare_thread_hop(seconds: float) -> Row:
    """To a thread of one's own and back to the event loop, as a write to the log goes."""

    async def run() -> Row:
        latencies = []
        worker = ThreadWorker("bare")
        begun, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - begun < seconds:
            start = time.perf_counter()
            back: Promise[None] = Promise()
            worker.submit(lambda: None, back.set)
            await back.wait()
            latencies.append(time.perf_counter() - start)
        elapsed, used = time.perf_counter() - begun, time.process_time() - cpu
        worker.close()
        return row("bare thread hop and back", 1, latencies, elapsed, used)

    return trio.run(run)


def bare_limits(seconds: float) -> list[Row]:
    """What this machine can do at this moment; the first is what other rows are compared with."""
    progress("bare limits ...")
    with tempfile.TemporaryDirectory(prefix="flowactor-bench-") as directory:
        return [
            bare_fdatasync(Path(directory), seconds),
            bare_round_trip(seconds),
            bare_checkpoint(seconds),
            bare_thread_hop(seconds),
        ]


# -- members: processes that each embed a node ----------------------------------------------------


@attrs.define
class Member:
    """A child process; it gets one JSON line per order and answers with one JSON line."""

    process: subprocess.Popen[str]
    address: str
    command: list[str]

    def ask(self, **order: Any) -> dict[str, Any]:
        self.send(**order)
        return self.answer()

    def send(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the member at {self.address} died with code {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """Wait for its end, which comes in good order once its input is closed."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def start_again(self) -> None:
        """On what it left on disk; ``answer`` says when it is ready."""
        self.process = spawn(self.command)

    def cpu_seconds(self) -> float:
        """User and system time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spawn(command: Sequence[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def free_addresses(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


@contextmanager
def members(script: str, size: int) -> Iterator[list[Member]]:
    """``size`` processes of ``script --member ADDRESS PEERS DATA``, linked over WebSockets."""
    addresses = free_addresses(size)
    with tempfile.TemporaryDirectory(prefix="flowactor-bench-") as data:
        started = []
        try:
            for number, address in enumerate(addresses):
                peers = ",".join(addresses)
                command = [sys.executable, script, "--member", address, peers, f"{data}/{number}"]
                started.append(Member(spawn(command), address, command))
            for member in started:
                assert member.answer()["ready"]
            yield started
        finally:
            for member in started:
                assert member.process.stdin is not None
                member.process.stdin.close()
            for member in started:
                member.end()


def leader_of(all_members: Sequence[Member]) -> Member:
    """The member that leads, once one does."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for member in all_members:
            if member.ask(order="leads")["leads"]:
                return member
        time.sleep(0.1)
    raise SystemExit("no leader within 20 seconds")


def spread(drivers: Sequence[Member], load: int, **order: Any) -> dict[str, Any]:
    """What comes of an order that many carry out at once, each with its share of ``load``."""
    for number, member in enumerate(drivers):
        share = load // len(drivers) + (number < load % len(drivers))
        member.send(**order, load=share)
    answers = [member.answer() for member in drivers]
    return {
        "latencies": [latency for answer in answers for latency in answer["latencies"]],
        "elapsed": max(answer["elapsed"] for answer in answers),
    }


def measured_cpu(all_members: Sequence[Member], work: Callable[[], Any]) -> tuple[Any, float]:
    """What ``work`` returns, and the CPU seconds that all members used meanwhile."""
    before = sum(member.cpu_seconds() for member in all_members)
    outcome = work()
    return outcome, sum(member.cpu_seconds() for member in all_members) - before
