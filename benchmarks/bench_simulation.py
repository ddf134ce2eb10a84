"""How fast the simulator is: events a second at core depth, virtual seconds a second at node depth.

An event is whatever happens at a moment of its own (a message that arrives, a write that is
durable, an alarm, a request, an answer), and each message that an actor takes from its mailbox. The
last column compares with a bare heap in the same process: a push, a pop and a call for each event;
for virtual time it is the number of messages between nodes in a virtual second.

    python benchmarks/bench_simulation.py [--quick] [--json]
"""

import time
from collections.abc import Callable
from heapq import heappop, heappush

import attrs
from common import Options, Row, options, percentile, progress, report

import flowactor as fa
from flowactor.simulation.outcome import Outcome
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Act, Depth, Scenario, Start, Write
from flowactor.simulation.trace import Kind


@fa.step
async def add(total: int, number: int) -> int:
    return total + number


@fa.workflow
class Sum:
    async def run(self, numbers: int) -> int:
        total = 0
        for number in range(numbers):
            total = await add(total, number)
        return total


APP = fa.App([Sum])


def writes(per_second: int, seconds: float, clients: int = 8) -> tuple[Act, ...]:
    """So many writes of variables a virtual second, by several clients."""
    return tuple(
        Write(1 + number / per_second, f"v{number % 50}", number, client=1 + number % clients)
        for number in range(int(per_second * (seconds - 2)))
    )


def runs(per_second: int, seconds: float) -> tuple[Act, ...]:
    """So many runs of five steps a virtual second."""
    return tuple(
        Start(1 + number / per_second, "Sum", f"run-{number}", (5,), client=1 + number % 8)
        for number in range(int(per_second * (seconds - 2)))
    )


def bare_heap(events: int) -> float:
    """Events a second of a heap that does nothing else."""
    heap: list[tuple[int, int, Callable[[], None]]] = []
    begun = time.process_time()
    for number in range(events):
        heappush(heap, (number * 7919 % 1000, number, _nothing))
        if number > 100:
            heappop(heap)[2]()
    return events / (time.process_time() - begun)


def _nothing() -> None:
    pass


def measure(
    name: str,
    scenario: Scenario,
    depth: Depth,
    times: int,
    ratio: Callable[[Outcome, float], float],
    rate: Callable[[Outcome], float],
) -> Row:
    """``times`` runs with different seeds: the rate of the median run, by its CPU time."""
    progress(f"{name} ...")
    rates, walls, cpus, events, outcome = [], [], 0.0, 0, None
    for seed in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        outcome = simulate(attrs.evolve(scenario, seed=seed), depth)
        assert outcome.failure is None, outcome.failure
        used = time.process_time() - cpu
        walls.append(time.perf_counter() - wall)
        rates.append(rate(outcome) / used)
        cpus += used
        events += outcome.events
    assert outcome is not None
    rates.sort()
    walls.sort()
    middle = percentile(rates, 0.5)
    return Row(
        name,
        scenario.nodes,
        middle,
        percentile(walls, 0.5) * 1000,
        percentile(walls, 0.99) * 1000,
        cpus * 1e6 / events,
        ratio(outcome, middle),
    )


def core(chosen: Options) -> list[Row]:
    """Events a second."""
    heap = bare_heap(200_000 if chosen.quick else 1_000_000)
    seconds, times = (6.0, 3) if chosen.quick else (12.0, 7)

    def events(name: str, nodes: int, acts: tuple[Act, ...]) -> Row:
        # A follower that a seed leaves behind is sent what this makes, slowly, if the seed says so.
        scenario = Scenario(app=APP, nodes=nodes, acts=acts, seconds=seconds, healing_seconds=600.0)
        return measure(
            f"core, events/s: {name}",
            scenario,
            Depth.CORE,
            times,
            lambda _, rate: rate / heap,
            lambda outcome: outcome.events,
        )

    return [
        Row("bare heap, events/s", 0, heap, 0.0, 0.0, 1e6 / heap, 1.0),
        events("idle", 3, ()),
        events("200 writes/s", 3, writes(200, seconds)),
        events("2000 writes/s", 3, writes(2000, seconds, clients=64)),
        events("20 runs/s of 5 steps", 3, runs(20, seconds)),
        events("200 writes/s", 5, writes(200, seconds)),
    ]


def whole_nodes(chosen: Options) -> list[Row]:
    """Virtual seconds a second. Of the long runs the start, and the seconds in which groups are
    still awake, are a small part.
    """
    seconds, long_seconds, times = (6.0, 60.0, 2) if chosen.quick else (12.0, 300.0, 5)

    def virtual(
        name: str, nodes: int, acts: tuple[Act, ...], seconds: float, *, sockets: bool
    ) -> Row:
        link = "WebSockets" if sockets else "frames"
        scenario = Scenario(app=APP, nodes=nodes, acts=acts, seconds=seconds, sockets=sockets)
        probe = simulate(scenario, Depth.NODE, keep=True)
        sent = sum(1 for line in probe.lines if line[2] == Kind.SENT)
        return measure(
            f"nodes, virtual s/s: {name}, {link}",
            scenario,
            Depth.NODE,
            times,
            lambda outcome, _: sent / outcome.virtual_seconds,
            lambda outcome: outcome.virtual_seconds,
        )

    return [
        virtual(name, nodes, acts, lasting, sockets=sockets)
        for nodes in (3, 5)
        for name, acts, lasting in (
            ("start, then idle", (), seconds),
            ("idle for long", (), long_seconds),
            ("20 writes/s", writes(20, seconds), seconds),
        )
        for sockets in (True, False)
    ]


def main() -> None:
    chosen = options(__doc__ or "")
    rows = core(chosen) + whole_nodes(chosen)
    report("bench_simulation", "nodes", rows, chosen, "x bare heap, or messages/s")


if __name__ == "__main__":
    main()
