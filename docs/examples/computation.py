"""A chain of computations, each done once and then replicated.

``fa.compute`` runs its function on the node that owns the run and records the value; the other
nodes, and this one after a restart, take the recorded value instead of computing it again.

Prints::

    2 times 3, 4 iterations: 162, by way of [6, 18, 54, 162]
    5 times 2, 3 iterations: 40, by way of [10, 20, 40]
"""

import tempfile
from pathlib import Path

import trio
from attrs import frozen

import flowactor as fa


@frozen
class Computed:
    """What a run of ``Computation`` comes to: the last value and all on the way there."""

    value: int
    steps: list[int]


def multiply(value: int, multiplier: int) -> int:
    return value * multiplier


@fa.workflow(version=1)
class Computation:
    async def run(self, base: int, multiplier: int, iterations: int) -> Computed:
        value = base
        steps = []
        for number in range(iterations):
            value = await fa.compute(f"step_{number}", multiply, value, multiplier)
            steps.append(value)
        return Computed(value, steps)


app = fa.App([Computation])


async def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        config = fa.NodeConfig(listen="127.0.0.1:0", data=Path(data), bootstrap=True)
        async with fa.Node(app, config) as node:
            for base, multiplier, iterations in [(2, 3, 4), (5, 2, 3)]:
                done = await node.client.execute(Computation.run, base, multiplier, iterations)
                print(
                    f"{base} times {multiplier}, {iterations} iterations: {done.value}, "
                    f"by way of {done.steps}"
                )


if __name__ == "__main__":
    trio.run(main)
