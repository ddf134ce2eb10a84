"""The inside of a benchmark's child process: a node, and a loop that carries out orders."""

import json
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import trio

import flowactor as fa
from flowactor.cli.node_command import settle_garbage_collector
from flowactor.observability import Observer, ignore

Order = Callable[[fa.Node, dict[str, Any]], Awaitable[dict[str, Any]]]


async def timed_loop(
    tasks: int, seconds: float, operation: Callable[[int], Awaitable[object]]
) -> dict[str, Any]:
    """``tasks`` tasks that each call ``operation`` again and again; the latency of every call."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def work(number: int) -> None:
        while (start := time.perf_counter()) < end:
            await operation(number)
            latencies.append(time.perf_counter() - start)

    begun = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(tasks):
            nursery.start_soon(work, number)
    return {"latencies": latencies, "elapsed": time.perf_counter() - begun}


async def say(answer: dict[str, Any], output: TextIO) -> None:
    """Write one line, in a thread: whoever reads may be waiting for another member first, a pipe
    holds no more than 64 KiB, and a node that waits in its event loop is dead to the others.
    """
    await trio.to_thread.run_sync(partial(print, json.dumps(answer), file=output, flush=True))


def member_main(app: fa.App, orders: dict[str, Order], on_event: Observer = ignore) -> None:
    """Run as the member that the command line describes, until standard input ends."""
    listen, peers, data = sys.argv[2:5]
    config = fa.NodeConfig(
        listen=listen,
        peers=tuple(peers.split(",")),
        bootstrap=True,
        data=Path(data),
        on_event=on_event,
    )

    async def leads(node: fa.Node, _: dict[str, Any]) -> dict[str, Any]:
        return {"leads": node.group.is_leader}

    async def main() -> None:
        async with fa.Node(app, config) as node:
            await say({"ready": True}, sys.stdout)
            settle_garbage_collector()
            known = orders | {"leads": leads}
            while line := await trio.to_thread.run_sync(sys.stdin.readline):
                order = json.loads(line)
                await say(await known[order["order"]](node, order), sys.stdout)

    trio.run(main)
