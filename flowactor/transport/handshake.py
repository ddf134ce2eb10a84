"""The opening handshake of a WebSocket, done by trio-websocket on a stream that is then taken back.

trio-websocket knows HTTP upgrades well, but its frames cost more than they need to: a reader task
and a channel hop per message (docs/design/transport.md has the figures). So it is given the stream
up to the blank line that ends the HTTP head, and nothing behind it. It ends thinking that the other
side hung up, and what follows on the stream is ours (``framing``). Only its public API is used.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio_websocket

from flowactor.errors import MalformedDataError, Refused, Unavailable, WorldError
from flowactor.limits import RECEIVE_BYTES_MIN

__all__ = ["accept_handshake", "offer_handshake"]

HEAD_END = b"\r\n\r\n"
HEAD_BYTES_MAX = 64 * 1024
"""More than any HTTP head, or the page of a proxy that explains why it is not willing."""
RESOURCE = "/flowactor"
UPGRADE = b"HTTP/1.1 101"
NO_ROOM = 503


async def offer_handshake(stream: trio.abc.Stream, host: str) -> bytes:
    """The client's side. Returns bytes that came behind the handshake, of the first frame.

    Raises:
        Refused: the other side speaks HTTP, but no WebSocket.
        MalformedDataError: it speaks no HTTP.
        Unavailable: it hung up, or has no room; ``host`` names it in errors.
    """
    head = _HeadStream(stream, is_client=True)
    async with _patient(head, host) as nursery:
        await trio_websocket.wrap_client_stream(
            nursery,
            head,  # type: ignore[arg-type]  # annotated more narrowly than documented
            host,
            RESOURCE,
        )
    return head.leftover


async def accept_handshake(stream: trio.abc.Stream, remote: str) -> bytes:
    """The server's side. Returns bytes that came behind the handshake.

    Raises:
        MalformedDataError: the other side sent something else than a WebSocket's opening.
        Unavailable: it hung up.
    """
    head = _HeadStream(stream, is_client=False)
    async with _patient(head, remote) as nursery:
        request = await trio_websocket.wrap_server_stream(nursery, head)
        await request.accept()
    return head.leftover


@asynccontextmanager
async def _patient(head: "_HeadStream", remote: str) -> AsyncIterator[trio.Nursery]:
    """A nursery for trio-websocket's reader, given up as soon as the handshake cannot succeed."""
    trouble: WorldError | None = None
    try:
        async with trio.open_nursery() as nursery:
            head.give_up = nursery.cancel_scope
            yield nursery
            head.done.set()
    except* trio_websocket.ConnectionRejected as group:
        trouble = _explain_rejection(remote, group)
    except* trio_websocket.ConnectionClosed:
        trouble = Unavailable(f"{remote} hung up during the handshake")
    except* Exception:  # noqa: BLE001  # its parser stumbles in many ways over what is no HTTP
        trouble = head.explain_nonsense(remote)
    if trouble is None and not head.done.is_set():
        trouble = head.explain(remote)
    if trouble is not None:
        raise trouble


def _explain_rejection(remote: str, group: BaseExceptionGroup[BaseException]) -> WorldError:
    [rejection, *_] = group.exceptions
    assert isinstance(rejection, trio_websocket.ConnectionRejected)
    body = (rejection.body or b"")[:HEAD_BYTES_MAX].decode(errors="replace")
    words = " ".join(body.split())[:200]
    if rejection.status_code == NO_ROOM:
        return Unavailable(f"{remote} takes no more connections: {words}")
    return Refused(
        f"{remote} answers the WebSocket handshake with {rejection.status_code}: {words}"
    )


class _HeadStream(trio.abc.Stream):
    """Shows a stream up to the end of the HTTP head, then pretends silence, then its end."""

    def __init__(self, stream: trio.abc.Stream, *, is_client: bool) -> None:
        self.done = trio.Event()
        self.give_up = trio.CancelScope()
        self._stream = stream
        self._is_client = is_client
        self._seen = bytearray()
        self._end = -1
        self._malformed = False

    @property
    def leftover(self) -> bytes:
        """What came behind the head."""
        return bytes(self._seen[self._end :])

    def explain(self, remote: str) -> WorldError:
        """Why the handshake was given up."""
        if self._malformed:
            return self.explain_nonsense(remote)
        return Unavailable(f"{remote} hung up during the handshake")

    def explain_nonsense(self, remote: str) -> WorldError:
        """What to say of a stranger that speaks another language."""
        kind = "node" if self._is_client else "client"
        return MalformedDataError(f"{remote} does not speak WebSocket: is it a flowactor {kind}?")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Bytes of the head, or of an answer that is no upgrade."""
        del max_bytes  # trio-websocket's is small; what comes behind the head is kept here
        if self._end >= 0:
            await self.done.wait()
            return b""
        try:
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES_MIN))
        except trio.BrokenResourceError:
            data = b""
        before = len(self._seen)
        self._seen += data
        if not data or len(self._seen) > HEAD_BYTES_MAX:
            self._malformed = bool(data)
            self.give_up.cancel()
            return b""
        if not self._is_upgrade():
            return data  # all of it, body included: trio-websocket makes an error of it
        found = self._seen.find(HEAD_END, max(0, before - len(HEAD_END)))
        if found < 0:
            return data
        self._end = found + len(HEAD_END)
        return bytes(self._seen[before : self._end])

    def _is_upgrade(self) -> bool:
        return not self._is_client or self._seen.startswith(UPGRADE)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream itself does it."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream itself does it."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """trio-websocket gives up on the other side; closing is for the stream's owner."""
        if not self.done.is_set():
            self._malformed = True
            self.give_up.cancel()
        await trio.lowlevel.checkpoint()
