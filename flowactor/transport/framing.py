"""WebSocket frames (RFC 6455, section 5) without input or output: cheap, once hands are shaken.

Only what two flowactor processes say to each other is made fast: whole binary messages. Everything
else the protocol allows (fragments, pings, masks that do something) is understood too, so that
programs in other languages can use any WebSocket library.

The mask this side sends is zero. A client must mask (5.1), so that scripts in a browser cannot
choose the bytes that proxies see (10.3); a node is no browser, and masking costs more than all the
rest of a large frame. A zero mask is well-formed, changes nothing, and needs no entropy; where
intermediaries are not trusted, TLS is the answer.
"""

from typing import Final

import attrs

from flowactor.errors import MalformedDataError

__all__ = ["Close", "FrameReader", "Ping", "Violation", "binary", "close", "pong"]

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

FINAL: Final = 0x80
MASKED: Final = 0x80
ZERO_MASK: Final = bytes(4)
CONTROL_BYTES_MAX: Final = 125
REASON_BYTES_MAX: Final = 120
"""Of the 123 that fit; the port promises no more."""

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED: Final = 1003
NO_CODE: Final = 1005
TOO_BIG: Final = 1009


@attrs.frozen
class Ping:
    """To be answered by a pong with the same payload."""

    payload: bytes


@attrs.frozen
class Close:
    """The other side sends no more; ``reason`` holds printable characters only."""

    code: int
    reason: str


class Violation(MalformedDataError):
    """The other side breaks the protocol or a limit; ``code`` is the one to close with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def binary(payload: bytes, *, masked: bool) -> bytes:
    """A whole message."""
    return _frame(BINARY, payload, masked)


def pong(payload: bytes, *, masked: bool) -> bytes:
    """The answer to a ping."""
    return _frame(PONG, payload, masked)


def close(code: int, reason: str, *, masked: bool) -> bytes:
    """The last frame; the reason is cut to what fits."""
    text = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
    return _frame(CLOSE, code.to_bytes(2) + text, masked)


def _frame(opcode: int, payload: bytes, masked: bool) -> bytes:
    length = len(payload)
    bit = MASKED if masked else 0
    if length < 126:
        head = bytes((FINAL | opcode, bit | length))
    elif length < 0x10000:
        head = bytes((FINAL | opcode, bit | 126)) + length.to_bytes(2)
    else:
        head = bytes((FINAL | opcode, bit | 127)) + length.to_bytes(8)
    return b"".join((head, ZERO_MASK, payload)) if masked else head + payload


class FrameReader:
    """Takes bytes as they come, gives messages.

    Holds at most ``payload_bytes_max`` and what was fed last: a frame that announces more is
    refused by its header, before any of it is stored.
    """

    def __init__(self, *, masked: bool, payload_bytes_max: int) -> None:
        """``masked``: whether frames must come masked, that is, from a client."""
        self.payload_bytes_max = payload_bytes_max
        self._masked = masked
        # What was fed and is not yet parsed begins at _at. It stays the immutable object that was
        # fed for as long as frames end where reads end; only leftovers are copied.
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._fragments: bytearray | None = None

    def feed(self, data: bytes) -> None:
        """Append what was received."""
        buffer = self._buffer
        if self._at == len(buffer):
            self._buffer = data
        else:
            if isinstance(buffer, bytes):
                buffer = bytearray(memoryview(buffer)[self._at :])
            else:
                del buffer[: self._at]
            buffer += data
            self._buffer = buffer
        self._at = 0

    def next(self) -> bytes | Ping | Close | None:
        """The next message or control frame, or None if more bytes are needed first.

        Raises:
            Violation: the connection cannot go on.
        """
        while True:
            found = self._next_frame()
            if found is None:
                return None
            first, payload = found
            if first == FINAL | BINARY:
                return payload
            item = self._interpret(first, payload)
            if item is not None:
                return item

    def _next_frame(self) -> tuple[int, bytes] | None:
        """First byte and unmasked payload of the next whole frame."""
        buffer, at = self._buffer, self._at
        have = len(buffer) - at
        if have < 2:
            return None
        first, second = buffer[at], buffer[at + 1]
        length = second & 0x7F
        begin = at + 2
        if length >= 126:
            begin = at + (4 if length == 126 else 10)
            if len(buffer) < begin:
                return None
            length = int.from_bytes(buffer[at + 2 : begin])
        if (
            first != FINAL | BINARY
            or self._fragments is not None
            or length > self.payload_bytes_max
            or (second >= MASKED) is not self._masked
        ):
            self._check(first, second, length)
        mask = ZERO_MASK
        if self._masked:
            mask = bytes(buffer[begin : begin + 4])
            begin += 4
        end = begin + length
        if len(buffer) < end:
            return None
        self._at = end
        if isinstance(buffer, bytes):
            payload = buffer[begin:end]
        else:
            payload = bytes(memoryview(buffer)[begin:end])
        return first, payload if mask == ZERO_MASK else _unmask(payload, mask)

    def _check(self, first: int, second: int, length: int) -> None:
        """Refuse what a header alone shows to be wrong."""
        final, opcode = first & FINAL, first & 0x0F
        if first & 0x70:
            raise Violation(PROTOCOL_ERROR, "a frame uses extensions, and none were agreed on")
        if (second >= MASKED) is not self._masked:
            wrong = "masks not" if self._masked else "masks"
            raise Violation(PROTOCOL_ERROR, f"the other side {wrong} its frames")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise Violation(PROTOCOL_ERROR, f"a frame of unknown kind {opcode}")
            if not final or length > CONTROL_BYTES_MAX:
                raise Violation(PROTOCOL_ERROR, "a control frame in pieces, or too long")
            return
        if opcode == TEXT:
            raise Violation(UNSUPPORTED, "a text message: only binary ones are understood")
        if opcode > BINARY:
            raise Violation(PROTOCOL_ERROR, f"a frame of unknown kind {opcode}")
        if (opcode == CONTINUATION) is (self._fragments is None):
            raise Violation(PROTOCOL_ERROR, "a piece of a message out of place")
        length += len(self._fragments or b"")
        if length > self.payload_bytes_max:
            raise Violation(
                TOO_BIG, f"a message of {length} bytes, the limit is {self.payload_bytes_max}"
            )

    def _interpret(self, first: int, payload: bytes) -> bytes | Ping | Close | None:
        """What a checked frame means that is not a whole message; None if nothing yet."""
        opcode = first & 0x0F
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return None
        if opcode == CLOSE:
            return _parse_close(payload)
        fragments = self._fragments = self._fragments or bytearray()
        fragments += payload
        if not first & FINAL:
            return None
        self._fragments = None
        return bytes(fragments)


def _parse_close(payload: bytes) -> Close:
    if not payload:
        return Close(NO_CODE, "")
    if len(payload) == 1:
        raise Violation(PROTOCOL_ERROR, "a closing frame with half a code")
    text = payload[2:].decode(errors="replace")
    # The other side wrote this, and it ends up in logs and terminals.
    reason = "".join(letter if letter.isprintable() else "?" for letter in text)
    return Close(int.from_bytes(payload[:2]), reason)


def _unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, as two long integers: 50 times as fast as byte by byte."""
    length = len(payload)
    stream = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload) ^ int.from_bytes(stream)).to_bytes(length)
