"""Many records in one frame."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowactor.codec import records
from flowactor.errors import MalformedDataError
from flowactor.limits import FRAME_BYTES_MAX, FRAME_MESSAGES_MAX
from flowactor.transport import Hello, frames
from flowactor.transport.hello import Verdict


@given(
    names=st.lists(st.text(max_size=50), min_size=1, max_size=100),
    target=st.integers(1, 5000),
)
def test_packed_messages_come_back_in_order(names, target) -> None:
    """Any messages, packed to any target, come back equal and in order; frames respect the target
    unless a single message is larger."""
    messages = [records.encode(Hello(cluster=name)) for name in names]
    packed = frames.pack(messages, target)
    got = [item for frame in packed for item in frames.unpack(frame, Hello)]
    assert got == [Hello(cluster=name) for name in names]
    for frame in packed:
        assert len(frame) <= target + 5 or len(frames.unpack(frame, Hello)) == 1


def test_nothing_is_no_frame() -> None:
    """Packing no messages makes no frame; an empty frame holds no messages."""
    assert frames.pack([]) == []
    assert frames.unpack(b"\x80", Hello) == []


def test_the_number_of_messages_in_a_frame_is_bounded() -> None:
    """More small messages than the limit become two frames, and the receiver accepts both."""
    message = records.encode(Verdict())
    packed = frames.pack([message] * (FRAME_MESSAGES_MAX + 1), FRAME_BYTES_MAX)
    assert [len(frames.unpack(frame, Verdict)) for frame in packed] == [FRAME_MESSAGES_MAX, 1]


HELLO = records.encode(Hello())


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (b"", "no array"),
        (b"garbage", "no array"),
        (b"\x9f\xff", "no array"),
        (b"\x9a\xff\xff\xff\xff", "claims to hold 4294967295 messages"),
        (b"\x9b" + b"\xff" * 8, "claims to hold"),
        (b"\x99\x00\x09" + HELLO, "undecodable"),
        (b"\x82" + HELLO, "undecodable"),
        (b"\x81\x01", "not a record"),
        (b"\x81\x81\x19\xff\xff", "no record has the tag"),
        (records.join([records.encode(Verdict())]), "a Verdict does not belong into this frame"),
        (b"\x81" * 100, "undecodable"),
    ],
)
def test_other_bytes_are_malformed(frame, text) -> None:
    """Wrong count, wrong type, trailing bytes, nesting: each is ``MalformedDataError``."""
    with pytest.raises(MalformedDataError, match=text):
        frames.unpack(frame, Hello)


def test_a_frame_beyond_the_limit_is_not_looked_at() -> None:
    """Size is judged before content."""
    with pytest.raises(MalformedDataError, match="the limit is"):
        frames.unpack(bytes(FRAME_BYTES_MAX + 1), Hello)


@given(noise=st.binary(max_size=500))
def test_noise_is_malformed_or_records(noise) -> None:
    """No bytes whatever raise anything else."""
    try:
        items = frames.unpack(noise, Hello | Verdict)
    except MalformedDataError:
        return
    assert all(attrs.has(type(item)) for item in items)
