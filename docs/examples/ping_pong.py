"""A workflow that answers, or fails with a text: a failed run is not a completed one.

The error that the workflow raised is recorded as a value and comes back, by its own type, as the
cause of ``WorkflowFailed``.

Prints::

    ping: pong
    x: failed with UnexpectedInputError: Expected 'ping', got 'x'
    x: status failed
"""

import tempfile
from pathlib import Path

import trio

import flowactor as fa


class UnexpectedInputError(Exception):
    """The other side did not say what was agreed."""


@fa.workflow(version=1)
class PingPong:
    async def run(self, said: str) -> str:
        if said != "ping":
            raise UnexpectedInputError(f"Expected 'ping', got {said!r}")
        return "pong"


app = fa.App([PingPong])


async def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        config = fa.NodeConfig(listen="127.0.0.1:0", data=Path(data), bootstrap=True)
        async with fa.Node(app, config) as node:
            print(f"ping: {await node.client.execute(PingPong.run, 'ping')}")

            run = await node.client.start(PingPong.run, "x")
            try:
                await run.result(timeout=30)
            except fa.WorkflowFailed as error:
                print(f"x: failed with {type(error.__cause__).__name__}: {error.__cause__}")
            print(f"x: status {(await run.describe()).status.value}")


if __name__ == "__main__":
    trio.run(main)
