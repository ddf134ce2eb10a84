"""WebSocket frames without input or output."""

import pytest
import wsproto.frame_protocol as reference
from hypothesis import given
from hypothesis import strategies as st

from flowactor.transport import framing
from flowactor.transport.framing import Close, FrameReader, Ping, Violation

LIMIT = 200_000
payloads = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([125, 126, 127, 65_535, 65_536]).map(lambda size: b"\x07" * size),
)


def read_all(reader: FrameReader) -> list[bytes | Ping | Close]:
    items = []
    while (item := reader.next()) is not None:
        items.append(item)
    return items


@given(messages=st.lists(payloads, max_size=6), masked=st.booleans(), data=st.data())
def test_any_cutting_of_the_stream_gives_the_same_messages(messages, masked, data) -> None:
    """However the network cuts the bytes, messages come out whole, in order, and as ``bytes``."""
    stream = b"".join(framing.binary(message, masked=masked) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader = FrameReader(masked=masked, payload_bytes_max=LIMIT)
    got: list[bytes | Ping | Close] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.feed(stream[begin:end])
        got += read_all(reader)
    assert got == messages
    assert all(type(item) is bytes for item in got)


@given(message=payloads, pieces=st.integers(1, 4), masked=st.booleans())
def test_frames_of_another_implementation_are_understood(message, pieces, masked) -> None:
    """wsproto's frames, masked by chance or not, in pieces and with pings between them."""
    sender = reference.FrameProtocol(client=masked, extensions=[])
    size = len(message) // pieces + 1
    parts = [message[at : at + size] for at in range(0, len(message), size)] or [b""]
    stream = b""
    for number, part in enumerate(parts):
        stream += sender.send_data(part, fin=number == len(parts) - 1)
        stream += sender.ping(b"are you there")
    stream += sender.close(1000, "bye")
    reader = FrameReader(masked=masked, payload_bytes_max=LIMIT)
    reader.feed(stream)
    pings: list[bytes | Ping | Close] = [Ping(b"are you there")] * len(parts)
    assert read_all(reader) == [*pings[:-1], message, pings[-1], Close(1000, "bye")]


@given(message=payloads, masked=st.booleans())
def test_another_implementation_understands_our_frames(message, masked) -> None:
    """wsproto reads messages, pongs and closing frames as they were meant."""
    receiver = reference.FrameProtocol(client=not masked, extensions=[])
    receiver.receive_bytes(framing.binary(message, masked=masked))
    receiver.receive_bytes(framing.pong(b"yes", masked=masked))
    receiver.receive_bytes(framing.close(1008, "who are you?", masked=masked))
    frames = list(receiver.received_frames())
    assert b"".join(frame.payload for frame in frames[:-2]) == message
    assert [frame.opcode for frame in frames[-2:]] == [
        reference.Opcode.PONG,
        reference.Opcode.CLOSE,
    ]
    assert frames[-2].payload == b"yes"
    assert frames[-1].payload == (1008, "who are you?")


@given(noise=st.binary(max_size=2000), masked=st.booleans())
def test_noise_is_a_violation_or_waits_for_more(noise, masked) -> None:
    """No bytes whatever raise anything but ``Violation``, or become more than they were."""
    reader = FrameReader(masked=masked, payload_bytes_max=1000)
    reader.feed(noise)
    try:
        items = read_all(reader)
    except Violation:
        return
    assert sum(len(item) for item in items if isinstance(item, bytes)) <= len(noise)


@pytest.mark.parametrize(
    ("frame", "code", "text"),
    [
        (b"\x82\xff" + (2**32 - 1).to_bytes(8), 1009, "4294967295 bytes, the limit is 1000"),
        (b"\x82\xff" + (2**64 - 1).to_bytes(8), 1009, "the limit is 1000"),
        (b"\x82\xfe" + (1001).to_bytes(2), 1009, "1001 bytes, the limit is 1000"),
        (b"\x02\xfe" + (1000).to_bytes(2) + bytes(1004) + b"\x00\x81", 1009, "1001 bytes"),
        (b"\x81\x85", 1003, "only binary"),
        (b"\x82\x05", 1002, "masks not its frames"),
        (b"\xc2\x85", 1002, "extensions"),
        (b"\x83\x80", 1002, "unknown kind 3"),
        (b"\x8b\x80", 1002, "unknown kind 11"),
        (b"\x80\x80", 1002, "out of place"),
        (b"\x02\x80" + bytes(4) + b"\x82\x80", 1002, "out of place"),
        (b"\x09\x80", 1002, "control frame in pieces"),
        (b"\x89\xfe\x00\x7e", 1002, "control frame in pieces, or too long"),
        (b"\x88\x81" + bytes(5), 1002, "half a code"),
    ],
)
def test_what_breaks_the_protocol_is_refused_by_its_header(frame, code, text) -> None:
    """Each wrong frame is refused with its code as soon as its header is there, body or not."""
    reader = FrameReader(masked=True, payload_bytes_max=1000)
    reader.feed(frame)
    with pytest.raises(Violation, match=text) as caught:
        read_all(reader)
    assert caught.value.code == code


def test_a_server_must_not_mask() -> None:
    """What comes from a server masked is refused too."""
    reader = FrameReader(masked=False, payload_bytes_max=1000)
    reader.feed(framing.binary(b"x", masked=True))
    with pytest.raises(Violation, match="masks its frames"):
        reader.next()


def test_endless_empty_pieces_cost_no_memory() -> None:
    """A message in ever more empty pieces is never complete, but takes no room either."""
    reader = FrameReader(masked=False, payload_bytes_max=1000)
    reader.feed(b"\x02\x00" + b"\x00\x00" * 10_000)
    assert reader.next() is None
    reader.feed(b"\x80\x01!")
    assert reader.next() == b"!"


def test_a_reason_is_cut_between_letters_and_read_as_printable_text() -> None:
    """Long reasons stay valid UTF-8; control characters from outside never reach a terminal."""
    reader = FrameReader(masked=False, payload_bytes_max=1000)
    reader.feed(framing.close(1000, "a" + "я" * 100, masked=False))
    assert reader.next() == Close(1000, "a" + "я" * 59)
    reader.feed(framing.close(1000, "red\x1b[31m\n\xff", masked=False))
    assert reader.next() == Close(1000, "red?[31m?\xff")
    reader.feed(b"\x88\x00")
    assert reader.next() == Close(1005, "")
