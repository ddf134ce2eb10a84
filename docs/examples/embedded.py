"""A node inside a service: the engine is a library, there is no other process to run.

This service answers lines on a TCP port; each line starts a durable workflow. The node lives in the
same nursery tree as everything else, and leaving its block stops it cleanly. The steps of a run are
ordinary async functions of the service, free to use Trio.

Prints::

    client sent 'hello', service answered 'HELLO!'
    client sent 'durable', service answered 'DURABLE!'
"""

import tempfile
from functools import partial
from pathlib import Path

import trio

import flowactor as fa


@fa.step
async def shout(text: str) -> str:
    await trio.lowlevel.checkpoint()
    return text.upper()


@fa.workflow(version=1)
class Reply:
    async def run(self, text: str) -> str:
        return await shout(text) + "!"


app = fa.App([Reply])


async def answer(client: fa.Client, stream: trio.SocketStream) -> None:
    async with stream:
        line = await stream.receive_some(1000)
        reply = await client.execute(Reply.run, line.decode())
        await stream.send_all(reply.encode())


async def talk(port: int, text: str) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(text.encode())
        reply = await stream.receive_some(1000)
        print(f"client sent {text!r}, service answered {reply.decode()!r}")


async def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        config = fa.NodeConfig(listen="127.0.0.1:0", data=Path(data), bootstrap=True)
        async with fa.Node(app, config) as node, trio.open_nursery() as nursery:
            handler = partial(answer, node.client)
            serve = partial(trio.serve_tcp, handler, 0, host="127.0.0.1")
            listeners = await nursery.start(serve)
            port = listeners[0].socket.getsockname()[1]
            await talk(port, "hello")
            await talk(port, "durable")
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
