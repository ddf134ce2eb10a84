"""A cluster in one process: whole nodes with real files, whose links are in memory."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from flowactor.node import Node, NodeConfig, World
from flowactor.observability import Observer, ignore
from flowactor.transport import MemoryNetwork, MemoryTransport
from flowactor.workflow import App

__all__ = ["local_cluster"]


@asynccontextmanager
async def local_cluster(
    app: App, *, data: Path, size: int = 3, on_event: Observer = ignore
) -> AsyncIterator[list[Node]]:
    """``size`` nodes in this process, over in-memory links, with real files below ``data``.

    For tests and for trying things out; leaving the block stops all of them. Entered again with the
    same ``data``, they go on where they were.
    """
    network = MemoryNetwork()
    addresses = tuple(f"memory:{number}" for number in range(1, size + 1))
    async with AsyncExitStack() as stack:
        nodes = []
        for address in addresses:
            config = NodeConfig(
                data=data / address.replace(":", "-"),
                listen=address,
                peers=addresses,
                bootstrap=True,
                insecure=True,  # there is no wire
                on_event=on_event,
            )
            world = World(transport=MemoryTransport(network, address))
            nodes.append(await stack.enter_async_context(Node(app, config, world)))
        yield nodes
