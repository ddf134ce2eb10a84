"""One workflow, started at each of three nodes; every node knows every result.

The three nodes are whole ones, in one process here, linked in memory. Which of them is asked makes
no difference: a request finds its way, and all of them run the workflow's code.

Prints::

    fibonacci(10) started at node 1: 55, read at nodes 1, 2, 3: 55 55 55
    fibonacci(10) started at node 2: 55, read at nodes 1, 2, 3: 55 55 55
    fibonacci(10) started at node 3: 55, read at nodes 1, 2, 3: 55 55 55
"""

import tempfile
from pathlib import Path

import trio

import flowactor as fa


@fa.step
async def add(left: int, right: int) -> int:
    return left + right


@fa.workflow(version=1)
class Fibonacci:
    async def run(self, number: int) -> int:
        low, high = 0, 1
        for _ in range(number):
            low, high = high, await add(low, high)
        return low


app = fa.App([Fibonacci])


async def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        async with fa.local_cluster(app, size=3, data=Path(data)) as nodes:
            for number, node in enumerate(nodes, 1):
                run = await node.client.start(Fibonacci.run, 10, id=f"fibonacci-{number}")
                result = await run.result(timeout=30)
                seen = [
                    await other.client.get_handle(run.id, result_type=int).result(timeout=30)
                    for other in nodes
                ]
                print(
                    f"fibonacci(10) started at node {number}: {result}, "
                    f"read at nodes 1, 2, 3: {' '.join(map(str, seen))}"
                )


if __name__ == "__main__":
    trio.run(main)
